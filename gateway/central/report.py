"""What the central system tells of itself: gateways and their gaps, findings, figures for /metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select

from gateway.central import ingest, schema
from gateway.central.service import Counts
from gateway.central.streams import RANGES_AT_ONCE, Span

_s = schema.stream.c


@dataclass(frozen=True, slots=True)
class GatewayView:
    """A gateway in its newest epoch. upto: all up to here; top: the highest number; missing: between; heard_ms: UTC."""

    gateway: str
    state: str
    epoch: str
    upto: int
    top: int
    missing: int
    heard_ms: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers that are not here. why: `on its way` (at or above low), `missing` (asked for), `old epoch` (asked for no more),
    `lost`, `dropped` by the gateway's policy."""

    gateway: str
    epoch: str
    first: int
    last: int
    why: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Numbers for /metrics."""

    gateways: int
    online: int
    missing: int
    oldest_heard_ms: int | None
    orders: int
    vouchers: int
    findings: dict[str, int]


def gateways(connection: Connection) -> list[GatewayView]:
    """Every gateway that ever sent something, by name."""
    states = {row.gateway: row.state for row in connection.execute(select(schema.gateway))}
    newest: dict[str, GatewayView] = {}
    for row in connection.execute(select(schema.stream).order_by(_s.gateway, _s.ordinal)):
        stream = ingest.stream_of(row)
        missing = sum(last - first + 1 for first, last in stream.holes(len(stream.accounted) + 1))
        newest[row.gateway] = GatewayView(
            row.gateway, states.get(row.gateway, "unknown"), row.epoch, row.upto, row.top, missing, row.heard_ms
        )
    return list(newest.values())


def gaps(connection: Connection) -> Iterator[Gap]:
    """Everything that is not here and why, by gateway and epoch."""
    newest: dict[str, int] = {}
    rows = list(connection.execute(select(schema.stream).order_by(_s.gateway, _s.ordinal)))
    for row in rows:
        newest[row.gateway] = row.ordinal
    d = schema.dropped.c
    for row in rows:
        stream = ingest.stream_of(row)
        for first, last in stream.holes(RANGES_AT_ONCE):
            yield Gap(row.gateway, row.epoch, first, last, _why((first, last), stream.low, row.ordinal == newest[row.gateway]))
        query = (
            select(d.first, d.last, d.why)
            .where(d.gateway == row.gateway, d.epoch == row.epoch, d.why != "before")
            .order_by(d.first)
        )
        for first, last, why in connection.execute(query):
            yield Gap(row.gateway, row.epoch, first, last, "lost" if why == "lost" else "dropped")


def _why(hole: Span, low: int, newest: bool) -> str:
    if not newest:
        return "old epoch"
    return "missing" if hole[1] < low else "on its way"


def last_balance(connection: Connection, gateway: str, pseudonym: str) -> str | None:
    """The balance of an account as its gateway last told it."""
    b = schema.balance.c
    query = (
        select(b.balance).where(b.gateway == gateway, b.account == pseudonym).order_by(b.at_ms.desc(), b.message.desc()).limit(1)
    )
    return connection.scalar(query)


def figures(connection: Connection) -> Figures:
    """What the store says."""
    o, p, f = schema.order.c, schema.payment.c, schema.finding.c
    found = gateways(connection)
    open_findings = select(f.kind, func.count()).where(f.closed_ms.is_(None)).group_by(f.kind)
    waiting = select(func.count()).select_from(schema.payment).where(p.delivery.in_(("queued", "sent")))
    return Figures(
        gateways=len(found),
        online=sum(g.state == "online" for g in found),
        missing=sum(g.missing for g in found),
        oldest_heard_ms=min((g.heard_ms for g in found), default=None),
        orders=connection.scalar(select(func.count()).select_from(schema.order).where(o.final.is_(False))) or 0,
        vouchers=connection.scalar(waiting) or 0,
        findings={kind: count for kind, count in connection.execute(open_findings)},
    )


def reasons(failing: bool, connected: bool) -> list[str]:
    """Why this instance cannot do its work now."""
    return [*(["the store takes nothing"] if failing else []), *([] if connected else ["the MQTT broker is gone"])]


class _Snapshot(Collector):
    def __init__(self, counts: Counts, connected: bool, stored: Figures) -> None:
        self._counts, self._connected, self._stored = counts, connected, stored

    def collect(self) -> Iterator[Metric]:
        counts, stored = self._counts, self._stored
        yield GaugeMetricFamily("wattgate_central_broker_connected", "1 while the MQTT link stands", int(self._connected))
        yield GaugeMetricFamily("wattgate_central_store_failing", "1 while the store takes nothing", int(counts.failing))
        for name, what in (
            ("received", "Messages received since the start"),
            ("stored", "Messages stored since the start"),
            ("left", "Messages left with their gateway: they would have opened too many holes"),
            ("unread", "Messages of which not even the envelope could be read"),
            ("acks", "Acknowledgements sent since the start"),
            ("asked", "Requests for missing messages sent since the start"),
            ("sent", "Orders sent since the start"),
        ):
            yield CounterMetricFamily(f"wattgate_central_{name}", what, getattr(counts, name))
        for name, what in (
            ("gateways", "Gateways that ever sent something"),
            ("online", "Gateways that are online"),
            ("missing", "Numbers that are not here yet, of the newest epochs"),
            ("orders", "Orders without a final state"),
            ("vouchers", "Payments of which the gateway has not had its last word"),
        ):
            yield GaugeMetricFamily(f"wattgate_central_{name}_now", what, getattr(stored, name))
        findings = GaugeMetricFamily("wattgate_central_findings", "Open findings", labels=["kind"])
        for kind, count in sorted(stored.findings.items()):
            findings.add_metric([kind], count)
        yield findings


def metrics(counts: Counts, connected: bool, stored: Figures) -> str:
    """The Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(counts, connected, stored))
    return generate_latest(registry).decode()
