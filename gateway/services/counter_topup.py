"""Money that a person took at the counter, under the number of its receipt (contract.md 2)."""

from __future__ import annotations

from gateway.domain.requests import TopUp
from gateway.domain.units import format_money
from gateway.services.apply_topup import apply_topup
from gateway.services.ports import Site, TopUpOutcome, TopUpVerdict, Tx


def counter_topup(tx: Tx, topup: TopUp, who: str, site: Site, now_ms: int) -> TopUpOutcome:
    """`apply_topup`, with who took the money in the audit log. who: as it names people."""
    outcome = apply_topup(tx, topup, site, now_ms)
    if outcome.verdict is TopUpVerdict.POSTED:
        amount = format_money(topup.amount_micro, topup.currency)
        said = {"receipt": topup.identity.serial, "amount": amount, "currency": topup.currency}
        tx.add_audit(now_ms, who, "counter_topup", topup.account, said)
    return outcome
