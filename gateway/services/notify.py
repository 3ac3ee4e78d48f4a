"""Notices to customers: written with what causes them, sent by a loop, and judged as a ladder (prepayment.md 3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from gateway.domain import ladder
from gateway.domain.credit import CreditState
from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.meters import Account
from gateway.domain.notices import (
    ARRIVED,
    BY_PERSON,
    LOG,
    METER,
    MOST_AGE_MS,
    MOST_TRIES,
    NEVER_MS,
    WITHDRAWN,
    Answer,
    Notice,
    NoticeState,
    Verdict,
    after,
    bad_contacts,
    chosen,
    failed,
    marked,
    pause_ms,
)
from gateway.domain.slots import day_of
from gateway.services import announce
from gateway.services.findings import found, over
from gateway.services.ports import Site, Tx
from gateway.services.wish_signs import wish_alarm

MOST_OF_LADDER = 500
"""Notices of one account that are looked at: steps times contacts, several times over."""

MOST_OF_DAY = 1_000
"""Failures that the list of a day names; more have one cause."""

HOUR_MS = 60 * 60 * 1000
DAY_MS = 24 * HOUR_MS

NO_CHANNEL = "no channel of this name is configured"
NO_CONTACT = "the account has no contact for it"

_TOLD_DAY = "notices:day"
"""Key in `meta`: the last local day whose failures were told."""


def tell(tx: Tx, account: Account, step: str, values: Mapping[str, str], now_ms: int, channels: Sequence[str] = ()) -> None:
    """One notice for each contact that this step reaches (domain.notices.chosen), in this transaction.

    `log` is accepted at once; what a person delivers waits to be confirmed; a channel that the account has no contact for fails.
    A rung by `meter` is an alarm at every meter that a cut reaches (keep_signs).
    """
    for contact in chosen(account.reach, channels):
        notice = Notice(0, account.id, step, contact.channel, contact.to, values, now_ms, next_ms=now_ms, changed_ms=now_ms)
        if contact.channel == LOG:
            tx.add_notice(replace(notice, state=NoticeState.ACCEPTED, tries=1))
            _log(tx, account, step, values, now_ms)
        elif contact.channel in BY_PERSON:
            stored = tx.add_notice(replace(notice, next_ms=NEVER_MS))
            if contact.channel == METER:
                wish_alarm(tx, account, step, stored.number)
        elif not contact.to:
            _failed(tx, tx.add_notice(replace(notice, state=NoticeState.FAILED, detail=NO_CONTACT)), now_ms)
        else:
            tx.add_notice(notice)


def _log(tx: Tx, account: Account, step: str, values: Mapping[str, str], now_ms: int) -> None:
    kind = EventKind.LOW_BALANCE_WARNED if "balance" in values else EventKind.CUSTOMER_TOLD
    announce.event(tx, kind, now_ms, account=account.id, **{**values, "step": step, "channel": LOG})


def ladder_missing(tx: Tx, account: Account, steps: Sequence[ladder.Rung], since_ms: int, now_ms: int) -> tuple[str, ...]:
    """What of the ladder is not completed by the notices given since then, in sentences; none: it is."""
    if not steps:
        return ()
    given = [notice for notice in tx.notices(account.id, since_ms, MOST_OF_LADDER) if notice.created_ms <= now_ms]
    return ladder.missing(steps, given)


def withdraw(tx: Tx, account: Account, now_ms: int) -> None:
    """What still waits to be told this account is no longer true (it has paid): nobody gets it any more."""
    for notice in tx.notices(account.id, 0, MOST_OF_LADDER, NoticeState.QUEUED):
        tx.save_notice(replace(notice, state=NoticeState.FAILED, detail=WITHDRAWN, changed_ms=now_ms))


def confirm(tx: Tx, number: int, who: str, now_ms: int, note: str = "") -> Notice:
    """A person says that this notice was delivered. Raises LookupError for an unknown one, ValueError where a provider answers."""
    notice = _known(tx, number)
    if notice.state in ARRIVED:
        return notice
    if notice.channel not in BY_PERSON or notice.detail == WITHDRAWN:
        raise ValueError(f"notice {number} is not one that a person delivers: name the account and the step it was told by hand")
    confirmed = replace(notice, state=NoticeState.ACCEPTED, tries=1, changed_ms=now_ms, detail=_by(who, note))
    tx.save_notice(confirmed)
    _confirmed(tx, confirmed, who, note, now_ms)
    return confirmed


def confirm_step(tx: Tx, account_id: str, step: str, channel: str, who: str, now_ms: int, note: str = "") -> Notice:
    """A person told the customer of this step by hand, whatever became of its other notices. Raises LookupError, ValueError."""
    if tx.account(account_id) is None:
        raise LookupError(f"account {account_id} is not known here")
    if channel not in BY_PERSON:
        raise ValueError(f"a person confirms one of {', '.join(sorted(BY_PERSON))}, not {channel}")
    for notice in tx.notices(account_id, 0, MOST_OF_LADDER, NoticeState.QUEUED):
        if (notice.step, notice.channel) == (step, channel):
            return confirm(tx, notice.number, who, now_ms, note)
    told = Notice(0, account_id, step, channel, "", {}, now_ms, NoticeState.ACCEPTED, 1, NEVER_MS, now_ms, _by(who, note))
    told = tx.add_notice(told)
    _confirmed(tx, told, who, note, now_ms)
    return told


def _by(who: str, note: str) -> str:
    return f"confirmed by {who}: {note}" if note else f"confirmed by {who}"


def _confirmed(tx: Tx, notice: Notice, who: str, note: str, now_ms: int) -> None:
    data = {"account": notice.account, "step": notice.step, "channel": notice.channel, "note": note}
    tx.add_audit(now_ms, who, "confirm_notice", str(notice.number), data)
    over(tx, FindingKind.NOTICES_FAILING, notice.account, now_ms, account=notice.account)


def delivered(tx: Tx, number: int, now_ms: int, detail: str = "") -> Notice:
    """The channel says that it arrived. Raises LookupError."""
    notice = replace(_known(tx, number), state=NoticeState.DELIVERED, changed_ms=now_ms, detail=detail)
    tx.save_notice(notice)
    _worked(tx, notice, now_ms)
    return notice


def undeliverable(tx: Tx, number: int, now_ms: int, detail: str) -> Notice:
    """The channel says, after it was accepted, that it never will arrive. Raises LookupError."""
    notice = replace(_known(tx, number), state=NoticeState.FAILED, changed_ms=now_ms, detail=detail)
    tx.save_notice(notice)
    _mark(tx, notice, bad=True)
    _failed(tx, notice, now_ms)
    return notice


def report(tx: Tx, number: int, arrived: bool, who: str, now_ms: int, detail: str = "") -> Notice:
    """Somebody passes on what the channel says. Raises LookupError."""
    notice = (delivered if arrived else undeliverable)(tx, number, now_ms, detail)
    tx.add_audit(now_ms, who, "report_notice", str(number), {"account": notice.account, "state": notice.state.value})
    return notice


def due(tx: Tx, channel: str, now_ms: int) -> bool:
    """Whether anything of this channel is due."""
    return bool(tx.due_notices(now_ms, 1, channel))


def take(tx: Tx, channel: str, now_ms: int, limit: int) -> Sequence[tuple[Notice, str]]:
    """The notices of a channel to be tried now, with the language of each. Their try is counted before it is made, so that even a
    gateway that dies at each of them tries MOST_TRIES times only."""
    taken = []
    for notice in tx.due_notices(now_ms, limit, channel):
        if notice.tries >= MOST_TRIES:
            _end(tx, notice, Verdict(Answer.FAULT, notice.detail or "every try was cut short"), now_ms)
            continue
        account = tx.account(notice.account)
        if account is not None and _stale(account, notice):
            tx.save_notice(replace(notice, state=NoticeState.FAILED, detail=WITHDRAWN, changed_ms=now_ms))
            continue
        trying = replace(notice, tries=notice.tries + 1, next_ms=now_ms + pause_ms(notice.tries + 1))
        tx.save_notice(trying)
        taken.append((trying, account.reach.language if account is not None else "en"))
    return taken


def _stale(account: Account, notice: Notice) -> bool:
    """Whether it warns somebody who has paid meanwhile."""
    return account.credit is CreditState.NORMAL and any(step.name == notice.step for step in account.policy.steps)


def postpone(tx: Tx, channel: str, until_ms: int, now_ms: int, limit: int) -> int:
    """The channel is closed until then; how many of its notices now wait for that. No try of theirs is spent."""
    waiting = tx.due_notices(now_ms, limit, channel)
    for notice in waiting:
        tx.save_notice(replace(notice, next_ms=until_ms))
    return len(waiting)


def settle(tx: Tx, number: int, verdict: Verdict, now_ms: int) -> Notice:
    """What came of a try. A contact that was refused is bad until one of its notices is accepted."""
    return _end(tx, _known(tx, number), verdict, now_ms)


def _end(tx: Tx, notice: Notice, verdict: Verdict, now_ms: int) -> Notice:
    ended = after(notice, verdict, now_ms)
    tx.save_notice(ended)
    if ended.state is NoticeState.ACCEPTED:
        _mark(tx, ended, bad=False)
        _worked(tx, ended, now_ms)
    elif failed(ended):
        if verdict.answer is Answer.REFUSED:
            _mark(tx, ended, bad=True)
        _failed(tx, ended, now_ms)
    return ended


def hopeless(tx: Tx, configured: Collection[str], now_ms: int, limit: int) -> Sequence[tuple[Notice, str]]:
    """Due notices that nothing will come of, and why: their channel is not there any more, or they are too old."""
    found_: list[tuple[Notice, str]] = []
    for notice in tx.due_notices(now_ms, limit):
        if notice.channel not in configured:
            found_.append((notice, NO_CHANNEL))
        elif now_ms - notice.created_ms > MOST_AGE_MS:
            why = notice.detail or "its channel did not come to it"
            found_.append((notice, f"not sent within {MOST_AGE_MS // HOUR_MS} hours: {why}"))
    return found_


def give_up(tx: Tx, configured: Collection[str], now_ms: int, limit: int) -> int:
    """What is hopeless fails; how many did."""
    lost = hopeless(tx, configured, now_ms, limit)
    for notice, why in lost:
        _end(tx, notice, Verdict(Answer.FAULT, why), now_ms)
    return len(lost)


def channel_fails(tx: Tx, channel: str, detail: str, now_ms: int) -> None:
    """A provider answers nobody any more."""
    text = f"channel {channel} gets nothing out: {detail}"
    found(tx, FindingKind.NOTICES_FAILING, _of_channel(channel), text, now_ms, {"channel": channel})


def _of_channel(channel: str) -> str:
    return f"channel:{channel}"


def _worked(tx: Tx, notice: Notice, now_ms: int) -> None:
    over(tx, FindingKind.NOTICES_FAILING, _of_channel(notice.channel), now_ms)
    over(tx, FindingKind.NOTICES_FAILING, notice.account, now_ms, account=notice.account)


def _failed(tx: Tx, notice: Notice, now_ms: int) -> None:
    text = f"notice {notice.number} ({notice.step}) by {notice.channel} reached nobody: {notice.detail}"
    data = {"notice": str(notice.number), "step": notice.step, "channel": notice.channel}
    found(tx, FindingKind.NOTICES_FAILING, notice.account, text, now_ms, data, account=notice.account)


def _mark(tx: Tx, notice: Notice, *, bad: bool) -> None:
    account = tx.account(notice.account)
    if account is not None and (reach := marked(account.reach, notice.channel, notice.to, bad=bad)) != account.reach:
        tx.save_account(replace(account, reach=reach))


def _known(tx: Tx, number: int) -> Notice:
    notice = tx.notice(number)
    if notice is None:
        raise LookupError(f"notice {number} is not known here")
    return notice


def failures(tx: Tx, since_ms: int) -> Sequence[Notice]:
    """Notices of that time that reached nobody, newest first."""
    return [notice for notice in tx.notices(None, since_ms, MOST_OF_DAY, NoticeState.FAILED) if failed(notice)]


def tell_day(tx: Tx, site: Site, now_ms: int) -> bool:
    """Once each local day: one event with how many notices of the day before failed and how many contacts are bad; none where all
    is well. Whether this was the time for it."""
    today = day_of(now_ms, ZoneInfo(site.zone))
    if tx.meta(_TOLD_DAY) == today:
        return False
    tx.set_meta(_TOLD_DAY, today)
    lost = failures(tx, now_ms - DAY_MS)
    bad = sum(len(bad_contacts(account.reach.contacts)) for account in tx.accounts())
    if lost or bad:
        announce.event(tx, EventKind.NOTICES_FAILED, now_ms, failed=len(lost), bad_contacts=bad)
    return True
