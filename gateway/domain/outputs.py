"""What a foreign system is shown of a meter beside the native uplink: one picture of everything that is known at a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.domain.events import EventKind
from gateway.domain.meters import Contact
from gateway.domain.records import LatestItem, OutboxRow
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import Verb

ORDER_LIVES_MS = 2 * 60 * 1000
"""An order that comes without an expiry: whoever pressed a switch looks at it now, and not tomorrow."""

ORIGIN = "output"
"""Of orders that come in through an output; `who` names which."""

MOVES_METERS = frozenset(
    {
        EventKind.ARCHIVE_CHANGED,
        EventKind.CONFIGURATION_CHANGED,
        EventKind.ACCOUNT_OPENED,
        EventKind.ACCOUNT_CLOSED,
        EventKind.METER_MOVED,
        EventKind.METER_CHANGED,
        EventKind.CT_CHANGED,
    }
)
"""After these, meters may have come, gone or changed what they are."""


class Unmoved(StrEnum):
    """Why what came in through an output moved nothing: it was no order, nothing is served there, there were more than are looked
    at, it was judged and refused, or it could not be judged."""

    UNREADABLE = "unreadable"
    NOT_SERVED = "not_served"
    TOO_MANY = "too_many"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class LastOrder:
    """What became of an order to a switch. command: None where it was refused before there was one."""

    command: str | None
    verb: str
    state: str
    final: bool
    reason: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Portrait:
    """One meter now. Times in UTC ms.

    items: the newest value of each quantity, as the meter shows it. energy_wh: import registers that nothing speaks against,
    power_w: the newest powers, both by quantity and in front of transformers. doubtful: registers whose item is of a suspect
    reading. balance: of the account that pays, None without
    one. answering: it is not silent.
    """

    meter: str
    model: str
    serial: str
    line: str
    switch: bool
    items: Mapping[str, LatestItem] = field(default_factory=dict)
    energy_wh: Mapping[str, int] = field(default_factory=dict)
    power_w: Mapping[str, int] = field(default_factory=dict)
    doubtful: frozenset[str] = frozenset()
    desired: Contact = Contact.CLOSED
    observed: Contact = Contact.UNKNOWN
    observed_ms: int | None = None
    account: str | None = None
    balance: str | None = None
    currency: str | None = None
    credit: str | None = None
    order: LastOrder | None = None
    answering: bool = True

    @property
    def nature(self) -> tuple[object, ...]:
        """What it is, whatever it measures."""
        return self.model, self.serial, self.line, self.switch, self.currency

    @property
    def kind(self) -> tuple[object, ...]:
        """What it is and measures: another one wants to be announced anew."""
        return *self.nature, tuple(sorted(self.items))


@dataclass(frozen=True, slots=True)
class News:
    """What happened since the last time: rows of the outbox in order, and the present picture of every meter that they are about.

    late: the rows are of a time before this connection, or old when they are told.
    """

    rows: Sequence[OutboxRow]
    portraits: Mapping[str, Portrait]
    late: bool = False


@dataclass(frozen=True, slots=True)
class OutsideCuts:
    """How cuts that an output asks for are ordered. cause: None, and there are none. facts: what the cause needs, by name."""

    cause: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def supply_order(id: str, meter: str, verb: Verb, output: str, cuts: OutsideCuts, now_ms: int) -> SupplyOrder | str:
    """The order as everybody else would give it, under the output's name; or why there is none, one sentence."""
    if verb is Verb.CUT and cuts.cause is None:
        return f"output {output} may not cut: its configuration names no cut_cause"
    cause = (cuts.cause if verb is Verb.CUT else None) or ORIGIN
    facts = {**cuts.facts, "event": cuts.facts.get("event", id)} if verb is Verb.CUT else {}
    return SupplyOrder(
        id, meter, verb, cause, ORIGIN, now_ms + ORDER_LIVES_MS, who=f"output:{output}", facts=facts, reason=f"asked by {output}"
    )
