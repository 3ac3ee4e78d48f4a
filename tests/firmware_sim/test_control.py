"""The handle: the truth, and what acts on it."""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal

import pytest

from protocols.dlt645.master import Read
from tests.firmware_sim.live import ask_tcp, handle, running
from tests.firmware_sim.virtual import one_meter

ADDRESS = "202611210001"


def table(**meter: object) -> dict[str, object]:
    made = one_meter(initial_kwh="12.34", contact_ms=[10, 20], status_delay_ms=100, **meter)
    made["line"][0]["delay_ms"] = [1, 2]
    return made


@pytest.fixture
async def street(tmp_path):
    """A running street with one meter: (simulator, url of the handle)."""
    async with running(table(), tmp_path) as simulator:
        yield simulator, simulator.ready()["control"]


async def test_the_truth_about_a_meter(street):
    simulator, url = street
    await ask_tcp(simulator.endpoints["a"].port, Read(ADDRESS, "00010000"))
    status, truth = await handle(url, "meters/m")
    assert status == 200
    assert truth["energy_mws"] >= 1234 * 36_000_000 and Decimal(truth["registers"]["total"]) == Decimal("12.34")
    assert set(truth["registers"]) == {"total", "t1", "t2", "t3", "t4"}
    assert (truth["contact"], truth["reported"], truth["command"], truth["allowed"]) == ("closed", "closed", "closed", False)
    assert (truth["power_w"], truth["load_w"], truth["mains"], truth["wallet"]) == (1000, 1000, True, None)
    heard, said = truth["frames"]
    assert (heard["direction"], heard["hex"][:8], said["direction"]) == ("rx", "FEFEFEFE", "tx")
    assert abs(said["at_us"] - truth["at_us"]) < 5_000_000


async def test_all_meters_and_lines(street):
    simulator, url = street
    await ask_tcp(simulator.endpoints["a"].port, Read(ADDRESS, "00010000"))
    status, meters = await handle(url, "meters")
    assert status == 200 and [meter["id"] for meter in meters] == ["m"] and "frames" not in meters[0]
    _, (line,) = await handle(url, "lines")
    assert (line["id"], line["rx_bytes"], line["tx_bytes"], line["answers"]) == ("a", 20, 24, 1)
    assert 0 < line["utilisation"] <= 1


async def test_the_button_closes_what_is_allowed(street):
    simulator, url = street
    relay = simulator.street.stations["m"].meter.relay
    relay.cut(simulator.street.stations["m"].meter.now_us)
    await asyncio.sleep(0.05)
    _, truth = await handle(url, "meters/m")
    assert (truth["contact"], truth["power_w"], truth["current_a"]) == ("open", 0, [0])
    _, truth = await handle(url, "meters/m/press", {})
    assert truth["command"] == "open"
    relay.allow(0)
    _, truth = await handle(url, "meters/m/press", {})
    assert (truth["command"], truth["allowed"]) == ("closed", False)
    await asyncio.sleep(0.05)
    _, truth = await handle(url, "meters/m")
    assert truth["contact"] == "closed" and truth["power_w"] == 1000 and truth["contact_move_count"] == 2
    assert [move["contact"] for move in truth["contact_moves"]] == ["open", "closed"]
    assert truth["contact_moves"][0]["energy_mws"] == truth["contact_moves"][1]["energy_mws"]


async def test_load_clock_power_and_faults(street):
    _, url = street
    _, truth = await handle(url, "meters/m/load", {"power_w": 250, "pf": 0.5})
    assert truth["power_w"] == 250 and truth["power_factor"] == 0.5
    _, truth = await handle(url, "meters/m/load", {"kind": "configured"})
    assert truth["power_w"] == 1000
    _, truth = await handle(url, "meters/m/clock", {"offset_s": -600, "drift_ppm": 100})
    assert -600 <= truth["clock_offset_s"] < -599
    _, truth = await handle(url, "meters/m/clock", {"clock": "2030-01-02T03:04:05"})
    assert truth["clock"].startswith("2030-01-02T03:04:0")
    _, truth = await handle(url, "meters/m/power", {"on": False})
    assert (truth["mains"], truth["power_w"], truth["voltage_v"]) == (False, 0, [0])
    _, truth = await handle(url, "meters/m/power", {})
    assert truth["mains"] and truth["power_w"] == 1000
    _, truth = await handle(url, "meters/m/fault", {"kind": "welded"})
    assert truth["faults"] == ["welded"]
    _, truth = await handle(url, "meters/m/fault", {"kind": "welded", "on": False})
    assert truth["faults"] == []


async def test_noise_is_switched_on_a_line(street):
    simulator, url = street
    _, line = await handle(url, "lines/a/noise", {"noise": 0.25})
    assert line["noise"] == 0.25 == simulator.endpoints["a"].wire.noise


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("meters/x", None, 404, "There is no meter 'x'."),
        ("lines/x", None, 404, "There is no serial line 'x'."),
        ("streets", None, 404, "The handle knows"),
        ("meters/m/swap", {"what": "house"}, 400, "what must be one of meter, leads"),
        ("meters/m/kick", {}, 404, "can be acted on with press, load"),
        ("meters/m", {}, 405, "Look with GET"),
        ("meters/m/press", None, 405, "Look with GET"),
        ("meters/m/load", {"power_w": -1}, 400, "load: power_w must be a number from 0"),
        ("meters/m/load", {"power_w": 5, "colour": "red"}, 400, "colour is not a key"),
        ("meters/m/load", {}, 400, "kind must be one of constant"),
        ("meters/m/fault", {"kind": "bored"}, 400, "kind must be one of welded"),
        ("meters/m/fault", {"kind": "silent", "on": 1}, 400, "on must be true or false"),
        ("meters/m/clock", {"clock": "noon"}, 400, "is not a local time"),
        ("meters/m/clock", {"clock": "2150-01-01T00:00:00"}, 400, "of this century"),
        ("meters/m/power", [1], 400, "must be a JSON object"),
        ("lines/a/noise", {"noise": 2}, 400, "noise must be a number from 0 to 1"),
    ],
)
async def test_bad_requests_get_one_sentence(street, path, body, status, sentence):
    _, url = street
    got, answer = await handle(url, path, body)
    assert got == status and sentence in answer["error"], answer


@pytest.mark.parametrize(
    "raw",
    [b"nonsense\r\n\r\n", b"GET /sim HTTP/1.1\r\ncontent-length: many\r\n\r\n", b"\xff\xfe\r\n", b"x" * 200_000, b"\r\n", b"GET"],
)
async def test_what_is_not_http_is_hung_up_on_and_the_next_is_served(street, raw):
    simulator, url = street
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.control.port)
    writer.write(raw)
    writer.write_eof()
    with contextlib.suppress(ConnectionError):
        assert b"200" not in await asyncio.wait_for(reader.read(), 60)
    writer.close()
    assert (await handle(url, "meters/m"))[0] == 200


async def test_a_body_that_is_too_long_or_not_json(street):
    simulator, _ = street
    for head, status in [
        (b"content-length: 70000\r\n\r\n", b"413"),
        (b"content-length: 3\r\nconnection: close\r\n\r\n{x}", b"400"),
    ]:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.control.port)
        writer.write(b"POST /sim/v1/meters/m/press HTTP/1.1\r\n" + head)
        assert status in await asyncio.wait_for(reader.readline(), 60)
        writer.close()
