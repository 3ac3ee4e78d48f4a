"""Batch files of direct debits out, and banks' result files in: their layouts stand in data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from protocols.bank.records import BadRecord, Layout, charset_of, layout, lines, separator_of
from protocols.profile_table import Table

OUT_DETAIL = frozenset({"number", "serial", "payer", "account", "amount", "currency", "date"})
OUT_SUMMARY = frozenset({"count", "sum", "date", "batch", "currency"})
IN_DETAIL = frozenset({"serial", "amount", "code", "text", "date", "account", "payer", "number", "currency"})


class DebitFileError(ValueError):
    """A file that is none of its table's, in one sentence; nothing of it is booked."""


@dataclass(frozen=True, slots=True)
class Debit:
    """A line to be asked for. fen: the currency's smallest unit."""

    number: int
    serial: str
    payer: str
    account: str
    fen: int
    currency: str


@dataclass(frozen=True, slots=True)
class Result:
    """A line of a result file. paid: the bank took the money; said: its code and words. currency: empty where no column says it."""

    serial: str
    fen: int
    paid: bool
    said: str
    paid_on: date
    currency: str = ""


@dataclass(frozen=True, slots=True)
class DebitTable:
    """Four layouts: summary (the first line) and detail of what goes out and of what comes in. paid: codes that mean money."""

    name: str
    out_summary: Layout
    out_detail: Layout
    in_summary: Layout
    in_detail: Layout
    paid: frozenset[str]
    dates: str
    end: str


def debit_table(data: Mapping[str, object], name: str = "debit file") -> DebitTable:
    """From a parsed TOML document. ProfileError says in one sentence what is wrong with it."""
    table = Table(data, name)
    charset, separator = charset_of(table), separator_of(table)
    out, back = table.table("out"), table.table("result")
    found = DebitTable(
        table.take("name", str),
        layout(out.table("summary"), charset, separator),
        layout(out.table("detail"), charset, separator),
        layout(back.table("summary"), charset, separator),
        layout(back.table("detail"), charset, separator),
        frozenset(back.each("paid", str)),
        table.choice("dates", ("%Y%m%d", "%Y-%m-%d"), "%Y%m%d"),
        {"lf": "\n", "crlf": "\r\n"}[table.choice("lines", ("lf", "crlf"), "lf")],
    )
    for each in (out, back, table):
        each.done()
    for what, columns, known, needed in (
        ("out: detail", found.out_detail, OUT_DETAIL, {"serial", "payer", "amount"}),
        ("out: summary", found.out_summary, OUT_SUMMARY, {"count", "sum"}),
        ("result: detail", found.in_detail, IN_DETAIL, {"serial", "amount", "code"}),
        ("result: summary", found.in_summary, OUT_SUMMARY, {"count"}),
    ):
        names = {column.name for column in columns.columns if not column.name.startswith("_")}
        if not needed <= names <= known:
            raise table.fail(what, f"must have {', '.join(sorted(needed))} and may have {', '.join(sorted(known - needed))}")
    return found


def write_batch(table: DebitTable, batch: str, day: date, debits: Iterable[Debit]) -> bytes:
    """The file that goes to the bank: totals first. BadRecord for a value that its column does not hold."""
    listed = list(debits)
    when = day.strftime(table.dates)
    total = sum(debit.fen for debit in listed)
    currency = listed[0].currency if listed else ""
    told = {"count": str(len(listed)), "sum": str(total), "date": when, "batch": batch, "currency": currency}
    found = [table.out_summary.write(_only(table.out_summary, told))]
    for debit in listed:
        each = {
            "number": str(debit.number), "serial": debit.serial, "payer": debit.payer, "account": debit.account,
            "amount": str(debit.fen), "currency": debit.currency, "date": when,
        }  # fmt: skip
        found.append(table.out_detail.write(_only(table.out_detail, each)))
    end = table.end.encode()
    return end.join(found) + end


def read_results(
    table: DebitTable, chunks: Iterable[bytes], day: date, ours: Callable[[str], bool] = lambda batch: True
) -> Iterator[Result]:
    """What the bank says of each line. day: for files whose lines have no date. ours: whether a batch is one of this bank's, where
    the first line names one: serials of two banks may be the same. DebitFileError at the first line that is none, and
    at the end where the count of the first line is not right: so read it to its end before anything is booked."""
    count = -1
    number = -1
    for number, line in enumerate(lines(chunks)):
        try:
            if line is None:
                raise BadRecord("it is too long")
            if number == 0:
                told = table.in_summary.read(line)
                count = _whole(told["count"])
                if (batch := told.get("batch")) and not ours(batch):
                    raise BadRecord(f"it is about {batch[:80]!r}, which is no batch of this bank's")
            else:
                yield _result(table, table.in_detail.read(line), day)
        except BadRecord as bad:
            raise DebitFileError(f"line {number + 1}: {bad}") from None
    if number < 0:
        raise DebitFileError("the file is empty")
    if number != count:
        raise DebitFileError(f"the first line says {count} lines, and there are {number}")


def _result(table: DebitTable, told: Mapping[str, str], day: date) -> Result:
    code = told["code"]
    if not code:
        raise BadRecord("it has no code")
    on = day
    if told.get("date"):
        try:
            on = datetime.strptime(told["date"], table.dates).date()
        except ValueError:
            raise BadRecord(f"its date {told['date'][:20]!r} is none") from None
    said = f"{code} {told.get('text', '')}".strip()
    return Result(told["serial"], _whole(told["amount"]), code in table.paid, said[:200], on, told.get("currency", ""))


def _whole(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) is None:
        raise BadRecord(f"{text[:20]!r} is no whole number")
    return int(text)


def _only(form: Layout, told: Mapping[str, str]) -> dict[str, str]:
    return {column.name: told.get(column.name, "") for column in form.columns}
