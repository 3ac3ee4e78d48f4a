"""Values and records from a meter's own memory enter the store: under their own time, once, and never into the bill."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.domain.events import EventKind, Json
from gateway.domain.jobs import EventRecord
from gateway.domain.meters import Meter
from gateway.domain.past import contradicted, past_quality
from gateway.domain.readings import Quality, Reading, Registers, energy_registers
from gateway.domain.records import StoredReading
from gateway.services import announce
from gateway.services.ports import Tx
from gateway.services.record_reading import bound_of


def record_past(tx: Tx, reading: Reading, now_ms: int, *, doubted: bool = False) -> Quality:
    """Store a value of the past and send it up; gives its quality. Unknown meter: LookupError; a live value: ValueError.

    The same value of the same moment again is no second row, but confirms the first. Of values that differ the confirmed one
    stands; where there is none, all are suspect. doubted: its neighbours contradict it.
    """
    meter = tx.meter(reading.meter)
    if meter is None:
        raise LookupError(f"meter {reading.meter} is not in the archive")
    if reading.taken_ms is None:
        raise ValueError(f"a live value of meter {reading.meter} is none of the past")
    known = tx.past_readings(reading.meter, reading.source, reading.taken_ms)
    same = next((earlier for earlier in known if earlier.reading.items == reading.items), None)
    others = [earlier for earlier in known if earlier is not same and earlier.quality is not Quality.SUSPECT]
    quality = Quality.CONFIRMED if same else Quality.SUSPECT if doubted else _quality(tx, reading, meter)
    if others and (quality is not Quality.CONFIRMED or any(other.quality is Quality.CONFIRMED for other in others)):
        quality = Quality.SUSPECT
    for other in others:
        if other.quality is Quality.SINGLE:
            _turn_out(tx, other, Quality.SUSPECT, now_ms)
    if same is not None:
        if same.quality is not quality:
            _turn_out(tx, same, quality, now_ms)
        return quality
    tx.add_reading(reading, meter.point, quality, now_ms)
    announce.reading(tx, reading, meter.point, quality, now_ms)
    if others:
        text = f"its {reading.source} of this moment was another when it was read before"
        told: dict[str, Json] = {"doubt": "history_differs", "taken_ms": reading.taken_ms, "text": text}
        announce.event(tx, EventKind.READING_SUSPECT, now_ms, meter=meter.id, account=meter.account, **told)
    return quality


def doubtful(tx: Tx, meter_id: str, history: Sequence[Reading]) -> set[int]:
    """The moments (UTC ms) of those values of one answer that others of it contradict."""
    meter = tx.meter(meter_id)
    if meter is None:
        return set()
    found = [(reading.at_ms, energy_registers(reading.items, meter.ratio)) for reading in history]
    return contradicted([Registers(at_ms, wh) for at_ms, wh in found if isinstance(wh, dict)], bound_of(meter))


def record_event(tx: Tx, record: EventRecord, now_ms: int) -> bool:
    """Tell a record of the meter's own event memory, once for ever; whether it was new."""
    key = f"{record.start_ms}/{record.end_ms}"
    if not tx.add_meter_record(record.meter, record.kind, key, now_ms):
        return False
    meter = tx.meter(record.meter)
    told: dict[str, Json] = {"record": record.kind, "start_ms": record.start_ms, "end_ms": record.end_ms}
    detail: dict[str, Json] = dict(record.detail)
    account = meter.account if meter else None
    announce.event(tx, EventKind.METER_RECORD, now_ms, meter=record.meter, account=account, **told, detail=detail)
    return True


def _turn_out(tx: Tx, earlier: StoredReading, quality: Quality, now_ms: int) -> None:
    """What is stored is better or worse than it was known to be."""
    tx.set_quality(earlier.id, quality)
    announce.reading(tx, earlier.reading, earlier.point, quality, now_ms)


def _quality(tx: Tx, reading: Reading, meter: Meter) -> Quality:
    wh = energy_registers(reading.items, meter.ratio)
    if isinstance(wh, dict):
        return past_quality(Registers(reading.at_ms, wh), tx.billing(meter.id), bound_of(meter))
    return Quality.SINGLE if wh is None else Quality.SUSPECT
