"""Statements as JSON, CSV and PDF: the same amounts in each, and nothing in them that a program takes for something else."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from decimal import Decimal

from gateway.adapters.reports.statement_csv import statement_csv
from gateway.adapters.reports.statement_pdf import statement_pdf
from gateway.adapters.reports.statement_view import statement_json
from tests.gateway.adapters.reports.statements import charge, payment, statement, texts

DAYS = tuple(charge(day) for day in range(1, 5))


def test_csv_adds_up_exactly_and_is_rfc_4180() -> None:
    body = statement_csv(statement((*DAYS, payment()), debt=True))
    assert body.count(b"\r\n") == body.count(b"\n") == 14 and not body.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
    mine = [row for row in rows if row["section"] == "balance"]
    assert [row["record"] for row in mine] == ["opening", *["line"] * 5, "sum", "sum", "closing"]
    moved = [Decimal(row["amount"]) for row in mine if row["record"] == "line"]
    assert Decimal(mine[0]["balance"]) + sum(moved) == Decimal(mine[-1]["balance"]) == Decimal(mine[5]["balance"])
    assert mine[0]["balance"] == "0.003333" and moved[0] == Decimal("-0.154250")
    assert sum(Decimal(row["amount"]) for row in mine if row["record"] == "sum") == sum(moved)
    assert {row["holder"] for row in rows} == {"王小明"} and {row["account"] for row in rows} == {"A-1"}
    day = mine[1]
    told = [
        day[name] for name in ("day", "meter", "rate", "register", "first_kwh", "last_kwh", "kwh", "price", "estimated", "rule")
    ]
    assert told == ["2026-10-01", "m1", "peak", "energy_import_t2", "1.00", "1.25", "0.25", "0.617", "yes", "as priced"]


def test_no_cell_is_a_formula() -> None:
    for holder in ('=HYPERLINK("http://x")', "+1", "-1", "@x", "\tx", "\rx"):
        rows = list(csv.DictReader(io.StringIO(statement_csv(statement((payment(),), holder=holder)).decode(), newline="")))
        assert rows[1]["holder"] == f"'{holder}" and rows[1]["serial"] == "'=S-1"
        for row in rows:
            for name, cell in row.items():
                assert not cell.startswith(("=", "+", "@", "\t", "\r")) and (name in ("amount", "balance") or cell[:1] != "-")


def test_json_says_each_amount_exactly_and_as_shown() -> None:
    found = json.loads(statement_json(statement((*DAYS, payment()), debt=True)))
    balance, debt = found["sections"]
    assert [(line["amount"], line["shown"]) for line in balance["lines"]] == [
        ("-0.154250", "-0.15"),
        ("-0.154250", "-0.15"),
        ("-0.154250", "-0.15"),
        ("-0.154250", "-0.16"),
        ("50.000000", "50.00"),
    ]
    assert (balance["opening"], balance["closing"]) == (
        {"amount": "0.003333", "shown": "0.00"},
        {"amount": "49.386333", "shown": "49.38"},
    )
    shown = [Decimal(line["shown"]) for line in balance["lines"]]
    assert sum(shown) + Decimal(balance["carried"]) == Decimal("49.38")
    assert [(each["component"], each["shown"], each["kwh"]) for each in balance["sums"]] == [
        ("energy", "-0.61", "1.00"),
        ("topup", "50.00", "0.00"),
    ]
    assert balance["lines"][4]["receipt"]["to_debt"] == "12.000000" and debt["section"] == "debt"
    assert (found["from_day"], found["to_day"], found["head"]["entry"]) == ("2026-10-01", "2026-10-31", 4711)
    assert found["head"]["posted"] == "2026-10-31T06:40:00+08:00"


def test_pdf_has_its_text_on_numbered_pages() -> None:
    found = statement((*(charge(day % 31 + 1) for day in range(130)), payment()), debt=True)
    pages = texts(statement_pdf(found, compressed=False))
    assert len(pages) == 3
    for number, page in enumerate(pages, 1):
        assert f"A-1 - page {number} of 3" in page and "Day" in page and "Balance" in page
        assert f"hash {'ab' * 8}" in " ".join(page) and "Journal entry 4711" in " ".join(page)
    first, last = pages[0], pages[-1]
    assert {"gw-1", "A-1", "王小明", "CNY", "2026-10-01 to 2026-10-31, days of Asia/Shanghai"} <= set(first)
    at = first.index("Energy, meter m1, peak (estimated)")
    assert first[at - 1 : at + 6] == ["2026-10-01", first[at], "1.00 - 1.25", "0.25", "0.617", "-0.15", "-0.15"]
    assert "Payment, icbc =S-1, receipt gw-1-0000000008, 12.00 of it to debt" in last
    for text in ("Closing balance", "29.95", "Sum: Energy", "Sum: Payments", "50.00", "Debt", "-30.00", "12.00", "-18.00"):
        assert text in last, text
    rows = [page[i : i + 7] for page in pages for i, text in enumerate(page) if text.startswith("2026-10-") and len(text) == 10]
    assert sum(Decimal(row[5]) for row in rows if row[1].startswith("Energy")) == Decimal("-20.04")


def test_pdf_of_the_same_content_is_the_same_file() -> None:
    found = statement(DAYS)
    assert statement_pdf(found) == statement_pdf(found) != statement_pdf(statement(DAYS[:3]))
    assert statement_pdf(found).startswith(b"%PDF-") and b"STSong-Light" in statement_pdf(found)


def test_pdf_of_nothing_and_of_what_is_too_wide() -> None:
    [page] = texts(statement_pdf(statement((), holder=""), compressed=False))
    assert "Opening balance" in page and "Closing balance" in page and "A-1 - page 1 of 1" in page
    wide = "".join(f"{n} Wangfujing Street " for n in range(30)) + "\x07(end\\)"
    [page] = texts(statement_pdf(statement((), holder=wide), compressed=False))
    [cut] = [text for text in page if text.startswith("0 Wangfujing")]
    assert cut.endswith("...") and len(cut) < 120
    [page] = texts(statement_pdf(statement((), holder="(a\\b\x07)"), compressed=False))
    assert "(a\\b )" in page


def test_reportlab_is_loaded_with_the_first_pdf_only() -> None:
    program = "import sys, gateway.adapters.http.statements as it; sys.exit('reportlab' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
