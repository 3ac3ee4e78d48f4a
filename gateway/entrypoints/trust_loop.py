"""Looks at clock and ways to pay all the time, so that their findings begin and end, and what is heard outlives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import structlog

from gateway.domain.paths import PathKind, PathVerdict
from gateway.domain.trusted_time import Evidence, Look, TimeTerms
from gateway.services.paths import heard, judge_paths, last_heard, worth_judging, worth_keeping
from gateway.services.ports import Tx, Unavailable
from gateway.services.trust_clock import ClockLook, look_at_clock, recall, record_clock_look, worth_recording

T = TypeVar("T")
log = structlog.get_logger(__name__)

LOOK_S = 5.0
"""Findings are for people. What holds a cut is looked up at every decision, from memory."""


class Store(Protocol):
    """Raises ports.Unavailable."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class Watched(Protocol):
    """What is looked at, and where what the store knows of it is kept in memory."""

    evidence: Evidence
    heard: dict[PathKind, int]
    fresh: set[PathKind]

    def time_terms(self) -> TimeTerms: ...
    def look(self) -> Look: ...
    def paths(self) -> PathVerdict: ...


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


def remember(tx: Tx, trust: Watched) -> None:
    """At the start: what was known when the process before this one ended."""
    trust.evidence, trust.heard = recall(tx, trust.time_terms()), dict(last_heard(tx))


async def watch(store: Store, trust: Watched, clock: WallClock) -> None:
    """Until cancelled. The first look comes after a pause, when the listeners are there."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            await look(store, trust, clock.now_ms())
        except Unavailable as failed:
            log.error("trust_waits", text=str(failed))


async def look(store: Store, trust: Watched, now_ms: int) -> None:
    """Once: what the store knows and what is seen are brought together, and written down where that is news."""
    terms, seen, paths = trust.time_terms(), trust.look(), trust.paths()
    fresh = {path: trust.heard[path] for path in trust.fresh}

    def ask(tx: Tx) -> tuple[ClockLook, Mapping[PathKind, int], bool]:
        found, known = look_at_clock(tx, terms, seen), last_heard(tx)
        news = any(worth_keeping(known.get(path), heard_ms) for path, heard_ms in fresh.items())
        return found, known, news or worth_recording(tx, found) or worth_judging(tx, paths)

    found, known, news = await store.read(ask)
    if news:
        await store.write(lambda tx: _record(tx, found, fresh, paths, now_ms))
    trust.evidence = found.now
    trust.heard.update({path: heard_ms for path, heard_ms in known.items() if path not in trust.fresh})
    trust.fresh -= {path for path, heard_ms in fresh.items() if trust.heard[path] == heard_ms}


def _record(tx: Tx, found: ClockLook, fresh: Mapping[PathKind, int], paths: PathVerdict, now_ms: int) -> None:
    for path, heard_ms in fresh.items():
        heard(tx, path, heard_ms)
    record_clock_look(tx, found, now_ms)
    judge_paths(tx, paths, now_ms)
