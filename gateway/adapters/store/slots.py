"""Schemes, slots and their tallies, records of meters' own memories, and what is left after the retention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache

from sqlalchemy import Column, ColumnElement, Integer, bindparam, delete, func, literal_column, select, update

from gateway.adapters.store import schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.statements import Part, Row, Statement, Value, once, upsert
from gateway.domain.jobs import Want
from gateway.domain.readings import Quality, Source
from gateway.domain.records import DaySum
from gateway.domain.schemes import Completeness, Scheme, Slot, SlotState, Tally

_s, _c, _d = schema.slot.c, schema.completeness.c, schema.day_sum.c
_most = bindparam("most", type_=Integer)
_expected = _s.state == literal_column("'expected'")
_of = (_s.meter == bindparam("of_meter")) & (_s.want == bindparam("of_want"))
_earlier = _of & (_s.at_ms < bindparam("before_ms"))

SCHEMES = Statement(select(schema.scheme).order_by(schema.scheme.c.id))
_scheme_priority = func.min(schema.scheme.c.priority)
WANTED = Statement(select(schema.scheme.c.want, _scheme_priority).group_by(schema.scheme.c.want))
SAVE_SCHEME = upsert(schema.scheme)
DROP_SCHEME = Statement(delete(schema.scheme).where(schema.scheme.c.id == bindparam("scheme")))

ADD_SLOT = once(schema.slot, "meter", "want", "at_ms")
SAVE_SLOT = upsert(schema.slot)
_live = _s.source == literal_column("'live'")
_due = (_s.line == bindparam("on_line")) & (_s.want == bindparam("of_want")) & (_s.next_ms <= bindparam("now_ms"))


def _first_of_each(due: ColumnElement[bool], *order: Column[int]) -> Statement:
    """Of each meter the one that comes first, out of the first `looked_at`: the database is quicker at it than we are."""
    most = bindparam("looked_at", type_=Integer)
    looked_at = select(schema.slot).where(_expected, _due, due).order_by(*order).limit(most).subquery()
    ranks = [looked_at.c[column.name] for column in order]
    nth = func.row_number().over(partition_by=looked_at.c.meter, order_by=ranks).label("nth")
    ranked = select(looked_at, nth).subquery()
    columns = [ranked.c[column.name] for column in schema.slot.c]
    return Statement(select(*columns).where(ranked.c.nth == 1).order_by(*(ranked.c[c.name] for c in order)).limit(_most))


LATE = _first_of_each((_s.late_ms < bindparam("now_ms")) & ~_live, _s.next_ms, _s.at_ms)
IN_TIME = _first_of_each(_s.late_ms >= bindparam("now_ms"), _s.late_ms, _s.at_ms)
_span = _s.at_ms.between(bindparam("from_ms"), bindparam("to_ms"))
SLOTS = Statement(select(schema.slot).where(_of, _span).order_by(_s.at_ms).limit(_most))
MISSED_LIVE = Statement(
    select(schema.slot).where(_expected, _live, _s.late_ms < bindparam("now_ms")).order_by(_s.late_ms).limit(_most)
)
_later = (_s.meter == bindparam("of_meter")) & (_s.next_ms > bindparam("now_ms"))
WAKE = Statement(update(schema.slot).where(_expected, _later).values(next_ms=bindparam("now_ms")))
MOVE = Statement(update(schema.slot).where(_expected, _s.meter == bindparam("of_meter")).values(line=bindparam("to_line")))
DROP_SETTLED = Statement(delete(schema.slot).where(_earlier, ~_expected))
DROP_EXPECTED = Statement(delete(schema.slot).where(_earlier, _expected))

_COUNTS = ("expected", "read", "in_time", "unavailable")
TALLY = upsert(schema.completeness, lambda new: {name: _c[name] + new[name] for name in _COUNTS})
COMPLETENESS = Statement(
    select(schema.completeness)
    .where(_c.day.between(bindparam("from_day"), bindparam("to_day")))
    .order_by(_c.day, _c.scheme, _c.line)
)
_row = (_c.day == bindparam("of_day")) & (_c.scheme == bindparam("of_scheme")) & (_c.line == bindparam("on_line"))
JUDGED = Statement(update(schema.completeness).where(_row).values(judged=bindparam("done")))
DROP_COMPLETENESS = Statement(delete(schema.completeness).where(_c.day < bindparam("before_day")))

ADD_RECORD = once(schema.meter_record, "meter", "kind", "key")

DAY_SUM = Statement(
    select(schema.day_sum).where(
        _d.meter == bindparam("of_meter"), _d.day == bindparam("of_day"), _d.quantity == bindparam("of_quantity")
    )
)
SAVE_DAY_SUM = upsert(schema.day_sum)
DAY_SUMS = Statement(
    select(schema.day_sum)
    .where(_d.meter == bindparam("of_meter"), _d.day >= bindparam("since_day"))
    .order_by(_d.day, _d.quantity)
    .limit(_most)
)

DROP_READING = Statement(delete(schema.reading).where(schema.reading.c.id == bindparam("number")))

LOOKED_AT = 32
"""Due slots looked at for each meter wanted: a meter that misses days fills that many with its own."""


class Slots(Part):
    """The collection's share of a transaction."""

    def schemes(self) -> Sequence[Scheme]:
        return [_scheme(row) for row in self._session.rows(SCHEMES)]

    def wanted(self) -> Mapping[Want, int]:
        return {Want(want): int(priority) for want, priority in self._session.rows(WANTED)}

    def save_scheme(self, scheme: Scheme) -> None:
        self._session.change(
            SAVE_SCHEME,
            id=scheme.id,
            want=scheme.want,
            cron=scheme.cron,
            window_ms=scheme.window_ms,
            step_ms=scheme.step_ms,
            priority=scheme.priority,
            retries=scheme.retries,
            target=scheme.target,
            meters=encode(scheme.meters),
        )

    def drop_scheme(self, scheme: str) -> None:
        self._session.change(DROP_SCHEME, scheme=scheme)

    def add_slots(self, slots: Iterable[Slot]) -> Sequence[Slot]:
        return [slot for slot in slots if self._session.change(ADD_SLOT, **_values(slot))]

    def save_slot(self, slot: Slot) -> None:
        self._session.change(SAVE_SLOT, **_values(slot))

    def due_slots(self, line: str, want: Want, now_ms: int, limit: int, *, late: bool) -> Sequence[Slot]:
        which, looked_at = LATE if late else IN_TIME, limit * LOOKED_AT
        rows = self._session.rows(which, on_line=line, of_want=want, now_ms=now_ms, looked_at=looked_at, most=limit)
        return [_slot(row) for row in rows]

    def slots(self, meter: str, want: Want, from_ms: int, to_ms: int, limit: int) -> Sequence[Slot]:
        rows = self._session.rows(SLOTS, of_meter=meter, of_want=want, from_ms=from_ms, to_ms=to_ms, most=limit)
        return [_slot(row) for row in rows]

    def missed_live(self, now_ms: int, limit: int) -> Sequence[Slot]:
        return [_slot(row) for row in self._session.rows(MISSED_LIVE, now_ms=now_ms, most=limit)]

    def wake_slots(self, meter: str, now_ms: int) -> None:
        self._session.change(WAKE, of_meter=meter, now_ms=now_ms)

    def move_slots(self, meter: str, line: str) -> None:
        self._session.change(MOVE, of_meter=meter, to_line=line)

    def drop_slots(self, meter: str, want: Want, before_ms: int, *, expected: bool = False) -> int:
        return self._session.change(DROP_EXPECTED if expected else DROP_SETTLED, of_meter=meter, of_want=want, before_ms=before_ms)

    def add_tally(self, day: str, scheme: str, line: str, tally: Tally) -> None:
        counts: dict[str, Value] = {name: getattr(tally, name) for name in _COUNTS}
        self._session.change(TALLY, day=day, scheme=scheme, line=line, judged=False, **counts)

    def completeness(self, from_day: str, to_day: str) -> Sequence[Completeness]:
        rows = self._session.rows(COMPLETENESS, from_day=from_day, to_day=to_day)
        return [Completeness(day, scheme, line, Tally(*counts), bool(done)) for day, scheme, line, *counts, done in rows]

    def mark_judged(self, day: str, scheme: str, line: str) -> None:
        self._session.change(JUDGED, of_day=day, of_scheme=scheme, on_line=line, done=True)

    def drop_completeness(self, before_day: str) -> int:
        return self._session.change(DROP_COMPLETENESS, before_day=before_day)

    def add_meter_record(self, meter: str, kind: str, key: str, at_ms: int) -> bool:
        return bool(self._session.change(ADD_RECORD, meter=meter, kind=kind, key=key, at_ms=at_ms))


