"""From payment to light: on a pair that is never idle, the restore of whoever has paid goes out at once (prepayment.md F8)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from unittest.mock import patch

from gateway.domain import ledger
from gateway.domain.credit import CreditState
from gateway.domain.jobs import Group
from gateway.domain.ledger import Entry, EntryKind, Leg
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.supply import CommandState, Verb
from gateway.domain.units import MICRO
from gateway.services.apply_topup import apply_topup
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from gateway.services.switching import CREDIT
from protocols.dlt645.codes import CONTROL
from tests.conftest import Figure
from tests.gateway.entrypoints import line_bench
from tests.gateway.entrypoints.line_bench import Bench
from tests.simulation.virtual_loop import START_MS, in_virtual_time

METERS, ROUNDS = 6, 20
NEVER_IDLE = {Group.BILLING: 1_000, Group.SWITCH: 1_000, Group.INSTANT: 1_000}
SETTLE_MS = 4_000
DAY = date(2026, 1, 1)


async def dark(bench: Bench, name: str) -> None:
    """Everybody is cut, for a debt."""
    for meter in bench.names:
        await bench.order(meter, Verb.CUT, f"{name}-{meter}")
    for _ in range(60):
        await asyncio.sleep(1)
        if all(bench.command(f"{name}-{meter}").state is CommandState.VERIFIED for meter in bench.names):
            break
    else:
        raise AssertionError("not everybody is cut")

    def owe(tx: Tx) -> None:
        for name in bench.names:
            meter, account = tx.meter(name), tx.account(f"a-{name}")
            assert meter is not None and account is not None
            tx.save_meter(replace(meter, cut_reasons=(CREDIT,)))
            tx.save_account(replace(account, credit=CreditState.CUT))
            left = tx.balance(ledger.customer(account.id), "CNY")
            owes = left - account.policy.cut_micro + 10 * MICRO  # ten yuan beyond where it is cut
            legs = (Leg(ledger.customer(account.id), -owes), Leg("revenue:energy", owes))
            post_entry(tx, Entry(EntryKind.CHARGE, "CNY", legs, bench.clock.now_ms(), {}))

    await bench.store.write(owe)


async def pay(bench: Bench, meter: str, serial: str) -> tuple[int, float]:
    """When the payment was answered (ms), and when its restore began on the wire (ms)."""
    now_ms = bench.clock.now_ms()
    identity = PaymentIdentity("icbc", "", "", serial)
    topup = TopUp(identity, f"a-{meter}", 50 * MICRO, "CNY", datetime.fromtimestamp(now_ms / 1000, UTC), DAY, DAY)
    outcome = await bench.store.write(lambda tx: apply_topup(tx, topup, bench.site(), now_ms))
    assert '"next":"restored"' in (outcome.payment.receipt or "")
    committed_ms = bench.clock.now_ms()
    bench.wake.notify()
    await asyncio.sleep(8)
    sent_ms = [START_MS + at_s * 1000 for at_s in bench.frames(CONTROL, meter)]
    return committed_ms, next(at_ms for at_ms in sent_ms if at_ms >= committed_ms)


def p95(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


@in_virtual_time
async def light(folder: Path, rounds: int, figure: Figure) -> None:
    rng, waits, seen = Random(8), list[float](), list[float]()
    with patch.object(line_bench, "PERIODS", NEVER_IDLE):
        bench = Bench(folder, METERS, baud=9600)
    async with bench:
        await asyncio.sleep(10)
        before = len(bench.street.lines["rs"].sent)
        await asyncio.sleep(10)
        assert len(bench.street.lines["rs"].sent) - before > 40, "the line is never idle"
        for number in range(rounds):
            await dark(bench, f"round-{number}")
            for meter in rng.sample(bench.names, METERS):
                committed_ms, first_ms = await pay(bench, meter, f"{number}-{meter}")
                waits.append(first_ms - committed_ms)
                last = bench.store.read_now(lambda tx, meter=meter: tx.last_command(meter))  # type: ignore[misc]
                assert last is not None and (last.verb, last.state) == (Verb.RESTORE, CommandState.VERIFIED)
                assert bench.contact_closed(meter)
                seen.append(last.changed_ms - committed_ms)
    figure("payments on a saturated 9600-baud line", len(waits))
    figure("ms from the answer to the restore's first byte, p95 (at most 1,000)", round(p95(waits)))
    figure("ms from the answer until the switch was seen closed, p95 (settle_s + 2 s)", round(p95(seen)))
    assert p95(waits) < 1_000
    assert p95(seen) <= SETTLE_MS + 2_000


def test_whoever_pays_has_light_at_once(tmp_path: Path, proof_scale: int, figure: Figure) -> None:
    light(tmp_path, 1 if proof_scale == 1 else ROUNDS, figure)
