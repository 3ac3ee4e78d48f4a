"""What /metrics tells of the outbox and of the way to the centre."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric

from gateway.adapters.http.metrics import OutboxNow, _answered, _certificates, _outbox
from gateway.adapters.http.status import AckLatency, Broker
from gateway.domain.events import Topic
from gateway.domain.records import OutboxClass, OutboxSize, OutboxState
from gateway.entrypoints.outbox_latency import BOUNDS_S, Latency


def samples(metrics: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels.values()): sample.value for metric in metrics for sample in metric.samples}


def test_the_outbox_by_class() -> None:
    state, size = OutboxState(last=90, low=20, waiting=12, published=70, acknowledged=60, dropped=18), OutboxSize(40, 12_345)
    shown = samples(_outbox(OutboxNow(state, size, [OutboxClass(Topic.READING, 12, 1_000)], at_ms=61_000)))
    assert shown["wattgate_outbox_depth", "reading"] == 12 and shown["wattgate_outbox_oldest_seconds", "reading"] == 60.0
    assert shown["wattgate_outbox_depth", "balance"] == shown["wattgate_outbox_oldest_seconds", "balance"] == 0
    assert (shown["wattgate_outbox_rows",], shown["wattgate_outbox_bytes",]) == (40, 12_345)
    assert (shown["wattgate_outbox_dropped_total",], shown["wattgate_outbox_published_total",]) == (18, 70)
    assert shown["wattgate_outbox_waiting",] == 12


def test_how_long_the_centre_takes() -> None:
    latency = Latency()
    latency.sent([1, 2, 3], 10.0)
    latency.sent([4, 5], 11.0)
    latency.sent([9], 11.0)
    latency.acknowledged([(0, 3)], 10.2)
    latency.acknowledged([(0, 3), (9, 9)], 900.0)
    broker = Broker("b:1", True, AckLatency(BOUNDS_S, tuple(latency.counts), latency.sum_s))
    shown = samples(_answered(broker))
    assert shown["wattgate_ack_seconds_bucket", "0.1"] == 0 and shown["wattgate_ack_seconds_bucket", "0.3"] == 3
    assert shown["wattgate_ack_seconds_bucket", "600"] == 3 and shown["wattgate_ack_seconds_bucket", "+Inf"] == 4
    assert shown["wattgate_ack_seconds_count",] == 4


def test_how_long_certificates_are_good() -> None:
    shown = samples(_certificates({"gateway": 29, "bank": -1}))
    assert shown["wattgate_certificate_days_left", "gateway"] == 29 and shown["wattgate_certificate_days_left", "bank"] == -1


def test_what_was_under_way_at_a_break_is_not_measured() -> None:
    latency = Latency()
    latency.sent([1], 0.0)
    latency.begin()
    latency.acknowledged([(0, 1)], 5.0)
    assert sum(latency.counts) == 0
