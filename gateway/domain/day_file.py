"""A bank's day file, and ours in the same form: strict CSV with a header and a last line of totals (contract.md 3).

Lines end in LF or CRLF; a byte order mark, and fields in quotes as RFC 4180 writes them, are taken. A line that cannot be read is a
difference like any other; a file without header or last line is none.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from gateway.domain.units import DECIMALS

HEADER = "serial,account,amount,currency,type,original_serial,paid_at,channel,institution"
FIELDS = tuple(HEADER.split(","))
TOPUP, REVERSAL, REFUND = "topup", "reversal", "refund"

MOST_LINE_BYTES = 1_024
"""A line of the longest fields has under 450; a longer one is bad and is passed over without being kept."""

MOST_SHOWN = 200
"""Characters of a bad line that are kept for a person to look at."""

_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
_TOKEN = r"[A-Za-z0-9._:-]"
FORMS = {
    "serial": _TOKEN + "{1,64}",
    "account": "[A-Za-z0-9_-]{1,64}",
    "amount": r"(?:0|[1-9][0-9]{0,8})\.[0-9]{2}",
    "currency": "[A-Z]{3}",
    "type": "topup|reversal|refund",
    "original_serial": _TOKEN + "{0,64}",
    "paid_at": _MOMENT,
    "channel": _TOKEN + "{0,64}",
    "institution": _TOKEN + "{0,64}",
}
_LINE = re.compile(",".join(f"({form})" for form in FORMS.values()), re.ASCII)
_TRAILER = re.compile(r"#(0|[1-9][0-9]{0,9}),(-?(?:0|[1-9][0-9]{0,15})\.([0-9]{2}))", re.ASCII)


class DayFileError(ValueError):
    """The file as a whole cannot be read, in one sentence."""


class DayLine(NamedTuple):
    """A line: money that came in (topup) or went back. amount: as written; number: of the line in its file, 0 in a statement."""

    serial: str
    account: str
    amount: str
    currency: str
    type: str
    original_serial: str
    paid_at: str
    channel: str
    institution: str
    number: int = 0

    @property
    def cents(self) -> int:
        """Hundredths, below zero where money went back."""
        value = int(self.amount.replace(".", ""))
        return value if self.type == TOPUP else -value

    @property
    def ident(self) -> tuple[str, str, str]:
        """What it is about: a reversal is known by the payment that it undoes, whatever serial it has itself."""
        return self.type, self.institution, self.original_serial if self.type == REVERSAL else self.serial

    def text(self) -> str:
        """As it stands in a file."""
        return ",".join(self[:9])


class BadLine(NamedTuple):
    """A line that cannot be read. cents: hundredths where at least type and amount can, else None."""

    number: int
    text: str
    why: str
    cents: int | None = None


class Trailer(NamedTuple):
    """What the last line says: lines (bad ones counted), and hundredths: top-ups minus reversals and refunds."""

    lines: int
    cents: int


Record = DayLine | BadLine | Trailer


def read_day_file(chunks: Iterable[bytes]) -> Iterator[Record]:
    """The lines of a file in their order, at last its trailer. DayFileError where there is no header or no last line."""
    trailer: tuple[int, str] | None = None
    number = 0
    for number, text in _numbered(chunks):
        if number == 1:
            if text is None or _unquoted(text) != list(FIELDS):
                raise DayFileError(f"the first line must be {HEADER}")
            continue
        if trailer is not None:
            yield BadLine(trailer[0], trailer[1][:MOST_SHOWN], "a line of totals that is not the last")
            trailer = None
        if text is not None and text.startswith("#"):
            trailer = number, text
        else:
            yield _record(number, text)
    if number == 0:
        raise DayFileError("the file is empty")
    found = _TRAILER.fullmatch(trailer[1]) if trailer is not None else None
    if found is None:
        raise DayFileError("the last line must be #<lines>,<top-ups minus reversals and refunds>, like #3,150.00")
    yield Trailer(int(found[1]), int(found[2].replace(".", "")))


def write_day_file(lines: Iterable[DayLine]) -> Iterator[str]:
    """A file of these lines, line by line. No cell of it is a formula: none begins with =, + or @, or has a bracket or a |."""
    count = cents = 0
    yield HEADER + "\n"
    for line in lines:
        count, cents = count + 1, cents + line.cents
        yield line.text() + "\n"
    yield f"#{count},{shown(cents)}\n"


def shown(cents: int) -> str:
    """Hundredths as money."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def moment(at_ms: int) -> str:
    """UTC milliseconds as `paid_at` has them."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).isoformat()


def _numbered(chunks: Iterable[bytes]) -> Iterator[tuple[int, str | None]]:
    """Number and text of each line, without its end; None for one that is too long or no UTF-8. Empty lines at the end are none."""
    empty, number = 0, 0
    for line in _split(chunks):
        number += 1
        if line is not None and not line.strip(b"\r"):
            empty += 1
            continue
        for back in range(empty, 0, -1):
            yield number - back, ""
        empty = 0
        if line is None:
            yield number, None
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield number, line.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            yield number, None


def _split(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    rest, lost = b"", False
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield None if lost or len(line) > MOST_LINE_BYTES else line
            lost = False
        if len(rest) > MOST_LINE_BYTES:
            rest, lost = b"", True
    if rest or lost:
        yield None if lost else rest


def _record(number: int, text: str | None) -> DayLine | BadLine:
    if text is None:
        return BadLine(number, "", f"it is no UTF-8, or longer than {MOST_LINE_BYTES} bytes")
    found = _LINE.fullmatch(text)
    if found is not None:
        line = DayLine._make((*found.groups(), number))
        return line if _sound(line) else _bad(number, text, list(line[:9]))
    fields = _unquoted(text)
    if fields is not None and (again := _LINE.fullmatch(",".join(fields))) is not None and len(fields) == len(FIELDS):
        line = DayLine._make((*again.groups(), number))
        return line if _sound(line) else _bad(number, text, fields)
    return _bad(number, text, fields)


def _sound(line: DayLine) -> bool:
    linked = bool(line.original_serial) is (line.type != TOPUP)
    return linked and line.amount != "0.00" and DECIMALS.get(line.currency) == 2 and _moment(line.paid_at)


def _moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


def _unquoted(text: str) -> list[str] | None:
    if '"' not in text:
        return text.split(",")
    try:
        return next(iter(csv.reader([text], strict=True)), None)
    except csv.Error:
        return None


def _bad(number: int, text: str, fields: list[str] | None) -> BadLine:
    """What is wrong with a line, by its first wrong field."""
    if fields is None or len(fields) != len(FIELDS):
        has = "cannot be split into fields" if fields is None else f"has {len(fields)} fields, not {len(FIELDS)}"
        return BadLine(number, text[:MOST_SHOWN], f"it {has}")
    cents = None
    amount, kind = fields[2], fields[4]
    if re.fullmatch(FORMS["amount"], amount, re.ASCII) and kind in (TOPUP, REVERSAL, REFUND):
        cents = int(amount.replace(".", "")) * (1 if kind == TOPUP else -1)
    wrong = next((name for name, value in zip(FIELDS, fields, strict=True) if not _right(name, value)), None)
    if wrong is not None:
        return BadLine(number, text[:MOST_SHOWN], f"{wrong} does not have the right form", cents)
    lacks = kind == TOPUP
    why = "a topup has no original_serial" if lacks else f"a {kind} needs the original_serial of its payment"
    return BadLine(number, text[:MOST_SHOWN], why, cents)


def _right(name: str, value: str) -> bool:
    if re.fullmatch(FORMS[name], value, re.ASCII) is None:
        return False
    if name == "amount":
        return value != "0.00"
    if name == "currency":
        return DECIMALS.get(value) == 2
    return name != "paid_at" or _moment(value)
