"""The notice ladder of an account: each rung told once, and whether it reached somebody (prepayment.md 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from gateway.domain.credit import LIT, CreditPolicy, CreditState, Step, due_steps, earliest_ms, told_of
from gateway.domain.meters import Account
from gateway.domain.slots import local_of
from gateway.domain.units import format_money
from gateway.services.notify import ladder_missing, tell
from gateway.services.ports import Site, Tx


def climb(
    tx: Tx, account: Account, policy: CreditPolicy, balance_micro: int, site: Site, now_ms: int, *, complete: bool
) -> Account:
    """The rungs that this state brings are told, once an episode; the ladder is complete when all that count reached somebody.

    complete: False for somebody exempt, whom these notices tell nothing about a cut.
    """
    told = dict(account.standing.told)
    due = list(due_steps(policy, account.credit, told))
    for step in due:
        tell_step(tx, account, policy, step, balance_micro, site, now_ms)
        told[step.name] = now_ms
    if due:
        account = replace(account, standing=replace(account.standing, told=told))
    if any(step.needed for step in due):
        account = replace(account, warned_ms=None)
    needed = tuple(step for step in policy.steps if step.needed and not step.last)
    if any(step.name not in told for step in needed):
        return account if account.warned_ms is None else replace(account, warned_ms=None)
    if complete and account.warned_ms is None and not lacking(tx, account, needed, now_ms):
        account = replace(account, warned_ms=now_ms)
    return account


def tell_step(tx: Tx, account: Account, policy: CreditPolicy, step: Step, balance_micro: int, site: Site, now_ms: int) -> None:
    """What it carries: the balance; of a notice of a cut the earliest moment too; of the cut itself nothing more."""
    values = {}
    if step.at is not CreditState.CUT:
        values = {"balance": format_money(balance_micro, account.currency), "currency": account.currency}
    if step.at is CreditState.EXHAUSTED:
        due_ms = now_ms + (step.before_ms if step.last else earliest_ms(policy))
        values["until"] = f"{local_of(due_ms, ZoneInfo(site.zone)):%Y-%m-%d %H:%M}"
    tell(tx, account, step.name, values, now_ms, step.channels)


def lacking(tx: Tx, account: Account, steps: Sequence[Step], now_ms: int) -> tuple[str, ...]:
    """What of these rungs, all of them told, has reached nobody since: those of exhaustion apart, which are told anew each time."""
    missing: tuple[str, ...] = ()
    told = told_of(account)
    for group in ([s for s in steps if s.at in LIT], [s for s in steps if s.at not in LIT]):
        if group:
            since_ms = min(told[step.name] for step in group)
            missing += ladder_missing(tx, account, group, since_ms, now_ms)
    return missing


def heard(tx: Tx, account: Account, steps: Sequence[Step], now_ms: int) -> bool:
    """Whether all last rungs that count were told since the cut was announced, and reached somebody."""
    since_ms, told = account.standing.announced_ms, account.standing.told
    needed = [step for step in steps if step.last and step.needed]
    if since_ms is None or any(told.get(step.name, -1) < since_ms for step in needed):
        return False
    return not ladder_missing(tx, account, needed, since_ms, now_ms)
