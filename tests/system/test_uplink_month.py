"""A month without a way to the centre: the outbox stays within its bounds, and then the real broker carries what is left of it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from gateway.adapters.store import Store
from gateway.domain.events import EventKind, Outgoing, Topic
from gateway.domain.findings import FindingKind
from gateway.domain.readings import Item, Quality, Reading, Source
from gateway.entrypoints import thin_loop
from gateway.services import announce
from gateway.services.ports import Site, Tx
from gateway.services.thin_outbox import SUBJECT, OutboxBounds, fill
from tests.conftest import PROOF_SCALE, Figure
from tests.gateway.brokers import Mosquitto, running
from tests.gateway.uplink_ends import centre, gateway, until
from tests.simulation import virtual_loop
from tests.simulation.virtual_loop import VirtualClock
from tests.system.proofs import rows

SITE = Site("G1", "UTC", clock_trusted=True)
QUARTER_MS, DAYS = 900_000, 30
OLDER_DAYS = 7
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
BALANCE = {"balance": "1.00", "currency": "CNY", "credit": "ok"}
GROWS = 1.15
"""What the store's file may grow by in the second half, when the outbox has long been full: events stay."""


class Month:
    """What happens in a street while nobody hears of it."""

    def __init__(self, meters: int) -> None:
        self.meters = [f"m{n}" for n in range(meters)]
        self.values: dict[tuple[str, int, Source], str] = {}
        self._energy = dict.fromkeys(self.meters, 0)
        self._rng = Random(3)

    def hour(self, tx: Tx, end_ms: int) -> None:
        """The four quarters until then."""
        for n in (3, 2, 1, 0):
            self._quarter(tx, end_ms - n * QUARTER_MS)

    def _quarter(self, tx: Tx, at_ms: int) -> None:
        """Each meter is read; at midnight its freeze too, and a bill; now and then something happens."""
        for n, meter in enumerate(self.meters):
            self._energy[meter] += self._rng.randrange(50)
            self._read(tx, meter, at_ms + n, Source.LIVE)
            if at_ms % DAY_MS == 0:
                self._read(tx, meter, at_ms + n, Source.FREEZE)
                tx.add_outgoing(Outgoing(Topic.BALANCE, f"A-{meter}", at_ms, dict(BALANCE)))
        if at_ms % HOUR_MS == 0:
            announce.event(tx, EventKind.LINE_DOWN, at_ms, line="rs", reason="nobody answers")

    def _read(self, tx: Tx, meter: str, at_ms: int, source: Source) -> None:
        value = Decimal(self._energy[meter]).scaleb(-2)
        taken_ms = at_ms if source is Source.FREEZE else None
        reading = Reading(meter, (Item("energy_import", value, "kWh"),), at_ms - 60, at_ms, source, taken_ms)
        self.values[meter, at_ms, source] = f"{value:f}"
        announce.reading(tx, reading, f"P-{meter}", Quality.SINGLE, at_ms)


@dataclass
class Worst:
    """Rows; bytes of the file in the middle and at the end; how full it was (per cent) when the alarm was raised."""

    rows: int = 0
    half: int = 0
    size: int = 0
    alarm: int = 0


async def offline(store: Store, month: Month, bounds: OutboxBounds, clock: VirtualClock, file: Path) -> Worst:
    watching, worst = asyncio.create_task(thin_loop.watch(store, lambda: bounds, lambda: SITE, clock)), Worst()
    for hour in range(DAYS * 24):
        await asyncio.sleep(3600)
        await store.write(lambda tx: month.hour(tx, clock.now_ms()))
        now = store.read_now(lambda tx: tx.outbox_size())
        worst.rows, worst.size = max(worst.rows, now.rows), max(worst.size, os.stat(file).st_size)
        if hour == DAYS * 12:
            worst.half = worst.size
        if not worst.alarm and store.read_now(lambda tx: tx.finding(FindingKind.OUTBOX_FULL, SUBJECT)):
            worst.alarm = fill(now, bounds)
    watching.cancel()
    await asyncio.wait((watching,))
    return worst


