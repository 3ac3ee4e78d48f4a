"""How much a bank may bring: per payment, account, channel and day, and unsettled; and when it does not trade (contract.md 3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from gateway.domain.bank_acts import Reversal, Settlement
from gateway.domain.bank_terms import Limits, PartnerTerms
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.services.apply_topup import apply_topup
from gateway.services.ports import NotOpen, TopUpVerdict
from gateway.services.reverse_topup import reverse_topup
from gateway.services.settle_day import settle_day
from tests.gateway.services.house import FLAT, TWO_RATE, House, account, local, yuan

EURO = replace(FLAT, id="euro", currency="EUR")

DAY = date(2026, 11, 24)


def under(house: House, **terms: Any) -> House:
    bank = PartnerTerms("bank", **terms)
    house.site = replace(house.site, banks={"bank": bank})
    return house.settle(accounts=(account(), account("A-2")))


def pay(house: House, amount: str, serial: str, **changes: object) -> str:
    outcome = house.topup(amount, serial, **changes)
    return outcome.payment.problem or outcome.payment.status


OUT = "amount_out_of_range"


@pytest.mark.parametrize(("amount", "answer"), [("0.99", OUT), ("1.00", "posted"), ("50.00", "posted"), ("50.01", OUT)])
def test_the_range_of_one_payment(house: House, amount: str, answer: str) -> None:
    under(house, limits=Limits(least_micro=yuan("1"), payment_micro=yuan("50")))
    outcome = house.topup(amount)
    assert (outcome.payment.problem or outcome.payment.status) == answer
    if outcome.verdict is TopUpVerdict.REFUSED:
        assert "1.00 to 50.00 CNY" in (outcome.payment.detail or "")
        assert house.topup(amount).payment == outcome.payment


def test_an_account_in_a_day(house: House) -> None:
    under(house, limits=Limits(account_day_micro=yuan("60"), account_day_count=2))
    assert [pay(house, "50.00", "S-1"), pay(house, "10.01", "S-2"), pay(house, "10.00", "S-3")] == [
        "posted",
        "limit_exceeded",
        "posted",
    ]
    assert pay(house, "0.01", "S-4") == "limit_exceeded"
    assert pay(house, "50.00", "S-5", account="A-2") == "posted"
    assert pay(house, "50.00", "S-6", accounting_date=date(2026, 11, 25)) == "posted"


def test_a_bank_in_a_day_and_what_it_took_back_is_free_again(house: House) -> None:
    under(house, limits=Limits(day_micro=yuan("100"), day_count=3))
    assert [pay(house, "60.00", "S-1"), pay(house, "40.01", "S-2"), pay(house, "40.00", "S-3")] == [
        "posted",
        "limit_exceeded",
        "posted",
    ]
    at = datetime.fromtimestamp(house.now_ms / 1000, UTC)
    back = Reversal(PaymentIdentity("bank", "", "", "S-1"), "R-1", DAY, yuan("60"), "CNY", "x", at)
    house.do(lambda tx: reverse_topup(tx, back, house.site, house.now_ms))
    assert [pay(house, "60.00", "S-4"), pay(house, "0.01", "S-5")] == ["posted", "limit_exceeded"]
    assert pay(house, "60.00", "S-9", identity=PaymentIdentity("other", "", "", "S-9")) == "posted"


def test_what_was_taken_back_in_another_currency_frees_nothing(house: House) -> None:
    """A limit is in one currency: it is neither used nor freed by payments in others."""
    under(house, limits=Limits(day_micro=yuan("100")))
    house.settle(accounts=(account(), account("E-1", currency="EUR", tariff="euro")), tariffs=(FLAT, TWO_RATE, EURO))
    assert pay(house, "100.00", "S-1") == "posted"
    assert pay(house, "60.00", "E-1", account="E-1", currency="EUR") == "posted"
    at = datetime.fromtimestamp(house.now_ms / 1000, UTC)
    back = Reversal(PaymentIdentity("bank", "", "", "E-1"), "R-1", DAY, yuan("60"), "EUR", "x", at)
    house.do(lambda tx: reverse_topup(tx, back, house.site, house.now_ms))
    assert pay(house, "0.01", "S-2") == "limit_exceeded"


def test_what_two_people_booked_counts_like_all_others(house: House) -> None:
    """No limit keeps it out, and taken back it frees what it used, not more."""
    under(house, limits=Limits(day_micro=yuan("100")))
    assert pay(house, "60.00", "S-1") == "posted"
    at = datetime.fromtimestamp(house.now_ms / 1000, UTC)
    missed = TopUp(PaymentIdentity("bank", "", "", "S-2"), "A-1", yuan("60"), "CNY", at, DAY, DAY)
    assert house.do(lambda tx: apply_topup(tx, missed, house.site, house.now_ms, missed=True)).verdict is TopUpVerdict.POSTED
    assert pay(house, "0.01", "S-3") == "limit_exceeded"
    back = Reversal(missed.identity, "R-2", DAY, yuan("60"), "CNY", "x", at)
    house.do(lambda tx: reverse_topup(tx, back, house.site, house.now_ms))
    assert [pay(house, "40.01", "S-4"), pay(house, "40.00", "S-5")] == ["limit_exceeded", "posted"]


def test_a_limit_that_comes_in_the_middle_of_a_day_counts_what_was(house: House) -> None:
    house.settle(accounts=(account(), account("A-2")))
    pay(house, "60.00", "S-1")
    house.site = replace(house.site, banks={"bank": PartnerTerms("bank", limits=Limits(day_micro=yuan("100")))})
    assert [pay(house, "40.01", "S-2"), pay(house, "40.00", "S-3")] == ["limit_exceeded", "posted"]


def test_a_channel_has_limits_of_its_own(house: House) -> None:
    under(house, channels={"atm": Limits(payment_micro=yuan("20"), day_count=1)})
    assert pay(house, "30.00", "S-1", channel="atm") == "amount_out_of_range"
    assert pay(house, "20.00", "S-2", channel="atm") == "posted"
    assert pay(house, "20.00", "S-3", channel="atm") == "limit_exceeded"
    assert pay(house, "30.00", "S-4", channel="app") == "posted"


def test_an_account_s_day_through_a_channel_is_that_channel_s(house: House) -> None:
    """What came through another one, or none, uses nothing of it."""
    under(house, channels={"atm": Limits(account_day_micro=yuan("20"), account_day_count=2)})
    assert [pay(house, "50.00", f"S-{channel}", channel=channel) for channel in ("app", "")] == ["posted", "posted"]
    assert pay(house, "20.00", "S-1", channel="atm") == "posted"
    assert pay(house, "0.01", "S-2", channel="atm") == "limit_exceeded"
    assert pay(house, "20.00", "S-3", channel="atm", account="A-2") == "posted"


def test_a_quota_is_free_again_when_the_bank_settles(house: House) -> None:
    under(house, quota_micro=yuan("100"))
    assert [pay(house, "100.00", "S-1"), pay(house, "0.01", "S-2")] == ["posted", "limit_exceeded"]
    house.do(lambda tx: settle_day(tx, Settlement("bank", "B-1", DAY, yuan("60"), "CNY"), house.site, house.now_ms))
    assert [pay(house, "60.00", "S-3"), pay(house, "0.01", "S-4")] == ["posted", "limit_exceeded"]
    assert house.verified() is None


def test_a_quota_refuses_for_ever_what_it_refused(house: House) -> None:
    under(house, quota_micro=yuan("10"))
    assert pay(house, "10.01", "S-1") == "limit_exceeded"
    house.site = replace(house.site, banks={})
    assert pay(house, "10.01", "S-1") == "limit_exceeded"
    assert pay(house, "10.01", "S-2") == "posted"


def test_around_midnight_a_bank_does_not_trade(house: House) -> None:
    """Nothing is bound by it, and what was paid before is answered as ever."""
    under(house, no_trade=(23 * 60 + 50, 10))
    house.now_ms = local("2026-11-24 23:49")
    first = house.topup("10.00", "S-1")
    house.now_ms = local("2026-11-24 23:50")
    with pytest.raises(NotOpen):
        house.topup("10.00", "S-2")
    assert house.topup("10.00", "S-1").payment == first.payment
    house.now_ms = local("2026-11-25 00:09")
    with pytest.raises(NotOpen):
        house.topup("10.00", "S-2")
    house.now_ms = local("2026-11-25 00:10")
    assert house.topup("10.00", "S-2", today=date(2026, 11, 25)).payment.status == "posted"


def test_a_business_day_that_is_cut_over_in_the_evening() -> None:
    terms = PartnerTerms("bank", cut_over_min=22 * 60)
    assert terms.today(local("2026-11-24 21:59")) == DAY
    assert terms.today(local("2026-11-24 22:00")) == date(2026, 11, 25)
    assert PartnerTerms("bank").today(local("2026-11-24 23:59")) == DAY
