"""Judge an account's money: warn, lend, announce, cut, and give supply back, as its policy says."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.domain import ledger
from gateway.domain.credit import (
    LIT,
    CreditEvent,
    CreditPolicy,
    CreditState,
    Standing,
    follow,
    in_force,
    needless,
    next_state,
)
from gateway.domain.events import EventKind
from gateway.domain.meters import Account, Authority, Contact, Meter, SwitchKind
from gateway.domain.supply import FRESH_MS, CommandState, CutCause, Verb
from gateway.domain.units import format_money
from gateway.services import announce
from gateway.services.best_balance import lent_to
from gateway.services.climb_ladder import climb
from gateway.services.cut_for_debt import all_open, hold, reminds, with_standing
from gateway.services.find_unreachable import read_again
from gateway.services.lend_credit import BY_ITSELF, lend, may_lend, take_rest
from gateway.services.notify import tell, withdraw
from gateway.services.overdue import overdue
from gateway.services.ports import Site, Tx
from gateway.services.switching import CREDIT, bring, cause_of, lift, tell_held
from gateway.services.wallet_word import told_micro

OVERDUE_LOOK_MS = 60 * 60 * 1000
"""How often somebody without an agreement who owes is looked through for overdue bills: they age by days."""

RESTORED = "restored"
"""The notice that supply is back."""


@dataclass(frozen=True, slots=True)
class _Purse:
    """Micro-units: spendable, and how much of it is lent."""

    balance: int
    lent: int = 0


def judge_account(tx: Tx, account_id: str, site: Site, now_ms: int) -> Account:
    """Bring the credit state, the notices and the switches of an account in line with its balance. Gives the account as it now is.

    Debt cuts only with every part of a permission (gateway.domain.supply.missing_for_cut); a balance that returns lifts whatever
    debt put on the meters, whoever ordered it. Called after everything that moves money, evidence or a switch.
    """
    account = _account(tx, account_id)
    if account.closed:
        return account
    policy = in_force(account.policy, account.agreement)
    exempt = account.never_cut or account.protected(now_ms)
    purse = _Purse(_spendable(tx, account))
    lends = bool(policy.emergency_micro) and purse.balance <= policy.emergency_at_micro
    lends = lends or account.standing.lent or account.standing.offered_ms is not None
    if lends and account.authority is Authority.GATEWAY:
        account, purse = _emergency(tx, account, policy, purse, now_ms)
    account = _moved(tx, account, policy, purse, exempt, site, now_ms)
    meters = tx.meters_of(account.id)
    free = exempt or (account.credit in LIT and not account.standing.reminding)
    if free and any(cause_of(reason) == CutCause.ENERGY_DEBT for meter in meters for reason in meter.cut_reasons):
        lift(tx, account, CutCause.ENERGY_DEBT, site, now_ms)
        meters = tx.meters_of(account.id)
    if account.standing.unreachable:
        account = read_again(tx, account, meters, now_ms)
    if account.credit not in LIT or reminds(account, policy, exempt):
        account, meters = hold(tx, account, policy, meters, exempt, site, now_ms)
    for meter in meters:
        if meter.switch is not SwitchKind.NONE and (meter.cut_reasons or meter.observed is not Contact.CLOSED):
            bring(tx, meter.id, site, now_ms)
    return _cut_seen(tx, account, policy, purse, site, now_ms)


def _spendable(tx: Tx, account: Account) -> int:
    """Micro-units: what our ledger says, or the meter that holds the money (prepayment.md 1)."""
    told = told_micro(tx, account.id) if account.authority is Authority.METER else None
    return tx.balance(ledger.customer(account.id), account.currency) if told is None else told


def wants_confirmation(tx: Tx, meter_id: str, now_ms: int) -> bool:
    """Whether an extra read of this meter is spent (prepayment.md 7): once at a suspect; or before a cut: out of credit, not cut,
    and the newest reading only waits to be confirmed, so that the evidence is too old (F1)."""
    meter, billing = tx.meter(meter_id), tx.billing(meter_id)
    if billing is not None and billing.suspects == 1:
        return True
    account = tx.account(meter.account) if meter is not None and meter.account is not None else None
    if account is None or billing is None or billing.candidate is None:
        return False
    if account.credit is not CreditState.EXHAUSTED and not reminds(account, account.policy, account.never_cut):
        return False
    return billing.confirmed is None or now_ms - billing.confirmed.at_ms > FRESH_MS


def _account(tx: Tx, account_id: str) -> Account:
    account = tx.account(account_id)
    if account is None:
        raise LookupError(f"account {account_id} is not in the archive")
    return account


# The state


def _emergency(tx: Tx, account: Account, policy: CreditPolicy, purse: _Purse, now_ms: int) -> tuple[Account, _Purse]:
    """What is lent; lend where nobody has to ask; or say once that it may be asked for."""
    standing, lent = account.standing, lent_to(tx, account) if account.standing.lent else 0
    if needless(policy, purse.balance, lent):
        take_rest(tx, account, lent, now_ms)
        purse, lent = _Purse(purse.balance - lent), 0
    if not lent and standing.lent and purse.balance > policy.emergency_at_micro:
        standing = replace(standing, lent=False)
    account = with_standing(tx, account, standing)
    offered = may_lend(account, lent, purse.balance)
    if offered and policy.emergency_auto:
        lent = lend(tx, account, BY_ITSELF, now_ms)
        return with_standing(tx, account, replace(standing, lent=True, offered_ms=None)), _Purse(purse.balance + lent, lent)
    if offered and standing.offered_ms is None:
        amount = format_money(policy.emergency_micro, account.currency)
        announce.event(tx, EventKind.EMERGENCY_OFFERED, now_ms, account=account.id, amount=amount, currency=account.currency)
    account = with_standing(tx, account, replace(standing, offered_ms=(standing.offered_ms or now_ms) if offered else None))
    return account, _Purse(purse.balance, lent)


def _moved(
    tx: Tx,
    account: Account,
    policy: CreditPolicy,
    purse: _Purse,
    exempt: bool,
    site: Site,
    now_ms: int,
    happened: CreditEvent | None = None,
) -> Account:
    """The state after what happened (by default what the balance means), what is remembered of it, and the notices it brings."""
    state, standing = account.credit, account.standing
    if happened is None:
        if exempt:  # once lit without paying, a house is cut again only when its credit is gone, not below the amount for closing
            state = next_state(state, CreditEvent.CUT_LIFTED)
        happened, standing = _event(tx, account, policy, purse, state, site, now_ms)
    state = next_state(state, happened)
    spared = exempt and state not in LIT
    warned_ms = account.warned_ms
    if state is CreditState.NORMAL or spared or standing.spared or standing.episode_ms is None:
        warned_ms = None  # after protection, and of a time before there were ladders, only a new notice leads to a cut
    standing = follow(standing, state, policy, now_ms, exempt=exempt)
    if state is account.credit is CreditState.NORMAL and standing is account.standing and warned_ms is account.warned_ms:
        return account
    moved = replace(account, credit=state, standing=standing, warned_ms=warned_ms)
    if state is CreditState.NORMAL and account.credit is not state:
        withdraw(tx, account, now_ms)
    if state is not CreditState.NORMAL:
        moved = climb(tx, moved, policy, purse.balance, site, now_ms, complete=not spared)
    if moved != account:
        tx.save_account(moved)
    if state is not account.credit:
        _tell_state(tx, account, moved, policy, now_ms)
    return moved


def _tell_state(tx: Tx, before: Account, account: Account, policy: CreditPolicy, now_ms: int) -> None:
    """What a change of state is to the outside."""
    if account.credit is CreditState.EXHAUSTED and before.credit in LIT:
        announce.event(tx, EventKind.BALANCE_EXHAUSTED, now_ms, account=account.id)
    elif account.credit in LIT and before.credit not in LIT:
        tell_held(tx, account, CutCause.ENERGY_DEBT, (), now_ms)
    if account.credit in LIT and before.credit is CreditState.CUT:
        for step in policy.steps:
            if step.at is CreditState.CUT:  # whoever is told of the cut is told of its end
                tell(tx, account, RESTORED, {}, now_ms, step.channels)
    announce.balance(tx, account, now_ms)


def _event(
    tx: Tx, account: Account, policy: CreditPolicy, purse: _Purse, state: CreditState, site: Site, now_ms: int
) -> tuple[CreditEvent, Standing]:
    """What the balance means, and what was found on the way."""
    standing = account.standing
    if policy is not account.policy and account.policy.postpaid is not None:
        fresh = standing.looked_ms is not None and 0 <= now_ms - standing.looked_ms < OVERDUE_LOOK_MS
        if purse.balance >= 0:
            standing = replace(standing, overdue_micro=0, looked_ms=None)
        elif state not in LIT or not fresh:
            late = overdue(tx, account, account.policy.postpaid, site.zone, now_ms)
            standing = replace(standing, overdue_micro=late, looked_ms=now_ms)
        return (CreditEvent.BALANCE_OUT if standing.overdue_micro else CreditEvent.BALANCE_OK), standing
    cut = state is CreditState.CUT
    if state is CreditState.EXHAUSTED and policy.cut_micro < purse.balance and not policy.closes(purse.balance):
        cut = any(_told_only(tx, meter) for meter in tx.meters_of(account.id))
    return policy.event(purse.balance, purse.lent, cut=cut), standing


def _told_only(tx: Tx, meter: Meter) -> bool:
    """Whether this meter was cut by a switch that never shows where it stands: it is held to the closing amount all the same."""
    last = tx.last_command(meter.id) if CREDIT in meter.cut_reasons else None
    return last is not None and (last.verb, last.state) == (Verb.CUT, CommandState.COMMAND_ONLY)


def _cut_seen(tx: Tx, account: Account, policy: CreditPolicy, purse: _Purse, site: Site, now_ms: int) -> Account:
    """When every meter that the cut reaches stands open by a verified cut, and for lack of credit, the account is cut."""
    if account.credit is not CreditState.EXHAUSTED or not all_open(tx, tx.meters_of(account.id)):
        return account
    return _moved(tx, account, policy, purse, False, site, now_ms, CreditEvent.CUT_SEEN)
