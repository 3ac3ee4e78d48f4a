"""A statement as CSV (RFC 4180, UTF-8, CRLF): every amount exact to the micro-unit, every row complete in itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from gateway.domain.statement import Line, Section, Statement
from gateway.domain.statement_text import component_text, exact_text, kwh_text, line_text, micro_text

HEAD = (
    *("record", "account", "holder", "currency", "from", "to", "section", "day", "kind", "component", "text", "meter", "bill"),
    *("rate", "step", "register", "first_kwh", "last_kwh", "kwh", "price", "amount", "balance", "estimated", "corrected"),
    *("rule", "receipt", "bank", "serial", "to_debt", "entries", "first_entry", "last_entry"),
)
"""record: opening | line | sum | closing; amounts in the currency, `balance` after the row."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula at the beginning of a text: an apostrophe before it keeps it a text (OWASP, CSV
injection). Numbers keep their minus."""

Row = dict[str, str]


def statement_csv(statement: Statement) -> bytes:
    """The whole statement."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, HEAD, restval="", lineterminator="\r\n")
    writer.writeheader()
    about = {
        "account": _safe(statement.account),
        "holder": _safe(statement.holder),
        "currency": statement.currency,
        "from": statement.from_day.isoformat(),
        "to": statement.to_day.isoformat(),
    }
    for section in statement.sections:
        writer.writerows({**about, "section": section.name, **row} for row in _rows(section))
    return out.getvalue().encode()


def _rows(section: Section) -> Iterator[Row]:
    balance = section.opening_micro
    yield {"record": "opening", "balance": exact_text(balance)}
    for line in section.lines:
        balance += line.micro
        yield _line(line) | {"balance": exact_text(balance)}
    for each in section.sums:
        kwh = kwh_text(each.wh) if each.wh else ""
        text = component_text(each.component)
        yield {"record": "sum", "component": each.component, "text": text, "kwh": kwh, "amount": exact_text(each.micro)}
    yield {"record": "closing", "balance": exact_text(section.closing_micro)}


def _line(line: Line) -> Row:
    row = {
        "record": "line",
        "day": line.day,
        "kind": line.kind,
        "component": line.component,
        "text": _safe(line_text(line)),
        "bill": line.period,
        "amount": exact_text(line.micro),
        "corrected": "yes" if line.corrects is not None else "",
        "entries": str(line.entries),
        "first_entry": str(line.first),
        "last_entry": str(line.last),
    }
    if line.energy is not None:
        energy = line.energy
        row |= {
            "meter": _safe(energy.meter),
            "rate": energy.rate or "",
            "step": "" if energy.step is None else str(energy.step),
            "register": energy.register,
            "first_kwh": "" if energy.first_wh is None else kwh_text(energy.first_wh),
            "last_kwh": "" if energy.last_wh is None else kwh_text(energy.last_wh),
            "kwh": kwh_text(energy.wh) if energy.wh else "",
            "price": micro_text(energy.price_micro) if energy.wh else "",
            "estimated": "yes" if energy.estimated else "",
            "rule": _safe(energy.rule),
        }
    if line.receipt is not None:
        receipt = line.receipt
        row |= {"receipt": _safe(receipt.number), "bank": _safe(receipt.bank), "serial": _safe(receipt.serial)}
        row["to_debt"] = exact_text(receipt.to_debt_micro)
    return row


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
