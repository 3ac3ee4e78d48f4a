"""What time brings is booked day by day: each day once, after any pause, and by what the meters showed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from gateway.domain.charge_refs import lines_of
from gateway.domain.price_list import Band, Fee, FeeBasis, PowerFactor, Tariff
from gateway.domain.readings import Item, Reading
from gateway.services.accrue_fees import DAYS_AT_ONCE, accrue_fees, fees_due
from gateway.services.record_reading import record_reading
from tests.gateway.price_lists import flat
from tests.gateway.services.house import House, account, local


def tariff(*fees: Fee, micro: int = 500_000, id: str = "priced", **changes: object) -> Tariff:
    plain = flat(micro, id)
    return replace(plain, versions=(replace(plain.versions[0], fees=fees, **changes),))  # type: ignore[arg-type]


DAILY = Fee("standing", FeeBasis.DAY, 500_000)
MONTHLY = Fee("basic", FeeBasis.PERIOD, 30_000_000)


def settled(house: House, *tariffs: Tariff, at: str = "2026-11-24 10:00", balance: str = "100") -> House:
    house.now_ms = local(at)
    return house.settle(accounts=[account(tariff="priced")], tariffs=tariffs, balance=balance)


def accrue(house: House, ident: str = "A-1") -> int:
    """All that is due; in how many transactions."""
    calls = 1
    while house.do(lambda tx: accrue_fees(tx, ident, house.site, house.now_ms)):
        calls += 1
    return calls


def fees(house: House) -> list[tuple[str, str, int]]:
    """Period, component or fee, and micro of all fees booked."""
    entries = [posted.entry for posted in house.do(lambda tx: tx.entries(0, 1000)) if posted.entry.kind == "fee"]
    return [(line.period[:7], line.name or line.component, line.micro) for entry in entries for line in lines_of(entry.ref)]


def test_a_day_is_booked_once_when_it_has_ended(house: House) -> None:
    settled(house, tariff(DAILY))
    accrue(house)
    house.now_ms = local("2026-11-24 23:59")
    accrue(house)
    assert house.balance() == "100.000000"
    for _ in range(3):
        house.now_ms = local("2026-11-25 00:00")
        assert accrue(house) == 1
    assert (house.balance(), house.do(lambda tx: fees_due(tx, "A-1", house.now_ms))) == ("99.500000", False)
    assert house.verified() is None


def test_missed_days_are_caught_up_one_by_one_and_a_bounded_number_at_once(house: House) -> None:
    settled(house, tariff(DAILY))
    accrue(house)
    house.now_ms = local("2027-01-24 05:00")
    assert accrue(house) == 61 // DAYS_AT_ONCE + 1
    found = fees(house)
    assert len(found) == 61 and {micro for _, _, micro in found} == {500_000}
    assert [sum(period == month for period, _, _ in found) for month in ("2026-11", "2026-12", "2027-01")] == [7, 31, 23]
    assert (house.balance(), house.verified()) == ("69.500000", None)


def test_a_month_that_began_before_bears_its_fee_only_since(house: House) -> None:
    settled(house, tariff(MONTHLY))
    accrue(house)
    house.now_ms = local("2026-12-01 00:00")
    accrue(house)
    assert sum(micro for _, _, micro in fees(house)) == 7_000_000
    house.now_ms = local("2027-01-01 00:00")
    accrue(house)
    assert sum(micro for _, _, micro in fees(house)) == 37_000_000


def test_a_minimum_is_what_the_month_lacks_when_it_ends_and_late_energy_lowers_it(house: House) -> None:
    settled(house, tariff(minimum_micro=20_000_000))
    house.block(total="100.00")
    accrue(house)
    house.later(minutes=30).block(total="110.00")
    house.now_ms = local("2026-12-01 00:00")
    accrue(house)
    assert fees(house) == [("2026-11", "minimum", 15_000_000)]
    house.now_ms = local("2026-12-01 00:00") + 1
    house.block(total="114.00")  # read after the month's end, used (nearly) all before
    assert (house.balance(), house.verified()) == ("80.000000", None)


def test_nothing_comes_by_time_where_no_fee_says_so(house: House) -> None:
    settled(house, tariff())
    assert not house.do(lambda tx: fees_due(tx, "A-1", house.now_ms))
    accrue(house)
    assert house.do(lambda tx: tx.accrual("A-1")) is None


def test_a_band_from_zero_bears_its_fixed_charge_without_energy(house: House) -> None:
    settled(house, tariff(bands=(Band(0, 0, 3_000_000), Band(30_000, 0, 9_000_000))))
    house.block(total="100.00")
    accrue(house)
    house.now_ms = local("2026-12-02 00:00")
    accrue(house)
    assert fees(house) == [("2026-12", "fixed", 3_000_000)]  # of November it was nobody's
    house.later(minutes=10).block(total="140.00")
    assert house.verified() is None


def test_a_change_of_tariff_ends_one_fee_and_begins_the_other_at_the_same_midnight(house: House) -> None:
    other = tariff(replace(DAILY, micro=2_000_000), id="other")
    settled(house, tariff(DAILY), other)
    accrue(house)
    house.now_ms = local("2026-11-26 15:00")  # two days later
    house.settle(accounts=[account(tariff="other")], tariffs=[tariff(DAILY), other])
    house.now_ms = local("2026-11-28 01:00")
    accrue(house)
    assert [micro for _, _, micro in fees(house)] == [500_000, 500_000, 2_000_000, 2_000_000]
    assert house.verified() is None


def test_fees_may_exhaust_an_account(house: House) -> None:
    settled(house, tariff(DAILY), balance="0.40")
    accrue(house)
    house.kinds()
    house.now_ms = local("2026-11-25 00:01")
    accrue(house)
    assert "balance_exhausted" in house.kinds()


# what meters measure

PF = PowerFactor(90, ((95, -75), (90, 0), (85, 250), (0, 1000)))


def measured(house: House, total: str, **more: str) -> None:
    units = {"demand_import_max": "kW", "reactive_energy_import": "kvarh"}
    items = [Item("energy_import", Decimal(total), "kWh"), Item("energy_import_t1", Decimal(total), "kWh")]
    items += [Item(name, Decimal(value), units[name]) for name, value in more.items()]
    reading = Reading("m1", tuple(items), house.now_ms - 10, house.now_ms)
    house.do(lambda tx: record_reading(tx, reading, None, house.site, house.now_ms))


def test_the_highest_demand_of_the_month_is_charged(house: House) -> None:
    fee = Fee("demand", FeeBasis.DEMAND, 10_000_000, least_kw=1)
    settled(house, tariff(fee), at="2026-12-01 00:00")
    accrue(house)
    found = []
    for day, kw in ((1, "2.5000"), (2, "4.0000"), (3, "3.0000")):
        house.now_ms = local(f"2026-12-0{day} 23:30")
        measured(house, "100.00", demand_import_max=kw)
        house.now_ms = local(f"2026-12-0{day + 1} 00:10")
        accrue(house)
        found.append(sum(micro for _, _, micro in fees(house)))
    assert found == [25_000_000, 40_000_000, 40_000_000]


def test_without_a_demand_the_least_counts_and_it_is_said_once(house: House) -> None:
    settled(house, tariff(Fee("demand", FeeBasis.DEMAND, 10_000_000, least_kw=1)), at="2026-12-01 00:00")
    accrue(house)
    house.events()
    house.now_ms = local("2026-12-04 00:00")
    accrue(house)
    assert fees(house) == [("2026-12", "demand", 10_000_000)]
    [event] = [event for event in house.events() if event.kind == "fee_basis_missing"]
    assert event.data["text"] == "tariff priced counts by demand, which no meter of account A-1 gives"


@pytest.mark.parametrize(("kvarh", "percent"), [("30.00", -75), ("48.00", 0), ("70.00", 1000)])
def test_a_power_factor_changes_the_bill_when_its_month_ends(house: House, kvarh: str, percent: int) -> None:
    settled(house, tariff(power_factor=PF), at="2026-12-01 00:00")
    accrue(house)
    for day, total, varh in ((1, "100.00", "7.00"), (15, "150.00", "17.00"), (31, "200.00", str(Decimal(kvarh) + 7))):
        house.now_ms = local(f"2026-12-{day:02d} 23:59")
        for _ in range(2):
            measured(house, total, reactive_energy_import=varh)
    house.now_ms = local("2027-01-01 00:10")
    accrue(house)
    assert sum(micro for _, _, micro in fees(house)) == 50_000_000 * percent // 10_000
    assert house.verified() is None
