"""Random schedules of everything that may hold a cut, over debtors who ought to be cut otherwise, beside an auditor."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.domain.notices import Answer
from gateway.domain.requests import Protection
from gateway.services.notify import confirm_step
from gateway.services.ports import Unavailable
from gateway.services.protect_account import protect_account
from gateway.services.stop_switch import resume_cuts, stop_cuts
from gateway.services.verify_cuts import verify_cuts
from gateway.services.verify_ledger import verify_ledger
from tests.conftest import Figure
from tests.gateway.adapters.store.supply_contract import break_log
from tests.simulation.supply_auditor import Auditor, Book, Hold
from tests.simulation.supply_gateway import SupplyGateway
from tests.simulation.supply_schedule import CALENDARS, JUMP_MS, OUTSIDE, Schedule, schedule
from tests.simulation.supply_world import Plan
from tests.simulation.virtual_loop import START_MS, run

EVERY_DAY, PROOF = 2, 500
"""Worlds; each has six debtors with schedules of their own, and a neighbour who has paid."""

TICK_S, AGAIN_S = 60.0, 60.0
NO_LIMITER = "[limits]\nown_per_minute = 100\nown_per_hour = 1000\nordered_per_hour = 1000\nordered_per_day = 1000"
"""Which has proofs of its own."""

GIVE_UP_S = 30 * 3600
"""The next morning that every calendar allows has passed by then."""


class Hands:
    """Do what the schedule says."""

    def __init__(self, gateway: SupplyGateway, told: Schedule) -> None:
        self.gateway, self.schedule = gateway, told
        self._mend: Callable[[], None] = lambda: None
        self._wrong_clock: set[str] = set()

    async def begin(self, hold: Hold) -> None:
        world, gateway, account = self.gateway.world, self.gateway, f"A-{hold.house}"
        match hold.name:
            case "silent":
                world.street.station(hold.house).faults.set("silent")
            case "wire":
                world.taps[self._line(hold)].line.unplug()
            case "path" if self.schedule.heartbeat:
                world.bank_calls = False
            case "path":
                world.bank_listens = False
            case "broker":
                world.broker.down()
            case "clock":
                self._clock(hold.name, wrong=True)
            case "jump":
                self._clock(hold.name, wrong=True)
                world.clock.set(world.clock.now_ms() + JUMP_MS)
            case "disk":
                world.disk_full = True
            case "log":
                self._mend = break_log(gateway.store)
            case "stop":
                await gateway.act(lambda tx, site, now_ms: stop_cuts(tx, "operator:li", "all of them", now_ms), essential=True)
            case "restart":
                await gateway.die()
            case "protect":
                wanted = Protection(account, START_MS + round(hold.end * 1000), "Li Wei", "ill", "operator:li")
                refused = await gateway.act(lambda tx, site, now_ms: protect_account(tx, wanted, site, now_ms), essential=True)
                if refused is not None:  # by a clock that is ahead
                    raise Unavailable(refused)
            case "never_cut":
                await self._flag(hold.house, True)
            case "phone":
                world.phone.dead[account] = Answer.LATER
            case _:
                raise AssertionError(hold.name)

    async def end(self, hold: Hold) -> None:
        world, gateway, account = self.gateway.world, self.gateway, f"A-{hold.house}"
        match hold.name:
            case "silent":
                world.street.station(hold.house).faults.clear("silent")
            case "wire":
                world.taps[self._line(hold)].line.plug()
            case "path":
                world.bank_calls = world.bank_listens = True
            case "broker":
                world.broker.up()
            case "clock":
                self._clock(hold.name, wrong=False)
            case "jump":
                world.clock.set(world.clock.now_ms() - JUMP_MS)
                self._clock(hold.name, wrong=False)
            case "disk":
                world.disk_full = False
            case "log":
                self._mend()
            case "stop":
                await gateway.act(lambda tx, site, now_ms: resume_cuts(tx, "operator:li", "all is well", now_ms))
            case "restart":
                await gateway.start()
            case "never_cut":
                await self._flag(hold.house, False)
            case "phone":
                world.phone.dead.pop(account, None)
                await gateway.act(lambda tx, site, now_ms: confirm_step(tx, account, "low", "paper", "operator:li", now_ms))
            case "protect":
                pass

    def _clock(self, why: str, *, wrong: bool) -> None:
        """Synchronised again when the last of what speaks against it has ended."""
        (self._wrong_clock.add if wrong else self._wrong_clock.discard)(why)
        self.gateway.world.synchronised = not self._wrong_clock

    def _line(self, hold: Hold) -> str:
        return next(house.line for house in self.schedule.houses if house.id == hold.house)

    async def _flag(self, house: str, flag: bool) -> None:
        plan = self.gateway.plan
        houses = [replace(each, never_cut=flag) if each.id == house else each for each in plan.houses]
        await self.gateway.reload(replace(plan, houses=houses))


Act = tuple[float, bool, Hold]
"""When a hold begins (True) or ends."""


class Life:
    """One world from its beginning until everything has healed and every debtor is cut."""

    def __init__(self, gateway: SupplyGateway, told: Schedule) -> None:
        self.gateway, self.schedule, self.hands = gateway, told, Hands(gateway, told)
        books = {
            house.id: Book(house.id, _micro(house.opening), CALENDARS[told.calendars.get(house.id, "none")][2])
            for house in told.houses
        }
        for hold in told.holds:
            if hold.name == "phone":  # notices are tried again after pauses as long as the time that it was dead
                books[hold.house].slower_s = hold.end - hold.begin + 600
        self.loop = asyncio.get_running_loop()
        self.auditor = Auditor(gateway, list(told.holds), books, self.loop.time)
        self.todo: list[Act] = [(hold.begin, True, hold) for hold in told.holds] + [(hold.end, False, hold) for hold in told.holds]
        self.pays = list(told.pays)

    async def live(self) -> Auditor:
        auditor = self.auditor
        auditor.begin()
        while self.todo or self.pays or not auditor.done():
            await self._act()
            auditor.tick()
            if self.loop.time() > self.schedule.start_s + GIVE_UP_S:
                auditor.problems.append(f"given up; due since: { {name: book.due_since for name, book in auditor.books.items()} }")
            if auditor.problems:
                return auditor
            ahead = min([TICK_S, *(at - self.loop.time() for at, _, _ in self.todo if at > self.loop.time())])
            await self.gateway.run(max(ahead, 0.1))
        await self._at_last()
        return auditor

    async def _act(self) -> None:
        """What is due now: of what needs the process, as soon as it is there."""
        runs, now = self.gateway.runs, self.loop.time()
        while due := sorted(each for each in self.todo if each[0] <= now and (self.gateway.runs or each[2].name in OUTSIDE)):
            self.todo.remove(due[0])
            await self._try(*due[0][1:])
        if self.pays and self.pays[0][0] <= now and runs and self.gateway.runs:
            _, house, amount = self.pays.pop(0)
            with contextlib.suppress(Unavailable):  # the bank is told so
                if await self.gateway.pay(house, amount):
                    self.auditor.books[house].paid += _micro(amount)
        for each in self.schedule.houses:  # customers press the button as soon as they may
            station = self.gateway.world.street.station(each.id)
            if station.meter.relay.allowed and station.device is not None:
                station.device.gear.press()

    async def _try(self, begins: bool, hold: Hold) -> None:
        """Who is told that it cannot be done now leaves it; what must end is tried again."""
        try:
            await (self.hands.begin if begins else self.hands.end)(hold)
        except Unavailable:
            self.auditor.holds.remove(hold)
            self.todo = [each for each in self.todo if each[2] is not hold]
            if not begins:
                later = replace(hold, end=self.loop.time() + AGAIN_S)
                self.auditor.holds.append(later)
                self.todo.append((later.end, False, later))

    async def _at_last(self) -> None:
        """The neighbour never noticed, the centre has everything, and the verifier nothing to say."""
        store, problems = self.gateway.store, self.auditor.problems
        if self.auditor.books["rich"].trips:
            problems.append("a neighbour who has paid was cut")
        if not await self.gateway.until(lambda: not store.read_now(lambda tx: tx.outgoing(0, 1)), 300):
            problems.append("the broker is back and has not got everything")
        said = store.read_now(lambda tx: (verify_ledger(tx)[1], verify_cuts(tx)))
        problems += [f"the verifier: {text}" for text in said if text is not None]


def _micro(amount: str) -> int:
    return round(float(amount) * 1_000_000)


async def live(folder: Path, told: Schedule) -> Auditor:
    await asyncio.sleep(told.start_s)
    tables = [f"[bank]\nheartbeat = {str(told.heartbeat).lower()}", NO_LIMITER]
    for name in ("noon", "two"):
        text = f'zone = "Asia/Shanghai"\nvalid_to = "2026-12-31"\nsource = "test"\n{CALENDARS[name][1]}'
        (folder / f"{name}.toml").write_text(text)
        tables.append(f'[[no_cut_calendar]]\nid = "{name}"\nfile = "{name}.toml"')
    async with SupplyGateway(folder, Plan(told.houses, "\n".join(tables))) as gateway:
        return await Life(gateway, told).live()


@pytest.mark.timeout(3600)
def test_random_schedules(tmp_path: Path, figure: Figure, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTGATE_SMS", "json://localhost")
    one = os.environ.get("SUPPLY_SEED")
    seeds = [int(one)] if one else range(PROOF if pytestconfig.getoption("proof") else EVERY_DAY)
    holds, trips, shown, worst = Counter[str](), 0, set[str](), 0.0
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        told = schedule(seed)
        auditor = run(live(folder, told))
        listed = "\n".join(f"  {hold}" for hold in sorted(told.holds, key=lambda hold: hold.begin))
        replay = f"SUPPLY_SEED={seed} .venv/bin/pytest {Path(__file__).relative_to(Path.cwd())} -k random_schedules"
        assert auditor.problems == [], f"{replay}\n" + "\n".join(auditor.problems) + f"\nfrom {told.start_s} s:\n{listed}"
        holds.update(hold.name for hold in told.holds)
        trips += sum(book.trips for book in auditor.books.values())
        shown |= auditor.shown
        worst = max(worst, auditor.worst_cut_s)
    assert trips >= 6 * len(seeds)
    figure("schedules (debtors), cuts judged by the auditor", f"{6 * len(seeds)}, {trips}")
    figure("holds that stood, by kind", dict(holds))
    figure("holds seen with their reason", sorted(shown))
    figure("longest wait of a debtor between whom and the cut nothing stood, s", round(worst))
