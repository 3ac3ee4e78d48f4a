"""From [[output]] tables to running outputs: broker, profile, the loop that feeds it, and what it may order."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from gateway import __version__
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
from gateway.services.plan import Condition
from gateway.services.ports import Site
from gateway.settings import Settings, SettingsError
from gateway.settings.outputs import Output, broker_table

Profile = HomeAssistant | Sparkplug | ThingsBoard
Work = Callable[[], Coroutine[object, object, None]]


class House(Store, Protocol):
    """What an output needs of the running gateway."""

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


def work_of(house: House, settings: Settings, folder: Path, clock: Clock, wake: Callable[[], Wake]) -> Iterator[tuple[str, Work]]:
    """The loops of all outputs, each with its name. wake: a new ear for rows."""
    for output in settings.output:
        shown = profile(output, settings, folder, clock.now_ms)
        cuts = OutsideCuts(output.cut_cause, output.facts)
        shown.orders = Orders(
            *(house, output.name, clock, house.site),
            new_id=lambda: secrets.token_hex(8),
            woken=house.wake,
            commands=output.commands,
            cuts=cuts,
        )
        silent = partial(silent_meters, house.vitals)
        loop = OutputLoop(house, shown, wake(), clock, meters=partial(read_meters, house.crew), silent=silent)
        yield f"output {output.name}", loop.run
        yield f"broker of output {output.name}", shown.run


def read_meters(crew: Crew) -> set[str]:
    """Meters that are read at present; the store also has those of former times."""
    return {meter for line in crew.lines.values() for meter in line.reads}


def silent_meters(vitals: Vitals) -> set[str]:
    """Meters that do not answer now; a separate switch that does not is no meter."""
    devices = (device for line in vitals.lines() for device in vitals.meters(line.line) or ())
    silent = (device for device in devices if device.state == Condition.SILENT.value)
    return {device.meter for device in silent if set(device.groups) != {Group.SWITCH.value}}

