"""The central system's store on SQLite or PostgreSQL: every message once, and then what it says (schema.py)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Table, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from gateway.adapters.store.engine import Database, StoreError, open_database
from gateway.central import schema
from gateway.central.arrivals import Arrival, Unreadable
from gateway.central.ranges import Ranges
from protocols.uplink.messages import BalanceMessage, EventMessage, ReadingMessage, ResultMessage
from protocols.uplink.moments import parse_moment

T = TypeVar("T")
Stream = tuple[str, str]
Row = dict[str, object]


class StoreUnusable(Exception):
    """The store cannot be used; the text is one sentence."""


class StoreFailed(StoreUnusable):
    """The store cannot do this now; nothing of it happened. The text is one sentence."""


class StoreBroken(StoreFailed):
    """What is on the disk is no longer known: the process must stop."""


class CentralStore:
    """An open store. All calls block; the caller keeps them in one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = postgresql if database.url.get_backend_name() == "postgresql" else sqlite

    @classmethod
    def open(cls, url_or_path: str) -> CentralStore:
        """Opens it, creates the tables that are missing. StoreUnusable when that cannot be."""
        try:
            store = cls(open_database(url_or_path))
        except StoreError as problem:
            raise StoreUnusable(str(problem)) from None
        try:
            store._within(store._prepare)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Closes all connections."""
        self._database.close()

    def save(self, arrivals: Sequence[Arrival]) -> int:
        """Stores what is new among them in one transaction, durably; how many were new. StoreFailed: none was stored."""
        return self._within(lambda connection: self._save(connection, arrivals))

    def received(self) -> dict[Stream, Ranges]:
        """The numbers that are here, of every gateway and epoch. Reads an index over all messages."""
        m = schema.message.c
        island = m.seq - func.row_number().over(partition_by=(m.gateway, m.epoch), order_by=m.seq)
        numbered = select(m.gateway, m.epoch, m.seq, island.label("island")).subquery().c
        query = select(numbered.gateway, numbered.epoch, func.min(numbered.seq), func.max(numbered.seq)).group_by(
            numbered.gateway, numbered.epoch, numbered.island
        )
        found: dict[Stream, Ranges] = {}
        with self._database.reader.connect() as connection:
            for gateway, epoch, first, last in connection.execute(query):
                found.setdefault((gateway, epoch), Ranges()).add(first, last)
        return found

    def save_state(self, gateway: str, state: str, at_ms: int) -> None:
        """The newest state that a gateway or its broker told."""
        row = {"gateway": gateway, "state": state, "at_ms": at_ms}
        statement = self._dialect.insert(schema.gateway).values(row)
        self._within(lambda c: c.execute(statement.on_conflict_do_update(index_elements=["gateway"], set_=row)))

    def add_command(self, command: str, gateway: str, sent_ms: int, payload: Callable[[int], str]) -> str:
        """Writes a command down before it leaves, with the next counter of its gateway; a known id gives what was sent then."""

        def add(connection: Connection) -> str:
            c = schema.command.c
            known = connection.scalar(select(c.payload).where(c.id == command))
            if known is not None:
                return str(known)
            counter = (connection.scalar(select(func.max(c.counter)).where(c.gateway == gateway)) or 0) + 1
            text = payload(counter)
            row = {"id": command, "gateway": gateway, "counter": counter, "payload": text, "sent_ms": sent_ms}
            connection.execute(insert(schema.command).values(row))
            return text

        return self._within(add)

    def _within(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._database.writer.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            trouble = self._database.judge(error.orig) if error.orig is not None else None
            if trouble is None:
                raise
            raise (StoreBroken if trouble.fatal else StoreFailed)(trouble.sentence) from error

    def _prepare(self, connection: Connection) -> None:
        schema.metadata.create_all(connection)
        version = connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == "schema"))
        if version is None:
            connection.execute(insert(schema.meta).values(key="schema", value=schema.VERSION))
        elif version in schema.OLDER:
            for statement in schema.OLDER[version]:
                connection.execute(text(statement))
            connection.execute(update(schema.meta).where(schema.meta.c.key == "schema").values(value=schema.VERSION))
        elif version != schema.VERSION:
            raise StoreUnusable(f"the central store has schema {version}, we know {schema.VERSION}: use a newer wattgate")

    def _save(self, connection: Connection, arrivals: Sequence[Arrival]) -> int:
        by_number = {(*a.stream, a.envelope.seq): a for a in reversed(arrivals)}  # the first of equals stands
        rows = [_message(a) for a in by_number.values()]
        m = schema.message.c
        statement = self._dialect.insert(schema.message).on_conflict_do_nothing().returning(m.id, m.gateway, m.epoch, m.seq)
        new = [(number, by_number[gateway, epoch, seq]) for number, gateway, epoch, seq in connection.execute(statement, rows)]
        contents: dict[Table, list[Row]] = {}
        for number, arrival in new:
            for table, row in _content(number, arrival):
                contents.setdefault(table, []).append(row)
        for table, rows in contents.items():
            connection.execute(insert(table), rows)
        return len(new)


def _message(a: Arrival) -> Row:
    return {
        "gateway": a.where.gateway,
        "epoch": a.envelope.epoch,
        "seq": a.envelope.seq,
        "kind": a.where.kind.value,
        "subject": a.where.subject,
        "backlog": a.envelope.backlog,
        "received_ms": a.received_ms,
    }


def _content(number: int, arrival: Arrival) -> list[tuple[Table, Row]]:
    said, gateway, subject = arrival.content, arrival.where.gateway, arrival.where.subject
    row: Row = {"message": number, "gateway": gateway}
    match said:
        case ReadingMessage():
            items = [(schema.item, _item(number, position, said)) for position in range(len(said.items))]
            return [(schema.reading, row | _reading(subject, said)), *items]
        case EventMessage():
            data = {"kind": said.kind, "at_ms": parse_moment(said.at), "data": json.dumps(said.data, ensure_ascii=False)}
            return [(schema.event, row | data | {"meter": said.meter, "account": said.account})]
        case BalanceMessage():
            data = {"balance": said.balance, "currency": said.currency, "credit": said.credit, "at_ms": parse_moment(said.at)}
            return [(schema.balance, row | data | {"account": subject})]
        case ResultMessage():
            return [(schema.result, row | _result(said))]
        case Unreadable(why, payload):
            return [(schema.unreadable, {"message": number, "why": why, "payload": payload})]


def _reading(meter: str, said: ReadingMessage) -> Row:
    return {
        "meter": meter,
        "point": said.point,
        "quality": said.quality,
        "source": said.source,
        "asked_ms": parse_moment(said.asked),
        "answered_ms": parse_moment(said.answered),
        "stored_ms": parse_moment(said.stored),
        "taken_ms": None if said.taken is None else parse_moment(said.taken),
    }


def _item(number: int, position: int, said: ReadingMessage) -> Row:
    item = said.items[position]
    return {
        "message": number,
        "position": position,
        "quantity": item.quantity,
        "obis": item.obis,
        "value": item.value,
        "unit": item.unit,
    }


def _result(said: ResultMessage) -> Row:
    return {
        "command": said.command,
        "meter": said.meter,
        "verb": said.verb,
        "cause": said.cause,
        "origin": said.origin,
        "state": said.state,
        "final": said.final,
        "evidence": json.dumps(said.evidence),
        "reason": said.reason,
        "at_ms": parse_moment(said.at),
    }
