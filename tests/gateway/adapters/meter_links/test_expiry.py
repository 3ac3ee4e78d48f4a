"""An order's expiry, three times: before its first byte, by the meter's own wrong clock, and as a refusal that is called one."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.lines.driver import Driver
from gateway.adapters.meter_links.dlt645_clock import OFFSET_FRESH_S
from gateway.adapters.meter_links.dlt645_link import Dlt645Link
from gateway.adapters.profiles import profile
from gateway.domain.jobs import Answered, ClockReadJob, Failed, Fault, Job, Outcome, SwitchJob
from gateway.domain.supply import Verb
from gateway.entrypoints.line_loop import Link
from tests.gateway.adapters.meter_links.test_links import DLT, Book, Site
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time, run
from tests.simulation.virtual_street import VirtualStreet

LATE = (Fault.LATE, True)
SHOWS_MS, ROUND_MS = 1000, 1000
"""A meter shows whole seconds, and its expiry field holds whole seconds: by so much an order may die too early, never too late."""

WIRE_MS = 400
"""What an answer and the order take at 2400 baud, with the meter's delay."""


def fate(outcome: Outcome) -> tuple[Fault, bool] | None:
    return (outcome.fault, outcome.certain) if isinstance(outcome, Failed) else None


@pytest.mark.parametrize("what", ["single", "dds", "coil"])
@in_virtual_time
async def test_an_order_that_expires_in_the_lines_queue_does_not_leave(what: str) -> None:
    """Behind somebody else's long exchange; a Modbus relay knows of no expiry at all."""
    site = await Site().open()
    links: dict[str, Link] = {"single": site.single(), "dds": site.dds(), "coil": site.coil()}
    line = {"single": "rs", "dds": "rtu", "coil": "coils"}[what]
    link, driver = links[what], site.drivers[line]
    if what == "single":
        await link.perform(ClockReadJob("single"))
    for held_s, left in ((1, True), (5, False)):
        before = len(site.street.lines[line].sent)
        async with driver._lock:
            work = asyncio.ensure_future(link.perform(site.order("x", Verb.CUT, 3)))
            await asyncio.sleep(held_s)
        outcome = await work
        if left:
            assert isinstance(outcome, Answered)
        else:
            assert fate(outcome) == LATE
            assert len(site.street.lines[line].sent) - before == (1 if what == "dds" else 0), "at most a look at the load"


@in_virtual_time
async def test_looks_at_the_clock_that_take_too_long_end_an_order_unsent() -> None:
    site = await Site().open()
    link, wire = site.single(), site.street.lines["rs"]
    real = wire.send

    async def slow(data: bytes) -> None:
        await asyncio.sleep(2)
        await real(data)

    wire.send = slow  # type: ignore[method-assign]
    assert fate(await link.perform(site.order("single", Verb.CUT, 3))) == LATE
    assert all(data[12] != 0x1C for _, data in wire.sent)


@in_virtual_time
async def test_a_meter_that_says_no_is_called_by_what_it_says() -> None:
    """Somebody set its clock ahead since we compared: it refuses, nothing moves, and the next order goes by its new clock."""
    site = await Site().open()
    link, station = site.single(), site.street.station("single")
    await link.perform(ClockReadJob("single"))
    station.meter.set_clock(station.meter.clock_us + 900_000_000)
    outcome = await link.perform(site.order("single", Verb.CUT, 300))
    assert isinstance(outcome, Failed) and fate(outcome) == (Fault.REFUSED, False)
    assert "refused" in outcome.text and station.meter.relay.contact_closed
    assert isinstance(await link.perform(site.order("single", Verb.CUT, 300)), Answered)


class Drifting:
    """One meter whose clock is off and drifts, on a line that delivers an order when it is told to."""

    def __init__(self, offset_s: int, drift_ppm: int) -> None:
        table = {
            "line": [{"id": "rs", "kind": "tcp", "baud": 2400}],
            "meter": [{"id": "m", "line": "rs", "model": "dlt645-single", "address": DLT, "password": "123456",
                       "clock_offset_s": offset_s, "clock_drift_ppm": drift_ppm}],
        }  # fmt: skip
        self.street, self.clock = VirtualStreet(table), VirtualClock()
        self.wire = self.street.lines["rs"]
        driver = Driver(self.wire, baud=2400, clock=self.clock)
        self.driver = driver
        self.link = Dlt645Link(driver, "m", DLT, profile("dlt645-single"), clock=self.clock, passwords=Book(control="123456"))

    async def ask(self, job: Job) -> Outcome:
        return await self.link.perform(job)


def obeyed(*how: int) -> bool:
    """As `_obeyed`, in virtual time."""
    return run(_obeyed(*how))


async def _obeyed(offset_s: int, drift_ppm: int, aged_s: int, lives_s: int, arrives_ms: int) -> bool:
    """Whether a cut is obeyed that reaches the meter so long after its expiry (by true time), its clock compared so long before."""
    house = Drifting(offset_s, drift_ppm)
    assert await house.driver.ensure_open() is None
    await house.ask(ClockReadJob("m"))
    await asyncio.sleep(aged_s)
    real, expires_ms = house.wire.send, house.clock.now_ms() + lives_s * 1000

    async def held(data: bytes) -> None:
        await asyncio.sleep((expires_ms + arrives_ms - house.clock.now_ms()) / 1000)
        await real(data)

    house.wire.send = held  # type: ignore[method-assign]
    outcome = await house.ask(SwitchJob("m", "c-1", Verb.CUT, expires_ms))
    assert isinstance(outcome, Answered) or fate(outcome) == (Fault.REFUSED, False), outcome
    return isinstance(outcome, Answered)


@settings(max_examples=60, deadline=None)
@given(
    offset_s=st.integers(-400 * 86_400, 400 * 86_400),
    drift_ppm=st.integers(-500, 500),
    aged_s=st.integers(0, OFFSET_FRESH_S - 120),
    lives_s=st.integers(1, 100),
    aside_ms=st.integers(0, 30_000),
)
def test_whatever_its_clock_shows_it_obeys_in_time_and_never_after(
    offset_s: int, drift_ppm: int, aged_s: int, lives_s: int, aside_ms: int
) -> None:
    """500 ppm are 43 s a day, ten times what a meter may drift; within the hour of a comparison that is under 2 s."""
    drifted_ms = abs(drift_ppm) * (aged_s + lives_s + 60) // 1000 + 1
    assert not obeyed(offset_s, drift_ppm, aged_s, lives_s, drifted_ms + 1 + aside_ms)
    early_ms = SHOWS_MS + ROUND_MS + WIRE_MS + drifted_ms + aside_ms
    if early_ms < lives_s * 1000:
        assert obeyed(offset_s, drift_ppm, aged_s, lives_s, -early_ms)
