"""What brings the tables of an older version to the next one; nothing that was received is lost by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, func, insert, inspect, select, text

from gateway.central import schema
from gateway.central.ranges import Ranges
from gateway.central.streams import to_text


def _nothing(_connection: Connection) -> None:
    pass


def _streams_and_orders(connection: Connection) -> None:
    """Version 3 keeps each stream's numbers in a row, and commands under the key that signed them."""
    rows, epochs = [], dict[str, int]()
    for (gateway, epoch), (here, heard_ms) in _received(connection).items():
        epochs[gateway] = epochs.get(gateway, 0) + 1
        rows.append(
            {
                "gateway": gateway,
                "epoch": epoch,
                "ordinal": epochs[gateway],
                "accounted": to_text(here),
                "low": 1,
                "upto": here.upto,
                "top": here.top,
                "dropped": False,
                "heard_ms": heard_ms,
            }
        )
    if rows:
        connection.execute(insert(schema.stream), rows)
    if inspect(connection).has_table("central_command"):
        for statement in _ORDERS:
            connection.execute(text(statement))


def _bank_front(connection: Connection) -> None:
    """Version 4 signs receipts and keeps why a payment was reversed. Where the table was made just now it has these columns."""
    have = {column["name"] for column in inspect(connection).get_columns(schema.payment.name)}
    for name, kind in _PAYMENT.items():
        if name not in have:
            connection.execute(text(f"ALTER TABLE central_payment ADD COLUMN {name} {kind}"))
    for index in schema.payment.indexes:
        index.create(connection, checkfirst=True)


_PAYMENT = {
    "receipt_jws": "TEXT",
    "reversal_reason": "TEXT NOT NULL DEFAULT ''",
    "reversal_requested": "TEXT NOT NULL DEFAULT ''",
}

_ORDERS = (
    "INSERT INTO central_order (id, gateway, kid, counter, verb, payload, made_ms, sent_ms, tries, state, final)"
    f" SELECT id, gateway, '{schema.UNSIGNED}', counter, '', payload, sent_ms, sent_ms, 1, 'unknown', true FROM central_command",
    f"INSERT INTO central_counter (kid, gateway, last) SELECT '{schema.UNSIGNED}', gateway, max(counter)"
    " FROM central_command GROUP BY gateway",
    "DROP TABLE central_command",
)


def _received(connection: Connection) -> dict[tuple[str, str], tuple[Ranges, int]]:
    """The numbers that are here, of every gateway and epoch, oldest epoch first; and when it was last heard."""
    m = schema.message.c
    island = m.seq - func.row_number().over(partition_by=(m.gateway, m.epoch), order_by=m.seq)
    numbered = select(m.gateway, m.epoch, m.seq, m.received_ms, island.label("island")).subquery().c
    query = select(
        numbered.gateway, numbered.epoch, func.min(numbered.seq), func.max(numbered.seq), func.max(numbered.received_ms)
    ).group_by(numbered.gateway, numbered.epoch, numbered.island)
    found: dict[tuple[str, str], tuple[Ranges, int]] = {}
    for gateway, epoch, first, last, heard_ms in connection.execute(query):
        here, heard = found.get((gateway, epoch), (Ranges(), 0))
        here.add(first, last)
        found[gateway, epoch] = here, max(heard, heard_ms)
    return dict(sorted(found.items(), key=lambda each: each[1][1]))


Step = tuple[str, tuple[str, ...], Callable[[Connection], None]]

STEPS: Mapping[str, Step] = {
    "1": ("2", ("ALTER TABLE central_reading ADD COLUMN taken_ms BIGINT",), _nothing),
    "2": ("3", (), _streams_and_orders),
    "3": ("4", (), _bank_front),
}
"""Version: the next one, statements for it, and what moves the contents."""
