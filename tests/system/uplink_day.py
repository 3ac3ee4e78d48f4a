"""A day of readings of a street in the outbox, and what became of them at the centre, read without our own code."""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

from gateway.adapters.store import Store
from gateway.domain.readings import Item, Quality, Reading
from gateway.services import announce
from gateway.services.ports import Tx
from tests.system.proofs import rows

QUARTER_MS = 15 * 60 * 1000
START_MS = 1_767_225_600_000
QUANTITIES = ("energy_import", "voltage_a", "current_a")

Told = dict[str, list[tuple[int, tuple[str, ...]]]]
"""By meter, in order: when it answered, and the values it gave."""


def simulated(meters: int, quarters: int, seed: int = 7) -> Told:
    """What the street's meters show every quarter of an hour: registers that rise, voltages and currents that wander."""
    rng, told = random.Random(seed), defaultdict(list)
    energy = {f"m{n}": rng.randrange(10**6) for n in range(meters)}
    for quarter in range(quarters):
        for n, meter in enumerate(energy):
            energy[meter] += rng.randrange(120)
            volts, amperes = rng.randrange(2150, 2450), rng.randrange(60_000)
            values = (energy[meter], 2), (volts, 1), (amperes, 3)
            told[meter].append(
                (START_MS + quarter * QUARTER_MS + n * 37, tuple(f"{Decimal(raw).scaleb(-scale):f}" for raw, scale in values))
            )
    return dict(told)


def fill(store: Store, told: Told, at_once: int = 2000) -> None:
    """Writes them down in the order in which they were read, as record_reading announces a reading."""
    in_order = sorted((at_ms, meter, values) for meter, each in told.items() for at_ms, values in each)

    def write(tx: Tx, first: int) -> None:
        for at_ms, meter, values in in_order[first : first + at_once]:
            items = tuple(Item(name, Decimal(value), "") for name, value in zip(QUANTITIES, values, strict=True))
            announce.reading(tx, Reading(meter, items, at_ms - 60, at_ms), f"P-{meter}", Quality.SINGLE, at_ms + 5)

    for first in range(0, len(in_order), at_once):
        store.write_now(lambda tx, first=first: write(tx, first))  # type: ignore[misc]


def arrived(central: Path) -> Told:
    """What the centre's database holds, by meter in the order of the numbers (what was lost behind a broker comes later than its
    neighbours); a reading that is there twice is there twice."""
    told: Told = defaultdict(list)
    values: dict[int, list[str]] = defaultdict(list)
    for row in rows(central, "SELECT message, value FROM central_item ORDER BY message, position"):
        values[row["message"]].append(row["value"])
    sql = """SELECT id, seq, meter, answered_ms FROM central_reading JOIN central_message ON id = message ORDER BY seq, id"""
    for row in rows(central, sql):
        told[row["meter"]].append((row["answered_ms"], tuple(values[row["id"]])))
    return dict(told)


def stored(central: Path) -> int:
    """Messages at the centre, of every kind."""
    [row] = rows(central, "SELECT COUNT(*) AS n FROM central_message")
    return int(row["n"])
