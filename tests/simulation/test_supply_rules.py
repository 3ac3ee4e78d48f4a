"""F7 to F9 on a whole gateway: what was paid is in the decision, a paid restore is first, an overload trips at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.domain.events import EventKind
from gateway.domain.requests import Protection
from gateway.domain.supply import CommandState, Verb
from gateway.services.protect_account import protect_account
from tests.simulation.supply_gateway import SupplyGateway
from tests.simulation.supply_world import House, Plan
from tests.simulation.virtual_loop import in_virtual_time

LIMITS = "[limits]\nown_per_hour = 100\nordered_per_hour = 100\nordered_per_day = 100"
DIRECT = 'low = "0.50"\nreconnect = "close"\nno_cut_hours = false'


@pytest.fixture(autouse=True)
def notice_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTGATE_SMS", "json://localhost")


def lit(gateway: SupplyGateway, house: str) -> bool:
    return gateway.world.street.station(house).meter.relay.contact_closed


def trips(gateway: SupplyGateway) -> int:
    return sum(heard.trips for heard in gateway.world.taps["rs"].sent)


@pytest.mark.parametrize("paid", [True, False])
@in_virtual_time
async def test_F7_what_was_paid_while_a_cut_waited_for_its_line_is_in_the_decision(tmp_path: Path, paid: bool) -> None:
    async with SupplyGateway(tmp_path, Plan([House("h", opening="0.20", policy=DIRECT)], LIMITS)) as gateway:
        line = gateway.world.taps["rs"].line

        def pull() -> None:
            if any(command.state is CommandState.QUEUED for command in gateway.commands("h")):
                line.unplug()

        gateway.weak.after = pull
        assert await gateway.until(lambda: not line.plugged, 3600)
        await gateway.run(30)
        assert not paid or await gateway.pay("h", "5.00")
        gateway.weak.after = lambda: None
        line.plug()
        await gateway.run(120)
        assert (lit(gateway, "h"), trips(gateway)) == ((True, 0) if paid else (False, 1))
        if paid:  # and ends where that is used up too
            assert await gateway.until(lambda: not lit(gateway, "h"), 3 * 3600)


@pytest.mark.parametrize("paid", [True, False])
@in_virtual_time
async def test_F8_a_paid_restore_overtakes_a_cut_on_its_line(tmp_path: Path, paid: bool) -> None:
    houses = [House("poor", opening="0.05", policy=DIRECT), House("other", opening="900.00", policy=DIRECT)]
    async with SupplyGateway(tmp_path, Plan(houses, LIMITS)) as gateway:
        assert await gateway.until(lambda: gateway.account("poor").credit == "cut", 3600)
        begun = len(gateway.world.taps["rs"].sent)
        if paid:
            gateway.world.taps["rs"].line.unplug()  # both wait when the line is back
        await gateway.order("other", Verb.CUT, "O-1")
        assert not paid or await gateway.pay("poor", "20.00")
        gateway.world.taps["rs"].line.plug()
        assert await gateway.until(lambda: not lit(gateway, "other") and lit(gateway, "poor") is paid, 60)
        orders = [heard for heard in gateway.world.taps["rs"].sent[begun:] if heard.controls]
        assert [heard.trips for heard in orders] == ([False, True] if paid else [True])


@pytest.mark.parametrize("protected", [True, False])
@in_virtual_time
async def test_F9_an_overload_trips_whatever_else_holds_cuts_and_never_a_protected_house(tmp_path: Path, protected: bool) -> None:
    limit = "power_w = 3000\ndelay_s = 60\npause_s = 60\nrecloses = 2"
    house = House("h", power_w=5000, opening="900.00", policy='low = "0.50"\nreconnect = "close"', limit=limit)
    async with SupplyGateway(tmp_path, Plan([house], LIMITS, instant_s=10)) as gateway:
        world = gateway.world
        world.synchronised = world.bank_listens = world.bank_calls = False
        if protected:
            wanted = Protection("A-h", gateway.now_ms() + 3_600_000, "Li Wei", "ill", "operator:li")
            assert await gateway.act(lambda tx, site, now_ms: protect_account(tx, wanted, site, now_ms)) is None
            await gateway.run(1800)
            assert lit(gateway, "h") and trips(gateway) == 0
            await gateway.run(1800)
        assert await gateway.until(lambda: not lit(gateway, "h"), 60 + 10 + 30)  # the delay, one round, the meter's clock
        assert await gateway.until(lambda: gateway.events(EventKind.LIMIT_LOCKED) != [], 1800)
        await gateway.run(1800)
        assert (lit(gateway, "h"), trips(gateway), len(gateway.events(EventKind.LIMIT_RECLOSED))) == (False, 3, 2)
