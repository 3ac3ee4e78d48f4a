"""What the operator's API and /metrics tell of lines and their meters, and `wattgate lines` made of it."""

from __future__ import annotations

import json

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from gateway.cli.lines import METER_HEAD, row_of, table
from tests.gateway.adapters.http.street import Street


async def metrics(operator: httpx2.AsyncClient) -> dict[tuple[str, ...], float]:
    """Every sample by its name and label values."""
    text = (await operator.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, *sample.labels.values()): sample.value for sample in samples}
    assert len(found) == len(samples), "no sample stands there twice"
    return found


async def test_a_line_tells_what_waits_who_answers_and_how_fast(operator: httpx2.AsyncClient) -> None:
    [line] = (await operator.get("/api/v1/lines")).json()
    assert line["queues"]["schedule"] == {"waiting": 3, "oldest_ms": 1500}
    assert (line["answering"], line["failing"], line["silent"]) == (1, 0, 1)
    assert (line["p50_ms"], line["p95_ms"], line["stray_bytes"], line["opened"]) == (80, 160, 7, 2)
    assert line["turned_away"] == {"unknown": 3}
    assert "silent 3, call turned away (unknown) 3" in table([row_of(line)])


async def test_pain_42_each_meter_of_a_line_has_its_state_since_when_and_what_was_learned(operator: httpx2.AsyncClient) -> None:
    first, second = (await operator.get("/api/v1/lines/bus-1/meters")).json()
    assert first == {
        "meter": "bus-1-1",
        "groups": ["billing", "switch"],
        "state": "answering",
        "since": "2026-11-21T04:00:00.000Z",
        "failures": 0,
        "next": "2026-11-21T04:15:00.000Z",
        "p50_ms": 80,
        "p95_ms": 160,
        "manner": {"timeout_ms": 100, "preamble": 0, "blocks": {"0001FF00": "whole"}},
    }
    assert (second["state"], second["since"], second["p50_ms"]) == ("silent", "2026-11-21T03:00:00.000Z", None)
    missing = await operator.get("/api/v1/lines/bus-9/meters")
    assert (missing.status_code, missing.json()["detail"]) == (404, "line bus-9 is not known here")


async def test_metrics_have_queues_states_and_a_histogram_of_each_meter_that_answers(operator: httpx2.AsyncClient) -> None:
    found = await metrics(operator)
    assert found["wattgate_line_devices", "bus-1", "silent"] == 1
    assert found["wattgate_queue_due", "schedule", "bus-1"] == 3
    assert found["wattgate_queue_oldest_seconds", "schedule", "bus-1"] == 1.5
    assert found["wattgate_line_turned_away_total", "bus-1", "unknown"] == 3
    assert found["wattgate_line_stray_bytes_total", "bus-1"] == 7 and found["wattgate_line_opened_total", "bus-1"] == 2
    name = "wattgate_answer_seconds"
    assert found[f"{name}_bucket", "bus-1", "bus-1-1", "0.05"] == 3
    assert found[f"{name}_bucket", "bus-1", "bus-1-1", "0.1"] == 43
    assert found[f"{name}_bucket", "bus-1", "bus-1-1", "+Inf"] == found[f"{name}_count", "bus-1", "bus-1-1"] == 46
    assert not any("bus-1-2" in key for key in found if key[0].startswith(name)), "none for one that never answered"


async def test_metrics_grow_with_the_meters_and_with_nothing_else(operator: httpx2.AsyncClient, street: Street) -> None:
    before = set(await metrics(operator))
    street.status.answered = [count * 1000 for count in street.status.answered]
    assert set(await metrics(operator)) == before
    assert len(json.dumps([list(key) for key in before])) < 10_000


def test_a_table_is_as_wide_as_it_must_be_and_cuts_nothing() -> None:
    row = ("a", "m" * 70, *("x" for _ in METER_HEAD[2:]))
    head, line = table([METER_HEAD, row]).splitlines()
    assert "m" * 70 in line and head.index("reads") == line.index("  x") + 2
