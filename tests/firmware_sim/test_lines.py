"""Serial ports with real parity settings, modems that dial in, and what survives the death of the process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import termios
import tty

import pytest

from firmware_sim.config import ConfigError, parse
from firmware_sim.line import LineError, SerialLine
from firmware_sim.serve import Simulator, main
from firmware_sim.wire import Wire
from protocols.dlt645 import master
from protocols.dlt645.master import Read
from protocols.exchange import Done
from tests.firmware_sim.dlt645.bench import CUSTOMER
from tests.firmware_sim.live import ask_pty, ask_tcp, child, handle, running
from tests.firmware_sim.virtual import one_meter
from tests.ports import free_port

ADDRESS = "202611210001"
QUICK = {"delay_ms": [5, 10], "tail_ms": 0}


def table(kind: str, **line: object) -> dict[str, object]:
    made = one_meter(initial_kwh="55.55", contact_ms=[10, 20])
    made["line"] = [{"id": "a", "kind": kind, "baud": 9600, **QUICK, **line}]
    return made


@contextlib.contextmanager
def terminal():
    """A pty: (the master's end, the path of the meter's end)."""
    near, far = pty.openpty()
    tty.setraw(near)
    tty.setraw(far)
    try:
        yield near, os.ttyname(far)
    finally:
        os.close(near)
        os.close(far)


async def ask_end(near: int, exchange):
    loop, heard = asyncio.get_running_loop(), asyncio.Queue()
    loop.add_reader(near, lambda: heard.put_nowait(os.read(near, 4096)))
    try:
        os.write(near, exchange.start())
        async with asyncio.timeout(60):
            while True:
                step = exchange.feed(await heard.get())
                if isinstance(step, Done):
                    return step.result
    finally:
        loop.remove_reader(near)


async def test_a_serial_port_is_answered_at_its_own_pace(tmp_path):
    with terminal() as (near, path):
        async with running(table("serial", path=path), tmp_path) as simulator:
            assert str((await ask_end(near, Read(ADDRESS, "00010000"))).items[0].value) == "55.55"
            port = simulator.endpoints["a"]
            flags = termios.tcgetattr(port._port.fileno())[2]
            assert flags & termios.CSIZE == termios.CS8 and not flags & termios.PARENB  # a pty has no parity
            assert simulator.ready()["lines"] == [{"id": "a", "path": path}]


async def test_a_real_port_is_opened_with_even_parity(monkeypatch):
    opened = {}

    class Port:
        def __init__(self, path, baud, **how):
            opened.update(how, path=path, baud=baud)
            self._fd = os.open("/dev/null", os.O_RDONLY)

        def fileno(self):
            return self._fd

        def close(self):
            os.close(self._fd)

    monkeypatch.setattr("firmware_sim.line.serial.Serial", Port)
    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", lambda *args: None)
    monkeypatch.setattr(asyncio.get_running_loop(), "remove_reader", lambda *args: None)
    line = SerialLine(Wire(lambda *heard: [], 2400, None, 0, paced=False), "/dev/ttyUSB7", 2400, "E")
    await line.open()
    line.close()
    assert (opened["path"], opened["baud"], opened["parity"], opened["exclusive"]) == ("/dev/ttyUSB7", 2400, "E", True)


async def test_a_serial_port_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(LineError, match=r"The serial port .*none cannot be opened: No such file or directory\."):
        await Simulator(parse(table("serial", path=str(tmp_path / "none")))).open()


async def test_a_serial_adapter_that_vanishes_is_opened_again(tmp_path, monkeypatch):
    monkeypatch.setattr("firmware_sim.line.REOPEN_S", 0.02)
    link = tmp_path / "usb"
    with terminal() as (near, path), terminal() as (other, second):
        link.symlink_to(path)
        async with running(table("serial", path=str(link)), tmp_path) as simulator:
            assert await ask_end(near, Read(ADDRESS, "00010000"))
            link.unlink()
            link.symlink_to(second)
            simulator.endpoints["a"]._lost()
            await asyncio.sleep(0.1)
            assert await ask_end(other, Read(ADDRESS, "00010000"))


class Centre(asyncio.Protocol):
    """Who is dialled: keeps what arrives."""

    def __init__(self, calls: asyncio.Queue) -> None:
        self.heard, self._calls = asyncio.Queue(), calls

    def connection_made(self, transport) -> None:
        self.transport = transport
        self._calls.put_nowait(self)

    def data_received(self, data: bytes) -> None:
        self.heard.put_nowait(data)


async def test_a_modem_dials_in_registers_beats_and_carries_the_line(tmp_path, monkeypatch):
    monkeypatch.setattr("firmware_sim.line.DIAL_FIRST_S", 0.02)
    port = free_port()
    made = table("dial", port=port, registration="METER-1", heartbeat="hex:FE01", heartbeat_s=2)
    async with running(made, tmp_path) as simulator:
        assert simulator.ready()["lines"] == [{"id": "a", "dials": f"127.0.0.1:{port}"}] and not simulator.endpoints["a"].connected
        await asyncio.sleep(0.05)  # nobody is there yet
        calls = asyncio.Queue()
        server = await asyncio.get_running_loop().create_server(lambda: Centre(calls), "127.0.0.1", port)
        async with asyncio.timeout(60):
            call = await calls.get()
            assert await call.heard.get() == b"METER-1"
            question = Read(ADDRESS, "00010000")
            call.transport.write(question.start())
            heard = b""
            while not isinstance(step := question.feed(piece := await call.heard.get()), Done):
                heard += piece
            assert str(step.result.items[0].value) == "55.55"
            assert await call.heard.get() == b"\xfe\x01"
            call.transport.abort()  # the call ends, and comes again
            again = await calls.get()
            assert await again.heard.get() == b"METER-1"
        server.close()
        again.transport.abort()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"kind": "dial"}, "port is missing"),
        ({"kind": "dial", "port": 1, "registration": "é"}, "must be ASCII"),
        ({"kind": "dial", "port": 1, "heartbeat": "hex:0"}, "must be ASCII"),
        ({"kind": "serial"}, "path is missing"),
        ({"kind": "serial", "path": "x", "parity": "S"}, "parity must be one of E, N, O"),
        ({"kind": "pty", "path": "x", "parity": "E"}, "parity is not a key"),
    ],
)
def test_endpoints_that_cannot_be(line, complaint):
    made = one_meter()
    made["line"] = [{"id": "a", **line}]
    with pytest.raises(ConfigError, match=complaint):
        parse(made)


TOML = f"""
[sim]
state = "state"
[[line]]
id = "a"
kind = "tcp"
baud = 115200
delay_ms = [1, 5]
tail_ms = 0
[[meter]]
id = "m"
line = "a"
model = "dlt645-single"
address = "{ADDRESS}"
contact_ms = [1, 2]
load = {{ power_w = 0 }}
wallet = {{ prices = [0.5], balance = 50, customer = "{CUSTOMER}", count = 1 }}
"""


async def test_money_parameters_and_events_survive_sigkill(tmp_path):
    """real time: killed right behind the answers."""
    file = tmp_path / "sim.toml"
    file.write_text(TOML)
    async with child(file) as (process, ready):
        port = ready["lines"][0]["port"]
        await ask_tcp(port, master.Write(ADDRESS, "04001401", b"\x03\x00", 2, "000000"))
        process.send_signal(signal.SIGKILL)  # behind the very first change
        await process.wait()
    async with child(file) as (process, ready):
        port = ready["lines"][0]["port"]
        assert (await ask_tcp(port, Read(ADDRESS, "03300000"))).items[0].value == 1
        await ask_tcp(port, master.Write(ADDRESS, "04001003", bytes.fromhex("00010000"), 2, "000000"))
        _, before = await handle(ready["control"], "meters/m/cover", {})
        process.send_signal(signal.SIGKILL)
        await process.wait()
    async with child(file) as (process, ready):
        port = ready["lines"][0]["port"]
        assert (await ask_tcp(port, Read(ADDRESS, "04001401"))).data == b"\x03\x00"
        assert (await ask_tcp(port, Read(ADDRESS, "03300000"))).items[0].value == 2
        _, after = await handle(ready["control"], "meters/m")
        assert after["wallet"] == before["wallet"] and after["events"] == before["events"] == {"033000": 2, "03300D": 1}
    assert json.loads((tmp_path / "state.history" / "m.json").read_text())["parameters"]["04001401"] == "0300"


@pytest.mark.parametrize("content", ["no json", "[]", '{"parameters": {}}'])
async def test_a_history_that_does_not_fit_is_refused(tmp_path, content, capsys):
    file = tmp_path / "sim.toml"
    file.write_text(TOML)
    (tmp_path / "state.history").mkdir()
    (tmp_path / "state.history" / "m.json").write_text(content)
    assert await asyncio.to_thread(main, str(file)) == 1
    assert "history of meter m" in capsys.readouterr().err


async def test_a_scenario_asks_on_a_pty_beside_somebody_else(tmp_path):
    async with running(table("pty", path="line-a"), tmp_path) as simulator:
        heard: list[bytes] = []
        simulator.endpoints["a"].tap = heard.append
        assert (await ask_pty(str(tmp_path / "line-a"), Read(ADDRESS, "00010000"))).items
        assert heard


@pytest.mark.parametrize(("strict", "speed", "answers"), [(True, 4800, False), (True, 9600, True), (False, 4800, True)])
async def test_a_pty_can_be_strict_about_the_masters_speed(tmp_path, strict, speed, answers):
    async with running(table("pty", path="line-a", follow_speed=strict), tmp_path):
        device = os.open(tmp_path / "line-a", os.O_RDWR | os.O_NOCTTY)
        settings = termios.tcgetattr(device)
        settings[4] = settings[5] = getattr(termios, f"B{speed}")
        termios.tcsetattr(device, termios.TCSANOW, settings)
        try:
            async with asyncio.timeout(60 if answers else 0.5):
                await ask_pty(str(tmp_path / "line-a"), Read(ADDRESS, "00010000"))
            assert answers
        except TimeoutError:
            assert not answers
        finally:
            os.close(device)
