"""`wattgate accounts statement`: from the store, in every format, and one sentence for what cannot be."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.adapters.store import Store, store_file
from gateway.cli import app
from tests.gateway.cli.street import Ran
from tests.gateway.services.house import House, account, meter

Here = Callable[..., Ran]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    """The verb on a store of November 2026: 100.00 taken over, 5 kWh at 0.5 used, 50.00 paid."""
    monkeypatch.chdir(tmp_path)
    with Store.open(str(store_file(tmp_path))) as store:
        house = House(store).settle(meter("m1"), accounts=[account(holder="王小明")], balance="100")
        for total in ("1.00", "3.00", "6.00"):
            house.block("m1", total)
            house.later(minutes=1)
        house.topup("50.00")

    def run(*words: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["wattgate", "accounts", "statement", *map(str, words)])
        capfd.readouterr()
        code = 0
        try:
            app.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        said = capfd.readouterr()
        return Ran(code, said.out, said.err)

    return run


def test_it_has_help_with_an_example() -> None:
    ran = CliRunner().invoke(app.app, ["accounts", "statement", "--help"])
    assert ran.exit_code == 0 and "Example: wattgate accounts statement house-7" in " ".join(ran.output.split())


def test_text_is_the_default(here: Here) -> None:
    ran = here("A-1", "--month", "2026-11", "--data", ".", "--zone", "Asia/Shanghai")
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert (ran.code, lines[0]) == (0, "account A-1, 王小明: 2026-11-01 to 2026-11-30 (Asia/Shanghai), CNY")
    assert lines[2:] == [
        "Balance opening balance 0.00",
        "2026-11-24 Balance taken over 100.00",
        "2026-11-24 Energy, meter m1 5.00 kWh at 0.50 -2.50",
        "2026-11-24 Payment, bank S-1, receipt gw-1-0000000004 50.00",
        "closing balance 147.50",
        "sum Balance taken over 100.00",
        "sum Energy 5.00 kWh -2.50",
        "sum Payments 50.00",
        lines[-1],
    ]
    assert lines[-1].startswith("journal entry 4, hash ")


def test_the_other_formats_go_to_standard_output_or_a_file(here: Here, tmp_path: Path) -> None:
    days = ("--from", "2026-11-01", "--to", "2027-01-15", "--data", ".")
    rows = list(csv.DictReader(io.StringIO(here("A-1", *days, "--format", "csv").out)))
    assert [row["amount"] for row in rows if row["record"] == "line"] == ["100.000000", "-2.500000", "50.000000"]
    assert json.loads(here("A-1", *days, "--format", "json").out)["sections"][0]["closing"]["shown"] == "147.50"
    ran = here("A-1", *days, "--format", "pdf", "--out", "a.pdf")
    assert (ran.code, ran.out) == (0, f"a.pdf: {(tmp_path / 'a.pdf').stat().st_size} bytes\n")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-")
    assert here("A-1", *days, "--format", "pdf", "--out", "a.pdf") == Ran(1, "", "a.pdf: File exists\n")


def test_a_summary_of_all_time(here: Here) -> None:
    ran = here("A-1", "--from", "1970-01-01", "--to", "2999-12-31", "--summary", "--data", ".")
    assert "2026-11-24" not in ran.out and "sum         Energy" in ran.out and ran.out.count("147.50") == 1


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("nobody", "--data", "."), 1, "account nobody is not known here\n"),
        (
            ("A-1", "--data", ".", "--from", "2026-02-02", "--to", "2026-02-01"),
            1,
            "the first day 2026-02-02 comes after the last day",
        ),
        (("A-1", "--data", ".", "--from", "2020-01-01", "--to", "2026-01-01"), 1, "at most 400 days, not 2193"),
        (("A-1", "--data", ".", "--month", "2026-13"), 2, "--month is a month like 2026-10, not '2026-13'\n"),
        (("A-1", "--data", ".", "--month", "2026-10", "--to", "2026-10-04"), 2, "name either --month or --from and --to\n"),
        (("A-1", "--data", ".", "--from", "soon"), 2, "--from is a date like 2026-01-31, not 'soon'\n"),
        (("A-1", "--data", ".", "--zone", "Nowhere"), 2, "--zone is a name like Asia/Shanghai, not 'Nowhere'\n"),
        (("A-1", "--data", ".", "--format", "xls"), 2, "--format is text, csv, json or pdf\n"),
        (("A-1", "--data", ".", "--format", "pdf"), 2, "a PDF goes into a file: name it with --out FILE\n"),
        (("A-1",), 2, "name either a configuration (-c FILE) or a data directory (--data DIR)\n"),
        (("A-1", "--data", "elsewhere"), 1, "elsewhere"),
    ],
)
def test_what_cannot_be_is_one_sentence(here: Here, words: tuple[str, ...], code: int, sentence: str) -> None:
    ran = here(*words)
    assert (ran.code, ran.out) == (code, "") and sentence in ran.err and len(ran.err.splitlines()) == 1
