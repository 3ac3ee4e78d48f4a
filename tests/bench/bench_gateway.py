"""What a whole gateway with 1,000 meters costs: memory, idle processor time, and a change of its configuration.

In a process of its own, its lines in memory, so that next to nothing else is counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from tests.bench.memory import resident_mb

LINES, METERS = 20, 50
IDLE_S, SETTLE_S = 10.0, 3.0
ROUNDS = 10
"""Instantaneous values come in turns, the power every second time: after so many all have come."""

MADE_BEFORE = """
import sys
from pathlib import Path
from gateway.adapters.store import Store
from gateway.adapters.store.datadir import store_file
folder = Path(sys.argv[1])
folder.mkdir(mode=0o700)
Store.open(str(store_file(folder))).close()
"""
"""Tables are made once in the life of a store; what that needs in memory is no part of a gateway that runs."""

SILENT = "dlt645-single, all silent"


def figures() -> Iterator[tuple[str, float, str]]:
    for name in ("dlt645-single", "acrel-dtsd1352", SILENT):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            subprocess.run([sys.executable, "-c", MADE_BEFORE, f"{folder}/data"], check=True)
            command = [sys.executable, "-m", "tests.bench.bench_gateway", name, folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
        found = json.loads(done.stdout)
        meters = f"1,000 {name}, {found['values']:.0f} values each"
        yield f"{meters}: idle (at most 1)", found["idle_percent"], "% of a core"
        yield f"{meters}: memory (at most 120)", found["memory_mb"], "MB"
        yield f"{meters}: one changed in the configuration, taken over in", found["reload_ms"], "ms"
    yield "imports alone", found["imports_mb"], "MB"


async def measure(name: str, folder: Path) -> dict[str, float]:
    """One gateway from its start until it has nothing to do, and then for a while; or while it looks for meters that are silent."""
    import gateway.bootstrap.lines
    from gateway.bootstrap.process import spare_the_collector
    from gateway.domain.jobs import Group
    from tests.gateway.bootstrap.site import Site, street
    from tests.simulation.quick_meters import QuickMeters, QuickUnits

    imports_mb = resident_mb()
    kind = "dlt645-single" if name == SILENT else name
    make = {SILENT: lambda: QuickMeters(()), "acrel-dtsd1352": QuickUnits}.get(name, QuickMeters)
    site = Site(folder, street(LINES, METERS, kind), make)
    vars(gateway.bootstrap.lines)["transport_of"] = site.transport
    async with site.running() as running:
        spare_the_collector()
        for _ in range(ROUNDS if name != SILENT else 0):
            await site.all_read()
            for loop in running.crew.loops.values():
                for device in loop.plan.devices(running.clock.now_ms()):
                    loop.plan.ask(device.meter, Group.INSTANT, running.clock.now_ms())
        await asyncio.sleep(SETTLE_S)
        begun, used = time.monotonic(), time.process_time()
        await asyncio.sleep(IDLE_S)
        idle = (time.process_time() - used) / (time.monotonic() - begun)
        memory_mb = resident_mb()
        stored = running.store.read_now(lambda tx: [tx.latest(meter.id) for meter in tx.meters()])
        site.plan.meters["l7"]["m7-7"] = "000000000200"
        site.write()
        begun = time.monotonic()
        await running.reload()
        reload_ms = (time.monotonic() - begun) * 1000
    values = sum(map(len, stored)) / len(stored)
    return {
        "values": values, "imports_mb": imports_mb, "idle_percent": 100 * idle, "memory_mb": memory_mb, "reload_ms": reload_ms,
    }  # fmt: skip


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    from gateway.adapters import event_loop

    print(json.dumps(event_loop.run(measure(sys.argv[1], Path(sys.argv[2])))))
