"""After a restore: no money, no cut for debt, light all the same, and only agreement leads back."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from gateway.domain.agreements import BankAgreed, CentreAgreed
from gateway.domain.events import EventKind
from gateway.domain.meters import Contact
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.services import reopen
from gateway.services.money_held import held
from gateway.services.ports import MoneyHeld
from tests.gateway.services.house import ZONE, House, yuan
from tests.gateway.services.memory_tx import MemoryStore

DAYS = ("2026-11-23", "2026-11-24", "2026-11-25")
NO_CENTRE = CentreAgreed(None, "Li Wei", "the centre is not built yet")


@pytest.fixture
def house() -> House:
    """Paid 5.00 by S-1, backed up at ten, restored at half past."""
    house = House(MemoryStore()).settle(balance="1.00")
    house.block(total="0.00")
    house.topup("5.00", "S-1")
    house.later(minutes=30)
    restore(house, minutes_old=30)
    return house


def restore(house: House, *, minutes_old: int, epoch: str = "00000000000000e2") -> None:
    backup_ms = house.now_ms - minutes_old * 60_000
    house.do(lambda tx: reopen.hold_money(tx, epoch, backup_ms, house.now_ms))


def bank(house: House, count: int, total: str, *, first: str = DAYS[0], last: str = DAYS[-1], name: str = "bank") -> str | None:
    agreed = BankAgreed(name, first, last, "CNY", count, yuan(total), "Li Wei")
    return house.do(lambda tx: reopen.agree_bank(tx, agreed, house.now_ms))


def centre(house: House, agreed: CentreAgreed = NO_CENTRE, epoch: str = "") -> str | None:
    return house.do(lambda tx: reopen.agree_centre(tx, epoch, agreed, house.now_ms))


def missing(house: House) -> tuple[str, ...]:
    return house.do(lambda tx: reopen.missing(tx, ZONE))


def release(house: House) -> tuple[str, ...]:
    return house.do(lambda tx: reopen.release(tx, "Li Wei", ZONE, house.now_ms))


def payment(serial: str, amount: str, day: str = "2026-11-24", account: str = "A-1") -> TopUp:
    when = date.fromisoformat(day)
    paid_at = datetime(2026, 11, 24, 2, tzinfo=UTC)
    return TopUp(PaymentIdentity("bank", "", "", serial), account, yuan(amount), "CNY", paid_at, when, when)


def bring_in(house: House, *topups: TopUp) -> int:
    return house.do(lambda tx: reopen.bring_in(tx, topups, "Li Wei", house.site, house.now_ms))


def test_money_waits_and_what_is_known_is_answered(house: House) -> None:
    with pytest.raises(MoneyHeld, match="restored from a backup of 2026-11-24 02:00:00 UTC"):
        house.topup("7.00", "S-2")
    assert house.balance() == "6.000000"
    assert house.topup("5.00", "S-1").verdict == "repeated"
    assert EventKind.STORE_RESTORED.value in house.kinds()
    assert house.do(lambda tx: tx.meta("epoch")) == "00000000000000e2"


def test_nobody_is_cut_for_debt_until_money_is_taken_again(house: House) -> None:
    house.block(total="0.00")
    house.later(minutes=5).block(total="20.00")
    assert house.balance() == "-4.000000" and house.orders() == []
    assert [e.data["missing"] for e in house.events() if e.kind is EventKind.CUT_HELD] == [["no way to top up is alive (F2)"]]
    assert bank(house, 1, "5.00") is None and centre(house) is None and release(house) == ()
    house.later(minutes=1).block(total="20.00")
    assert house.orders() == ["cut queued"]


def test_a_cut_that_was_ordered_before_the_backup_is_not_sent(house: House) -> None:
    other = House(MemoryStore()).settle(balance="1.00").exhaust()
    assert other.orders() == ["cut queued"]
    restore(other, minutes_old=1)
    assert other.start() is None
    assert other.orders() == ["cut cancelled"]


def test_a_payment_that_is_brought_in_restores_supply(house: House) -> None:
    dark = House(MemoryStore()).settle(balance="1.00").exhaust()
    dark.carry_out(Contact.OPEN)
    restore(dark, minutes_old=1)
    assert bring_in(dark, payment("S-9", "50.00")) == 1
    assert dark.carry_out(Contact.CLOSED).state == "verified"
    assert dark.verified() is None


def test_payments_are_brought_in_once_and_all_or_none(house: House) -> None:
    old = payment("S-2", "7.00", day="2026-10-01")
    assert bring_in(house, payment("S-1", "5.00"), old) == 1
    assert bring_in(house, old) == 0
    assert house.balance() == "13.000000"
    receipts = house.do(lambda tx: [tx.payment(payment(serial, "1.00").identity) for serial in ("S-1", "S-2")])
    for stored, number in zip(receipts, ("gw-1-0000000002", "gw-1-0000-0000000003"), strict=True):
        assert stored is not None and f'"receipt_no":"{number}"' in (stored.receipt or "")
    for wrong, words in (
        (payment("S-1", "6.00"), "serial S-1 of bank bank is booked here with another amount"),
        (payment("S-4", "6.00", account="A-9"), "serial S-4 of bank bank: account A-9 is not known here"),
    ):
        with pytest.raises(reopen.NotBroughtIn, match=words):
            bring_in(house, payment("S-3", "8.00"), wrong)
    assert house.balance() == "13.000000" and house.do(lambda tx: tx.payment(payment("S-4", "6.00").identity)) is None


def test_every_bank_must_agree_for_every_day_that_could_be_missing(house: House) -> None:
    days, unsaid = f"bank bank (CNY) is not compared for {', '.join(DAYS)}", "it is not said how far the centre has received"
    assert missing(house) == (days, unsaid)
    assert bank(house, 2, "12.00") == (
        "bank bank, 2026-11-23 to 2026-11-25: 1 payments of 5.00 CNY here, 2 of 12.00 there; missing here: 1 of 7.00"
    )
    assert bank(house, 0, "0.00", name="other") is None
    assert bank(house, 1, "5.00", first=DAYS[1], last=DAYS[1]) is None
    assert missing(house)[0] == f"bank bank (CNY) is not compared for {DAYS[0]}, {DAYS[2]}"
    assert centre(house) is None
    assert release(house) == missing(house) != ()
    with pytest.raises(MoneyHeld):
        house.topup("7.00", "S-2")
    assert bank(house, 1, "5.00") is None and release(house) == ()
    assert house.topup("7.00", "S-2").verdict == "posted"
    by = [(e.kind.value, e.data["by"]) for e in house.events() if "by" in e.data]
    kinds = ("bank_agreed", "bank_agreed", "centre_agreed", "bank_agreed", "money_released")
    assert by == [(kind, "Li Wei") for kind in kinds]


def test_an_agreement_that_the_ledger_no_longer_bears_out_counts_no_more(house: House) -> None:
    assert bank(house, 1, "5.00") is None and centre(house) is None and missing(house) == ()
    bring_in(house, payment("S-2", "7.00"))
    assert "2 payments of 12.00 CNY here, 1 of 5.00 there; missing here: -1 of -7.00" in release(house)[0]
    assert bank(house, 2, "12.00") is None and release(house) == ()


def test_the_centre_cannot_have_less_than_it_had_acknowledged() -> None:
    house = House(MemoryStore()).settle(balance="1.00")
    house.do(lambda tx: tx.set_meta("epoch", "00000000000000e1"))
    for serial in ("S-1", "S-2"):
        house.topup("5.00", serial)
    house.do(lambda tx: tx.acknowledge(3, (), house.now_ms))
    restore(house, minutes_old=1)
    assert centre(house, CentreAgreed(3, "Li Wei"), "00000000000000e9") == (
        "the backup is of epoch 00000000000000e1, and the number is of epoch 00000000000000e9"
    )
    assert centre(house, CentreAgreed(2, "Li Wei"), "00000000000000e1") == (
        "the centre had acknowledged up to 3 before the backup, and is now said to have 2"
    )
    assert centre(house, CentreAgreed(9, "Li Wei"), "00000000000000e1") is None


def test_a_second_restore_asks_for_the_whole_time_again(house: House) -> None:
    assert bank(house, 1, "5.00") is None
    house.later(hours=48)
    restore(house, minutes_old=60 * 24, epoch="00000000000000e3")
    waits = house.do(held)
    assert waits is not None and waits.banks == () and waits.epoch == "00000000000000e2"
    assert missing(house)[0] == "bank bank (CNY) is not compared for " + ", ".join(f"2026-11-{day}" for day in range(23, 28))


def test_where_money_is_taken_there_is_nothing_to_agree_on() -> None:
    house = House(MemoryStore()).settle(balance="1.00")
    assert bank(house, 0, "0.00") == centre(house) == release(house)[0] == reopen.NOT_HELD
    with pytest.raises(reopen.NotBroughtIn):
        bring_in(house, payment("S-1", "5.00"))
