"""Whether our clock may be trusted, as the store remembers what speaks for it (F3): every look at the clocks, and the finding while
nobody vouches.

A look is judged first, which changes nothing, and recorded only where something is to be remembered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from gateway.domain.clocks import MeterClock
from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.jobs import ClockSeen
from gateway.domain.trusted_time import (
    WITHIN_MS,
    Evidence,
    HeardTime,
    Look,
    Stretch,
    TimeSource,
    TimeTerms,
    TimeVerdict,
    at,
    judge,
    jump_ms,
    proved,
)
from gateway.services import announce, findings
from gateway.services.ports import Site, Tx

T = TypeVar("T", Stretch, HeardTime)

STRETCH, HEARD, PROVED = "clock:stretch", "clock:heard", "clock:proved"
GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class ClockLook:
    """A look at the clocks: what was known, what is known now, and the verdict. jumped_ms: by how much our clock was set."""

    before: Evidence
    now: Evidence
    verdict: TimeVerdict
    jumped_ms: int | None = None


def look_at_clock(tx: Tx, terms: TimeTerms, look: Look) -> ClockLook:
    """Judge our clock; changes nothing."""
    before = recall(tx, terms)
    now = at(before, look)
    verdict = judge(terms, now, look)
    if verdict.from_outside:
        now = proved(now, look)
    broken = now.stretch is not None and before.stretch is not None and now.stretch.wall_ms != before.stretch.wall_ms
    return ClockLook(before, now, verdict, jump_ms(before.stretch, look) if before.stretch is not None and broken else None)


def worth_recording(tx: Tx, seen: ClockLook) -> bool:
    """Whether there is anything to remember of a look."""
    finding = tx.finding(FindingKind.CLOCK_NOT_TRUSTED, GATEWAY)
    return (finding is None) is not seen.verdict.trusted or _kept(seen.before) != _kept(seen.now)


def record_clock_look(tx: Tx, seen: ClockLook, now_ms: int) -> None:
    """Remember it. A clock that was set makes every look at a meter's clock worthless, and is told."""
    if seen.now.stretch is not None and seen.now.stretch != seen.before.stretch:
        tx.set_meta(STRETCH, json.dumps(asdict(seen.now.stretch)))
    if seen.now.proved_ms is not None and seen.now.proved_ms != seen.before.proved_ms:
        tx.set_meta(PROVED, str(seen.now.proved_ms))
    if seen.jumped_ms is not None or (seen.before.meters and not seen.now.meters):
        _forget_looks(tx)
    if seen.jumped_ms is not None:
        announce.event(tx, EventKind.CLOCK_FAULT, now_ms, text=f"our clock was set by {seen.jumped_ms // 1000} s")
    if seen.verdict.trusted:
        findings.over(tx, FindingKind.CLOCK_NOT_TRUSTED, GATEWAY, now_ms)
    elif tx.finding(FindingKind.CLOCK_NOT_TRUSTED, GATEWAY) is None:
        findings.found(tx, FindingKind.CLOCK_NOT_TRUSTED, GATEWAY, f"nobody vouches for our clock: {seen.verdict.why}", now_ms)


def heard_time(tx: Tx, centre_ms: int, site: Site, now_ms: int) -> bool:
    """The centre's signed time came in; whether it vouches for ours. The caller has checked signature and replay.

    A time before ours may be one that waited on its way and says nothing; one after ours proves that ours is behind.
    """
    offset_ms = centre_ms - now_ms
    if site.steady_ms is None or offset_ms < -WITHIN_MS:
        return False
    if offset_ms > WITHIN_MS:
        tx.set_meta(HEARD, "")
        return False
    tx.set_meta(HEARD, json.dumps(asdict(HeardTime(offset_ms, now_ms, site.steady_ms, site.boot))))
    return True


def recall(tx: Tx, terms: TimeTerms) -> Evidence:
    """What the store remembers. The meters' clocks are only looked up where they are asked."""
    meters = tuple(_looks(tx)) if TimeSource.METERS in terms.sources else ()
    proved_at = tx.meta(PROVED)
    return Evidence(_read(tx, STRETCH, Stretch), _read(tx, HEARD, HeardTime), int(proved_at) if proved_at else None, meters)


def _kept(evidence: Evidence) -> tuple[Stretch | None, int | None]:
    return evidence.stretch, evidence.proved_ms


def _looks(tx: Tx) -> Iterator[ClockSeen]:
    return (clock.seen for clock in _clocks(tx) if clock.seen is not None)


def _clocks(tx: Tx) -> Iterator[MeterClock]:
    for line in sorted({meter.line for meter in tx.meters()}):
        yield from tx.clocks(line)


def _forget_looks(tx: Tx) -> None:
    for clock in list(_clocks(tx)):
        if clock.seen is not None:
            tx.save_clock(replace(clock, seen=None))


def _read(tx: Tx, key: str, kind: type[T]) -> T | None:
    text = tx.meta(key)
    return kind(**json.loads(text)) if text else None
