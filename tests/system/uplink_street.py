"""A street's day in virtual time: a whole gateway reads simulated meters, its outbox fills, and what each meter held is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from unittest.mock import patch

from gateway.adapters.store import store_file
from gateway.domain.readings import Reading, Source
from tests.simulation import virtual_loop, virtual_street, whole_gateway
from tests.simulation.auditor import Auditor, Registers
from tests.simulation.virtual_loop import VirtualClock
from tests.simulation.whole_gateway import Pair, Polls, WholeGateway
from tests.system.proofs import rows

HOUR_S = 3600
ON_A_PAIR = 10
POLLS = Polls(billing_s=900, instant_s=HOUR_S, switch_s=HOUR_S)

Moment = tuple[str, int, int | None]
"""Meter, when it answered, and of which moment it told, None: of the present."""

Truth = dict[Moment, tuple[Registers, Registers]]


@dataclass(slots=True)
class Witness(Auditor):
    """held: what the meter showed as a question began and as its answer ended; of the past, around that moment."""

    held: Truth = field(default_factory=dict)

    def _hold(self, reading: Reading, meter: str, before: Registers, after: Registers) -> None:
        key = (meter, reading.answered_ms, reading.taken_ms)
        if reading.taken_ms is not None:
            self.held[key] = self._moments.get((meter, reading.taken_ms), ({}, {}))
        else:
            self.held[key] = before, after
        Auditor._hold(self, reading, meter, before, after)


@dataclass(frozen=True, slots=True)
class Day:
    """folder: gateway.toml, passwords.toml and data/, of a gateway that was never connected. messages: in its outbox."""

    folder: Path
    meters: tuple[str, ...]
    held: Truth
    messages: int


def lived(folder: Path, meters: int, hours: int) -> Day:
    """The hours until now. The pairs are of ON_A_PAIR meters, their ports refuse whoever calls later."""
    begin_ms = time.time_ns() // 1_000_000 - hours * HOUR_S * 1000
    pairs = [Pair(f"p{n}", min(ON_A_PAIR, meters - n * ON_A_PAIR)) for n in range(-(-meters // ON_A_PAIR))]
    with (
        patch.object(virtual_street, "START_MS", begin_ms),
        patch.object(whole_gateway, "VirtualClock", partial(VirtualClock, begin_ms)),
        patch.object(whole_gateway, "Auditor", Witness),
    ):
        held, count = virtual_loop.run(_live(folder, pairs, hours))
    (folder / "data").mkdir()
    (folder / "store.db").rename(store_file(folder / "data"))
    return Day(folder, tuple(name for pair in pairs for name in pair.names), held, count)


async def _live(folder: Path, pairs: list[Pair], hours: int) -> tuple[Truth, int]:
    async with WholeGateway(folder, pairs, POLLS, patient=True) as gateway:
        await gateway.run(hours * HOUR_S)
        assert isinstance(gateway.auditor, Witness) and not gateway.auditor.lies
        return gateway.auditor.held, gateway.store.read_now(lambda tx: tx.outbox_state()).last


def told(central: Path) -> Iterator[tuple[str, Moment, Source, dict[str, Decimal]]]:
    """What the centre holds of readings, in the order of the numbers: meter, moment, source, registers in kWh."""
    values: dict[int, dict[str, Decimal]] = {}
    for row in rows(central, "SELECT message, quantity, value FROM central_item WHERE value IS NOT NULL"):
        if row["quantity"].startswith("energy_import"):
            values.setdefault(row["message"], {})[row["quantity"]] = Decimal(row["value"])
    sql = """SELECT id, meter, answered_ms, taken_ms, source FROM central_reading
             JOIN central_message ON id = message ORDER BY epoch, seq, id"""
    for row in rows(central, sql):
        moment = row["meter"], row["answered_ms"], row["taken_ms"]
        yield row["meter"], moment, Source(row["source"]), values.get(row["id"], {})


def lies(central: Path, day: Day) -> list[str]:
    """Readings at the centre that are there twice, before an older one of their meter, or not what the meter held."""
    found, seen, newest, polls = [], set[tuple[Moment, tuple[str, ...]]](), dict[str, int](), dict.fromkeys(day.meters, 0)
    for meter, moment, source, registers in told(central):
        name = f"{source} of {meter} at {moment[1:]}"
        if (moment, tuple(registers)) in seen and registers:
            found.append(f"{name} is there twice")
        seen.add((moment, tuple(registers)))
        if moment[1] < newest.get(meter, 0):
            found.append(f"{name} stands behind a newer one")
        newest[meter] = moment[1]
        polls[meter] += source is Source.LIVE and "energy_import" in registers
        low, high = day.held.get(moment, ({}, {}))
        for quantity, value in registers.items():
            if not low.get(quantity, Decimal(-1)) <= value <= high.get(quantity, Decimal(-1)):
                found.append(f"{name} says {quantity} {value}, the meter held {low.get(quantity)} to {high.get(quantity)}")
    return [*found, *(f"{meter} has {count} billing readings" for meter, count in polls.items() if count < _rounds(day))]


def _rounds(day: Day) -> int:
    """Billing rounds that each meter must have: all of them but the last, which the end may have cut off."""
    moments = [answered for _, answered, taken in day.held if taken is None]
    return (max(moments) - min(moments)) // (POLLS.billing_s * 1000)
