"""Energy becomes money where it was used: exact where the meter kept a value of the boundary, estimated until it is read."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from gateway.domain.charge_refs import line_refs, lines_of
from gateway.domain.ledger import EntryKind, Leg, PostedEntry, customer, revenue
from gateway.domain.price_list import Rate, Season, Switch, Tariff, TimeOfUse, Version, Zone
from gateway.domain.readings import Doubt, Item, Quality, Reading, Source
from gateway.services.correct_entry import correct
from gateway.services.correct_estimate import price_again
from tests.gateway.price_lists import ZONE, by_register, flat
from tests.gateway.services.house import House, account, local

TWO_MONTHS = flat(500_000, "priced")
DEARER = replace(
    TWO_MONTHS, versions=(*TWO_MONTHS.versions, replace(flat(1_000_000).versions[0], id="2026-12", from_day="2026-12-01"))
)
CLOCKED = Tariff(
    "priced",
    "CNY",
    ZONE,
    (
        Version(
            "v",
            "2026-01-01",
            (Season("year", 1, 1, {Rate.PEAK: 1_000_000, Rate.VALLEY: 200_000}),),
            registers={},
            tou=TimeOfUse((Zone(1, 1, "day"),), {"day": (Switch(0, Rate.VALLEY), Switch(8 * 60, Rate.PEAK))}),
        ),
    ),
)
MIDNIGHT = local("2026-12-01 00:00")


def settled(house: House, tariff: Tariff = DEARER) -> House:
    house.now_ms = local("2026-11-30 22:00")
    house.settle(accounts=[account(tariff="priced")], tariffs=[tariff], balance="100")
    house.read(total="100.00", t1="60.00", t2="40.00")
    house.events()
    return house


def past(house: House, at_ms: int, total: str, quality: Quality = Quality.CONFIRMED, **rates: str) -> None:
    """A freeze of this moment is read now."""
    named = {"energy_import": total, **{f"energy_import_{name}": kwh for name, kwh in rates.items()}}
    items = tuple(Item(name, Decimal(kwh), "kWh") for name, kwh in named.items())
    reading = Reading("m1", items, house.now_ms - 9, house.now_ms - 1, Source.FREEZE, at_ms)
    house.do(lambda tx: tx.add_reading(reading, "p", quality, house.now_ms))
    if quality is Quality.CONFIRMED:
        house.do(lambda tx: price_again(tx, reading, house.site, house.now_ms))


def entries(house: House) -> list[PostedEntry]:
    return [p for p in house.do(lambda tx: tx.entries(0, 100)) if p.entry.kind is not EntryKind.OPENING]


def said(posted: PostedEntry) -> list[tuple[str, str, int, int]]:
    """Period, version, Wh and micro of its lines."""
    return [(line.period[:7], line.version, line.wh, line.micro) for line in lines_of(posted.entry.ref)]


def later_block(house: House) -> House:
    """Three hours later, 3 kWh more: by the clock two of them before midnight."""
    house.later(hours=3).read(total="103.00", t1="63.00", t2="40.00")
    return house


def test_within_one_price_nothing_is_looked_up_and_nothing_is_estimated(house: House) -> None:
    settled(house).later(hours=1).read(total="101.00", t1="61.00", t2="40.00")
    [one] = entries(house)
    assert ("estimated" in one.entry.ref, said(one)) == (False, [("2026-11", "1970-01-01", 1000, 500_000)])
    assert house.do(lambda tx: tx.estimates_of("m1", house.now_ms - 1)) == []


def test_a_boundary_that_the_meter_kept_splits_exactly(house: House) -> None:
    settled(house)
    past(house, MIDNIGHT, "102.50", t1="62.50", t2="40.00")
    later_block(house)
    [one] = entries(house)
    assert said(one) == [("2026-11", "1970-01-01", 2500, 1_250_000), ("2026-12", "2026-12", 500, 500_000)]
    assert (one.entry.ref["points"], "estimated" in one.entry.ref) == (str(MIDNIGHT), False)
    assert (house.balance(), house.verified()) == ("98.250000", None)


@pytest.mark.parametrize("quality", [Quality.SINGLE, Quality.SUSPECT])
def test_an_unsure_value_or_one_beside_the_boundary_splits_nothing(house: House, quality: Quality) -> None:
    settled(house)
    past(house, MIDNIGHT, "102.50", quality, t1="62.50", t2="40.00")
    past(house, MIDNIGHT - 3_600_000, "102.40", t1="62.40", t2="40.00")
    later_block(house)
    [one] = entries(house)
    assert (one.entry.ref["estimated"], "points" in one.entry.ref) == ("shared by time", False)
    assert said(one) == [("2026-11", "1970-01-01", 2000, 1_000_000), ("2026-12", "2026-12", 1000, 1_000_000)]


def test_a_freeze_that_comes_late_moves_the_money_once(house: House) -> None:
    later_block(settled(house))
    assert house.balance() == "98.000000"
    for _ in range(2):
        past(house, MIDNIGHT, "102.50", t1="62.50", t2="40.00")
    assert (house.balance(), house.verified()) == ("98.250000", None)
    first, undone, right = entries(house)
    assert (undone.entry.kind, undone.entry.ref["reverses"]) == ("reversal", str(first.number))
    assert (right.entry.kind, right.entry.ref["corrects"]) == ("correction", str(first.number))
    assert right.entry.ref["points"] == str(MIDNIGHT)
    assert right.entry.ref["period"] == "2026-11-01T00:00 2026-12-01T00:00" and "estimated" not in right.entry.ref
    assert said(right) == [("2026-11", "1970-01-01", 2500, 1_250_000), ("2026-12", "2026-12", 500, 500_000)]
    assert house.do(lambda tx: tx.estimates_of("m1", MIDNIGHT)) == []


def test_a_person_s_correction_stays_and_the_verifier_takes_it_for_what_it_is(house: House) -> None:
    later_block(settled(house))
    [first] = entries(house)
    legs = (Leg(customer("A-1"), -1_000_000), Leg(revenue("energy"), 1_000_000))
    why = {"reason": "agreed", "by": "Li"}
    line = lines_of(first.entry.ref)[0]
    house.do(lambda tx: correct(tx, first.number, legs, line_refs([replace(line, micro=1_000_000)]), why, house.now_ms))
    past(house, MIDNIGHT, "102.50", t1="62.50", t2="40.00")
    assert (house.balance(), house.verified()) == ("99.000000", None)
    assert house.do(lambda tx: tx.estimates_of("m1", MIDNIGHT)) == []


def test_where_no_money_moves_only_the_use_is_put_right(house: House) -> None:
    later_block(settled(house, TWO_MONTHS))
    past(house, MIDNIGHT, "102.50", t1="62.50", t2="40.00")
    assert len(entries(house)) == 3  # from one month's line to another's, though the sum is the same
    assert house.balance() == "98.500000"
    used = house.do(lambda tx: [use.total_wh for use in tx.period_uses("A-1", "priced")])
    assert (used, house.verified()) == ([2500, 500], None)
    past(house, MIDNIGHT, "102.50", t1="62.50", t2="40.00")
    assert len(entries(house)) == 3


def test_a_freeze_outside_its_neighbours_is_not_believed(house: House) -> None:
    later_block(settled(house))
    past(house, MIDNIGHT, "104.00", t1="64.00", t2="40.00")
    assert len(entries(house)) == 1


def test_rates_by_the_clock_are_split_at_their_switches(house: House) -> None:
    house.now_ms = local("2026-11-24 06:00")
    house.settle(accounts=[account(tariff="priced")], tariffs=[CLOCKED], balance="100")
    house.read(total="100.00", t1="100.00")
    house.later(hours=4).read(total="104.00", t1="104.00")
    assert house.balance() == "97.600000"  # two hours each
    past(house, local("2026-11-24 08:00"), "103.00", t1="103.00")
    assert (house.balance(), house.verified()) == ("98.400000", None)
    assert said(entries(house)[-1]) == [("2026-11", "v", 1000, 1_000_000), ("2026-11", "v", 3000, 600_000)]


def test_energy_from_before_the_first_version_holds_the_bill(house: House) -> None:
    house.now_ms = local("2026-11-24 06:00")
    to_come = replace(CLOCKED, versions=(replace(CLOCKED.versions[0], from_day="2026-12-01"),))
    house.settle(accounts=[account(tariff="priced")], tariffs=[to_come], balance="100")
    house.read(total="100.00", t1="100.00")
    house.later(hours=1).read(total="101.00", t1="101.00")
    billing = house.do(lambda tx: tx.billing("m1"))
    assert billing is not None and billing.held is Doubt.UNPRICED
    [event] = [event for event in house.events() if event.kind == "bill_held"]
    assert "begins on 2026-12-01" in str(event.data["text"])


def test_a_correction_judges_the_account(house: House) -> None:
    settled(house)
    house.settle(accounts=[account(tariff="priced")], tariffs=[DEARER])
    house.later(hours=3).read(total="250.00", t1="210.00", t2="40.00")
    assert (house.balance(), house.account().credit) == ("0.000000", "exhausted")
    past(house, MIDNIGHT, "249.00", t1="209.00", t2="40.00")
    assert (house.balance(), house.account().credit) == ("24.500000", "normal")


def test_two_rates_need_their_registers_at_the_boundary(house: House) -> None:
    tariff = by_register({"energy_import_t1": 600_000, "energy_import_t2": 300_000}, "priced")
    settled(house, tariff).later(hours=3)
    for _ in range(2):  # more than one rate ran: the next reading confirms
        house.read(total="103.00", t1="61.50", t2="41.50")
        house.later(minutes=1)
    past(house, MIDNIGHT, "102.50")
    assert len(entries(house)) == 1
    past(house, MIDNIGHT, "102.50", t1="61.50", t2="41.00")
    assert [use.tranches[0].wh for use in house.do(lambda tx: tx.period_uses("A-1", "priced"))] == [
        {Rate.PEAK: 1500, Rate.VALLEY: 1000},
        {Rate.VALLEY: 500},
    ]
    assert (house.balance(), house.verified()) == ("98.650000", None)
