"""A running gateway's configuration is taken over by signal and by verb, and survives a kill in the middle of it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import httpx2
import pytest

from tests.system.processes import until, wattgate
from tests.system.stand import House, Stand, tracebacks

STREET = (House("m1", "201900000001", 500, "100.00"), House("m2", "201900000002", 500, "100.00"))
SOON_S = 180.0  # some seconds; on a machine with other work, far more
KILLS = 4
METER = '[[meter]]\nid = "m9"\nline = "bus"\naddress = "20190000000{}"\nprofile = "dlt645-single"\n'
Figure = Callable[[str, object], None]


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    made = Stand(tmp_path, STREET, speed=1)
    try:
        yield made
    finally:
        await made.close()


async def read(stand: Stand, meter: str) -> None:
    await until(lambda: stand.readings(meter), f"a reading of {meter}", SOON_S)


async def test_verbs_and_the_signal_take_a_changed_file_over(stand: Stand, tmp_path: Path) -> None:
    await stand.sim.start()
    await stand.gateway.start()
    await read(stand, "m1")
    unchanged = await wattgate("reload", "-c", stand.config)
    assert (unchanged.code, unchanged.out) == (0, "nothing has changed since it was loaded\n"), unchanged
    before = stand.config.read_text()
    stand.config.write_text(before + METER.format(2).replace("m9", "m1"))
    (await wattgate("reload", "-c", stand.config)).refused("meter m1: is there twice", "is already meter m2", sentences=2)
    stand.config.write_text(before + METER.format(3))
    done = await wattgate("reload", "-c", stand.config)
    assert (done.code, done.out) == (0, "meters added: m9\n"), done
    stand.config.write_text(before.replace('id = "G1"', 'id = "G2"'))
    (await wattgate("reload", "-c", stand.config)).refused("gateway.id cannot be changed while", "nothing was changed", sentences=2)
    stand.config.write_text(before)
    with httpx2.Client(trust_env=False, timeout=60) as anybody:
        assert anybody.post(f"{stand.url}/api/v1/reload").status_code == 401, "also where looking is free"
    pid = stand.gateway.pid
    stand.gateway.send(signal.SIGHUP)
    await until(lambda: stand.gateway.said().count('"event": "reloaded"') == 3, "the signal is obeyed", SOON_S)
    assert [meter["meter"] for meter in await stand.api("/api/v1/lines/bus/meters")] == ["m1", "m2"]
    assert (await stand.api("/healthz"))["status"] == "ok" and stand.gateway.pid == pid and stand.gateway.code is None
    assert await stand.gateway.end() == 0
    assert tracebacks(tmp_path) == []


async def test_lines_shows_each_line_and_each_meter(stand: Stand) -> None:
    await stand.sim.start()
    await stand.gateway.start()
    for meter in ("m1", "m2"):
        await read(stand, meter)
    text = await wattgate("lines", "-c", stand.config)
    assert text.code == 0, text.err
    head, bus, modbus = text.out.splitlines()
    assert head.startswith("line") and bus.startswith("bus ") and " up " in bus and modbus.startswith("modbus ")
    rows = [json.loads(line) for line in (await wattgate("lines", "--json", "--url", stand.url)).out.splitlines()]
    assert [(row["line"], row["meters"], row["answering"]) for row in rows] == [("bus", 2, 2), ("modbus", 0, 0)]
    assert rows[0]["exchanges"] > 0 and rows[0]["p95_ms"] > 0 and "schedule" in rows[0]["queues"]
    meters = (await wattgate("lines", "--meters", "-c", stand.config)).out.splitlines()
    assert [line.split()[:2] for line in meters[1:]] == [["bus", "m1"], ["bus", "m2"]]
    assert all("answering" in line and "waits" in line for line in meters[1:])


async def test_a_kill_while_it_reloads_leaves_the_old_or_the_new_and_a_start_the_new(
    stand: Stand, tmp_path: Path, proof_scale: int, figure: Figure
) -> None:
    await stand.sim.start()
    rng, before = Random(33), stand.config.read_text()
    kills = KILLS * min(proof_scale, 10)
    for n in range(kills):
        await stand.gateway.start()
        stand.config.write_text(before.replace("0.617", f"0.{500 + n}") + METER.format(3 + n % 6))
        stand.gateway.send(signal.SIGHUP)
        await asyncio.sleep(rng.random() * 0.15)  # real time: somewhere in the middle of it
        await stand.gateway.kill()
    await stand.gateway.start()
    meters = {meter["meter"]: meter["address"] for meter in await stand.api("/api/v1/meters")}
    assert meters == {"m1": "201900000001", "m2": "201900000002", "m9": f"20190000000{3 + (kills - 1) % 6}"}
    await read(stand, "m2")
    assert await stand.gateway.end() == 0
    ledger = await wattgate("ledger", "verify", "-c", stand.config)
    assert ledger.code == 0 and "clean" in ledger.out, ledger
    assert tracebacks(tmp_path) == []
    figure("kills while a configuration was taken over", kills)
