"""Anchors: where audit log and ledger end, signed and sent off the box, so that nobody can shorten or rewrite them unseen."""

from __future__ import annotations

import json
from collections.abc import Callable

from gateway.domain.events import Json, Outgoing, Topic
from gateway.domain.uplink_orders import Anchor
from gateway.services.ports import Tx

EPOCH = "epoch"
"""Key in `meta`: of the store, another one after a backup was put back."""

Sign = Callable[[bytes], str]
"""The compact JWS of a payload by the gateway's own key."""


def worth_anchoring(tx: Tx) -> bool:
    """Whether audit log or ledger have grown since the last anchor."""
    last = tx.last_anchor()
    return last is None or (last.audit, last.ledger, last.epoch) != (tx.audit_end(), tx.journal_end(), tx.meta(EPOCH) or "")


def anchor(tx: Tx, gateway: str, sign: Sign, now_ms: int) -> Anchor | None:
    """Sign the heads as they stand, keep that and send it up; None where nothing has grown."""
    if not worth_anchoring(tx):
        return None
    last = tx.last_anchor()
    number, epoch = (last.number + 1 if last else 1), tx.meta(EPOCH) or ""
    bare = Anchor(number, now_ms, epoch, tx.audit_end(), tx.journal_end(), "")
    signed = Anchor(number, now_ms, epoch, bare.audit, bare.ledger, sign(claim(bare, gateway)))
    tx.add_anchor(signed)
    body: dict[str, Json] = {"jws": signed.jws}
    tx.add_outgoing(Outgoing(Topic.ANCHOR, "anchor", now_ms, body))
    return signed


def claim(anchor: Anchor, gateway: str) -> bytes:
    """What is signed: canonical JSON of the heads."""
    said: dict[str, Json] = {
        "gateway": gateway,
        "number": anchor.number,
        "at_ms": anchor.at_ms,
        "epoch": anchor.epoch,
        "audit": {"number": anchor.audit[0], "hash": anchor.audit[1]},
        "ledger": {"number": anchor.ledger[0], "hash": anchor.ledger[1]},
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
