"""Load limits: judge measured power, and give supply back after the pause."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.events import EventKind
from gateway.domain.limits import LimitAction, LimitPhase, LimitState, on_cut_seen, on_power, on_time, released, withdrawn
from gateway.domain.meters import Account, Contact
from gateway.domain.readings import Reading, primary_w
from gateway.domain.supply import CutCause
from gateway.services import announce
from gateway.services.ports import Site, Tx
from gateway.services.switching import LIMIT, hold_open, lift


def judge_power(tx: Tx, account_id: str, reading: Reading, site: Site, now_ms: int) -> None:
    """Judge a reading that carries power against the account's load limit; over it for longer than the delay cuts.

    An account none of whose meters can be cut only has its overload announced.
    """
    account = tx.account(account_id)
    if account is None or account.limit is None or not any(item.quantity == "power" for item in reading.items):
        return
    power_w = account_power_w(tx, account, site, reading.answered_ms)
    before = account.limit_state
    state, action = on_power(account.limit, before, power_w, reading.answered_ms, site.power_stale_ms)
    if action is LimitAction.NONE:
        _save(tx, account, state)
        if before.phase is LimitPhase.WITHIN and state.phase is LimitPhase.OVER:
            announce.event(
                tx,
                EventKind.LIMIT_EXCEEDED,
                now_ms,
                account=account.id,
                meter=reading.meter,
                power_w=power_w,
                limit_w=account.limit.power_w,
            )
        return
    cuttable = any(meter.cuttable for meter in tx.meters_of(account.id))
    if not cuttable or hold_open(tx, account, CutCause.SAFETY, LIMIT, site, now_ms):
        _save(tx, account, replace(before, seen_ms=reading.answered_ms))  # it stays over, and was seen so
        return
    _save(tx, account, state)
    kind = EventKind.LIMIT_LOCKED if action is LimitAction.LOCK else EventKind.LIMIT_CUT
    announce.event(tx, kind, now_ms, account=account.id, meter=reading.meter, power_w=power_w, limit_w=account.limit.power_w)


def account_power_w(tx: Tx, account: Account, site: Site, at_ms: int) -> int:
    """What the account draws now, in W: the sum over its meters of the newest power, none older than the site's power_stale_ms."""
    total = 0
    for meter in tx.meters_of(account.id):
        newest = tx.latest(meter.id).get("power")
        if newest is not None and newest.item.value is not None and at_ms - newest.answered_ms <= site.power_stale_ms:
            total += primary_w(newest.item.value, meter.ratio)
    return total


def limit_cut_seen(tx: Tx, account_id: str, now_ms: int) -> None:
    """A cut was verified: the limiter's pause runs from here, if it was the limiter's cut."""
    account = tx.account(account_id)
    if account is None or account.limit is None:
        return
    if any(LIMIT in m.cut_reasons and m.observed is Contact.OPEN for m in tx.meters_of(account_id)):
        _save(tx, account, on_cut_seen(account.limit_state, now_ms))


def limits_due_ms(tx: Tx) -> int | None:
    """When the next limiter's pause runs out, in UTC ms; None while none is tripped."""
    tripped = (a for a in tx.accounts() if a.limit is not None and a.limit_state.phase is LimitPhase.TRIPPED)
    return min((a.limit_state.since_ms + a.limit.pause_ms for a in tripped if a.limit is not None), default=None)


def watch_limits(tx: Tx, site: Site, now_ms: int) -> None:
    """Give supply back where a limiter's pause has run out."""
    for account in tx.accounts():
        if account.limit is None:
            continue
        state, action = on_time(account.limit, account.limit_state, now_ms)
        if action is LimitAction.RECLOSE:
            _save(tx, account, state)
            lift(tx, account, CutCause.SAFETY, site, now_ms)
            announce.event(tx, EventKind.LIMIT_RECLOSED, now_ms, account=account.id, spent=state.spent)


def withdraw_trip(tx: Tx, account_id: str | None, site: Site, now_ms: int) -> None:
    """A limiter's cut may not be sent any more: the limiter goes back to watching, and what else it held open is freed.

    The caller has lifted the reason from the meter whose cut it was.
    """
    account = tx.account(account_id) if account_id else None
    if account is not None:
        _save(tx, account, withdrawn(account.limit_state, now_ms))
        lift(tx, account, CutCause.SAFETY, site, now_ms)


def release_limit(tx: Tx, account: Account, now_ms: int) -> None:
    """A person releases the limiter: its lock-out and its count end. The caller lifts the reason from the meters."""
    if account.limit is None or account.limit_state.phase in (LimitPhase.WITHIN, LimitPhase.OVER):
        return
    _save(tx, account, released(now_ms))
    announce.event(tx, EventKind.LIMIT_RELEASED, now_ms, account=account.id)


def _save(tx: Tx, account: Account, state: LimitState) -> None:
    if state != account.limit_state:
        tx.save_account(replace(account, limit_state=state))
