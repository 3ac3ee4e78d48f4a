"""How the running process is, from memory: what health, metrics and the page ask for."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

from gateway.adapters.clock import Clock
from gateway.adapters.http.status import (
    AckLatency,
    Broker,
    Counters,
    Health,
    LineStatus,
    MeterStatus,
    OutputStatus,
    PartnerStatus,
    QueueStatus,
)
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.latency import quantile_ms, together
from gateway.adapters.store import Store
from gateway.bootstrap.crew import Crew
from gateway.bootstrap.lines import BuiltLine, MeterLink
from gateway.domain.jobs import Group
from gateway.entrypoints.outbox_latency import BOUNDS_S, Latency
from gateway.services.plan import Condition, DeviceState
from gateway.services.ports import Site

WINDOW_MS = 60_000
"""Utilisation is that of the last minute."""

SAMPLE_S = 5.0
"""Between two samples of all lines: a twelfth of the window."""


class Vitals:
    """Fulfils adapters.http.status.Status."""

    def __init__(self, gateway: str, version: str, crew: Crew, clock: Clock) -> None:
        self.gateway, self.version = gateway, version
        self.fatal: str | None = None
        self.store_trouble: str | None = None
        self.money_held: str | None = None
        self.cuts_stopped: str | None = None
        self.site: Callable[[], Site] | None = None
        self.store: Store | None = None
        self._clock, self._crew = clock, crew
        self._samples: dict[Driver, deque[tuple[int, int]]] = {}
        self._topups: Counter[str] = Counter()
        self._commands: Counter[tuple[str, str]] = Counter()
        self._broker: tuple[str, asyncio.Event] | None = None
        self.certificates: Callable[[], Mapping[str, int]] = dict
        self.partners: Callable[[], Sequence[PartnerStatus]] = tuple
        self.turned_away: Callable[[], Mapping[str, Mapping[str, int]]] = dict
        self.latency = Latency()
        self.outputs: Callable[[int], Sequence[OutputStatus]] = lambda _last: ()

    async def watch(self) -> None:
        """Keep the samples that utilisation needs; until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_S)

    def count_topup(self, verdict: str) -> None:
        """One more answer to a bank."""
        self._topups[verdict] += 1

    def count_command(self, verb: str, why: str | None) -> None:
        """One more message of the centre judged: why it moved nothing, None where it did."""
        self._commands[("", why) if why is not None else (verb, "")] += 1

    def watch_broker(self, address: str, connected: asyncio.Event, certificates: Callable[[], Mapping[str, int]] = dict) -> None:
        """From now on the broker's state is known. certificates: whole days that each is still good."""
        self._broker = address, connected
        self.watch_certificates(certificates)

    def watch_certificates(self, more: Callable[[], Mapping[str, int]]) -> None:
        """These too. more: whole days that each is still good, by name."""
        before = self.certificates
        self.certificates = lambda: {**before(), **more()}

    def health(self) -> Health:
        """Why no money may be taken, and what holds only cuts."""
        trouble = self.fatal or self.store_trouble
        reasons = [f"the store cannot take money: {trouble}"] if trouble else []
        low = self.store.low if self.store else None
        reasons += [f"no money is taken: {low}"] if low else []
        reasons += [self.money_held] if self.money_held else []
        holds = [f"line {name} is down" for name, loop in self._crew.loops.items() if loop.up is False]
        holds += [f"no cut (F6): {low}"] if low else []
        site = self.site() if self.site else None
        if site is not None and not site.clock_trusted:
            holds.append(f"the clock is not trusted: no cut (F3){_because(site.clock_why)}")
        if self.money_held or (site is not None and not site.path_alive):
            holds.append(f"no way to top up is alive: no cut for debt (F2){_because(site.path_why if site else '')}")
        if self.cuts_stopped:
            holds.append(f"cuts are stopped: {self.cuts_stopped}")
        return Health(tuple(reasons), tuple(holds))

    def lines(self) -> Sequence[LineStatus]:
        """Every line now."""
        return [self._line(line) for line in self._crew.lines.values()]

    def meters(self, line: str) -> Sequence[MeterStatus] | None:
        """The devices of a line; before its loop runs there are none."""
        if (built := self._crew.lines.get(line)) is None:
            return None
        return [_meter(device, _link(built, device)) for device in self._devices(line)]

    def latencies(self) -> Iterator[tuple[str, str, Sequence[int]]]:
        """Line, meter and answer times of every device."""
        for line in self._crew.lines.values():
            for meter, latency in _latencies(line):
                yield line.id, meter, latency

    def broker(self) -> Broker | None:
        """The uplink's broker."""
        if self._broker is None:
            return None
        latency = AckLatency(BOUNDS_S, tuple(self.latency.counts), self.latency.sum_s)
        return Broker(self._broker[0], self._broker[1].is_set(), latency)

    def counters(self) -> Counters:
        """Totals since the start."""
        exchanges = sum(line.driver.counters.exchanges for line in self._crew.lines.values())
        waiting = self.store.waiting if self.store else 0
        counted, days, away = dict(self._commands), self.certificates(), self.turned_away()
        return Counters(self._crew.recorded, dict(self._topups), waiting, exchanges, counted, days, self.partners(), away)

    def _line(self, line: BuiltLine) -> LineStatus:
        loop, seen, now_ms = self._crew.loops.get(line.id), line.driver.counters, self._clock.now_ms()
        queues = {name: QueueStatus(*ages) for name, ages in loop.plan.queues(now_ms).items()} if loop else {}
        conditions = Counter(device.condition for device in self._devices(line.id))
        answers = together(latency for _, latency in _latencies(line))
        return LineStatus(
            line=line.id,
            endpoint=line.driver.name,
            state={True: "up", False: "down", None: "starting"}[loop.up if loop else None],
            utilisation=self._utilisation(line.driver, now_ms),
            exchanges=seen.exchanges,
            errors=dict(seen.errors),
            meters=line.meters,
            waiting=sum(queue.waiting for queue in queues.values()),
            answering=conditions[Condition.ANSWERING],
            failing=conditions[Condition.FAILING],
            silent=conditions[Condition.SILENT],
            queues=queues,
            p50_ms=quantile_ms(answers, 50),
            p95_ms=quantile_ms(answers, 95),
            stray_bytes=seen.stray_bytes,
            opened=seen.opened,
            turned_away=line.driver.turned_away,
        )

    def _devices(self, line: str) -> Sequence[DeviceState]:
        loop = self._crew.loops.get(line)
        return loop.plan.devices(self._clock.now_ms()) if loop else ()

    def sample(self) -> None:
        """Remember how busy every line has been so far."""
        now_ms = self._clock.now_ms()
        drivers = [line.driver for line in self._crew.lines.values()]
        self._samples = {driver: self._samples.get(driver, deque()) for driver in drivers}
        for driver, samples in self._samples.items():
            samples.append((now_ms, driver.counters.busy_ms))
            while now_ms - samples[0][0] > WINDOW_MS:
                samples.popleft()

    def _utilisation(self, driver: Driver, now_ms: int) -> float:
        samples = self._samples.get(driver)
        since_ms, busy_before = samples[0] if samples else (driver.counters.since_ms, 0)
        return max(0.0, min(1.0, (driver.counters.busy_ms - busy_before) / max(1, now_ms - since_ms)))


def _because(why: str) -> str:
    return f": {why}" if why else ""


def _latencies(line: BuiltLine) -> Iterator[tuple[str, Sequence[int]]]:
    """Of the meters, and of the switches that are devices of their own."""
    for meter, link in line.reads.items():
        yield meter, link.manner.latency
    for meter, link in line.switches.items():
        if line.reads.get(meter) is not link:
            yield meter, link.manner.latency


def _link(line: BuiltLine, device: DeviceState) -> MeterLink:
    """The link of this device: of a separate switch, or of the meter."""
    separate = set(device.groups) == {Group.SWITCH}
    return line.switches[device.meter] if separate else line.reads[device.meter]


def _meter(device: DeviceState, link: MeterLink) -> MeterStatus:
    manner = link.manner
    return MeterStatus(
        device.meter,
        tuple(group.value for group in device.groups),
        device.condition.value,
        device.since_ms,
        device.failures,
        device.next_ms,
        quantile_ms(manner.latency, 50),
        quantile_ms(manner.latency, 95),
        asdict(manner) | {"blocks": dict(manner.blocks)},
    )
