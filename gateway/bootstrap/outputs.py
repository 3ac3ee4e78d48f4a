"""From [[output]] tables to running outputs: broker, profile, the loop that feeds it, what it may order; changed while all runs."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from gateway import __version__
from gateway.adapters.certificates import days_left
from gateway.adapters.http.status import OutputStatus
from gateway.adapters.mqtt_session import Broker
from gateway.adapters.output_homeassistant import HomeAssistant
from gateway.adapters.output_sparkplug import Sparkplug
from gateway.adapters.output_thingsboard import ThingsBoard
from gateway.bootstrap.crew import Crew
from gateway.bootstrap.transport import broker_of
from gateway.bootstrap.vitals import Vitals
from gateway.domain.jobs import Group
from gateway.domain.outputs import OutsideCuts
from gateway.entrypoints.outbox_loop import Clock, Store, Wake
from gateway.entrypoints.output_loop import Orders, OutputLoop
from gateway.entrypoints.output_numbers import Numbers
from gateway.services.plan import Condition
from gateway.services.ports import Site
from gateway.settings import Settings, SettingsError
from gateway.settings.outputs import Output, broker_table

log = structlog.get_logger(__name__)

Profile = HomeAssistant | Sparkplug | ThingsBoard
Work = Callable[[], Coroutine[object, object, None]]

LEAVE_S = 3.0
"""For taking away what an output that is removed has shown: who asked for the change waits."""


class House(Store, Protocol):
    """What an output needs of the running gateway."""

    settings: Settings

    @property
    def vitals(self) -> Vitals: ...
    @property
    def crew(self) -> Crew: ...
    def site(self) -> Site: ...
    def wake(self) -> None: ...


def broker(output: Output, settings: Settings, folder: Path) -> Broker:
    """Where it talks. SettingsError where a secret's file cannot be used."""
    table = broker_table(output, settings.mqtt)
    if table is None:
        raise SettingsError([f"output {output.name}: there is no broker; name a host here or in [mqtt]"])
    return broker_of(table, folder)


def profile(output: Output, settings: Settings, folder: Path, now_ms: Callable[[], int]) -> Profile:
    """One output, not yet running. SettingsError as above."""
    where, gateway, rng = broker(output, settings, folder), settings.gateway.id, random.SystemRandom()
    if output.kind == "homeassistant":
        prefix, commands, name = output.discovery_prefix, output.commands, output.name
        return HomeAssistant(
            where, gateway, version=__version__, now_ms=now_ms, rng=rng, name=name, prefix=prefix, commands=commands
        )
    if output.kind == "sparkplug":
        return Sparkplug(
            *(where, gateway),
            version=__version__,
            now_ms=now_ms,
            rng=rng,
            name=output.name,
            group=output.group,
            primary_host=output.primary_host,
            typed_data=output.typed_data,
        )
    return ThingsBoard(where, gateway, now_ms=now_ms, rng=rng, name=output.name)


