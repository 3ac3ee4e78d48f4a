"""Stores what came in, each message once, and says what is now safe: one transaction for a batch (contract.md 5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, func, insert, or_, select, text

from gateway.central import contents, findings, followed, heads, schema
from gateway.central.arrivals import Arrival
from gateway.central.ranges import Ranges
from gateway.central.store import CentralStore, Row
from gateway.central.streams import Name, Span, Stream, from_text, to_text
from gateway.domain.events import Json
from protocols.uplink.messages import RANGES_LIMIT, Ack, EventMessage

DROPPED = "dropped"
"""Kind of the event that names what a gateway's policy gave up: `data.ranges`, inclusive."""

AT_ONCE = 500
"""Values in one IN of a statement: SQLite takes 32,766 parameters, older ones 999."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of a batch. acks: by gateway, of its newest epoch only, for a gateway refuses those of another. left: messages
    that would have opened too many holes; they are not acknowledged and come again."""

    new: int
    acks: dict[str, Ack]
    left: int


@dataclass(slots=True)
class _Batch:
    """Streams as they will be, and what is new."""

    streams: dict[Name, Stream]
    taken: dict[tuple[str, str, int], Arrival] = field(default_factory=dict)
    maybe: dict[tuple[str, str, int], Arrival] = field(default_factory=dict)
    left: int = 0


def save(store: CentralStore, arrivals: Sequence[Arrival], anchors: heads.Trust = heads.NOBODY) -> Saved:
    """Stores what is new among them, durably. StoreFailed: none was stored. anchors: whose signed heads are believed."""
    return store.write(lambda connection: _save(store, connection, arrivals, anchors))


def _save(store: CentralStore, connection: Connection, arrivals: Sequence[Arrival], anchors: heads.Trust) -> Saved:
    batch = _Batch(_streams(connection, {a.where.gateway for a in arrivals}))
    touched: dict[Name, int] = {}
    begun: list[Name] = []
    for arrival in arrivals:
        if arrival.stream not in batch.streams:
            begun.append(arrival.stream)
            batch.streams[arrival.stream] = _begin(batch.streams, arrival)
        _take(batch, arrival)
        touched[arrival.stream] = max(arrival.received_ms, touched.get(arrival.stream, 0))
    _late_after_all(connection, batch)
    new = list(batch.taken.values())
    _insert(store, connection, new)
    _drop(connection, batch, new)
    for name in begun:
        if (low := batch.streams[name].low) > 1 and batch.streams[name].ordinal > 1:
            note_dropped(connection, name, batch.streams[name], [(1, low - 1)], "before")
    _fold_dropped(connection, batch)
    store.upsert(connection, schema.stream, [stream_row(name, batch.streams[name], heard) for name, heard in touched.items()])
    followed.results(store, connection, new)
    heads.check(connection, new, anchors)
    return Saved(len(new), _acks(batch.streams, touched), batch.left)


def _streams(connection: Connection, gateways: set[str]) -> dict[Name, Stream]:
    """All epochs of these gateways."""
    query = select(schema.stream).where(schema.stream.c.gateway.in_(gateways))
    return {(row.gateway, row.epoch): stream_of(row) for row in connection.execute(query)}


def stream_of(row: object) -> Stream:
    """A stream out of its row."""
    accounted, low, ordinal, dropped = (getattr(row, name) for name in ("accounted", "low", "ordinal", "dropped"))
    return Stream(from_text(accounted), low, ordinal, bool(dropped))


def stream_row(name: Name, stream: Stream, heard_ms: int) -> Row:
    """The row of a stream."""
    here = stream.accounted
    return {
        "gateway": name[0],
        "epoch": name[1],
        "ordinal": stream.ordinal,
        "accounted": to_text(here),
        "low": stream.low,
        "upto": here.upto,
        "top": here.top,
        "dropped": stream.dropped,
        "heard_ms": heard_ms,
    }


