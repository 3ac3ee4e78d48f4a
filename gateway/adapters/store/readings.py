"""Readings as they were stored, each meter's newest values, and how far it is billed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import Integer, bindparam, select, update

from gateway.adapters.store import schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.statements import Part, Row, Statement, Value, inserting, upsert
from gateway.domain.readings import Billing, Doubt, Item, Quality, Reading, Registers, Source
from gateway.services.ports import LatestItem, StoredReading

_r = schema.reading.c
ADD = Statement(inserting(schema.reading, "id").returning(_r.id))
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
RENEW = upsert(schema.latest, where=lambda new: new.answered_ms >= schema.latest.c.answered_ms)
LATEST = Statement(select(schema.latest).where(schema.latest.c.meter == bindparam("meter")).order_by(schema.latest.c.quantity))
BILLING = Statement(select(schema.billing).where(schema.billing.c.meter == bindparam("meter")))
SAVE_BILLING = upsert(schema.billing)


class Readings(Part):
    """The readings' share of a transaction."""

    def add_reading(self, reading: Reading, point: str, quality: Quality, stored_ms: int) -> int:
        """Freeze and curve values lie in the past: they do not become the meter's latest."""
        items = [(item.quantity, _decimal_text(item.value), item.unit, item.obis) for item in reading.items]
        [(number,)] = self._session.rows(
            ADD,
            meter=reading.meter,
            point=point,
            quality=quality,
            source=reading.source,
            asked_ms=reading.asked_ms,
            answered_ms=reading.answered_ms,
            stored_ms=stored_ms,
            items=encode(items),
            taken_ms=reading.taken_ms,
        )
        if reading.source is Source.LIVE and items:
            at: dict[str, Value] = {"meter": reading.meter, "answered_ms": reading.answered_ms}
            self._session.change_each(RENEW, [{**at, "quantity": q, "value": v, "unit": u, "obis": o} for q, v, u, o in items])
        return int(number)

    def readings(self, meter: str, since_ms: int, limit: int) -> Sequence[StoredReading]:
        return [_reading(row) for row in self._session.rows(SINCE, meter=meter, since_ms=since_ms, most=limit)]

    def past_readings(self, meter: str, source: Source, taken_ms: int) -> Sequence[StoredReading]:
        return [_reading(row) for row in self._session.rows(PAST, meter=meter, source=source, taken_ms=taken_ms)]

    def set_quality(self, reading: int, quality: Quality) -> None:
        self._session.change(SET_QUALITY, number=reading, new_quality=quality)

    def latest(self, meter: str) -> Mapping[str, LatestItem]:
        rows = self._session.rows(LATEST, meter=meter)
        return {quantity: LatestItem(_item(quantity, value, unit, obis), at_ms) for _, quantity, value, unit, obis, at_ms in rows}

    def billing(self, meter: str) -> Billing | None:
        row = self._session.row(BILLING, meter=meter)
        return None if row is None else _billing(row)

    def save_billing(self, billing: Billing) -> None:
        confirmed, candidate, suspect = billing.confirmed, billing.candidate, billing.suspect
        self._session.change(
            SAVE_BILLING,
            meter=billing.meter,
            confirmed_ms=None if confirmed is None else confirmed.at_ms,
            confirmed=None if confirmed is None else encode(confirmed.wh),
            candidate_ms=None if candidate is None else candidate.at_ms,
            candidate=None if candidate is None else encode(candidate.wh),
            first_wh=billing.first_wh,
            held=billing.held,
            held_ms=billing.held_ms,
            suspects=billing.suspects,
            suspect_ms=None if suspect is None else suspect.at_ms,
            suspect=None if suspect is None else encode(suspect.wh),
            moved_ms=billing.moved_ms,
            still_ms=billing.still_ms,
            still_wms=billing.still_wms,
            renewals=billing.renewals,
        )


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
