"""Stand-ins for the world that tests hold in their own hands."""

from __future__ import annotations

from gateway.adapters.clock import Clock


class SettableClock(Clock):
    """A clock that stands still until it is told: `advance` is time passing, `set` is somebody changing the wall clock."""

    def __init__(self, now_ms: int = 1_763_700_000_000) -> None:
        self._now_ms = now_ms
        self._elapsed_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._elapsed_ms / 1000

    def advance(self, ms: int) -> None:
        """Time passes, on the wall and since the start."""
        if ms < 0:
            raise ValueError("time does not run backwards; use set() for a clock that is changed")
        self._now_ms += ms
        self._elapsed_ms += ms

    def set(self, now_ms: int) -> None:
        """The wall clock is changed; monotonic time does not notice."""
        self._now_ms = now_ms
