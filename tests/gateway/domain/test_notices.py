"""What comes of a try, whom a step reaches, and when a ladder is completed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import ladder
from gateway.domain.notices import (
    LONGEST_PAUSE_MS,
    MOST_TRIES,
    WITHDRAWN,
    Answer,
    Contact,
    Hours,
    Notice,
    NoticeState,
    Reach,
    Verdict,
    after,
    chosen,
    failed,
    kept,
    marked,
    masked,
    pause_ms,
)

SMS, MAIL, PAPER = Contact("sms", "+8613800138000"), Contact("mail", "li@example.cn"), Contact("paper")
QUEUED = Notice(7, "A-1", "low", "sms", "+8613800138000", {"balance": "3.00"}, 1000)
QUIET, GOT, GONE, LOST = NoticeState.QUEUED, NoticeState.ACCEPTED, NoticeState.DELIVERED, NoticeState.FAILED


@dataclass(frozen=True)
class Rung:
    name: str
    channels: tuple[str, ...] = ()
    go_on: bool = False


@pytest.mark.parametrize(
    ("state", "tries", "answer", "ends"),
    [
        (QUIET, 1, Answer.ACCEPTED, GOT),
        (QUIET, 1, Answer.LATER, QUIET),
        (QUIET, MOST_TRIES - 1, Answer.LATER, QUIET),
        (QUIET, MOST_TRIES, Answer.LATER, LOST),
        (QUIET, 1, Answer.REFUSED, LOST),
        (QUIET, 1, Answer.FAULT, LOST),
        (GONE, 1, Answer.ACCEPTED, GONE),
        (GOT, 1, Answer.REFUSED, GOT),
        (LOST, 1, Answer.LATER, LOST),
        (LOST, 1, Answer.ACCEPTED, GOT),
    ],
)
def test_what_a_try_leads_to(state: NoticeState, tries: int, answer: Answer, ends: NoticeState) -> None:
    notice = after(replace(QUEUED, state=state, tries=tries), Verdict(answer, "because"), 5000)
    assert notice.state is ends
    if ends is QUIET:
        assert notice.next_ms == 5000 + pause_ms(tries)


def test_a_withdrawn_notice_whose_try_fails_stays_withdrawn() -> None:
    withdrawn = replace(QUEUED, state=LOST, detail=WITHDRAWN)
    assert after(withdrawn, Verdict(Answer.REFUSED, "unknown"), 5000) == withdrawn and not failed(withdrawn)


def test_pauses_grow_to_an_hour_and_all_tries_take_about_a_day() -> None:
    pauses = [pause_ms(n) for n in range(1, MOST_TRIES)]
    assert pauses == sorted(pauses) and pauses[0] == 30_000 and pauses[-1] == LONGEST_PAUSE_MS
    assert timedelta(hours=20) < timedelta(milliseconds=sum(pauses)) < timedelta(hours=28)


@pytest.mark.parametrize(
    ("contacts", "channels", "reached"),
    [
        ((), (), (Contact("log"),)),
        ((SMS, MAIL), (), (SMS, MAIL)),
        ((SMS, MAIL), ("mail",), (MAIL,)),
        ((SMS, MAIL), ("mail", "log", "paper"), (MAIL, Contact("log"), PAPER)),
        ((MAIL,), ("sms",), (Contact("sms"),)),  # nobody to send it to: that is said, not passed over
        ((SMS, Contact("sms", "+8613900139000")), ("sms",), (SMS, Contact("sms", "+8613900139000"))),
        ((SMS,), ("sms", "sms"), (SMS,)),
    ],
)
def test_whom_a_step_reaches(contacts: tuple[Contact, ...], channels: tuple[str, ...], reached: tuple[Contact, ...]) -> None:
    assert chosen(Reach(contacts), channels) == reached


def of(step: str, state: NoticeState, channel: str = "sms", detail: str = "") -> Notice:
    return replace(QUEUED, step=step, state=state, channel=channel, detail=detail)


@pytest.mark.parametrize(
    ("steps", "notices", "missing"),
    [
        ([], [], ()),
        ([Rung("low")], [], ("notice low has not been given",)),
        ([Rung("low")], [of("low", GOT)], ()),
        ([Rung("low")], [of("low", GONE)], ()),
        ([Rung("low")], [of("low", QUIET)], ("notice low is on its way",)),
        ([Rung("low")], [of("low", LOST), of("low", GOT, "mail")], ()),  # the ladder, not one channel's delivery
        ([Rung("low")], [of("low", QUIET), of("low", GOT, "mail")], ()),
        ([Rung("low")], [of("low", LOST)], ("notice low reached nobody",)),
        ([Rung("low")], [of("low", LOST), of("low", QUIET, "paper")], ("notice low by paper is not confirmed",)),
        ([Rung("low")], [of("low", LOST), of("low", GOT, "paper")], ()),
        ([Rung("low")], [of("low", GOT, detail=WITHDRAWN)], ("notice low has not been given",)),
        ([Rung("low", go_on=True), Rung("out")], [of("low", LOST), of("out", GOT)], ()),
        ([Rung("low", go_on=True), Rung("out")], [of("low", QUIET), of("out", GOT)], ("notice low is on its way",)),
        ([Rung("low"), Rung("out")], [of("out", GOT)], ("notice low has not been given",)),
        (
            [Rung("low", go_on=True), Rung("out", go_on=True)],
            [of("low", LOST), of("out", LOST)],
            ("no notice has reached anybody: a person must tell the customer and confirm it",),
        ),
    ],
)
def test_when_a_ladder_is_completed(steps: list[Rung], notices: list[Notice], missing: tuple[str, ...]) -> None:
    assert ladder.missing(steps, notices) == missing


STATES = st.sampled_from([QUIET, GOT, GONE, LOST])
GIVEN = st.lists(st.builds(of, st.sampled_from(["low", "out", "another"]), STATES, st.sampled_from(["sms", "mail", "paper"])))


@given(st.lists(st.builds(Rung, st.sampled_from(["low", "out"]), st.just(()), st.booleans()), unique_by=lambda r: r.name), GIVEN)
def test_no_ladder_is_completed_that_reached_nobody(steps: list[Rung], notices: list[Notice]) -> None:
    names = {step.name for step in steps}
    reached = [notice for notice in notices if notice.step in names and notice.state in (GOT, GONE)]
    if steps and not ladder.missing(steps, notices):
        assert reached
    if all(any(notice.step == step.name for notice in reached) for step in steps):
        assert not ladder.missing(steps, notices), "every step reached somebody"


def test_a_bad_contact_stays_bad_over_a_reload_as_long_as_it_stands_there() -> None:
    known = marked(Reach((SMS, MAIL), "zh"), "sms", SMS.to, bad=True)
    assert known.contacts == (replace(SMS, bad=True), MAIL)
    moved = Contact("sms", "+8613900139000")
    assert kept(Reach((SMS, MAIL), "en"), known) == Reach((replace(SMS, bad=True), MAIL), "en")
    assert kept(Reach((moved, MAIL)), known).contacts == (moved, MAIL)
    assert marked(known, "sms", SMS.to, bad=False).contacts == (SMS, MAIL)


@pytest.mark.parametrize(
    ("to", "shown"),
    [
        ("+8613800138000", "+861******8000"),
        ("13800138000", "1380***8000"),
        ("li.wei@example.cn", "l***@example.cn"),
        ("12345", "*****"),
    ],
)
def test_an_address_is_shown_masked(to: str, shown: str) -> None:
    assert masked(to) == shown


@given(st.text(min_size=1, max_size=40))
def test_a_masked_address_never_shows_all_of_it(to: str) -> None:
    assert masked(to) != to or set(to) == {"*"}


ZONE = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-11-24T07:59:59", "2026-11-24T08:00:00"),
        ("2026-11-24T08:00:00", "2026-11-24T08:00:00"),
        ("2026-11-24T19:59:59", "2026-11-24T19:59:59"),
        ("2026-11-24T20:00:00", "2026-11-25T08:00:00"),
        ("2026-12-31T23:00:00", "2027-01-01T08:00:00"),
    ],
)
def test_a_channel_is_used_in_its_hours_only(now: str, opens: str) -> None:
    at, expected = (int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1000) for text in (now, opens))
    assert Hours(8 * 60, 20 * 60, "Asia/Shanghai").opens_ms(at) == expected
