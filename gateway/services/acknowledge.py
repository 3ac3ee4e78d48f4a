"""The centre says what is safe with it: those rows leave the outbox (contract.md 5)."""

from __future__ import annotations

from gateway.domain.events import EventKind
from gateway.services import announce
from gateway.services.ports import Tx

EPOCH = "epoch"
"""Name of the store's epoch among its meta values."""

REFUSALS_APART_MS = 60_000
"""Between two events about refused acks: a centre that repeats a wrong one must not fill our outbox with it."""

_LAST_REFUSAL = "ack_refused_ms"


def acknowledge(
    tx: Tx, epoch: str, upto: int, also: tuple[tuple[int, int], ...], now_ms: int, sent: int | None = None
) -> int:
    """Marks rows as safe at the centre; how many were newly marked. sent: the highest number that was ever sent, where it is known.

    An ack of another epoch, or beyond what was sent or even given out, is refused as a whole and becomes an event.
    """
    ours, last = tx.meta(EPOCH), tx.outbox_state().last
    highest = max((upto, *(b for _, b in also)))
    if epoch != ours:
        _refuse(tx, f"the ack is of epoch {epoch}, the store of epoch {ours}", now_ms)
    elif highest > last:
        _refuse(tx, f"the ack reaches to {highest}, but {last} is the last number given out", now_ms)
    elif sent is not None and highest > sent:
        _refuse(tx, f"the ack reaches to {highest}, but {sent} is the last number sent", now_ms)
    else:
        return tx.acknowledge(upto, also, now_ms)
    return 0


def _refuse(tx: Tx, why: str, now_ms: int) -> None:
    before = int(tx.meta(_LAST_REFUSAL) or 0)
    if before <= now_ms < before + REFUSALS_APART_MS:
        return
    tx.set_meta(_LAST_REFUSAL, str(now_ms))
    announce.event(tx, EventKind.ACK_REFUSED, now_ms, reason=why)
