"""A day's backlog of a street goes into a real broker while the gateway is killed again and again."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from gateway.adapters.store import Store, store_file
from gateway.central import schema
from tests.conftest import PROOF_SCALE, Figure
from tests.gateway.brokers import Mosquitto, Nats, RealBroker, running
from tests.gateway.uplink_ends import Centre, centre, until
from tests.system.processes import Process, free_port
from tests.system.proofs import rows
from tests.system.uplink_day import arrived, fill, simulated

CONFIG = """
[gateway]
id = "G1"
[http]
listen = "127.0.0.1:{http}"
[mqtt]
host = "127.0.0.1"
port = {mqtt}
version = "{version}"
[uplink]
drain_per_s = {drain}
"""


@pytest.mark.parametrize("kind", ("mosquitto", "nats"))
async def test_a_days_backlog_with_the_gateway_killed_in_between(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest, proof_scale: int, figure: Figure
) -> None:
    """24 h of 200 meters as a proof, of 10 every day; each time killed (SIGKILL) after a part has arrived."""
    meters, kills = (200, 12) if proof_scale == PROOF_SCALE else (10, 3)
    broker: RealBroker = Nats(tmp_path / "broker")
    if kind == "mosquitto":
        broker = Mosquitto(tmp_path / "broker", request.getfixturevalue("mosquitto"))
    told = simulated(meters, 96)
    count = sum(map(len, told.values()))
    version = {5: "5", 4: "3.1.1"}[broker.address.protocol or 5]
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.format(http=free_port(), mqtt=broker.port, version=version, drain=max(200, count // 10)))
    (tmp_path / "data").mkdir()
    with Store.open(str(store_file(tmp_path / "data"))) as store:
        fill(store, told)
    central, begin = tmp_path / "central.db", time.monotonic()
    async with running(broker), centre(tmp_path, broker.address) as c:
        await c.central.session.connected.wait()
        for n in range(kills):
            gateway = Process(f"gateway-{n}", "gateway", "run", "-c", config, folder=tmp_path)
            await gateway.spawn()
            part = min(count, c.count(schema.message) + count // (kills + 1))
            await until(partial(came, c, part), "a part has arrived", 120)
            await gateway.kill()
        last = Process("gateway-last", "gateway", "run", "-c", config, folder=tmp_path)
        await last.spawn()
        try:
            await until(lambda: waiting(tmp_path) == 0, "the outbox is empty", 300)
        finally:
            await last.end()
    assert arrived(central) == told, "each reading once, in order, and equal to what the meters showed"
    figure(f"readings drained into {kind} through {kills} kills of the gateway", count)
    figure("seconds for them", round(time.monotonic() - begin, 1))


def came(centre: Centre, part: int) -> bool:
    return centre.count(schema.message) >= part


def waiting(folder: Path) -> int:
    [row] = rows(store_file(folder / "data"), "SELECT COUNT(*) AS n FROM outbox WHERE acknowledged_ms IS NULL")
    return int(row["n"])
