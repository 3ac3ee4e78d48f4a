"""What the centre asks of a meter's line beside its switch: its time, and a reading (contract.md 5, `sync_time` and `read`)."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.clocks import ClockState, MeterClock
from gateway.services.keep_clock import CLOCKED
from gateway.services.ports import Site, Tx

ENERGY = "energy_"
"""Quantities of the group that is read for `read` begin so."""


def wish_clock(tx: Tx, meter_id: str, site: Site) -> str | None:
    """The meter's clock is looked at next, and set by the rules of keep_clock where it is off. Why not, in one sentence."""
    if not site.clock_trusted:
        return f"our own clock is not trusted: nobody is told its time ({site.clock_why or 'F3'})"
    if not site.keep_clocks:
        return "the clocks of meters are not kept here ([clock] keep_meters, or the meters vouch for ours)"
    meter = tx.meter(meter_id)
    if meter is None:
        return f"meter {meter_id} is not in the archive"
    if meter.protocol not in CLOCKED:
        return f"meter {meter_id} ({meter.protocol}) has no clock that we could set"
    clock = tx.clock(meter_id) or MeterClock(meter_id)
    if clock.state is not ClockState.SENT:
        tx.save_clock(replace(clock, seen=None, tries=0))
    return None


def clock_right(tx: Tx, meter_id: str, since_ms: int) -> int | None:
    """By how much the clock was off when it was last seen, in ms, once it was seen right since then; None before."""
    clock = tx.clock(meter_id)
    if clock is None or clock.seen is None or clock.state is not ClockState.RIGHT or clock.seen.at_ms < since_ms:
        return None
    return clock.seen.offset_ms


def read_since(tx: Tx, meter_id: str, since_ms: int) -> dict[str, str] | None:
    """What the meter answered since then, by quantity; None while its energy is not among it: the poll of something else may come
    before what was asked for."""
    items = {name: each for name, each in tx.latest(meter_id).items() if each.answered_ms >= since_ms}
    if not any(name.startswith(ENERGY) for name in items):
        return None
    return {name: f"{each.item.value:f}" for name, each in items.items() if each.item.value is not None}
