"""Real brokers for tests, each on a port of its own; they can be killed and started again on the same data."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from gateway.adapters.broker import BundledBroker
from gateway.adapters.mqtt_link import Broker
from tests.ports import free_port as free_port

READY_S = 120  # some ms; on a machine with other work, far more

MOSQUITTO = """
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 100000
max_inflight_messages 100
set_tcp_nodelay true
"""


class RealBroker(Protocol):
    """A broker process. kill: without a chance to write anything. address: as one knows it who knows its version."""

    port: int
    address: Broker

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def kill(self) -> None: ...


class Nats:
    """The bundled broker."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = Broker(port=self.port, protocol=4)
        self._broker = BundledBroker(folder, self.port)
        self.start, self.stop = self._broker.start, self._broker.stop

    async def kill(self) -> None:
        assert self._broker.pid is not None
        os.kill(self._broker.pid, signal.SIGKILL)
        await self._broker.stop()


class Mosquitto:
    """The Debian broker, without persistence: killed, it has forgotten all that it acknowledged, which is the hardest case.

    config: another configuration, with {port} in it."""

    def __init__(self, folder: Path, binary: str, config: str = MOSQUITTO) -> None:
        self.port, self._config = free_port(), config
        self.address = Broker(port=self.port, protocol=5)
        self._folder, self._binary = folder, binary
        self._child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        config = self._folder / "mosquitto.conf"
        config.write_text(self._config.format(port=self.port))
        log = (self._folder / "mosquitto.log").open("ab")
        self._child = await asyncio.create_subprocess_exec(self._binary, "-c", str(config), stdout=log, stderr=log)
        log.close()
        async with asyncio.timeout(READY_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()
            await self._child.wait()

    async def kill(self) -> None:
        assert self._child is not None
        self._child.kill()
        await self._child.wait()


@contextlib.asynccontextmanager
async def running(broker: RealBroker) -> AsyncIterator[RealBroker]:
    """The broker, started, and stopped at the end."""
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()
