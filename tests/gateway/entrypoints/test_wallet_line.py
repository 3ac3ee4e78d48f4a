"""Money into a simulated meter over a simulated line: delivered once under every fault, told as the meter's truth has it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from random import Random

import pytest

from firmware_sim.handle import Handle
from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.domain.findings import FindingKind
from gateway.domain.meters import Authority
from gateway.domain.wallets import DeliveryState, Switching
from gateway.services import compare_wallet, meter_wallet
from tests.conftest import Figure
from tests.gateway.entrypoints.wallet_bench import SITE, Trick, WalletBench
from tests.simulation.memory_line import loop_us
from tests.simulation.virtual_loop import in_virtual_time, run

MOMENTS, PROOF_MOMENTS = 30, 10
"""Of a kill, in the everyday tests and for each step of a proof's scale."""


@in_virtual_time
async def test_a_payment_goes_into_the_meter_and_our_books_are_its_word(tmp_path: Path) -> None:
    async with WalletBench(tmp_path) as bench:
        await asyncio.sleep(5)
        first = bench.topup("50.00")
        await asyncio.sleep(10)
        assert bench.delivery(first).state is DeliveryState.IN_METER
        assert (bench.purse.count, bench.purse.opened, len(bench.orders)) == (1, True, 1)
        second = bench.topup("20.00")
        await asyncio.sleep(3600)
        assert bench.delivery(second).count == 2 and len(bench.orders) == 2
        assert bench.findings() == [] and 69_000_000 < bench.micro() < 70_000_000
        bench.sound()
        truth, word = bench.purse.balance_micro, bench.wallet()
        assert abs(bench.micro() - truth) < 50_000  # what was used since the last bill
        assert word.memory.offset is not None and word.memory.offset.high - word.memory.offset.low < 10_000


@pytest.mark.parametrize("firmware", ["bench", "private"])
@pytest.mark.parametrize("trick", Trick)
def test_it_goes_in_once_under_every_fault_of_the_line(tmp_path: Path, trick: Trick, firmware: str) -> None:
    async def once() -> None:
        async with WalletBench(tmp_path, firmware=firmware, power_w=0) as bench:
            await asyncio.sleep(5)
            bench.tricks = [trick, trick]
            ident = bench.topup("50.00")
            await asyncio.sleep(600)
            assert bench.delivery(ident).state is DeliveryState.IN_METER
            assert (bench.purse.balance_micro, bench.purse.count) == (50_000_000, 1)
            applied = trick in (Trick.LOST_ANSWER, Trick.NAK_APPLIED)
            assert len(bench.orders) == (1 if applied else 3)
            assert bench.micro() == 50_000_000 and bench.findings() == []
            bench.sound()

    run(once())


def test_killed_at_any_moment_of_a_delivery_it_goes_in_once(tmp_path: Path, proof_scale: int, figure: Figure) -> None:
    """From the payment to the read-back takes some 5 s on this line; the moments fall on bytes of every frame of it."""
    moments = MOMENTS if proof_scale == 1 else PROOF_MOMENTS * proof_scale
    Store.open(str(tmp_path / "empty.db"), inline=True).close()
    states: dict[str, int] = {}
    for seed in range(moments):
        rng = Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        shutil.copyfile(tmp_path / "empty.db", folder / "store.db")
        state = run(_killed(folder, rng.uniform(0, 2.5), seed))
        states[state] = states.get(state, 0) + 1
        shutil.rmtree(folder)
    assert {"queued", "sent", "in_meter"} <= states.keys(), states
    figure("kills within a delivery", moments)


async def _killed(folder: Path, after_s: float, seed: int) -> str:
    """The state in which the kill met the delivery."""
    async with WalletBench(folder, power_w=0, count=seed % 2) as bench:
        await asyncio.sleep(5)
        if seed % 3 == 0:
            bench.tricks = [Random(seed).choice([*Trick])]
        ident = bench.topup("50.00")
        await asyncio.sleep(after_s)
        await bench.kill()
        met = bench.delivery(ident).state.value
        await asyncio.sleep(0.5 if seed % 2 else 5.0)
        bench.begin()
        for _ in range(60):
            await asyncio.sleep(5)
            if not bench.delivery(ident).open:
                break
        assert bench.delivery(ident).state is DeliveryState.IN_METER, f"seed {seed}, {after_s} s"
        assert (bench.purse.balance_micro, bench.purse.count) == (50_000_000, 1 + seed % 2), f"seed {seed}, {after_s} s"
        assert bench.micro() == 50_000_000 and bench.findings() == []
        bench.sound()
        return met


@in_virtual_time
async def test_a_meter_without_power_gets_its_money_when_it_is_back(tmp_path: Path) -> None:
    async with WalletBench(tmp_path) as bench:
        handle = Handle(bench.street.street, {}, loop_us)
        await asyncio.sleep(5)
        handle.act("m1", "power", {"on": False})
        ident = bench.topup("50.00")
        await asyncio.sleep(3600)
        assert bench.delivery(ident).state is DeliveryState.QUEUED and not bench.orders
        handle.act("m1", "power", {"on": True, "silence_ms": 3000})
        await asyncio.sleep(900)
        assert bench.delivery(ident).state is DeliveryState.IN_METER and len(bench.orders) == 1
        assert bench.wallet().held_since_ms is None and bench.findings() == []
        bench.sound()


