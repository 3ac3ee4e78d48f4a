"""Credit control as a customer lives it: thresholds, grace, announcements, reminders, post-paid (prepayment.md 2, a3, a5, a7)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.bootstrap.policies import shipped
from gateway.domain import ledger
from gateway.domain.credit import DAY_MS, MINUTE_MS, CreditPolicy, CreditState, PostPaid, Sourced, Step
from gateway.domain.ledger import EntryKind
from gateway.domain.meters import Authority, Contact, SwitchKind
from gateway.domain.notices import Contact as Channel
from gateway.domain.notices import Reach
from gateway.domain.supply import Verb
from gateway.domain.transfers import Transfer
from gateway.services.apply_topup import apply_topup as apply_topup
from gateway.services.correct_entry import reverse
from gateway.services.judge_account import judge_account, wants_confirmation
from gateway.services.notify import confirm_step
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from gateway.services.transfer import begin, void
from tests.gateway.services.house import POLICY, House, account, local, meter, yuan

CLOSED, OPEN, ALLOWED = Contact.CLOSED, Contact.OPEN, Contact.ALLOWED
DAYTIME = replace(POLICY, no_cut_hours=False)
LOW = Step("low", ("log",), CreditState.LOW)


def used(house: House, kwh: str, contact: Contact = CLOSED) -> House:
    """The register now stands here, 20 minutes later: 0.50 a kWh."""
    house.later(minutes=20).block(total=kwh, contact=contact)
    return house


def held(house: House) -> list[str]:
    """Why cuts were held, oldest first, since the last look at events."""
    return [str(reason) for event in house.events() if event.kind == "cut_held" for reason in event.data["missing"]]  # type: ignore[union-attr]


# Thresholds (a3)


def test_all_the_way_down_and_back(house: House) -> None:
    policy = replace(DAYTIME, low_micro=yuan("5"), very_low_micro=yuan("2"), cut_micro=yuan("-3"), close_micro=yuan("1"))
    house.settle(accounts=[account(policy=policy)], balance="10").block(total="0.00")
    states = []
    for kwh in ("9.98", "10.00", "16.00", "20.00", "20.02", "25.98", "26.00"):
        used(house, kwh)
        states.append((house.balance(), house.account().credit.value))
    assert states == [
        ("5.010000", "normal"),
        ("5.000000", "low"),
        ("2.000000", "very_low"),
        ("0.000000", "very_low"),
        ("-0.010000", "emergency"),
        ("-2.990000", "emergency"),
        ("-3.000000", "exhausted"),
    ]
    assert house.kinds() == ["low_balance_warned", "balance_exhausted", "cut_ordered"]
    house.carry_out(OPEN)
    for serial, paid, state in (("1", "2.99", "cut"), ("2", "0.01", "cut"), ("3", "1.00", "cut"), ("4", "0.01", "very_low")):
        house.topup(paid, serial)
        assert house.account().credit == state  # the overdraft first, and supply only past the closing amount
    house.topup("9.00", "5")
    assert (house.balance(), house.account().credit) == ("10.010000", "normal")
    assert house.account().standing == replace(house.account().standing, episode_ms=None, told={})


def test_warnings_edited_while_cut_never_reconnect(house: House) -> None:
    house.settle(accounts=[account(policy=DAYTIME)], balance="1").exhaust()
    house.carry_out(OPEN)
    for changed in (
        replace(DAYTIME, low_micro=yuan("0")),
        replace(DAYTIME, low_micro=yuan("99"), very_low_micro=yuan("50")),
        replace(DAYTIME, low_micro=yuan("99"), steps=(LOW, Step("more", ("log",), CreditState.EXHAUSTED))),
    ):
        house.change(policy=changed)
        assert (house.account().credit, house.open(), house.meter().cut_reasons) == ("cut", [], ("credit:energy_debt",))


def test_a_lower_overdraft_limit_is_judged_at_once_and_so_is_a_higher_one(house: House) -> None:
    house.settle(accounts=[account(policy=replace(DAYTIME, cut_micro=yuan("-9")))], balance="1").exhaust()
    assert (house.balance(), house.account().credit, house.open()) == ("-4.000000", "emergency", [])
    house.change(policy=replace(DAYTIME, cut_micro=yuan("-4")))
    assert (house.account().credit, house.orders()) == ("exhausted", ["cut queued"])
    house.change(policy=replace(DAYTIME, cut_micro=yuan("-4.01")))
    assert (house.account().credit, house.orders()) == ("emergency", ["cut superseded"])


def test_the_closing_amount_warns_nobody_who_has_light(house: House) -> None:
    house.settle(accounts=[account(policy=replace(DAYTIME, close_micro=yuan("100")))], balance="10").block(total="0.00")
    used(house, "8.00")
    assert (house.balance(), house.account().credit, house.kinds()) == ("6.000000", "normal", [])


def test_a_switch_that_only_repeats_its_order_waits_for_the_closing_amount_too(house: House) -> None:
    house.settle(
        meter(switch=SwitchKind.EXTERNAL_AUTO, feedback=False),
        accounts=[account(policy=replace(DAYTIME, close_micro=yuan("10")))],
        balance="1",
    )
    house.block(total="0.00", contact=None)
    house.later(minutes=1).block(total="10.00", contact=None)
    assert house.carry_out(OPEN, kind="command_only", power_w=None).state == "command_only"
    assert '"next":"still_below"' in (house.topup("14.00").payment.receipt or "")
    assert (house.balance(), house.account().credit, house.open()) == ("10.000000", "exhausted", [])
    house.topup("0.01", "S-2")
    assert (house.account().credit, [c.verb for c in house.open()]) == ("normal", [Verb.RESTORE])


def test_the_meter_holds_the_money_so_the_gateway_cuts_nobody(house: House) -> None:
    house.settle(accounts=[account(policy=DAYTIME, authority=Authority.METER)], balance="1")
    house.exhaust()
    assert house.open() == [] and house.meter().cut_reasons == ()


def test_nobody_can_hoard(house: House) -> None:
    house.settle(accounts=[account(policy=replace(DAYTIME, hoard_micro=yuan("50")))], balance="10").block(total="0.00")
    outcome = house.topup("40.01")
    assert (outcome.verdict, outcome.payment.problem) == ("refused", "over_hoarding_limit")
    assert outcome.payment.detail == "account A-1 may hold at most 50.00 CNY"
    assert house.topup("40.01").payment.problem == "over_hoarding_limit"  # the same for ever
    assert house.topup("40.00", "S-2").verdict == "posted" and house.balance() == "50.000000"
    used(house, "120.00")  # 10.00 overdrawn
    assert [house.topup(paid, paid).verdict for paid in ("9.00", "51.01", "51.00")] == ["posted", "refused", "posted"]


# Time before a cut


def test_grace_holds_the_cut_and_ends(house: House) -> None:
    house.settle(accounts=[account(policy=replace(DAYTIME, grace_ms=7 * DAY_MS))], balance="1").exhaust()
    assert (house.account().credit, house.open()) == ("exhausted", [])
    assert held(house) == ["the notice ladder is not completed: the grace of 7 days is not over"]
    for _ in range(6):
        house.later(hours=24).block(total="10.00")
    house.later(hours=23.9).block(total="10.00")
    assert house.open() == [] and held(house) == []  # said once
    house.later(hours=0.2).block(total="10.00")
    assert house.orders() == ["cut queued"]


def test_paying_a_little_does_not_begin_grace_anew_and_paying_all_does(house: House) -> None:
    policy = replace(DAYTIME, cut_micro=yuan("-3"), grace_ms=2 * DAY_MS)
    house.settle(accounts=[account(policy=policy)], balance="2").exhaust()
    assert (house.balance(), house.account().credit) == ("-3.000000", "exhausted")
    begun_ms = house.now_ms
    house.later(hours=24).topup("1.00")
    assert house.account().credit == "emergency"
    used(house, "12.00")
    assert (house.account().credit, house.account().standing.exhausted_ms) == ("exhausted", begun_ms)
    house.topup("3.00", "S-2")
    assert (house.balance(), house.account().credit) == ("0.000000", "low")
    used(house, "20.00")
    assert house.account().standing.exhausted_ms == house.now_ms


def test_a_cut_is_announced_when_nothing_else_is_missing_and_comes_when_that_has_stood(house: House) -> None:
    last = Step("soon", ("log",), CreditState.EXHAUSTED, 30 * MINUTE_MS, last=True)
    house.settle(accounts=[account(policy=replace(POLICY, steps=(LOW, last)))], balance="1")
    house.now_ms = local("2026-11-24 20:00")  # no cut now, so nothing is announced
    house.exhaust()
    assert (house.open(), house.account().standing.announced_ms) == ([], None)
    house.now_ms = local("2026-11-25 09:00")
    house.block(total="10.00")
    assert house.kinds() == [
        "low_balance_warned",
        "balance_exhausted",
        "cut_held",
        "cut_announced",
        "low_balance_warned",
        "cut_held",
    ]
    assert house.account().standing.announced_ms == house.now_ms and house.open() == []
    house.later(minutes=29).block(total="10.00")
    assert house.open() == []
    house.later(minutes=1).block(total="10.00")
    assert house.orders() == ["cut queued"]


def test_an_announcement_that_led_to_nothing_is_repeated(house: House) -> None:
    last = Step("soon", ("log",), CreditState.EXHAUSTED, 30 * MINUTE_MS, last=True)
    house.settle(accounts=[account(policy=replace(DAYTIME, steps=(LOW, last)))], balance="1").exhaust()
    begun_ms = house.account().standing.announced_ms
    assert begun_ms == house.now_ms
    house.later(hours=2.6).block(total="10.00")
    assert house.account().standing.announced_ms == house.now_ms and house.open() == []
    house.later(minutes=30).block(total="10.00")
    assert house.orders() == ["cut queued"]


def test_a_trip_delay_is_the_alarm_before_the_cut(house: House) -> None:
    house.settle(accounts=[account(policy=replace(DAYTIME, trip_delay_ms=5 * MINUTE_MS))], balance="1").exhaust()
    assert "cut_announced" in house.kinds() and house.open() == []
    house.later(minutes=4.9).block(total="10.00")
    assert house.open() == []
    house.later(minutes=0.1).block(total="10.00")
    assert house.orders() == ["cut queued"]


def test_a_late_payment_takes_the_announcement_back(house: House) -> None:
    house.settle(accounts=[account(policy=replace(DAYTIME, trip_delay_ms=5 * MINUTE_MS))], balance="1").exhaust()
    house.topup("4.01")
    assert (house.account().credit, house.account().standing.announced_ms) == ("low", None)
    used(house, "11.00")
    house.later(minutes=4.9).block(total="11.00")
    assert house.open() == []


def test_a_notice_that_reached_nobody_holds_the_cut_until_a_person_confirms_one(house: House) -> None:
    paper = Step("letter", ("paper",), CreditState.EXHAUSTED, DAY_MS)
    house.settle(accounts=[account(policy=replace(DAYTIME, steps=(LOW, paper)))], balance="1").exhaust()
    house.later(hours=25).block(total="10.00")
    assert house.open() == [] and house.account().warned_ms is None
    house.do(lambda tx: confirm_step(tx, "A-1", "letter", "paper", "operator:li", house.now_ms))
    house.later(minutes=1).block(total="10.00")
    assert (house.orders(), house.account().warned_ms) == (["cut queued"], house.now_ms)


def test_a_rung_that_is_added_later_is_given_before_the_cut(house: House) -> None:
    house.settle(accounts=[account(policy=DAYTIME)], balance="1").exhaust()
    assert house.orders() == ["cut queued"]
    late = Step("letter", ("paper",), CreditState.EXHAUSTED)
    house.change(policy=replace(DAYTIME, steps=(*DAYTIME.steps, late)))
    assert house.account().warned_ms is None and "letter" in house.account().standing.told
    assert house.start(house.open()[0].id) is None, "the permission is asked for again when it is sent"


def test_the_second_exhaustion_of_an_episode_has_its_own_notices(house: House) -> None:
    out = Step("out", ("log",), CreditState.EXHAUSTED)
    house.settle(accounts=[account(policy=replace(DAYTIME, steps=(LOW, out)))], balance="1").exhaust()
    first = dict(house.account().standing.told)
    house.topup("5.00")
    assert (house.balance(), house.account().credit) == ("1.000000", "low")
    assert house.account().standing.told == {"low": first["low"]}
    used(house, "12.00")
    told = house.account().standing.told
    assert told == {"low": first["low"], "out": house.now_ms}


def test_what_was_still_to_be_told_is_withdrawn_when_it_is_no_longer_true(house: House) -> None:
    reach = Reach((Channel("sms", "+8613800000000"),))
    steps = (Step("low", (), CreditState.LOW), Step("cut", (), CreditState.CUT, needed=False))
    house.settle(accounts=[account(policy=replace(DAYTIME, steps=steps), reach=reach)], balance="1").exhaust()
    assert [n.state for n in house.do(lambda tx: tx.notices("A-1", 0, 9))] == ["queued"]
    house.topup("99.00")
    assert [(n.state, n.detail) for n in house.do(lambda tx: tx.notices("A-1", 0, 9))] == [
        ("failed", "withdrawn: it was no longer true")
    ]


def test_who_is_told_of_a_cut_is_told_of_its_end(house: House) -> None:
    steps = (LOW, Step("cut", ("log",), CreditState.CUT, needed=False))
    house.settle(accounts=[account(policy=replace(DAYTIME, steps=steps))], balance="1").exhaust()
    house.carry_out(OPEN)
    house.topup("99.00")
    assert [n.step for n in reversed(house.do(lambda tx: tx.notices("A-1", 0, 9)))] == ["low", "cut", "restored"]


def test_a_notice_of_a_cut_says_when_it_comes_at_the_earliest(house: House) -> None:
    steps = (
        LOW,
        Step("out", ("paper",), CreditState.EXHAUSTED, 2 * DAY_MS),
        Step("soon", (), CreditState.EXHAUSTED, 60 * MINUTE_MS, last=True),
    )
    house.settle(accounts=[account(policy=replace(DAYTIME, steps=steps, grace_ms=3 * DAY_MS))], balance="1").exhaust()
    notices = {n.step: n.values for n in house.do(lambda tx: tx.notices("A-1", 0, 9))}
    assert notices["out"] == {"balance": "-4.00", "currency": "CNY", "until": "2026-11-27 11:01"}
    assert notices["low"] == {"balance": "1.00", "currency": "CNY"}


# What is not the last word


def test_money_under_way_holds_the_cut_until_it_comes_or_fails(house: House) -> None:
    house.settle(accounts=[account(policy=DAYTIME)], balance="1").block(total="0.00")

    def voucher(tx: Tx) -> None:
        post_entry(tx, ledger.suspended("bank", "CNY", yuan("4.01"), house.now_ms, {"why": "voucher"}))
        begin(tx, Transfer("v-1", "A-1", "CNY", yuan("4.01"), "suspense", ledger.customer("A-1"), house.now_ms))

    house.do(voucher)
    used(house, "10.00")
    assert (house.account().credit, house.open(), held(house)) == ("exhausted", [], ["money is under way to this account"])
    house.do(lambda tx: void(tx, "v-1", house.now_ms, {"reason": "refused"}))
    house.later(minutes=1).block(total="10.00")
    assert house.orders() == ["cut queued"]


def test_money_that_leaves_for_a_bank_or_is_too_little_holds_nothing(house: House) -> None:
    house.settle(accounts=[account(policy=DAYTIME)], balance="9").block(total="0.00")

    def leaving(tx: Tx) -> None:
        begin(tx, Transfer("r-1", "A-1", "CNY", yuan("5"), ledger.customer("A-1"), ledger.bank_clearing("bank"), house.now_ms))
        begin(tx, Transfer("v-1", "A-1", "CNY", yuan("1"), ledger.customer("A-1"), ledger.undelivered("A-1"), house.now_ms))

    house.do(leaving)
    used(house, "8.00")  # 3.00 - 4.00 = -1.00, and 1.00 comes back at the most
    assert (house.balance(), house.orders()) == ("-1.000000", ["cut queued"])


def test_a_payment_taken_back_leaves_a_debt_that_is_noticed_anew(house: House) -> None:
    out = Step("letter", ("paper",), CreditState.EXHAUSTED, DAY_MS)
    house.settle(accounts=[account(policy=replace(DAYTIME, steps=(LOW, out)))], balance="1").block(total="0.00")
    house.topup("9.00")
    used(house, "12.00")
    number = next(e.number for e in house.do(lambda tx: tx.entries(0, 99)) if e.entry.kind is EntryKind.TOPUP)

    def undo(tx: Tx) -> None:
        reverse(tx, number, {"reason": "bank"}, house.now_ms)
        judge_account(tx, "A-1", house.site, house.now_ms)

    house.do(undo)
    assert (house.balance(), house.account().credit, house.open()) == ("-5.000000", "exhausted", [])
    assert set(house.account().standing.told) == {"low", "letter"} and house.account().warned_ms is None
    house.do(lambda tx: confirm_step(tx, "A-1", "letter", "paper", "operator:li", house.now_ms))
    house.later(hours=24).block(total="12.00")
    assert house.orders() == ["cut queued"]


def test_a_reversal_of_somebody_who_was_exhausted_already_calls_the_cut_off(house: House) -> None:
    out = Step("letter", ("paper",), CreditState.EXHAUSTED)
    house.settle(accounts=[account(policy=replace(DAYTIME, steps=(LOW, out)))], balance="0").block(total="0.00")
    house.topup("1.00")
    used(house, "4.00")
    house.do(lambda tx: confirm_step(tx, "A-1", "letter", "paper", "operator:li", house.now_ms))
    house.later(minutes=1).block(total="4.00")
    assert house.orders() == ["cut queued"]
    number = next(e.number for e in house.do(lambda tx: tx.entries(0, 99)) if e.entry.kind is EntryKind.TOPUP)
    house.do(lambda tx: reverse(tx, number, {"reason": "bank"}, house.now_ms))
    assert house.start() is None and house.orders()[0] == "cut cancelled"


# A reminding cut


REMINDS = replace(DAYTIME, very_low_micro=yuan("2"), reminding=True, reconnect_direct=False)


def test_a_reminding_cut_comes_once_and_the_button_ends_it(house: House) -> None:
    house.settle(accounts=[account(policy=REMINDS)], balance="10").block(total="0.00")
    used(house, "16.00")
    assert (house.account().credit, house.orders()) == ("very_low", ["cut queued"])
    house.carry_out(OPEN)
    assert (house.account().credit, house.orders()) == ("very_low", ["cut verified", "allow_close queued"])
    assert house.carry_out(ALLOWED).state == "allowed"
    used(house, "16.00", contact=CLOSED)
    used(house, "17.00")
    assert (house.account().credit, house.orders()) == ("very_low", ["cut verified", "allow_close allowed"])
    house.topup("20.00")
    used(house, "57.00")
    assert (house.account().credit, house.orders()[-1]) == ("very_low", "cut queued")  # a new episode, a new reminder


@pytest.mark.parametrize(
    ("changes", "refused"),
    [({"agreement": None}, []), ({"never_cut": True}, []), ({"policy": replace(REMINDS, reminding=False)}, [])],
)
def test_nobody_is_reminded_by_a_cut_who_did_not_agree(house: House, changes: dict[str, object], refused: list[str]) -> None:
    house.settle(accounts=[account("A-1", **{"policy": REMINDS, **changes})], balance="10").block(total="0.00")
    used(house, "16.00")
    assert (house.account().credit, house.orders()) == ("very_low", refused)


def test_a_reminding_cut_is_held_by_what_holds_any_cut_and_comes_later(house: House) -> None:
    house.settle(accounts=[account(policy=REMINDS)], balance="10").block(total="0.00")
    house.site = replace(house.site, path_alive=False)
    used(house, "16.00")
    assert house.orders() == [] and held(house) == ["no way to top up is alive (F2)"]
    house.site = replace(house.site, path_alive=True)
    used(house, "16.00")
    assert house.orders() == ["cut queued"]


def test_a_reminding_cut_that_does_not_come_about_is_given_up(house: House) -> None:
    house.settle(accounts=[account(policy=REMINDS)], balance="10").block(total="0.00")
    used(house, "16.00")
    house.later(minutes=15).block(total="16.00")
    assert house.orders()[0].startswith("cut ") and house.meter().cut_reasons == ()
    assert not house.account().standing.reminding and house.account().standing.reminded_ms is not None


def test_a_top_up_ends_a_reminding_cut(house: House) -> None:
    house.settle(accounts=[account(policy=REMINDS)], balance="10").block(total="0.00")
    used(house, "16.00")
    house.topup("1.00")
    assert (house.account().credit, house.orders()) == ("low", ["cut superseded"])


def test_a_reminder_wants_its_evidence_confirmed(house: House) -> None:
    house.settle(accounts=[account(policy=REMINDS)], balance="10")
    for total in ("0.00", "16.00", "16.00"):
        house.later(minutes=20).read(total=total, contact=CLOSED)
    assert house.account().credit == "very_low"
    assert house.do(lambda tx: wants_confirmation(tx, "m1", house.now_ms))
    house.later(minutes=1).read(total="16.00", contact=CLOSED)
    assert not house.do(lambda tx: wants_confirmation(tx, "m1", house.now_ms))


# Without an agreement

LAW = PostPaid(
    due=Sourced(15 * DAY_MS, "contract", "2026-01-01"),
    overdue=Sourced(30 * DAY_MS, "rule", "2026-01-01"),
    notice=Sourced(7 * DAY_MS, "rule", "2026-01-01"),
    repeat=Sourced(60 * MINUTE_MS, "rule", "2026-01-01"),
    channels=("log",),
)


def postpaid(house: House, start: str = "2026-09-20 10:00") -> House:
    house.now_ms = local(start)
    house.settle(accounts=[account(agreement=None, policy=replace(DAYTIME, postpaid=LAW))], balance="0").block(total="0.00")
    house.later(hours=24).block(total="100.00")
    return house


def day(house: House, at: str, total: str = "100.00") -> House:
    house.now_ms = local(at)
    house.block(total=total)
    return house


def test_who_pays_his_bills_is_never_warned_although_he_always_owes(house: House) -> None:
    postpaid(house)
    for n, (at, total) in enumerate(
        (("2026-10-12 10:00", "150.00"), ("2026-11-12 10:00", "300.00"), ("2026-12-14 10:00", "400.00"))
    ):
        day(house, at, total)
        assert (house.account().credit, house.open()) == ("normal", [])
        owed = house.balance()
        assert owed.startswith("-")
        house.topup(owed[1:-4], f"S-{n}", accounting_date=local_day(at), today=local_day(at))
    assert house.kinds().count("low_balance_warned") == 0


def local_day(at: str) -> object:
    from datetime import date

    return date.fromisoformat(at[:10])


def test_an_overdue_bill_is_noticed_and_cut_by_the_rule(house: House) -> None:
    postpaid(house)
    # September ends; due by the end of 15 October; overdue for 30 days with the end of 14 November
    day(house, "2026-11-14 23:59")
    assert (house.balance(), house.account().credit) == ("-50.000000", "normal")
    day(house, "2026-11-15 10:00", "120.00")
    assert (house.account().credit, house.account().standing.overdue_micro, house.open()) == ("exhausted", yuan("50"), [])
    day(house, "2026-11-22 09:59", "120.00")
    assert house.account().standing.announced_ms is None
    day(house, "2026-11-22 10:00", "120.00")
    assert house.account().standing.announced_ms == house.now_ms and house.open() == []
    day(house, "2026-11-22 11:00", "120.00")
    assert house.orders() == ["cut queued"]
    house.carry_out(OPEN)
    assert house.account().credit == "cut"
    today = {"accounting_date": local_day("2026-11-22"), "today": local_day("2026-11-22")}
    house.topup("49.99", "S-1", **today)
    assert house.account().credit == "cut"
    house.topup("0.01", "S-2", **today)  # September is paid; what came later is not due
    assert (house.balance(), house.account().credit) == ("-10.000000", "normal")
    assert house.orders()[-1] == "restore queued"


def test_part_of_an_overdue_bill_paid_before_leaves_the_rest(house: House) -> None:
    postpaid(house)
    today = {"accounting_date": local_day("2026-10-20"), "today": local_day("2026-10-20")}
    house.now_ms = local("2026-10-20 10:00")
    house.topup("20.00", "S-1", **today)
    day(house, "2026-11-15 10:00")
    assert house.account().standing.overdue_micro == yuan("30")


def test_without_agreement_and_without_a_rule_nobody_is_cut(house: House) -> None:
    house.settle(accounts=[account(agreement=None, policy=DAYTIME)], balance="1").exhaust()
    assert (house.account().credit, house.open()) == ("exhausted", [])
    assert held(house) == ["there is no prepayment agreement"]


# Friendly hours


@pytest.mark.parametrize(("friendly", "cut"), [("any", False), ("credit", True)])
def test_friendly_hours_may_want_credit_when_they_begin(house: House, friendly: str, cut: bool) -> None:
    policy = replace(POLICY, friendly=friendly)
    house.settle(accounts=[account(policy=policy)], balance="1")
    house.site = replace(house.site, path_alive=False)  # so that nobody is cut by day
    house.now_ms = local("2026-11-24 16:50")
    house.exhaust()
    assert house.open() == []
    house.site = replace(house.site, path_alive=True)
    house.now_ms = local("2026-11-24 17:10")
    house.block(total="10.00")
    assert bool(house.open()) is cut


@pytest.mark.parametrize("friendly", ["any", "credit"])
def test_friendly_hours_help_whose_credit_ends_within_them_until_they_end(house: House, friendly: str) -> None:
    house.settle(accounts=[account(policy=replace(POLICY, friendly=friendly))], balance="1")
    house.now_ms = local("2026-11-24 17:10")
    house.exhaust()
    for at in ("2026-11-24 23:00", "2026-11-25 08:59"):
        house.now_ms = local(at)
        house.block(total="10.00")
        assert house.open() == []
    house.now_ms = local("2026-11-25 09:00")
    house.block(total="10.00")
    assert house.orders() == ["cut queued"]


# The examples


def test_the_british_example(house: House) -> None:
    policy: CreditPolicy = replace(shipped()["gb-prepayment"].policy("GBP"), no_cut_hours=False)
    pounds = replace(account(policy=policy), currency="CNY")  # the house's ledger is in yuan; the numbers are what matters
    house.settle(accounts=[pounds], balance="3").block(total="0.00")
    used(house, "5.00")
    assert (house.balance(), house.account().credit, house.kinds()) == (
        "0.500000",
        "very_low",
        ["emergency_offered", "low_balance_warned"],
    )
    used(house, "6.00")
    assert (house.account().credit, house.orders()) == ("exhausted", ["cut queued"])


def test_the_chinese_example(house: House) -> None:
    policy = replace(shipped()["cn-residential"].policy("CNY"), no_cut_hours=False)
    house.settle(accounts=[account(policy=policy)], balance="60").block(total="0.00")
    for kwh, state in (("20.00", "low"), ("100.00", "very_low"), ("120.00", "exhausted")):
        used(house, kwh)
        assert house.account().credit == state
    out_ms = house.now_ms
    for _ in range(6):
        house.later(hours=24).block(total="120.00")
    assert house.open() == []
    cut_at = None
    while cut_at is None and house.now_ms < out_ms + 9 * DAY_MS:
        house.later(minutes=15 if house.now_ms >= out_ms + 7 * DAY_MS else 60).block(total="120.00")
        cut_at = house.now_ms if house.open() else None
    assert cut_at == out_ms + 7 * DAY_MS + 30 * MINUTE_MS
