"""A signed payment: its nonce is used up in the transaction that posts it, and may repeat only what is stored (contract.md 3)."""

from __future__ import annotations

from collections.abc import Callable

from gateway.domain.nonces import Claim
from gateway.domain.requests import TopUp
from gateway.services.apply_topup import apply_topup
from gateway.services.ports import Foreseen, Site, TopUpOutcome, Tx
from gateway.services.seal_receipt import with_seal
from gateway.services.spend_nonce import once


def take_topup(tx: Tx, topup: TopUp, claim: Claim | None, site: Site, now_ms: int) -> TopUpOutcome:
    """`apply_topup` under a nonce. NonceUsed where it was used and what is asked is not stored already; binds nothing then."""

    def known() -> bool:
        payment = tx.payment(topup.identity)
        if payment is None or payment.entry is None:  # a refusal and a tombstone stand whatever comes
            return payment is not None
        content = payment.account, payment.amount_micro, payment.currency
        return content == (topup.account, topup.amount_micro, topup.currency)

    return with_seal(tx, once(tx, claim, now_ms, known, lambda: apply_topup(tx, topup, site, now_ms)), site)


def taking(topup: TopUp, claim: Claim | None, site: Callable[[], Site], now_ms: Callable[[], int]) -> Foreseen[TopUpOutcome]:
    """`take_topup` as a use case for the store, at the site and the time of when it runs."""
    return Foreseen(lambda tx: take_topup(tx, topup, claim, site(), now_ms()), topup.identity, claim)
