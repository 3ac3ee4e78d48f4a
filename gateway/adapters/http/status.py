"""What the listeners want to know of the running process and cannot read from the store; bootstrap passes one in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Health:
    """`reasons`: why no money may be taken or supply restored now (none: healthy). `holds`: what holds only cuts. Sentences."""

    reasons: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineStatus:
    """One line now. utilisation: share of the last minute that the line was busy, 0 to 1. errors: exchanges failed, by kind.

    endpoint: what it is connected to, for people. state: `up`, `down` or `starting`. waiting: exchanges that are due now.
    """

    line: str
    endpoint: str
    state: str
    utilisation: float
    exchanges: int
    errors: Mapping[str, int]
    meters: int
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Broker:
    """The MQTT link: where to, and whether it stands."""

    address: str
    connected: bool


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since the start. topups: by verdict. store_waiting: use cases that wait for the writer now."""

    readings: int
    topups: Mapping[str, int]
    store_waiting: int


class Status(Protocol):
    """Answers at once, from memory."""

    @property
    def gateway(self) -> str: ...
    @property
    def version(self) -> str: ...
    def health(self) -> Health: ...
    def lines(self) -> Sequence[LineStatus]: ...
    def broker(self) -> Broker | None:
        """None where no uplink is configured."""

    def counters(self) -> Counters: ...
