"""What time brings to cuts that wait: turns for those that the limiter deferred, ends for those that nobody released."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.domain.budgets import DAY_MS, HOUR_MS, Budget
from gateway.domain.credit import may_cut
from gateway.domain.findings import FindingKind
from gateway.domain.supply import CutCause
from gateway.services.approve import expire
from gateway.services.findings import found, over
from gateway.services.ports import Site, Tx
from gateway.services.spend_budget import (
    RULES,
    Purse,
    Waiting,
    anybody_waits,
    forget_spent,
    no_longer_waits,
    not_ready,
    room_in,
    waiting,
    waits,
)
from gateway.services.steady import steady_now
from gateway.services.switching import CREDIT, NO_ROOM, hold_open
from gateway.services.two_people import ACTS

AT_ONCE = 100
"""Accounts that one look judges at most, and approvals it ends: some 50 ms of the store; the next look goes on."""


SWEPT = "deferred_swept"
SWEEP_MS = 60_000
"""Those who wait are looked through so often while our own budget has no room: 10,000 of them cost the store 50 ms."""


def cuts_wait(tx: Tx) -> bool:
    """Whether there is anything for watch_cuts to do but keep its clock."""
    return anybody_waits(tx) or bool(tx.approvals(1, asked=True))


def watch_cuts(tx: Tx, site: Site, now_ms: int) -> int:
    """Cut those who wait, oldest debt first, as far as the budgets have room; end what waited too long. How many were judged."""
    expire(tx, now_ms, ACTS, AT_ONCE)
    forget_spent(tx, site, now_ms)
    _trips_calm(tx, site, now_ms)
    at_ms, full, judged = steady_now(tx, site, now_ms), set[str](), 0
    if room_in(tx, Purse(Budget.OWN, RULES, site.budgets.own), site, now_ms) == 0 and at_ms - int(tx.meta(SWEPT) or 0) < SWEEP_MS:
        return 0
    tx.set_meta(SWEPT, str(at_ms))
    everybody = waiting(tx)
    for each in everybody:
        if each.purse not in full and each.ready and judged < AT_ONCE:
            judged += 1
            if _judged(tx, each, site, now_ms) == (NO_ROOM,):
                full.add(each.purse)
    _tell_long(tx, [each for each in everybody if at_ms - each.since_ms >= DAY_MS], at_ms, now_ms)
    return judged


def _judged(tx: Tx, each: Waiting, site: Site, now_ms: int) -> tuple[str, ...]:
    """Everything is asked again; what is missing."""
    account = tx.account(each.account)
    if account is None or account.closed or not may_cut(account):
        no_longer_waits(tx, each.account)
        return ()
    missing = hold_open(tx, account, CutCause.ENERGY_DEBT, CREDIT, site, now_ms, called=True)
    if missing and missing != (NO_ROOM,):
        not_ready(tx, each)
    return missing


def _tell_long(tx: Tx, late: Sequence[Waiting], at_ms: int, now_ms: int) -> None:
    """A cut that waits for a day is a finding, until it is made or need not be."""
    known = {finding.subject for finding in tx.findings() if finding.kind is FindingKind.CUT_DEFERRED_LONG}
    for each in late:
        if each.account not in known and waits(tx, each.account):
            hours = (at_ms - each.since_ms) // HOUR_MS
            text = (
                f"the cut of {each.account} has waited {hours} h for its turn: the limiter's budget is too small, or much is wrong"
            )
            found(tx, FindingKind.CUT_DEFERRED_LONG, each.account, text, now_ms, account=each.account)
    for account in sorted(each for each in known if not waits(tx, each)):
        over(tx, FindingKind.CUT_DEFERRED_LONG, account, now_ms, account=account)


def _trips_calm(tx: Tx, site: Site, now_ms: int) -> None:
    many = site.budgets.many_trips
    if many is None or tx.finding(FindingKind.SAFETY_TRIPS_MANY, "gateway") is None:
        return
    count = len(tx.spent(Budget.SAFETY, None, steady_now(tx, site, now_ms) - many.span_ms))
    if count <= many.most(tx.switches()):
        over(tx, FindingKind.SAFETY_TRIPS_MANY, "gateway", now_ms)
