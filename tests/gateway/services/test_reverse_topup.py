"""A payment taken back is undone once, whole, and its answer is the same for ever (contract.md 3)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from gateway.domain import ledger
from gateway.domain.bank_acts import ClosedDay, Origin, Reversal, ReversalOutcome, ReversalState, ReversalVerdict
from gateway.domain.credit import CreditState, Step
from gateway.domain.debt_terms import DebtTerms
from gateway.domain.requests import PaymentIdentity
from gateway.domain.wallets import DeliveryState
from gateway.services.notify import confirm_step
from gateway.services.ports import InvalidField, TopUpVerdict
from gateway.services.post_entry import post_entry
from gateway.services.reverse_topup import decide_reversals, reverse_topup
from tests.gateway.services.house import POLICY, House, account, yuan
from tests.gateway.services.wallet_house import WalletHouse, Way

REVERSED, TOMBSTONE, NOTHING, PENDING, DELIVERED, DAY_CLOSED = ReversalVerdict
DAY = date(2026, 11, 24)


def wanted(house: House, amount: str, serial: str = "S-1", **changes: object) -> Reversal:
    identity = PaymentIdentity("bank", "", "", serial)
    at = datetime.fromtimestamp(house.now_ms / 1000, UTC)
    return replace(Reversal(identity, f"R-{serial}", DAY, yuan(amount), "CNY", "payer's wish", at), **changes)  # type: ignore[arg-type]


def reverse(house: House, amount: str, serial: str = "S-1", **changes: object) -> ReversalOutcome:
    asked = wanted(house, amount, serial, **changes)
    return house.do(lambda tx: reverse_topup(tx, asked, house.site, house.now_ms))


def test_a_payment_is_taken_back_on_its_day(house: House) -> None:
    house.settle(balance="10").topup("50.00")
    house.kinds()
    outcome = reverse(house, "50.00")
    assert (outcome.verdict, outcome.payment.status, outcome.repeated) == (REVERSED, "reversed", False)
    assert house.balance() == "10.000000"
    assert outcome.reversal is not None
    assert json.loads(outcome.reversal.document) == {
        "reversal_no": "gw-1-0000000003",
        "bank": "bank",
        "institution": "",
        "serial": "S-1",
        "reversal_serial": "R-S-1",
        "accounting_date": "2026-11-24",
        "amount": "50.00",
        "currency": "CNY",
        "reason": "payer's wish",
        "reversed_at": "2026-11-24T02:00:00.000Z",
        "gateway": "gw-1",
        "balance_after": "10.00",
    }
    assert "topup_reversed" in house.kinds()
    assert house.do(lambda tx: tx.balance("bank:bank", "CNY")) == 0
    assert house.verified() is None


@pytest.mark.parametrize("serial", ["R-S-1", "R-another"])
def test_the_same_again_gets_the_same_answer_whatever_its_serial(house: House, serial: str) -> None:
    house.settle().topup("50.00")
    first = reverse(house, "50.00")
    house.later(hours=5)
    again = reverse(house, "50.00", reversal_serial=serial, reason="once more", accounting_date=date(2026, 11, 25))
    assert again == replace(first, repeated=True)
    assert house.do(lambda tx: tx.journal_end()[0]) == 2


def test_a_payment_that_was_taken_back_is_told_so(house: House) -> None:
    house.settle().topup("50.00")
    reverse(house, "50.00")
    again = house.topup("50.00")
    assert (again.verdict, again.payment.status) == (TopUpVerdict.REPEATED, "reversed")
    assert house.topup("51.00").verdict is TopUpVerdict.CONFLICT
    assert house.balance() == "0.000000"


def test_a_reversal_before_its_payment_buries_it(house: House) -> None:
    house.settle()
    outcome = reverse(house, "50.00")
    assert (outcome.verdict, outcome.payment.status, outcome.payment.receipt) == (TOMBSTONE, "reversed", None)
    again = reverse(house, "50.00", reversal_serial="R-2")
    assert again == replace(outcome, repeated=True)
    late = house.topup("50.00")
    assert (late.verdict, late.payment.status, late.payment.entry) == (TopUpVerdict.REPEATED, "reversed", None)
    assert house.topup("51.00").payment.status == "reversed"
    assert house.balance() == "0.000000"
    assert house.verified() is None


def test_there_is_nothing_to_reverse_of_a_refused_payment(house: House) -> None:
    house.settle().topup("50.00", account="A-9")
    outcome = reverse(house, "50.00")
    assert (outcome.verdict, outcome.payment.problem, outcome.reversal) == (NOTHING, "unknown_account", None)
    assert reverse(house, "50.00") == outcome


@pytest.mark.parametrize(("change", "field"), [({"amount_micro": yuan("49.99")}, "amount"), ({"currency": "EUR"}, "currency")])
def test_a_reversal_is_whole(house: House, change: dict[str, Any], field: str) -> None:
    house.settle().topup("50.00")
    with pytest.raises(InvalidField) as wrong:
        reverse(house, "50.00", **change)
    assert wrong.value.field == field
    assert house.balance() == "50.000000"
    assert reverse(house, "50.00").verdict is REVERSED
    with pytest.raises(InvalidField):
        reverse(house, "50.00", **change)


def test_a_closed_day_stays_closed(house: House) -> None:
    house.settle().topup("50.00")
    reverse(house.later(s=1), "50.00")
    house.topup("20.00", "S-2")
    house.do(lambda tx: tx.close_day(ClosedDay("bank", "2026-11-24", 1, 3, {"CNY": yuan("20")}, house.now_ms)))
    outcome = reverse(house, "20.00", "S-2")
    assert (outcome.verdict, outcome.payment.status) == (DAY_CLOSED, "posted")
    assert reverse(house, "50.00").verdict is REVERSED  # its stored answer, whatever the day
    refused = house.topup("1.00", "S-3")
    assert (refused.verdict, refused.payment.problem) == (TopUpVerdict.REFUSED, "day_closed")
    assert house.topup("20.00", "S-2").verdict is TopUpVerdict.REPEATED
    assert house.balance() == "20.000000"


def test_below_zero_is_debt_and_no_cut_before_a_new_notice(house: House) -> None:
    """The money was used; whoever owes because of it is told so first, whatever he was told before the payment."""
    letter = Step("letter", ("paper",), CreditState.EXHAUSTED)
    house.settle(accounts=(account(policy=replace(POLICY, steps=(letter,))),), balance="0.10").block(total="0.00")
    house.topup("50.00")
    house.later(minutes=10).block(total="40.00")  # 20 yuan of it
    assert reverse(house, "50.00").verdict is REVERSED
    assert (house.balance(), house.account().credit, house.orders()) == ("-19.900000", "exhausted", [])
    house.later(minutes=9).block(total="40.00")
    assert house.orders() == []
    house.do(lambda tx: confirm_step(tx, "A-1", "letter", "paper", "operator:li", house.now_ms))
    house.later(minutes=1).block(total="40.00")
    assert house.orders() == ["cut queued"]
    house.topup("30.00", "S-2")
    assert house.orders() == ["cut superseded"]
    assert house.verified() is None


def test_what_it_gave_to_a_debt_comes_back_first(house: House) -> None:
    house.settle(accounts=(account(debt=DebtTerms("signed 2026-01-02", 300, "2026-01-02")),))
    house.do(lambda tx: post_entry(tx, ledger.indebted("A-1", "CNY", yuan("20"), house.now_ms, {"account": "A-1"})))
    house.topup("50.00")
    assert house.balance() == "35.000000"
    assert reverse(house, "50.00").verdict is REVERSED
    assert house.balance() == "0.000000"
    assert house.do(lambda tx: tx.balance("debt:A-1", "CNY")) == -yuan("20")
    assert house.verified() is None


def test_a_failed_reversal_leaves_nothing(house: House) -> None:
    house.settle().topup("50.00")

    def breaks(tx: object) -> None:
        reverse_topup(tx, wanted(house, "50.00"), house.site, house.now_ms)  # type: ignore[arg-type]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        house.do(breaks)
    assert house.balance() == "50.000000"
    assert house.do(lambda tx: tx.payment(PaymentIdentity("bank", "", "", "S-1"))).status == "posted"  # type: ignore[union-attr]
    assert reverse(house, "50.00").verdict is REVERSED


# money in a meter


@pytest.fixture
def metered(house: House) -> WalletHouse:
    at = WalletHouse(house).settle()
    at.run(0.05)
    return at


def test_what_was_not_sent_is_taken_back_at_once(metered: WalletHouse) -> None:
    delivery = metered.topup("50.00")
    outcome = reverse(metered.house, "50.00")
    assert (outcome.verdict, outcome.payment.status, outcome.delivery) == (REVERSED, "reversed", "returned_to_balance")
    metered.run(1)
    assert metered.meter.wallet.shown_fen == (0, 0)
    assert metered.delivery(delivery).state is DeliveryState.RETURNED
    metered.sound()


def test_what_is_in_the_meter_stays_there(metered: WalletHouse) -> None:
    metered.topup("50.00")
    metered.run(0.1)
    outcome = reverse(metered.house, "50.00")
    assert (outcome.verdict, outcome.payment.status, outcome.delivery) == (DELIVERED, "posted", "in_meter")
    assert reverse(metered.house, "50.00", reversal_serial="R-9") == replace(outcome, repeated=True)
    metered.sound()


def _under_way(metered: WalletHouse, way: Way) -> None:
    """Its request is on the wire or lost; nobody has read the count since."""
    metered.topup("50.00")
    for _ in range(9):
        job = metered.turn(way)
        if job is not None and not hasattr(job, "limits"):
            return
    raise AssertionError("it was never sent")


def test_what_was_sent_and_is_in_is_decided_by_the_count(metered: WalletHouse) -> None:
    _under_way(metered, Way.LOST_ANSWER)
    outcome = reverse(metered.house, "50.00")
    assert (outcome.verdict, outcome.payment.status, outcome.delivery) == (PENDING, "posted", "uncertain")
    metered.run(0.1)
    assert reverse(metered.house, "50.00").verdict is DELIVERED
    assert metered.meter.wallet.shown_fen == (5000, 0)
    metered.sound()


def test_what_was_sent_and_is_lost_comes_back_when_the_count_is_read(metered: WalletHouse) -> None:
    _under_way(metered, Way.LOST_REQUEST)
    assert reverse(metered.house, "50.00").verdict is PENDING
    metered.run(0.3)  # the count read unmoved ten minutes after the last byte
    outcome = reverse(metered.house, "50.00")
    assert (outcome.verdict, outcome.payment.status) == (REVERSED, "reversed")
    assert metered.meter.wallet.shown_fen == (0, 0)
    assert metered.micro(lambda who: f"undelivered:{who}") == 0
    metered.sound()


def test_what_nobody_can_say_in_time_stands(metered: WalletHouse) -> None:
    _under_way(metered, Way.LOST_REQUEST)
    house = metered.house
    assert reverse(house, "50.00").verdict is PENDING
    house.later(minutes=14, s=59)
    assert reverse(house, "50.00").verdict is PENDING
    house.later(s=2)
    assert house.do(lambda tx: decide_reversals(tx, house.site, house.now_ms)) == 0
    outcome = reverse(house, "50.00")
    assert (outcome.verdict, outcome.payment.status) == (DELIVERED, "posted")
    metered.run(0.3)  # the payment stands, so that it goes in after all
    assert metered.meter.wallet.shown_fen == (5000, 0)
    assert reverse(house, "50.00") == replace(outcome, repeated=True, delivery="in_meter")
    metered.sound()


def test_two_people_take_back_without_the_bank(house: House) -> None:
    house.settle().topup("50.00")
    outcome = reverse(house, "50.00", origin=Origin.RESOLUTION)
    assert outcome.reversal is not None and outcome.reversal.state is ReversalState.DONE
    assert house.do(lambda tx: tx.day_lines("bank", "2026-11-24", None, 9)) == []
