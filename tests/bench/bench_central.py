"""The central system with PostgreSQL, Mosquitto and all gateways on the same cores: readings, acknowledgements and commands.

A million meters read every 15 minutes are 1,111 readings a second. The gateways are one process of their own, which sends readings
of five registers, verifies each command and answers it with three states; it counts, for it takes its share of the processor.

The broker has the persistence, queues and timings of config/mosquitto, set for a site of this size as a comment there says
(autosave_on_changes false); only TLS and ACL are left away, whose cost is that of 500 connections and not of these two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import create_engine, text

from gateway.bootstrap.new_keys import write_new_key
from gateway.central import keys, orders
from gateway.central.orders import Order, Signer
from gateway.central.store import CentralStore
from tests.gateway.adapters.store.postgres import server
from tests.gateway.brokers import Mosquitto, running

READINGS_S, COMMANDS_S = 1200, 100
GATEWAYS = 500
SECONDS = int(os.environ.get("WATTGATE_BENCH_SECONDS", "60"))
SETTLE_S = 3.0

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "mosquitto" / "mosquitto.conf"
OF_TLS = ("listener", "cafile", "certfile", "keyfile", "require_certificate", "use_identity", "allow_anonymous", "tls_", "acl_")

CONFIG = """
[central]
url = "{url}"

[mqtt]
host = "127.0.0.1"
port = {port}
version = "3.1.1"

[keys]
centre = "centre.jwk"
"""


def figures() -> Iterator[tuple[str, float, str]]:
    binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, server(fsync=True) as url:
        found = asyncio.run(measure(Path(folder), url, binary))
    took_s = max(SECONDS, found["took_s"] - SETTLE_S)  # on a busy machine the gateways themselves come too late
    offered = f"offered {READINGS_S} readings/s and {COMMANDS_S} commands/s for {SECONDS} s"
    yield f"{offered}: readings stored (at least 1,111)", found["readings"] / took_s, "1/s"
    yield "messages stored in all, with the states of commands", found["messages"] / took_s, "1/s"
    yield "commands signed, relayed and followed to their end", found["final"] / took_s, "1/s"
    yield "from a reading's sending to its acknowledgement, median", found["ack_p50_ms"], "ms"
    yield "the same, 99 of 100", found["ack_p99_ms"], "ms"
    for part in ("central", "postgresql", "mosquitto", "gateways"):
        yield f"processor: {part}", found[part], "% of a core"
    all_parts = sum(found[part] for part in ("central", "postgresql", "mosquitto", "gateways"))
    yield "processor: all of them, for each message", all_parts * 10_000 * found["took_s"] / found["messages"], "us"
    yield "mosquitto, persistence of config/mosquitto for a large site: written to the disk", found["broker_mb_s"], "MB/s"
    yield "central: memory", found["memory_mb"], "MB"


def shipped(folder: Path) -> str:
    """The broker's configuration as it is shipped, on a plain listener of the loopback interface."""
    said = [line for line in SHIPPED.read_text().splitlines() if line and not line.startswith("#")]
    kept = [line for line in said if not line.startswith(OF_TLS)]
    assert {"persistence true", "autosave_interval 1"} <= set(kept)
    (folder / "data").mkdir(parents=True)
    place = f"persistence_location {folder / 'data'}/"
    large = {"autosave_on_changes true": "autosave_on_changes false"}
    kept = [place if line.startswith("persistence_location") else large.get(line, line) for line in kept]
    root = ["user root"] if os.getuid() == 0 else []
    return "\n".join(["listener {port} 127.0.0.1", "allow_anonymous true", *kept, *root, ""])


async def measure(folder: Path, url: str, binary: str) -> dict[str, float]:
    """One run."""
    public = write_new_key(folder / "centre.jwk", "centre-1")
    write_new_key(folder / "commands.jwk", "office-1")
    async with running(Mosquitto(folder / "broker", binary, shipped(folder / "broker"))) as broker:
        assert isinstance(broker, Mosquitto)
        (folder / "central.toml").write_text(CONFIG.format(url=url, port=broker.port))
        CentralStore.open(url).close()
        central = await _child([sys.executable, "-m", "gateway", "central", "-c", str(folder / "central.toml"), "--ready"])
        load = await _child([sys.executable, "-m", "tests.bench.central_load", str(broker.port), str(SECONDS), public])
        try:
            found = await _loaded(folder, url, central, load, _pid(broker))
            central.send_signal(signal.SIGTERM)
            await central.wait()
        finally:
            for child in (central, load):
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
    return found | _stored(url)


async def _loaded(
    folder: Path, url: str, central: asyncio.subprocess.Process, load: asyncio.subprocess.Process, broker: int
) -> dict[str, float]:
    """What everybody used while the gateways sent."""

    def used() -> dict[str, float]:
        return {"central": _cpu_s(central.pid), "mosquitto": _cpu_s(broker), "postgresql": _postgres_s(url)}

    before, begun, written = used(), time.monotonic(), _written_mb(broker)
    await asyncio.to_thread(_command, url, keys.load(folder / "commands.jwk"))
    assert load.stdout is not None
    said: dict[str, float] = json.loads(await load.stdout.readline())
    took, after = time.monotonic() - begun, used()
    found = {name: 100 * (after[name] - before[name]) / took for name in before}
    found["broker_mb_s"] = (_written_mb(broker) - written) / took
    return found | said | {"took_s": took, "memory_mb": _resident_mb(central.pid), "gateways": 100 * said["cpu_s"] / took}


async def _child(command: list[str]) -> asyncio.subprocess.Process:
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    await child.stdout.readline()  # that it is ready
    return child


def _pid(broker: Mosquitto) -> int:
    assert broker._child is not None
    return broker._child.pid


def _command(url: str, signer: Signer) -> None:
    """An office that gives its orders for a minute, a tenth of a second's worth at a time."""
    store, pause = CentralStore.open(url), threading.Event()
    begun = time.monotonic()
    for tick in range(SECONDS * 10):
        gateways = [(tick * COMMANDS_S // 10 + n) % GATEWAYS for n in range(COMMANDS_S // 10)]
        orders.write(store, [Order("restore", f"G{g}", meter=f"M{g}") for g in gateways], signer, time.time_ns() // 1_000_000)
        pause.wait(max(0.0, begun + (tick + 1) / 10 - time.monotonic()))
    store.close()


def _stored(url: str) -> dict[str, float]:
    engine = create_engine(url)
    with engine.connect() as connection:
        count = {
            "readings": "SELECT count(*) FROM central_reading",
            "messages": "SELECT count(*) FROM central_message",
            "final": "SELECT count(*) FROM central_order WHERE final",
        }
        found = {name: float(connection.scalar(text(query)) or 0) for name, query in count.items()}
    engine.dispose()
    return found


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _postgres_s(url: str) -> float:
    """Of the server and all its children, those that have ended included."""
    folder = url.partition("host=")[2]
    pid = int((Path(folder) / "data" / "postmaster.pid").read_text().splitlines()[0])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = _cpu_s(pid) + ended
    for child in children:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended just now
            own += _cpu_s(int(child))
    return own


def _written_mb(pid: int) -> float:
    lines = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(lines["write_bytes"]) / 1e6


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    for name, value, unit in figures():
        print(f"{name:<80} {value:>12,.2f} {unit}", flush=True)
