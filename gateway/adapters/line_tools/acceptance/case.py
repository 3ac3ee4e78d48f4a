"""What an acceptance case is, and how it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from protocols.dlt645.frames import Dialect

if TYPE_CHECKING:
    from gateway.adapters.line_tools.acceptance.subject import Subject
    from gateway.adapters.line_tools.traffic import Piece


BOTH = tuple(Dialect)


class Verdict(StrEnum):
    """The result of a case."""

    PASS = "pass"
    FAIL = "fail"
    NOT_RUN = "not run"


class Broken(Exception):
    """The meter did not do what the case expects; the text is what was observed."""


class NotRun(Exception):
    """The case cannot be judged; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value. uncertainty: bound of the error either way, in the same unit; None for what is counted."""

    name: str
    value: float
    unit: str
    uncertainty: float | None = None

    def __str__(self) -> str:
        bound = "" if self.uncertainty is None else f" ± {self.uncertainty:g}"
        return f"{self.name} {self.value:g}{bound} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a passed case observed."""

    text: str
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the list. clause: which text asks for it; dialects: which meters are held to it.

    opt_in: the option that it needs, because it locks, moves money or takes minutes.
    """

    id: str
    clause: str
    title: str
    expected: str
    run: Callable[[Subject], Awaitable[Seen]]
    dialects: tuple[Dialect, ...] = (Dialect.V2007,)
    opt_in: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case and how it ended. begun_ms: UTC; pieces: all that was said and heard, times from its beginning."""

    case: Case
    verdict: Verdict
    observed: str
    figures: tuple[Figure, ...]
    begun_ms: int
    pieces: tuple[Piece, ...]
