"""Foreign Modbus: pymodbus's server holds the map of every profile and our link reads it; Debian's mbpoll masters our meters."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from firmware_sim.serve import Simulator
from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.tcp import TcpTransport
from gateway.adapters.meter_links.modbus_link import ModbusLink
from gateway.adapters.profiles import load_profiles, profile
from gateway.domain.jobs import Answered, Failed, Fault, Group, ReadJob, SwitchJob
from gateway.domain.supply import Verb
from protocols.modbus.frames import Framing
from protocols.modbus.master import ReadRegisters, WriteRegisters
from protocols.profiles import BlockSwitch, MeterProfile, Register, RegisterSwitch, plan_reads
from tests.firmware_sim.live import running

UNIT = 7
METERS = [name for name, each in load_profiles().items() if each.modbus and each.quantities]
KINDS: Final = {
    "u16": DataType.UINT16,
    "i16": DataType.INT16,
    "u32": DataType.UINT32,
    "i32": DataType.INT32,
    "i64": DataType.INT64,
    "f32": DataType.FLOAT32,
}
SHOWN = {"energy_import": "12345.67", "power": "-1.234", "power_factor": "0.95"}
BY_UNIT = {"kWh": "400.25", "V": "230.1", "A": "5.25", "kW": "0.75", "kvar": "0.5", "kVA": "1.3", "Hz": "50.02", "": "3"}


def shows(register: Register) -> Decimal:
    """What the foreign meter shows in this register."""
    return Decimal(SHOWN.get(register.quantity, BY_UNIT[register.unit]))


def table(meter: MeterProfile, function: int) -> list[SimData]:
    """One table of the foreign server: each value in the maker's own counts, encoded by pymodbus; nothing lies beyond what is read.

    Between them stands 0 where the profile says that a read may go across; anything else is an illegal address.
    """
    assert meter.modbus is not None
    found, held = [], set()
    for register in meter.modbus.registers:
        if register.function == function:
            counts = shows(register) / register.type.scale
            value = float(counts) if register.type.kind == "f32" else int(counts)
            found.append(SimData(register.address, values=value, datatype=KINDS[register.type.kind]))
            held |= set(range(register.address, register.end))
    energies = [q for q in meter.quantities if q.startswith("energy_")]
    for block in (*plan_reads(meter, energies), *plan_reads(meter, [q for q in meter.quantities if q not in energies])):
        gaps = sorted(set(range(block.address, block.address + block.count)) - held) if block.function == function else []
        found += [SimData(address, values=0, datatype=DataType.REGISTERS) for address in gaps]
        held |= set(gaps)
    switch = meter.switch
    if function == 3 and isinstance(switch, (RegisterSwitch, BlockSwitch)):
        words = [0] * switch.read_count
        found.append(SimData(switch.read_address, values=words, datatype=DataType.REGISTERS))
    return sorted(found, key=lambda data: data.address) or [SimData(0, datatype=DataType.REGISTERS)]


@asynccontextmanager
async def foreign(meter: MeterProfile, framing: Framing) -> AsyncIterator[Driver]:
    """A driver on a pymodbus server that is this meter, over Modbus TCP or RTU frames in TCP."""
    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    device = SimDevice(id=UNIT, simdata=(bits, bits, table(meter, 3), table(meter, 4)))
    framer = FramerType.SOCKET if framing == "tcp" else FramerType.RTU
    server = ModbusTcpServer(device, framer=framer, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    port: int = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    driver = Driver(
        TcpTransport("127.0.0.1", port), baud=None if framing == "tcp" else 9600, clock=Clock(), numbered=framing == "tcp"
    )
    try:
        assert await driver.ensure_open() is None
        yield driver
    finally:
        await driver.close()
        await server.shutdown()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
@pytest.mark.parametrize("name", METERS)
async def test_our_link_reads_their_server_by_every_profile(name: str, framing: Literal["tcp", "rtu"]) -> None:
    meter = profile(name)
    assert meter.modbus is not None
    async with foreign(meter, framing) as driver:
        link = ModbusLink(driver, "m", UNIT, meter, clock=Clock(), framing=framing)
        got: dict[str, Decimal | None] = {}
        group = Group.BILLING
        for _ in range(2 * len(meter.quantities)):  # the block with the power comes every second time
            if len(got) < len(meter.quantities):
                answered = await link.perform(ReadJob("m", group))
                assert isinstance(answered, Answered) and answered.reading is not None, answered
                got |= {item.quantity: item.value for item in answered.reading.items}
                group = Group.INSTANT
        step = {r.quantity: r.type.resolution or abs(r.type.scale) for r in meter.modbus.registers}
        assert got == {r.quantity: shows(r).quantize(step[r.quantity]) for r in meter.modbus.registers}
        assert driver.counters.errors == {}


async def test_their_server_refuses_what_the_map_lacks_and_our_link_says_so() -> None:
    """With a meter of another model behind the address nothing is read, least of all as a value."""
    async with foreign(profile("chint-dtsu666"), "rtu") as driver:
        link = ModbusLink(driver, "m", UNIT, profile("chint-dtsu666-2016"), clock=Clock(), framing="rtu")
        answered = await link.perform(ReadJob("m", Group.BILLING))
        assert isinstance(answered, Failed) and answered.fault is Fault.REFUSED and "illegal data address" in answered.text


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
async def test_our_link_moves_a_relay_register_in_their_server(framing: Literal["tcp", "rtu"]) -> None:
    meter = profile("hiking-dds238-zn-sr")
    async with foreign(meter, framing) as driver:
        link = ModbusLink(driver, "m", UNIT, meter, clock=Clock(), framing=framing)
        for verb, word in ((Verb.RESTORE, 1), (Verb.CUT, 0)):
            assert isinstance(await link.perform(SwitchJob("m", "c", verb, Clock().now_ms() + 600_000)), Answered)
            question = ReadRegisters(UNIT, 3, 0x1A, 1, framing, driver.next_number())
            assert (await driver.run(question)).value == (word,)


async def test_the_two_words_of_a_prepaid_relay_arrive_in_their_server() -> None:
    meter = profile("acrel-ddsy1352")
    switch = meter.switch
    assert isinstance(switch, BlockSwitch)
    async with foreign(meter, "rtu") as driver:
        for closed in (True, False):
            await driver.run(WriteRegisters(UNIT, switch.address, switch.words(closed)))
            block = await driver.run(ReadRegisters(UNIT, switch.read_function, switch.read_address, switch.read_count))
            assert switch.told(block.value) is closed


NOBODY = 99
QUICK = {"delay_ms": [0, 1], "tail_ms": 0}
STILL = {"load": {"power_w": 0}, "contact_ms": [1, 2]}
STREET = {
    "line": [{"id": "net", "kind": "modbus-tcp"}, {"id": "rtu", "kind": "pty", "path": "rtu", "baud": 9600, **QUICK}],
    "meter": [
        {"id": "sdm", "line": "net", "model": "sdm630", "unit": 1, "initial_kwh": "1234.56",
         "switch": {"line": "net", "unit": 9, "coil": 3}, **STILL},
        {"id": "dds", "line": "rtu", "model": "dds238", "unit": 5, "initial_kwh": "60.24", **STILL},
        {"id": "ddsy", "line": "rtu", "model": "ddsy1352", "unit": 6, "initial_kwh": "7.00", **STILL},
    ],
}  # fmt: skip


class Mbpoll:
    """The program as a master, one run a question; addresses from 0, as on the wire. RTU without parity: a pty has none."""

    def __init__(self, simulator: Simulator, folder: Path) -> None:
        self._program = shutil.which("mbpoll") or pytest.skip(
            "mbpoll is not installed: run scripts/install mbpoll to compare us with it."
        )
        self._where = {
            "net": (["-m", "tcp", "-p", str(simulator.endpoints["net"].port)], "127.0.0.1"),  # type: ignore[union-attr]
            "rtu": (["-m", "rtu", "-b", "9600", "-P", "none"], str(folder / "rtu")),
        }

    async def __call__(
        self, line: str, unit: int, kind: str, first: int, count: int = 1, write: tuple[int, ...] = ()
    ) -> list[str] | str:
        """The values that it prints; what it says was wrong; or nothing for a write that was taken."""
        options, place = self._where[line]
        asked = [] if write else ["-c", str(count)]
        within_s = "0.5" if unit == NOBODY else "10"
        words = ["-a", str(unit), "-0", "-B", "-1", "-o", within_s, "-t", kind, "-r", str(first), *asked, place, *map(str, write)]
        process = await asyncio.create_subprocess_exec(
            self._program, *options, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        said, wrong = (part.decode() for part in await process.communicate())
        if process.returncode:
            return wrong.strip()
        return re.findall(r"^\[\d+\]:\s+(\S+)", said, re.MULTILINE)


@pytest.fixture
async def mbpoll(tmp_path: Path) -> AsyncIterator[Mbpoll]:
    async with running(STREET, tmp_path) as simulator:
        yield Mbpoll(simulator, tmp_path)


async def test_mbpoll_reads_our_meters(mbpoll: Mbpoll) -> None:
    assert await mbpoll("net", 1, "3:float", 0x48, 2) == ["1234.56", "0"]
    assert await mbpoll("rtu", 5, "4:int", 0x0A) == ["6024"]
    assert await mbpoll("rtu", 6, "4:int", 0) == ["700"]
    assert await mbpoll("net", 1, "3", 1) == "Read input register failed: Illegal data address"
    assert await mbpoll("rtu", 6, "4", 0x0E) == "Read output (holding) register failed: Illegal data address"
    assert await mbpoll("rtu", NOBODY, "4", 0) == "Read output (holding) register failed: Connection timed out"


async def test_mbpoll_orders_our_relays(mbpoll: Mbpoll) -> None:
    assert await mbpoll("net", 9, "1", 0, 8) == list("00010000")
    assert await mbpoll("net", 9, "0", 3, write=(0,)) == []
    assert await mbpoll("net", 9, "0", 0, 8) == list("00000000")
    await asyncio.sleep(0.05)  # real time: the contact takes 2 ms
    assert await mbpoll("net", 9, "1", 3) == ["0"]
    assert await mbpoll("rtu", 6, "4", 0x57, write=(1, 1)) == []
    assert (await mbpoll("rtu", 6, "4", 0x46, 28))[0x11:0x13] == ["1", "1"]
    # it writes one register with function 06, which this meter does not understand: nothing moves
    assert await mbpoll("rtu", 5, "4", 0x1A, write=(0,)) == "Write output (holding) register failed: Illegal function"
    assert await mbpoll("rtu", 5, "4", 0x1A) == ["1"]
