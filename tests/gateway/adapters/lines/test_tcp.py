"""The TCP transport on loopback: refused, closed, and there again."""

from __future__ import annotations

import asyncio

import pytest

from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.tcp import TcpTransport
from gateway.adapters.lines.transport import LineDown
from protocols.modbus.frames import tcp_pack
from protocols.modbus.master import ReadRegisters


class Device:
    """A Modbus TCP unit 1 whose register 0 is 7."""

    def __init__(self) -> None:
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> Device:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def stop(self) -> None:
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while request := await reader.read(260):
            writer.write(tcp_pack(1, b"\x03\x02\x00\x07", int.from_bytes(request[:2], "big")))


def make(device: Device) -> Driver:
    return Driver(TcpTransport("127.0.0.1", device.port), baud=None, clock=Clock(), numbered=True)


def question(driver: Driver) -> ReadRegisters:
    return ReadRegisters(1, 3, 0, 1, "tcp", driver.next_number())


async def test_a_device_is_asked_and_found_again_after_it_hung_up() -> None:
    device = await Device().start()
    driver = make(device)
    with pytest.raises(LineDown, match="not connected") as unsent:
        await driver.run(question(driver))
    assert not unsent.value.sent
    for _ in range(2):
        assert await driver.ensure_open() is None
        assert (await driver.run(question(driver))).value == (7,)
        assert (await driver.run(question(driver))).value == (7,)
        device.writers[-1].transport.abort()
        await asyncio.sleep(0.05)
    device.stop()
    assert "Nothing listens on" in (await driver.ensure_open() or "")
    await device.start()
    assert await driver.ensure_open() is None
    assert (await driver.run(question(driver))).value == (7,)
    await driver.close()
    device.stop()


async def test_an_unknown_host_is_one_sentence() -> None:
    with pytest.raises(LineDown, match=r"^The host name nowhere\.invalid is not known\.$"):
        await TcpTransport("nowhere.invalid", 502).open()