class Retention(Part):
    """The share of what is forgotten."""

    def drop_readings(self, numbers: Iterable[int]) -> None:
        self._session.change_each(DROP_READING, [{"number": number} for number in numbers])

    def day_sum(self, meter: str, day: str, quantity: str) -> DaySum | None:
        row = self._session.row(DAY_SUM, of_meter=meter, of_day=day, of_quantity=quantity)
        return None if row is None else _day_sum(row)

    def save_day_sum(self, day_sum: DaySum) -> None:
        self._session.change(
            SAVE_DAY_SUM,
            meter=day_sum.meter,
            day=day_sum.day,
            quantity=day_sum.quantity,
            unit=day_sum.unit,
            count=day_sum.count,
            first=str(day_sum.first),
            first_ms=day_sum.first_ms,
            last=str(day_sum.last),
            last_ms=day_sum.last_ms,
            lowest=str(day_sum.lowest),
            highest=str(day_sum.highest),
        )

    def day_sums(self, meter: str, since_day: str, limit: int) -> Sequence[DaySum]:
        return [_day_sum(row) for row in self._session.rows(DAY_SUMS, of_meter=meter, since_day=since_day, most=limit)]


def _values(slot: Slot) -> Mapping[str, Value]:
    return {
        "meter": slot.meter,
        "want": slot.want,
        "at_ms": slot.at_ms,
        "scheme": slot.scheme,
        "line": slot.line,
        "source": slot.source,
        "late_ms": slot.late_ms,
        "next_ms": slot.next_ms,
        "retries": slot.retries,
        "state": slot.state,
        "tries": slot.tries,
        "read_ms": slot.read_ms,
        "quality": slot.quality,
    }


def _slot(row: Row) -> Slot:
    meter, want, at_ms, scheme, line, source, late_ms, next_ms, retries, state, tries, read_ms, quality = row
    return Slot(
        meter=meter,
        want=Want(want),
        at_ms=at_ms,
        scheme=scheme,
        line=line,
        source=Source(source),
        late_ms=late_ms,
        next_ms=next_ms,
        retries=retries,
        state=SlotState(state),
        tries=tries,
        read_ms=read_ms,
        quality=None if quality is None else Quality(quality),
    )


@lru_cache(maxsize=64)  # they are looked at every few seconds and hold all meters
def _scheme(row: Row) -> Scheme:
    ident, want, cron, window_ms, step_ms, priority, retries, target, text = row
    meters = {meter: Source(source) for meter, source in decode(text, dict[str, str]).items()}
    return Scheme(ident, Want(want), cron, window_ms, step_ms, priority, retries, target, meters)


def _day_sum(row: Row) -> DaySum:
    meter, day, quantity, unit, count, first, first_ms, last, last_ms, lowest, highest = row
    return DaySum(
        meter, day, quantity, unit, count, Decimal(first), first_ms, Decimal(last), last_ms, Decimal(lowest), Decimal(highest)
    )
