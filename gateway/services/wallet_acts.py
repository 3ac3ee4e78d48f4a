"""What moves money in or beside a meter without a bank's word needs two people (prepayment.md 6): the meter's word is accepted, an
uncertain delivery is decided by who has looked elsewhere."""

from __future__ import annotations

import json

from gateway.domain.approvals import Approval, Decision
from gateway.domain.events import Json
from gateway.services.approve import Act, ask
from gateway.services.compare_wallet import accept_word, why_not_accepted
from gateway.services.delivery_acts import resolve, why_not_resolved
from gateway.services.ports import Site, Tx

ACCEPT, RESOLVE = "accept_wallet", "resolve_delivery"


def ask_accept(tx: Tx, ident: str, meter: str, reason: str, who: str, site: Site, now_ms: int) -> Decision:
    """Our books are to follow what this meter shows."""
    refused = why_not_accepted(tx, meter)
    if refused is not None:
        return Decision(None, refused)
    known = tx.meter(meter)
    return ask(tx, ident, ACCEPT, meter, {"reason": reason}, who, site, now_ms, account=known.account if known else None)


def ask_resolve(tx: Tx, ident: str, delivery: str, in_meter: bool, reason: str, who: str, site: Site, now_ms: int) -> Decision:
    """Somebody has found out elsewhere what became of an uncertain delivery."""
    refused, known = why_not_resolved(tx, delivery), tx.delivery(delivery)
    if refused is not None or known is None:
        return Decision(None, refused or f"delivery {delivery} is not known here")
    body: dict[str, Json] = {"in_meter": in_meter, "reason": reason}
    return ask(tx, ident, RESOLVE, delivery, body, who, site, now_ms, account=known.account)


def _accept(tx: Tx, approval: Approval, who: str, site: Site, now_ms: int) -> str | None:
    return accept_word(tx, approval.subject, f"{approval.asked_by}, {who}", json.loads(approval.body)["reason"], now_ms)


def _resolve(tx: Tx, approval: Approval, who: str, site: Site, now_ms: int) -> str | None:
    body = json.loads(approval.body)
    return resolve(tx, approval.subject, body["in_meter"], f"{approval.asked_by}, {who}", body["reason"], now_ms)


WALLET_ACTS = {ACCEPT: Act(_accept), RESOLVE: Act(_resolve)}
"""What is done once the second person says yes."""
