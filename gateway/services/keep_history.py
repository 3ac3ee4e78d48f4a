"""Values and records from a meter's own memory enter the store: under their own time, once, and never into the bill."""

from __future__ import annotations

from gateway.domain.events import EventKind, Json
from gateway.domain.jobs import EventRecord
from gateway.domain.readings import Quality, Reading, Registers, energy_registers, freeze_quality
from gateway.services import announce
from gateway.services.ports import StoredReading, Tx


def record_past(tx: Tx, reading: Reading, now_ms: int) -> Quality:
    """Store a value of the past and send it up; gives its quality. Unknown meter: LookupError; a live value: ValueError.

    The same value of the same moment again is no second row, but confirms the first; another value is suspect.
    """
    meter = tx.meter(reading.meter)
    if meter is None:
        raise LookupError(f"meter {reading.meter} is not in the archive")
    if reading.taken_ms is None:
        raise ValueError(f"a live value of meter {reading.meter} is none of the past")
    known = tx.past_readings(reading.meter, reading.source, reading.taken_ms)
    for earlier in known:
        if earlier.reading.items == reading.items:
            return _again(tx, earlier, now_ms)
    differs = any(earlier.quality is not Quality.SUSPECT for earlier in known)
    quality = Quality.SUSPECT if differs else _quality(reading, meter.count_wh)
    tx.add_reading(reading, meter.point, quality, now_ms)
    announce.reading(tx, reading, meter.point, quality, now_ms)
    if differs:
        text = f"its {reading.source} of this moment was another when it was read before"
        told: dict[str, Json] = {"doubt": "history_differs", "taken_ms": reading.taken_ms, "text": text}
        announce.event(tx, EventKind.READING_SUSPECT, now_ms, meter=meter.id, account=meter.account, **told)
    return quality


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


def _again(tx: Tx, earlier: StoredReading, now_ms: int) -> Quality:
    if earlier.quality is Quality.CONFIRMED:
        return earlier.quality
    tx.set_quality(earlier.id, Quality.CONFIRMED)
    announce.reading(tx, earlier.reading, earlier.point, Quality.CONFIRMED, now_ms)
    return Quality.CONFIRMED


def _quality(reading: Reading, count_wh: int) -> Quality:
    wh = energy_registers(reading.items)  # of transformers nothing counts here: total and rates of a block have one ratio
    if isinstance(wh, dict):
        return freeze_quality(None, Registers(reading.at_ms, wh), count_wh)
    return Quality.SINGLE if wh is None else Quality.SUSPECT
