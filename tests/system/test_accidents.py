"""What goes wrong around a gateway: each time one clear sentence and the right exit code, and it goes on where it can."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest

from gateway.adapters.store import Store
from tests.system.processes import free_port, until, wattgate
from tests.system.proofs import central_gaps
from tests.system.stand import ANSWERS_S, House, Stand, tracebacks

STREET = (House("m1", "201900000001", 500, "100.00"), House("m2", "11", 500, "100.00", "modbus", "dds238", "hiking-dds238-zn-sr"))
SOON_S = 180.0  # seconds are promised; a machine with other work is given far more
STOPS_S = 5.0  # promised, and looked at in a proof


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    made = Stand(tmp_path, STREET, speed=1)
    try:
        yield made
    finally:
        await made.close()


def change(stand: Stand, *changes: tuple[str, str]) -> None:
    """Write other words into the gateway's file."""
    text = stand.config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    stand.config.write_text(text)


UNKNOWN_KEY = ("open_get = true", 'open_get = true\ncolour = "red"')
WRONG_TYPE = ("baud = 9600", 'baud = "9600"')
DUPLICATE = (
    "[[tariff]]",
    '[[meter]]\nid = "m3"\nline = "bus"\naddress = "201900000001"\nprofile = "dlt645-single"\naccount = "A-m1"\n[[tariff]]',
)
NO_PROFILE = ('profile = "dlt645-single"', 'profile = "dlt645-triple"')
HASTY_LIMIT = ("no_cut_hours = false", "no_cut_hours = false\n[account.limit]\npower_w = 2000\ndelay_s = 1")
FOUR_METERS = (
    "[[tariff]]",
    "".join(f'[[meter]]\nline = "bus"\naddress = "20190000001{n}"\nprofile = "dlt645-single"\n' for n in range(4)) + "[[tariff]]",
)
WRONG = {
    "unknown key": ([UNKNOWN_KEY], ["http.colour: is not a known key"]),
    "wrong type": ([WRONG_TYPE], ["line[0].baud: "]),
    "duplicate address": ([DUPLICATE], ["meter m1: address 201900000001 on line bus is already meter m3"]),
    "unknown profile": ([NO_PROFILE], ["meter m1: ", "dlt645-triple"]),
    "hasty limit": ([FOUR_METERS, HASTY_LIMIT], ["account A-m1: its load limit's delay of 1 s is shorter than a round"]),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_configuration_is_said_in_one_sentence(stand: Stand, what: str) -> None:
    changes, words = WRONG[what]
    change(stand, *changes)
    (await wattgate("check", "-c", stand.config)).refused(*words)


async def test_a_limit_that_cannot_be_kept_begins_nothing(stand: Stand) -> None:
    change(stand, FOUR_METERS, HASTY_LIMIT)
    (await wattgate("run", "-c", stand.config)).refused("is shorter than a round")
    assert not stand.data.exists()


@pytest.mark.parametrize("verb", ["check", "run"])
async def test_every_error_is_said_at_once(stand: Stand, verb: str) -> None:
    change(stand, UNKNOWN_KEY, WRONG_TYPE, DUPLICATE)
    ran = await wattgate(verb, "-c", stand.config)
    ran.refused("http.colour", "line[0].baud", "already meter m3", str(stand.config), sentences=3)


async def test_a_password_file_that_others_may_read_is_refused(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "passwords.toml").chmod(0o644)
    for verb in ("check", "run"):
        (await wattgate(verb, "-c", stand.config)).refused("passwords.toml", "may be read by others", "chmod 600")


async def test_a_file_that_is_not_there_or_is_no_toml(stand: Stand, tmp_path: Path) -> None:
    (await wattgate("run", "-c", tmp_path / "none.toml")).refused("none.toml", "cannot be read")
    stand.config.write_text("[gateway\n")
    (await wattgate("run", "-c", stand.config)).refused("is not TOML")


async def test_a_port_in_use(stand: Stand) -> None:
    with socket.create_server(("127.0.0.1", stand.http_port)):
        (await wattgate("run", "-c", stand.config)).refused(f"port {stand.http_port} on 127.0.0.1 is in use")


async def test_a_data_directory_in_use_by_another_gateway(stand: Stand) -> None:
    await stand.gateway.start()
    elsewhere = {"WATTGATE_HTTP__LISTEN": f"127.0.0.1:{free_port()}"}
    ran = await wattgate("run", "-c", stand.config, environment=elsewhere)
    ran.refused(f"{stand.data} is in use by process {stand.gateway.pid}")


async def test_a_database_from_a_newer_version(stand: Stand) -> None:
    stand.data.mkdir()
    store = Store.open(str(stand.data / "wattgate.db"))
    with store.database.writer.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    before = (stand.data / "wattgate.db").read_bytes()
    (await wattgate("run", "-c", stand.config)).refused("is from a newer version (revision 9999", "update wattgate")
    (await wattgate("ledger", "verify", "-c", stand.config)).refused("is from a newer version")
    assert (stand.data / "wattgate.db").read_bytes() == before


async def test_sigterm_ends_a_busy_gateway_in_time(
    stand: Stand, tmp_path: Path, proof_scale: int, figure: Callable[[str, object], None]
) -> None:
    await stand.sim.start()
    await stand.gateway.start()
    await until(lambda: stand.readings("m1"), "a reading", SOON_S)
    page = httpx2.AsyncClient(base_url=stand.url, timeout=ANSWERS_S, trust_env=False)
    async with page, page.stream("GET", "/api/v1/stream") as stream:  # a page that is being watched
        assert stream.status_code == 200
        begun = time.monotonic()
        assert await stand.gateway.end() == 0
    stopped_s = time.monotonic() - begun
    assert proof_scale == 1 or stopped_s < STOPS_S
    figure("stop of a busy gateway s", round(stopped_s, 2))
    assert tracebacks(tmp_path) == []


async def test_a_broker_that_goes_away_costs_nothing(stand: Stand, tmp_path: Path) -> None:
    await stand.broker.start()
    await stand.sim.start()
    await stand.central.start()
    await stand.gateway.start()
    await until(lambda: delivered(stand), "the centre has everything", SOON_S)
    await stand.broker.stop()
    await until(lambda: "is gone" in stand.gateway.said(), "the gateway says that the broker is gone", SOON_S)
    readings = await stand.readings("m1")
    await until(lambda: more(stand, "m1", readings + 3), "it reads on without a broker", SOON_S)
    assert (await stand.api("/healthz"))["status"] == "ok"
    assert (await stand.api("/api/v1/outbox"))["waiting"] > 0
    await stand.broker.start()
    upto = await until(lambda: delivered(stand), "the centre has caught up", SOON_S)
    assert await stand.gateway.end() == 0
    await stand.central.end()
    assert central_gaps(tmp_path / "central" / "central.db", stand.data / "wattgate.db", upto) == []
    said = [line for line in stand.gateway.said().splitlines() if "the MQTT broker" in line]
    assert ["is gone" in line for line in said] == [False, True, False], "gone and back are said once each"
    assert tracebacks(tmp_path) == []


async def delivered(stand: Stand) -> int:
    """The last number of the outbox while the broker is there and the centre has everything, else 0."""
    outbox = await stand.api("/api/v1/outbox")
    return int(outbox["last"]) if outbox["connected"] and outbox["waiting"] == 0 else 0


async def more(stand: Stand, meter: str, count: int) -> bool:
    return await stand.readings(meter) >= count


async def test_a_line_that_goes_away_is_read_again_soon_after_it_is_back(
    stand: Stand, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    await stand.sim.start()
    await stand.gateway.start()
    for meter in ("m1", "m2"):
        await until(lambda meter=meter: stand.readings(meter), f"a reading of {meter}", SOON_S)  # type: ignore[misc]
    await stand.sim.kill()
    await until(lambda: happened(stand, "line_down", 2), "both lines are down", SOON_S)
    health = await stand.api("/healthz")
    assert health["status"] == "ok" and "line bus is down" in health["holds"], health
    await asyncio.sleep(3)  # real time: long enough for some attempts
    counts = {meter: await stand.readings(meter) for meter in ("m1", "m2")}
    begun = time.monotonic()
    await stand.sim.start()
    for meter, count in counts.items():
        await until(lambda meter=meter, count=count: more(stand, meter, count + 1), f"{meter} is read again", SOON_S)  # type: ignore[misc]
    figure("reading again after a line is back s", round(time.monotonic() - begun, 2))
    await until(lambda: happened(stand, "line_up", 2), "both lines are up", SOON_S)
    events = await stand.events("line_down", "line_up")
    assert sorted((event["kind"], event["data"]["line"]) for event in events) == [
        ("line_down", "bus"), ("line_down", "modbus"), ("line_up", "bus"), ("line_up", "modbus"),
    ], events  # fmt: skip
    assert (await stand.api("/healthz"))["holds"] == []
    assert tracebacks(tmp_path) == []


async def happened(stand: Stand, kind: str, count: int) -> bool:
    return len(await stand.events(kind)) >= count
