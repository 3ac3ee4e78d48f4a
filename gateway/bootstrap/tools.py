"""The tools for one line by hand, put together: which line, whose lock, whose passwords (contract.md 2)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from gateway.adapters.clock import Clock
from gateway.adapters.line_tools.diagnosis import Verdict
from gateway.adapters.line_tools.doctor import Doctor
from gateway.adapters.line_tools.hand_read import DIALECTS, BadItem, Got, Unread, Value, identifiers_of, read_dlt645, read_modbus
from gateway.adapters.line_tools.modbus_search import FoundUnit, search_units
from gateway.adapters.line_tools.place import BadPlace, Place, Setting, parse_place
from gateway.adapters.line_tools.playback import Playback, serve_pty, serve_tcp
from gateway.adapters.line_tools.recorder import Recorder
from gateway.adapters.line_tools.relay import Way
from gateway.adapters.line_tools.replay import Replayed, replay
from gateway.adapters.line_tools.scan import Scanned, scan
from gateway.adapters.line_tools.search import Tell
from gateway.adapters.line_tools.traffic import BadTraffic, Header, Piece, read_traffic
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.transport import LineDown, Transport
from gateway.adapters.profiles import MeterProfile, ProfileError, profile
from gateway.adapters.store import StoreError, lock
from gateway.bootstrap.reach import Listener, Unreached, ask_line, listener_of, meter_told
from gateway.bootstrap.transports import transport_of
from gateway.settings import Line, Settings

__all__ = [
    "Chosen", "NotDone", "Scanned", "Target", "Unread", "Value", "WrongUse", "address_of", "examine_line", "held", "meter_of",
    "ran", "read", "record", "replayed", "search", "search_modbus", "serve_recording", "target_of",
]  # fmt: skip

T = TypeVar("T")

MODBUS_SETTING = Setting(9600, "N")
"""What most Modbus devices leave the works with."""


class WrongUse(Exception):
    """What was asked for cannot be; one sentence, exit code 2."""


class NotDone(Exception):
    """It could be asked and was not achieved; one sentence, exit code 1."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a person named: a line, or a configuration with its folder, and how the line is set where that is known.

    line: device, tcp:HOST:PORT or a line's id; None where a meter of the configuration says it. gateway: a running one, named
    instead of a configuration.
    """

    line: str | None = None
    settings: Settings | None = None
    folder: Path = Path()
    baud: int | None = None
    parity: str | None = None
    gateway: Listener | None = None

    @property
    def fixed(self) -> bool:
        """Whether only the named setting may be tried."""
        return self.baud is not None or self.parity is not None


@dataclass(frozen=True, slots=True)
class Target:
    """The meter that is read: of a configuration by name, or by its address on a line. profile: where one is known."""

    address: str
    dialect: str = "2007"
    meter: str | None = None
    profile: MeterProfile | None = None


def ran(work: Coroutine[Any, Any, T]) -> T:
    """Run a tool to its end. Raises WrongUse and NotDone."""
    try:
        return asyncio.run(work)
    except (BadItem, BadPlace, ProfileError, BadTraffic) as error:
        raise WrongUse(str(error)) from None
    except LineDown as error:
        raise NotDone(str(error)) from None


@contextlib.contextmanager
def held(chosen: Chosen) -> Iterator[Place]:
    """The line, and with a configuration its data directory for this one act. Raises WrongUse, or NotDone where a gateway runs."""
    place = place_of(chosen)
    if chosen.settings is None:
        yield place
        return
    try:
        taken = lock(chosen.folder / chosen.settings.gateway.data)
    except StoreError as error:
        raise NotDone(f"a gateway has this line: {error}; stop it for this act, or name a line that it does not have") from None
    with taken:
        yield place


@contextlib.contextmanager
def reached(chosen: Chosen) -> Iterator[Place]:
    """Like `held`, but where a gateway runs, its line as a guest, for reads. Raises WrongUse, NotDone."""
    if chosen.gateway is not None:
        try:
            through = _through(chosen, chosen.gateway)
        except Unreached as problem:
            raise NotDone(str(problem)) from None
        yield through
        return
    place = place_of(chosen)
    if chosen.settings is None:
        yield place
        return
    try:
        taken = lock(chosen.folder / chosen.settings.gateway.data)
    except StoreError as error:
        if place.made is None:
            known = ", ".join(line.id for line in chosen.settings.line) or "none"
            raise WrongUse(f"a gateway runs on this configuration: name one of its lines ({known}), or leave -c out") from None
        try:
            through = _through(chosen, listener_of(chosen.settings, chosen.folder))
        except Unreached as problem:
            raise NotDone(f"{error}, and {problem}") from None
        yield through
        return
    with taken:
        yield place


def _through(chosen: Chosen, listener: Listener) -> Place:
    """The line of a running gateway. Raises WrongUse, Unreached."""
    if chosen.line is None:
        raise WrongUse("name a line of the gateway by its id, with --line LINE")
    if chosen.fixed:
        raise WrongUse("a gateway has this line: its speed and parity cannot be chosen; stop it to try others")
    told = ask_line(listener, chosen.line)
    setting = Setting(told.baud or 2400, told.parity or "E")
    way = Way(listener.url, listener.token, chosen.line)
    return Place(chosen.line, told.kind, told.device, setting, told=told.baud is not None, through=way)


def place_of(chosen: Chosen) -> Place:
    """The line that was named. Raises WrongUse."""
    if chosen.line is None:
        raise WrongUse("name a line: a device (/dev/ttyUSB0), tcp:HOST:PORT, or -c FILE and a line's id")
    configured = {line.id: line for line in chosen.settings.line} if chosen.settings else {}
    if chosen.line in configured:
        return _configured(configured[chosen.line], chosen)
    if chosen.settings and "/" not in chosen.line and ":" not in chosen.line:
        known = ", ".join(configured) or "none"
        raise WrongUse(f"the configuration has no line {chosen.line!r}; it has {known}")
    try:
        return parse_place(chosen.line, chosen.baud, chosen.parity)
    except BadPlace as error:
        raise WrongUse(str(error)) from None


def _configured(line: Line, chosen: Chosen) -> Place:
    setting = Setting(chosen.baud or line.baud, chosen.parity or line.parity)

    def made(setting: Setting) -> Transport:
        return transport_of(line.model_copy(update={"baud": setting.baud, "parity": setting.parity}), Clock())

    return Place(
        line.id, line.kind, line.device or "", setting, told=True, gap_ms=line.gap_ms, latency_ms=line.added_ms(), made=made
    )


def address_of(text: str) -> str:
    """12 digits from 1 to 12. Raises WrongUse."""
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise WrongUse(f"{text!r} is no meter's address: it has 1 to 12 digits")
    return text.zfill(12)


def meter_of(name: str, chosen: Chosen) -> tuple[Chosen, Target]:
    """A meter of the configuration and its line. Raises WrongUse."""
    if chosen.gateway is not None:
        try:
            told = meter_told(chosen.gateway, name)
        except Unreached as error:
            raise NotDone(str(error)) from None
        line = replace(chosen, line=chosen.line or told.line)
        if told.protocol == "modbus":
            raise WrongUse(f"{name} speaks Modbus: name its profile, --line {told.line} --address {told.address} --profile NAME")
        return line, target_of(told.address, told.protocol.removeprefix("dlt645-"), None, name)
    if chosen.settings is None:
        raise WrongUse(f"to read meter {name!r} by its name add -c FILE; else name --line and --address")
    meter = next((meter for meter in chosen.settings.meter if meter.name == name), None)
    if meter is None:
        raise WrongUse(f"the configuration has no meter {name!r}")
    line = Chosen(chosen.line or meter.line, chosen.settings, chosen.folder, chosen.baud, chosen.parity)
    return line, target_of(meter.address, "2007", meter.profile, name)


def target_of(address: str, dialect: str, profile_name: str | None, name: str | None = None) -> Target:
    """A meter by its address, perhaps with a profile. Raises WrongUse."""
    if profile_name is None:
        return Target(address_of(address), dialect, name)
    try:
        found = profile(profile_name)
    except ProfileError as error:
        raise WrongUse(str(error)) from None
    if found.protocol == "modbus":
        if not address.isdecimal() or not 1 <= int(address) <= 247:
            raise WrongUse(f"{address!r} is no Modbus unit: it is a number from 1 to 247")
        return Target(str(int(address)), dialect, name, found)
    return Target(address_of(address), "1997" if found.protocol == "dlt645-1997" else "2007", name, found)


def read(chosen: Chosen, target: Target, words: Sequence[str]) -> list[Got]:
    """The values of these identifiers or quantities; without words those that the profile bills by. Raises WrongUse, NotDone."""
    wanted = list(words) or _usual(target)
    if target.profile is None or target.profile.modbus is None:
        for word in wanted:
            try:
                identifiers_of(word, DIALECTS[target.dialect])
            except BadItem as error:
                raise WrongUse(str(error)) from None
    with reached(chosen) as place:
        return ran(_read(place, target, wanted))


async def _read(place: Place, target: Target, words: Sequence[str]) -> list[Got]:
    driver = await _driver(place)
    try:
        if target.profile is not None and target.profile.modbus is not None:
            framing = place.framing
            return await read_modbus(driver, int(target.address), words, target.profile, framing)
        preamble = target.profile.dlt645.preamble if target.profile and target.profile.dlt645 else 4
        return await read_dlt645(driver, target.address, words, DIALECTS[target.dialect], preamble)
    finally:
        await driver.close()


def _usual(target: Target) -> list[str]:
    if target.profile is None:
        return ["energy_import"]
    return list(target.profile.dlt645.billing) if target.profile.dlt645 else []


async def _driver(place: Place, search: bool = False) -> Driver:
    """An open driver. Raises LineDown."""
    numbered = place.numbered
    baud, latency_ms = (None, 0) if numbered else (place.baud, place.latency_ms)
    driver = Driver(place.transport(search=search), baud=baud, clock=Clock(), latency_ms=latency_ms, numbered=numbered)
    if why := await driver.ensure_open():
        raise LineDown(why)
    return driver


def search(chosen: Chosen, dialect: str | None, thorough: bool, patience_ms: int, tell: Tell) -> list[Scanned]:
    """The meters of a line at each setting that was tried. Raises WrongUse, NotDone."""
    with reached(chosen) as place:
        if place.kind == "modbus-tcp":
            raise WrongUse(f"{place.name} carries Modbus TCP, which is searched with --modbus")
        dialects = [DIALECTS[dialect]] if dialect else list(DIALECTS.values())
        work = scan(place, tell, fixed=chosen.fixed, dialects=dialects, thorough=thorough, patience_ms=patience_ms)
        return ran(work)


def search_modbus(chosen: Chosen, units: Sequence[int], tell: Tell) -> tuple[Place, list[FoundUnit]]:
    """The Modbus units of a line at one setting: the named one, the configured one, or 9600 8N1. Raises WrongUse, NotDone."""
    with reached(chosen) as place:
        if place.settable and not chosen.fixed and not place.told:
            place = place.at(MODBUS_SETTING)
        return place, ran(_units(place, units, tell))


async def _units(place: Place, units: Sequence[int], tell: Tell) -> list[FoundUnit]:
    driver = await _driver(place, search=True)
    try:
        return await search_units(driver, place.framing, units, tell)
    finally:
        await driver.close()


def examine_line(chosen: Chosen, address: str | None, dialect: str | None, tell: Tell) -> Verdict:
    """What is wrong with a line, in one sentence. Raises WrongUse, NotDone."""
    wanted = None if address is None else address_of(address)
    with reached(chosen) as place:
        if place.kind == "modbus-tcp":
            raise WrongUse(f"{place.name} carries Modbus TCP: `wattgate scan {place.name} --modbus` asks its units")
        return ran(Doctor(place, tell, wanted, DIALECTS[dialect] if dialect else None).examine())


def record(
    chosen: Chosen, file: Path, seconds: float | None, reads: Sequence[tuple[str, str]], every_s: float, tell: Tell
) -> Recorder:
    """Record a line to a new file; Ctrl-C ends it well. Raises WrongUse, NotDone."""
    wanted = [(address_of(address), di) for address, word in reads for di in _identifiers(word)]
    with held(chosen) as place:
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # orders carry passwords in plain text
            with os.fdopen(descriptor, "w", encoding="ascii") as out:
                recorder = Recorder(place, out, Clock(), wanted, every_s)
                tell(f"recording {place.name} {place.how}")
                try:
                    with contextlib.suppress(KeyboardInterrupt):
                        ran(recorder.record(seconds))
                except (WrongUse, NotDone):
                    if not recorder.pieces:
                        file.unlink()
                    raise
        except FileExistsError:
            raise WrongUse(f"{file} is there already; name another file") from None
        except OSError as error:
            raise NotDone(f"{file} cannot be written: {error.strerror}") from None
    return recorder


def recording(file: Path) -> tuple[Header, list[Piece]]:
    """What a file holds. Raises WrongUse, NotDone."""
    try:
        with file.open(encoding="ascii", errors="replace") as lines:
            return read_traffic(lines)
    except OSError as error:
        raise NotDone(f"{file} cannot be read: {error.strerror}") from None
    except BadTraffic as error:
        raise WrongUse(f"{file}: {error}") from None


def replayed(file: Path) -> Replayed:
    """A recording through our own decoders. Raises WrongUse, NotDone."""
    return replay(recording(file)[1])


def serve_recording(file: Path, where: str, tell: Tell) -> Playback:
    """A line that answers as the recorded one did, until Ctrl-C. where: tcp:HOST:PORT or a path. Raises WrongUse, NotDone."""
    playback = Playback(recording(file)[1])
    if where.startswith("tcp:"):
        place = where.removeprefix("tcp:")
        host, _, port = place.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise WrongUse(f"{where!r} is no TCP port: write it like tcp:127.0.0.1:4001")
        work = serve_tcp(playback, host.strip("[]"), int(port), tell)
    else:
        work = serve_pty(playback, where, tell)
    with contextlib.suppress(KeyboardInterrupt):
        ran(work)
    return playback


def _identifiers(word: str) -> tuple[str, ...]:
    try:
        return identifiers_of(word)
    except BadItem as error:
        raise WrongUse(str(error)) from None
