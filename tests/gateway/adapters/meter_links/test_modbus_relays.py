"""Relays by Modbus profile: a contactor that moves by itself (a cut nobody ordered is an event), the words of a prepaid meter."""

from __future__ import annotations

import asyncio

import pytest

from firmware_sim.modbus_firmware import RelayModule
from gateway.adapters.lines.driver import Driver
from gateway.adapters.meter_links.modbus_link import ModbusLink
from gateway.adapters.profiles import profile
from gateway.domain.events import EventKind
from gateway.domain.jobs import Answered, Failed, Fault, Group, ReadJob, SwitchJob
from gateway.domain.meters import Contact, SwitchKind
from gateway.domain.supply import SwitchReading, Verb
from gateway.services.record_reading import observe_switch
from tests.gateway.services.house import meter
from tests.gateway.services.memory_tx import MemoryStore
from tests.simulation.memory_line import loop_us
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time
from tests.simulation.virtual_street import VirtualStreet

UNIT, CHANNEL = 9, 3


class Site:
    """A meter with its contactor on a generic module, and a store that remembers where the switch was seen."""

    def __init__(self, inverted: bool) -> None:
        switch = {"line": "coils", "unit": UNIT, "coil": CHANNEL, "inverted": inverted}
        self.street = VirtualStreet(
            {
                "line": [{"id": "rtu", "kind": "tcp", "baud": 9600}, {"id": "coils", "kind": "tcp", "baud": 9600}],
                "meter": [{"id": "m1", "line": "rtu", "model": "sdm630", "unit": 1, "load": {"power_w": 900}, "switch": switch}],
            }
        )
        self.clock = VirtualClock()
        self.driver = Driver(self.street.lines["coils"], baud=9600, clock=self.clock)
        kind = profile("contactor-coil-inverted" if inverted else "contactor-coil")
        self.link = ModbusLink(self.driver, "m1", UNIT, kind, clock=self.clock, channel=CHANNEL)
        self.store = MemoryStore()
        self.last_seen(Contact.CLOSED)

    def last_seen(self, contact: Contact) -> None:
        """What the store knows of the switch; no command is open."""
        self.store.write_now(lambda tx: tx.save_meter(meter(account=None, switch=SwitchKind.CONTACTOR, observed=contact)))

    @property
    def module(self) -> RelayModule:
        device = self.street.street.buses["coils"].modbus[UNIT]
        assert isinstance(device, RelayModule)
        return device

    def power(self, on: bool) -> None:
        self.module.power(on, loop_us())

    async def look(self) -> SwitchReading:
        """Read the switch and write down what was seen, as a line does."""
        outcome = await self.link.perform(ReadJob("m1", Group.SWITCH))
        assert isinstance(outcome, Answered) and outcome.switch is not None, outcome
        seen, now_ms = outcome.switch, self.clock.now_ms()
        self.store.write_now(lambda tx: observe_switch(tx, "m1", seen, now_ms))
        return seen

    def told(self) -> list[tuple[str, str]]:
        """Every event of the meter: what, and by which evidence."""
        events = self.store.read_now(lambda tx: tx.events(100))
        return [(each.event.kind, str(each.event.data["evidence"])) for each in events]


@pytest.mark.parametrize("inverted", [False, True])
def test_a_contactor_that_moves_by_itself_is_reported(inverted: bool) -> None:
    @in_virtual_time
    async def run() -> None:
        site = Site(inverted)
        assert await site.driver.ensure_open() is None
        assert (await site.look()).contact is Contact.CLOSED and site.told() == []
        site.power(False)
        outcome = await site.link.perform(ReadJob("m1", Group.SWITCH))
        assert isinstance(outcome, Failed) and outcome.fault is Fault.SILENT, "nobody knows more while the module is dead"
        assert site.told() == []
        site.power(True)
        await asyncio.sleep(5)
        seen = await site.look()
        if inverted:  # its normally closed contact kept the supply
            assert seen.contact is Contact.CLOSED and site.told() == []
        else:
            assert (seen.contact, seen.kind) == (Contact.OPEN, "feedback")
            assert site.told() == [(EventKind.SUPPLY_LOST, "feedback")]
            assert (await site.look()).contact is Contact.OPEN and len(site.told()) == 1, "said once"

    run()


def test_a_contactor_that_was_cut_and_comes_back_by_itself_is_reported() -> None:
    """The other side of a normally closed contact: the module's power fails and supplies who was cut."""

    @in_virtual_time
    async def run() -> None:
        site = Site(inverted=True)
        assert await site.driver.ensure_open() is None
        assert isinstance(await site.link.perform(SwitchJob("m1", "c-1", Verb.CUT, site.clock.now_ms() + 600_000)), Answered)
        await asyncio.sleep(5)
        site.last_seen(Contact.OPEN)
        assert (await site.look()).contact is Contact.OPEN and site.told() == []
        site.power(False)
        await asyncio.sleep(5)
        site.power(True)
        assert (await site.look()).contact is Contact.CLOSED
        assert site.told() == [(EventKind.SUPPLY_RESTORED, "feedback")]

    run()


def test_a_prepaid_meter_is_cut_and_restored_by_force_and_its_load_is_the_proof() -> None:
    @in_virtual_time
    async def run() -> None:
        meters = [{"id": "m1", "line": "rtu", "model": "ddsy1352", "unit": 4, "initial_kwh": 7, "load": {"power_w": 900}}]
        street = VirtualStreet({"line": [{"id": "rtu", "kind": "tcp", "baud": 9600}], "meter": meters})
        clock = VirtualClock()
        driver = Driver(street.lines["rtu"], baud=9600, clock=clock)
        assert await driver.ensure_open() is None
        link = ModbusLink(driver, "m1", 4, profile("acrel-ddsy1352"), clock=clock)
        for verb, contact in ((Verb.CUT, Contact.OPEN), (Verb.RESTORE, Contact.CLOSED), (Verb.CUT, Contact.OPEN)):
            assert isinstance(await link.perform(SwitchJob("m1", "c", verb, clock.now_ms() + 600_000)), Answered)
            await asyncio.sleep(4)
            outcome = await link.perform(ReadJob("m1", Group.SWITCH))
            assert isinstance(outcome, Answered) and outcome.switch is not None, outcome
            assert (outcome.switch.contact, outcome.switch.kind) == (contact, "load")
            assert street.station("m1").meter.relay.contact_closed is (contact is Contact.CLOSED)

    run()
