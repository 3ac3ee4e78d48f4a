"""A signed reversal: its nonce is used up in the transaction that decides it, and repeats only what is stored (contract.md 3)."""

from __future__ import annotations

from gateway.domain.bank_acts import Reversal, ReversalOutcome
from gateway.domain.nonces import Claim
from gateway.services.ports import Site, Tx
from gateway.services.reverse_topup import reverse_topup
from gateway.services.seal_receipt import with_seal
from gateway.services.spend_nonce import once


def take_reversal(tx: Tx, reversal: Reversal, claim: Claim | None, site: Site, now_ms: int) -> ReversalOutcome:
    """`reverse_topup` under a nonce. NonceUsed where it was used and what is asked is not stored already; binds nothing then."""

    def known() -> bool:
        payment = tx.payment(reversal.identity)
        if payment is None or payment.status == "refused":
            return payment is not None
        asked = (payment.amount_micro, payment.currency) == (reversal.amount_micro, reversal.currency)
        return asked and tx.bank_reversal(reversal.identity) is not None

    return with_seal(tx, once(tx, claim, now_ms, known, lambda: reverse_topup(tx, reversal, site, now_ms)), site)
