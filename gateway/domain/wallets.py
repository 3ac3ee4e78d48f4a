"""Money that a meter itself holds (prepayment.md 1, authority = "meter"): its wallet as last read, and money on its way there.

A purchase count is the identity of a purchase: a meter takes the next one only, and each once. So what a delivery did is not what
was answered but what was read back (prepayment.md c2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.domain.wallet_mirror import Span

COUNT_RECORD = 10_000
"""A purchase record keeps four digits of the count (dlt645.md 8)."""


KEYS_REFUSED = "identity or MAC refused"
"""How the reason begins when a meter did not believe us: two a day are the most (prepayment.md 9)."""


class Act(StrEnum):
    """What is done to a wallet: money in, or out again where the maker has a function for it."""

    TOP_UP = "top_up"
    REFUND = "refund"


class DeliveryState(StrEnum):
    """Where the customer's credit is (contract.md 3)."""

    QUEUED = "queued"
    SENT = "sent"
    UNCERTAIN = "uncertain"
    IN_METER = "in_meter"
    RETURNED = "returned_to_balance"


class DeliveryEvent(StrEnum):
    """What may happen to a delivery; what was read decides, never what was answered."""

    SEND = "send"
    NOT_SENT = "not_sent"
    DOUBT = "doubt"
    SEEN_DONE = "seen_done"
    SEEN_UNDONE = "seen_undone"
    RETURN = "return"


_S, _E = DeliveryState, DeliveryEvent
TRANSITIONS: Mapping[tuple[DeliveryState, DeliveryEvent], DeliveryState] = {
    (_S.QUEUED, _E.SEND): _S.SENT,
    (_S.QUEUED, _E.RETURN): _S.RETURNED,
    (_S.QUEUED, _E.SEEN_DONE): _S.IN_METER,
    (_S.QUEUED, _E.SEEN_UNDONE): _S.QUEUED,
    (_S.QUEUED, _E.DOUBT): _S.UNCERTAIN,
    (_S.SENT, _E.NOT_SENT): _S.QUEUED,
    (_S.SENT, _E.DOUBT): _S.UNCERTAIN,
    (_S.SENT, _E.SEEN_DONE): _S.IN_METER,
    (_S.SENT, _E.SEEN_UNDONE): _S.QUEUED,
    (_S.UNCERTAIN, _E.DOUBT): _S.UNCERTAIN,
    (_S.UNCERTAIN, _E.SEEN_DONE): _S.IN_METER,
    (_S.UNCERTAIN, _E.SEEN_UNDONE): _S.QUEUED,
    (_S.UNCERTAIN, _E.RETURN): _S.RETURNED,
}
"""All that may happen. Nothing leads out of in_meter and returned_to_balance: the money arrives or comes back once."""

OPEN = frozenset({_S.QUEUED, _S.SENT, _S.UNCERTAIN})


class ImpossibleStep(ValueError):
    """What this delivery cannot do, in one sentence."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Money on its way into a meter's wallet, or out of it. id: also its transfer's; micro: whole hundredths of the currency unit.

    epoch: of the meter that it is meant for (WalletMemory.epoch). count: the purchase count that it makes, kept over every
    repetition; None until the meter's own was read. due_ms: it comes back then. entry: the ledger's number of the payment, 0 where
    none brought it. look_ms: the wallet is to be read for it from then on; next_ms: it is not sent before.
    sent_ms: when it was last sent; attempts: how often; refusals: how often the meter said no. reason: why it stands so.
    """

    id: str
    account: str
    meter: str
    act: Act
    micro: int
    currency: str
    created_ms: int
    due_ms: int | None
    epoch: int = 0
    state: DeliveryState = DeliveryState.QUEUED
    changed_ms: int = 0
    count: int | None = None
    entry: int = 0
    attempts: int = 0
    sent_ms: int | None = None
    look_ms: int | None = None
    next_ms: int = 0
    refusals: int = 0
    reason: str = ""

    @property
    def open(self) -> bool:
        """Whether it is still on its way."""
        return self.state in OPEN

    @property
    def sent(self) -> bool:
        """Whether any byte of it may ever have reached a meter."""
        return self.attempts > 0 or self.state is not DeliveryState.QUEUED


