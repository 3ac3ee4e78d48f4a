"""What credit control costs: beside recording a reading, and when everybody is judged again after a change of policy."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import patch

from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.domain.credit import CreditPolicy, CreditState, Step
from gateway.domain.meters import Account, Contact, Meter, SwitchKind
from gateway.domain.readings import TOTAL, Billing, Registers
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.units import MICRO
from gateway.entrypoints.credit_loop import PAUSE_S, share
from gateway.services.apply_topup import apply_topup
from gateway.services.judge_account import judge_account
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from gateway.services.rejudge import ask
from tests.bench.bench_money import percentile
from tests.bench.bench_store import DAY, NOW_MS, SITE, reading, street
from tests.gateway.price_lists import flat

READINGS, HOUSES = 20_000, 100
ACCOUNTS = 10_000
PAY_S = 0.02
"""Between two payments while everybody is judged."""

STEPS = (Step("low", ("log",)), Step("out", ("log",), CreditState.EXHAUSTED, 1))
POLICIES = {
    "by default": CreditPolicy(20 * MICRO),
    "with every threshold": CreditPolicy(
        20 * MICRO, -MICRO, MICRO, very_low_micro=10 * MICRO, hoard_micro=10**12, grace_ms=1, trip_delay_ms=1, steps=STEPS
    ),
    "with emergency credit": CreditPolicy(
        20 * MICRO, very_low_micro=10 * MICRO, emergency_micro=5 * MICRO, emergency_at_micro=MICRO
    ),
}


@contextmanager
def opened() -> Iterator[Store]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Store.open(os.path.join(folder, "bench.db")) as store:
        yield store


def pay(tx: Tx, n: int, account: str, amount: int) -> None:
    """So many yuan."""
    identity, at = PaymentIdentity("bank", "", "", f"c{n}"), datetime(2026, 11, 21, tzinfo=UTC)
    apply_topup(tx, TopUp(identity, account, amount * MICRO, "CNY", at, DAY, DAY), SITE, NOW_MS)


def typical(took_ns: list[int]) -> float:
    """The mean without the twentieth that flushes rows or was interrupted."""
    kept = sorted(took_ns)[: len(took_ns) * 19 // 20]
    return sum(kept) / len(kept)


def on_top(policy: CreditPolicy) -> float:
    """Per cent that judging adds to a billing reading that posts a charge: every second one is not judged, in one transaction."""
    took_ns: dict[bool, list[int]] = {True: [], False: []}

    def rich(tx: Tx) -> None:
        street(tx)
        for account in tx.accounts():
            tx.save_account(replace(account, policy=policy))
        for n in range(HOUSES):
            pay(tx, n, f"a{n}", 1_000)
            tx.save_meter(replace(tx.meters_of(f"a{n}")[0], observed=Contact.CLOSED))

    def readings(tx: Tx) -> None:
        for n in range(READINGS):
            judged = (n + n // HOUSES) % 2 == 0  # each house in turn
            with as_it_is() if judged else unjudged():
                begun = time.thread_time_ns()
                reading(tx, n)
                took_ns[judged].append(time.thread_time_ns() - begun)

    with opened() as store:
        store.write_now(rich)
        store.write_now(readings)
    return 100 * (typical(took_ns[True]) / typical(took_ns[False]) - 1)


def unjudged() -> AbstractContextManager[object]:
    """Readings are recorded, and nobody looks what follows for credit."""
    return patch("gateway.services.record_reading.judge_account", lambda tx, account, site, now_ms: None)


def as_it_is() -> AbstractContextManager[object]:
    """The same detour for both."""
    return patch("gateway.services.record_reading.judge_account", judge_account)


def town(tx: Tx) -> None:
    """Everybody has a meter that was read, a policy of some kind, and 50 yuan."""
    tx.save_price_list(flat(500_000))
    policies = list(POLICIES.values())
    for n in range(ACCOUNTS):
        ident = f"a{n:05d}"
        tx.save_account(Account(ident, "", "CNY", "flat", policies[n % 3], agreement="signed"))
        tx.save_meter(Meter(f"m{n:05d}", "bus", str(n), "dlt645-2007", "x", ident, f"p{n}", SwitchKind.INTERNAL, "bus"))
        tx.save_billing(Billing(f"m{n:05d}", confirmed=Registers(NOW_MS, {TOTAL: 0})))
        post_entry(tx, ledger.opening(ident, "CNY", 50 * MICRO, NOW_MS))


def tighten(tx: Tx) -> None:
    """A tenth of them has had too little from now on."""
    for n, account in enumerate(tx.accounts()):
        if n % 10 == 0:
            tx.save_account(replace(account, policy=replace(account.policy, low_micro=99 * MICRO, cut_micro=60 * MICRO)))


async def everybody(store: Store) -> tuple[float, list[float], list[float]]:
    """Seconds for all, processor ms of each share, and what payments took meanwhile."""
    held_ms: list[float] = []
    paid_ms: list[float] = []

    class Timed:
        async def read(self, query):  # type: ignore[no-untyped-def]
            return await store.read(query)

        async def write(self, usecase):  # type: ignore[no-untyped-def]
            def timed(tx: Tx):  # type: ignore[no-untyped-def]
                begun = time.thread_time()
                try:
                    return usecase(tx)
                finally:
                    held_ms.append((time.thread_time() - begun) * 1000)

            return await store.write(timed)

    async def payments() -> None:
        n = 0
        while True:
            begun, n = time.perf_counter(), n + 1
            await store.write(lambda tx, n=n: pay(tx, n, f"a{n:05d}", 1))  # type: ignore[misc]
            paid_ms.append((time.perf_counter() - begun) * 1000)
            await asyncio.sleep(PAY_S)

    store.write_now(ask)
    paying = asyncio.create_task(payments())
    begun = time.perf_counter()
    more = True
    while more:
        more = await share(Timed(), SITE, NOW_MS)
        await asyncio.sleep(PAUSE_S)
    took_s = time.perf_counter() - begun
    paying.cancel()
    return took_s, held_ms, paid_ms


def figures() -> Iterator[tuple[str, float, str]]:
    for name, policy in POLICIES.items():
        yield f"judging on top of recording a reading, policy {name}", on_top(policy), "%"
    with opened() as store:
        store.write_now(town)
        gc.collect()
        gc.freeze()  # as the gateway does
        for what in ("nothing changed", "a tenth of them out of credit now"):
            if what != "nothing changed":
                store.write_now(tighten)
            took_s, held_ms, paid_ms = asyncio.run(everybody(store))
            yield f"{ACCOUNTS:,} accounts judged again, {what}", took_s, "s"
            yield "processor time of it in the writer", sum(held_ms) / 1000, "s"
            yield "the longest share of it, processor time", max(held_ms), "ms"
            yield "payments meanwhile, p95", percentile(paid_ms, 95), "ms"
            yield "payments meanwhile, the slowest", max(paid_ms), "ms"
