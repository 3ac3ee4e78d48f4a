"""What holds a cut frees nobody for ever: it ends in a cut, or a finding for a person, within its named time (prepayment.md 5)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import patch

import pytest

from gateway.adapters.lines import driver
from gateway.domain.findings import FindingKind
from gateway.domain.notices import MOST_AGE_MS, Answer
from gateway.domain.supply import CommandState, Verb
from gateway.services.find_unreachable import UNREAD_MS
from gateway.services.notify import confirm_step
from gateway.services.watch_calendars import watch_calendars
from tests.conftest import Figure
from tests.simulation.supply_gateway import SupplyGateway
from tests.simulation.supply_world import House, Plan
from tests.simulation.virtual_loop import in_virtual_time

HOUR_S, DAY_S = 3600.0, 86_400.0
ROUND_S = 2700.0
"""A round of judging, and what it leads to."""

CUT_S = 2100.0
TOLD = 'steps = [{name = "low", at = "low", channels = ["sms"]}, {name = "due", at = "exhausted", channels = ["sms"]}]'
LIT = 'low = "5.00"\nreconnect = "close"'


@pytest.fixture(autouse=True)
def notice_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTGATE_SMS", "json://localhost")


def slow(*houses: House, more: str = "") -> Plan:
    return Plan(houses, more, 600, 3600, 600, 120.0)


def debtor(policy: str, **more: object) -> House:
    return House("h", opening="0.10", policy=policy, **more)  # type: ignore[arg-type]


def finding(gateway: SupplyGateway, kind: FindingKind, subject: str = "A-h") -> str | None:
    found = gateway.store.read_now(lambda tx: tx.finding(kind, subject))
    return None if found is None else found.text


def unreachable(gateway: SupplyGateway) -> bool:
    return finding(gateway, FindingKind.UNREACHABLE_EXHAUSTED) is not None


def cut(gateway: SupplyGateway) -> bool:
    closed = gateway.world.street.station("h").meter.relay.contact_closed
    return not closed and gateway.account("h").credit == "cut"


async def at(local: str) -> None:
    """Wait for this time of Monday, 5 January 2026, as in 18:00."""
    hours, minutes = map(int, local.split(":"))
    await asyncio.sleep(4 * DAY_S + (hours - 8) * 3600 + minutes * 60)


def test_a_pulled_wire_is_a_field_order_within_a_day_and_a_plugged_one_a_cut(tmp_path: Path, figure: Figure) -> None:
    @in_virtual_time
    async def story() -> None:
        async with SupplyGateway(tmp_path, slow(debtor(f"{LIT}\nno_cut_hours = false"))) as gateway:
            tap, pulled = gateway.world.taps["rs"], asyncio.get_running_loop().time() + 30
            await gateway.run(30)
            tap.line.unplug()
            assert not await gateway.until(lambda: unreachable(gateway), 23 * HOUR_S, 600)
            told = await gateway.until(lambda: unreachable(gateway), HOUR_S + ROUND_S, 60)
            text = finding(gateway, FindingKind.UNREACHABLE_EXHAUSTED)
            assert told and text is not None and text.startswith("field order: read meter h (line rs, address")
            figure("a pulled wire: hours until the field order", round((asyncio.get_running_loop().time() - pulled) / HOUR_S, 2))
            assert UNREAD_MS == 24 * 3_600_000
            tap.line.plug()
            assert await gateway.until(lambda: cut(gateway), CUT_S), gateway.held("h")
            assert not unreachable(gateway)

    with patch.object(driver, "REOPEN_S", (120.0,)):
        story()


@pytest.mark.parametrize(("answer", "within_s"), [(Answer.REFUSED, 1800.0), (Answer.LATER, MOST_AGE_MS / 1000 + HOUR_S)])
def test_a_dead_phone_is_a_finding_and_a_person_s_word_a_cut(
    tmp_path: Path, answer: Answer, within_s: float, figure: Figure
) -> None:
    @in_virtual_time
    async def story() -> None:
        await asyncio.sleep(4 * DAY_S)
        async with SupplyGateway(tmp_path, slow(debtor(f"{LIT}\nno_cut_hours = false\n{TOLD}"))) as gateway:
            begun = asyncio.get_running_loop().time()
            gateway.world.phone.dead["A-h"] = answer
            assert await gateway.until(lambda: finding(gateway, FindingKind.NOTICES_FAILING) is not None, within_s, 60)
            took_h = round((asyncio.get_running_loop().time() - begun) / HOUR_S, 2)
            figure(f"a phone that answers {answer.value}: hours until the finding", took_h)
            await gateway.run(ROUND_S)
            assert "reached nobody" in (finding(gateway, FindingKind.NOTICES_FAILING) or "") and not cut(gateway)
            assert "reached nobody" in gateway.held("h")
            for step in ("low", "due"):
                await gateway.act(lambda tx, site, now_ms, step=step: confirm_step(tx, "A-h", step, "paper", "operator:li", now_ms))  # type: ignore[misc]
            assert await gateway.until(lambda: cut(gateway), CUT_S), gateway.held("h")

    story()


def test_a_missing_calendar_is_a_finding_and_the_built_in_hours_end_in_a_cut(tmp_path: Path) -> None:
    @in_virtual_time
    async def story() -> None:
        (tmp_path / "noon.toml").write_text(
            'zone = "Asia/Shanghai"\nvalid_to = "2026-12-31"\nsource = "test"\nwindows = ["Mon-Sun 12:00-14:00"]'
        )
        await at("17:30")
        named = '[[no_cut_calendar]]\nid = "noon"\nfile = "noon.toml"'
        async with SupplyGateway(tmp_path, slow(debtor(f'{LIT}\ncalendar = "noon"\n{TOLD}'), more=named)) as gateway:
            await gateway.act(lambda tx, site, now_ms: tx.drop_no_cut_calendar("noon"))
            await gateway.act(lambda tx, site, now_ms: watch_calendars(tx, now_ms))
            assert "the built-in no-cut hours hold" in (finding(gateway, FindingKind.CALENDAR_ENDED, "noon") or "")
            await gateway.run(15.4 * HOUR_S)  # until 8:54
            assert not cut(gateway) and "these are no-cut hours (F4)" in gateway.held("h")
            assert await gateway.until(lambda: cut(gateway), CUT_S), gateway.held("h")

    story()


def test_a_wrong_password_is_tried_twice_a_day(tmp_path: Path) -> None:
    @in_virtual_time
    async def story() -> None:
        await asyncio.sleep(4 * DAY_S)
        house = debtor(f"{LIT}\nno_cut_hours = false", sim={"password": "999999"})
        async with SupplyGateway(tmp_path, slow(house, more="[limits]\nown_per_hour = 100\nordered_per_hour = 100")) as gateway:
            station = gateway.world.street.station("h")
            for hour in range(23):  # the rules want it all day, a person each hour
                await gateway.run(HOUR_S)
                if hour < 20:
                    await gateway.order("h", Verb.CUT, f"O-{hour}")
            tap = gateway.world.taps["rs"]
            assert station.meter.refused_passwords == 2 == len([heard for heard in tap.sent if heard.controls])
            assert station.device is not None and not station.device.access.locked and station.meter.relay.contact_closed
            states = {command.state for command in gateway.commands("h") if command.final}
            assert states <= {CommandState.REFUSED, CommandState.CANCELLED}
            station.device.access.passwords[2] = "000000"  # somebody has set it right
            assert await gateway.until(lambda: cut(gateway), DAY_S, 60), gateway.last("h")

    story()


@pytest.mark.parametrize("hours", [5, 24 * 400])
def test_a_clock_that_was_ahead_frees_nobody_until_then(tmp_path: Path, hours: int) -> None:
    """Readings and notices are dated ahead; once the clock is set right they hold neither the bill nor the ladder."""

    @in_virtual_time
    async def story() -> None:
        async with SupplyGateway(tmp_path, slow(debtor(f"{LIT}\nno_cut_hours = false\n{TOLD}"))) as gateway:
            world, ahead_ms = gateway.world, hours * 3_600_000
            await gateway.run(120)  # the first notice is out: one that waits is given up as too old, which is a finding
            world.synchronised = False
            world.clock.set(world.clock.now_ms() + ahead_ms)
            await gateway.run(HOUR_S)
            assert not cut(gateway) and "the clock is not trusted (F3)" in gateway.held("h")
            world.clock.set(world.clock.now_ms() - ahead_ms)
            world.synchronised = True
            assert await gateway.until(lambda: cut(gateway), CUT_S), gateway.held("h")

    story()


def test_a_reading_dated_ahead_is_no_evidence_and_ends_in_a_field_order(tmp_path: Path) -> None:
    @in_virtual_time
    async def story() -> None:
        async with SupplyGateway(tmp_path, slow(debtor(f"{LIT}\nno_cut_hours = false"))) as gateway:
            world, ahead_ms = gateway.world, 100 * 24 * 3_600_000
            await gateway.run(30)
            world.synchronised = False
            world.clock.set(world.clock.now_ms() + ahead_ms)
            await gateway.run(HOUR_S)
            world.taps["rs"].line.unplug()
            world.clock.set(world.clock.now_ms() - ahead_ms)
            world.synchronised = True
            await gateway.run(2 * HOUR_S)
            assert gateway.commands("h") == [] and "no confirmed reading of the last 15 minutes (F1)" in gateway.held("h")
            assert await gateway.until(lambda: unreachable(gateway), DAY_S, 600)
            world.taps["rs"].line.plug()
            # 100 kWh of a day without any known length follow when 60 kW could have brought them
            assert await gateway.until(lambda: cut(gateway), 2 * HOUR_S + CUT_S), gateway.held("h")

    with patch.object(driver, "REOPEN_S", (120.0,)):
        story()
