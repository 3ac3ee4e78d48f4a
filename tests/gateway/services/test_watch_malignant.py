"""Malignant load: told or tripped, given back so often a day, locked until a person releases it; an advice, and called so."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from gateway.domain.limits import LoadLimit
from gateway.domain.malignant_load import MalignantMode, MalignantRule, Permitted, PowerWindow
from gateway.domain.meters import Contact
from gateway.domain.readings import Item, Reading
from gateway.services.record_reading import record_reading
from gateway.services.release_limit import release
from gateway.services.show_limit import show_limit
from gateway.services.watch_limits import watch_limit
from tests.gateway.services.house import House, account, local

OPEN, CLOSED = Contact.OPEN, Contact.CLOSED
RULE = MalignantRule(
    MalignantMode.TRIP, (PowerWindow(300, 3000),), 950, (Permitted("kettle", 1500, 50),), restore_ms=60_000, daily_restores=1
)
LIMIT = LoadLimit(0, 0, 30_000, 1, malignant=RULE)


def dormitory(house: House, rule: MalignantRule = RULE) -> House:
    house.settle(accounts=[account(limit=replace(LIMIT, malignant=rule))], balance="100")
    house.kinds()
    return house


def shows(house: House, **values: str) -> list[str]:
    """Five seconds later one reading of these values; what happened."""
    house.later(s=5)
    units = {"power": "kW", "reactive_power": "kvar", "power_factor": ""}
    items = tuple(Item(name, Decimal(value), units[name]) for name, value in values.items())
    reading = Reading("m1", items, house.now_ms - 100, house.now_ms)
    house.do(lambda tx: record_reading(tx, reading, None, house.site, house.now_ms))
    return [kind for kind in house.kinds() if kind.startswith(("limit", "cut", "malignant"))]


def heats(house: House) -> list[str]:
    shows(house, power="0.100", reactive_power="0.030")
    return shows(house, power="1.300", reactive_power="0.040")


def tick(house: House) -> None:
    for who in house.do(lambda tx: tx.limits_due(house.now_ms, 100)):
        house.do(lambda tx, who=who: watch_limit(tx, who, house.site, house.now_ms))  # type: ignore[misc]


def test_a_heater_trips_is_given_back_once_a_day_and_locks(house: House) -> None:
    dormitory(house)
    assert heats(house) == ["cut_ordered", "malignant_load", "limit_cut"]
    assert (house.relay(), house.account().limit_state.phase) == ("open (limit:safety), seen unknown", "tripped")
    house.carry_out(OPEN)
    house.later(s=59.9)
    tick(house)
    assert house.open() == []
    house.later(s=0.1)
    tick(house)
    house.carry_out(CLOSED)
    house.kinds()
    assert heats(house) == ["cut_ordered", "malignant_load", "limit_locked"]
    house.carry_out(OPEN)
    house.later(hours=24)
    tick(house)
    assert house.relay() == "open (limit:safety), seen open"
    assert house.do(lambda tx: release(tx, "A-1", "operator:li", "taken away", house.site, house.now_ms)) is None
    house.carry_out(CLOSED)
    house.kinds()
    assert heats(house) == ["cut_ordered", "malignant_load", "limit_cut"]


def test_another_day_has_restores_of_its_own(house: House) -> None:
    dormitory(house)
    house.now_ms = local("2026-11-24 23:55")
    heats(house)
    house.carry_out(OPEN)
    house.later(minutes=1)
    tick(house)
    house.carry_out(CLOSED)
    shown = house.do(lambda tx: show_limit(tx, "A-1", house.site, house.now_ms))
    assert shown is not None and (shown.restores_today, shown.advisory, shown.malignant) == (1, True, "trip")
    house.now_ms = local("2026-11-25 00:00")
    house.kinds()
    assert heats(house) == ["cut_ordered", "malignant_load", "limit_cut"]


def test_its_events_call_it_an_advice(house: House) -> None:
    dormitory(house)
    shows(house, power="0.100", reactive_power="0.030")
    house.later(s=5)
    items = (Item("power", Decimal("1.300"), "kW"), Item("reactive_power", Decimal("0.040"), "kvar"))
    reading = Reading("m1", items, house.now_ms - 100, house.now_ms)
    house.do(lambda tx: record_reading(tx, reading, None, house.site, house.now_ms))
    told = {event.kind.value: event.data for event in house.events()}
    assert told["malignant_load"] == {
        **{"step_w": 1200, "step_var": 10, "power_factor": 999, "advisory": True, "mode": "trip", "cut": True},
    }
    assert told["limit_cut"] == {"by": "malignant", "advisory": True, "step_w": 1200}


@pytest.mark.parametrize(
    ("mode", "happened"), [(MalignantMode.ALARM, ["malignant_load"]), (MalignantMode.OFF, []), (MalignantMode.TRIP, None)]
)
def test_a_rule_may_only_tell_or_be_off(house: House, mode: MalignantMode, happened: list[str] | None) -> None:
    dormitory(house, replace(RULE, mode=mode))
    assert heats(house) == (["cut_ordered", "malignant_load", "limit_cut"] if happened is None else happened)
    assert bool(house.orders()) is (happened is None)


@pytest.mark.parametrize(
    ("kw", "kvar", "told"),
    [("1.600", "0.030", False), ("1.600", "0.600", False), ("0.390", "0.030", False), ("0.400", "0.030", True)],
)
def test_what_is_permitted_small_or_turns_is_left_alone(house: House, kw: str, kvar: str, told: bool) -> None:
    dormitory(house)
    shows(house, power="0.100", reactive_power="0.030")
    assert bool(shows(house, power=kw, reactive_power=kvar)) is told


def test_powers_that_come_one_after_the_other_are_put_together(house: House) -> None:
    dormitory(house)
    for kw in ("0.100", "1.300"):
        assert shows(house, power=kw) == []
        assert shows(house, reactive_power="0.030") == []
        happened = shows(house, power=kw)
    assert happened == ["cut_ordered", "malignant_load", "limit_cut"]


def test_a_power_factor_will_do(house: House) -> None:
    dormitory(house)
    shows(house, power="0.100", power_factor="0.990")
    assert shows(house, power="1.300", power_factor="0.999") == ["cut_ordered", "malignant_load", "limit_cut"]


def test_a_protected_house_is_told_and_not_cut(house: House) -> None:
    dormitory(house)
    house.change(protect_until_ms=house.now_ms + 3_600_000)
    assert heats(house) == ["cut_held", "malignant_load"]
    assert house.account().limit_state.phase == "within"


def test_a_trip_that_lost_its_permission_spends_no_restore(house: House) -> None:
    dormitory(house)
    heats(house)
    house.change(protect_until_ms=house.now_ms + 3_600_000)
    assert house.start() is None
    assert (house.relay(), house.account().limit_state.phase) == ("closed, seen unknown", "within")
    assert house.account().limit_memory.restores == 0
