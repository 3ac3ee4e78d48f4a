"""Whether money can be paid in right now (prepayment.md 5, F2): a debt may only be cut for while it could be paid.

A path is alive while its listener accepts and, where a heartbeat is configured, was heard lately. One path is enough. That nobody
pays is no sign of anything.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

HEARTBEAT_LIMIT_MS = 10 * 60 * 1000
"""A path that was not heard for longer is down (prepayment.md 5, F2)."""

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SPAN = re.compile(r"([A-Z][a-z]{2})(?:-([A-Z][a-z]{2}))? ([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])", re.ASCII)
_DAY_MIN = 24 * 60


class PathKind(StrEnum):
    """bank: our listener for banks; centre: the centre takes payments and sends vouchers; counter: a person takes money."""

    BANK = "bank"
    CENTRE = "centre"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Hours:
    """A span of each of these weekdays (0 Monday) in local minutes of the day, the end excluded."""

    days: frozenset[int]
    from_min: int
    to_min: int

    def hold(self, local: datetime) -> bool:
        """Whether this local moment lies within."""
        return local.weekday() in self.days and self.from_min <= local.hour * 60 + local.minute < self.to_min


@dataclass(frozen=True, slots=True)
class PathTerms:
    """What a site declares. heartbeat: the bank is only there while it was heard; a centre always. hours: the counter's."""

    paths: tuple[PathKind, ...] = (PathKind.BANK,)
    heartbeat: bool = False
    limit_ms: int = HEARTBEAT_LIMIT_MS
    hours: tuple[Hours, ...] = ()


@dataclass(frozen=True, slots=True)
class PathsSeen:
    """What is known at a moment. accepts: of which our own listener takes calls. heard_ms: when each was heard last, UTC ms."""

    accepts: Collection[PathKind]
    heard_ms: Mapping[PathKind, int]


@dataclass(frozen=True, slots=True)
class PathVerdict:
    """why: where none is alive, one sentence. planned: there is only a counter, closed by its hours, and nobody has to look."""

    alive: bool
    why: str = ""
    planned: bool = False


def hours(text: str) -> Hours:
    """From words like `Mon-Fri 08:30-17:00` or `Sat 09:00-12:00`. ValueError says how they look."""
    match = _SPAN.fullmatch(text)
    if match is None or match[1] not in DAYS or (match[2] or match[1]) not in DAYS:
        raise ValueError(f"hours look like Mon-Fri 08:30-17:00, not {text}")
    first, last = DAYS.index(match[1]), DAYS.index(match[2] or match[1])
    from_min, to_min = (int(match[n]) * 60 + int(match[n + 1]) for n in (3, 5))
    if not from_min < to_min <= _DAY_MIN:
        raise ValueError(f"hours end after they begin and by 24:00, unlike {text}")
    days = range(first, last + 1) if first <= last else (*range(first, 7), *range(last + 1))
    return Hours(frozenset(days), from_min, to_min)


def judge(terms: PathTerms, seen: PathsSeen, now_ms: int, local: datetime) -> PathVerdict:
    """Whether any path is alive. local: now_ms in the site's own time."""
    dead = {path: why_dead(path, terms, seen, now_ms, local) for path in terms.paths}
    if not all(dead.values()):
        return PathVerdict(alive=True)
    why = "; ".join(f"{path.value}: {reason}" for path, reason in dead.items()) or "no way to pay is configured"
    return PathVerdict(alive=False, why=why, planned=set(dead) == {PathKind.COUNTER})


def why_dead(path: PathKind, terms: PathTerms, seen: PathsSeen, now_ms: int, local: datetime) -> str | None:
    """Why nothing can be paid in this way now; None when it can."""
    if path is PathKind.COUNTER:
        return None if any(span.hold(local) for span in terms.hours) else "the counter is closed now"
    if path is PathKind.BANK and path not in seen.accepts:
        return "the listener takes no calls"
    if path is PathKind.BANK and not terms.heartbeat:
        return None
    heard_ms = seen.heard_ms.get(path)
    if heard_ms is None:
        return "it was never heard"
    age_ms = now_ms - heard_ms
    if age_ms < 0:
        return "it was last heard before our clock was set back"
    return None if age_ms <= terms.limit_ms else f"it was not heard for {terms.limit_ms // 60_000} min"
