"""/metrics in the Prometheus text format, read from the status of the process and the outbox at the moment of asking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.adapters.http.status import LineStatus, Status
from gateway.services.ports import OutboxState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Snapshot(Collector):
    """One scrape; `outbox` None: the store cannot be read now, its numbers are left out rather than guessed."""

    def __init__(self, status: Status, outbox: OutboxState | None) -> None:
        self._status, self._outbox = status, outbox

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
        yield GaugeMetricFamily("wattgate_store_waiting", "Use cases that wait for the writer", counters.store_waiting)
        if self._outbox is not None:
            yield GaugeMetricFamily("wattgate_outbox_waiting", "Messages not yet acknowledged by the centre", self._outbox.waiting)
            yield CounterMetricFamily("wattgate_outbox_published", "Messages ever handed to the broker", self._outbox.published)
        yield from _lines(self._status.lines())


def _lines(lines: Iterable[LineStatus]) -> Iterator[Metric]:
    up = GaugeMetricFamily("wattgate_line_up", "1 while the line works", labels=["line"])
    busy = GaugeMetricFamily("wattgate_line_utilisation_ratio", "Share of the last minute the line was busy", labels=["line"])
    waiting = GaugeMetricFamily("wattgate_line_waiting", "Exchanges that are due now", labels=["line"])
    exchanges = CounterMetricFamily("wattgate_exchanges", "Exchanges on the line", labels=["line"])
    errors = CounterMetricFamily("wattgate_exchange_errors", "Exchanges that failed", labels=["line", "kind"])
    for line in lines:
        up.add_metric([line.line], int(line.state == "up"))
        busy.add_metric([line.line], line.utilisation)
        waiting.add_metric([line.line], line.waiting)
        exchanges.add_metric([line.line], line.exchanges)
        for kind, count in sorted(line.errors.items()):
            errors.add_metric([line.line, kind], count)
    yield from (up, busy, waiting, exchanges, errors)


def exposition(status: Status, outbox: OutboxState | None) -> bytes:
    """The whole scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(status, outbox))
    return generate_latest(registry)
