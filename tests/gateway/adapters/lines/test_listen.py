"""A line that is dialled into: waiting, replacement, heartbeats between questions, and a simulated meter that calls."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from firmware_sim.config import parse
from firmware_sim.line import DialLine
from firmware_sim.serve import Simulator
from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.listen import ListenTransport
from gateway.adapters.lines.listen_hub import Caller, close_listeners
from gateway.adapters.lines.transport import LineDown
from gateway.adapters.meter_links.dlt645_link import Dlt645Link
from gateway.adapters.profiles import profile
from gateway.domain.jobs import Answered, Group, ReadJob
from protocols.dlt645.frames import WAKE_UP
from protocols.modbus.frames import rtu_pack
from protocols.modbus.master import ReadRegisters
from tests.gateway.adapters.meter_links.test_over_real_lines import Book
from tests.gateway.uplink_ends import until
from tests.ports import free_port

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
FAR = Caller(LOOPBACK, b"FAR-1", bytes([WAKE_UP]), b"OK")
NOON_MS = 1_767_268_800_000


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    close_listeners()


def line(port: int, caller: Caller = FAR, *, dial_in_s: float = 0.05, latency_ms: int = 0) -> ListenTransport:
    return ListenTransport("127.0.0.1", port, caller, now_ms=lambda: NOON_MS, latency_ms=latency_ms, dial_in_s=dial_in_s)


class Modem:
    """A converter with unit 1 behind it, whose register 0 is 7. early, late: said before and after each answer, by itself."""

    def __init__(self, port: int, *, early: bytes = b"", late: bytes = b"", pieces: int = 1) -> None:
        self.port, self.early, self.late, self.pieces = port, early, late, pieces
        self.heard = b""

    async def dial(self, said: bytes) -> Modem:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(said)
        self.task = asyncio.create_task(self._serve())
        return self

    def hang_up(self) -> None:
        self.writer.transport.abort()

    async def _serve(self) -> None:
        frame = rtu_pack(1, b"\x03\x02\x00\x07")
        while data := await self.reader.read(4096):
            self.heard += data
            if data.startswith(b"\x01\x03") or data.removeprefix(b"OK").startswith(b"\x01\x03"):
                self.writer.write(self.early)
                size = -(-len(frame) // self.pieces)
                for at in range(0, len(frame), size):
                    await asyncio.sleep(0.02)
                    self.writer.write(frame[at : at + size])
                self.writer.write(self.late)


async def opened(driver: Driver) -> None:
    async with asyncio.timeout(60):
        while await driver.ensure_open():
            pass


async def read(driver: Driver) -> tuple[int, ...]:
    return (await driver.run(ReadRegisters(1, 3, 0, 1))).value


async def test_a_device_that_has_not_called_is_waited_for_but_not_long() -> None:
    far = line(free_port())
    before = asyncio.get_running_loop().time()
    with pytest.raises(LineDown, match=r"^FAR-1 at 127.0.0.1:\d+ has not dialled in since 2026-01-01 12:00:00 UTC\.$"):
        await far.open()
    assert 0.04 < asyncio.get_running_loop().time() - before < 60
    with pytest.raises(LineDown, match="is not connected"):
        await far.send(b"x")
    assert far.down and far.discard() == 0
    await far.close()


async def test_a_device_is_asked_and_asked_again_when_it_has_called_back() -> None:
    driver = Driver(line(port := free_port(), dial_in_s=0.05), baud=None, clock=Clock())
    assert await driver.ensure_open()
    for _ in range(2):
        modem = await Modem(port).dial(b"FAR-1")
        await opened(driver)
        assert await read(driver) == (7,)
        modem.hang_up()
        with pytest.raises(LineDown, match=r"(closed|broke) the connection"):
            await asyncio.sleep(0.05)
            await read(driver)
    await driver.close()


async def test_a_new_connection_replaces_the_old_one_that_looks_alive() -> None:
    far = line(port := free_port(), dial_in_s=0.05)
    driver = Driver(far, baud=None, clock=Clock())
    opening = asyncio.create_task(opened(driver))
    await asyncio.sleep(0.02)
    old = await Modem(port).dial(b"FAR-1")
    await opening
    assert await read(driver) == (7,)
    new = await Modem(port).dial(b"FAR-1")
    await asyncio.wait_for(old.task, 60)  # it was hung up on
    assert far.down == f"{far.name} was replaced by a newer connection of the same device."
    assert await driver.ensure_open() is None and await read(driver) == (7,)
    assert new.heard and far.turned_away == {}
    await driver.close()


async def test_a_call_while_the_line_is_closed_is_kept_for_its_opening() -> None:
    far = line(port := free_port())
    with pytest.raises(LineDown):
        await far.open()
    await far.close()
    modem = await Modem(port).dial(b"FAR-1")
    await until(lambda: far._waiting is not None, "it has called")
    await far.open()
    await far.send(b"\x01\x03")
    assert await far.receive(1) and modem.heard == b"\x01\x03"
    await far.close()


@pytest.mark.parametrize("pieces", [1, 3])
async def test_heartbeats_around_answers_cost_no_reading_and_are_answered_between_questions(pieces: int) -> None:
    driver = Driver(line(port := free_port(), dial_in_s=0.05), baud=None, clock=Clock(), latency_ms=3000)
    await driver.ensure_open()
    modem = await Modem(port, early=b"\xfe", late=b"\xfe", pieces=pieces).dial(b"\xfeFAR-1")
    await opened(driver)
    for _ in range(5):
        assert await read(driver) == (7,)
    assert driver.counters.errors == {}
    question = ReadRegisters(1, 3, 0, 1).start()
    assert modem.heard.startswith(question) and modem.heard.replace(b"OK", b"") == question * 5
    assert modem.heard.count(b"OK" + question) == 4  # never between a question and its answer
    await driver.close()


async def test_an_idle_heartbeat_is_answered_at_once_and_is_no_stray_byte() -> None:
    driver = Driver(line(port := free_port(), dial_in_s=0.05), baud=None, clock=Clock())
    await driver.ensure_open()
    modem = await Modem(port).dial(b"FAR-1")
    await opened(driver)
    modem.writer.write(b"\xfe")
    await until(lambda: modem.heard == b"OK", "the heartbeat is answered")
    assert await read(driver) == (7,) and driver.counters.stray_bytes == 0
    await driver.close()


@pytest.mark.parametrize("delay_ms", [300, 1500])
async def test_a_simulated_meter_that_dials_in_is_read_between_its_heartbeats(tmp_path: Path, delay_ms: int) -> None:
    simulator = Simulator(parse(street(port := free_port(), delay_ms), tmp_path))
    driver = Driver(line(port, dial_in_s=60, latency_ms=3000), baud=9600, clock=Clock(), latency_ms=3000)
    await simulator.open()
    try:
        assert await driver.ensure_open() is None
        link = Dlt645Link(driver, "m", "000000000002", profile("dlt645-single"), clock=Clock(), passwords=Book())
        values: list[str] = []
        async with asyncio.timeout(100):  # a heartbeat inside a frame costs a try, never a wrong value
            while len(values) < 2:
                outcome = await link.perform(ReadJob("m", Group.BILLING))
                values += [str(outcome.reading.items[0].value)] if isinstance(outcome, Answered) and outcome.reading else []
        assert [value[:4] for value in values] == ["42.0"] * 2
        end = simulator.endpoints["far"]
        assert isinstance(end, DialLine) and end.connected
    finally:
        await driver.close()
        simulator.close()


def street(port: int, delay_ms: int) -> dict[str, object]:
    meter = {"id": "m", "line": "far", "model": "dlt645-single", "address": "000000000002", "initial_kwh": 42}
    dial = {"id": "far", "kind": "dial", "host": "127.0.0.1", "port": port, "baud": 9600}
    return {
        "line": [{**dial, "registration": "FAR-1", "heartbeat": "hex:FE", "heartbeat_s": 1}],
        "meter": [{**meter, "delay_ms": [delay_ms, delay_ms + 20], "tail_ms": 0, "load": {"power_w": 1500}}],
    }


async def test_calls_that_were_turned_away_are_told_of_the_line() -> None:
    driver = Driver(line(port := free_port(), dial_in_s=0.05), baud=None, clock=Clock())
    assert await driver.ensure_open() and driver.turned_away == {}
    await Modem(port).dial(b"WHO-9")
    await until(lambda: driver.turned_away == {"unknown": 1}, "the call is turned away")
    await driver.close()