def _begin(streams: dict[Name, Stream], arrival: Arrival) -> Stream:
    """A new epoch. What lies below the first `low` of a second one belongs to the one before: the store came from a backup."""
    ordinal = 1 + max((s.ordinal for (gateway, _), s in streams.items() if gateway == arrival.where.gateway), default=0)
    return Stream(Ranges(), arrival.envelope.low, ordinal)


def _take(batch: _Batch, arrival: Arrival) -> None:
    """Counts a message as new, as known, or as one that the store has to be asked about."""
    stream, number = batch.streams[arrival.stream], arrival.envelope.seq
    key = (*arrival.stream, number)
    if number not in stream.accounted:
        if not stream.may_take(number):
            batch.left += 1
            return
        stream.accounted.add(number)
        batch.taken[key] = arrival
    elif stream.dropped and key not in batch.taken:
        batch.maybe.setdefault(key, arrival)
    stream.low = max(stream.low, arrival.envelope.low)


def _late_after_all(connection: Connection, batch: _Batch) -> None:
    """A number that was given up may arrive all the same: what is not stored is new."""
    m = schema.message.c
    asked = list(batch.maybe)
    for gateway, epoch in {key[:2] for key in asked}:
        numbers = [number for *name, number in asked if tuple(name) == (gateway, epoch)]
        for at in range(0, len(numbers), AT_ONCE):
            query = select(m.seq).where(m.gateway == gateway, m.epoch == epoch, m.seq.in_(numbers[at : at + AT_ONCE]))
            for known in connection.scalars(query):
                del batch.maybe[gateway, epoch, known]
    batch.taken |= batch.maybe


def _insert(store: CentralStore, connection: Connection, new: Sequence[Arrival]) -> None:
    if not new:
        return
    rows: dict[Table, list[contents.Values]] = {schema.message: []}
    for number, arrival in zip(_numbers(store, connection, len(new)), new, strict=True):
        rows[schema.message].append(contents.message_row(number, arrival))
        for table, values in contents.content_rows(number, arrival):
            rows.setdefault(table, []).append(values)
    for table, all_values in rows.items():
        if store.on_server:
            _copy(connection, table, all_values)
        else:
            names = contents.COLUMNS[table]
            connection.execute(insert(table), [dict(zip(names, each, strict=True)) for each in all_values])


def _numbers(store: CentralStore, connection: Connection, count: int) -> Iterable[int]:
    """Row numbers for messages; one writes at a time, so nobody else takes them."""
    if store.on_server:
        return list(connection.scalars(_NEXT, {"count": count}))
    top = connection.scalar(select(func.max(schema.message.c.id))) or 0
    return range(top + 1, top + 1 + count)


_NEXT = text("SELECT nextval('central_message_id_seq') FROM generate_series(1, :count)")


