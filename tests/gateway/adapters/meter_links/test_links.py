"""Meter links against simulated meters in virtual time: every group read, every kind of switch cut, restored and read back."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from firmware_sim.loads import Constant
from gateway.adapters.lines.driver import Driver
from gateway.adapters.meter_links.dlt645_clock import ClockBroadcast
from gateway.adapters.meter_links.dlt645_link import Dlt645Link, Password
from gateway.adapters.meter_links.modbus_link import ModbusLink
from gateway.adapters.profiles import profile
from gateway.domain.jobs import Answered, ClockJob, Failed, Fault, Group, Outcome, ReadbackJob, ReadJob, SwitchJob
from gateway.domain.meters import Contact
from gateway.domain.supply import SwitchReading, Verb
from tests.simulation.virtual_loop import START_MS, VirtualClock, in_virtual_time
from tests.simulation.virtual_street import VirtualStreet

DLT = "201906040102"
TABLE = {
    "line": [
        {"id": "rs", "kind": "tcp", "baud": 2400},
        {"id": "rtu", "kind": "tcp", "baud": 9600},
        {"id": "net", "kind": "modbus-tcp"},
        {"id": "coils", "kind": "modbus-tcp"},
    ],
    "meter": [
        {"id": "single", "line": "rs", "model": "dlt645-single", "address": DLT, "password": "123456", "initial_kwh": 1234.56,
         "load": {"power_w": 800}, "clock_offset_s": 7200},
        {"id": "three", "line": "rs", "model": "dlt645-three", "address": "000000000007", "load": {"power_w": 3000}},
        {"id": "dds", "line": "rtu", "model": "dds238", "unit": 5, "initial_kwh": 60.24, "load": {"power_w": 1200}},
        {"id": "sdm", "line": "net", "model": "sdm630", "unit": 1, "initial_kwh": 4485.62, "load": {"power_w": 2000},
         "switch": {"line": "coils", "unit": 9, "coil": 3}},
    ],
}  # fmt: skip


class Book:
    """Passwords by class."""

    def __init__(self, **passwords: str) -> None:
        self.passwords = passwords

    def password(self, name: str) -> Password:
        return Password(self.passwords[name])


class Site:
    """The street and a driver for each line."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.street = VirtualStreet(TABLE)
        bauds = {"rs": 2400, "rtu": 9600}
        self.drivers = {
            name: Driver(line, baud=bauds.get(name), clock=self.clock, numbered=name not in bauds)
            for name, line in self.street.lines.items()
        }

    async def open(self) -> Site:
        for driver in self.drivers.values():
            assert await driver.ensure_open() is None
        return self

    def single(self, **passwords: str) -> Dlt645Link:
        book = Book(**(passwords or {"control": "123456"}))
        return Dlt645Link(self.drivers["rs"], "single", DLT, profile("dlt645-single"), clock=self.clock, passwords=book)

    def three(self) -> Dlt645Link:
        return Dlt645Link(
            self.drivers["rs"], "three", "7", profile("dlt645-three"), clock=self.clock, passwords=Book(control="000000")
        )

    def dds(self) -> ModbusLink:
        return ModbusLink(self.drivers["rtu"], "dds", 5, profile("hiking-dds238-zn-sr"), clock=self.clock)

    def sdm(self) -> ModbusLink:
        return ModbusLink(self.drivers["net"], "sdm", 1, profile("eastron-sdm630"), clock=self.clock, framing="tcp")

    def coil(self) -> ModbusLink:
        return ModbusLink(self.drivers["coils"], "sdm", 9, profile("relay-module-8"), clock=self.clock, framing="tcp", channel=3)

    def order(self, meter: str, verb: Verb, lives_s: int = 600) -> SwitchJob:
        return SwitchJob(meter, f"c-{verb}", verb, self.clock.now_ms() + lives_s * 1000)


def values(outcome: Outcome) -> dict[str, Decimal | None]:
    assert isinstance(outcome, Answered) and outcome.reading is not None, outcome
    return {item.quantity: item.value for item in outcome.reading.items}


def seen(outcome: Outcome) -> SwitchReading:
    assert isinstance(outcome, Answered) and outcome.switch is not None, outcome
    return outcome.switch


def fault(outcome: Outcome) -> tuple[Fault, bool]:
    assert isinstance(outcome, Failed), outcome
    return outcome.fault, outcome.certain