def named(folder: Path) -> set[int]:
    """The numbers that events `dropped` at the centre tell of."""
    found = set[int]()
    for row in rows(folder / "central.db", "SELECT data FROM central_event WHERE kind = 'dropped'"):
        for first, last in json.loads(row["data"])["ranges"]:
            found |= set(range(first, last + 1))
    return found


def left_wrong(readings: Sequence[tuple[str, int, Source]], month: Month) -> list[str]:
    """Of each meter and day at least one live reading must be left, and each freeze."""
    live = {(meter, at_ms // DAY_MS) for meter, at_ms, source in readings if source is Source.LIVE}
    read = {(meter, at_ms // DAY_MS) for meter, at_ms, source in month.values if source is Source.LIVE}
    wrong = [f"nothing is left of {key}" for key in read - live]
    freezes = {key for key in month.values if key[2] is Source.FREEZE}
    return [*wrong, *(f"the freeze {key} is gone" for key in freezes - set(readings))]


@pytest.mark.timeout(1800)
def test_a_month_offline(tmp_path: Path, mosquitto: str, proof_scale: int, figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 meters as a proof, 2 every day; the outbox has room for a quarter of what they say."""
    monkeypatch.setattr(thin_loop, "LOOK_S", 1800.0)
    month = Month(100 if proof_scale == PROOF_SCALE else 2)
    bounds = OutboxBounds(rows=len(month.meters) * DAYS * 30, older_days=OLDER_DAYS)

    async def live() -> Worst:
        clock = VirtualClock(time.time_ns() // 1_000_000 // DAY_MS * DAY_MS - DAYS * DAY_MS)
        with Store.open(str(tmp_path / "gateway.db"), inline=True, rng=Random(1)) as store:
            return await offline(store, month, bounds, clock, tmp_path / "gateway.db")

    worst = virtual_loop.run(live())
    assert worst.rows <= 1.01 * bounds.rows, "the bound is passed by less than a hundredth"
    assert worst.size <= GROWS * worst.half, "the disk is bounded too"
    assert bounds.alarm <= worst.alarm < bounds.begin, "a person was told before anything went"
    sent = rows(tmp_path / "gateway.db", "SELECT seq, topic, subject, body FROM outbox")
    [last] = rows(tmp_path / "gateway.db", "SELECT MAX(seq) AS n FROM outbox")
    kinds = Counter(row["topic"] for row in sent)
    assert kinds["balance"] == len(month.meters) * DAYS, "money never goes"
    assert kinds["event"] >= DAYS * 24, "events never go"
    length = sum(len(row["body"]) for row in sent)
    asyncio.run(drained(tmp_path, mosquitto))
    central = tmp_path / "central.db"
    there = {row["seq"] for row in rows(central, "SELECT seq FROM central_message")}
    assert there >= {row["seq"] for row in sent}, "all that was left is there"
    assert set(range(1, last["n"] + 1)) == there | named(tmp_path) and not there & named(tmp_path), "and the rest was named"
    sql = "SELECT meter, answered_ms, source, value FROM central_reading r JOIN central_item i ON i.message = r.message"
    told = {(row["meter"], row["answered_ms"], Source(row["source"])): row["value"] for row in rows(central, sql)}
    assert told.items() <= month.values.items(), "no value was changed"
    assert left_wrong(list(told), month) == []
    figure("messages of a month without a centre, room for, at the worst", f"{last['n']}, {bounds.rows}, {worst.rows}")
    figure("of them drained, dropped and named", f"{len(there)}, {len(named(tmp_path))}")
    figure("MiB of messages left, of the store's file at the worst", f"{length / 2**20:.1f}, {worst.size / 2**20:.1f}")
    figure("per cent full when the alarm was raised", worst.alarm)


async def drained(folder: Path, binary: str) -> None:
    broker = Mosquitto(folder / "broker", binary)
    async with running(broker), centre(folder, broker.address), gateway(folder, broker.address) as g:
        await until(lambda: g.waiting() == 0, "the outbox is empty", 600)
        [stream] = rows(folder / "central.db", "SELECT upto, top FROM central_stream")
        assert stream["upto"] == stream["top"] == g.store.read_now(lambda tx: tx.outbox_state()).last, "no hole is left"
