"""How the running process is, from memory: what health, metrics and the page ask for."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence

from gateway.adapters.clock import Clock
from gateway.adapters.http.status import Broker, Counters, Health, LineStatus
from gateway.adapters.store import Store
from gateway.bootstrap.lines import BuiltLine
from gateway.entrypoints.line_loop import LineLoop
from gateway.services.ports import Site

WINDOW_MS = 60_000
"""Utilisation is that of the last minute."""

SAMPLE_MS = 1_000
"""Between two samples of a line: the page looks once a second."""


class Vitals:
    """Fulfils adapters.http.status.Status."""

    def __init__(self, gateway: str, version: str, lines: Sequence[BuiltLine], clock: Clock) -> None:
        self.gateway, self.version = gateway, version
        self.fatal: str | None = None
        self.store_trouble: str | None = None
        self.site: Site | None = None
        self.store: Store | None = None
        self._clock = clock
        self._lines = {line.id: line for line in lines}
        self._loops: dict[str, LineLoop] = {}
        self._samples = {line.id: deque([(clock.now_ms(), 0)], maxlen=WINDOW_MS // SAMPLE_MS + 1) for line in lines}
        self._topups: Counter[str] = Counter()
        self._broker: tuple[str, asyncio.Event] | None = None

    def count_topup(self, verdict: str) -> None:
        """One more answer to a bank."""
        self._topups[verdict] += 1

    def watch_broker(self, address: str, connected: asyncio.Event) -> None:
        """From now on the broker's state is known."""
        self._broker = (address, connected)

    def watch_loop(self, line: str, loop: LineLoop) -> None:
        """From now on this line's state is known."""
        self._loops[line] = loop

    def health(self) -> Health:
        """Why no money may be taken, and what holds only cuts."""
        trouble = self.fatal or self.store_trouble
        reasons = (f"the store cannot take money: {trouble}",) if trouble else ()
        holds = [f"line {name} is down" for name, loop in self._loops.items() if loop.up is False]
        if self.site is not None and not self.site.clock_trusted:
            holds.append("the clock is not trusted: no cut (F3)")
        if self.site is not None and not self.site.path_alive:
            holds.append("no way to top up is alive: no cut for debt (F2)")
        return Health(reasons, tuple(holds))

    def lines(self) -> Sequence[LineStatus]:
        """Every line now."""
        return [self._line(line) for line in self._lines.values()]

    def broker(self) -> Broker | None:
        """The uplink's broker."""
        return Broker(self._broker[0], self._broker[1].is_set()) if self._broker else None

    def counters(self) -> Counters:
        """Totals since the start."""
        readings = sum(loop.recorded for loop in self._loops.values())
        return Counters(readings, dict(self._topups), self.store.waiting if self.store else 0)

    def _line(self, line: BuiltLine) -> LineStatus:
        loop = self._loops.get(line.id)
        state = {True: "up", False: "down", None: "starting"}[loop.up if loop else None]
        seen = line.driver.counters
        now_ms = self._clock.now_ms()
        waiting = sum(1 for device in loop.plan.devices(now_ms) if device.overdue_ms > 0) if loop else 0
        return LineStatus(
            line.id,
            line.driver.name,
            state,
            self._utilisation(line, now_ms),
            seen.exchanges,
            dict(seen.errors),
            line.meters,
            waiting,
        )

    def _utilisation(self, line: BuiltLine, now_ms: int) -> float:
        samples, busy_ms = self._samples[line.id], line.driver.counters.busy_ms
        while len(samples) > 1 and now_ms - samples[1][0] >= WINDOW_MS:
            samples.popleft()
        since_ms, busy_before = samples[0]
        if now_ms - samples[-1][0] >= SAMPLE_MS:
            samples.append((now_ms, busy_ms))
        return min(1.0, (busy_ms - busy_before) / max(1, now_ms - since_ms))
