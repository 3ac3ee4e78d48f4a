"""Brings meters to show what the rules want of them, and tells the ladder what came of it (prepayment.md 3 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from gateway.domain.credit import at_least
from gateway.domain.meters import Account, Meter
from gateway.domain.notices import ARRIVED, WITHDRAWN, Answer, NoticeState, Verdict
from gateway.domain.requests import SupplyOrder
from gateway.domain.signs import VERBS, Sign, Wish
from gateway.domain.supply import Command, CommandEvent, CommandState, Verb, about_password
from gateway.services.meter_orders import order_sign
from gateway.services.notify import delivered, settle
from gateway.services.ports import Site, Tx
from gateway.services.switching import step
from gateway.services.wish_signs import put, rungs, wish_of, wishes

LIVES_MS = 60 * 60 * 1000
"""An order that the meter has not taken by then ends; as long as it is wanted, another follows."""

AGAIN_MS = 60 * 60 * 1000
"""After one that came to nothing: a meter that does not listen costs a line one order an hour, and the log as little."""

MOST_DUE = 50
"""Orders in one transaction; a payment waits behind them for some 20 ms."""

TOOK = frozenset({CommandState.DONE, CommandState.COMMAND_ONLY})
UNPROVED = "the meter took the alarm but cannot show it: a person must look"
TAKEN = "the meter took the alarm, which it cannot show"
READ_BACK = "the meter's alarm was read back"


class Due(StrEnum):
    """What is to be done about a wish."""

    ORDER = "order"
    TELL = "tell"
    FORGET = "forget"


def due_signs(tx: Tx, site: Site, now_ms: int) -> Sequence[tuple[Sign, str]]:
    """Wishes about which something is to be done now, at most MOST_DUE."""
    found = ((sign, meter) for sign, meter, wish in wishes(tx) if _due(tx, sign, meter, wish, site, now_ms) is not None)
    return [each for each, _ in zip(found, range(MOST_DUE), strict=False)]


def keep_sign(tx: Tx, sign: Sign, meter_id: str, site: Site, now_ms: int) -> None:
    """Do what is due about one wish."""
    wish, meter = wish_of(tx, sign, meter_id), tx.meter(meter_id)
    due = None if wish is None else _due(tx, sign, meter_id, wish, site, now_ms)
    if wish is None or due is None:
        return
    if due is Due.FORGET or meter is None:
        last = _last(tx, wish, meter)
        if last is not None and last.state is CommandState.QUEUED:
            step(tx, last, CommandEvent.CANCELLED, now_ms, reason="nothing asks for it any more")
        put(tx, sign, meter_id, None)
    elif due is Due.TELL:
        _tell(tx, sign, meter_id, wish, now_ms)
    else:
        _order(tx, sign, meter, wish, now_ms)


def _due(tx: Tx, sign: Sign, meter_id: str, wish: Wish, site: Site, now_ms: int) -> Due | None:
    meter = tx.meter(meter_id)
    if meter is None:
        return Due.FORGET
    wanted, last = _wanted(tx, sign, meter, wish, now_ms), _last(tx, wish, meter)
    if last is None or last.verb is not _verb(sign, wanted):
        reached = meter.address == wish.address and (wish.reached or (last is not None and last.attempts > 0))
        return Due.ORDER if wanted or reached else Due.FORGET
    if not last.final:
        return None
    if last.state in TOOK:
        return (Due.TELL if wish.notices else None) if wanted else Due.FORGET
    if wanted and any(_waits(tx, number) for number in wish.notices):
        return Due.TELL
    if last.state is CommandState.SUPERSEDED:  # a person asked for the opposite
        return None if wanted else Due.FORGET
    pause_ms = site.retry_refused_ms if about_password(last) else AGAIN_MS
    return Due.ORDER if now_ms - last.changed_ms >= pause_ms else None


def _verb(sign: Sign, wanted: bool) -> Verb:
    on, off = VERBS[sign]
    return on if wanted else off


def _last(tx: Tx, wish: Wish, meter: Meter | None) -> Command | None:
    """The last order to the device that stands there now."""
    same = meter is None or meter.address == wish.address
    return tx.command(wish.command) if wish.command is not None and same else None


def _wanted(tx: Tx, sign: Sign, meter: Meter, wish: Wish, now_ms: int) -> bool:
    account = tx.account(wish.account)
    if account is None or account.closed or meter.account != account.id:
        return False
    if sign is Sign.PROTECT:
        return account.protected(now_ms) and account.protect.in_meter
    return not account.never_cut and not account.protected(now_ms) and _stands_on(account, wish)


def _stands_on(account: Account, wish: Wish) -> bool:
    """Whether the account is still as low as one of these rungs."""
    return any(rung.name in wish.steps and at_least(account.credit, rung.at) for rung in rungs(account))


def _order(tx: Tx, sign: Sign, meter: Meter, wish: Wish, now_ms: int) -> None:
    last, verb = _last(tx, wish, meter), _verb(sign, _wanted(tx, sign, meter, wish, now_ms))
    cause, origin = ("notice", "credit") if sign is Sign.ALARM else ("protection", "rules")
    ident = _fresh_id(tx, f"{meter.id[:32]}-{verb}-{now_ms}")
    answer = order_sign(tx, SupplyOrder(ident, meter.id, verb, cause, origin, now_ms + LIVES_MS, "rules"), now_ms)
    if answer.command is None:
        _fail_notices(tx, wish, answer.refused or "", now_ms)
        put(tx, sign, meter.id, None)
        return
    same = meter.address == wish.address
    reached = same and (wish.reached or (last is not None and last.attempts > 0))
    put(tx, sign, meter.id, replace(wish, address=meter.address, command=answer.command.id, reached=reached))


def _fresh_id(tx: Tx, stem: str) -> str:
    candidate, n = stem, 1
    while tx.command(candidate) is not None:
        n += 1
        candidate = f"{stem}-{n}"
    return candidate


# What the ladder is told


def _tell(tx: Tx, sign: Sign, meter_id: str, wish: Wish, now_ms: int) -> None:
    last = tx.command(wish.command or "")
    if last is None or last.state not in TOOK:
        _fail_notices(tx, wish, f"meter {meter_id} did not alarm: {last.reason if last else ''}", now_ms)
        return
    proved = last.state is CommandState.DONE or _trusts(tx, wish)
    put(tx, sign, meter_id, replace(wish, notices=()))
    if not proved:
        _fail_notices(tx, wish, UNPROVED, now_ms)
    for other_sign, other_meter, other in wishes(tx):
        shared = {*other.notices} & {*wish.notices}
        if shared and not proved:  # no other meter of the account can make up for this one
            left = tuple(number for number in other.notices if number not in shared)
            put(tx, other_sign, other_meter, replace(other, notices=left))
    if proved:
        waited_for = {number for _, _, other in wishes(tx) for number in other.notices}
        for number in wish.notices:
            if number not in waited_for and not _settled(tx, number):
                delivered(tx, number, now_ms, READ_BACK if last.state is CommandState.DONE else TAKEN)


def _trusts(tx: Tx, wish: Wish) -> bool:
    """Whether the policy takes the meter's word for an alarm that it cannot show."""
    account = tx.account(wish.account)
    steps = [] if account is None else [rung for rung in rungs(account) if rung.name in wish.steps]
    return bool(steps) and all(rung.unproved for rung in steps)


def _fail_notices(tx: Tx, wish: Wish, why: str, now_ms: int) -> None:
    for number in wish.notices:
        if _waits(tx, number):
            settle(tx, number, Verdict(Answer.FAULT, why), now_ms)


def _waits(tx: Tx, number: int) -> bool:
    notice = tx.notice(number)
    return notice is not None and notice.state is NoticeState.QUEUED


def _settled(tx: Tx, number: int) -> bool:
    """Whether nothing more is to be said of it: it arrived, a person confirmed it, or it was withdrawn."""
    notice = tx.notice(number)
    return notice is None or notice.state in ARRIVED or notice.detail == WITHDRAWN
