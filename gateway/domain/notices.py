"""What customers are told, by which channel, and what came of it (prepayment.md 3, "the ladder")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NoticeState(StrEnum):
    """The life of a notice: accepted by the provider, delivered where the channel says so, or failed for good."""

    QUEUED = "queued"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"


ARRIVED = frozenset({NoticeState.ACCEPTED, NoticeState.DELIVERED})
"""The states that complete a step."""


@dataclass(frozen=True, slots=True)
class Contact:
    """One way to reach whoever answers for an account. channel: a configured one; to: its address; bad: it failed for good."""

    channel: str
    to: str = ""
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one contact. number: 0 until it is stored. step: of the ladder it belongs to. Times in UTC ms.

    values: what the text is made of, decimal strings; the channel's template makes words of them.
    """

    number: int
    account: str
    step: str
    channel: str
    to: str
    values: Mapping[str, str]
    created_ms: int
    state: NoticeState = NoticeState.QUEUED
    tries: int = 0
    next_ms: int = 0
    changed_ms: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """How an account is reached. language: of the texts."""

    contacts: tuple[Contact, ...] = ()
    language: str = "en"
    extra: Mapping[str, str] = field(default_factory=dict)


LOG = "log"
"""The channel that is the gateway's own log and its events: accepted as soon as it is written."""

METER = "meter"
"""The channel that is the meter's own alarm: done when it is read back, or when whoever saw it confirms it."""

BY_PERSON = frozenset({"paper", "call", "visit", METER})
"""Channels that no provider serves: whoever delivered the paper, called, or saw the meter's alarm confirms it."""

BUILT_IN = frozenset({LOG}) | BY_PERSON
"""Channels that there are without a configuration."""

NEVER_MS = 1 << 62
"""When a notice that waits for a person is sent."""

FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 30_000, 60 * 60 * 1000
"""Between two tries: a provider's hiccup is over after half a minute, and one that is down all day is asked every hour."""

MOST_TRIES = 30
"""Seven of growing pauses and then every hour: about a day. Yesterday's balance helps nobody, and the list of failures names it."""

MOST_AGE_MS = 36 * 60 * 60 * 1000
"""A notice that its channel did not come to in this time fails: a night in which it is closed, and the day after."""

MOST_DETAIL = 200
"""Characters kept of what a provider said."""

WITHDRAWN = "withdrawn: it was no longer true"
"""The detail of a notice that failed because nobody should get it any more; no failure of a channel."""


@dataclass(frozen=True, slots=True)
class Hours:
    """When a channel may be used, in minutes of the local day (prepayment.md a1: text messages only by day)."""

    from_minute: int
    to_minute: int
    zone: str

    def opens_ms(self, now_ms: int) -> int:
        """Now, or when it opens next (UTC ms)."""
        zone = ZoneInfo(self.zone)
        wall = (_EPOCH + timedelta(milliseconds=now_ms)).astimezone(zone)
        minute = wall.hour * 60 + wall.minute
        if self.from_minute <= minute < self.to_minute:
            return now_ms
        day = wall.date() + timedelta(days=int(minute >= self.from_minute))
        opens = datetime(day.year, day.month, day.day, *divmod(self.from_minute, 60), tzinfo=zone)
        return (opens.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)


class Answer(StrEnum):
    """What came of a try. REFUSED: this contact will never do. LATER: it may do another time. FAULT: ours, like a missing text."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LATER = "later"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer and one sentence about it, without the address."""

    answer: Answer
    detail: str = ""


def pause_ms(tries: int) -> int:
    """How long after this many tries the next one is made."""
    return min(FIRST_PAUSE_MS << min(max(tries, 1) - 1, 16), LONGEST_PAUSE_MS)


def after(notice: Notice, verdict: Verdict, now_ms: int) -> Notice:
    """The notice after a try that was counted when it began."""
    detail = verdict.detail[:MOST_DETAIL]
    if verdict.answer is Answer.ACCEPTED and notice.state is not NoticeState.DELIVERED:
        return replace(notice, state=NoticeState.ACCEPTED, changed_ms=now_ms, detail=detail)
    if notice.state is not NoticeState.QUEUED:  # withdrawn or reported on meanwhile
        return notice
    if verdict.answer is Answer.LATER and notice.tries < MOST_TRIES:
        return replace(notice, next_ms=now_ms + pause_ms(notice.tries), changed_ms=now_ms, detail=detail)
    return replace(notice, state=NoticeState.FAILED, changed_ms=now_ms, detail=detail)


def failed(notice: Notice) -> bool:
    """Whether nobody got it although somebody should have."""
    return notice.state is NoticeState.FAILED and notice.detail != WITHDRAWN


def chosen(reach: Reach, channels: Sequence[str]) -> tuple[Contact, ...]:
    """Whom a step tells: the account's contacts on the step's channels, in the step's order; without channels all of them, and
    where there is none the log. What a step needs and the account has no contact for comes with an empty address."""
    if not channels:
        return reach.contacts or (Contact(LOG),)
    found: list[Contact] = []
    for channel in channels:
        found += [contact for contact in reach.contacts if contact.channel == channel] or [Contact(channel)]
    return tuple(dict.fromkeys(found))


def marked(reach: Reach, channel: str, to: str, *, bad: bool) -> Reach:
    """The reach with this contact known to be bad, or good again."""
    same = (replace(each, bad=bad) if (each.channel, each.to) == (channel, to) else each for each in reach.contacts)
    return replace(reach, contacts=tuple(same))


def kept(configured: Reach, known: Reach) -> Reach:
    """The configured reach with what was learned of contacts that stay."""
    bad = {(each.channel, each.to) for each in known.contacts if each.bad}
    return replace(configured, contacts=tuple(replace(each, bad=(each.channel, each.to) in bad) for each in configured.contacts))


def masked(to: str) -> str:
    """An address as logs and lists show it: +861******8000, l***@example.cn."""
    name, at, host = to.partition("@")
    if at:
        return f"{name[:1]}***@{host}"
    if len(to) < 8:
        return "*" * len(to)
    return f"{to[:4]}{'*' * (len(to) - 8)}{to[-4:]}" if len(to) > 10 else f"{to[:2]}{'*' * (len(to) - 4)}{to[-2:]}"


def bad_contacts(contacts: Iterable[Contact]) -> tuple[Contact, ...]:
    """Those that failed for good when last used."""
    return tuple(contact for contact in contacts if contact.bad)
