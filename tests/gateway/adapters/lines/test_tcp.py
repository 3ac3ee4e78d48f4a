"""The TCP transport on loopback: refused, closed, and there again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys

import pytest

from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.tcp import MOST_BYTES_S, TcpTransport
from gateway.adapters.lines.transport import LineDown
from protocols.modbus.frames import tcp_pack
from protocols.modbus.master import ReadRegisters
from tests.conftest import Figure
from tests.gateway.uplink_ends import until


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
        await until(lambda: driver._transport.down is not None, "it has seen that")
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


async def test_a_peer_that_takes_no_bytes_is_given_up_and_fills_no_memory() -> None:
    with socket.create_server(("127.0.0.1", 0)) as jammed:
        jammed.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        transport = TcpTransport("127.0.0.1", jammed.getsockname()[1])
        await transport.open()
        sent = 0
        with pytest.raises(LineDown, match=r"^127\.0\.0\.1:\d+ takes no bytes\.$"):
            while sent < 100_000_000:
                await transport.send(bytes(1000))
                sent += 1000
        await transport.close()


async def test_a_babbling_peer_is_read_no_faster_than_a_line_could_be() -> None:
    heard, chunk = 0, bytes(65_536)

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(chunk)
                await writer.drain()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    transport = TcpTransport("127.0.0.1", server.sockets[0].getsockname()[1])
    await transport.open()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(60):
        while loop.time() < begun + 1.0 or heard < MOST_BYTES_S / 2:
            heard += len(await transport.receive(0.1))
    await transport.close()
    server.close()
    assert heard < 1.5 * MOST_BYTES_S * (loop.time() - begun)


CUT = """
import asyncio, subprocess, time
from gateway.adapters.lines.tcp import TcpTransport

async def main():
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    transport = TcpTransport("127.0.0.1", server.sockets[0].getsockname()[1])
    await transport.open()
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    begun = time.monotonic()
    if {sending}:
        await transport.send(b"x")
    while transport.down is None and time.monotonic() < begun + 60:
        await asyncio.sleep(0.1)
    print(time.monotonic() - begun)

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
asyncio.run(main())
"""


@pytest.mark.parametrize(("sending", "most_s"), [(True, 8.0), (False, 25.0)])
def test_a_cut_cable_is_noticed(sending: bool, most_s: float, pytestconfig: pytest.Config, figure: Figure) -> None:
    if not pytestconfig.getoption("proof"):
        pytest.skip("takes half a minute of real time: run with --proof")
    program = CUT.replace("{sending}", str(sending))
    done = subprocess.run(["unshare", "-rn", sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if not done.stdout:
        pytest.skip(f"no network namespace may be made here: {done.stderr[-200:]}")
    figure(f"silence until a cut connection is given up, {'sending' if sending else 'idle'} [s]", round(float(done.stdout), 1))
    assert float(done.stdout) < most_s


async def test_a_silent_death_is_looked_for() -> None:
    device = await Device().start()
    transport = TcpTransport("127.0.0.1", device.port)
    await transport.open()
    assert transport._stream is not None and transport._stream._wire is not None
    sock = transport._stream._wire.get_extra_info("socket")
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000),
    ):
        assert sock.getsockopt(level, option) == value
    await transport.close()
    device.stop()
