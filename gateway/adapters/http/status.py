"""What the listeners want to know of the running process and cannot read from the store; bootstrap passes one in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Health:
    """`reasons`: why no money may be taken or supply restored now (none: healthy). `holds`: what holds only cuts. Sentences."""

    reasons: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """One class of work on a line: how much of it is due now, and how long the oldest has been."""

    waiting: int
    oldest_ms: int


@dataclass(frozen=True, slots=True)
class LineStatus:
    """One line now. utilisation: share of the last minute that the line was busy, 0 to 1. errors: exchanges failed, by kind.

    endpoint: what it is connected to, for people. state: `up`, `down` or `starting`. waiting: exchanges that are due now, in
    `queues` by class of urgency. answering, failing, silent: devices by their state. p50_ms, p95_ms: of all answers since the
    start, null without any. stray_bytes: heard when nothing was asked. opened: how often the device was opened. turned_away: calls
    to its port that were refused, by reason.
    """

    line: str
    endpoint: str
    state: str
    utilisation: float
    exchanges: int
    errors: Mapping[str, int]
    meters: int
    waiting: int = 0
    answering: int = 0
    failing: int = 0
    silent: int = 0
    queues: Mapping[str, QueueStatus] = field(default_factory=dict)
    p50_ms: int | None = None
    p95_ms: int | None = None
    stray_bytes: int = 0
    opened: int = 0
    turned_away: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MeterStatus:
    """One device on a line now. groups: what is read from it. state: `answering`, `failing` or `silent`, since `since_ms`.

    failures: fruitless reads in a row. next_ms: when it is read next, or probed while it is silent. manner: what was learned
    about it, by name. Times are UTC ms.
    """

    meter: str
    groups: tuple[str, ...]
    state: str
    since_ms: int
    failures: int
    next_ms: int
    p50_ms: int | None
    p95_ms: int | None
    manner: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class AckLatency:
    """Messages by the time from handing them over to the centre's acknowledgement: a count for each upper bound, and one beyond."""

    bounds_s: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)
    sum_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Broker:
    """The MQTT link: where to, whether it stands, and how the centre answers."""

    address: str
    connected: bool
    latency: AckLatency = AckLatency()


@dataclass(frozen=True, slots=True)
class PartnerStatus:
    """A bank on an ISO 8583 line since the start. messages: by (MTI, code of the answer, "" for silence); MTIs that its table does
    not name are "other". sessions: connections now; calls: ever taken. turned_away: those refused, by reason. echo_age_s: since its
    last echo, None before the first. keys: changes of MAC keys, by what became of them. keys_lost: MACs fail since a restore."""

    partner: str
    messages: Mapping[tuple[str, str], int]
    bad_macs: int
    sessions: int
    calls: int
    turned_away: Mapping[str, int]
    echo_age_s: float | None
    signed_on: bool
    keys: Mapping[str, int] = field(default_factory=dict)
    keys_lost: bool = False


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """One [[output]]: where to, whether it may be told now, rows it is still to be told, and rows that were gone before.

    told_ms: when it was told a row last, UTC; null: not since the start.
    orders: what was asked of switches through it, by (verb, "") where it became a command and ("", why) where not.
    """

    output: str
    kind: str
    address: str
    connected: bool
    waiting: int
    dropped: int
    told_ms: int | None
    orders: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since the start. topups: by verdict. store_waiting: use cases that wait for the writer. exchanges: of all lines.
    commands: of the centre, by (verb, "") where they were accepted and ("", why) where not. certificate_days: whole days that each
    certificate is still good, negative once it has ended. partners: banks on ISO 8583 lines. turned_away: connections of each HTTP
    listener, by reason."""

    readings: int
    topups: Mapping[str, int]
    store_waiting: int
    exchanges: int = 0
    commands: Mapping[tuple[str, str], int] = field(default_factory=dict)
    certificate_days: Mapping[str, int] = field(default_factory=dict)
    partners: Sequence[PartnerStatus] = ()
    turned_away: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class Status(Protocol):
    """Answers at once, from memory."""

    @property
    def gateway(self) -> str: ...
    @property
    def version(self) -> str: ...
    def health(self) -> Health: ...
    def lines(self) -> Sequence[LineStatus]: ...
    def meters(self, line: str) -> Sequence[MeterStatus] | None:
        """The devices of a line in the order of the configuration; None where there is no such line."""

    def latencies(self) -> Iterable[tuple[str, str, Sequence[int]]]:
        """Line, meter and answer times of every device, counted within each of manner.BUCKETS_MS and beyond."""

    def broker(self) -> Broker | None:
        """None where no uplink is configured."""

    def outputs(self, last: int) -> Sequence[OutputStatus]:
        """In the order of the configuration. last: the outbox's newest row."""

    def counters(self) -> Counters: ...
