"""The serial transport on real ptys: parity that a pty cannot hold, exclusive use, hang-up and reopening."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from serial.rs485 import RS485Settings

from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver, NoAnswer
from gateway.adapters.lines.serial import Rs485, SerialTransport
from gateway.adapters.lines.transport import MAX_UNREAD, Inbox, LineDown
from protocols.modbus.frames import rtu_pack
from protocols.modbus.master import ReadRegisters
from tests.simulation.memory_line import MemoryLine
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time


class Wire:
    """The far end of a pty under a stable name, as udev gives it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plug()

    def plug(self) -> None:
        self.near, self.far = pty.openpty()
        tty.setraw(self.far)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self.far))

    def unplug(self) -> None:
        os.close(self.near)
        os.close(self.far)
        self.path.unlink(missing_ok=True)


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    wire = Wire(tmp_path / "rs485")
    yield wire
    if wire.path.is_symlink():
        wire.unplug()


async def test_a_pty_is_opened_again_and_again_although_it_cannot_hold_8e1(wire: Wire) -> None:
    port = SerialTransport(str(wire.path), baud=2400, parity="E")
    for n in range(5):
        await port.open()
        os.write(wire.near, bytes([n]))
        assert await port.receive(1) == bytes([n])
        await port.send(b"\xfe\x68\x00\x16\xff\x11\x13")
        assert os.read(wire.near, 100) == b"\xfe\x68\x00\x16\xff\x11\x13"
        await port.close()
        assert port.down is not None


async def test_nothing_in_time_is_empty_and_bytes_wake_at_once(wire: Wire) -> None:
    port = SerialTransport(str(wire.path))
    await port.open()
    assert await port.receive(0.01) == b""
    loop = asyncio.get_running_loop()
    loop.call_later(0.02, os.write, wire.near, b"\x68")
    before = loop.time()
    assert await port.receive(120) == b"\x68"
    assert loop.time() - before < 60
    os.write(wire.near, b"old")
    discarded = 0
    async with asyncio.timeout(60):
        while discarded < 3:
            await asyncio.sleep(0.02)
            discarded += port.discard()
    assert discarded == 3 and await port.receive(0) == b""
    await port.close()


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda folder: str(folder / "nothing"), "does not exist; is the adapter plugged in?"),
        (lambda folder: "/dev/null", "is not a serial device"),
    ],
)
async def test_a_port_that_cannot_be_opened_says_why(tmp_path: Path, prepare: object, sentence: str) -> None:
    assert callable(prepare)
    with pytest.raises(LineDown, match=sentence):
        await SerialTransport(prepare(tmp_path)).open()


async def test_pain_10_two_programs_cannot_share_a_port(wire: Wire) -> None:
    first, second = SerialTransport(str(wire.path)), SerialTransport(str(wire.path))
    await first.open()
    with pytest.raises(LineDown, match="is in use by another program"):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


async def test_what_a_pty_cannot_hold_is_said_once(wire: Wire) -> None:
    told: list[str] = []
    port = SerialTransport(str(wire.path), stopbits=2, rs485=Rs485(), tell=told.append)
    for _ in range(3):
        await port.open()
    await port.close()
    parity, direction = told
    assert parity == f"{wire.path} is a pseudo-terminal, which cannot hold parity: it is set to 8N2 instead of 8E2."
    assert "does not take RS-485 direction settings" in direction and "Inappropriate ioctl" in direction
    quiet = SerialTransport(str(wire.path), parity="N", tell=told.append)
    await quiet.open()
    await quiet.close()
    assert len(told) == 2


async def test_direction_settings_reach_the_kernel(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RS485Settings] = []
    monkeypatch.setattr(serial.Serial, "_set_rs485_mode", lambda _, settings: asked.append(settings))
    port = SerialTransport(str(wire.path), rs485=Rs485(rts_tx=False, rts_rx=True, delay_tx_ms=2, delay_rx_ms=5))
    await port.open()
    await port.close()
    (told,) = map(vars, asked)
    assert (told["rts_level_for_tx"], told["rts_level_for_rx"]) == (False, True)
    assert (told["delay_before_tx"], told["delay_before_rx"]) == (0.002, 0.005)


async def test_pain_13_an_adapter_is_asked_not_to_keep_bytes_back(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(serial.Serial, "set_low_latency_mode", lambda _, on: asked.append(on))
    port = SerialTransport(str(wire.path))
    await port.open()
    await port.close()
    assert asked == [True]


@in_virtual_time
async def test_pain_03_wrong_and_missing_answers_leave_the_port_open() -> None:
    good = rtu_pack(1, b"\x03\x02\x00\x07")
    answers = iter([b"", rtu_pack(2, b"\x03\x02\x00\x07"), good[:-1] + b"\x00", b"\x00\xff\x7f", b"", good])
    line = MemoryLine(lambda _: [(0.02, answer)] if (answer := next(answers)) else [])
    driver = Driver(line, baud=9600, clock=VirtualClock())
    for _ in range(5):
        assert await driver.ensure_open() is None
        with pytest.raises(NoAnswer):
            await driver.run(ReadRegisters(1, 3, 0, 1))
    assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (7,)
    assert line.opened == 1


async def test_a_lost_adapter_is_known_at_once_and_used_again_under_its_stable_name(wire: Wire) -> None:
    driver = Driver(SerialTransport(str(wire.path)), baud=9600, clock=Clock())
    assert await driver.ensure_open() is None
    wire.unplug()
    with pytest.raises(LineDown) as gone:
        await driver.run(ReadRegisters(1, 3, 0, 1))
    assert "gone" in str(gone.value)
    assert "does not exist" in (await driver.ensure_open() or "")
    wire.plug()
    assert await driver.ensure_open() is None
    asyncio.get_running_loop().add_reader(wire.near, _answer, wire.near)
    assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (7,)
    asyncio.get_running_loop().remove_reader(wire.near)
    await driver.close()


def _answer(near: int) -> None:
    os.read(near, 100)
    os.write(near, rtu_pack(1, b"\x03\x02\x00\x07"))


async def test_an_idle_line_notices_that_it_is_gone(wire: Wire) -> None:
    driver = Driver(SerialTransport(str(wire.path)), baud=9600, clock=Clock())
    assert await driver.ensure_open() is None
    wire.unplug()
    await asyncio.sleep(0.05)
    assert await driver.ensure_open() is not None
    await driver.close()


async def test_a_babbling_device_fills_no_memory() -> None:
    inbox = Inbox()
    for n in range(100):
        inbox.feed(bytes([n]) * 4096)
    kept = await inbox.take(0)
    assert len(kept) == MAX_UNREAD and kept[-1] == 99
