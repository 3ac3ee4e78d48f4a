"""A cut that the meter holds back says so when it is read back, and only then (prepayment.md 10)."""

from __future__ import annotations

import asyncio

from firmware_sim.loads import Constant
from gateway.domain.jobs import Answered, ParameterWriteJob, ReadbackJob
from gateway.domain.meters import Contact
from gateway.domain.supply import SwitchReading, Verb
from tests.gateway.adapters.meter_links.test_links import Site, seen
from tests.simulation.virtual_loop import in_virtual_time

MINUTE_MS = 60_000


async def look(site: Site, link: object) -> SwitchReading:
    return seen(await link.perform(ReadbackJob("single", "c")))  # type: ignore[attr-defined]


@in_virtual_time
async def test_the_guard_holds_a_cut_until_the_current_falls() -> None:
    site = await Site().open()
    link = site.single()
    for name, value in (("trip_current_limit", 1_000), ("trip_guard_delay", 30)):  # 1 A, 30 min
        assert isinstance(await link.perform(ParameterWriteJob("single", name, value)), Answered)
    site.street.station("single").meter.set_load(Constant(2_000_000))
    ordered_ms = site.clock.now_ms()
    assert isinstance(await link.perform(site.order("single", Verb.CUT)), Answered)
    await asyncio.sleep(4)
    held = await look(site, link)
    assert held.contact is Contact.CLOSED and held.held_until_ms is not None
    assert 0 <= held.held_until_ms - ordered_ms - 30 * MINUTE_MS <= 2_000
    frames = len(site.street.lines["rs"].sent)
    again = await look(site, link)
    assert again.held_until_ms == held.held_until_ms
    assert len(site.street.lines["rs"].sent) - frames == 2, "status and power: the parameters were asked for once"
    site.street.station("single").meter.set_load(Constant(50_000))
    await asyncio.sleep(10)
    opened = await look(site, link)
    assert (opened.contact, opened.held_until_ms) == (Contact.OPEN, None)


@in_virtual_time
async def test_without_a_guard_nothing_is_held() -> None:
    site = await Site().open()
    link = site.single()
    first = await look(site, link)
    assert (first.contact, first.held_until_ms) == (Contact.CLOSED, None)
    assert isinstance(await link.perform(site.order("single", Verb.CUT)), Answered)
    await asyncio.sleep(4)
    assert (await look(site, link)).held_until_ms is None
