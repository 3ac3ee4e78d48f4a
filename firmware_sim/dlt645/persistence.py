"""What of a DL/T 645 meter survives a restart: a small state that is written before every answer, and its history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from firmware_sim.timetable import RateChange, Zone
from firmware_sim.wallet import Purchase, Steps
from protocols.dlt645.freeze_time import decode_freeze_time

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

Saved = Mapping[str, Any]


def save(device: Device) -> dict[str, object]:
    """Money, orders under way, passwords and the lock: what the next answer may speak of."""
    state: dict[str, object] = {
        "address": device.address,
        "gear": device.gear.save(),
        "access": device.access.save(),
        "synced_day": device.synced_day,
    }
    if device.wallet:
        state["wallet"] = device.wallet.save()
        state["orders"] = list(device.orders)
    return state


def restore(device: Device, saved: Saved) -> None:
    """Continue from `save`. Raises KeyError, TypeError or ValueError for something else."""
    device.address = str(saved["address"])
    device.gear.restore(saved["gear"])
    device.access.restore(saved["access"])
    device.synced_day = int(saved["synced_day"])
    if device.wallet and "wallet" in saved:
        device.wallet.restore(saved["wallet"])
        device.orders.extend(saved["orders"])
    if device.billing:
        device.billing.begin()


def version(device: Device) -> int:
    """Changes whenever the history does."""
    parts = device.log, device.freezes, device.curves, device.settlement, device.demand
    return device.changes + sum(part.version for part in parts)


def history(device: Device) -> dict[str, object]:
    """Parameters, tables, events, freezes, load records, settlement periods, purchases."""
    timetable, prices = device.meter.timetable, device.prices
    return {
        "parameters": device.parameters.save(),
        "log": device.log.save(),
        "freezes": device.freezes.save(),
        "curves": device.curves.save(),
        "settlement": device.settlement.save(),
        "demand": device.demand.save(),
        "timetable": {
            "days": [[[(change.minute, change.rate) for change in day] for day in days] for days in timetable.days],
            "zones": [[(zone.month, zone.day, zone.table) for zone in zones] for zones in timetable.zones],
            "holidays": [[*date, table] for date, table in timetable.holidays.items()],
            "sets": [timetable.zone_set, timetable.day_set],
        },
        "prices": {
            "rates": prices.rates,
            "steps": [[each.thresholds, each.adders, each.settlements] for each in prices.steps],
        },
        "purchases": [list(astuple(purchase)) for purchase in (device.wallet.purchases if device.wallet else ())],
    }


def restore_history(device: Device, saved: Saved) -> None:
    """Continue from `history`. Raises KeyError, TypeError or ValueError for something else."""
    device.parameters.restore(saved["parameters"])
    device.log.restore(saved["log"])
    timed = decode_freeze_time(bytes.fromhex(saved["freezes"]["timed"]))
    device.freezes.restore(saved["freezes"], timed or device.freezes.timed)
    device.curves.restore(saved["curves"])
    device.settlement.restore(saved["settlement"])
    device.demand.restore(saved["demand"])
    timetable, tables, prices = device.meter.timetable, saved["timetable"], saved["prices"]
    timetable.days = [tuple(tuple(RateChange(*each) for each in day) for day in days) for days in tables["days"]]
    timetable.zones = [tuple(Zone(*each) for each in zones) for zones in tables["zones"]]
    timetable.holidays = {(year, month, day): table for year, month, day, table in tables["holidays"]}
    timetable.zone_set, timetable.day_set = tables["sets"]
    device.prices.rates = [list(rates) for rates in prices["rates"]]
    device.prices.steps = [_steps(each) for each in prices["steps"]]
    if device.wallet:
        device.wallet.purchases.extend(Purchase(*row) for row in saved["purchases"])
    for di in (*list(device.limits)[:1], "04000801"):
        device.parameter_changed(di)


def _steps(saved: list[list[Any]]) -> Steps:
    thresholds, adders, settlements = saved
    return Steps(tuple(thresholds), tuple(adders), tuple((month, day, hour) for month, day, hour in settlements))
