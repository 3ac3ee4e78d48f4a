"""A thousand meters in one process; what they cost is measured in tests/bench/bench_sim.py."""

from __future__ import annotations

import tracemalloc

from protocols.dlt645.master import Read
from tests.firmware_sim.virtual import VirtualStreet

METERS, LINES = 1000, 10
MOST_BYTES = 100 * 10**6
MODELS = ("dlt645-single", "dlt645-single", "dlt645-three", "dlt645-1997")


def thousand() -> dict[str, object]:
    """Ten lines with a hundred meters each; every fourth holds money."""
    rows = [
        {
            "id": f"m{n}", "line": f"l{n % LINES}", "model": MODELS[n % 4], "address": f"{n:012d}", "initial_kwh": n,
            **({"wallet": {"prices": [0.5, 0.3], "balance": 100, "count": 1}} if n % 4 == 0 else {}),
        }
        for n in range(METERS)
    ]  # fmt: skip
    return {"line": [{"id": f"l{n}", "kind": "tcp", "baud": 9600} for n in range(LINES)], "meter": rows}


def test_a_thousand_meters_stand_in_one_street_and_each_answers_for_itself():
    tracemalloc.start()
    s = VirtualStreet(thousand())
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(s.street.stations) == METERS and held < MOST_BYTES
    for n in range(METERS):
        di = "9010" if n % 4 == 3 else "00010000"
        assert int(s.ask(f"l{n % LINES}", Read(f"{n:012d}", di)).items[0].value) == n
    assert all(line["collisions"] == 0 for line in s.handle.lines())
    s.wait(600)
    truths = s.handle.truths()
    assert len({truth["energy_mws"] for truth in truths}) == METERS
    assert sum(truth["wallet"] is not None for truth in truths) == METERS // 4