@in_virtual_time
async def test_a_dlt645_meter_is_read_in_one_exchange_for_money_and_in_turns_for_the_rest() -> None:
    site = await Site().open()
    link, sent = site.single(), site.street.lines["rs"].sent
    billing = await link.perform(ReadJob("single", Group.BILLING))
    assert len(sent) == 1
    got = values(billing)
    assert got["energy_import"] == Decimal("1234.56") and {f"energy_import_t{n}" for n in range(1, 5)} <= set(got)
    assert isinstance(billing, Answered) and billing.reading is not None
    assert START_MS <= billing.reading.asked_ms < billing.reading.answered_ms <= site.clock.now_ms()
    item = billing.reading.items[0]
    assert (item.quantity, item.unit, item.obis) == ("energy_import", "kWh", "1-0:1.8.0")
    instants = [values(await link.perform(ReadJob("single", Group.INSTANT))) for _ in range(4)]
    assert [list(i) for i in instants] == [["power"], ["voltage_a"], ["power"], ["current_a"]]
    assert instants[0]["power"] == Decimal("0.8000")
    switch = await link.perform(ReadJob("single", Group.SWITCH))
    assert seen(switch).contact is Contact.CLOSED and "status_3" in values(switch)


@in_virtual_time
async def test_a_three_phase_meter_gives_its_blocks() -> None:
    site = await Site().open()
    link = site.three()
    instants = [values(await link.perform(ReadJob("three", Group.INSTANT))) for _ in range(4)]
    assert list(instants[0]) == ["power", "power_a", "power_b", "power_c"]
    assert list(instants[1]) == ["voltage_a", "voltage_b", "voltage_c"]


@in_virtual_time
async def test_cut_and_restore_of_a_dlt645_meter_by_its_own_wrong_clock() -> None:
    site = await Site().open()
    link, station = site.single(), site.street.station("single")
    assert isinstance(await link.perform(site.order("single", Verb.CUT)), Answered)
    await asyncio.sleep(4)
    look = seen(await link.perform(ReadbackJob("single", "c")))
    assert (look.contact, look.kind, look.power_w) == (Contact.OPEN, "relay_bit", 0)
    assert not site.street.station("single").meter.relay.contact_closed
    frames = len(site.street.lines["rs"].sent)
    assert isinstance(await link.perform(site.order("single", Verb.ALLOW_CLOSE)), Answered)
    assert len(site.street.lines["rs"].sent) == frames + 1, "the clock is known for an hour"
    assert seen(await link.perform(ReadbackJob("single", "c"))).contact is Contact.ALLOWED
    assert isinstance(await link.perform(site.order("single", Verb.RESTORE)), Answered)
    await asyncio.sleep(4)
    look = seen(await link.perform(ReadbackJob("single", "c")))
    assert (look.contact, look.power_w) == (Contact.CLOSED, 800)
    assert station.meter.relay.contact_closed


@pytest.mark.parametrize(("aside_s", "obeyed"), [(-2, True), (2, False)])
@in_virtual_time
async def test_the_expiry_holds_on_the_meters_clock(aside_s: int, obeyed: bool) -> None:
    """The frame is held back on the way: the meter obeys just before the expiry, and refuses just after."""
    site = await Site().open()
    link, wire = site.single(), site.street.lines["rs"]
    await link.perform(site.order("single", Verb.RESTORE))
    real, lives_s = wire.send, 60

    async def slow(data: bytes) -> None:
        await asyncio.sleep(lives_s + aside_s)
        await real(data)

    wire.send = slow  # type: ignore[method-assign]
    outcome = await link.perform(site.order("single", Verb.CUT, lives_s))
    assert isinstance(outcome, Answered) is obeyed
    if not obeyed:
        assert fault(outcome) == (Fault.REFUSED, False)


@in_virtual_time
async def test_an_unknown_clock_of_a_silent_meter_means_that_nothing_was_sent() -> None:
    site = await Site().open()
    link = site.single()
    site.street.station("single").faults.set("silent")
    assert fault(await link.perform(site.order("single", Verb.CUT))) == (Fault.SILENT, True)
    assert all(data[12] != 0x1C for _, data in site.street.lines["rs"].sent)
    site.street.station("single").faults.clear("silent")
    assert isinstance(await link.perform(site.order("single", Verb.CUT)), Answered)
    site.street.station("single").faults.set("silent")
    assert fault(await link.perform(site.order("single", Verb.RESTORE))) == (Fault.SILENT, False)
    assert fault(await link.perform(ReadbackJob("single", "c"))) == (Fault.SILENT, False)


@in_virtual_time
async def test_a_switch_frame_is_never_repeated() -> None:
    site = await Site().open()
    link = site.single()
    await link.perform(site.order("single", Verb.RESTORE))
    site.street.station("single").faults.set("lost_answer", commands_only=True)
    frames = len(site.street.lines["rs"].sent)
    assert fault(await link.perform(site.order("single", Verb.CUT))) == (Fault.SILENT, False)
    assert len(site.street.lines["rs"].sent) == frames + 1
    await asyncio.sleep(4)
    assert seen(await link.perform(ReadbackJob("single", "c"))).contact is Contact.OPEN


