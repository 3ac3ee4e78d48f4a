"""Hours and days without a line, or without a gateway, are refilled from the meters' own memories (pains 15, 22, 23, 24)."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.domain.events import EventKind
from gateway.domain.jobs import Want
from gateway.domain.readings import Quality, Source
from gateway.domain.schemes import SlotState
from gateway.services.open_slots import request_history
from tests.conftest import Figure
from tests.simulation.collection_bench import SITE, CollectionBench, at, shown
from tests.simulation.virtual_loop import in_virtual_time

QUIET = [{"id": "events", "enabled": False}]
"""What other tests look at."""

BORN = "2025-12-31 21:00"
"""When the simulated meters come into the world: of the time before they know nothing."""


def lacking(bench: CollectionBench, want: Want, upto: str) -> list[tuple[str, str]]:
    """What should be there by then and is not, since the meters are there."""
    return [(meter, when) for meter, when in bench.missing(want) if BORN < when <= upto]


def rises(bench: CollectionBench, meter: str) -> set[Decimal]:
    """The steps between neighbours of the curve: the load is constant, so that a wrong time or value stands out."""
    values = [r.reading.items[0].value for r in bench.past(meter, "curve")]
    return {b - a for a, b in pairwise(values) if a is not None and b is not None}


@in_virtual_time
async def outage(folder: Path, hours: int, figure: Figure, meters: int = 2) -> None:
    async with CollectionBench(folder, meters, schemes=QUIET) as bench:
        await bench.until("2025-12-31 21:30")
        bench.line.unplug()
        gone_ms = bench.clock.now_ms()
        await bench.until(shown(gone_ms + hours * 3_600_000))
        back_ms = bench.clock.now_ms()
        assert len(lacking(bench, Want.CURVE, shown(back_ms - 1_800_000))) == meters * hours * 4
        bench.line.plug()
        while lacking(bench, Want.CURVE, shown(back_ms)) or lacking(bench, Want.DAY, shown(back_ms)):
            await bench.until(shown(bench.clock.now_ms() + 120_000))
            assert bench.clock.now_ms() < back_ms + 3_600_000, "not refilled within an hour"
        days = bench.past("m1", "freeze")
        assert [shown(r.reading.at_ms) for r in days] == [f"2026-01-{n:02d} 00:00" for n in range(1, 1 + len(days))]
        assert bench.slots("m1", Want.MONTH)[-1].state is SlotState.READ
        assert len(days) == max(1, hours // 24) and {r.quality for r in days} == {Quality.CONFIRMED}
        assert rises(bench, "m1") <= {Decimal("0.18"), Decimal("0.19")}  # 730 W in a quarter of an hour, cut off at 0.01 kWh
        taken = [r.reading.at_ms for r in bench.past("m1", "curve")]
        assert taken == sorted(set(taken)), "a moment stands twice"
        assert all(r.stored_ms >= r.reading.answered_ms >= r.reading.asked_ms > r.reading.at_ms for r in bench.past("m1", "curve"))
        figure(f"refilled_after_{hours}_h_minutes", round((bench.clock.now_ms() - back_ms) / 60_000))


def test_pain_24_six_hours_without_a_line_are_refilled(tmp_path: Path, record_property: Figure) -> None:
    outage(tmp_path, 6, record_property)


@pytest.mark.timeout(600)
def test_pain_24_three_days_without_a_line_are_refilled(tmp_path: Path, figure: Figure, pytestconfig: pytest.Config) -> None:
    """In a proof with a line full of meters."""
    outage(tmp_path, 72, figure, meters=16 if pytestconfig.getoption("proof") else 1)


async def a_second_a_look(folder: Path) -> None:
    async with CollectionBench(folder, meters=1, schemes=QUIET, whole=True) as bench:
        await bench.until("2025-12-31 22:15")
        assert lacking(bench, Want.CURVE, "2025-12-31 22:00") == []


def test_the_gateways_own_loops_collect(tmp_path: Path) -> None:
    in_virtual_time(a_second_a_look)(tmp_path)


@in_virtual_time
async def hours_without_a_gateway(folder: Path) -> None:
    async with CollectionBench(folder, meters=1, schemes=QUIET) as bench:
        await bench.until("2025-12-31 22:30")
        await bench.stop()
        await bench.until("2026-01-01 06:30")
        bench.start()
        await bench.until("2026-01-01 07:00")
        assert lacking(bench, Want.CURVE, "2026-01-01 06:00") == []
        assert lacking(bench, Want.DAY, "2026-01-01 06:00") == []
        [midnight] = bench.past("m1", "freeze")
        late = next(r for r in bench.past("m1", "curve") if shown(r.reading.at_ms) == "2026-01-01 00:00")
        assert midnight.reading.items[0].value == late.reading.items[0].value, "freeze and curve tell of the same moment"
        tally = bench.tally("2026-01-01", "curve")
        assert tally.read == tally.expected and tally.in_time < tally.read


def test_pain_24_what_passed_while_the_gateway_was_off_is_fetched(tmp_path: Path) -> None:
    hours_without_a_gateway(tmp_path)


@in_virtual_time
async def old_and_new(folder: Path) -> None:
    async with CollectionBench(folder, meters=1, schemes=QUIET) as bench:
        await bench.until("2025-12-31 21:40")
        bench.line.unplug()
        await bench.until("2026-01-01 00:40")
        before = bench.store.read_now(lambda tx: tx.latest("m1"))
        bench.line.plug()
        await bench.until("2026-01-01 00:43")
        latest = bench.store.read_now(lambda tx: tx.latest("m1"))
        assert {item.answered_ms for item in latest.values()} != {item.answered_ms for item in before.values()}
        newest = max(r.reading.answered_ms for r in bench.past("m1", "live"))
        assert {item.answered_ms for item in latest.values()} == {newest}
        await bench.until("2026-01-01 01:30")
        old = [r for r in bench.past("m1", "curve") if r.reading.answered_ms > at("2026-01-01 00:40")]
        assert min(shown(r.reading.at_ms) for r in old) == "2025-12-31 21:15"
        assert all(r.reading.taken_ms is not None and r.reading.source is Source.CURVE for r in old)
        sent = [row.message.body for row in bench.store.read_now(lambda tx: tx.outgoing(0, 10_000))]
        taken = [body["taken_ms"] for body in sent if body.get("source") == "curve"]
        assert taken == [r.reading.taken_ms for r in sorted(bench.past("m1", "curve"), key=lambda r: r.id)]
        assert all("taken_ms" not in body for body in sent if body.get("source") == "live")


def test_pain_22_an_old_value_never_gets_a_new_time(tmp_path: Path) -> None:
    old_and_new(tmp_path)


@in_virtual_time
async def under_load(folder: Path) -> None:
    """A slow line with more to fetch than an hour holds: the values are late, their times are not."""
    async with CollectionBench(folder, meters=3, baud=600) as bench:
        await bench.until("2026-01-01 00:30")
        for name in bench.names:
            moments = [r.reading.at_ms for r in bench.past(name, "curve")]
            assert moments and all(at_ms % 900_000 == 0 for at_ms in moments)
            assert rises(bench, name) <= {Decimal("0.18"), Decimal("0.19")}


def test_pain_15_values_under_load_bear_the_meters_own_time(tmp_path: Path) -> None:
    under_load(tmp_path)


@in_virtual_time
async def asked_for_by_a_person(folder: Path) -> None:
    async with CollectionBench(folder, meters=1, schemes=[*QUIET, {"id": "curve", "enabled": False}]) as bench:
        await bench.until("2025-12-31 21:30")
        now_ms = bench.clock.now_ms()
        with pytest.raises(LookupError, match="no scheme collects curve"):
            bench.write(lambda tx: request_history(tx, "m1", Want.CURVE, now_ms - 3_600_000, now_ms, SITE, now_ms))
        waiting = bench.write(lambda tx: request_history(tx, "m1", Want.DAY, at("2025-12-25 00:00"), now_ms, SITE, now_ms))
        assert waiting == 7
        await bench.until("2025-12-31 22:00")
        states = {slot.state for slot in bench.slots("m1", Want.DAY)}
        assert states == {SlotState.UNAVAILABLE}, "the meter is younger than that"
        lost = bench.events(EventKind.HISTORY_UNAVAILABLE)
        assert {(e.meter, e.data["want"]) for e in lost} == {("m1", "day"), ("m1", "month")} and len(lost) <= 3


def test_what_a_meter_never_had_is_told_and_not_asked_for_for_ever(tmp_path: Path) -> None:
    asked_for_by_a_person(tmp_path)


@in_virtual_time
async def told_once(folder: Path) -> None:
    async with CollectionBench(folder, meters=1) as bench:
        await bench.until("2025-12-31 21:30")
        assert bench.events(EventKind.METER_RECORD) == []
        for is_open in (True, False):
            bench.street.station("m1").set_cover(is_open, False)
            await bench.until(shown(bench.clock.now_ms() + 600_000))
        await bench.until("2025-12-31 23:40")
        [told] = bench.events(EventKind.METER_RECORD)
        start_ms, end_ms = told.data["start_ms"], told.data["end_ms"]
        assert (told.meter, told.data["record"], shown(int(str(start_ms)))) == ("m1", "cover_open", "2025-12-31 21:30")
        assert int(str(end_ms)) - int(str(start_ms)) == 600_000
        await bench.stop()
        bench.start()  # a new process knows nothing of counters, the store knows what was told
        await bench.until("2026-01-01 00:40")
        assert len(bench.events(EventKind.METER_RECORD)) == 1
        counters = bench.store.read_now(lambda tx: tx.latest("m1"))
        assert str(counters["cover_open_count"].item.value) == "1"


def test_events_of_the_meter_are_told_once(tmp_path: Path) -> None:
    told_once(tmp_path)
