"""Real endpoints: pty, serial server and Modbus TCP asked by the real master; a killed simulator starts where it ended."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from firmware_sim.config import parse
from firmware_sim.line import LineError
from firmware_sim.serve import Simulator, main
from firmware_sim.state import StateFile
from protocols.dlt645.master import Action, Control, Read
from protocols.modbus.master import ReadBits, ReadRegisters, WriteCoil, WriteRegisters
from tests.firmware_sim.live import ask_pty, ask_tcp, child, handle, running
from tests.firmware_sim.virtual import one_meter

ADDRESS = "202611210001"
QUICK = {"delay_ms": [5, 10], "tail_ms": 0}


def serial_table(kind: str, **line: object) -> dict[str, object]:
    table = one_meter(initial_kwh="55.55", contact_ms=[10, 20])
    table["line"] = [{"id": "a", "kind": kind, "baud": 9600, **QUICK, **line}]
    return table


async def test_a_pty_carries_exchanges_at_the_lines_pace_and_can_be_opened_again(tmp_path):
    async with running(serial_table("pty", path="line-a"), tmp_path) as simulator:
        path = str(tmp_path / "line-a")
        assert "line-a" in os.listdir(tmp_path) and simulator.ready()["lines"][0]["path"] == path
        for _ in range(3):
            start = time.monotonic()
            answer = await ask_pty(path, Read(ADDRESS, "00010000"))
            assert answer.items[0].value == Decimal("55.55")
            assert time.monotonic() - start > 0.050  # 44 bytes at 9600 baud
    assert os.listdir(tmp_path) == []


async def test_a_serial_server_carries_exchanges_of_several_clients(tmp_path):
    async with running(serial_table("tcp"), tmp_path) as simulator:
        port = simulator.endpoints["a"].port
        for _ in range(2):
            assert (await ask_tcp(port, Read(ADDRESS, "00010000"))).items[0].value == Decimal("55.55")
        assert simulator.endpoints["a"].wire.counters.answers == 2


def modbus_table() -> dict[str, object]:
    line = {"id": "a", "kind": "modbus-tcp", **QUICK}
    fast = {"line": "a", "contact_ms": [10, 20], "load": {"power_w": 500}}
    return {
        "line": [line],
        "meter": [
            {"id": "s", "model": "sdm630", "unit": 1, "switch": {"line": "a", "unit": 9, "coil": 0}, **fast},
            {"id": "d", "model": "dds238", "unit": 2, **fast},
        ],
    }


async def test_modbus_tcp_serves_several_units_behind_one_port(tmp_path):
    async with running(modbus_table(), tmp_path) as simulator:
        port = simulator.endpoints["a"].port
        await ask_tcp(port, WriteCoil(9, 0, False, "tcp", 1))
        await ask_tcp(port, WriteRegisters(2, 0x1A, [0], "tcp", 2))
        await asyncio.sleep(0.05)
        assert await ask_tcp(port, ReadBits(9, 2, 0, 1, "tcp", 3)) == (False,)
        assert await ask_tcp(port, ReadRegisters(1, 4, 0x0034, 2, "tcp", 4)) == (0, 0)
        assert await ask_tcp(port, ReadRegisters(2, 3, 0x000E, 1, "tcp", 5)) == (0,)


async def test_transactions_sent_together_are_answered_one_after_another(tmp_path):
    async with running(modbus_table(), tmp_path) as simulator:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.endpoints["a"].port)
        writer.write(b"".join(ReadRegisters(2, 3, 0, 2, "tcp", number).start() for number in range(5)))
        answers = await asyncio.wait_for(reader.readexactly(5 * 13), 60)
        assert [answers[at + 1] for at in range(0, 65, 13)] == [0, 1, 2, 3, 4]
        writer.write(b"".join(ReadRegisters(2, 3, 0, 2, "tcp", number).start() for number in range(40)))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):  # more than a server has to keep
            await asyncio.wait_for(reader.readexactly(40 * 13), 60)
        writer.close()


async def test_a_port_in_use_and_a_path_in_use_are_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LineError, match=rf"Port 127.0.0.1:{port} cannot be opened: it is in use"):
            await Simulator(parse(serial_table("tcp", port=port))).open()
    (tmp_path / "file").write_text("precious")
    with pytest.raises(LineError, match="is not a link"):
        await Simulator(parse(serial_table("pty", path=str(tmp_path / "file")))).open()
    with pytest.raises(LineError, match="cannot be made"):
        await Simulator(parse(serial_table("pty", path=str(tmp_path / "no" / "folder")))).open()
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly(tmp_path, number):
    file = tmp_path / "sim.toml"
    file.write_text(toml("pty"))
    async with child(file) as (process, ready):
        assert ready["ready"] and "line" in os.listdir(tmp_path)
        reader, writer = await asyncio.open_connection(*ready["control"].removeprefix("http://").split(":"))
        writer.write(b"GET /sim/v1/meters HTTP/1.1\r\n\r\n")
        await reader.readline()  # a connection that is kept open
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert (await process.stderr.read()) == b""
        writer.close()
    assert "line" not in os.listdir(tmp_path)


def toml(kind: str) -> str:
    return f"""
