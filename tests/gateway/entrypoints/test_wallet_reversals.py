"""A bank pays into a simulated prepaid meter and reverses by ISO 8583, at every stage of the delivery (contract.md 3).

The rule: not yet sent, it comes back at once; sent, nobody says before the purchase count was read, at the latest after 15 minutes,
when the payment stands; in the meter, the payment stands. Whatever is said, the money is in one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from firmware_sim.handle import Handle
from gateway.domain import ledger
from protocols.bank.iso8583 import Message
from tests.conftest import Figure
from tests.gateway.adapters.iso8583_line import Line
from tests.gateway.entrypoints.wallet_bench import SITE, Trick, WalletBench
from tests.simulation.memory_line import loop_us
from tests.simulation.virtual_loop import in_virtual_time, run

OK, PENDING, DELIVERED, REVERSED = "00", "09", "22", "25"
PAID_MICRO = 50_000_000
DECIDED_S = 15 * 60
RUNS, PROOF_RUNS = 8, 4
"""Of random moments, in the everyday tests and for each step of a proof's scale."""


class BankLine(Line):
    """The bank's line into the store of a bench; whoever pays wakes the meter's line."""

    def __init__(self, bench: WalletBench) -> None:
        super().__init__(bench.store, lambda: SITE, bench.clock.now_ms)
        self.bench = bench

    def wake(self) -> None:
        self.bench.wake.notify()

    def fifty(self) -> Message:
        at = datetime.fromtimestamp(self.bench.clock.now_ms() / 1000, UTC) + timedelta(hours=8)
        return self.payment("a-m1", 5000, f7=f"{at:%m%d%H%M%S}", f12=f"{at:%H%M%S}", f13=f"{at:%m%d}")

    async def until_answered(self, reversal: Message, every_s: float = 20.0) -> tuple[str, float]:
        """As banks do it: 0400, then 0401 until somebody says yes or no; what was said, and after how long."""
        began_s, mti = asyncio.get_running_loop().time(), "0400"
        while (code := await self.code(Message(mti, reversal.fields))) == PENDING:
            mti = "0401"
            await asyncio.sleep(every_s)
        return code, asyncio.get_running_loop().time() - began_s


@asynccontextmanager
async def paying(folder: Path) -> AsyncIterator[tuple[WalletBench, BankLine, Handle]]:
    async with WalletBench(folder, power_w=0) as bench:
        await asyncio.sleep(5)
        yield bench, BankLine(bench), Handle(bench.street.street, {}, loop_us)
        bench.sound()


def books(bench: WalletBench) -> tuple[int, int, int]:
    """What the meter has, what it has by our books, and what the bank owes us (all micro); what is owed and in no meter is on its
    way there, or held for it."""
    owes = bench.store.read_now(lambda tx: tx.balance(ledger.bank_clearing("icbc"), "CNY"))
    return bench.purse.balance_micro, bench.micro(), -owes


@in_virtual_time
async def test_what_was_not_sent_comes_back_at_once(tmp_path: Path) -> None:
    async with paying(tmp_path) as (bench, bank, handle):
        handle.act("m1", "power", {"on": False})
        payment = bank.fifty()
        assert await bank.code(payment) == OK and books(bench) == (0, 0, PAID_MICRO)
        assert await bank.until_answered(bank.reversal(payment)) == (OK, 0.0)
        assert await bank.code(payment) == REVERSED and books(bench) == (0, 0, 0)
        handle.act("m1", "power", {"on": True})
        await asyncio.sleep(900)
        assert not bench.orders and books(bench) == (0, 0, 0) and bench.findings() == []


@in_virtual_time
async def test_what_is_in_the_meter_stands(tmp_path: Path) -> None:
    async with paying(tmp_path) as (bench, bank, _):
        payment = bank.fifty()
        assert await bank.code(payment) == OK
        await asyncio.sleep(60)
        reversal = bank.reversal(payment)
        for mti in ("0400", "0401", "0420", "0421"):
            assert await bank.code(Message(mti, reversal.fields)) == DELIVERED
        assert await bank.code(payment) == OK and books(bench) == (PAID_MICRO, PAID_MICRO, PAID_MICRO)


