"""Simulated meters behind a real pty, a real TCP port and a real Modbus TCP port: all groups read, cut and restored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from firmware_sim.config import parse
from firmware_sim.line import Port, PtyLine
from firmware_sim.serve import Simulator
from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.serial import SerialTransport
from gateway.adapters.lines.tcp import TcpTransport
from gateway.adapters.meter_links.dlt645_link import Dlt645Link, Password
from gateway.adapters.meter_links.modbus_link import ModbusLink
from gateway.adapters.profiles import profile
from gateway.domain.jobs import Answered, Failed, Group, Job, Outcome, ReadbackJob, ReadJob, SwitchJob
from gateway.domain.meters import Contact
from gateway.domain.supply import SwitchReading, Verb

QUICK = {
    "contact_ms": [1, 5], "status_delay_ms": 0, "delay_ms": [5, 20], "tail_ms": 0, "load": {"power_w": 1500}, "initial_kwh": 42,
}  # fmt: skip
ADDRESSES = {"pty": "000000000001", "tcp": "000000000002"}
TABLE = {
    "line": [
        {"id": "pty", "kind": "pty", "path": "rs485", "baud": 9600},
        {"id": "tcp", "kind": "tcp", "baud": 9600},
        {"id": "rtu", "kind": "pty", "path": "rtu", "baud": 9600},
        {"id": "net", "kind": "modbus-tcp"},
        {"id": "coils", "kind": "modbus-tcp"},
    ],
    "meter": [
        *({"id": f"m-{line}", "line": line, "model": "dlt645-single", "address": a, **QUICK} for line, a in ADDRESSES.items()),
        {"id": "m-rtu", "line": "rtu", "model": "dds238", "unit": 3, **QUICK},
        {"id": "m-net", "line": "net", "model": "sdm630", "unit": 1, "switch": {"line": "coils", "unit": 2, "coil": 7}, **QUICK},
    ],
}  # fmt: skip


class Book:
    def password(self, name: str) -> Password:
        return Password("000000")


@dataclass
class Street:
    simulator: Simulator
    drivers: dict[str, Driver]

    def links(self, line: str) -> tuple[ModbusLink | Dlt645Link, ModbusLink | Dlt645Link]:
        """Who reads the meter of this line, and who switches it."""
        meter, driver, clock = f"m-{line}", self.drivers[line], Clock()
        if line == "net":
            coils = self.drivers["coils"]
            module = ModbusLink(coils, meter, 2, profile("relay-module-8"), clock=clock, framing="tcp", channel=7)
            return ModbusLink(driver, meter, 1, profile("eastron-sdm630"), clock=clock, framing="tcp"), module
        if line == "rtu":
            link: ModbusLink | Dlt645Link = ModbusLink(driver, meter, 3, profile("hiking-dds238-zn-sr"), clock=clock)
        else:
            link = Dlt645Link(driver, meter, ADDRESSES[line], profile("dlt645-single"), clock=clock, passwords=Book())
        return link, link


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    simulator = Simulator(parse(TABLE, tmp_path))
    await simulator.open()
    drivers = {}
    for name, end in simulator.endpoints.items():
        assert isinstance(end, Port | PtyLine)
        transport = TcpTransport(end.host, end.port) if isinstance(end, Port) else SerialTransport(end.path, baud=9600)
        modbus_tcp = name in ("net", "coils")
        drivers[name] = Driver(transport, baud=None if modbus_tcp else 9600, clock=Clock(), numbered=modbus_tcp)
        assert await drivers[name].ensure_open() is None
    yield Street(simulator, drivers)
    for driver in drivers.values():
        await driver.close()
    simulator.close()


async def certainly(link: ModbusLink | Dlt645Link, job: Job) -> Answered:
    outcome: Outcome = await link.perform(job)
    assert not isinstance(outcome, Failed), outcome
    return outcome


@pytest.mark.parametrize("line", ["pty", "tcp", "rtu", "net"])
async def test_all_groups_are_read_and_the_switch_is_cut_and_restored(street: Street, line: str) -> None:
    meter = f"m-{line}"
    reader, switcher = street.links(line)
    billing = (await certainly(reader, ReadJob(meter, Group.BILLING))).reading
    assert billing is not None and str(billing.items[0].value if line != "rtu" else billing.items[-1].value).startswith("42.0")
    instant = (await certainly(reader, ReadJob(meter, Group.INSTANT))).reading
    assert instant is not None and any(i.quantity == "power" and i.value and 1.4 < i.value < 1.6 for i in instant.items)
    assert _switch(await certainly(switcher, ReadJob(meter, Group.SWITCH))).contact is Contact.CLOSED
    for verb, contact in ((Verb.CUT, Contact.OPEN), (Verb.RESTORE, Contact.CLOSED)):
        order = SwitchJob(meter, "c", verb, Clock().now_ms() + 600_000)
        await certainly(switcher, order)
        await asyncio.sleep(0.05)
        look = _switch(await certainly(switcher, ReadbackJob(meter, "c")))
        assert look.contact is contact and look.kind == {"net": "feedback", "rtu": "load"}.get(line, "relay_bit")
        station = street.simulator.street.stations[meter]
        assert station.meter.relay.contact_closed is (contact is Contact.CLOSED)
    assert street.drivers[line].counters.errors == {}


async def test_a_simulator_that_is_started_again_is_found_again(street: Street, tmp_path: Path) -> None:
    street.simulator.close()
    reader, _ = street.links("pty")
    assert isinstance(await reader.perform(ReadJob("m-pty", Group.BILLING)), Failed)
    assert await street.drivers["pty"].ensure_open() is not None
    street.simulator = Simulator(parse(TABLE, tmp_path))
    await street.simulator.open()
    assert await street.drivers["pty"].ensure_open() is None
    await certainly(reader, ReadJob("m-pty", Group.BILLING))


def _switch(answered: Answered) -> SwitchReading:
    assert answered.switch is not None
    return answered.switch
