"""What is old becomes daily sums or goes, a bounded share at a time; what is not acknowledged, and the money, stay."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from gateway.domain.events import EventKind, Outgoing, Topic
from gateway.domain.jobs import Want
from gateway.domain.readings import Item, Quality, Reading, Source
from gateway.domain.schemes import Slot, SlotState
from gateway.domain.slots import DAY_MS, HOUR_MS
from gateway.services.ports import Site, Tx
from gateway.services.retention import Keep, forget_messages, forget_slots, something_old, thin
from tests.gateway.services import house
from tests.gateway.services.house import FLAT, account, local
from tests.gateway.services.memory_tx import MemoryStore, MemoryTx

SITE = Site("gw-1", "Asia/Shanghai", clock_trusted=True)
NOW = local("2026-11-24 10:00")
KEEP = Keep(readings=100, messages=7, money=90)
OLD = NOW - 101 * DAY_MS


def stored() -> MemoryTx:
    tx = MemoryStore().tx
    tx.save_price_list(FLAT)
    tx.save_account(account())
    tx.save_meter(house.meter("m1"))
    return tx


def add(tx: Tx, at_ms: int, quality: Quality = Quality.CONFIRMED, taken_ms: int | None = None, **values: str | None) -> None:
    items = tuple(Item(name, None if value is None else Decimal(value), "kWh") for name, value in values.items())
    source = Source.LIVE if taken_ms is None else Source.FREEZE
    tx.add_reading(Reading("m1", items, at_ms - 1, at_ms, source, taken_ms), "p", quality, at_ms)


def test_fine_readings_become_sums_of_their_local_days() -> None:
    tx = stored()
    midnight = local("2026-08-01 00:00")
    for hours, kwh in ((1, "10.00"), (5, "11.50"), (23, "12.00"), (24, "12.25")):
        add(tx, midnight + hours * HOUR_MS, energy_import=kwh, power="-0.5", status_3="16", voltage_b=None)
    add(tx, NOW - DAY_MS, energy_import="99.00")
    assert something_old(tx, "m1", KEEP, NOW)
    assert thin(tx, "m1", KEEP, SITE, NOW) == 4
    sums = tx.day_sums("m1", "2026-01-01", 99)
    assert [(s.day, s.quantity) for s in sums] == [
        (day, quantity) for day in ("2026-08-01", "2026-08-02") for quantity in ("energy_import", "power")
    ]
    first = sums[0]
    assert [str(value) for value in (first.first, first.last, first.lowest, first.highest)] == ["10.00", "12.00", "10.00", "12.00"]
    assert first.count == 3
    assert (first.first_ms, first.last_ms) == (midnight + HOUR_MS, midnight + 23 * HOUR_MS)
    assert [str(r.reading.items[0].value) for r in tx.readings("m1", 0, 99)] == ["99.00"]
    assert thin(tx, "m1", KEEP, SITE, NOW) == 0 and not something_old(tx, "m1", KEEP, NOW)


def test_shares_of_any_size_give_the_same_sums_and_stay_bounded() -> None:
    whole, parts = stored(), stored()
    for tx in (whole, parts):
        for n in range(50):
            add(tx, OLD - n * HOUR_MS, energy_import=f"{100 - n}.00")
    thin(whole, "m1", KEEP, SITE, NOW)
    taken = []
    while share := thin(parts, "m1", KEEP, SITE, NOW, limit=7):
        taken.append(share)
    assert taken == [7] * 7 + [1]
    assert parts.kept_day_sums == whole.kept_day_sums and not parts.kept_readings


def test_a_suspect_value_is_in_no_sum_and_a_freeze_counts_for_its_own_day() -> None:
    tx = stored()
    add(tx, OLD, Quality.SUSPECT, energy_import="999999.00")
    add(tx, OLD, taken_ms=OLD - 3 * DAY_MS, energy_import="5.00")
    assert thin(tx, "m1", KEEP, SITE, NOW) == 2
    assert [(s.last_ms, str(s.highest)) for s in tx.day_sums("m1", "2000-01-01", 9)] == [(OLD - 3 * DAY_MS, "5.00")]


def test_only_acknowledged_messages_go_and_money_later_than_readings() -> None:
    tx = stored()
    for topic in (*Topic, Topic.READING):
        tx.add_outgoing(Outgoing(topic, "x", NOW, {}))
    tx.acknowledge(len(Topic), (), NOW - 8 * DAY_MS)
    assert forget_messages(tx, KEEP, NOW) == 1, "the acknowledged reading"
    assert forget_messages(tx, KEEP, NOW + 80 * DAY_MS) == 0
    assert forget_messages(tx, KEEP, NOW + 83 * DAY_MS) == len(Topic) - 1
    assert forget_messages(tx, KEEP, NOW + 5_000 * DAY_MS) == 0 and len(tx.outgoing(0, 99)) == 1


def test_slots_of_long_ago_go_and_what_was_still_expected_is_given_up() -> None:
    tx = stored()
    slot = Slot("m1", Want.DAY, NOW - 41 * DAY_MS, "day", "bus-1", Source.FREEZE, NOW - 41 * DAY_MS, 0)
    asked = replace(slot, at_ms=slot.at_ms - DAY_MS, late_ms=NOW - DAY_MS)
    young = replace(slot, at_ms=NOW - DAY_MS)
    done = replace(slot, at_ms=slot.at_ms - 2 * DAY_MS, state=SlotState.READ, read_ms=1)
    tx.add_slots([slot, asked, young, done])
    assert something_old(tx, "m1", KEEP, NOW)
    assert forget_slots(tx, "m1", SITE, NOW) == 2
    assert tx.slots("m1", Want.DAY, 0, NOW, 9) == [asked, young], "an older one that somebody asked for lately stays"
    assert [e.event.data["from_ms"] for e in tx.events(9) if e.event.kind is EventKind.HISTORY_UNAVAILABLE] == [slot.at_ms]
    assert forget_slots(tx, "m1", SITE, NOW) == 0