@pytest.mark.parametrize(
    ("trick", "code"), [(Trick.LOST_ANSWER, DELIVERED), (Trick.NAK_APPLIED, DELIVERED), (Trick.LOST_REQUEST, OK), (Trick.NAK, OK)]
)
def test_what_is_under_way_is_decided_by_the_purchase_count(tmp_path: Path, trick: Trick, code: str) -> None:
    async def once() -> None:
        async with paying(tmp_path) as (bench, bank, _):
            bench.tricks = [trick] * 50
            payment = bank.fifty()
            assert await bank.code(payment) == OK
            await bench.ordered.wait()
            reversal = bank.reversal(payment)
            assert await bank.code(reversal) == PENDING, "no byte has come back yet"
            assert (await bank.until_answered(reversal))[0] == code
            bench.tricks.clear()
            await asyncio.sleep(900)
            assert (await bank.until_answered(reversal)) == (code, 0.0), "for ever"
            assert books(bench) == ((PAID_MICRO, PAID_MICRO, PAID_MICRO) if code == DELIVERED else (0, 0, 0))
            assert await bank.code(payment) == (OK if code == DELIVERED else REVERSED)

    run(once())


@pytest.mark.parametrize("trick", [Trick.LOST_ANSWER, Trick.LOST_REQUEST])
def test_what_nobody_can_say_in_time_stands_and_the_customer_has_it_once(tmp_path: Path, trick: Trick) -> None:
    async def once() -> None:
        async with paying(tmp_path) as (bench, bank, handle):
            bench.tricks = [trick]
            payment = bank.fifty()
            assert await bank.code(payment) == OK
            await bench.ordered.wait()
            handle.act("m1", "power", {"on": False})
            code, took_s = await bank.until_answered(bank.reversal(payment))
            assert code == DELIVERED and DECIDED_S <= took_s <= DECIDED_S + 20
            await asyncio.sleep(600)
            handle.act("m1", "power", {"on": True})
            await asyncio.sleep(1800)
            assert await bank.code(payment) == OK and books(bench) == (PAID_MICRO, PAID_MICRO, PAID_MICRO)
            assert bench.findings() == []

    run(once())


@in_virtual_time
async def test_a_reversal_that_overtakes_its_payment_leaves_the_meter_alone(tmp_path: Path) -> None:
    async with paying(tmp_path) as (bench, bank, _):
        payment = bank.fifty()
        assert await bank.until_answered(bank.reversal(payment)) == (OK, 0.0)
        assert await bank.code(payment) == REVERSED
        await asyncio.sleep(600)
        assert not bench.orders and books(bench) == (0, 0, 0)


def test_at_any_moment_under_any_fault_the_money_is_in_one_place(tmp_path: Path, proof_scale: int, figure: Figure) -> None:
    """The reversal comes at a random moment of the delivery; the line plays tricks, and the gateway may be killed meanwhile."""
    runs = RUNS if proof_scale == 1 else PROOF_RUNS * proof_scale
    codes: dict[str, int] = {}
    for seed in range(runs):
        folder = tmp_path / str(seed)
        folder.mkdir()
        code = run(_somehow(folder, Random(seed), f"seed {seed}"))
        codes[code] = codes.get(code, 0) + 1
    assert codes.keys() == {OK, DELIVERED}, codes
    figure("reversals of money on its way into a meter", runs)
    figure("how they were answered", codes)


async def _somehow(folder: Path, rng: Random, told: str) -> str:
    async with paying(folder) as (bench, bank, _):
        bench.tricks = rng.choices(list(Trick), k=rng.randrange(4))
        payment = bank.fifty()
        assert await bank.code(payment) == OK, told
        await asyncio.sleep(rng.uniform(0, 4))
        reversal = bank.reversal(payment)
        first = await bank.code(reversal)
        if rng.random() < 0.4:
            await bench.kill()
            await asyncio.sleep(rng.uniform(0, 30))
            bench.begin()
            bank.again()
        code, _ = await bank.until_answered(reversal, rng.uniform(1, 60))
        assert first in (PENDING, code), told
        await asyncio.sleep(900)
        assert await bank.code(Message("0421", reversal.fields)) == code, told
        assert books(bench) == ((PAID_MICRO, PAID_MICRO, PAID_MICRO) if code == DELIVERED else (0, 0, 0)), told
        assert await bank.code(payment) == (OK if code == DELIVERED else REVERSED) and bench.findings() == [], told
        return code
