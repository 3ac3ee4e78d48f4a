"""`kill -9` of the gateway at random moments: no top-up lost or doubled, no cut forgotten, every book in line with the meters."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from firmware_sim.banking.bank import MAX_TRIES, Office
from firmware_sim.banking.book import Belief, Outcome
from firmware_sim.banking.line import HttpLine
from tests.system.processes import until, wattgate
from tests.system.proofs import (
    MICRO_PER_WH,
    Contacts,
    balances,
    billed,
    central_gaps,
    charged,
    credited,
    finding,
    registers,
    rows,
)
from tests.system.stand import House, Stand, copy_store, tracebacks

KILLS, PROOF_KILLS = 12, 200
MOST = 4
"""How many times more kills there may be until enough has happened: less happens between two of them on a slow machine."""

DURING_START = 0.2  # the share of kills that do not wait until the gateway is up
HEALS_S = 300.0  # cut, settle and read back take 10 s on this street; on a machine with other work a few times that
PAYS_S = 300.0  # what a bank's ladder of repeats may take at the very end

STREET = (
    House("poor-1", "201900000001", 2500),
    House("poor-2", "201900000002", 4000),
    House("rich", "201900000003", 3000),
    House("saver", "201900000004", 0, opening="10.00"),
    House("own-relay", "11", 2500, line="modbus", model="dds238", profile="hiking-dds238-zn-sr"),
    House("coil", "21", 3000, line="modbus", model="sdm630", profile="eastron-sdm630", switch="31"),
)
POOR, PAID = ("poor-1", "poor-2", "own-relay"), ("rich", "coil")
NO_FEEDBACK = "own-relay"  # only its load proves a cut; one that is not proved leaves the account exhausted


@dataclass(frozen=True, slots=True)
class Settling:
    """What is not yet as it must be; true when that is nothing, so that who waits for it in vain can say what it was."""

    left: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.left


class Ordeal:
    """The street, those who pay in it, and the one who kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = Random(seed)
        self.stand = Stand(folder, STREET)
        self.store = self.stand.data / "wattgate.db"
        now, serials = (lambda: datetime.now(UTC)), Random(SystemRandom().getrandbits(64))
        self.bank = HttpLine(self.stand.url, now, serials)
        self.office = Office([self.bank], (), now, serials, patience=MAX_TRIES)
        self.contacts = Contacts()
        self.truths: dict[str, dict[str, Any]] = {}
        self.before: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.starts_s: list[float] = []
        self.paying = True
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """All up; the gateway is killed once while it makes its store, and then read every meter."""
        stand = self.stand
        await asyncio.gather(stand.broker.start(), stand.sim.start())
        await stand.central.start()
        self.before = {meter: registers(truth) for meter, truth in (await stand.truths()).items()}
        await stand.gateway.spawn()
        await asyncio.sleep(self.rng.uniform(0.3, 1.5))
        await stand.gateway.kill()
        await self.start()
        for meter in stand.houses:
            await until(lambda meter=meter: self.reads(meter, 2), f"two readings of {meter}", HEALS_S)  # type: ignore[misc]
        self.first = {meter: registers(truth) for meter, truth in (await stand.truths()).items()}
        work = [self.watch(), *(self.household(meter) for meter in (*POOR, *PAID)), *(self.save() for _ in range(3))]
        self.tasks = [asyncio.ensure_future(part) for part in work]

    async def reads(self, meter: str, count: int) -> bool:
        return await self.stand.readings(meter) >= count

    async def start(self) -> None:
        begun = time.monotonic()
        await self.stand.gateway.start()
        self.starts_s.append(time.monotonic() - begun)

    async def suffer(self, kills: int, keep: Path) -> int:
        """Kill and start again, at least so often; after each kill the store on disk must hold what was answered until then. How
        often it was."""
        n = 0
        while n < kills or (n < MOST * kills and not self.enough(kills)):
            n += 1
            if self.rng.random() < DURING_START:
                await self.stand.gateway.kill()
                await self.stand.gateway.spawn()
                await asyncio.sleep(self.rng.uniform(0.0, 1.6))
            else:
                await asyncio.sleep(self.rng.uniform(0.2, 2.5))
            await self.stand.gateway.kill()
            answered = set(self.answered())
            store = copy_store(self.stand.data, keep / str(n))
            assert finding(store) is None, f"kill {n}"
            lost = answered - set(credited(store))
            assert not lost, f"kill {n}: {lost} were answered and are not in the ledger"
            shutil.rmtree(store.parent)
            await self.start()
            for task in self.tasks:
                if task.done():
                    task.result()
        return n

    async def watch(self) -> None:
        while True:
            self.truths = await self.stand.truths()
            self.contacts.look(self.truths)
            await asyncio.sleep(0.3)

    async def household(self, meter: str) -> None:
        """Sits in the dark for a while, then pays."""
        while self.paying:
            await asyncio.sleep(self.rng.uniform(0.3, 1.5))
            if self.truths and self.truths[meter]["contact"] == "open":
                await asyncio.sleep(self.rng.uniform(0.0, 3.0))
                await self.pay(meter, self.rng.randrange(50, 200))

    async def save(self) -> None:
        """Pays all the time, also while nobody answers."""
        while self.paying:
            await asyncio.sleep(self.rng.uniform(0.0, 0.3))
            await self.pay("saver", self.rng.randrange(1, 1000))

    async def pay(self, meter: str, fen: int) -> None:
        paid = await self.office.pay(self.bank, self.stand.houses[meter].account, fen)
        assert paid.state == "posted", paid

    def answered(self) -> dict[str, Belief]:
        return {serial: belief for serial, belief in self.office.book.beliefs.items() if belief.state == "posted"}

    async def heal(self) -> None:
        """Some have credit for good, the others run out: every contact comes to stand where its money wants it."""
        self.paying = False
        async with asyncio.timeout(PAYS_S):
            await asyncio.gather(*self.tasks[1:])
        for meter in PAID:
            await self.pay(meter, 50_000)
        await until(self.settled, "all contacts stand where the money wants them, and no command is under way", HEALS_S)
        for meter in self.stand.houses:
            await self.stand.act(meter, "load", kind="constant", power_w=0)
        await until(self.all_billed, "every meter is billed to its last Wh", HEALS_S)
        self.tasks[0].cancel()
        self.contacts.look(await self.stand.truths())

    async def settled(self) -> Settling:
        accounts, commands = await self.stand.api("/api/v1/accounts"), await self.stand.api("/api/v1/commands", limit="1000")
        if accounts is None or commands is None:
            return Settling(("nobody answers",))
        states, truths = {a["account"]: a["state"] for a in accounts}, await self.stand.truths()
        left = [f"{c['id']} is {c['state']} ({c['reason']}) since {c['changed']}" for c in commands if not c["final"]]
        for house in STREET:
            last: dict[str, Any] = next((c for c in commands if c["meter"] == house.meter), {})
            state, wanted = states[house.account], _wanted(house.meter, last)
            if state not in wanted:
                left.append(f"{house.account} is {state}, not {' or '.join(wanted)}; its last command: {last}")
        for meter in (*POOR, *PAID):
            contact, power_w = truths[meter]["contact"], truths[meter]["power_w"]
            dark = contact == "open" and power_w == 0
            light = contact == "closed" and power_w > 1000
            if not (dark if meter in POOR else light):
                left.append(f"{meter} is {contact} with {power_w} W")
        return Settling(tuple(left))

    async def all_billed(self) -> bool:
        truth = {meter: registers(truth) for meter, truth in (await self.stand.truths()).items()}
        return {meter: end for meter, (_, end) in billed(self.store).items()} == truth

    async def delivered(self) -> int:
        """The last number of the outbox at a moment at which the centre has acknowledged everything; 0 at any other."""
        outbox = await self.stand.api("/api/v1/outbox")
        return int(outbox["last"]) if outbox["waiting"] == 0 else 0

    async def check_money(self) -> None:
        """By GET and by reading the database: what the bank's book says, and nothing else."""
        posted = credited(self.store)
        book = self.answered()
        assert set(posted) == set(book) == set(self.office.book.beliefs) and not self.office.book.violations
        for serial, booked in book.items():
            assert posted[serial] == [(booked.payment.account, booked.payment.fen * 10_000)], serial
            answer = await self.bank.query(booked.payment)
            assert answer is not None and (answer.outcome, answer.receipt) == (Outcome.POSTED, booked.receipt), serial
        assert len(rows(self.store, "SELECT serial FROM payment")) == len(posted)

    def check_energy(self) -> None:
        """Charged is the price of what the meters truly drew, to the last Wh; the balances are what then must be left."""
        bills, costs, left = billed(self.store), charged(self.store), balances(self.store)
        topups: dict[str, int] = {}
        for [(account, micro)] in credited(self.store).values():
            topups[account] = topups.get(account, 0) + micro
        for house in STREET:
            first, end = bills[house.meter]
            assert self.before[house.meter] <= first <= self.first[house.meter], house.meter
            assert end == registers(self.truths[house.meter]), house.meter
            cost = costs.get(house.account, 0)
            assert cost == (end - first) * MICRO_PER_WH, house.meter
            assert left[house.account] == round(float(house.opening) * 1_000_000) + topups.get(house.account, 0) - cost

    def happened(self) -> tuple[int, int, int]:
        """Verified cuts, commands in flight at a kill, top-ups answered."""
        cuts = rows(self.store, "SELECT id FROM command WHERE verb = 'cut' AND state = 'verified'")
        return len(cuts), self.interrupted(), len(self.answered())

    def enough(self, kills: int) -> bool:
        """For so many kills to prove something."""
        return all(much >= least for much, least in zip(self.happened(), (kills // 10, kills // 5, 2 * kills), strict=True))

    def interrupted(self) -> int:
        """How often a command was in flight when the gateway was killed."""
        results = rows(self.store, "SELECT body FROM outbox WHERE topic = 'result'")
        return sum(json.loads(row["body"])["reason"] == "the gateway restarted" for row in results)

    def unproved(self, commands: Sequence[Mapping[str, Any]]) -> list[str]:
        """Commands that ended without proof and may not. A cut that only its load proves may: where the contact was open before it,
        or where a kill came before its acknowledgement was recorded, and with that the load in front of it."""
        results = rows(self.store, "SELECT subject, body FROM outbox WHERE topic = 'result' ORDER BY seq")
        found = []
        for c in (c for c in commands if c["state"] == "command_only"):
            life = [json.loads(row["body"])["state"] for row in results if row["subject"] == c["id"]]
            heard = "acknowledged" in life[len(life) - life[::-1].index("sent") : -1]
            closed = self.contacts.at(c["meter"], c["created_ms"] * 1000) == "closed"
            if c["meter"] != NO_FEEDBACK or c["verb"] != "cut" or (heard and closed):
                found.append(f"{c['id']} proved nothing: {life}")
        return found

    def check_commands(self) -> None:
        commands = rows(self.store, "SELECT * FROM command ORDER BY number")
        assert self.unproved(commands) == []
        assert self.contacts.lies(commands) == []
        assert all(command["final"] for command in commands)


def _wanted(meter: str, last: Mapping[str, Any]) -> tuple[str, ...]:
    """The states that a meter's account may end in. last: its last command."""
    if meter not in POOR:
        return ("normal", "low")
    unproved = meter == NO_FEEDBACK and (last.get("verb"), last.get("evidence")) == ("cut", ["command_only"])
    return ("cut", "exhausted") if unproved else ("cut",)


async def test_a_gateway_killed_at_random_moments_loses_doubles_and_forgets_nothing(
    tmp_path: Path, proof_scale: int, figure: Callable[[str, object], None]
) -> None:
    kills = KILLS if proof_scale == 1 else PROOF_KILLS
    seed = int(os.environ.get("KILL_SEED") or SystemRandom().getrandbits(32))
    print(f"KILL_SEED={seed} kills at the same moments again")
    begun, ordeal = time.monotonic(), Ordeal(tmp_path, seed)
    try:
        await ordeal.begin()
        suffered = await ordeal.suffer(kills, tmp_path / "kept")
        suffered_s = time.monotonic() - begun
        await ordeal.heal()
        await ordeal.check_money()
        upto = await until(ordeal.delivered, "the outbox is empty", HEALS_S)
        assert await ordeal.stand.gateway.end() == 0
        await ordeal.stand.central.end()
        ran = await wattgate("ledger", "verify", "--data", ordeal.stand.data)
        assert (ran.code, "clean" in ran.out) == (0, True), ran
        ordeal.check_energy()
        ordeal.check_commands()
        assert central_gaps(tmp_path / "central" / "central.db", ordeal.store, upto) == []
        assert tracebacks(tmp_path) == []
    finally:
        for task in ordeal.tasks:
            task.cancel()
        await ordeal.bank.close()
        await ordeal.stand.close()
    assert ordeal.enough(kills), ordeal.happened()
    cuts, interrupted, _ = ordeal.happened()
    figure("kills", suffered)
    figure("commands in flight at a kill", interrupted)
    figure("top-ups answered 2xx", len(ordeal.answered()))
    figure("verified cuts", cuts)
    figure("messages at the centre", upto)
    figure("slowest start s", round(max(ordeal.starts_s), 2))
    figure("until the last restart s", round(suffered_s, 1))
    figure("in all s", round(time.monotonic() - begun, 1))
