"""Malignant load, seen from successive readings: an advice, which its events call so (prepayment.md d)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from gateway.domain.events import EventKind, Json
from gateway.domain.limits import LimitAction, LoadLimit, Trip, on_malignant
from gateway.domain.malignant_load import MalignantMode, MalignantRule, Shown, Step, Watch, is_malignant, watched
from gateway.domain.meters import Account, Meter
from gateway.domain.readings import Reading, primary_w
from gateway.services.keep_limiter import keep, limiter_of, say, trip
from gateway.services.ports import Site, Tx

POWERS = frozenset({"power", "reactive_power", "apparent_power", "power_factor"})
"""Quantities that a step is seen by."""


def look_for_malignant(tx: Tx, account: Account, limit: LoadLimit, reading: Reading, site: Site, now_ms: int) -> Account:
    """Follow a meter's load; where a malignant one was switched on, tell it, and trip where the rule says so. The account after."""
    meter, rule = tx.meter(reading.meter), limit.malignant
    told = not POWERS.isdisjoint(item.quantity for item in reading.items)
    if meter is None or rule is None or rule.mode is MalignantMode.OFF or not told:
        return account
    before, at_ms = limiter_of(account), reading.answered_ms
    watches = before.memory.watches
    watch, step = watched(watches.get(meter.id, Watch()), _shown(reading, meter), at_ms, site.power_stale_ms)
    seen = replace(before, memory=replace(before.memory, watches={**watches, meter.id: watch}))
    account = keep(tx, account, seen)
    if step is None or seen.state.open or not is_malignant(rule, step):
        return account
    after, action = seen, LimitAction.NONE
    if rule.mode is MalignantMode.TRIP:
        after, action = on_malignant(limit, seen, local_day(at_ms, zone_of(limit, site)), at_ms)
    cut = action is not LimitAction.NONE and trip(tx, account, Trip.MALIGNANT, site, now_ms)
    say(tx, EventKind.MALIGNANT_LOAD, account, _told(rule, step, cut), now_ms, meter.id)
    if not cut:
        return account
    kind = EventKind.LIMIT_LOCKED if action is LimitAction.LOCK else EventKind.LIMIT_CUT
    say(tx, kind, account, {"by": Trip.MALIGNANT.value, "advisory": True, "step_w": step.active_w}, now_ms, meter.id)
    return keep(tx, account, after)


def zone_of(limit: LoadLimit, site: Site) -> str:
    """Where the days of this limit begin."""
    return (limit.caps.zone if limit.caps is not None else "") or site.zone


def local_day(at_ms: int, zone: str) -> str:
    """The ISO date of a moment."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(zone)).date().isoformat()


def _told(rule: MalignantRule, step: Step, cut: bool) -> Mapping[str, Json]:
    found: dict[str, Json] = {"step_w": step.active_w, "step_var": step.reactive_var, "power_factor": step.factor}
    return found | {"advisory": True, "mode": rule.mode.value, "cut": cut}


def _shown(reading: Reading, meter: Meter) -> Shown:
    values = {item.quantity: item.value for item in reading.items}

    def primary(name: str) -> int | None:
        value: Decimal | None = values.get(name)
        return None if value is None else primary_w(value, meter.ratio)

    factor = values.get("power_factor")
    thousandths = None if factor is None else int(factor * 1000)
    return Shown(primary("power"), primary("reactive_power"), primary("apparent_power"), thousandths)