[sim]
speed = 100000
state = "state"
[[line]]
id = "a"
kind = "{kind}"
{'path = "line"' if kind == "pty" else ""}
baud = 115200
delay_ms = [1, 5]
tail_ms = 0
[[meter]]
id = "m"
line = "a"
model = "dlt645-single"
address = "{ADDRESS}"
initial_kwh = 10
contact_ms = [100, 200]
load = {{ power_w = 9000 }}
"""


async def test_after_sigkill_no_register_is_lower_and_the_relay_is_as_it_was(tmp_path):
    """real time: 250 kWh per second of drawn energy, killed at random moments between and after answers."""
    file, rng, seen = tmp_path / "sim.toml", random.Random(7), Decimal(10)
    file.write_text(toml("tcp"))
    for turn in range(4):
        async with child(file) as (process, ready):
            port = ready["lines"][0]["port"]
            for _ in range(rng.randrange(1, 6)):
                (item,) = (await ask_tcp(port, Read(ADDRESS, "00010000"))).items
                assert item.value >= seen
                seen = item.value
            process.send_signal(signal.SIGKILL)
            await process.wait()
        assert seen > 10 + turn * Decimal("0.01")
    async with child(file) as (process, ready):
        expiry = datetime.now() + timedelta(days=2)
        await ask_tcp(ready["lines"][0]["port"], Control(ADDRESS, Action.CUT, expiry))
        process.send_signal(signal.SIGKILL)  # accepted, and the contact has not moved yet
        await process.wait()
    async with child(file) as (process, ready):
        _, truth = await handle(ready["control"], "meters/m")
        assert truth["command"] == "open" and Decimal(truth["registers"]["total"]) >= seen
        await asyncio.sleep(0.25)
        _, truth = await handle(ready["control"], "meters/m")
        process.send_signal(signal.SIGKILL)
    async with child(file) as (process, ready):
        _, again = await handle(ready["control"], "meters/m")
        assert (again["contact"], again["power_w"]) == ("open", 0) and again["energy_mws"] == truth["energy_mws"]


@pytest.mark.parametrize(
    ("content", "control", "code", "sentence"),
    [
        ("[sim]\nseed = 'x'\n", None, 1, "[sim]: seed must be a whole number"),
        (toml("pty"), "7070", 2, "--control takes HOST:PORT"),
        (toml("pty").replace('state = "state"', 'state = "none/state"'), None, 1, "cannot be opened"),
    ],
)
def test_what_cannot_be_served_is_said_in_sentences(tmp_path, capsys, content, control, code, sentence):
    file = tmp_path / "sim.toml"
    file.write_text(content)
    assert main(str(file), control) == code
    assert sentence in capsys.readouterr().err


def test_a_state_that_belongs_to_another_meter_is_refused(tmp_path, capsys):
    file = tmp_path / "sim.toml"
    file.write_text(toml("pty"))
    state = StateFile(str(tmp_path / "state"))
    state.write("m", {"grains": [1, 2]})
    state.close()
    assert main(str(file)) == 1
    assert "saved state of meter m does not fit" in capsys.readouterr().err
