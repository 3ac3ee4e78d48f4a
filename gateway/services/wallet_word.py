"""What the meter that holds an account's money says of it: the balance that its credit state means (prepayment.md 1)."""

from __future__ import annotations

from gateway.domain import ledger
from gateway.domain.meters import Account, Authority, Meter
from gateway.domain.wallets import Act, Wallet
from gateway.services.ports import Tx


def wallet_of(tx: Tx, account: str) -> tuple[Meter, Wallet] | None:
    """The one meter of this account that has a wallet; None where there is none, or more than one."""
    found = [(meter, wallet) for meter in tx.meters_of(account) if (wallet := tx.wallet(meter.id)) is not None]
    return found[0] if len(found) == 1 else None


def told_micro(tx: Tx, account: str) -> int | None:
    """What the meter shows, and what is on its way into it; None while it was never read."""
    found = wallet_of(tx, account)
    if found is None or not found[1].known:
        return None
    meter, wallet = found
    coming = sum(delivery.micro for delivery in tx.open_deliveries(meter=meter.id) if delivery.act is Act.TOP_UP)
    return wallet.word_micro + coming


def held_micro(tx: Tx, account: Account) -> int:
    """All that is the customer's in our books: the balance; with the money in a meter also what is not delivered, or on its way."""
    own = tx.balance(ledger.customer(account.id), account.currency)
    if account.authority is Authority.GATEWAY:
        return own
    coming = sum(
        delivery.micro
        for meter in tx.meters_of(account.id)
        for delivery in tx.open_deliveries(meter=meter.id)
        if delivery.account == account.id
    )
    return own + tx.balance(ledger.undelivered(account.id), account.currency) + coming


def over_hoard(tx: Tx, account: Account, micro: int) -> int | None:
    """The most that the meter may hold, where so much more would not fit; None where it does, or nobody knows."""
    found = wallet_of(tx, account.id) if account.authority is Authority.METER else None
    limit = found[1].memory.hoarding_micro if found is not None else None
    told = told_micro(tx, account.id) if limit else None
    return limit if told is not None and limit is not None and told + micro > limit else None
