"""A month without a centre, on a real store in virtual time: the outbox stays within its bounds, and names what it dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from gateway.adapters.store import Store
from gateway.domain.events import EventKind, Json, Outgoing, Topic
from gateway.domain.findings import FindingKind
from gateway.entrypoints import certificate_loop, thin_loop
from gateway.services.ports import Site, Tx
from gateway.services.thin_outbox import SUBJECT, OutboxBounds
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time

SITE = Site("G1", "UTC", clock_trusted=True)
BOUNDS = OutboxBounds(rows=1500, older_days=7)
METERS, HOUR_MS = 2, 3_600_000


def hour(tx: Tx, at_ms: int) -> None:
    """Four polls of each meter, and a balance."""
    for quarter in range(4):
        for n in range(METERS):
            body: dict[str, Json] = {"items": [{"quantity": "energy_import"}], "source": "live", "answered_ms": at_ms + quarter}
            tx.add_outgoing(Outgoing(Topic.READING, f"m{n}", at_ms + quarter, body))
    tx.add_outgoing(Outgoing(Topic.BALANCE, "A-1", at_ms, {"n": 1}))


@in_virtual_time
async def test_a_month_offline_stays_within_the_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin_loop, "LOOK_S", 1800.0)
    clock = VirtualClock()
    with Store.open(str(tmp_path / "store.db"), inline=True, rng=Random(1)) as store:
        running = asyncio.create_task(thin_loop.watch(store, lambda: BOUNDS, lambda: SITE, clock))
        fullest = 0
        for _ in range(30 * 24):
            await store.write(lambda tx: hour(tx, clock.now_ms()))
            await asyncio.sleep(3600)
            fullest = max(fullest, store.read_now(lambda tx: tx.outbox_size()).rows)
        running.cancel()
        await asyncio.wait((running,))
        state = store.read_now(lambda tx: tx.outbox_state())
        rows = store.read_now(lambda tx: tx.outgoing(0, 100_000))
        events = store.read_now(lambda tx: tx.events(100_000))
        finding = store.read_now(lambda tx: tx.finding(FindingKind.OUTBOX_FULL, SUBJECT))
    assert fullest <= BOUNDS.rows
    gone: set[int] = set()
    for stored in events:
        if stored.event.kind is EventKind.DROPPED:
            ranges = stored.event.data["ranges"]
            for each in ranges if isinstance(ranges, list) else ():
                assert isinstance(each, list) and isinstance(each[0], int) and isinstance(each[1], int)
                gone |= set(range(each[0], each[1] + 1))
    assert gone | {row.seq for row in rows} == set(range(1, state.last + 1)) and state.dropped == len(gone) > 0
    assert sum(row.message.topic is Topic.BALANCE for row in rows) == 30 * 24, "money never goes"
    assert finding is not None


@in_virtual_time
async def test_a_certificate_that_ends_is_found_and_a_new_one_ends_that(tmp_path: Path) -> None:
    left = {"gateway": 31}
    with Store.open(str(tmp_path / "store.db"), inline=True, rng=Random(1)) as store:
        running = asyncio.create_task(certificate_loop.watch(store, lambda: left, VirtualClock()))
        seen = []
        for days in (31, 30, 6, 89):
            left["gateway"] = days
            await asyncio.sleep(certificate_loop.LOOK_S + 1)
            seen.append(sorted(finding.kind.value for finding in store.read_now(lambda tx: tx.findings())))
        running.cancel()
        await asyncio.wait((running,))
    ending, soon = FindingKind.CERTIFICATE_ENDING.value, FindingKind.CERTIFICATE_ENDING_SOON.value
    assert seen == [[], [ending], [ending, soon], []]