def _copy(connection: Connection, table: Table, rows: Sequence[contents.Values]) -> None:
    """PostgreSQL's own way for many rows, some five times faster than inserts."""
    driver: Any = connection.connection.driver_connection  # psycopg's, which not everybody has installed
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({_NAMES[table]}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


_NAMES = {table: ", ".join(names) for table, names in contents.COLUMNS.items()}


def _drop(connection: Connection, batch: _Batch, new: Sequence[Arrival]) -> None:
    """Takes note of what gateways say that they dropped."""
    for arrival in new:
        said = arrival.content
        if not isinstance(said, EventMessage) or said.kind != DROPPED:
            continue
        spans = _spans(said.data.get("ranges"), said.seq)
        if spans is None:
            text = f"event {said.seq} of epoch {said.epoch} says that numbers were dropped, but not which"
            findings.add(
                connection, arrival.where.gateway, "dropped_unclear", f"{said.epoch}:{said.seq}", text, arrival.received_ms
            )
        else:
            note_dropped(connection, arrival.stream, batch.streams[arrival.stream], spans, "policy")


def _spans(said: object, below: int) -> list[Span] | None:
    """The ranges of an event, all of them below its own number; None for anything else."""
    ranges = said if isinstance(said, list) and len(said) <= RANGES_LIMIT else None
    if ranges is None or not all(_is_span(each, below) for each in ranges):
        return None
    return [(int(first), int(last)) for first, last in ranges]


def _is_span(said: Json, below: int) -> bool:
    numbers = [n for n in said if isinstance(n, int) and not isinstance(n, bool)] if isinstance(said, list) else []
    return isinstance(said, list) and len(said) == len(numbers) == 2 and 1 <= numbers[0] <= numbers[1] < below


def note_dropped(connection: Connection, name: Name, stream: Stream, spans: Sequence[Span], why: str) -> None:
    """Writes numbers down that count as received: at once where they touch what is here, the others when something reaches them."""
    if not spans:
        return
    stream.dropped = True
    gateway, epoch = name
    rows = [{"gateway": gateway, "epoch": epoch, "first": first, "last": last, "why": why} for first, last in spans]
    connection.execute(insert(schema.dropped), rows)
    stream.fold(spans)
    edges = [span for span in spans if stream.accounted.covers(*span)]
    while edges := _beside(connection, name, stream, edges):  # what an earlier event named and nothing reached till now
        stream.fold(edges)


def _fold_dropped(connection: Connection, batch: _Batch) -> None:
    """Dropped numbers beside those that have arrived count with them."""
    for name, stream in batch.streams.items():
        if stream.dropped:
            edges = [(n, n) for gateway, epoch, n in batch.taken if (gateway, epoch) == name]
            while edges := _beside(connection, name, stream, edges):
                stream.fold(edges)


def _beside(connection: Connection, name: Name, stream: Stream, edges: Sequence[Span]) -> list[Span]:
    """Dropped ranges that begin or end beside these, and are not counted yet."""
    d = schema.dropped.c
    found: list[Span] = []
    for at in range(0, len(edges), AT_ONCE):
        part = edges[at : at + AT_ONCE]
        beside = or_(d.first.in_([last + 1 for _, last in part]), d.last.in_([first - 1 for first, _ in part]))
        query = select(d.first, d.last).where(d.gateway == name[0], d.epoch == name[1], beside)
        found += [(row.first, row.last) for row in connection.execute(query)]
    return [span for span in found if not stream.accounted.covers(*span)]


def _acks(streams: dict[Name, Stream], touched: Iterable[Name]) -> dict[str, Ack]:
    newest: dict[str, int] = {}
    for (gateway, _), stream in streams.items():
        newest[gateway] = max(stream.ordinal, newest.get(gateway, 0))
    return {name[0]: streams[name].ack(name[1]) for name in touched if streams[name].ordinal == newest[name[0]]}


def missing(connection: Connection) -> dict[Name, Stream]:
    """The newest epoch of each gateway that misses something."""
    s, newer = schema.stream.c, schema.stream.alias().c
    later = select(newer.ordinal).where(newer.gateway == s.gateway, newer.ordinal > s.ordinal).exists()
    query = select(schema.stream).where(or_(s.upto < s.top, s.low > s.top + 1), ~later)
    return {(row.gateway, row.epoch): stream_of(row) for row in connection.execute(query)}


def give_up(store: CentralStore, lost: dict[Name, list[Span]], now_ms: int) -> None:
    """Numbers that were asked for in vain count as received from now on, and a person is told."""

    def work(connection: Connection) -> None:
        for name, spans in lost.items():
            [row] = connection.execute(
                select(schema.stream).where(schema.stream.c.gateway == name[0], schema.stream.c.epoch == name[1])
            )
            stream = stream_of(row)
            gone = [span for span in spans if not any(n in stream.accounted for n in span)]
            note_dropped(connection, name, stream, gone, "lost")
            store.upsert(connection, schema.stream, [stream_row(name, stream, row.heard_ms)])
            for first, last in gone:
                text = f"numbers {first} to {last} of epoch {name[1]} were asked for in vain: the gateway has them no more"
                findings.add(connection, name[0], "numbers_lost", f"{name[1]}:{first}-{last}", text, now_ms)

    store.write(work)
