"""Two-phase transfers: money under way is spendable by nobody, and is posted or voided exactly once (prepayment.md c2, c4).

A time-out is unknown, never failed: what was never sent is voided when it is due, what may have arrived waits until somebody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.domain.ledger import Entry, EntryKind, moved, pending


class TransferState(StrEnum):
    """Where the money is: under way, perhaps there already, there, back."""

    PENDING = "pending"
    UNCERTAIN = "uncertain"
    POSTED = "posted"
    VOIDED = "voided"


class TransferEvent(StrEnum):
    """What is learnt: it arrived, it surely did not, its time is over, or nobody can say."""

    POST = "post"
    VOID = "void"
    EXPIRE = "expire"
    DOUBT = "doubt"


_P, _U, _E = TransferState.PENDING, TransferState.UNCERTAIN, TransferEvent
TRANSITIONS: Mapping[tuple[TransferState, TransferEvent], TransferState] = {
    (_P, _E.POST): TransferState.POSTED,
    (_P, _E.VOID): TransferState.VOIDED,
    (_P, _E.EXPIRE): TransferState.VOIDED,
    (_P, _E.DOUBT): TransferState.UNCERTAIN,
    (_U, _E.POST): TransferState.POSTED,
    (_U, _E.VOID): TransferState.VOIDED,
}
"""All that may happen; whatever is not here is refused. Nothing leads out of posted and voided: each resolves at most once."""

RESOLVED = frozenset({TransferState.POSTED, TransferState.VOIDED})

KINDS = {TransferState.POSTED: EntryKind.TRANSFER_POSTED, TransferState.VOIDED: EntryKind.TRANSFER_VOIDED}


class TransferRefused(ValueError):
    """What this transfer cannot do, in one sentence."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money from one ledger account to another. `id` makes it happen once.

    micro: above zero. due_ms: when it is voided by itself while pending, None never. pending, resolved: numbers of its entries.
    """

    id: str
    account: str
    currency: str
    micro: int
    source: str
    target: str
    begun_ms: int
    due_ms: int | None = None
    state: TransferState = TransferState.PENDING
    pending: int = 0
    resolved: int | None = None
    resolved_ms: int | None = None

    def same(self, other: Transfer) -> bool:
        """Whether the other one asks for the same."""
        names = ("id", "account", "currency", "micro", "source", "target")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def due(self, now_ms: int) -> bool:
        """Whether its time is over."""
        return self.state is TransferState.PENDING and self.due_ms is not None and now_ms >= self.due_ms


def after(transfer: Transfer, event: TransferEvent, now_ms: int) -> TransferState:
    """The state that an event leads to. TransferRefused where the table has none, or the time is not over."""
    state = TRANSITIONS.get((transfer.state, event))
    if state is None:
        raise TransferRefused(f"transfer {transfer.id} is {transfer.state.value}: {event.value} is not possible any more")
    if event is TransferEvent.EXPIRE and not transfer.due(now_ms):
        raise TransferRefused(f"transfer {transfer.id} is not due before {transfer.due_ms}")
    return state


def begin_entry(transfer: Transfer) -> Entry:
    """The money leaves its source and is pending."""
    ref = {"transfer": transfer.id, "account": transfer.account, "from": transfer.source, "to": transfer.target}
    if transfer.due_ms is not None:
        ref["due_ms"] = str(transfer.due_ms)
    held = pending(transfer.id)
    return moved(EntryKind.TRANSFER_PENDING, transfer.currency, transfer.source, held, transfer.micro, transfer.begun_ms, ref)


def resolve_entry(transfer: Transfer, state: TransferState, at_ms: int, why: Mapping[str, str]) -> Entry:
    """The pending money goes to its target (posted) or back to its source (voided)."""
    end = transfer.target if state is TransferState.POSTED else transfer.source
    ref = {**why, "transfer": transfer.id, "account": transfer.account, "pending": str(transfer.pending)}
    return moved(KINDS[state], transfer.currency, pending(transfer.id), end, transfer.micro, at_ms, ref)


def resolved(transfer: Transfer, state: TransferState, entry: int, at_ms: int) -> Transfer:
    """The transfer as it is after its end."""
    return replace(transfer, state=state, resolved=entry, resolved_ms=at_ms)
