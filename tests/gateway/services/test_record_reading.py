"""From a reading to the bill, in one transaction (design.md 5, prepayment.md "What we decided" 7)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.events import Topic
from gateway.domain.ledger import EntryKind
from gateway.domain.meters import Contact
from gateway.domain.period_cost import ENERGY
from gateway.domain.readings import TOTAL, Doubt, Quality
from gateway.domain.tariff_change import ALWAYS
from gateway.services.ports import Tx
from tests.gateway.price_lists import by_register
from tests.gateway.services.house import FLAT, House, account, meter
from tests.gateway.services.memory_tx import MemoryStore


def billing(house: House) -> tuple[int | None, int | None, Doubt | None]:
    """Billed to, waiting to be confirmed, held."""
    found = house.do(lambda tx: tx.billing("m1"))
    assert found is not None
    confirmed, candidate = found.confirmed, found.candidate
    return confirmed and confirmed.wh[TOTAL], candidate and candidate.wh[TOTAL], found.held


def test_single_registers_are_billed_when_the_next_reading_agrees(house: House) -> None:
    house.settle(balance="10")
    statement = [
        # total, quality, balance, billed to, waiting
        ("100.00", Quality.SINGLE, "10.000000", None, 100_000),
        ("101.00", Quality.SINGLE, "10.000000", 100_000, 101_000),
        ("103.00", Quality.SINGLE, "9.500000", 101_000, 103_000),
        ("103.00", Quality.SINGLE, "8.500000", 103_000, 103_000),
        ("103.00", Quality.SINGLE, "8.500000", 103_000, 103_000),
        ("102.99", Quality.SUSPECT, "8.500000", 103_000, 103_000),
        ("103.01", Quality.SINGLE, "8.500000", 103_000, 103_010),
        ("103.01", Quality.SINGLE, "8.495000", 103_010, 103_010),
    ]
    for total, quality, balance, billed_to, waiting in statement:
        assert house.read(total=total) is quality
        assert (house.balance(), billing(house)[:2]) == (balance, (billed_to, waiting))
        house.later(minutes=1)
    assert house.verified() is None


def test_a_block_confirms_itself_and_is_billed_at_once(house: House) -> None:
    house.settle(accounts=[account(tariff="two-rate")], balance="10")
    statement = [
        # total, t1, t2, quality, balance
        ("100.00", "60.00", "39.99", Quality.CONFIRMED, "10.000000"),  # registers are truncated separately
        ("101.00", "61.00", "39.99", Quality.CONFIRMED, "9.400000"),  # 1 x 0.60
        ("102.00", "61.00", "41.00", Quality.CONFIRMED, "9.097000"),  # 1.01 x 0.30
        ("103.00", "61.00", "41.50", Quality.SINGLE, "9.097000"),  # half a kWh is missing: not of itself
        ("103.00", "61.00", "42.00", Quality.CONFIRMED, "8.797000"),
        ("105.00", "62.00", "43.00", Quality.SINGLE, "8.797000"),  # two rates at once, or two bits that cancel out
        ("106.00", "62.00", "44.00", Quality.CONFIRMED, "7.597000"),
    ]
    for total, t1, t2, quality, balance in statement:
        assert house.read(total=total, t1=t1, t2=t2) is quality
        assert house.balance() == balance
        house.later(minutes=1)
    assert house.verified() is None


def test_the_statement_explains_a_charge(house: House) -> None:
    house.settle(accounts=[account(tariff="two-rate")], balance="10")
    house.read(total="100.00", t1="60.00", t2="40.00")
    begun = house.now_ms
    for _ in range(2):
        house.later(minutes=1).read(total="102.00", t1="61.00", t2="41.00")
    last = house.do(lambda tx: tx.entries_of("customer:A-1", 1))[0].entry
    assert (last.kind, last.legs[0].micro, last.legs[1].micro) == (EntryKind.CHARGE, -900_000, 900_000)
    assert last.ref == {
        "meter": "m1",
        "tariff": "two-rate",
        "from_ms": str(begun),
        "to_ms": str(house.now_ms),
        "energy_import": "100000-102000",
        "energy_import_t1": "60000-61000",
        "energy_import_t2": "40000-41000",
        "line:0": f'["2026-11-01T00:00","energy","{ALWAYS}","year","peak",null,1000,600000,600000,"{ENERGY}",""]',
        "line:1": f'["2026-11-01T00:00","energy","{ALWAYS}","year","valley",null,1000,300000,300000,"{ENERGY}",""]',
    }


@pytest.mark.parametrize(
    ("total", "doubt"),
    [("99.99", "register_lower"), ("300.00", "register_jump"), ("0.00", "register_lower"), ("799999.99", "register_jump")],
)
def test_a_suspect_reading_holds_the_bill_says_so_once_and_heals(house: House, total: str, doubt: str) -> None:
    house.settle(balance="100")
    house.block(total="100.00")
    house.kinds()
    for _ in range(3):
        assert house.later(minutes=1).block(total=total) is Quality.SUSPECT
        assert (house.balance(), billing(house)) == ("100.000000", (100_000, None, Doubt(doubt)))
    [event] = house.events()
    assert (event.kind, event.meter, event.data["doubt"]) == ("reading_suspect", "m1", doubt)
    assert house.later(minutes=1).block(total="101.00") is Quality.CONFIRMED
    assert (house.balance(), billing(house)) == ("99.500000", (101_000, None, None))
    assert house.verified() is None


def test_a_later_reading_that_contradicts_the_candidate_bills_nobody(house: House) -> None:
    house.settle(balance="100")
    for total, balance in [("100.00", "100.000000"), ("100.00", "100.000000"), ("109.00", "100.000000"), ("101.00", "100.000000")]:
        house.read(total=total)
        house.later(minutes=1)
        assert house.balance() == balance
    for total, balance in [("101.00", "100.000000"), ("101.00", "99.500000")]:
        house.read(total=total)
        house.later(minutes=1)
        assert house.balance() == balance
    assert house.verified() is None


@pytest.mark.parametrize("lost", [{"total": "101.00", "t1": "101.00"}, {"total": "101.00", "t2": "0.00"}])
def test_a_block_that_lost_a_rate_is_suspect(house: House, lost: dict[str, str]) -> None:
    house.settle(balance="100").block(total="100.00")
    house.later(minutes=1)
    assert house.read(**lost) is Quality.SUSPECT
    assert billing(house)[2] is Doubt.MISSING


def test_a_filler_is_stored_and_bills_nothing(house: House) -> None:
    house.settle(balance="100").block(total="100.00")
    house.later(minutes=1)
    assert house.read(total="FF", t1="100.00", t2="0.00") is Quality.SUSPECT
    assert billing(house) == (100_000, None, Doubt.FILLER)
    [stored] = house.do(lambda tx: tx.readings("m1", house.now_ms, 9))
    assert stored.reading.items[0].value is None
    house.later(minutes=1).block(total="101.00")
    assert (billing(house), house.balance()) == ((101_000, None, None), "99.500000")
    assert house.kinds()[-2:] == ["reading_suspect", "bill_released"]


def test_a_rate_without_price_holds_the_bill_until_the_tariff_names_one(house: House) -> None:
    house.settle(accounts=[account(tariff="two-rate")], balance="100")
    house.read(total="100.00", t1="60.00", t2="40.00", t3="0.00")
    house.kinds()
    for total, t3 in [("101.00", "1.00"), ("102.00", "2.00")]:
        house.later(minutes=1)
        assert house.read(total=total, t1="60.00", t2="40.00", t3=t3) is Quality.CONFIRMED
        assert (house.balance(), billing(house)) == ("100.000000", (100_000, None, Doubt.UNPRICED))
    [event] = house.events()
    assert event.kind == "bill_held" and "energy_import_t3" in str(event.data["text"])
    priced = by_register({"energy_import_t1": 600_000, "energy_import_t2": 300_000, "energy_import_t3": 900_000})
    house.do(lambda tx: tx.save_price_list(priced))
    for _ in range(2):
        house.later(minutes=1).read(total="103.00", t1="61.00", t2="40.00", t3="2.00")
    assert (house.balance(), billing(house)) == ("97.600000", (103_000, None, None))
    assert house.verified() is None


def test_a_meter_that_lacks_a_priced_register_is_held_too(house: House) -> None:
    house.settle(accounts=[account(tariff="two-rate")], balance="100")
    house.read(total="100.00")
    house.later(minutes=1).read(total="101.00")
    house.later(minutes=1).read(total="102.00")
    assert (house.balance(), billing(house)[2], house.kinds()) == ("100.000000", Doubt.UNPRICED, ["bill_held"])


def test_a_meter_without_account_is_accepted_and_bills_nobody_not_even_its_first_tenant(house: House) -> None:
    house.settle(meter(account=None), balance="100")
    house.block(total="100.00")
    house.later(minutes=1).block(total="105.00")
    assert house.balance() == "100.000000"
    house.settle(meter(account="A-1"), balance="100")
    house.later(minutes=1).block(total="107.00")
    assert house.balance() == "99.000000"
    assert house.verified() is None


def test_an_unknown_meter_is_nobodys(house: House) -> None:
    house.settle()
    with pytest.raises(LookupError, match="m9 is not in the archive"):
        house.read("m9", total="1.00")


def test_a_reading_goes_up_with_its_three_times(house: House) -> None:
    house.settle(balance="100")
    house.outgoing(Topic.READING)
    house.read(total="100.10", power="0.5000", contact=Contact.CLOSED)
    [message] = house.outgoing(Topic.READING)
    assert message.subject == "m1"
    assert message.body == {
        "point": "point-m1",
        "items": [
            {"quantity": "energy_import", "obis": None, "value": "100.10", "unit": "kWh"},
            {"quantity": "power", "obis": None, "value": "0.5000", "unit": "kW"},
        ],
        "quality": "single",
        "source": "live",
        "asked_ms": house.now_ms - 120,
        "answered_ms": house.now_ms,
        "stored_ms": house.now_ms,
    }


def test_a_balance_goes_up_when_it_moves_and_only_then(house: House) -> None:
    house.settle(balance="10").block(total="0.00")
    assert house.balances_sent() == []
    for total, sent in [("0.00", []), ("1.01", [("9.49", "normal")]), ("1.01", [])]:
        house.later(minutes=1).block(total=total)
        assert house.balances_sent() == sent
    house.later(minutes=1).block(total="10.01")
    assert house.balances_sent()[-1] == ("4.99", "low")


def test_a_switch_that_moved_by_itself_is_an_event(house: House) -> None:
    house.settle(balance="100")
    seen = [
        (Contact.CLOSED, []),
        (Contact.CLOSED, []),
        (Contact.OPEN, ["supply_lost"]),
        (Contact.OPEN, []),
        (Contact.UNKNOWN, []),
        (Contact.ALLOWED, []),
        (Contact.CLOSED, ["supply_restored"]),
    ]
    for contact, kinds in seen:
        house.later(minutes=1).read(contact=contact)
        assert house.kinds() == kinds
    assert house.orders() == []  # what a person opened on the spot is not closed from here


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=1, max_size=30),
    st.integers(1, 999_999),
    st.integers(1, 999_999),
    st.booleans(),
)
def test_every_split_of_the_same_energy_costs_the_same(steps: list[tuple[int, int]], price1: int, price2: int, block: bool) -> None:
    """Rates rise by hundredths of a kWh; blocks are billed at once, single registers one reading later."""
    tariff = by_register({"energy_import_t1": price1, "energy_import_t2": price2})
    house = House(MemoryStore())
    house.settle(accounts=[account(tariff="two-rate")], tariffs=[FLAT, tariff], balance="1000000")
    t1 = t2 = 12_345
    off = 0 if block else 1000  # a total that does not add up must wait for the next reading

    def read() -> None:
        total, first, second = (f"{Decimal(v).scaleb(-2):.2f}" for v in (t1 + t2 + off, t1, t2))
        house.later(minutes=5).read(total=total, t1=first, t2=second)

    read()
    for rise1, rise2 in steps:
        t1, t2 = t1 + rise1, t2 + rise2
        read()
    read()

    def books(tx: Tx) -> int:
        return 1_000_000_000_000 - tx.balance("customer:A-1", "CNY")

    cost = sum((end - 12_345) * 10 * p // 1000 for end, p in ((t1, price1), (t2, price2)))
    assert house.do(books) == cost
    assert house.verified() is None
