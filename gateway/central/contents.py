"""What a message says, as rows of its table."""

from __future__ import annotations

import json

from sqlalchemy import Table

from gateway.central import schema
from gateway.central.arrivals import Arrival, Unreadable
from protocols.uplink.messages import AnchorMessage, BalanceMessage, EventMessage, ReadingMessage, ResultMessage
from protocols.uplink.moments import parse_moment

Values = tuple[object, ...]

COLUMNS: dict[Table, tuple[str, ...]] = {
    table: tuple(column.name for column in table.columns)
    for table in (
        *(
            schema.message,
            schema.reading,
            schema.item,
            schema.event,
            schema.balance,
            schema.result,
            schema.anchor,
            schema.unreadable,
        ),
    )
}
"""Every table that messages fill, and the order of a row's values: that of the schema."""


def message_row(number: int, a: Arrival) -> Values:
    """The message itself."""
    e, where = a.envelope, a.where
    return number, where.gateway, e.epoch, e.seq, where.kind.value, where.subject, e.backlog, a.received_ms


def content_rows(number: int, arrival: Arrival) -> list[tuple[Table, Values]]:
    """What it says."""
    said, gateway, subject = arrival.content, arrival.where.gateway, arrival.where.subject
    match said:
        case ReadingMessage():
            items = [
                (schema.item, (number, position, i.quantity, i.obis, i.value, i.unit)) for position, i in enumerate(said.items)
            ]
            return [(schema.reading, (number, gateway, subject, *_reading(said))), *items]
        case EventMessage():
            data = json.dumps(said.data, ensure_ascii=False)
            return [(schema.event, (number, gateway, said.meter, said.account, said.kind, parse_moment(said.at), data))]
        case BalanceMessage():
            at_ms = parse_moment(said.at)
            return [(schema.balance, (number, gateway, subject, said.balance, said.currency, said.credit, at_ms))]
        case ResultMessage():
            return [(schema.result, (number, gateway, *_result(said)))]
        case AnchorMessage():
            return [(schema.anchor, (number, gateway, parse_moment(said.at), said.jws))]
        case Unreadable(why, payload):
            return [(schema.unreadable, (number, why, payload))]


def _reading(said: ReadingMessage) -> Values:
    times = tuple(parse_moment(moment) for moment in (said.asked, said.answered, said.stored))
    return said.point, said.quality, said.source, *times, None if said.taken is None else parse_moment(said.taken)


def _result(said: ResultMessage) -> Values:
    what = (said.command, said.meter, said.verb, said.cause, said.origin, said.state, said.final)
    return *what, json.dumps(said.evidence), said.reason, parse_moment(said.at)
