"""Another device at a metering point, other transformers in front of it: every Wh is billed once, by what held when it flowed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from gateway.domain.clocks import ClockState, MeterClock
from gateway.domain.debt_terms import Accrual
from gateway.domain.jobs import Want
from gateway.domain.life import Refusal
from gateway.domain.meters import Contact
from gateway.domain.price_list import Reset, StepKind, Steps
from gateway.domain.readings import Source
from gateway.domain.schemes import Slot
from gateway.domain.wallets import Wallet
from gateway.services.ports import Tx
from tests.gateway.services.house import FLAT, House, account, meter
from tests.gateway.services.life_house import act, exchanged, other_ct

OLD = meter("m1", max_power_w=60_000)
NEW = replace(OLD, address="99", profile="dlt645-three", protocol="dlt645-2007")


@pytest.fixture
def used(house: House) -> House:
    """1 kWh of 0.50 is billed; the meter stands at 101.00."""
    house.settle(OLD, balance="100")
    house.block(total="100.00")
    house.later(minutes=1).block(total="101.00")
    house.kinds()
    return house


def test_a_device_is_exchanged_and_the_point_lives_on(used: House) -> None:
    used.later(hours=1)
    told = exchanged(used, NEW, "103.00", "5.00")
    assert told == {"meter": "m1", "point": "point-m1", "address": "99", "last_wh": 103_000, "first_wh": 5_000}
    assert exchanged(used, NEW, "103.00", "5.00") == told  # the same request again
    for total in ("7.00", "7.00"):
        used.later(minutes=5).block(total=total)
    assert (used.balance(), used.verified()) == ("97.500000", None)
    now = used.meter()
    assert (now.address, now.profile, now.point, now.account) == ("99", "dlt645-three", "point-m1", "A-1")
    row = used.do(lambda tx: tx.audit_rows(0, 99))[-1]
    assert (row.act, row.data["was"], row.data["address"]) == ("change_meter", "1", "99")


def test_what_is_known_of_the_old_device_is_forgotten(used: House) -> None:
    at = used.now_ms - 3_600_000

    def known(tx: Tx) -> None:
        tx.save_clock(MeterClock("m1", ClockState.RIGHT))
        tx.save_wallet(Wallet("m1", 17, 0, opened=True))
        tx.save_accrual(Accrual("A-1", "flat", 0, 0, varh={"m1": 7, "m2": 8}))
        tx.add_slots([Slot("m1", Want.DAY, at, "day", "bus-1", Source.FREEZE, at, at)])

    used.do(known)
    used.later(hours=1)
    exchanged(used, NEW, "103.00", "0.00")
    clock, wallet, accrual = used.do(lambda tx: (tx.clock("m1"), tx.wallet("m1"), tx.accrual("A-1")))
    assert (clock, accrual and accrual.varh) == (MeterClock("m1"), {"m2": 8})
    assert wallet is not None and (wallet.count, wallet.balance_micro, wallet.opened) == (0, 0, False)
    assert used.do(lambda tx: tx.slots("m1", Want.DAY, 0, used.now_ms, 9)) == []


def test_a_command_that_the_broken_device_never_answered_is_over(house: House) -> None:
    house.settle(OLD, balance="1")
    house.block(total="0.00")
    house.later(minutes=30).block(total="10.00")
    sent = house.start()
    assert sent is not None and [c.state for c in house.open()] == ["sent"]
    exchanged(house, NEW, "10.00", "0.00")
    assert house.command(sent.command).state == "failed" and house.command(sent.command).reason == "the meter was exchanged"
    assert house.relay() == "open (credit:energy_debt), seen unknown"
    house.later(minutes=11).block(total="0.00", contact=Contact.CLOSED)
    house.later(minutes=1).block(total="0.00", contact=Contact.CLOSED)
    assert [f"{c.verb} {c.state}" for c in house.open()] == ["cut queued"], "the new device is cut as the old one was to be"


@pytest.mark.parametrize(
    ("new", "last", "first", "why"),
    [
        (NEW, "100.99", "0.00", "nothing is billed backwards"),
        (NEW, "900.00", "0.00", "a second person"),
        (NEW, "101.0001", "0.00", "no more decimals"),
        (NEW, "102.00", "0.0001", "no more decimals"),
        (replace(NEW, id="m7"), "102.00", "0.00", "m7 is not in the archive"),
    ],
)
def test_what_cannot_be_exchanged_stays(used: House, new: object, last: str, first: str, why: str) -> None:
    used.later(hours=1)
    before = used.do(lambda tx: (tx.meters(), tx.billing("m1"), tx.journal_end(), tx.audit_end()))
    with pytest.raises(Refusal, match=why):
        exchanged(used, new, last, first)  # type: ignore[arg-type]
    assert used.do(lambda tx: (tx.meters(), tx.billing("m1"), tx.journal_end(), tx.audit_end())) == before
    assert used.kinds() == []


def test_steps_go_on_over_a_new_device(house: House) -> None:
    steps = Steps(StepKind.BLOCK, (Reset(1),), (10_000,), (500_000, 1_000_000))
    version = replace(FLAT.versions[0], steps=steps, seasons=(replace(FLAT.versions[0].seasons[0], prices={}),))
    stepped = replace(FLAT, id="steps", versions=(version,))
    house.settle(OLD, accounts=[account(tariff="steps")], balance="100", tariffs=[FLAT, stepped])
    house.block(total="100.00")
    house.later(hours=1).block(total="106.00")  # 6 of the first 10
    exchanged(house, NEW, "108.00", "0.00", by=act(second="wang"))
    for total in ("5.00", "5.00"):
        house.later(hours=1).block(total=total)
    assert (house.balance(), house.verified()) == ("92.000000", None)  # 10 of 0.50 and 3 of 1.00


# transformers


def test_every_wh_is_billed_by_the_ratio_that_held(house: House) -> None:
    old = meter(max_power_w=600_000, count_wh=600, capacity_wh=60 * 10**9, ratio=Fraction(60))
    new = replace(old, max_power_w=800_000, count_wh=800, capacity_wh=80 * 10**9, ratio=Fraction(80))
    house.settle(old, balance="1000")
    house.block(total="1.00")
    house.later(hours=1).block(total="2.00")  # 60 kWh
    house.later(hours=1)
    told = other_ct(house, new, "3.00")  # 60 more
    assert told == {"meter": "m1", "ratio": "80", "was": "60", "last_wh": 180_000, "first_wh": 240_000}
    assert other_ct(house, new, "3.00") == told
    for total in ("4.00", "5.00", "5.00"):
        house.later(hours=1).block(total=total)  # 80 and 80
    assert (house.balance(), house.verified()) == ("860.000000", None)
    assert (house.meter().max_power_w, house.meter().ratio) == (800_000, Fraction(80))
    entry = next(p.entry for p in house.do(lambda tx: tx.entries(0, 99)) if p.entry.kind == "register")
    assert (entry.ref["change"], entry.ref["ratio"], entry.ref["by"]) == ("ct_change", "60-80", "li")


@pytest.mark.parametrize(
    ("at", "ratio", "why"),
    [("0.99", 80, "nothing is billed backwards"), ("900.00", 80, "a second person"), ("1.50", 60, "has the ratio 60 already")],
)
def test_a_ratio_that_cannot_begin_there_does_not_begin(house: House, at: str, ratio: int, why: str) -> None:
    old = meter(max_power_w=600_000, count_wh=600, ratio=Fraction(60))
    house.settle(old, balance="1000")
    house.block(total="1.00")
    house.later(hours=1)
    with pytest.raises(Refusal, match=why):
        other_ct(house, replace(old, ratio=Fraction(ratio), count_wh=10 * ratio), at)
    assert (house.meter().ratio, house.balance()) == (Fraction(60), "1000.000000")
