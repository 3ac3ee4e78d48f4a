"""What a bank sees of an account before it takes money for it (contract.md 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.domain import ledger
from gateway.domain.bank_acts import Accepted
from gateway.domain.meters import Account, Contact, Meter
from gateway.domain.units import DECIMALS, format_money
from gateway.services.ports import Tx


@dataclass(frozen=True, slots=True)
class BankAccountView:
    """Holder masked, balance truncated toward zero, supply as read back, lowest and highest top-up accepted now, debts by kind."""

    account: str
    holder: str
    balance: str
    currency: str
    supply: str
    lowest: str
    highest: str
    debts: dict[str, str]
    accepts_payment: bool


Accepting = Callable[[Tx, Account], Accepted]
"""What an account takes now (services/accepted_now)."""


def account_view(
    tx: Tx, account_id: str, most_balance_micro: int, masked: Callable[[str], str], accepting: Accepting | None = None
) -> BankAccountView | None:
    """The account as a bank sees it, or None when it is not known. Without `accepting` only what no account may pass binds."""
    account = tx.account(account_id)
    if account is None:
        return None
    currency = account.currency
    now = accepting(tx, account) if accepting is not None else _unlimited(tx, account, most_balance_micro)
    return BankAccountView(
        account=account.id,
        holder=masked(account.holder),
        balance=format_money(now.balance_micro, currency),
        currency=currency,
        supply=supply_state(tx.meters_of(account.id)).value,
        lowest=format_money(now.lowest_micro, currency),
        highest=format_money(now.highest_micro, currency),
        debts={kind: format_money(micro, currency) for kind, micro in now.debts_micro.items()},
        accepts_payment=now.taken,
    )


def _unlimited(tx: Tx, account: Account, most_balance_micro: int) -> Accepted:
    balance = tx.balance(ledger.customer(account.id), account.currency)
    lowest, highest = 10 ** (6 - DECIMALS[account.currency]), max(0, most_balance_micro - max(0, balance))
    return Accepted(balance, lowest, highest, {}, not account.closed and highest >= lowest)


_WORST_FIRST = (Contact.OPEN, Contact.ALLOWED, Contact.UNKNOWN)


def supply_state(meters: Iterable[Meter]) -> Contact:
    """The worst position among the switches that the account's cut reaches; closed when there is nothing to cut."""
    seen = {meter.observed for meter in meters if meter.cuttable}
    return next((contact for contact in _WORST_FIRST if contact in seen), Contact.CLOSED)
