"""A person's word about registers: a rollover that was only suspected, a meter that was exchanged (prepayment.md 7 and 8)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.domain.readings import TOTAL, Billing, Doubt, Quality
from gateway.domain.requests import RegisterOrder
from gateway.services.change_meter import accept_register
from tests.gateway.price_lists import by_register
from tests.gateway.services.house import House, account, meter


def accept(house: House, ident: str = "R-1", kind: str = "meter_change", **changes: object) -> str | None:
    values: dict[str, object] = {
        "id": ident, "meter": "m1", "kind": kind, "last": {}, "first": {},
        "reason": "was exchanged", "by": "Li Wei", "second": None,
    }  # fmt: skip
    order = RegisterOrder(**{**values, **changes})  # type: ignore[arg-type]
    return house.do(lambda tx: accept_register(tx, order, house.site, house.now_ms))


def kwh(total: str, **rates: str) -> dict[str, Decimal]:
    return {TOTAL: Decimal(total), **{f"{TOTAL}_{name}": Decimal(value) for name, value in rates.items()}}


def billing(house: House) -> Billing:
    found = house.do(lambda tx: tx.billing("m1"))
    assert found is not None
    return found


@pytest.fixture
def used(house: House) -> House:
    """One kWh of 0.50 is billed; the meter stands at 101.00."""
    house.settle(meter(max_power_w=60_000), balance="100")
    house.read(total="100.00", t1="100.00", t2="0.00")
    house.later(minutes=1).read(total="101.00", t1="101.00", t2="0.00")
    house.kinds()
    return house


def test_a_meter_is_exchanged_and_every_kwh_is_billed_once(used: House) -> None:
    used.later(hours=1)
    last, first = kwh("103.00", t1="103.00", t2="0.00"), kwh("1.00", t1="1.00", t2="0.00")
    assert accept(used, last=last, first=first) is None
    assert accept(used, last=last, first=first) is None  # the same order again
    assert used.balance() == "98.500000"
    used.later(minutes=15)
    assert used.read(total="3.00", t1="3.00", t2="0.00") is Quality.CONFIRMED
    assert (used.balance(), used.kinds(), used.verified()) == ("97.500000", ["register_renewed"], None)
    entry = used.do(lambda tx: tx.entries_of("customer:A-1", 9))[1].entry
    assert (entry.kind, entry.ref[TOTAL], entry.ref["by"], entry.ref["reason"]) == (
        "register",
        "103000-1000",
        "Li Wei",
        "was exchanged",
    )


def test_another_order_under_a_known_id_is_refused(used: House) -> None:
    used.later(hours=1)
    rates = {"t1": "1.00", "t2": "0.00"}
    assert accept(used, last=kwh("102.00", t1="102.00", t2="0.00"), first=kwh("1.00", **rates)) is None
    assert "another content" in str(accept(used, last=kwh("102.00", t1="102.00", t2="0.00"), first=kwh("2.00", **rates)))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"last": kwh("100.99", t1="100.99", t2="0.00")}, "nothing is billed backwards"),
        ({"last": kwh("300.00", t1="300.00", t2="0.00")}, "a second person"),
        ({"last": kwh("300.00", t1="99.00", t2="201.00"), "second": "Wang"}, "nothing is billed backwards"),
        ({"last": kwh("300.00", t1="300.00", t2="0.00"), "second": "LI WEI"}, "must be another one"),
        ({"last": kwh("102.00", t1="102.00")}, "lack energy_import_t2"),
        ({"last": kwh("102.0001", t1="102.00", t2="0.00")}, "no more decimals than the display"),
        ({"last": {"energy_import_t1": Decimal("102.00")}}, "names the last and the first kWh"),
        ({"first": {}}, "names the last and the first kWh"),
        ({"first": kwh("-1.00")}, "names the last and the first kWh"),
        ({"meter": "m9"}, "not in the archive"),
        ({"ident": "a b"}, "1 to 64"),
        ({"kind": "gift"}, "rollover or meter_change"),
        ({"kind": "rollover"}, "needs no registers"),
        ({"kind": "rollover", "last": {}, "first": {}}, "no rollover is suspected"),
    ],
)
def test_what_is_refused_changes_nothing(used: House, changes: dict[str, object], why: str) -> None:
    used.later(hours=1)
    before = billing(used)
    sound = {"last": kwh("102.00", t1="102.00", t2="0.00"), "first": kwh("0.00", t1="0.00", t2="0.00")}
    assert why in str(accept(used, **{**sound, **changes}))  # type: ignore[arg-type]
    assert (billing(used), used.balance(), used.kinds()) == (before, "99.500000", [])


def test_a_second_person_may_know_of_more_than_the_meter_can_have_counted(used: House) -> None:
    used.later(hours=1)
    last, first = kwh("300.00", t1="300.00", t2="0.00"), kwh("0.00", t1="0.00", t2="0.00")
    assert accept(used, last=last, first=first, second="Wang") is None
    assert (used.balance(), used.verified()) == ("0.000000", None)


def test_a_held_rollover_goes_on_by_a_person_s_word(house: House) -> None:
    house.settle(meter(max_power_w=60_000), balance="100")
    for total in ("999998.60", "999999.50", "999999.50", "0.20", "0.30"):
        house.later(minutes=1).read(total=total)
    assert (billing(house).held, house.kinds()) == (Doubt.ROLLOVER, ["reading_suspect"])
    assert accept(house, kind="rollover") is None
    for total in ("0.50", "0.60"):
        house.later(minutes=1).read(total=total)
    assert house.balance() == "99.050000"  # 1.40 kWh to the top and 0.50 beyond
    assert (billing(house).held, house.verified()) == (None, None)


def test_a_new_register_without_a_priced_rate_is_refused(house: House) -> None:
    house.settle(accounts=[account(tariff="odd")], tariffs=[by_register({"energy_import_t1": 1}, "odd")], balance="100")
    house.read(total="100.00", t1="60.00", t2="40.00")
    house.later(hours=1)
    last, first = kwh("102.00", t1="61.00", t2="41.00"), kwh("0.00", t1="0.00", t2="0.00")
    assert "no price" in str(accept(house, last=last, first=first))


def test_a_meter_that_was_never_read_begins_with_its_first_register(house: House) -> None:
    house.settle(balance="100")
    assert accept(house, first=kwh("5.00")) is None
    house.later(hours=1)
    for total in ("6.00", "6.00"):
        house.read(total=total)
    assert (house.balance(), house.verified()) == ("99.500000", None)
