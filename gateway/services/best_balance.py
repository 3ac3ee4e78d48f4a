"""The balance of an account as the customer could still claim it to be: what a cut for debt is judged by (prepayment.md 3)."""

from __future__ import annotations

from gateway.domain import ledger
from gateway.domain.credit import in_force
from gateway.domain.meters import Account
from gateway.domain.price_bounds import most_back, open_portions
from gateway.services.charge_energy import uses_of
from gateway.services.ports import Tx

UNDER_WAY = "money is under way to this account"
OPEN_SPLIT = "at the price most favourable to the customer there is credit left"


def still_credit(tx: Tx, account: Account) -> tuple[str, ...]:
    """Why this account, exhausted by its posted balance, may not be so; nothing where it is, however the open ends come out.

    Open ends: transfers and vouchers under way, and energy that was shared out over a change of price.
    """
    overdue = account.standing.overdue_micro
    if overdue:
        lacks = overdue - 1
    else:
        lacks = in_force(account.policy, account.agreement).cut_micro - tx.balance(ledger.customer(account.id), account.currency)
        if lacks < 0:
            return ()
    coming = under_way(tx, account)
    if coming > lacks:
        return (UNDER_WAY,)
    return (OPEN_SPLIT,) if coming + shared_out(tx, account) > lacks else ()


def under_way(tx: Tx, account: Account) -> int:
    """Micro-units that are not in the balance and will be the customer's unless they fail: what only leaves for a bank is not."""
    transfers = tx.open_transfers(account.id)
    return sum(each.micro for each in transfers if not each.target.startswith("bank:") and each.currency == account.currency)


def shared_out(tx: Tx, account: Account) -> int:
    """The most that late readings could still give back, in micro-units."""
    estimates = [each for meter in tx.meters_of(account.id) for each in tx.open_estimates(meter.id) if each.account == account.id]
    back = 0
    for ident in dict.fromkeys(each.tariff for each in estimates):
        tariff = tx.price_list(ident)
        if tariff is not None:
            shared = open_portions(tariff, [each for each in estimates if each.tariff == ident])
            back += most_back(tariff, account.terms_for(ident), uses_of(tx, account, tariff, shared), shared)
    return back


def lent_to(tx: Tx, account: Account) -> int:
    """Emergency credit that the account has and has not given back, in micro-units."""
    return -tx.balance(ledger.emergency(account.id), account.currency)
