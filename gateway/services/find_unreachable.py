"""F1 frees nobody for ever: who may have used up the credit behind a meter that nobody can read is a field order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.agreements import moment
from gateway.domain.credit import DAY_MS, has_agreement, in_force
from gateway.domain.findings import FindingKind
from gateway.domain.meters import Account, Authority, Meter
from gateway.domain.price_bounds import highest_cost
from gateway.services.findings import found, over
from gateway.services.ports import Tx

UNREAD_MS = DAY_MS
"""How long somebody may be below the threshold without a confirmed reading before a person goes there (prepayment.md 5, F1)."""

HOUR_MS = 60 * 60 * 1000


def find_unreachable(tx: Tx, account: Account, now_ms: int) -> Account:
    """Open or close the finding of this account; gives it as it now is. Called for every account now and then, read or not."""
    meters = tx.meters_of(account.id)
    if account.standing.unreachable:
        account = read_again(tx, account, meters, now_ms)
    if account.standing.unreachable or not _concerned(account, meters, now_ms):
        return account
    account, since_ms = _since(tx, account, meters, now_ms)
    stale = [meter for meter in meters if now_ms - since_ms[meter.id] > UNREAD_MS]
    if not stale or not _below(tx, account, stale, since_ms, now_ms):
        return account
    names = ", ".join(f"meter {meter.id} (line {meter.line}, address {meter.address})" for meter in stale)
    text = (
        f"field order: read {names} on the spot. Account {account.id} has had no confirmed reading since "
        f"{moment(min(since_ms[meter.id] for meter in stale))} and may have used up its credit"
    )
    found(tx, FindingKind.UNREACHABLE_EXHAUSTED, account.id, text, now_ms, account=account.id)
    return _saved(tx, replace(account, standing=replace(account.standing, unreachable=True)))


def read_again(tx: Tx, account: Account, meters: Sequence[Meter], now_ms: int) -> Account:
    """Close the finding once every meter was read, or nothing hangs on it any more."""
    confirmed = [_confirmed_ms(tx, meter, now_ms) for meter in meters]
    read = all(at_ms is not None and now_ms - at_ms <= UNREAD_MS for at_ms in confirmed)
    if not read and _concerned(account, meters, now_ms):
        return account
    over(tx, FindingKind.UNREACHABLE_EXHAUSTED, account.id, now_ms, account=account.id)
    return _saved(tx, replace(account, standing=replace(account.standing, unreachable=False)))


def _concerned(account: Account, meters: Sequence[Meter], now_ms: int) -> bool:
    """Whether anybody would be cut for debt here: else nobody goes there for that."""
    if account.closed or account.never_cut or account.protected(now_ms) or account.authority is Authority.METER:
        return False
    return has_agreement(account) and any(meter.cuttable for meter in meters)


def _since(tx: Tx, account: Account, meters: Sequence[Meter], now_ms: int) -> tuple[Account, dict[str, int]]:
    """Since when each meter has had no confirmed reading; of one that never had any, since that was first seen."""
    confirmed = {meter.id: _confirmed_ms(tx, meter, now_ms) for meter in meters}
    never = any(at_ms is None for at_ms in confirmed.values())
    unread_ms = min(account.standing.unread_ms or now_ms, now_ms) if never else None
    if unread_ms != account.standing.unread_ms:
        account = _saved(tx, replace(account, standing=replace(account.standing, unread_ms=unread_ms)))
    return account, {ident: unread_ms or now_ms if at_ms is None else at_ms for ident, at_ms in confirmed.items()}


def _confirmed_ms(tx: Tx, meter: Meter, now_ms: int) -> int | None:
    """Also None for one that is dated ahead, by a clock that was set back since."""
    billing = tx.billing(meter.id)
    confirmed = None if billing is None else billing.confirmed
    return None if confirmed is None or confirmed.at_ms > now_ms else confirmed.at_ms


def _below(tx: Tx, account: Account, stale: Sequence[Meter], since_ms: dict[str, int], now_ms: int) -> bool:
    """Whether the lowest possible balance was below the threshold UNREAD_MS ago: as much as can flow, at the highest price."""
    if account.agreement is None:
        return bool(account.standing.overdue_micro)
    balance, tariff = tx.balance(ledger.customer(account.id), account.currency), tx.price_list(account.tariff)
    upto_ms = now_ms - UNREAD_MS
    for meter in stale:
        wh = -(-meter.max_power_w * max(upto_ms - since_ms[meter.id], 0) // HOUR_MS)
        if tariff is not None:
            balance -= highest_cost(tariff, wh, since_ms[meter.id], upto_ms)
    return balance <= in_force(account.policy, account.agreement).cut_micro


def _saved(tx: Tx, account: Account) -> Account:
    tx.save_account(account)
    return account
