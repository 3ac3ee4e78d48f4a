"""Banks' day files of fixed length or with separators, turned into the one form that reconciliation reads (contract.md 3).

What a line says is only moved, never judged: a line that its table does not describe comes out as a line that reconciliation calls
bad, at the same place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from protocols.bank.iso8583_meaning import institution, joined
from protocols.bank.records import BadRecord, Layout, charset_of, layout, lines, separator_of
from protocols.profile_table import Table

HEADER = "serial,account,amount,currency,type,original_serial,paid_at,channel,institution"
COLUMNS = frozenset({"date", "time", "serial", "account", "amount", "channel", "type", "original", "institution", "currency"})
NEEDED = frozenset({"serial", "account", "amount"})
TYPES = ("topup", "reversal", "refund")

TRACE = "trace"
_DIGITS = {"sent": 10, TRACE: 6}
_INSTITUTIONS = frozenset({"acquirer", "forwarder"})
"""Columns that stand for fields 7, 11, 32 and 33 of ISO 8583, whose zeros a file of text may leave out."""

_FEN = re.compile(r"0*([0-9]{1,11})", re.ASCII)
_DECIMAL = re.compile(r"0*([0-9]{1,9})\.([0-9]{2})", re.ASCII)


class DayFileError(ValueError):
    """The file as a whole is none of its table's, in one sentence."""


@dataclass(frozen=True, slots=True)
class DayTable:
    """summary: the line of totals with its columns `count` and `sum`; first: it begins the file, else it ends it. decimal: amounts
    have a point, else they are in fen. types: the bank's word to ours. offset: of the times, like +08:00.

    serial_of: columns that together are the payment's serial, joined by `-`. With `trace` among them they name a payment of
    ISO 8583; `sent`, `trace`, `acquirer` and `forwarder` may then be padded with zeros or blanks. A reversal without a column
    `original` names its payment by its own serial.
    """

    name: str
    detail: Layout
    summary: Layout
    first: bool
    decimal: bool
    types: Mapping[str, str]
    currency: str
    offset: str
    date_form: str
    serial_of: tuple[str, ...]


def day_table(data: Mapping[str, object], name: str = "day file") -> DayTable:
    """From a parsed TOML document. ProfileError says in one sentence what is wrong with it."""
    table = Table(data, name)
    charset, separator = charset_of(table), separator_of(table)
    summary = table.table("summary")
    detail = layout(table.table("detail"), charset, separator)
    found = DayTable(
        name=table.take("name", str),
        detail=detail,
        summary=layout(summary, charset, separator),
        first=summary.choice("at", ("first", "last")) == "first",
        decimal=table.choice("amounts", ("fen", "decimal")) == "decimal",
        types=_types(table.table("types", {})),
        currency=table.take("currency", str, "CNY"),
        offset=table.take("offset", str, "+08:00"),
        date_form=table.choice("dates", ("%Y%m%d", "%Y-%m-%d"), "%Y%m%d"),
        serial_of=table.each("serial_of", str, ["serial"]),
    )
    summary.done()
    table.done()
    names = {column.name for column in detail.columns}
    extra = names - COLUMNS - set(found.serial_of) - {name for name in names if name.startswith("_")}
    if extra or not NEEDED - {"serial"} <= names or not set(found.serial_of) <= names:
        raise table.fail("detail", "must have the columns account and amount and those of serial_of, and no unknown ones")
    if not {"count", "sum"} <= {column.name for column in found.summary.columns}:
        raise table.fail("summary", "must have the columns count and sum")
    return found


def _types(table: Table) -> dict[str, str]:
    return {word: table.choice(word, TYPES) for word in table.unasked()}


def parse_dayfile(chunks: Iterable[bytes], table: DayTable, day: str) -> Iterator[bytes]:
    """The file as reconciliation reads it, line by line: header, a line for each line, and the line of totals.

    day: the accounting date (ISO), for files whose lines have no date of their own. DayFileError where totals are missing.
    """
    yield HEADER.encode() + b"\n"
    source = lines(chunks)
    held = next(source, None)
    for line in source:
        yield _line(line if table.first else held, table, day)
        held = held if table.first else line
    yield _totals(held, table)


def _line(line: bytes | None, table: DayTable, day: str) -> bytes:
    try:
        if line is None:
            raise BadRecord("it is too long")
        return ",".join(_values(table.detail.read(line), table, day)).encode() + b"\n"
    except BadRecord as bad:
        shown = "" if line is None else line.decode("ascii", "replace")
        return re.sub(r"[,\"\x00-\x1f\x7f]", " ", f"{shown[:150]} ({bad})").encode("ascii", "replace") + b"\n"


def _values(told: Mapping[str, str], table: DayTable, day: str) -> tuple[str, ...]:
    word = told.get("type", "")
    kind = table.types.get(word, "topup" if not table.types else "")
    if not kind:
        raise BadRecord(f"its type {word!r} is none of this bank's")
    serial = _serial(told, table)
    original = "" if kind == "topup" else told.get("original") or serial
    found = (
        serial, told["account"], _amount(told["amount"], table), told.get("currency") or table.currency, kind, original,
        _moment(told, table, day), told.get("channel", ""), told.get("institution", ""),
    )  # fmt: skip
    if any("," in value or '"' in value for value in found):
        raise BadRecord("a value has a comma or a quote")
    return found


def _serial(told: Mapping[str, str], table: DayTable) -> str:
    parts = {name: told[name] for name in table.serial_of}
    if TRACE not in parts:
        return "-".join(parts.values())
    whole = {name: text.rjust(_DIGITS[name], "0") if name in _DIGITS else text for name, text in parts.items()}
    return joined([institution(text) if name in _INSTITUTIONS else text for name, text in whole.items()])


def _amount(text: str, table: DayTable) -> str:
    if table.decimal:
        match = _DECIMAL.fullmatch(text)
        if match is not None:
            return f"{int(match[1])}.{match[2]}"
    elif (match := _FEN.fullmatch(text)) is not None:
        return _shown(int(match[1]))
    raise BadRecord(f"its amount {text!r} is none")


def _shown(fen: int) -> str:
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def _moment(told: Mapping[str, str], table: DayTable, day: str) -> str:
    time = told.get("time", "") or "000000"
    try:
        date = datetime.strptime(told["date"], table.date_form) if told.get("date") else datetime.strptime(day, "%Y-%m-%d")
        clock = datetime.strptime(time.replace(":", ""), "%H%M%S")
    except ValueError:
        raise BadRecord("its date or time is none") from None
    return f"{date:%Y-%m-%d}T{clock:%H:%M:%S}{table.offset}"


def _totals(line: bytes | None, table: DayTable) -> bytes:
    """The last line of our form, from the bank's own."""
    try:
        told = table.summary.read(line if line is not None else b"")
    except BadRecord as bad:
        where = "first" if table.first else "last"
        raise DayFileError(f"the {where} line must be that of totals, and {bad}") from None
    text = told["sum"]
    back, text = text.startswith("-"), text.removeprefix("-")
    if not told["count"].isascii() or not told["count"].isdecimal():
        raise DayFileError(f"the line of totals has {told['count'][:20]!r} for a count")
    try:
        amount = _amount(text, table)
    except BadRecord:
        raise DayFileError(f"the line of totals has {text[:20]!r} for a sum") from None
    return f"#{int(told['count'])},{'-' if back and amount != '0.00' else ''}{amount}\n".encode()
