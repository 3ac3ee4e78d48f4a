"""A jammed line slows no other: peers that babble, that take no bytes, and one that floods the listening port."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import os
import signal
import statistics
import sys
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver, NoAnswer
from gateway.adapters.lines.listen import ListenTransport
from gateway.adapters.lines.listen_hub import Caller, close_listeners
from gateway.adapters.lines.tcp import TcpTransport
from gateway.adapters.lines.transport import LineDown
from protocols.errors import ProtocolError
from protocols.modbus.frames import rtu_pack
from protocols.modbus.master import ReadRegisters
from tests.conftest import Figure
from tests.gateway.uplink_ends import until

ANSWER_S = 0.02
WINDOWS, PROOF_WINDOWS = 3, 20
WINDOW_S, PROOF_WINDOW_S = 0.6, 2.0
SLOWER, PROOF_SLOWER = 20.0, 1.05
"""Every day it is looked for a line that waits for the others: one timeout of theirs would be as long as fifty exchanges."""

TROUBLE = """
import contextlib, os, socket, sys, threading

os.nice(19)  # it is to trouble the gateway, not the processor

def babble(listening):
    while True:
        client, _ = listening.accept()
        threading.Thread(target=shout, args=(client,), daemon=True).start()

def shout(client):
    with contextlib.suppress(OSError):
        while True:
            client.sendall(b"\\x01\\x03\\xfe\\x68" * 4096)

babbling, deaf = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
threading.Thread(target=babble, args=(babbling,), daemon=True).start()
print(babbling.getsockname()[1], deaf.getsockname()[1], flush=True)
port = int(sys.stdin.readline())
while True:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as caller:
        caller.send(b"FAR")
"""


class Unit:
    """Answers each question after 20 ms."""

    def __init__(self) -> None:
        self.frame = rtu_pack(1, b"\x03\x02\x00\x07")

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(256):
            asyncio.get_running_loop().call_later(ANSWER_S, writer.write, self.frame)


async def _ask_for_ever(driver: Driver) -> None:
    while True:
        if await driver.ensure_open() is not None:
            await asyncio.sleep(driver.reopen_pause_s)
            continue
        with contextlib.suppress(LineDown, NoAnswer, ProtocolError):
            await driver.run(ReadRegisters(1, 3, 0, 1))


async def _times(driver: Driver, window_s: float) -> list[float]:
    """How long each exchange of a window took, with its gap."""
    loop = asyncio.get_running_loop()
    end, marks = loop.time() + window_s, [loop.time()]
    while marks[-1] < end:
        assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (7,)
        marks.append(loop.time())
    return [after - before for before, after in itertools.pairwise(marks)]


@pytest.fixture
async def trouble() -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TROUBLE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    yield process
    process.kill()
    await process.wait()
    close_listeners()


async def test_a_jammed_line_slows_no_other(
    trouble: asyncio.subprocess.Process, pytestconfig: pytest.Config, figure: Figure
) -> None:
    proof = bool(pytestconfig.getoption("proof"))
    assert trouble.stdin and trouble.stdout
    babbling, deaf = map(int, (await trouble.stdout.readline()).split())
    caller = Caller((ipaddress.ip_network("127.0.0.0/8"),), b"FAR-1")
    far = ListenTransport("127.0.0.1", 0, caller, now_ms=Clock().now_ms)
    with pytest.raises(LineDown):
        await far.open()
    assert far.listening_port is not None
    trouble.stdin.write(b"%d\n" % far.listening_port)
    jammed = [Driver(TcpTransport("127.0.0.1", port), baud=9600, clock=Clock()) for port in (babbling, deaf)]
    jammed.append(Driver(far, baud=9600, clock=Clock()))
    good = Driver(TcpTransport("127.0.0.1", await (unit := Unit()).start()), baud=None, clock=Clock())
    assert await good.ensure_open() is None
    alone, beside = [], []
    for _ in range(PROOF_WINDOWS if proof else WINDOWS):
        os.kill(trouble.pid, signal.SIGSTOP)
        alone += await _times(good, PROOF_WINDOW_S if proof else WINDOW_S)
        os.kill(trouble.pid, signal.SIGCONT)
        busy = [asyncio.create_task(_ask_for_ever(driver)) for driver in jammed]
        beside += await _times(good, PROOF_WINDOW_S if proof else WINDOW_S)
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
    slower = statistics.fmean(beside) / statistics.fmean(alone)
    assert slower < (PROOF_SLOWER if proof else SLOWER)
    await until(lambda: bool(far.turned_away), "somebody has called who is not expected")
    figure("exchange beside three jammed lines / alone", round(slower, 4))
    for driver in (*jammed, good):
        await driver.close()
    unit.server.close()
