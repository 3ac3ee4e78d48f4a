"""The serial transport on real ptys: parity that a pty cannot hold, exclusive use, hang-up and reopening."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.serial import SerialTransport
from gateway.adapters.lines.transport import MAX_UNREAD, Inbox, LineDown
from protocols.modbus.frames import rtu_pack
from protocols.modbus.master import ReadRegisters


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
    assert await port.receive(5) == b"\x68"
    assert loop.time() - before < 1
    os.write(wire.near, b"old")
    await asyncio.sleep(0.02)
    assert port.discard() == 3 and await port.receive(0) == b""
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


async def test_two_programs_cannot_share_a_port(wire: Wire) -> None:
    first, second = SerialTransport(str(wire.path)), SerialTransport(str(wire.path))
    await first.open()
    with pytest.raises(LineDown, match="is in use by another program"):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


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
