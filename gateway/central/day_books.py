"""A bank's day file beside what was paid at the centre: compared by a reader, kept by the writer, corrected by nobody
(contract.md 3)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, Row, insert, select, update

from gateway.central import audit, resolutions, schema
from gateway.central.closed_days import is_closed
from gateway.central.day_lines import Look, day_lines, totals, waits
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.day_file import REVERSAL, DayFileError, DayLine, read_day_file
from gateway.domain.differences import Action, Difference, Matching, Resolution, TooManyDifferences, differences, digest
from gateway.domain.units import format_money
from protocols.uplink.moments import format_moment

MOST_DIFFERENCES = 10_000
"""Kept of one file: a day with more is hardly the right day's."""

JOB_MS = 15 * 60 * 1000
"""A comparison that has said nothing by then died with its instance: the longest file takes two minutes."""

CENT = 10_000

Result = dict[str, object]

_NOTHING: Result = {
    "lines": 0,
    "statement_lines": 0,
    "statement_sums": {},
    "matched": 0,
    "net_sum": "0.00",
    "net_sums": {},
    "currency": "",
    "kinds": {},
    "note": "",
}
"""Of an upload that was not compared."""

_b = schema.day_book.c


class DayIsClosed(Exception):
    """The accounting date is closed; one sentence."""


@dataclass(frozen=True, slots=True)
class Book:
    """An upload of a day's file and what it came to. result: as told, but for what changes later."""

    bank: str
    day: str
    version: int
    at_ms: int
    sha256: str
    state: str
    result: Result


def begin(connection: Connection, bank: str, day: str, sha256: str, now_ms: int) -> Book:
    """A file came: it gets its version. DayIsClosed."""
    if is_closed(connection, bank, day):
        raise DayIsClosed(f"accounting date {day} of bank {bank} is closed")
    before = newest(connection, bank, day)
    book = Book(bank, day, 1 if before is None else before.version + 1, now_ms, sha256, "running", {})
    row = {"bank": bank, "day": day, "version": book.version, "at_ms": now_ms, "sha256": sha256}
    connection.execute(insert(schema.day_book).values(**row, state="running", result="{}"))
    return book


def newest(connection: Connection, bank: str, day: str, version: int | None = None) -> Book | None:
    """The newest upload, or this version of it."""
    query = select(schema.day_book).where(_b.bank == bank, _b.day == day)
    query = query.order_by(_b.version.desc()).limit(1) if version is None else query.where(_b.version == version)
    row = connection.execute(query).one_or_none()
    return None if row is None else _read(row)


def _read(row: Row[tuple[object, ...]]) -> Book:
    return Book(**{**row._asdict(), "result": json.loads(row.result)})


def compare(connection: Connection, bank: str, day: date, chunks: Iterable[bytes], terms: PartnerTerms) -> tuple[str, Result]:
    """The file beside our lines: `done` and the result, or `failed` and why. Only reads."""
    ours, matching = day.isoformat(), Matching()
    matching.add_ours(day_lines(connection, bank, ours))
    try:
        matching.take(read_day_file(chunks))
        left = [line for line in day_lines(connection, bank, ours) if digest(line) in matching.left] if matching.left else []
        found = differences(matching, left, Look(connection, bank, day, terms.serial_scope), ours)
        if len(found) > MOST_DIFFERENCES:
            raise TooManyDifferences(f"over {MOST_DIFFERENCES} lines differ: is it the right day's file?")
    except (DayFileError, TooManyDifferences) as wrong:
        return "failed", {"note": str(wrong)}
    net = matching.matched_cents.get(terms.currency, 0) * CENT
    return "done", {
        "lines": matching.lines,
        "statement_lines": matching.ours,
        "statement_sums": _shown(matching.our_cents),
        "matched": matching.matched,
        "net_sum": format_money(net, terms.currency),
        "net_sums": _shown(matching.matched_cents),
        "currency": terms.currency,
        "kinds": dict(sorted(Counter(each.kind.value for each in found).items())),
        "differences": [_difference(number, each) for number, each in enumerate(found, 1)],
        "note": "",
    }


def keep(connection: Connection, book: Book, state: str, result: Result) -> None:
    """What the comparison found."""
    where = (_b.bank == book.bank, _b.day == book.day, _b.version == book.version)
    text = json.dumps(result, ensure_ascii=False)
    connection.execute(update(schema.day_book).where(*where).values(state=state, result=text))


