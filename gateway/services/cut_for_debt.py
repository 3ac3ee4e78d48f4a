"""A cut for lack of credit: announced, ordered when it is due, reminded of once where that is agreed (prepayment.md 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.credit import LIT, REMINDING_MS, CreditPolicy, CreditState, Standing, as_announced, due_last, expired
from gateway.domain.events import EventKind
from gateway.domain.meters import Account, Authority, Contact, Meter
from gateway.domain.supply import CommandState, CutCause, Verb, missing_for_cut
from gateway.services import announce
from gateway.services.climb_ladder import heard, tell_step
from gateway.services.ports import Site, Tx
from gateway.services.switching import CREDIT, circumstances, hold_open, last_sent, lift


def reminds(account: Account, policy: CreditPolicy, exempt: bool) -> bool:
    """Whether the one reminding cut of the episode is due or under way: with credit left, and by agreement only."""
    if account.credit is not CreditState.VERY_LOW or exempt or not policy.reminding or account.agreement is None:
        return False
    return account.standing.reminding or account.standing.reminded_ms is None


def hold(
    tx: Tx, account: Account, policy: CreditPolicy, meters: Sequence[Meter], exempt: bool, site: Site, now_ms: int
) -> tuple[Account, Sequence[Meter]]:
    """Order the cut where it is not ordered yet, or say what it is missing."""
    if account.authority is Authority.METER:  # its own wallet cuts; never both (prepayment.md 1)
        return account, meters
    if account.credit in LIT:
        return _remind(tx, account, policy, meters, site, now_ms)
    if not any(meter.cuttable and CREDIT not in meter.cut_reasons for meter in meters):
        return account, meters
    account = _cut(tx, account, policy, exempt, site, now_ms)
    return account, tx.meters_of(account.id)


def _cut(tx: Tx, account: Account, policy: CreditPolicy, exempt: bool, site: Site, now_ms: int) -> Account:
    """Announce the cut where nothing else is missing, and order it when that has stood long enough."""
    if policy.announces and not exempt and account.credit is not CreditState.CUT:
        account = _announced(tx, account, policy, site, now_ms)
    hold_open(tx, account, CutCause.ENERGY_DEBT, CREDIT, site, now_ms)
    return account


def _announced(tx: Tx, account: Account, policy: CreditPolicy, site: Site, now_ms: int) -> Account:
    """Begin the announcement of a cut, or go on with it: its last rungs, and whether they were heard."""
    standing = account.standing
    if expired(policy, standing, now_ms):
        as_if = replace(account, standing=as_announced(policy, standing, now_ms))
        if missing_for_cut(CutCause.ENERGY_DEBT, as_if, circumstances(tx, as_if, site, now_ms)):
            return account
        standing = replace(standing, announced_ms=now_ms, heard=False)
        announce.event(tx, EventKind.CUT_ANNOUNCED, now_ms, account=account.id, due_ms=now_ms + policy.last_ms)
    told = dict(standing.told)
    balance = tx.balance(ledger.customer(account.id), account.currency)
    for step in due_last(policy, standing, now_ms):
        tell_step(tx, account, policy, step, balance, site, now_ms)
        told[step.name] = now_ms
    announced = replace(account, standing=replace(standing, told=told))
    if not standing.heard and heard(tx, announced, policy.steps, now_ms):
        announced = replace(announced, standing=replace(announced.standing, heard=True))
    return with_standing(tx, account, announced.standing)


def _remind(
    tx: Tx, account: Account, policy: CreditPolicy, meters: Sequence[Meter], site: Site, now_ms: int
) -> tuple[Account, Sequence[Meter]]:
    """One cut that the customer agreed on: it ends as soon as it was seen, and the button brings the light back."""
    standing = account.standing
    if standing.reminding:
        if not all_open(tx, meters) and now_ms - (standing.reminded_ms or 0) < REMINDING_MS:
            return account, meters
        account = with_standing(tx, account, replace(standing, reminding=False))
        lift(tx, account, CutCause.ENERGY_DEBT, site, now_ms)
        return account, tx.meters_of(account.id)
    if not any(meter.cuttable for meter in meters):
        return account, meters
    wanted = with_standing(tx, account, replace(standing, reminding=True, reminded_ms=now_ms))
    wanted = _cut(tx, wanted, policy, False, site, now_ms)
    after = tx.meters_of(account.id)
    if any(CREDIT in meter.cut_reasons for meter in after):
        return wanted, after
    return with_standing(tx, wanted, replace(wanted.standing, reminding=False, reminded_ms=None)), after


def all_open(tx: Tx, meters: Sequence[Meter]) -> bool:
    """Whether every meter that the cut reaches was cut for debt and proved open."""
    cuttable = [meter for meter in meters if meter.cuttable]
    return bool(cuttable) and all(CREDIT in m.cut_reasons and m.observed is Contact.OPEN and _proved(tx, m) for m in cuttable)


def _proved(tx: Tx, meter: Meter) -> bool:
    """A relay that is open by its bit alone may be welded: only a verified cut counts."""
    last = last_sent(tx, meter.id)
    return last is not None and (last.verb, last.state) == (Verb.CUT, CommandState.VERIFIED)


def with_standing(tx: Tx, account: Account, standing: Standing) -> Account:
    """The account that remembers this, saved if it is another one."""
    if standing == account.standing:
        return account
    changed = replace(account, standing=standing)
    tx.save_account(changed)
    return changed
