"""Judge an account's money: warn, exhaust, cut, and give supply back, as its policy says."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.credit import CreditEvent, CreditState, next_state
from gateway.domain.events import EventKind
from gateway.domain.meters import Account, Contact, Meter, SwitchKind
from gateway.domain.supply import FRESH_MS, CommandState, CutCause, Verb
from gateway.domain.units import format_money
from gateway.services import announce
from gateway.services.ports import Site, Tx
from gateway.services.switching import CREDIT, bring, hold_open, lift, tell_held

_LIT = frozenset({CreditState.NORMAL, CreditState.LOW})


def judge_account(tx: Tx, account_id: str, site: Site, now_ms: int) -> Account:
    """Bring the credit state, the notices and the switches of an account in line with its balance. Gives the account as it now is.

    Debt cuts only with every part of a permission (gateway.domain.supply.missing_for_cut); a balance that returns lifts whatever
    debt put on the meters, whoever ordered it. Called after everything that moves money, evidence or a switch.
    """
    account = _account(tx, account_id)
    exempt = account.never_cut or account.protected(now_ms)
    if exempt:  # once lit without paying, a house is cut again only when its credit is gone, not below the amount for closing
        account = _moved(tx, account, CreditEvent.CUT_LIFTED, now_ms)
    balance = tx.balance(ledger.customer(account.id), account.currency)
    account = _moved(tx, account, account.policy.event(balance), now_ms)
    if exempt or account.credit in _LIT:
        lift(tx, account, CutCause.ENERGY_DEBT, site, now_ms)
    if account.credit not in _LIT:
        _hold(tx, account, site, now_ms)
    for meter in tx.meters_of(account.id):
        if meter.switch is not SwitchKind.NONE and (meter.cut_reasons or meter.observed is not Contact.CLOSED):
            bring(tx, meter.id, site, now_ms)
    return _cut_seen(tx, account, now_ms)


def wants_confirmation(tx: Tx, meter_id: str, now_ms: int) -> bool:
    """Whether an extra read of this meter is spent (prepayment.md 7): once at a suspect; or before a cut: out of credit, not cut,
    and the newest reading only waits to be confirmed, so that the evidence is too old (F1)."""
    meter, billing = tx.meter(meter_id), tx.billing(meter_id)
    if billing is not None and billing.suspects == 1:
        return True
    account = tx.account(meter.account) if meter is not None and meter.account is not None else None
    if account is None or billing is None or billing.candidate is None or account.credit is not CreditState.EXHAUSTED:
        return False
    return billing.confirmed is None or now_ms - billing.confirmed.at_ms > FRESH_MS


def _account(tx: Tx, account_id: str) -> Account:
    account = tx.account(account_id)
    if account is None:
        raise LookupError(f"account {account_id} is not in the archive")
    return account


def _hold(tx: Tx, account: Account, site: Site, now_ms: int) -> None:
    """Exhausted: order the cut where it is not ordered yet, or say what it is missing."""
    if any(meter.cuttable and CREDIT not in meter.cut_reasons for meter in tx.meters_of(account.id)):
        hold_open(tx, account, CutCause.ENERGY_DEBT, CREDIT, site, now_ms)


def _cut_seen(tx: Tx, account: Account, now_ms: int) -> Account:
    """When every meter that the cut reaches stands open by a verified cut, and for lack of credit, the account is cut."""
    if account.credit is not CreditState.EXHAUSTED:
        return account
    cuttable = [meter for meter in tx.meters_of(account.id) if meter.cuttable]
    open_ = [m for m in cuttable if CREDIT in m.cut_reasons and m.observed is Contact.OPEN and _proved(tx, m)]
    return _moved(tx, account, CreditEvent.CUT_SEEN, now_ms) if cuttable and len(open_) == len(cuttable) else account


def _proved(tx: Tx, meter: Meter) -> bool:
    """A relay that is open by its bit alone may be welded: only a verified cut counts."""
    last = tx.last_command(meter.id)
    return last is not None and (last.verb, last.state) == (Verb.CUT, CommandState.VERIFIED)


def _moved(tx: Tx, account: Account, happened: CreditEvent, now_ms: int) -> Account:
    state = next_state(account.credit, happened)
    warned_ms = account.warned_ms
    if state is CreditState.NORMAL or (state not in _LIT and account.protected(now_ms)):
        warned_ms = None  # after protection only a new notice leads to a cut (prepayment.md 4)
    elif warned_ms is None:
        warned_ms = now_ms
        _warn(tx, account, now_ms)
    if (state, warned_ms) == (account.credit, account.warned_ms):
        return account
    moved = replace(account, credit=state, warned_ms=warned_ms)
    tx.save_account(moved)
    if state is not account.credit:
        if state is CreditState.EXHAUSTED and account.credit in _LIT:
            announce.event(tx, EventKind.BALANCE_EXHAUSTED, now_ms, account=account.id)
        elif state in _LIT and account.credit not in _LIT:
            tell_held(tx, account, CutCause.ENERGY_DEBT, (), now_ms)
        announce.balance(tx, moved, now_ms)
    return moved


def _warn(tx: Tx, account: Account, now_ms: int) -> None:
    """The notice ladder in this first form: one entry in the log and on the uplink."""
    balance = format_money(tx.balance(ledger.customer(account.id), account.currency), account.currency)
    announce.event(
        tx, EventKind.LOW_BALANCE_WARNED, now_ms, account=account.id, balance=balance, currency=account.currency, channel="log"
    )
