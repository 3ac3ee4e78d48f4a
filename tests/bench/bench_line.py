"""What a whole gateway makes of its lines: simulator, broker, central system and gateway as processes, storage and MQTT on.

The limit of a line is its bytes x 11 / baud + the meters' delay + the line's gap (field-lessons.md, "Physical limit").
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from typing import Any

from protocols.dlt645.frames import Deframer
from tests.bench.street_bench import BITS, GAP_MS, Street, Wire, street

BUSY = "[[scheme]]\nbilling_s = 1\ninstant_s = 1\nswitch_s = 3600\n"
"""More than any of the lines can carry, so that a loop that waits loses line time."""

SETTLE_S, MEASURE_S = 6.0, 20.0
POINTS = ((9600, 50, 98), (2400, 100, 98), (115_200, 20, 96))
MANY_LINES, MANY_METERS = 128, 8
"""So many meters ask for two readings a second each: more than the process can give, where two would ask for half of the target."""
READ, CONTROL, CLOCK = 0x11, 0x1C, bytes.fromhex("010004")
Figure = tuple[str, float, str]


def figures() -> Iterator[Figure]:
    for baud, delay_ms, target in POINTS:
        share = asyncio.run(efficiency(Wire("bus", baud, delay_ms, 20)))
        yield f"{baud} baud, meters think {delay_ms} ms: share of the limit (at least {target})", 100 * share, "%"
    rate = asyncio.run(many_lines())
    yield f"{MANY_LINES} lines in one process, {MANY_METERS} meters each (at least 1,000)", rate, "exchanges/s"
    yield from asyncio.run(cuts(Wire("bus", 9600, 50, 20)))


async def efficiency(wire: Wire) -> float:
    """The least time that a saturated line's traffic needs, in the time that it took."""
    async with street([wire], BUSY) as running:
        await asyncio.sleep(SETTLE_S)
        before = await running.traffic(wire.id)
        await asyncio.sleep(MEASURE_S)
        carried = (await running.traffic(wire.id)).since(before)
    return carried.limit_s(wire) / carried.seconds


async def many_lines() -> float:
    """Exchanges a second of one process over many fast lines."""
    wires = [Wire(f"l{n}", 115_200, 20, MANY_METERS) for n in range(MANY_LINES)]
    async with street(wires, BUSY) as running:
        await asyncio.sleep(SETTLE_S)
        before, start = await running.exchanges(), asyncio.get_running_loop().time()
        await asyncio.sleep(MEASURE_S)
        return (await running.exchanges() - before) / (asyncio.get_running_loop().time() - start)


async def cuts(wire: Wire) -> list[Figure]:
    """Cuts and restores on a saturated line: when the first byte is on the wire, and when the switch is seen moved."""
    first_ms, seen_s = [], []
    async with street([wire], BUSY) as running:
        await asyncio.sleep(SETTLE_S)
        for verb in ("cut", "restore", "cut", "restore"):
            done = await asyncio.gather(*(_cut(running, f"bus-{n}", verb, n * 0.7) for n in range(1, wire.meters + 1)))
            first_ms += [first for first, _ in done]
            seen_s += [seen for _, seen in done]
    whole_ms = 52 * 11_000 / wire.baud + wire.delay_ms + GAP_MS
    return [
        ("order to first byte on a saturated 9600-baud line, p95 (at most 1,000)", _quantile(first_ms, 95), "ms"),
        (f"the same, p99 (one exchange of {whole_ms:.0f} ms in flight + 20)", _quantile(first_ms, 99), "ms"),
        ("order to switch seen moved, p95 (settle_s 4 + 1.5)", _quantile(seen_s, 95), "s"),
    ]


async def _cut(running: Street, meter: str, verb: str, after_s: float) -> tuple[float, float]:
    await asyncio.sleep(after_s)
    number = f"{verb}-{meter}-{asyncio.get_running_loop().time():.3f}".replace(".", "_")
    committed = await running.order(meter, verb, number)
    while True:
        answer = (await running.api.get(f"/api/v1/commands/{number}")).json()
        if answer["final"]:
            break
        await asyncio.sleep(0.05)
    assert answer["state"] == "verified", answer
    seen_s = time.time() - committed
    frames = (await running.truth(meter))["frames"]
    return 1000 * (_first_byte(frames, committed, running.wires["bus"].baud) - committed), seen_s


def _first_byte(frames: list[dict[str, Any]], committed: float, baud: int) -> float:
    """When the order, or the look at the meter's clock that comes before it, began on the wire (prepayment.md 5, F3)."""
    for frame in frames:
        data = bytes.fromhex(frame["hex"])
        asked = Deframer().feed(data)
        ordered = asked and (asked[0].control == CONTROL or (asked[0].control == READ and asked[0].data[1:] == CLOCK))
        if frame["direction"] == "rx" and ordered and (begun := frame["at_us"] / 1e6 - len(data) * BITS / baud) > committed - 1:
            return float(begun)
    raise AssertionError("the meter remembers no order")


def _quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