@in_virtual_time
async def test_two_refused_passwords_a_day_are_the_most() -> None:
    site = await Site().open()
    link, meter = site.single(control="999999"), site.street.station("single").meter
    for _ in range(2):
        outcome = await link.perform(site.order("single", Verb.CUT))
        assert fault(outcome) == (Fault.REFUSED, False)
        assert isinstance(outcome, Failed) and "password" in outcome.text
    for _ in range(3):
        assert fault(await link.perform(site.order("single", Verb.CUT))) == (Fault.REFUSED, True)
    assert meter.refused_passwords == 2
    await asyncio.sleep(24 * 3600)
    await link.perform(site.order("single", Verb.CUT))
    assert site.street.station("single").meter.refused_passwords == 3


@in_virtual_time
async def test_no_password_no_frame() -> None:
    site = await Site().open()
    link = site.single(other="123456")
    outcome = await link.perform(site.order("single", Verb.CUT))
    assert fault(outcome) == (Fault.REFUSED, True) and not site.street.lines["rs"].sent
    assert isinstance(outcome, Failed) and "control" in outcome.text and "123456" not in repr(Password("123456"))


@in_virtual_time
async def test_a_meter_without_register_blocks_is_asked_for_its_total_from_then_on() -> None:
    site = await Site().open()
    unit = site.street.street.buses["rs"].dlt645[DLT]
    real = unit.firmware.read
    unit.firmware.read = lambda di: None if di == "0001FF00" else real(di)  # type: ignore[method-assign]
    link, sent = site.single(), site.street.lines["rs"].sent
    for frames in (2, 4, 6, 7, 8):  # one refusal may be a busy moment; after the third the block is not asked for again
        assert list(values(await link.perform(ReadJob("single", Group.BILLING)))) == ["energy_import"]
        assert len(sent) == frames


@in_virtual_time
async def test_a_meter_that_answers_late_is_waited_for_from_then_on() -> None:
    site = await Site().open()
    link = site.single()
    site.street.station("single").faults.set("late_answer", delay_us=850_000)
    assert fault(await link.perform(ReadJob("single", Group.BILLING))) == (Fault.SILENT, False)
    assert values(await link.perform(ReadJob("single", Group.BILLING)))["energy_import"] == Decimal("1234.56")


@in_virtual_time
async def test_the_clock_is_broadcast_in_local_time_but_not_near_the_full_hour() -> None:
    site = await Site().open()
    station = site.street.station("three")
    broadcast = ClockBroadcast(site.drivers["rs"], "Asia/Shanghai", clock=site.clock)
    assert fault(await broadcast.perform(ClockJob("rs"))) == (Fault.REQUEST, True)
    await asyncio.sleep(2160)
    station.advance(round(asyncio.get_running_loop().time() * 1e6))
    station.meter.set_clock(station.meter.local_us - 120_000_000)
    assert isinstance(await broadcast.perform(ClockJob("rs")), Answered)
    await asyncio.sleep(1)
    meter = site.street.station("three").meter
    assert abs(meter.clock_us - meter.local_us) < 2_000_000


@in_virtual_time
async def test_a_modbus_meter_with_its_own_relay_is_believed_only_when_the_load_agrees() -> None:
    site = await Site().open()
    link = site.dds()
    assert values(await link.perform(ReadJob("dds", Group.BILLING)))["energy_import"] == Decimal("60.24")
    assert values(await link.perform(ReadJob("dds", Group.INSTANT)))["power"] == Decimal("1.200")
    look = seen(await link.perform(ReadJob("dds", Group.SWITCH)))
    assert (look.contact, look.kind, look.power_w) == (Contact.CLOSED, "load", 1200)
    look = seen(await link.perform(site.order("dds", Verb.CUT)))
    assert (look.contact, look.kind, look.power_w) == (Contact.CLOSED, "load", 1200)  # in front of the order
    await asyncio.sleep(4)
    look = seen(await link.perform(ReadbackJob("dds", "c")))
    assert (look.contact, look.kind, look.power_w) == (Contact.OPEN, "load", 0)
    assert await link.perform(site.order("dds", Verb.RESTORE)) == Answered()
    await asyncio.sleep(4)
    look = seen(await link.perform(ReadbackJob("dds", "c")))
    assert (look.contact, look.kind, look.power_w) == (Contact.CLOSED, "load", 1200)