def close(connection: Connection, bank: str, day: str, who: str, now_ms: int) -> str | None:
    """Closes a day by its newest upload; why not, in one sentence, else None. Closed already is closed."""
    if is_closed(connection, bank, day):
        return None
    book = newest(connection, bank, day)
    if book is None or book.state != "done":
        return f"no file of {day} was compared" if book is None else f"the file of {day} is {book.state}"
    if open_ := _open(book, resolutions.of_day(connection, bank, day)):
        return f"accounting date {day} of bank {bank} has {open_} differences"
    count, micro = totals(connection, bank, day)
    sums = {currency: format_money(each, currency) for currency, each in micro.items()}
    if (count, sums) != (book.result["statement_lines"], book.result["statement_sums"]):
        return f"{day} has other lines than those its file was compared with: upload it again"
    if waits(connection, bank, day):
        return f"a reversal of {day} waits for its gateway: close it in a quarter of an hour"
    connection.execute(insert(schema.closed_day).values(bank=bank, day=day, version=book.version, closed_ms=now_ms))
    audit.add(connection, now_ms, who, "day_closed", f"{bank}/{day}", {"lines": str(count), "version": str(book.version), **sums})
    return None


def view(connection: Connection, book: Book, now_ms: int, after: int, limit: int) -> Result:
    """The difference book as a bank is told."""
    lost = book.state == "running" and now_ms - book.at_ms > JOB_MS
    found, decided = differences_of(book), resolutions.of_day(connection, book.bank, book.day)
    result = _NOTHING | book.result | {"open": _open(book, decided)}
    result["differences"] = [_decided(each, decided) for each in found[after : after + limit]]
    return {
        "bank": book.bank,
        "accounting_date": book.day,
        "version": book.version,
        "job": f"{book.bank}-{book.day}-{book.version}",
        "poll": f"/bank/v1/reconciliations/{book.day}?version={book.version}",
        "state": "failed" if lost else book.state,
        "uploaded_at": format_moment(book.at_ms),
        "sha256": book.sha256,
        **result,
        "closed": is_closed(connection, book.bank, book.day),
        **({"note": "its comparison was cut short: upload the file again"} if lost else {}),
    }


def with_open(connection: Connection) -> list[tuple[Book, list[Result]]]:
    """Every newest upload of a day that is not closed and has open differences, with those."""
    newer = schema.day_book.alias().c
    later = select(newer.version).where(newer.bank == _b.bank, newer.day == _b.day, newer.version > _b.version).exists()
    c = schema.closed_day.c
    closed = select(c.version).where(c.bank == _b.bank, c.day == _b.day).exists()
    found = []
    for row in connection.execute(select(schema.day_book).where(~later, ~closed).order_by(_b.bank, _b.day)).all():
        book, decided = _read(row), resolutions.of_day(connection, row.bank, row.day)
        told = [_decided(each, decided) for each in differences_of(book)]
        if left := [each for each in told if each["state"] != "resolved"]:
            found.append((book, left))
    return found


def one(connection: Connection, bank: str, day: str, number: int) -> Result:
    """A difference of the newest upload, which it has."""
    book, decided = newest(connection, bank, day), resolutions.of_day(connection, bank, day)
    [found] = [] if book is None else [each for each in differences_of(book) if each["id"] == number]
    return _decided(found, decided)


def differences_of(book: Book) -> list[Result]:
    """All that an upload came to, as they are kept."""
    found = book.result.get("differences", [])
    assert isinstance(found, list)
    return found


def _open(book: Book, decided: Mapping[str, Resolution]) -> int:
    done = {about for about, each in decided.items() if each.state == "done"}
    return sum(each.get("about") not in done for each in differences_of(book))


def _decided(found: Result, decided: Mapping[str, Resolution]) -> Result:
    """A difference as it is told: with what people decided about it."""
    what = decided.get(str(found.get("about")))
    told = {name: value for name, value in found.items() if name != "about"}
    if what is None:
        return told
    return told | {"state": "resolved" if what.state == "done" else "asked", "resolution": resolutions.shown(what)}


def _shown(cents: Mapping[str, int]) -> dict[str, str]:
    return {currency: format_money(value * CENT, currency) for currency, value in sorted(cents.items())}


def _difference(number: int, found: Difference) -> Result:
    """actions: what two people may do here (central/resolving). A reversal that only we have is not booked again: the centre has no
    ledger in which it could be set aside."""
    of_reversal = found.line is not None and found.line.type == REVERSAL
    own = {Action.IGNORE} if found.there is None else {Action.IGNORE, Action.REVERSE}
    return {
        "id": number,
        "about": found.about,
        "kind": found.kind.value,
        "detail": found.detail,
        "line": None if found.there is None else found.there.number,
        "serial": None if found.line is None else found.line.serial,
        "there": _line(found.there),
        "here": _line(found.here),
        "accounting_date_here": found.date_here or None,
        "actions": sorted(each.value for each in (found.actions & own if of_reversal else found.actions)),
        "state": "open",
        "resolution": None,
    }


def _line(line: DayLine | None) -> dict[str, str] | None:
    return None if line is None else {name: value for name, value in line._asdict().items() if name != "number"}
