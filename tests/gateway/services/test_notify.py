"""Notices as use cases, on both stores: what is told, what a ladder still lacks, and what becomes a finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.domain.credit import CreditState, Step
from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.meters import Account
from gateway.domain.notices import (
    MOST_AGE_MS,
    MOST_TRIES,
    WITHDRAWN,
    Answer,
    Contact,
    Notice,
    NoticeState,
    Reach,
    Verdict,
    pause_ms,
)
from gateway.services import notify
from tests.gateway.services.house import POLICY, House, account

SMS, MAIL, PAPER = Contact("sms", "+8613800138000"), Contact("mail", "li@example.cn"), Contact("paper")
LEFT = {"balance": "3.00", "currency": "CNY"}
LADDER = (Step("low", ("sms", "mail")), Step("out", ("sms", "paper")))
TAKEN, REFUSED, LATER = Verdict(Answer.ACCEPTED), Verdict(Answer.REFUSED, "unknown number"), Verdict(Answer.LATER, "no answer")


def live(house: House, *contacts: Contact, credit: CreditState = CreditState.LOW) -> Account:
    reach = Reach(contacts, "zh")
    house.settle(accounts=[account(reach=reach, credit=credit, policy=replace(POLICY, steps=LADDER))])
    return here(house)


def here(house: House) -> Account:
    found = house.do(lambda tx: tx.account("A-1"))
    assert found is not None
    return found


def told(house: House) -> Sequence[Notice]:
    """Oldest first."""
    return list(reversed(house.do(lambda tx: tx.notices("A-1", 0, 100))))


def tell(house: House, step: str = "low", *channels: str) -> Sequence[Notice]:
    whose = here(house)
    house.do(lambda tx: notify.tell(tx, whose, step, LEFT, house.now_ms, channels))
    return told(house)


def take(house: House, channel: str = "sms", limit: int = 10) -> list[Notice]:
    return [notice for notice, _ in house.do(lambda tx: notify.take(tx, channel, house.now_ms, limit))]


def settle(house: House, number: int, verdict: Verdict) -> Notice:
    return house.do(lambda tx: notify.settle(tx, number, verdict, house.now_ms))


def missing(house: House, since_ms: int = 0) -> tuple[str, ...]:
    whose = here(house)
    return house.do(lambda tx: notify.ladder_missing(tx, whose, LADDER, since_ms, house.now_ms))


def events(house: House, *kinds: EventKind) -> list[EventKind]:
    return [stored.event.kind for stored in reversed(house.do(lambda tx: tx.events(100))) if stored.event.kind in kinds]


def finding(house: House, subject: str) -> str | None:
    found = house.do(lambda tx: tx.finding(FindingKind.NOTICES_FAILING, subject))
    return None if found is None else found.text


def test_a_house_without_contacts_is_told_in_the_log_at_once(house: House) -> None:
    live(house)
    [notice] = tell(house)
    assert (notice.channel, notice.state) == ("log", NoticeState.ACCEPTED)
    assert events(house, EventKind.LOW_BALANCE_WARNED) == [EventKind.LOW_BALANCE_WARNED]
    whose = here(house)
    assert house.do(lambda tx: notify.ladder_missing(tx, whose, [Step("low", ())], 0, house.now_ms)) == ()


def test_an_event_in_the_log_shows_the_money_and_no_address(house: House) -> None:
    live(house, Contact("log", "+8613800138000"))
    tell(house)
    [stored] = [each for each in house.do(lambda tx: tx.events(9)) if each.event.kind is EventKind.LOW_BALANCE_WARNED]
    assert stored.event.data == {"balance": "3.00", "currency": "CNY", "step": "low", "channel": "log"}


def test_each_contact_of_the_step_gets_one_notice(house: House) -> None:
    live(house, SMS, MAIL, PAPER)
    tell(house, "low", "sms", "mail")
    assert [(n.channel, n.to, n.state, n.tries) for n in told(house)] == [
        ("sms", SMS.to, NoticeState.QUEUED, 0),
        ("mail", MAIL.to, NoticeState.QUEUED, 0),
    ]


def test_the_ladder_completes_by_any_channel_and_by_paper(house: House) -> None:
    live(house, SMS, MAIL)
    assert missing(house) == ("notice low has not been given", "notice out has not been given")
    sms, mail = tell(house, "low", "sms", "mail")
    assert missing(house)[0] == "notice low is on its way"
    settle(house, sms.number, REFUSED)
    settle(house, mail.number, TAKEN)
    out_sms, out_paper = tell(house, "out", "sms", "paper")[2:]
    settle(house, out_sms.number, REFUSED)
    assert missing(house) == ("notice out by paper is not confirmed",)
    house.do(lambda tx: notify.confirm(tx, out_paper.number, "operator:Li Wei", house.now_ms, "to the tenant"))
    assert missing(house) == ()
    assert told(house)[-1].detail == "confirmed by operator:Li Wei: to the tenant"
    audit = house.do(lambda tx: tx.audit_rows(0, 10))[-1]
    assert (audit.who, audit.act, audit.data["step"]) == ("operator:Li Wei", "confirm_notice", "out")


def test_notices_of_an_earlier_low_balance_do_not_count(house: House) -> None:
    live(house, SMS)
    [notice] = tell(house, "low", "sms")
    settle(house, notice.number, TAKEN)
    house.later(hours=1)
    assert missing(house, house.now_ms) == ("notice low has not been given", "notice out has not been given")


def test_a_step_that_the_account_has_no_contact_for_is_a_finding_and_no_silence(house: House) -> None:
    live(house, MAIL)
    [notice] = tell(house, "low", "sms")
    assert (notice.state, notice.detail) == (NoticeState.FAILED, notify.NO_CONTACT)
    assert finding(house, "A-1") == f"notice {notice.number} (low) by sms reached nobody: {notify.NO_CONTACT}"
    house.do(lambda tx: notify.confirm_step(tx, "A-1", "low", "call", "operator:Li Wei", house.now_ms))
    assert finding(house, "A-1") is None
    assert missing(house) == ("notice out has not been given",)


def test_a_try_is_counted_before_it_is_made_and_the_next_waits(house: House) -> None:
    live(house, SMS)
    [notice] = tell(house, "low", "sms")
    [trying] = take(house)
    assert (trying.number, trying.tries, trying.next_ms) == (notice.number, 1, house.now_ms + pause_ms(1))
    assert take(house) == []  # as after a kill between the try and its record
    house.later(s=31)
    [again] = take(house)
    assert again.tries == 2
    assert settle(house, notice.number, LATER).next_ms == house.now_ms + pause_ms(2)


def test_a_gateway_that_dies_at_every_try_stops_after_the_bound(house: House) -> None:
    live(house, SMS)
    tell(house, "low", "sms")
    tries = 0
    for _ in range(2 * MOST_TRIES):
        tries += len(take(house))
        house.later(hours=1.1)
    assert tries == MOST_TRIES
    [notice] = told(house)
    assert notice.state is NoticeState.FAILED and finding(house, "A-1") is not None


def test_a_refused_number_is_bad_until_it_takes_something(house: House) -> None:
    live(house, SMS, MAIL)
    first, second = tell(house, "low")
    settle(house, first.number, REFUSED)
    assert here(house).reach.contacts == (replace(SMS, bad=True), MAIL)
    assert finding(house, "A-1") == f"notice {first.number} (low) by sms reached nobody: unknown number"
    settle(house, second.number, TAKEN)
    assert here(house).reach.contacts == (replace(SMS, bad=True), MAIL) and finding(house, "A-1") is None
    third, _ = tell(house, "out")[2:]
    settle(house, third.number, TAKEN)
    assert here(house).reach.contacts == (SMS, MAIL)


def test_a_reload_keeps_what_is_known_of_a_contact(house: House) -> None:
    live(house, SMS)
    [notice] = tell(house, "low", "sms")
    settle(house, notice.number, REFUSED)
    house.settle(accounts=[account(reach=Reach((SMS, MAIL), "zh"), policy=replace(POLICY, steps=LADDER))])
    assert here(house).reach.contacts == (replace(SMS, bad=True), MAIL)


def test_who_has_paid_is_warned_no_more(house: House) -> None:
    live(house, SMS, PAPER, credit=CreditState.NORMAL)
    tell(house, "low")
    assert take(house) == []
    assert [(n.channel, n.state, n.detail) for n in told(house)] == [
        ("sms", NoticeState.FAILED, WITHDRAWN),
        ("paper", NoticeState.QUEUED, ""),
    ]
    whose = here(house)
    house.do(lambda tx: notify.withdraw(tx, whose, house.now_ms))
    assert told(house)[1].detail == WITHDRAWN
    assert house.do(lambda tx: notify.failures(tx, 0)) == [] and finding(house, "A-1") is None


def test_what_no_channel_can_bring_any_more_fails(house: House) -> None:
    live(house, SMS, MAIL)
    sms, mail = tell(house, "low")
    house.do(lambda tx: notify.give_up(tx, {"sms"}, house.now_ms, 10))
    assert told(house)[1].detail == notify.NO_CHANNEL and told(house)[0].state is NoticeState.QUEUED
    house.now_ms += MOST_AGE_MS
    assert house.do(lambda tx: notify.give_up(tx, {"sms"}, house.now_ms, 10)) == 0
    house.later(s=1)
    assert house.do(lambda tx: notify.give_up(tx, {"sms"}, house.now_ms, 10)) == 1
    assert told(house)[0].detail == "not sent within 36 hours: its channel did not come to it"
    assert {n.number for n in house.do(lambda tx: notify.failures(tx, 0))} == {sms.number, mail.number}


def test_a_provider_reports_later(house: House) -> None:
    live(house, SMS)
    [notice] = tell(house, "low", "sms")
    settle(house, notice.number, TAKEN)
    house.do(lambda tx: notify.delivered(tx, notice.number, house.now_ms))
    assert told(house)[0].state is NoticeState.DELIVERED
    house.do(lambda tx: notify.undeliverable(tx, notice.number, house.now_ms, "absent subscriber"))
    assert told(house)[0].state is NoticeState.FAILED and here(house).reach.contacts[0].bad
    assert missing(house)[0] == "notice low reached nobody"


def test_a_provider_that_is_away_is_a_finding_until_it_takes_something(house: House) -> None:
    live(house, SMS)
    [notice] = tell(house, "low", "sms")
    house.do(lambda tx: notify.channel_fails(tx, "sms", "no answer within 20 s", house.now_ms))
    assert finding(house, "channel:sms") == "channel sms gets nothing out: no answer within 20 s"
    settle(house, notice.number, TAKEN)
    assert finding(house, "channel:sms") is None


def test_a_closed_channel_spends_no_try(house: House) -> None:
    live(house, SMS)
    tell(house, "low", "sms")
    opens_ms = house.now_ms + 3_600_000
    assert house.do(lambda tx: notify.postpone(tx, "sms", opens_ms, house.now_ms, 10)) == 1
    assert (told(house)[0].next_ms, told(house)[0].tries) == (opens_ms, 0)


@pytest.mark.parametrize(
    ("number", "channel", "error", "sentence"),
    [(99, "paper", LookupError, "notice 99 is not known here"), (1, "sms", ValueError, "is not one that a person delivers")],
)
def test_what_a_person_cannot_confirm(house: House, number: int, channel: str, error: type[Exception], sentence: str) -> None:
    live(house, SMS, PAPER)
    tell(house, "low", channel)
    with pytest.raises(error, match=sentence):
        house.do(lambda tx: notify.confirm(tx, number, "operator:Li Wei", house.now_ms))


def test_confirming_twice_is_the_same_as_once(house: House) -> None:
    live(house, PAPER)
    [notice] = tell(house, "out", "paper")
    for _ in range(2):
        house.do(lambda tx: notify.confirm(tx, notice.number, "operator:Li Wei", house.now_ms))
    assert len([row for row in house.do(lambda tx: tx.audit_rows(0, 10)) if row.act == "confirm_notice"]) == 1


def test_a_step_told_by_hand_takes_the_notice_that_waits_for_it(house: House) -> None:
    live(house, PAPER)
    [notice] = tell(house, "out", "paper")
    done = house.do(lambda tx: notify.confirm_step(tx, "A-1", "out", "paper", "operator:Li Wei", house.now_ms))
    assert done.number == notice.number and len(told(house)) == 1
    with pytest.raises(ValueError, match="a person confirms one of call, meter, paper, visit, not sms"):
        house.do(lambda tx: notify.confirm_step(tx, "A-1", "out", "sms", "operator:Li Wei", house.now_ms))
    with pytest.raises(LookupError, match="account A-9"):
        house.do(lambda tx: notify.confirm_step(tx, "A-9", "out", "paper", "operator:Li Wei", house.now_ms))


def test_the_day_is_told_once_and_only_where_something_failed(house: House) -> None:
    live(house, SMS)
    assert house.do(lambda tx: notify.tell_day(tx, house.site, house.now_ms)) is True
    assert events(house, EventKind.NOTICES_FAILED) == []
    [notice] = tell(house, "low", "sms")
    settle(house, notice.number, REFUSED)
    assert house.do(lambda tx: notify.tell_day(tx, house.site, house.now_ms)) is False
    house.later(hours=20)
    for _ in range(2):
        house.do(lambda tx: notify.tell_day(tx, house.site, house.now_ms))
    [stored] = [each for each in house.do(lambda tx: tx.events(50)) if each.event.kind is EventKind.NOTICES_FAILED]
    assert stored.event.data == {"failed": 1, "bad_contacts": 1}


def test_a_finding_of_an_account_goes_up_under_its_pseudonym_only(house: House) -> None:
    live(house, SMS)
    [notice] = tell(house, "low", "sms")
    settle(house, notice.number, REFUSED)
    settle(house, tell(house, "out", "sms")[1].number, TAKEN)
    kinds = (EventKind.FINDING_OPENED, EventKind.FINDING_CLOSED)
    data = [each.event.data for each in house.do(lambda tx: tx.events(50)) if each.event.kind in kinds]
    assert len(data) == 2 and "A-1" not in repr(data) and SMS.to not in repr(data)
