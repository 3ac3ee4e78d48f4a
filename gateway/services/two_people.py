"""The acts that need two people, in one table (prepayment.md 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.approvals import RELEASE, Approval, Decision
from gateway.domain.bank_terms import COUNTER
from gateway.domain.events import Json
from gateway.domain.requests import PaymentIdentity, SupplyOrder, TopUp
from gateway.domain.supply import Verb
from gateway.services.acts import APPROVED, LIFE
from gateway.services.apply_topup import apply_topup
from gateway.services.approve import Act, ask
from gateway.services.order_supply import order_supply
from gateway.services.ports import Site, TopUpVerdict, Tx
from gateway.services.protect_account import LIFT_NEVER_CUT, LIFTING_NEVER_CUT, UNPROTECT, UNPROTECTING
from gateway.services.quarantine import RELEASING
from gateway.services.refund_payment import REFUND, REFUNDING
from gateway.services.resolve_difference import RESOLVE, RESOLVING
from gateway.services.set_limit import SET_LIMIT, SETTING_LIMIT
from gateway.services.uplink_keys import ADD_KEY, ADDING_KEY
from gateway.services.wallet_acts import WALLET_ACTS

BATCH, CREDIT, PLAN = "cut_batch", "credit", "plan"

BATCH_MOST = 10
"""More cuts than this in one order need a second person (prepayment.md 6)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """Several cuts as one order. facts: what their cause needs; lives_ms: how long each order lives once it is given."""

    id: str
    meters: tuple[str, ...]
    cause: str
    facts: Mapping[str, str]
    reason: str
    lives_ms: int


def ask_batch(tx: Tx, batch: BatchOrder, who: str, site: Site, now_ms: int) -> dict[str, str] | Decision:
    """Up to BATCH_MOST are ordered at once: why not, by meter. More wait for a second person."""
    if len(batch.meters) <= BATCH_MOST:
        return _order(tx, batch, who, "", site, now_ms)
    body: dict[str, Json] = {
        "meters": list(batch.meters), "cause": batch.cause, "facts": dict(batch.facts), "reason": batch.reason,
        "lives_ms": batch.lives_ms,
    }  # fmt: skip
    return ask(tx, batch.id, BATCH, "gateway", body, who, site, now_ms)


def _order(tx: Tx, batch: BatchOrder, who: str, second: str, site: Site, now_ms: int) -> dict[str, str]:
    refused = {}
    for number, meter in enumerate(batch.meters, 1):
        ident, expires_ms = f"{batch.id[:48]}-{number}", now_ms + batch.lives_ms
        order = SupplyOrder(
            ident, meter, Verb.CUT, batch.cause, "operator", expires_ms, who, second, False, batch.facts, batch.reason
        )
        answer = order_supply(tx, order, site, now_ms)
        if answer.refused is not None:
            refused[meter] = answer.refused
    return refused


def _batch(tx: Tx, approval: Approval, who: str, site: Site, now_ms: int) -> str | None:
    body = json.loads(approval.body)
    batch = BatchOrder(approval.id, tuple(body["meters"]), body["cause"], body["facts"], body["reason"], body["lives_ms"])
    refused = _order(tx, batch, approval.asked_by, who, site, now_ms)
    return f"none of them can be cut: {next(iter(refused.values()))}" if len(refused) == len(batch.meters) else None


def _credit(tx: Tx, approval: Approval, who: str, site: Site, now_ms: int) -> str | None:
    body = json.loads(approval.body)
    paid_at = _EPOCH + timedelta(milliseconds=now_ms)
    today = paid_at.astimezone(ZoneInfo(site.zone)).date()
    identity = PaymentIdentity(COUNTER, "", "", approval.id)
    paid = TopUp(identity, approval.subject, body["micro"], body["currency"], paid_at, today, today, "two_people")
    outcome = apply_topup(tx, paid, site, now_ms)
    done = outcome.verdict in (TopUpVerdict.POSTED, TopUpVerdict.REPEATED)
    return None if done else outcome.payment.detail or "it is refused"


ACTS: Mapping[str, Act] = {
    RELEASE: RELEASING,
    UNPROTECT: UNPROTECTING,
    LIFT_NEVER_CUT: LIFTING_NEVER_CUT,
    BATCH: Act(_batch),
    CREDIT: Act(_credit),
    SET_LIMIT: SETTING_LIMIT,
    **WALLET_ACTS,
    REFUND: REFUNDING,
    RESOLVE: RESOLVING,
    LIFE: APPROVED,
    ADD_KEY: ADDING_KEY,
    PLAN: Act(lambda tx, approval, who, site, now_ms: None),  # approving it is signing it: permissions name it by its id
}
"""What is done once the second person says yes."""
