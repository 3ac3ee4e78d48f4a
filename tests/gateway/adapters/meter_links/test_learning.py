"""Links that learn: preambles, time-outs and blocks on simulated meters, two protocols on one noisy line."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from firmware_sim.meter import Meter
from firmware_sim.modbus_firmware import Refusal
from firmware_sim.wire import Wire
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.manner import BARE_TRIAL
from gateway.adapters.meter_links.dlt645_link import Dlt645Link, Password
from gateway.adapters.meter_links.modbus_link import ModbusLink
from gateway.adapters.profiles import profile
from gateway.domain.jobs import Answered, Failed, Fault, Group, ReadJob, SwitchJob
from gateway.domain.supply import Verb
from protocols.modbus.slave import Request
from tests.simulation.memory_line import WireLine
from tests.simulation.numbering_line import NumberingLine
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time
from tests.simulation.virtual_street import VirtualStreet

ADDRESS = "201906040102"
ADDRESSES, UNITS = ("000000000001", "000000000002"), (1, 2)


class Book:
    def password(self, name: str) -> Password:
        return Password("123456")


class Shared:
    """Meters of both kinds on one line. model: of the DL/T 645 meter."""

    def __init__(self, baud: int = 9600, model: str = "dlt645-single", **line: float) -> None:
        meters = [
            {"id": "dlt", "line": "rs", "model": model, "address": ADDRESS, "password": "123456", "delay_ms": [20, 60],
             "tail_ms": 0, "initial_kwh": 1234.56, "load": {"power_w": 800}},
            {"id": "dds", "line": "rs", "model": "dds238", "unit": 5, "initial_kwh": 60.24, "delay_ms": [20, 60], "tail_ms": 0,
             "load": {"power_w": 1200}},
        ]  # fmt: skip
        self.clock = VirtualClock()
        self.street = VirtualStreet({"line": [{"id": "rs", "kind": "tcp", "baud": baud, **line}], "meter": meters})
        self.line = self.street.lines["rs"]
        self.driver = Driver(self.line, baud=baud, clock=self.clock)
        self.dlt = Dlt645Link(self.driver, "dlt", ADDRESS, profile(model), clock=self.clock, passwords=Book())
        self.dds = ModbusLink(self.driver, "dds", 5, profile("hiking-dds238-zn-sr"), clock=self.clock)

    async def open(self) -> Shared:
        assert await self.driver.ensure_open() is None
        return self

    @property
    def wire(self) -> Wire:
        assert isinstance(self.line, WireLine)
        return self.line.wire


async def bill(link: Dlt645Link | ModbusLink) -> Answered | Failed:
    return await link.perform(ReadJob("m", Group.BILLING))


@in_virtual_time
async def test_a_meter_that_is_awake_is_soon_asked_without_preamble_and_ordered_with_it() -> None:
    site = await Shared(2400).open()
    for _ in range(BARE_TRIAL + 10):
        assert isinstance(await bill(site.dlt), Answered)
    assert site.dlt.manner.preamble == 0
    assert len(site.line.sent[-1][1]) == 16 and len(site.line.sent[0][1]) == 20
    await site.dlt.perform(SwitchJob("dlt", "c", Verb.RESTORE, site.clock.now_ms() + 600_000))
    assert site.line.sent[-1][1].startswith(b"\xfe" * 4)


@in_virtual_time
async def test_the_manner_of_a_meter_is_shown() -> None:
    site = await Shared().open()
    for link in (site.dlt, site.dds):
        for _ in range(10):
            await bill(link)
    shown = site.dlt.manner
    assert (shown.answered, shown.failed, shown.longest) == (10, 0, 20) and shown.blocks == (("0001FF00", "whole"),)
    assert shown.delay_ms is not None and 20 <= shown.delay_ms <= 75 and shown.timeout_ms < 200
    assert sum(shown.latency) == 10 and shown.preamble == 0
    shown = site.dds.manner
    assert shown.preamble is None and ("3:0000+12", "whole") in shown.blocks and shown.longest == 26


@in_virtual_time
async def test_a_line_that_garbles_long_answers_gives_the_total_and_later_the_block_again() -> None:
    site = await Shared().open()
    await bill(site.dlt)
    site.wire.noise = 0.03
    got: list[int] = []
    for _ in range(300):
        outcome = await bill(site.dlt)
        if isinstance(outcome, Answered) and outcome.reading is not None:
            got.append(len(outcome.reading.items))
    assert got.count(1) > 3 * got.count(5), "most of what comes through is short"
    site.wire.noise = 0.0
    for _ in range(70):
        await bill(site.dlt)
    outcome = await bill(site.dlt)
    assert isinstance(outcome, Answered) and outcome.reading is not None and len(outcome.reading.items) == 5


@in_virtual_time
async def test_a_three_phase_meter_without_instant_blocks_gives_what_it_has() -> None:
    site = await Shared(model="dlt645-three").open()
    unit = site.street.street.buses["rs"].dlt645[ADDRESS]
    real = unit.firmware.read
    unit.firmware.read = lambda di: None if di.startswith("02") and di[4:6] == "FF" else real(di)  # type: ignore[method-assign]
    seen: set[str] = set()
    for _ in range(8):
        outcome = await site.dlt.perform(ReadJob("dlt", Group.INSTANT))
        assert isinstance(outcome, Answered) and outcome.reading is not None, outcome
        seen |= {item.quantity for item in outcome.reading.items}
    assert seen == {"power", "voltage_a", "current_a"}


@in_virtual_time
async def test_a_modbus_device_that_refuses_merged_reads_is_billed_in_parts() -> None:
    site = await Shared().open()
    device = site.street.street.buses["rs"].modbus[5]
    real = device.values  # type: ignore[attr-defined]

    def values(request: Request, meter: Meter) -> list[int]:
        if request.count > 4:
            raise Refusal(2)
        return list(real(request, meter))

    device.values = values  # type: ignore[attr-defined]
    for _ in range(5):
        outcome = await bill(site.dds)
        assert isinstance(outcome, Answered) and outcome.reading is not None
        assert {i.quantity for i in outcome.reading.items} == {"energy_combined", "energy_export", "energy_import"}
    assert ("3:0000+12", "refused") in site.dds.manner.blocks


@in_virtual_time
async def test_a_timed_out_read_is_repeated_in_another_shape_without_waiting_for_the_late_answer() -> None:
    site = await Shared().open()
    await bill(site.dds)
    site.street.station("dds").faults.set("late_answer", count=1, delay_us=4_000_000)
    first, begun = await bill(site.dds), asyncio.get_running_loop().time()
    second = await bill(site.dds)
    assert isinstance(first, Failed) and first.fault is Fault.SILENT and isinstance(second, Answered)
    assert asyncio.get_running_loop().time() - begun < 1
    counts = [data[5] for _, data in site.line.sent[-2:]]
    assert counts[0] != counts[1]


@pytest.mark.parametrize("echo", [False, True])
@in_virtual_time
async def test_meters_of_both_protocols_share_a_noisy_line(echo: bool) -> None:
    """Each skips the other's frames; noise costs single exchanges and no value is ever another's."""
    line = NumberingLine(ADDRESSES, UNITS, rng := Random(6), baud=9600, late=0.0, noise=0.002, echo=echo)
    clock, driver = VirtualClock(), line.driver
    assert await driver.ensure_open() is None
    links: list[Dlt645Link | ModbusLink] = [
        *(Dlt645Link(driver, a, a, profile("dlt645-single"), clock=clock, passwords=Book()) for a in ADDRESSES),
        *(ModbusLink(driver, str(u), u, profile("hiking-dds238-zn-sr"), clock=clock) for u in UNITS),
    ]
    asked = answered = 0
    for _ in range(1_000):
        asked += 1
        answered += isinstance(await rng.choice(links).perform(ReadJob("m", rng.choice(list(Group)[:2]))), Answered)
    assert not driver.wrong and answered > 0.85 * asked
    assert line.transport.opened == 1 and driver.echo is echo and driver.gap_ms == 20
