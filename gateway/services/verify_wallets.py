"""No money can be spent in two places: meters' wallets beside the ledger (prepayment.md, "What we decided" 8)."""

from __future__ import annotations

from gateway.domain.meters import Authority
from gateway.domain.transfers import TransferState
from gateway.domain.wallets import Delivery, DeliveryState
from gateway.services.compare_wallet import both_spendable
from gateway.services.ports import Tx

PAGE = 1_000_000
"""Deliveries looked at in one go: a thousand meters bring as many in fifty years of a top-up a fortnight."""

_AS_SENT = frozenset({TransferState.UNCERTAIN})
_AGREE = {
    DeliveryState.QUEUED: frozenset({TransferState.PENDING, TransferState.UNCERTAIN}),
    DeliveryState.SENT: _AS_SENT,
    DeliveryState.UNCERTAIN: _AS_SENT,
    DeliveryState.IN_METER: frozenset({TransferState.POSTED}),
    DeliveryState.RETURNED: frozenset({TransferState.VOIDED}),
}
"""What the ledger's leg of a delivery may be. What was sent once is never pending again: no time-out gives its money back."""


def verify_wallets(tx: Tx) -> str | None:
    """The first thing wrong, in one sentence; None when all holds."""
    bought: set[tuple[str, int, int | None]] = set()
    for delivery in tx.deliveries(PAGE):
        finding = _delivery(tx, delivery)
        key = (delivery.meter, delivery.epoch, delivery.count)
        if finding is None and delivery.state is DeliveryState.IN_METER and delivery.act == "top_up":
            if key in bought:
                finding = f"purchase count {delivery.count} of meter {delivery.meter} is two deliveries"
            bought.add(key)
        if finding is not None:
            return finding
    for wallet in tx.wallets():
        meter = tx.meter(wallet.meter)
        account = tx.account(meter.account) if meter is not None and meter.account is not None else None
        if account is not None and not wallet.memory.strange and (both := both_spendable(wallet, account)) is not None:
            return both
    for account in tx.accounts():
        if account.authority is Authority.METER and not account.closed:
            holding = [meter.id for meter in tx.meters_of(account.id) if tx.wallet(meter.id) is not None]
            if len(holding) > 1:
                return f"the money of account {account.id} could be in {' and in '.join(holding)}"
    return None


def _delivery(tx: Tx, delivery: Delivery) -> str | None:
    """A delivery and its transfer must tell the same, and one that is open must be to whom holds the money."""
    moved, account = tx.transfer(delivery.id), tx.account(delivery.account)
    if moved is None or (moved.micro, moved.currency, moved.account) != (delivery.micro, delivery.currency, delivery.account):
        return f"delivery {delivery.id} and the ledger do not agree on what it moves"
    if moved.state not in _AGREE[delivery.state]:
        return f"delivery {delivery.id} is {delivery.state.value}, but its money is {moved.state.value}"
    if delivery.open and (account is None or account.authority is Authority.GATEWAY):
        return f"delivery {delivery.id} is on its way to a meter, but the gateway holds the money of account {delivery.account}"
    return None