def examine_outputs(settings: Settings, folder: Path) -> list[str]:
    """What only the files can show: passwords and certificates that cannot be used."""
    errors: list[str] = []
    for output in settings.output:
        try:
            where = broker(output, settings, folder)
            if where.tls is not None:
                where.tls.context()
        except SettingsError as problem:
            errors += [f"output {output.name}: {text}" for text in problem.errors]
        except OSError as problem:
            errors.append(f"output {output.name}: its certificate or key cannot be used: {problem}")
    return errors


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that an output is made from."""

    table: Output
    where: Broker

    @property
    def shown(self) -> tuple[object, ...]:
        """Where its meters are seen: another one leaves nothing behind at the old place."""
        return self.table.kind, self.where.host, self.where.port, self.table.discovery_prefix, self.table.group


@dataclass(frozen=True, slots=True)
class _Running:
    made: Wanted
    profile: Profile
    orders: Orders
    loop: OutputLoop
    feeding: asyncio.Task[None]
    connecting: asyncio.Task[None]


class Outputs:
    """All outputs of a gateway, each for itself. wake: a new ear for rows. keep: runs a loop that must not end, by name."""

    def __init__(
        self,
        house: House,
        folder: Path,
        clock: Clock,
        wake: Callable[[], Wake],
        keep: Callable[[str, Work], Coroutine[object, object, None]],
    ) -> None:
        self._house, self._folder, self._clock, self._wake, self._keep = house, folder, clock, wake, keep
        self._running: dict[str, _Running] = {}
        self._begun = False

    async def run(self) -> None:
        """Until cancelled; all of them say their last words then."""
        wanted = self.wanted(self._house.settings)
        self._begun = True
        try:
            for name, each in wanted.items():
                self._start(name, each)
            await asyncio.Event().wait()
        finally:
            self._begun = False
            await asyncio.gather(*(self._end(name) for name in tuple(self._running)))

    def wanted(self, settings: Settings) -> Mapping[str, Wanted]:
        """What these settings ask for, by name, with the secrets as the files hold them now. SettingsError: they cannot be had."""
        return {output.name: Wanted(output, broker(output, settings, self._folder)) for output in settings.output}

    def stale(self, wanted: Mapping[str, Wanted]) -> list[str]:
        """Those that go on, but not as they are."""
        return [name for name, each in wanted.items() if name in self._running and self._running[name].made != each]

    async def change(self, wanted: Mapping[str, Wanted]) -> None:
        """Go on with these. Those that are not others notice nothing; of one that is not wanted any more, or elsewhere, nothing
        stays behind as far as its broker is there."""
        if not self._begun:
            return  # it begins with them
        ending = {name for name, now in self._running.items() if name not in wanted or now.made != wanted[name]}
        gone = {name for name in ending if name not in wanted or wanted[name].shown != self._running[name].made.shown}
        await asyncio.gather(*(self._end(name, gone=name in gone) for name in ending))
        for name, each in wanted.items():
            if name not in self._running:
                self._start(name, each)
        self._running = {name: self._running[name] for name in wanted}

    def status(self, last: int) -> Sequence[OutputStatus]:
        """Every output now. last: the outbox's newest row."""
        return [_status(name, each, last) for name, each in self._running.items()]

    def certificates(self) -> Mapping[str, int]:
        """Whole days that each is still good: output:NAME is our own, output:NAME:ca vouches for its broker."""
        found: dict[str, int] = {}
        for name, each in self._running.items():
            if (tls := each.made.where.tls) is not None:
                left = days_left(tls, self._clock.now_ms())
                found |= {f"output:{name}" if key == "gateway" else f"output:{name}:{key}": days for key, days in left.items()}
        return found

    def _start(self, name: str, wanted: Wanted) -> None:
        house, clock, output = self._house, self._clock, wanted.table
        shown = profile(output, house.settings, self._folder, clock.now_ms)
        shown.orders = orders = Orders(
            *(house, name, clock, house.site),
            new_id=lambda: secrets.token_hex(8),
            woken=house.wake,
            commands=output.commands,
            cuts=OutsideCuts(output.cut_cause, output.facts),
        )
        if isinstance(shown, Sparkplug):
            shown.numbers = Numbers(house, name)
        meters, silent = partial(read_meters, house.crew), partial(silent_meters, house.vitals)
        loop = OutputLoop(house, shown, self._wake(), clock, meters=meters, silent=silent)
        feeding = asyncio.create_task(self._keep(f"output {name}", loop.run))
        connecting = asyncio.create_task(self._keep(f"broker of output {name}", shown.run))
        self._running[name] = _Running(wanted, shown, orders, loop, feeding, connecting)

    async def _end(self, name: str, *, gone: bool = False) -> None:
        ending = self._running.pop(name)
        await _cancel(ending.feeding)
        if gone:
            try:
                async with asyncio.timeout(LEAVE_S):
                    await ending.loop.leave()
            except (ConnectionError, TimeoutError) as failed:
                log.warning(f"output {name} is removed, but what it showed at {ending.made.where} stays there: {failed}")
        await _cancel(ending.connecting)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))


def _status(name: str, seen: _Running, last: int) -> OutputStatus:
    return OutputStatus(
        output=name,
        kind=seen.made.table.kind,
        address=str(seen.made.where),
        connected=seen.profile.ready.is_set(),
        waiting=seen.loop.waiting(last),
        dropped=seen.loop.dropped,
        told_ms=seen.loop.told_ms,
        orders=dict(seen.orders.counted),
    )


def read_meters(crew: Crew) -> set[str]:
    """Meters that are read at present; the store also has those of former times."""
    return {meter for line in crew.lines.values() for meter in line.reads}


def silent_meters(vitals: Vitals) -> set[str]:
    """Meters that do not answer now; a separate switch that does not is no meter."""
    devices = (device for line in vitals.lines() for device in vitals.meters(line.line) or ())
    silent = (device for device in devices if device.state == Condition.SILENT.value)
    return {device.meter for device in silent if set(device.groups) != {Group.SWITCH.value}}
