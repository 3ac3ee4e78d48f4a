"""A full outbox: what goes first, what never goes, and that everything dropped is named."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.domain.events import EventKind, Json, Outgoing, Topic
from gateway.domain.findings import FindingKind
from gateway.domain.records import OutboxRow
from gateway.services import thin_outbox as service
from gateway.services.ports import Site
from gateway.services.thin_outbox import (
    RANGES,
    SUBJECT,
    OutboxBounds,
    Thinning,
    outbox_changed,
    tell_dropped,
    thin_outbox,
    watch_outbox,
)
from tests.gateway.services.memory_tx import MemoryTx

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
NOW = 1_767_225_600_000
SITE = Site("G1", "UTC", clock_trusted=True, meter_zone="UTC")


def reading(tx: MemoryTx, meter: str, at_ms: int, *quantities: str, source: str = "live") -> int:
    items: list[Json] = [{"quantity": name, "value": "1.00"} for name in quantities or ("energy_import",)]
    body: dict[str, Json] = {"items": items, "source": source, "answered_ms": at_ms}
    return tx.add_outgoing(Outgoing(Topic.READING, meter, at_ms, body))


def other(tx: MemoryTx, topic: Topic, at_ms: int) -> int:
    return tx.add_outgoing(Outgoing(topic, "x", at_ms, {"n": 1}))


def thinned(tx: MemoryTx, bounds: OutboxBounds) -> int:
    """Shares until nothing more is to be done."""
    thinning, shares = Thinning(), 0
    while thin_outbox(tx, bounds, thinning, SITE, NOW):
        shares += 1
        assert shares < 100
    return shares


def readings(tx: MemoryTx) -> list[OutboxRow]:
    return list(tx.waiting_of(Topic.READING, 0, 100_000))


def dropped(tx: MemoryTx) -> set[int]:
    """What all events `dropped` name together; no number twice."""
    named: list[int] = []
    for stored in tx.events(1000):
        if stored.event.kind is EventKind.DROPPED:
            ranges = stored.event.data["ranges"]
            assert isinstance(ranges, list)
            for each in ranges:
                assert isinstance(each, list) and isinstance(each[0], int) and isinstance(each[1], int)
                named += range(each[0], each[1] + 1)
    assert len(named) == len(set(named))
    return set(named)


def full(tx: MemoryTx, part: int = 100) -> OutboxBounds:
    """Bounds of which the outbox takes this part, in per cent."""
    return OutboxBounds(rows=tx.outbox_size().rows * 100 // part, older_days=7)


def test_while_there_is_room_nothing_goes() -> None:
    tx = MemoryTx()
    for n in range(100):
        reading(tx, "m1", NOW - n * DAY_MS)
    assert thinned(tx, full(tx, 50)) == 0
    assert len(readings(tx)) == 100 and not dropped(tx)


def test_what_the_centre_has_goes_first_and_is_no_loss() -> None:
    tx = MemoryTx()
    for n in range(100):
        reading(tx, "m1", NOW - 30 * DAY_MS + n)
        other(tx, Topic.BALANCE, NOW)
    tx.acknowledge(60, (), NOW - 1)
    thinned(tx, full(tx))
    assert [row.seq for row in tx.news(0, 61, 99)] == [*range(2, 61, 2), 61], "readings before the rest"
    thinned(tx, full(tx, 108))
    assert [row.seq for row in tx.news(0, 200, 999)] == list(range(61, 201)) and not dropped(tx)


def test_old_readings_become_hourly_then_daily_then_younger_ones_and_freezes_stay() -> None:
    tx = MemoryTx()
    for quarter in range(96 * 10, 0, -1):
        for meter in ("m1", "m2"):
            reading(tx, meter, NOW - quarter * HOUR_MS // 4)
    freezes = {reading(tx, "m1", NOW - day * DAY_MS + 1, source="freeze") for day in range(10, 0, -1)}
    before = {row.seq: row for row in readings(tx)}
    bounds = full(tx)
    thinned(tx, bounds)
    after = readings(tx)
    assert len(after) <= 0.9 * len(before) + 1 and freezes <= {row.seq for row in after}
    assert dropped(tx) == before.keys() - {row.seq for row in after}
    young = [seq for seq, row in before.items() if row.message.at_ms >= NOW - 7 * DAY_MS]
    assert set(young) <= {row.seq for row in after}, "hours of the oldest days were enough"
    spans = Counter((row.message.subject, row.message.at_ms // HOUR_MS) for row in after if row.seq not in freezes)
    assert {spans[key] for key in spans if key[1] < (NOW - 7 * DAY_MS) // HOUR_MS} == {1}


def test_when_that_is_not_enough_a_day_keeps_one_of_each_kind() -> None:
    tx = MemoryTx()
    for hour in range(24 * 4, 0, -1):
        reading(tx, "m1", NOW - hour * HOUR_MS, "energy_import")
        reading(tx, "m1", NOW - hour * HOUR_MS, "voltage_a", "current_a")
    money = [other(tx, topic, NOW - 4 * DAY_MS) for topic in (Topic.BALANCE, Topic.EVENT, Topic.RESULT) for _ in range(50)]
    bounds = OutboxBounds(rows=10, older_days=1)
    thinned(tx, bounds)
    left = readings(tx)
    days = Counter((row.message.at_ms // DAY_MS, len(list(row.message.body["items"]))) for row in left)  # type: ignore[arg-type]
    assert set(days.values()) == {1} and len(days) == 8, "a day each, and never voltages instead of the register"
    assert {row.seq for row in tx.outgoing(0, 10_000)} >= set(money), "money and events stay"
    assert watch_outbox(tx, bounds, NOW) > 100 and tx.finding(FindingKind.OUTBOX_FULL, SUBJECT) is not None


def test_what_is_remembered_of_spans_is_bounded_and_never_lets_one_go_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "KEPT", 5)
    tx = MemoryTx()
    for quarter in range(96 * 3, 0, -1):
        for meter in ("m1", "m2"):
            reading(tx, meter, NOW - 10 * DAY_MS - quarter * HOUR_MS // 4)
    thinning, bounds = Thinning(), full(tx)
    while thin_outbox(tx, bounds, thinning, SITE, NOW):
        assert len(thinning.kept) <= 5
    spans = Counter((row.message.subject, row.message.at_ms // HOUR_MS) for row in readings(tx))
    assert len(spans) == 2 * 72 and len(readings(tx)) <= 0.9 * 2 * 288 + 1


@pytest.mark.parametrize("by", ("rows", "bytes"))
def test_the_alarm_is_told_once_at_eighty_per_cent(by: str) -> None:
    tx = MemoryTx()
    reading(tx, "m1", NOW)
    length, tx = tx.outbox_size().bytes, MemoryTx()
    bounds = OutboxBounds(rows=100) if by == "rows" else OutboxBounds(bytes=100 * length)
    for n in range(79):
        reading(tx, "m1", NOW + n)
    assert not outbox_changed(tx, bounds) and watch_outbox(tx, bounds, NOW) < 80
    for n in range(2):
        reading(tx, "m1", NOW + 100 + n)
    assert outbox_changed(tx, bounds)
    assert 80 <= watch_outbox(tx, bounds, NOW) < 90
    assert not outbox_changed(tx, bounds)
    watch_outbox(tx, bounds, NOW)
    tx.acknowledge(50, (), NOW)
    tx.drop_acknowledged([Topic.READING], NOW + 1, 50)
    assert outbox_changed(tx, bounds)
    watch_outbox(tx, bounds, NOW)
    kinds = [stored.event.kind for stored in tx.events(10)]
    assert kinds == [EventKind.FINDING_CLOSED, EventKind.FINDING_OPENED]


def test_many_ranges_are_several_events() -> None:
    tx = MemoryTx()
    tell_dropped(tx, [(n * 2 + 1, n * 2 + 1) for n in range(RANGES + 1)], "why", NOW)
    assert len(tx.events(10)) == 2 and len(dropped(tx)) == RANGES + 1