def after(delivery: Delivery, event: DeliveryEvent) -> DeliveryState:
    """The state that an event leads to. ImpossibleStep where the table has none."""
    state = TRANSITIONS.get((delivery.state, event))
    if state is None:
        raise ImpossibleStep(f"delivery {delivery.id} is {delivery.state.value}: {event.value} is not possible any more")
    return state


class Switching(StrEnum):
    """A change of authority under way: into the meter, out of it by refund, or because the meter was told to stop counting."""

    TO_METER = "to_meter"
    REFUND = "refund"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class WalletMemory:
    """What we remember of a wallet besides its last word. Micro-units; times in UTC ms; None: not known.

    customer: the 12 digits that purchases name; empty: the meter's own. seen_customer: as the meter says.
    next_ms: when it is read next, None: nobody needs it. hoarding_micro: most it may hold, 0 for no limit, read at limits_ms.
    offset: what the meter has more than our books, as far as both are known; None: not compared yet. held: the same at the first
    reading since power came back, at held_ms. adopt: what is in it at the first reading is the customer's from before.
    refused: when it refused an identity or a MAC. epoch: which meter behind this name; rises with every change of meter.
    switching: a change of authority under way, asked for by `by`. frozen_micro: the wallet does not count any more, or is said so,
    and holds this; frozen_books: our balance then. strange: the wallet is not the one that we knew, in one sentence.
    differs: the offset that contradicts ours, as last seen. elsewhere: purchases since the last comparison that were none of ours.
    """

    customer: str = ""
    seen_customer: str | None = None
    next_ms: int | None = 0
    hoarding_micro: int | None = None
    limits_ms: int | None = None
    offset: Span | None = None
    held: Span | None = None
    held_ms: int = 0
    adopt: bool = False
    refused: tuple[int, ...] = ()
    epoch: int = 0
    switching: Switching | None = None
    by: str = ""
    frozen_micro: int | None = None
    frozen_books: int | None = None
    strange: str = ""
    differs: Span | None = None
    elsewhere: int = 0


@dataclass(frozen=True, slots=True)
class Wallet:
    """A meter's wallet as last read. count: its purchase count, the key of every recharge. Micro-units; times in UTC ms.

    opened: the account was opened in the meter (070101FF). held_since_ms: after a power-up the mirror waits for two reads 60 s
    apart.
    """

    meter: str
    count: int
    balance_micro: int
    overdraft_micro: int = 0
    read_ms: int = 0
    opened: bool = False
    held_since_ms: int | None = None
    memory: WalletMemory = field(default_factory=WalletMemory)

    @property
    def word_micro(self) -> int:
        """What the meter shows: below zero where it is overdrawn."""
        return self.balance_micro - self.overdraft_micro

    @property
    def known(self) -> bool:
        """Whether it was ever read."""
        return self.read_ms > 0


class Verdict(StrEnum):
    """What a look at the wallet says about a purchase."""

    DONE = "done"
    UNDONE = "undone"
    TAKEN = "taken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CountSeen:
    """Of a wallet as it was read: count, customer, and the record of one purchase (four digits of its count, micro-units)."""

    count: int
    customer: str | None
    purchase: tuple[int, int] | None = None


def judge_purchase(delivery: Delivery, seen: CountSeen, customer: str) -> Verdict:
    """Whether this purchase is in. TAKEN: its count was used up by another purchase, so that it can never go in under this one.

    customer: whose wallet it is meant for, empty where nobody knows. UNKNOWN: this is hardly the wallet that was asked.
    """
    if delivery.count is None:
        return Verdict.UNDONE
    other = customer and seen.customer is not None and seen.customer != customer
    if seen.count < delivery.count - 1 or (other and delivery.count > 1):
        return Verdict.UNKNOWN
    if seen.count < delivery.count:
        return Verdict.UNDONE
    if other:
        return Verdict.UNKNOWN
    if seen.purchase is None:
        return Verdict.DONE
    count, micro = seen.purchase
    if count != delivery.count % COUNT_RECORD:
        return Verdict.UNKNOWN
    return Verdict.DONE if micro == delivery.micro else Verdict.TAKEN
