"""Readings as they were stored, each meter's newest values, and how far it is billed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from operator import itemgetter

from sqlalchemy import Integer, bindparam, select, update

from gateway.adapters.store import schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.later import Later, Values
from gateway.adapters.store.statements import Part, Row, Rows, Session, Statement, Value
from gateway.domain.readings import Billing, Doubt, Item, Quality, Reading, Registers, Source
from gateway.domain.records import LatestItem, StoredReading

_r, _l, _b = schema.reading.c, schema.latest.c, schema.billing.c
ADD = Rows(schema.reading, ("meter", "point", "quality", "source", "asked_ms", "answered_ms", "stored_ms", "items", "taken_ms"))
SINCE = Statement(
    select(schema.reading)
    .where(_r.meter == bindparam("meter"), _r.answered_ms >= bindparam("since_ms"))
    .order_by(_r.answered_ms, _r.id)
    .limit(bindparam("most", type_=Integer))
)
PAST = Statement(
    select(schema.reading)
    .where(_r.meter == bindparam("meter"), _r.source == bindparam("source"), _r.taken_ms == bindparam("taken_ms"))
    .order_by(_r.id)
)
SET_QUALITY = Statement(update(schema.reading).where(_r.id == bindparam("number")).values(quality=bindparam("new_quality")))
RENEW = Rows(
    schema.latest,
    ("meter", "quantity", "value", "unit", "obis", "answered_ms"),
    lambda insert: insert.on_conflict_do_update(
        index_elements=["meter", "quantity"],
        set_={name: insert.excluded[name] for name in ("value", "unit", "obis", "answered_ms")},
        where=insert.excluded.answered_ms >= _l.answered_ms,
    ),
)
LATEST = Statement(select(schema.latest).where(_l.meter == bindparam("meter")).order_by(_l.quantity))
_state = [c.name for c in _b if not c.primary_key]
BILLING = Statement(select(schema.billing).where(_b.meter == bindparam("meter")))
SAVE_BILLING = Rows(
    schema.billing,
    ["meter", *_state],
    lambda insert: insert.on_conflict_do_update(index_elements=["meter"], set_={name: insert.excluded[name] for name in _state}),
)


class Readings(Part):
    """The readings' share of a transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._new_readings = Later(lambda rows: session.insert(ADD, rows))
        self._new_items = Later(lambda rows: session.insert(RENEW, _newest(rows)))
        self._new_billings = Later(lambda rows: session.insert(SAVE_BILLING, [*{row[0]: row for row in rows}.values()]))

    def add_reading(self, reading: Reading, point: str, quality: Quality, stored_ms: int) -> None:
        """Freeze and curve values lie in the past: they do not become the meter's latest."""
        items = [(item.quantity, _decimal_text(item.value), item.unit, item.obis) for item in reading.items]
        moments = reading.asked_ms, reading.answered_ms, stored_ms
        self._new_readings.add(reading.meter, point, quality, reading.source, *moments, encode(items), reading.taken_ms)
        if reading.source is Source.LIVE:
            for quantity, value, unit, obis in items:
                self._new_items.add(reading.meter, quantity, value, unit, obis, reading.answered_ms)

    def readings(self, meter: str, since_ms: int, limit: int) -> Sequence[StoredReading]:
        self._new_readings.flush()
        return [_reading(row) for row in self._session.rows(SINCE, meter=meter, since_ms=since_ms, most=limit)]

    def past_readings(self, meter: str, source: Source, taken_ms: int) -> Sequence[StoredReading]:
        self._new_readings.flush()
        return [_reading(row) for row in self._session.rows(PAST, meter=meter, source=source, taken_ms=taken_ms)]

    def set_quality(self, reading: int, quality: Quality) -> None:
        self._new_readings.flush()
        self._session.change(SET_QUALITY, number=reading, new_quality=quality)

    def latest(self, meter: str) -> Mapping[str, LatestItem]:
        self._new_items.flush()
        rows = self._session.rows(LATEST, meter=meter)
        return {quantity: LatestItem(_item(quantity, value, unit, obis), at_ms) for _, quantity, value, unit, obis, at_ms in rows}

    def billing(self, meter: str) -> Billing | None:
        self._new_billings.flush()
        row = self._session.row(BILLING, meter=meter)
        return None if row is None else _billing(row)

    def save_billing(self, billing: Billing) -> None:
        confirmed, candidate, suspect = billing.confirmed, billing.candidate, billing.suspect
        self._new_billings.add(
            billing.meter,
            None if confirmed is None else confirmed.at_ms,
            None if confirmed is None else encode(confirmed.wh),
            None if candidate is None else candidate.at_ms,
            None if candidate is None else encode(candidate.wh),
            billing.first_wh,
            billing.held,
            billing.held_ms,
            billing.suspects,
            None if suspect is None else suspect.at_ms,
            None if suspect is None else encode(suspect.wh),
            billing.moved_ms,
            billing.still_ms,
            billing.still_wms,
            billing.renewals,
        )


def _newest(rows: list[Values]) -> list[Values]:
    """The newest of each quantity; of the same moment the last. PostgreSQL refuses to change a row twice in a statement."""
    newest: dict[tuple[Value, Value], Values] = {}
    for row in sorted(rows, key=itemgetter(5)):
        newest[row[0], row[1]] = row
    return [*newest.values()]


def _decimal_text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _item(quantity: str, value: str | None, unit: str, obis: str | None) -> Item:
    return Item(quantity, None if value is None else Decimal(value), unit, obis)


def _reading(row: Row) -> StoredReading:
    number, meter, point, quality, source, asked_ms, answered_ms, stored_ms, text, taken_ms = row
    items = tuple(_item(*item) for item in decode(text, list[tuple[str, str | None, str, str | None]]))
    read = Reading(meter, items, asked_ms, answered_ms, Source(source), taken_ms)
    return StoredReading(number, read, point, Quality(quality), stored_ms)


def _billing(row: Row) -> Billing:
    meter, confirmed_ms, confirmed, candidate_ms, candidate, first_wh, held, held_ms, suspects, suspect_ms, suspect, *still = row
    return Billing(
        meter,
        _registers(confirmed_ms, confirmed),
        _registers(candidate_ms, candidate),
        first_wh,
        None if held is None else Doubt(held),
        held_ms,
        suspects,
        _registers(suspect_ms, suspect),
        *still,
    )


def _registers(at_ms: int | None, text: str | None) -> Registers | None:
    return None if at_ms is None or text is None else Registers(at_ms, decode(text, dict[str, int]))
