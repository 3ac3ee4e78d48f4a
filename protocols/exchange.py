"""An exchange: one question to one meter, as bytes out and bytes in. It never waits and knows no clock.

The driver (gateway/adapters) owns time-outs, silence, retries and echo; DL/T 645 and Modbus both implement this contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class NeedMore:
    """The answer is not complete yet. `begun`: a plausible frame has started, so its end is awaited by the byte gap."""

    begun: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Put these bytes on the line and go on feeding (a follow-up frame, a second leg)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Done(Generic[T_co]):
    """The exchange is over with this result."""

    result: T_co


Step = NeedMore | Send | Done[T_co]


class Exchange(Protocol[T_co]):
    """Single use: `start()` once, then `feed()` with every byte that arrives, until `Done` or an error of protocols.errors.

    skipped: bytes that were fed and belong to no frame that answers this question (noise, echo, foreign frames); 0 when clean.
    answered: False for broadcasts, which nobody answers: the driver sends and does not listen.
    """

    skipped: int
    answered: bool

    def start(self) -> bytes:
        """The bytes of the question. Raises RequestError when it cannot be asked."""

    def feed(self, data: bytes) -> Step[T_co]:
        """What to do after these bytes. Raises Malformed or Refused; after either the exchange is over."""

    def silence(self) -> Step[T_co]:
        """The byte gap has passed inside a begun frame: give the false start up and look at what stands behind it."""
