"""Events, and messages on their way to the centre under dense numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Integer, bindparam, delete, func, select, update

from gateway.adapters.store import schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.heads import ACKNOWLEDGED, DROPPED, OUTBOX, PUBLISHED, REMOVED, Heads
from gateway.adapters.store.later import Later
from gateway.adapters.store.statements import Part, Row, Rows, Session, Statement, Value
from gateway.domain.events import Event, EventKind, Outgoing, Topic
from gateway.domain.records import OutboxClass, OutboxRow, OutboxSize, OutboxState, StoredEvent

_e, _o = schema.event.c, schema.outbox.c
_most = bindparam("most", type_=Integer)
_range = _o.seq.between(bindparam("first"), bindparam("last"))

ADD_EVENT = Rows(schema.event, ("kind", "at_ms", "meter", "account", "data"))
_newest = select(schema.event).order_by(_e.id.desc()).limit(_most)
EVENTS = Statement(_newest)
EVENTS_BEFORE = Statement(_newest.where(_e.id < bindparam("before")))

ADD_OUTGOING = Rows(schema.outbox, ("seq", "topic", "subject", "at_ms", "body"))
WAITING = Statement(
    select(schema.outbox).where(_o.acknowledged_ms.is_(None), _o.seq > bindparam("after")).order_by(_o.seq).limit(_most)
)
NEWS = Statement(
    select(schema.outbox).where(_o.seq > bindparam("after"), _o.seq <= bindparam("upto")).order_by(_o.seq).limit(_most)
)
LOW = Statement(select(func.min(_o.seq)).where(_o.acknowledged_ms.is_(None)))
NEW_IN_RANGE = Statement(select(func.count()).select_from(schema.outbox).where(_o.published_ms.is_(None), _range))
PUBLISH = Statement(update(schema.outbox).where(_range).values(published_ms=bindparam("at")))
ACKNOWLEDGE = Statement(update(schema.outbox).where(_o.acknowledged_ms.is_(None), _range).values(acknowledged_ms=bindparam("at")))
_here = _o.acknowledged_ms.is_(None)
_length = func.coalesce(func.sum(func.length(_o.body)), 0)
CLASSES = Statement(select(_o.topic, func.count(), func.min(_o.seq)).where(_here).group_by(_o.topic).order_by(_o.topic))
AT = Statement(select(_o.at_ms).where(_o.seq == bindparam("number")))
WAITING_BETWEEN = Statement(select(func.count()).select_from(schema.outbox).where(_here, _range))
WAITING_OF = Statement(
    select(schema.outbox)
    .where(_here, _o.topic == bindparam("of_topic"), _o.seq > bindparam("after"))
    .order_by(_o.seq)
    .limit(_most)
)
_safe = (_o.acknowledged_ms < bindparam("before_ms")) & (_o.topic == bindparam("of_topic"))
_oldest = select(_o.seq).where(_safe).order_by(_o.seq).limit(_most)
LENGTH_ACKNOWLEDGED = Statement(select(_length).where(_o.seq.in_(_oldest)))
DROP_ACKNOWLEDGED = Statement(delete(schema.outbox).where(_o.seq.in_(_oldest)))
LENGTH = Statement(select(_length).where(_here, _range))
DROP = Statement(delete(schema.outbox).where(_here, _range))


class Outbox(Part):
    """The share of events and messages in a transaction."""

    _heads: Heads

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._new_rows = Later(lambda rows: session.insert(ADD_OUTGOING, rows))
        self._new_events = Later(lambda rows: session.insert(ADD_EVENT, rows))

    def add_event(self, event: Event) -> None:
        self._new_events.add(event.kind, event.at_ms, event.meter, event.account, encode(event.data))

    def events(self, limit: int, before: int | None = None) -> Sequence[StoredEvent]:
        self._new_events.flush()
        if before is None:
            return [_event(row) for row in self._session.rows(EVENTS, most=limit)]
        return [_event(row) for row in self._session.rows(EVENTS_BEFORE, most=limit, before=before)]

    def add_outgoing(self, message: Outgoing) -> int:
        last, length = self._heads.get(OUTBOX)
        body = encode(message.body)
        self._new_rows.add(last + 1, message.topic, message.subject, message.at_ms, body)
        self._heads.move(OUTBOX, last + 1, str(int(length or 0) + len(body)))
        return last + 1

    def outgoing(self, after: int, limit: int) -> Sequence[OutboxRow]:
        self._new_rows.flush()
        return [_outgoing(row) for row in self._session.rows(WAITING, after=after, most=limit)]

    def news(self, after: int, upto: int, limit: int) -> Sequence[OutboxRow]:
        self._new_rows.flush()
        return [_outgoing(row) for row in self._session.rows(NEWS, after=after, upto=upto, most=limit)]

    def mark_published(self, seqs: Iterable[int], at_ms: int) -> None:
        """Sending again renews the time; it counts as published once."""
        self._new_rows.flush()
        new = 0
        for first, last in _runs(seqs):
            [(count,)] = self._session.rows(NEW_IN_RANGE, first=first, last=last)
            new += count
            self._session.change(PUBLISH, first=first, last=last, at=at_ms)
        self._count(PUBLISHED, new)

    def acknowledge(self, upto: int, also: Iterable[tuple[int, int]], at_ms: int) -> int:
        self._new_rows.flush()
        ranges = [(0, upto), *also]
        new = sum(self._session.change(ACKNOWLEDGE, first=first, last=last, at=at_ms) for first, last in ranges)
        self._count(ACKNOWLEDGED, new)
        return new

    def outbox_state(self) -> OutboxState:
        self._new_rows.flush()
        names = (OUTBOX, PUBLISHED, ACKNOWLEDGED, DROPPED)
        last, published, acknowledged, dropped = (self._heads.get(name)[0] for name in names)
        [(low,)] = self._session.rows(LOW)
        low = last + 1 if low is None else int(low)
        return OutboxState(last, low, last - acknowledged - dropped, published, acknowledged, dropped)

    def outbox_size(self) -> OutboxSize:
        (last, length), (gone, gone_length) = self._heads.get(OUTBOX), self._heads.get(REMOVED)
        return OutboxSize(last - gone, int(length or 0) - int(gone_length or 0))

    def outbox_classes(self) -> Sequence[OutboxClass]:
        self._new_rows.flush()
        found = []
        for topic, count, lowest in self._session.rows(CLASSES):
            [(at_ms,)] = self._session.rows(AT, number=lowest)
            found.append(OutboxClass(Topic(topic), count, at_ms))
        return found

    def waiting_between(self, first: int, last: int) -> int:
        self._new_rows.flush()
        [(count,)] = self._session.rows(WAITING_BETWEEN, first=first, last=last)
        return int(count)

    def waiting_of(self, topic: Topic, after: int, limit: int) -> Sequence[OutboxRow]:
        self._new_rows.flush()
        return [_outgoing(row) for row in self._session.rows(WAITING_OF, of_topic=topic, after=after, most=limit)]

    def drop_outgoing(self, seqs: Sequence[int]) -> int:
        self._new_rows.flush()
        gone = 0
        for first, last in _runs(seqs):
            [(length,)] = self._session.rows(LENGTH, first=first, last=last)
            gone += self._removed(self._session.change(DROP, first=first, last=last), int(length))
        self._count(DROPPED, gone)
        return gone

    def drop_acknowledged(self, topics: Iterable[Topic], before_ms: int, limit: int) -> int:
        self._new_rows.flush()
        gone = 0
        for topic in topics:
            share: dict[str, Value] = {"of_topic": topic, "before_ms": before_ms, "most": limit - gone}
            [(length,)] = self._session.rows(LENGTH_ACKNOWLEDGED, **share)
            gone += self._removed(self._session.change(DROP_ACKNOWLEDGED, **share), int(length))
        return gone

    def _removed(self, rows: int, length: int) -> int:
        if rows:
            before, before_length = self._heads.get(REMOVED)
            self._heads.move(REMOVED, before + rows, str(int(before_length or 0) + length))
        return rows

    def _count(self, name: str, more: int) -> None:
        if more:
            self._heads.move(name, self._heads.get(name)[0] + more)


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The numbers as inclusive ranges without holes, so that a statement takes many of them at once."""
    first = last = None
    for number in sorted(set(numbers)):
        if first is not None and last is not None and number == last + 1:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = number
    if first is not None and last is not None:
        yield first, last


def _event(row: Row) -> StoredEvent:
    number, kind, at_ms, meter, account, data = row
    return StoredEvent(number, Event(EventKind(kind), at_ms, meter, account, decode(data, dict[str, Any])))


def _outgoing(row: Row) -> OutboxRow:
    seq, topic, subject, at_ms, body, published_ms, acknowledged_ms = row
    return OutboxRow(seq, Outgoing(Topic(topic), subject, at_ms, decode(body, dict[str, Any])), published_ms, acknowledged_ms)
