"""/metrics in the Prometheus text format, read from the status of the process and the outbox at the moment of asking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.adapters.http.crowd import REASONS
from gateway.adapters.http.partner_metrics import partner_metrics
from gateway.adapters.http.status import Broker, LineStatus, OutputStatus, Status
from gateway.adapters.lines.manner import BUCKETS_MS
from gateway.domain.events import Topic
from gateway.domain.notices import NoticeState
from gateway.domain.outputs import Unmoved
from gateway.domain.records import OutboxClass, OutboxSize, OutboxState
from gateway.domain.schemes import WHOLE, Completeness
from gateway.domain.uplink_keys import Why

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Told:
    """Notices by channel and state, and findings by kind."""

    notices: Mapping[tuple[str, NoticeState], int]
    findings: Mapping[str, int]


NOTHING_TOLD = Told({}, {})

REFUSALS = tuple(why.value for why in Why)
"""Every reason is there from the start, so that an alarm on its rise has a zero to rise from."""


@dataclass(frozen=True, slots=True)
class OutboxNow:
    """The outbox at the moment at_ms (UTC)."""

    state: OutboxState
    size: OutboxSize
    classes: Sequence[OutboxClass]
    at_ms: int


def _commands(counted: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    accepted = CounterMetricFamily("wattgate_commands_accepted", "Commands of the centre that were taken", labels=["verb"])
    refused = CounterMetricFamily("wattgate_commands_refused", "Messages of the centre that moved nothing", labels=["reason"])
    for verb, count in sorted((verb, count) for (verb, why), count in counted.items() if not why):
        accepted.add_metric([verb], count)
    for reason in REFUSALS:
        refused.add_metric([reason], counted.get(("", reason), 0))
    yield from (accepted, refused)


class _Snapshot(Collector):
    """One scrape; `outbox` None: the store cannot be read now, its numbers are left out rather than guessed."""

    def __init__(self, status: Status, outbox: OutboxNow | None, collected: Sequence[Completeness], told: Told) -> None:
        self._status, self._outbox, self._collected, self._told = status, outbox, collected, told

    def collect(self) -> Iterator[Metric]:
        counters, health, broker = self._status.counters(), self._status.health(), self._status.broker()
        yield GaugeMetricFamily("wattgate_healthy", "1 while money may be taken and supply restored", int(not health.reasons))
        yield GaugeMetricFamily("wattgate_cut_holds", "Reasons that hold cuts now", len(health.holds))
        if broker is not None:
            yield GaugeMetricFamily("wattgate_broker_connected", "1 while the MQTT link stands", int(broker.connected))
        yield CounterMetricFamily("wattgate_readings", "Readings stored since the start", counters.readings)
        topups = CounterMetricFamily("wattgate_topups", "Payments judged since the start", labels=["verdict"])
        for verdict, count in sorted(counters.topups.items()):
            topups.add_metric([verdict], count)
        yield topups
        yield from _commands(counters.commands)
        yield GaugeMetricFamily("wattgate_store_waiting", "Use cases that wait for the writer", counters.store_waiting)
        if broker is not None:
            yield from _answered(broker)
        yield from _certificates(counters.certificate_days)
        yield from partner_metrics(counters.partners)
        yield _turned_away(counters.turned_away)
        if self._outbox is not None:
            yield from _outbox(self._outbox)
            yield from _outputs(self._status.outputs(self._outbox.state.last), self._outbox.at_ms)
        yield from _lines(self._status.lines())
        yield from _collected(self._collected)
        yield from _told(self._told)


def _outbox(now: OutboxNow) -> Iterator[Metric]:
    yield GaugeMetricFamily("wattgate_outbox_waiting", "Messages not yet acknowledged by the centre", now.state.waiting)
    yield CounterMetricFamily("wattgate_outbox_published", "Messages ever handed to the broker", now.state.published)
    yield CounterMetricFamily("wattgate_outbox_dropped", "Messages dropped by policy before the centre had them", now.state.dropped)
    yield GaugeMetricFamily("wattgate_outbox_rows", "Messages here, also those kept for resends", now.size.rows)
    yield GaugeMetricFamily("wattgate_outbox_bytes", "Length of their bodies", now.size.bytes)
    depth = GaugeMetricFamily("wattgate_outbox_depth", "Messages not yet acknowledged, by class", labels=["class"])
    oldest = GaugeMetricFamily("wattgate_outbox_oldest_seconds", "Age of the oldest of them", labels=["class"])
    waiting = {each.topic: each for each in now.classes}
    for topic in Topic:
        one = waiting.get(topic)
        depth.add_metric([topic.value], one.waiting if one else 0)
        oldest.add_metric([topic.value], max(0, now.at_ms - one.oldest_ms) / 1000 if one else 0)
    yield from (depth, oldest)


def _answered(broker: Broker) -> Iterator[Metric]:
    took = HistogramMetricFamily("wattgate_ack_seconds", "From handing a message over to the centre's acknowledgement")
    names = [*(f"{bound:g}" for bound in broker.latency.bounds_s), "+Inf"]
    took.add_metric([], list(zip(names, accumulate(broker.latency.counts), strict=True)), broker.latency.sum_s)
    yield took


def _certificates(days_left: Mapping[str, int]) -> Iterator[Metric]:
    left = GaugeMetricFamily("wattgate_certificate_days_left", "Whole days a certificate is still good", labels=["certificate"])
    for name, days in sorted(days_left.items()):
        left.add_metric([name], days)
    yield left


def _turned_away(listeners: Mapping[str, Mapping[str, int]]) -> Metric:
    away = CounterMetricFamily("wattgate_http_turned_away", "Connections ended or refused", labels=["listener", "reason"])
    for name, counted in listeners.items():
        for reason in REASONS:
            away.add_metric([name, reason], counted.get(reason, 0))
    return away


def _outputs(outputs: Sequence[OutputStatus], at_ms: int) -> Iterator[Metric]:
    name = "wattgate_output"
    up = GaugeMetricFamily(f"{name}_connected", "1 while the output may be told", labels=["output"])
    waiting = GaugeMetricFamily(f"{name}_waiting", "Messages that it is still to be told", labels=["output"])
    dropped = CounterMetricFamily(f"{name}_dropped", "Messages that were gone before it was told", labels=["output"])
    age = GaugeMetricFamily(f"{name}_told_age_seconds", "Since it was told a message", labels=["output"])
    accepted = CounterMetricFamily(f"{name}_orders_accepted", "Orders that became commands", labels=["output", "verb"])
    refused = CounterMetricFamily(f"{name}_orders_refused", "What moved nothing", labels=["output", "reason"])
    for each in outputs:
        up.add_metric([each.output], int(each.connected))
        waiting.add_metric([each.output], each.waiting)
        dropped.add_metric([each.output], each.dropped)
        if each.told_ms is not None:
            age.add_metric([each.output], max(0, at_ms - each.told_ms) / 1000)
        for verb, count in sorted((verb, count) for (verb, why), count in each.orders.items() if not why):
            accepted.add_metric([each.output, verb], count)
        for reason in Unmoved:
            refused.add_metric([each.output, reason.value], each.orders.get(("", reason.value), 0))
    yield from (up, waiting, dropped, age, accepted, refused)


def _lines(lines: Iterable[LineStatus]) -> Iterator[Metric]:
    up = GaugeMetricFamily("wattgate_line_up", "1 while the line works", labels=["line"])
    busy = GaugeMetricFamily("wattgate_line_utilisation_ratio", "Share of the last minute the line was busy", labels=["line"])
    waiting = GaugeMetricFamily("wattgate_line_waiting", "Exchanges that are due now", labels=["line"])
    exchanges = CounterMetricFamily("wattgate_exchanges", "Exchanges on the line", labels=["line"])
    errors = CounterMetricFamily("wattgate_exchange_errors", "Exchanges that failed", labels=["line", "kind"])
    stray = CounterMetricFamily("wattgate_line_stray_bytes", "Bytes that answered no question", labels=["line"])
    opened = CounterMetricFamily("wattgate_line_opened", "How often the line's device was opened", labels=["line"])
    away = CounterMetricFamily("wattgate_line_turned_away", "Calls to the line's port that were refused", labels=["line", "reason"])
    devices = GaugeMetricFamily("wattgate_line_devices", "Devices by their state", labels=["line", "state"])
    due = GaugeMetricFamily("wattgate_queue_due", "Work that is due now, by class", labels=["line", "class"])
    oldest = GaugeMetricFamily("wattgate_queue_oldest_seconds", "How long the oldest of it has been due", labels=["line", "class"])
    for line in lines:
        up.add_metric([line.line], int(line.state == "up"))
        busy.add_metric([line.line], line.utilisation)
        waiting.add_metric([line.line], line.waiting)
        exchanges.add_metric([line.line], line.exchanges)
        for kind, count in sorted(line.errors.items()):
            errors.add_metric([line.line, kind], count)
        stray.add_metric([line.line], line.stray_bytes)
        opened.add_metric([line.line], line.opened)
        for reason, count in sorted(line.turned_away.items()):
            away.add_metric([line.line, reason], count)
        for state, count in (("answering", line.answering), ("failing", line.failing), ("silent", line.silent)):
            devices.add_metric([line.line, state], count)
        for name, queue in line.queues.items():
            due.add_metric([line.line, name], queue.waiting)
            oldest.add_metric([line.line, name], queue.oldest_ms / 1000)
    yield from (up, busy, waiting, exchanges, errors, stray, opened, away, devices, due, oldest)


def _latencies(latencies: Iterable[tuple[str, str, Sequence[int]]]) -> Iterator[str]:
    """A histogram for each device that has answered. Written by hand: 1,000 meters are 10,000 lines, and all lines stand still
    while a scrape is made."""
    name = "wattgate_answer_seconds"
    yield f"# HELP {name} From the end of a question to the beginning of its answer\n# TYPE {name} histogram\n"
    bounds = [f"{bound / 1000:g}" for bound in BUCKETS_MS] + ["+Inf"]
    for line, meter, counts in latencies:
        if not any(counts):
            continue
        labels, seen = f'line="{line}",meter="{meter}"', 0  # ids are letters, digits, _ and -
        for bound, count in zip(bounds, counts, strict=True):
            seen += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {seen}\n'
        yield f"{name}_count{{{labels}}} {seen}\n"


def _collected(rows: Sequence[Completeness]) -> Iterator[Metric]:
    """The two newest days there are: a label for each date would never end."""
    days = dict(zip(sorted({row.day for row in rows}, reverse=True), ("newest", "before"), strict=False))
    labels = ["scheme", "line", "day"]
    share = GaugeMetricFamily("wattgate_completeness_ratio", "Share of the values of a day that were read", labels=labels)
    expected = GaugeMetricFamily("wattgate_slots", "Values of a day, by what became of them", labels=[*labels, "state"])
    for row in rows:
        if row.day in days:
            where = [row.scheme, row.line, days[row.day]]
            share.add_metric(where, row.tally.complete / WHOLE)
            for state in ("expected", "read", "in_time", "unavailable"):
                expected.add_metric([*where, state], getattr(row.tally, state))
    yield from (share, expected)


def _told(told: Told) -> Iterator[Metric]:
    notices = GaugeMetricFamily("wattgate_notices", "Notices of the last day and a half, by state", labels=["channel", "state"])
    for (channel, state), count in sorted(told.notices.items()):
        notices.add_metric([channel, state.value], count)
    findings = GaugeMetricFamily("wattgate_findings", "What needs a person now", labels=["kind"])
    for kind, count in sorted(told.findings.items()):
        findings.add_metric([kind], count)
    yield from (notices, findings)


def exposition(
    status: Status, outbox: OutboxNow | None, collected: Sequence[Completeness] = (), told: Told = NOTHING_TOLD
) -> bytes:
    """The whole scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(status, outbox, collected, told))
    return generate_latest(registry) + "".join(_latencies(status.latencies())).encode("ascii")
