"""A customer comes, stays and goes: what is billed to whom, what becomes of money and light, and what is refused whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain import ledger
from gateway.domain.debt_terms import DebtTerms
from gateway.domain.life import NeedsSecond, OnDebt, Refusal, SupplyAfter
from gateway.domain.meters import Authority, Contact
from gateway.domain.wallets import Wallet
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from tests.gateway.price_lists import by_register
from tests.gateway.services.house import FLAT, House, account, meter, yuan
from tests.gateway.services.life_house import act, closed, given_back, moved, opened, paid_out, refunded

FREE = meter("m1", account=None)
NINE = replace(meter("m9", account="A-9", address="9"), filed=False)


@pytest.fixture
def empty(house: House) -> House:
    """A meter for which nobody pays stands at 100 kWh, read and confirmed."""
    house.settle(FREE, balance="0")
    house.block(total="100.00")
    house.kinds()
    return house


def money(house: House, name: str) -> int:
    return house.do(lambda tx: tx.balance(name, "CNY"))


def untouched(house: House) -> tuple[object, ...]:
    """All that an act that is refused must leave as it was."""
    return house.do(
        lambda tx: (tx.accounts(), tx.meters(), tx.journal_end(), tx.audit_end(), [tx.billing(m.id) for m in tx.meters()])
    )


# opening


def test_a_customer_comes_to_a_meter_that_is_read(empty: House) -> None:
    told = opened(empty, (meter("m1", account="A-9"), None), opening="20.00")
    assert told == {
        "account": "A-9",
        "balance": "20.00",
        "currency": "CNY",
        "meters": [{"meter": "m1", "from": None, "to": "A-9", "wh": 100_000}],
    }
    empty.later(minutes=1).block(total="102.00")
    assert (empty.balance("A-9"), empty.verified()) == ("19.000000", None)
    assert empty.kinds()[:2] == ["meter_moved", "account_opened"]
    last = empty.do(lambda tx: tx.audit_rows(0, 99))[-1]
    assert (last.who, last.act, last.subject, last.data["meters"]) == ("operator:li", "open_account", "A-9", "m1")


def test_a_new_meter_begins_with_its_first_confirmed_reading_or_with_what_its_display_shows(empty: House) -> None:
    opened(empty, (NINE, None))
    ten = replace(NINE, id="m10", address="10", account="A-10")
    opened(empty, (ten, "7.00"), of=account("A-10", filed=False), by=act("R-2"))
    for total in ("55.00", "56.00"):
        empty.later(minutes=1).block("m9", total=total)
        empty.block("m10", total=str(float(total) - 40) + "0")
    assert (empty.balance("A-9"), empty.balance("A-10"), empty.verified()) == ("-0.500000", "-4.500000", None)


def test_the_same_request_again_is_the_same_account(empty: House) -> None:
    first = opened(empty, (meter("m1", account="A-9"), None), opening="20.00")
    before = untouched(empty)
    assert opened(empty, (meter("m1", account="A-9"), None), opening="20.00") == first
    assert untouched(empty) == before
    with pytest.raises(Refusal, match="R-1 is known with another content"):
        opened(empty, of=account("A-10"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"of": account("A-1")}, "account A-1 is open already"),
        ({"of": account("A-9", closed=True)}, "would be closed from the beginning"),
        ({"opening": "5.00", "receipt": None}, "5.00 CNY without a counter receipt: a second person"),
        ({"by": act("no id")}, "1 to 64"),
    ],
)
def test_what_cannot_be_opened_leaves_nothing(empty: House, changes: dict[str, object], why: str) -> None:
    before = untouched(empty)
    with pytest.raises(Refusal, match=why):
        opened(empty, (meter("m1", account="A-9"), None), **changes)  # type: ignore[arg-type]
    assert (untouched(empty), empty.kinds()) == (before, [])


def test_a_meter_of_another_is_not_taken_away(house: House) -> None:
    house.settle(balance="5")
    house.block(total="1.00")
    before = untouched(house)
    with pytest.raises(Refusal, match="meter m1 is account A-1's: move it, or close that account first"):
        opened(house, (meter("m1", account="A-9"), None))
    assert untouched(house) == before


def test_a_tariff_by_rate_wants_the_registers_of_its_rates(empty: House) -> None:
    with pytest.raises(Refusal, match="tariff two-rate prices energy_import_t1, energy_import_t2: say where"):
        opened(empty, (NINE, "1.00"), of=account("A-9", tariff="two-rate"))


def test_a_balance_without_a_receipt_takes_two_people(empty: House) -> None:
    with pytest.raises(NeedsSecond):
        opened(empty, opening="5.00", receipt=None, by=act(second="LI "))
    opened(empty, opening="5.00", receipt=None, by=act(second="wang"))
    assert empty.balance("A-9") == "5.000000"
    assert empty.do(lambda tx: tx.audit_rows(0, 99))[-1].data["second"] == "wang"


# closing


@pytest.fixture
def lived_in(house: House) -> House:
    """A-1 has used 2 kWh of 0.50 and has 9.00 left; the meter stands at 102.00."""
    house.settle(balance="10")
    house.block(total="100.00")
    house.later(minutes=1).block(total="102.00")
    house.kinds()
    return house


def test_a_customer_goes_and_the_rest_is_paid_out_by_another_person(lived_in: House) -> None:
    lived_in.later(minutes=10)
    told = closed(lived_in, "A-1", (FREE, "103.00"), refund="counter", by=act("R-7"))
    assert (told["balance"], told["refund"]) == (
        "0.00",
        {"refund": "R-7", "account": "A-1", "amount": "8.50", "currency": "CNY", "via": "counter", "state": "pending"},
    )
    assert (money(lived_in, "pending:refund:R-7"), lived_in.account().closed, lived_in.meter().account) == (yuan("8.5"), True, None)
    with pytest.raises(Refusal, match="another person than li"):
        paid_out(lived_in, "R-7", act("R-8", "LI"))
    assert paid_out(lived_in, "R-7")["state"] == "posted"
    assert paid_out(lived_in, "R-7")["state"] == "posted"  # the same request again
    with pytest.raises(Refusal, match="was paid out already"):
        given_back(lived_in, "R-7")
    assert (money(lived_in, "bank:counter"), lived_in.balance(), lived_in.verified()) == (yuan("8.5"), "0.000000", None)
    assert lived_in.kinds() == ["meter_moved", "refund_begun", "account_closed", "refund_paid"]


def test_payments_to_a_closed_account_are_refused_and_it_is_not_opened_again(lived_in: House) -> None:
    closed(lived_in, "A-1", (FREE, None))
    assert lived_in.topup("5.00").payment.problem == "account_closed"
    with pytest.raises(Refusal, match="A-1 is closed: it is not opened again"):
        opened(lived_in, of=account("A-1"), by=act("R-2"))
    with pytest.raises(Refusal, match="A-1 is closed already"):
        closed(lived_in, "A-1", by=act("R-3"))
    assert refunded(lived_in, "A-1", by=act("R-4"))["amount"] == "9.00"
    assert given_back(lived_in, "R-4")["state"] == "voided"
    assert (lived_in.balance(), lived_in.verified()) == ("9.000000", None)


def test_what_is_read_after_the_end_is_nobody_s(lived_in: House) -> None:
    closed(lived_in, "A-1", (FREE, None))
    lived_in.later(minutes=1).block(total="110.00")
    opened(lived_in, (meter("m1", account="A-9"), None), by=act("R-2"))
    lived_in.later(minutes=1).block(total="111.00")
    assert (lived_in.balance(), lived_in.balance("A-9"), lived_in.verified()) == ("9.000000", "-0.500000", None)


def test_parts_of_a_coin_do_not_keep_a_closed_account(house: House) -> None:
    house.settle(balance="1")
    house.block(total="0.00")
    house.later(minutes=1).block(total="0.01")
    assert closed(house, "A-1", (FREE, None), refund="counter")["balance"] == "0.00"
    assert (house.balance(), money(house, "revenue:adjustment"), money(house, "pending:refund:R-1"), house.verified()) == (
        "0.000000",
        5_000,
        990_000,
        None,
    )


@pytest.mark.parametrize(
    ("minutes", "final", "changes", "why"),
    [
        (20, None, {}, "no confirmed reading of the last 15 minutes: say what its display shows"),
        (1, "101.99", {}, "nothing is billed backwards"),
        (1, "200.00", {}, "a second person must answer for it too"),
        (1, "102.0001", {}, "no more decimals than the display"),
        (1, "150.00", {"by": act(second="wang")}, r"owes 15\.00 CNY: take the payment first"),
        (1, "150.00", {"by": act("R-5"), "on_debt": OnDebt.WRITE_OFF}, "a second person must answer for it too"),
    ],
)
def test_what_cannot_be_closed_leaves_everything(
    lived_in: House, minutes: float, final: str | None, changes: dict[str, object], why: str
) -> None:
    lived_in.later(minutes=minutes)
    lived_in.do(lambda tx: tx.save_meter(meter(max_power_w=60_000)))
    before = untouched(lived_in)
    with pytest.raises(Refusal, match=why):
        closed(lived_in, "A-1", (FREE, final), **changes)  # type: ignore[arg-type]
    assert (untouched(lived_in), lived_in.kinds()) == (before, [])


def test_a_debt_is_kept_as_a_claim_or_written_off_by_two(lived_in: House) -> None:
    lived_in.later(minutes=5)
    closed(lived_in, "A-1", (FREE, "150.00"), on_debt=OnDebt.KEEP)
    assert lived_in.balance() == "-15.000000"
    two = lived_in
    opened(two, (NINE, "0.00"), by=act("R-2"))
    two.later(minutes=5)
    with pytest.raises(NeedsSecond, match=r"15\.00 CNY are written off"):
        closed(two, "A-9", (replace(NINE, account=None), "30.00"), on_debt=OnDebt.WRITE_OFF, by=act("R-3"))
    closed(two, "A-9", (replace(NINE, account=None), "30.00"), on_debt=OnDebt.WRITE_OFF, by=act("R-3", second="wang"))
    assert (two.balance("A-9"), money(two, "write_off"), two.verified()) == ("0.000000", -yuan("15"), None)


def test_credit_pays_what_was_lent_and_by_agreement_what_is_owed_from_before(house: House) -> None:
    owing = account("A-9", debt=DebtTerms("signed", 300, "2026-01-01", None), filed=False)
    opened(house.settle(FREE), of=owing, opening="10.00", debt="4.00")
    house.do(lambda tx: _lend(tx, house.now_ms))
    closed(house, "A-9", by=act("R-2"), refund="counter")
    names = ("customer:A-9", "debt:A-9", "emergency:A-9", "pending:refund:R-2")
    assert [money(house, name) for name in names] == [0, 0, 0, yuan("6")]
    assert house.verified() is None


def _lend(tx: Tx, now_ms: int) -> None:
    post_entry(tx, ledger.emergency_credit("A-9", "CNY", yuan("3"), now_ms, {"account": "A-9"}))


def test_money_in_the_meter_is_taken_out_first(lived_in: House) -> None:
    lived_in.change(authority=Authority.METER)
    lived_in.do(lambda tx: tx.save_wallet(Wallet("m1", 3, yuan("2.50"))))
    with pytest.raises(Refusal, match=r"meter m1 still holds 2\.50 CNY of account A-1: take it out first"):
        closed(lived_in, "A-1", (FREE, None))


def test_a_dark_flat_is_lit_when_its_debtor_goes_and_cut_only_by_the_contract(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(Contact.OPEN)
    closed(house, "A-1", (FREE, None), on_debt=OnDebt.KEEP)
    assert house.relay() == "closed, seen open"


def test_the_contract_cuts_the_flat_of_who_goes_and_the_next_one_has_light(lived_in: House) -> None:
    lived_in.change(protect_until_ms=lived_in.now_ms + 10**9)
    with pytest.raises(Refusal, match=r"supply of meter m1 cannot be cut .*close the account with supply on"):
        closed(lived_in, "A-1", (FREE, None), supply=SupplyAfter.CUT)
    lived_in.change(protect_until_ms=None)
    closed(lived_in, "A-1", (FREE, None), supply=SupplyAfter.CUT, by=act("R-2"))
    assert lived_in.relay() == "open (operator:contract_time_table), seen closed"
    lived_in.carry_out(Contact.OPEN)
    opened(lived_in, (meter("m1", account="A-9"), None), by=act("R-3"), opening="5.00")
    assert lived_in.relay() == "closed, seen open"


def test_an_account_that_never_had_a_meter_is_closed_too(house: House) -> None:
    house.settle(FREE, accounts=[account("A-1"), account("A-2")], balance="3")
    assert closed(house, "A-2", refund="counter")["refund"] is not None


# moving


def test_a_customer_follows_another_at_the_same_meter(house: House) -> None:
    house.settle(accounts=[account("A-1"), account("A-2")], balance="10", tariffs=[FLAT, by_register({"energy_import": 10**6})])
    house.block(total="100.00")
    house.later(minutes=1).block(total="102.00")
    moved(house.later(minutes=1), (meter(account="A-2"), "103.00"))
    for total in ("105.00", "105.00"):
        house.later(minutes=1).block(total=total)
    assert (house.balance(), house.balance("A-2"), house.verified()) == ("8.500000", "9.000000", None)


def test_an_account_moves_to_another_flat_and_nothing_falls_between(house: House) -> None:
    house.settle(meter("m1"), meter("m2", account=None, address="2"), balance="10")
    for name, total in (("m1", "100.00"), ("m2", "50.00")):
        house.block(name, total)
    house.later(minutes=1)
    moved(house, (meter("m1", account=None), "101.00"), (meter("m2", account="A-1", address="2"), "52.00"))
    for total in ("54.00", "55.00"):
        house.later(minutes=1).block("m2", total)
        house.block("m1", "109.00")
    assert (house.balance(), house.verified()) == ("8.000000", None)


@pytest.mark.parametrize(
    ("meters", "why"),
    [
        (((meter("m1", account="A-1"), None),), "m1 is of account A-1 already"),
        (((meter("m7", account="A-1"), None),), "m7 is not in the archive"),
        (((meter("m1", account="A-7"), None),), "account A-7 is not known here"),
        (((meter("m1", account=None), "101.00"), (meter("m7"), None)), "m7 is not in the archive"),
        ((), "name a meter"),
    ],
)
def test_what_cannot_be_moved_moves_nothing(house: House, meters: tuple[tuple[object, str | None], ...], why: str) -> None:
    house.settle(balance="10")
    house.block(total="100.00")
    house.later(minutes=1)
    before = untouched(house)
    with pytest.raises(Refusal, match=why):
        moved(house, *meters)  # type: ignore[arg-type]
    assert untouched(house) == before


def test_one_account_with_several_meters_is_cut_when_all_of_them_are(house: House) -> None:
    three = [meter(f"m{n}", address=str(n)) for n in (1, 2)] + [meter("m3", address="3", cut_with_account=False)]
    house.settle(*three, balance="2")
    for name in ("m1", "m2", "m3"):
        house.block(name, "0.00")
    house.later(minutes=1)
    for name in ("m1", "m2", "m3"):
        house.block(name, "2.00")
    assert (house.balance(), house.account().credit) == ("-1.000000", "exhausted")
    house.carry_out(Contact.OPEN)
    assert house.account().credit == "exhausted"
    house.carry_out(Contact.OPEN)
    house.later(s=1).block("m1", "2.00", contact=Contact.OPEN)
    assert (house.account().credit, house.relay("m3")) == ("cut", "closed, seen closed")
    moved(house, (meter("m2", address="2", account=None), None))
    assert (house.relay("m1"), house.relay("m2")) == ("open (credit:energy_debt), seen open", "closed, seen open")
    assert house.verified() is None


# refunds


def test_a_refund_takes_no_more_than_there_is_and_nobody_pays_out_alone(lived_in: House) -> None:
    for amount, why in (("9.01", "has 9.00 CNY, less than"), ("0.005", "parts of 0.01"), ("0", "nothing to refund")):
        with pytest.raises(Refusal, match=why):
            refunded(lived_in, "A-1", amount)
    refunded(lived_in, "A-1", "4.00")
    assert lived_in.balance() == "5.000000"
    lived_in.site = replace(lived_in.site, one_person=True)
    with pytest.raises(Refusal, match="15 minutes after"):
        paid_out(lived_in, "R-1", act("R-2"))
    paid_out(lived_in.later(minutes=15), "R-1", act("R-2"))
    assert (money(lived_in, "bank:counter"), lived_in.verified()) == (yuan("4"), None)