@in_virtual_time
async def test_power_that_goes_between_request_and_answer_leaves_no_doubt_behind(tmp_path: Path) -> None:
    async with WalletBench(tmp_path) as bench:
        handle = Handle(bench.street.street, {}, loop_us)
        await asyncio.sleep(5)
        bench.tricks = [Trick.LOST_ANSWER]
        ident = bench.topup("50.00")
        await bench.ordered.wait()
        handle.act("m1", "power", {"on": False})
        await asyncio.sleep(1800)
        assert bench.delivery(ident).state is DeliveryState.UNCERTAIN and bench.micro() <= 0
        handle.act("m1", "power", {"on": True})
        await asyncio.sleep(600)
        assert bench.delivery(ident).state is DeliveryState.IN_METER and len(bench.orders) == 1
        bench.sound()


@in_virtual_time
async def test_a_meter_that_was_swapped_meanwhile_waits_for_a_persons_word(tmp_path: Path) -> None:
    async with WalletBench(tmp_path, balance="10.00", count=3, power_w=0) as bench:
        handle = Handle(bench.street.street, {}, loop_us)
        await asyncio.sleep(20)
        bench.tricks = [Trick.LOST_REQUEST]
        ident = bench.topup("50.00")
        await bench.ordered.wait()
        handle.act("m1", "swap", {"initial_kwh": 100})
        await asyncio.sleep(1200)
        assert bench.delivery(ident).state is DeliveryState.UNCERTAIN and bench.purse.count == 0
        assert {f.kind for f in bench.findings()} == {FindingKind.WALLET_DIFFERS, FindingKind.TRANSFER_UNCERTAIN}
        bench.do(lambda tx: meter_wallet.change_wallet(tx, "m1", "operator:li", SITE, bench.clock.now_ms()))
        await asyncio.sleep(600)
        assert bench.delivery(ident).state is DeliveryState.IN_METER
        assert bench.purse.shown_fen[0] == 6_000 and bench.purse.count == 2  # with what was left in the old one
        assert bench.micro() == 60_000_000 and bench.findings() == []
        bench.sound()


@in_virtual_time
async def test_the_money_goes_out_of_the_meter_and_back_into_it(tmp_path: Path) -> None:
    async with WalletBench(tmp_path, firmware="private", power_w=3_000) as bench:
        device = bench.street.station("m1").device
        assert device is not None and device.billing is not None
        await asyncio.sleep(5)
        bench.topup("50.00")
        await asyncio.sleep(1800)
        bench.tricks = [Trick.LOST_ANSWER]
        assert bench.to_gateway() is None
        for _ in range(100):
            await asyncio.sleep(60)
            if bench.account().authority is Authority.GATEWAY:
                break
        assert bench.account().authority is Authority.GATEWAY and bench.purse.shown_fen[0] == 0
        bench.street.station("m1").meter.parts.remove(device.billing)  # set to remote control by its maker's tool
        bench.purse.balance_micro = max(0, bench.purse.balance_micro)
        await asyncio.sleep(120)
        assert 40_000_000 < bench.micro() < 50_000_000
        bench.sound()
        assert bench.to_meter() is None
        await asyncio.sleep(90)
        assert bench.account().authority is Authority.METER
        await asyncio.sleep(300)  # its maker's tool comes late: the meter counts only from here on
        device.billing.begin()
        bench.street.station("m1").meter.parts.append(device.billing)
        await asyncio.sleep(1800)
        (finding,) = bench.findings()  # what was used before the meter was told to count again
        assert finding.kind is FindingKind.WALLET_DIFFERS and 0 < int(finding.data["micro"]) < 200_000
        bench.do(lambda tx: compare_wallet.accept_word(tx, "m1", "operator:li", "told late to count", bench.clock.now_ms()))
        await asyncio.sleep(1800)
        assert bench.findings() == [] and bench.micro(ledger.undelivered) == 0
        assert abs(bench.purse.balance_micro - bench.micro()) < 150_000  # used since the last bill
        bench.sound()


@in_virtual_time
async def test_a_wallet_without_a_refund_is_seen_to_rest(tmp_path: Path) -> None:
    async with WalletBench(tmp_path, power_w=5_000) as bench:
        device = bench.street.station("m1").device
        assert device is not None and device.billing is not None
        bench.topup("50.00")
        await asyncio.sleep(600)
        assert bench.to_gateway(Switching.FREEZE) is None
        await asyncio.sleep(300)
        assert bench.account().authority is Authority.METER  # it still counts
        bench.street.station("m1").meter.parts.remove(device.billing)
        assert bench.to_gateway(Switching.FREEZE) is None
        await asyncio.sleep(600)
        assert bench.account().authority is Authority.GATEWAY
        assert bench.purse.balance_micro > bench.micro() > 40_000_000
        bench.sound()