@in_virtual_time
async def test_a_welded_relay_register_shows_current_while_open_and_no_load_proves_no_closing() -> None:
    site = await Site().open()
    link = site.dds()
    site.street.station("dds").faults.set("welded")
    await link.perform(site.order("dds", Verb.CUT))
    await asyncio.sleep(4)
    look = seen(await link.perform(ReadbackJob("dds", "c")))
    assert (look.contact, look.kind, look.power_w) == (Contact.OPEN, "load", 1200)
    site.street.station("dds").faults.clear("welded")
    await link.perform(site.order("dds", Verb.RESTORE))
    site.street.street.stations["dds"].meter.set_load(Constant(0, 1000))
    await asyncio.sleep(4)
    look = seen(await link.perform(ReadbackJob("dds", "c")))
    assert (look.contact, look.kind, look.power_w) == (Contact.CLOSED, "command_only", 0)


@in_virtual_time
async def test_a_lost_answer_about_the_load_takes_no_proof_from_a_cut() -> None:
    site = await Site().open()
    link, station = site.dds(), site.street.station("dds")
    station.faults.set("silent", count=1)
    look = seen(await link.perform(site.order("dds", Verb.CUT)))
    assert (look.contact, look.kind, look.power_w) == (Contact.CLOSED, "load", 1200)
    await asyncio.sleep(4)
    look = seen(await link.perform(ReadbackJob("dds", "c")))
    assert (look.contact, look.kind, look.power_w) == (Contact.OPEN, "load", 0)


@in_virtual_time
async def test_no_load_before_a_cut_proves_nothing_after_it() -> None:
    """A welded relay in a house that draws nothing looks exactly like one that opened."""
    site = await Site().open()
    link, station = site.dds(), site.street.station("dds")
    station.faults.set("welded")
    site.street.street.stations["dds"].meter.set_load(Constant(0, 1000))
    await link.perform(site.order("dds", Verb.CUT))
    await asyncio.sleep(4)
    look = seen(await link.perform(ReadbackJob("dds", "c")))
    assert (look.contact, look.kind, look.power_w) == (Contact.OPEN, "command_only", 0)
    assert station.meter.relay.contact_closed


@in_virtual_time
async def test_a_register_that_did_not_take_the_order_is_seen_unmoved() -> None:
    site = await Site().open()
    link = site.dds()
    site.street.station("dds").faults.set("silent", count=3)  # the load, asked twice, and the order
    site.street.street.stations["dds"].meter.set_load(Constant(0, 1000))
    assert fault(await link.perform(site.order("dds", Verb.CUT))) == (Fault.SILENT, False)
    look = seen(await link.perform(ReadbackJob("dds", "c")))
    assert (look.contact, look.kind) == (Contact.CLOSED, "relay_bit")


@in_virtual_time
async def test_a_meter_without_a_switch_and_a_module_with_feedback_on_another_line() -> None:
    site = await Site().open()
    meter, module = site.sdm(), site.coil()
    assert values(await meter.perform(ReadJob("sdm", Group.BILLING)))["energy_import"] == Decimal("4485.62")
    assert values(await meter.perform(ReadJob("sdm", Group.INSTANT)))["power"] == Decimal("2.0000")
    assert fault(await meter.perform(site.order("sdm", Verb.CUT))) == (Fault.REFUSED, True)
    assert fault(await meter.perform(ReadJob("sdm", Group.SWITCH))) == (Fault.REQUEST, True)
    for verb, contact in ((Verb.CUT, Contact.OPEN), (Verb.RESTORE, Contact.CLOSED)):
        assert isinstance(await module.perform(site.order("sdm", verb)), Answered)
        await asyncio.sleep(1)
        look = seen(await module.perform(ReadbackJob("sdm", "c")))
        assert (look.contact, look.kind) == (contact, "feedback")
        power = values(await meter.perform(ReadJob("sdm", Group.INSTANT)))["power"]
        assert power is not None and (power == 0) is (contact is Contact.OPEN)


@in_virtual_time
async def test_a_contactor_cannot_wait_for_a_button() -> None:
    site = await Site().open()
    sent = site.street.lines["coils"].sent
    assert fault(await site.coil().perform(site.order("sdm", Verb.ALLOW_CLOSE))) == (Fault.REFUSED, True)
    assert not sent


@in_virtual_time
async def test_a_lost_line_is_certain_only_when_nothing_was_sent() -> None:
    site = await Site().open()
    link, line = site.dds(), site.street.lines["rtu"]
    asyncio.get_running_loop().call_later(0.02, line.unplug)
    assert fault(await link.perform(site.order("dds", Verb.CUT))) == (Fault.LINE_DOWN, False)
    assert fault(await link.perform(site.order("dds", Verb.CUT))) == (Fault.LINE_DOWN, True)
