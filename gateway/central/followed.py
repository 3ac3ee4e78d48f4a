"""What gateways say of the centre's own commands: their state, and what that means for the money of a voucher."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Boolean, Connection, bindparam, or_, update

from gateway.central import schema, vouchers
from gateway.central.arrivals import Arrival
from gateway.central.store import CentralStore
from protocols.uplink.messages import EventMessage, ResultMessage
from protocols.uplink.moments import parse_moment

_o = schema.order.c

_FOLLOW = (
    update(schema.order)
    .where(_o.id == bindparam("order_id"), _o.gateway == bindparam("at_gateway"), _o.final.is_(False))
    .where(or_(bindparam("is_final", type_=Boolean), _o.state_ms.is_(None), _o.state_ms <= bindparam("said_ms")))
    .values(
        state=bindparam("said"), final=bindparam("is_final", type_=Boolean), state_ms=bindparam("said_ms"), reason=bindparam("why")
    )
)
"""The final state stays; of others the newest by the gateway's own time."""


def results(store: CentralStore, connection: Connection, new: Sequence[Arrival]) -> None:
    """Takes over what is new of orders and payments of ours, in its order; what another gateway says counts for nothing."""
    said = sorted(new, key=lambda a: a.envelope.seq)
    if rows := [_row(a.where.gateway, a.content) for a in said if isinstance(a.content, ResultMessage)]:
        connection.execute(_FOLLOW, rows)
    for a in said:
        if isinstance(a.content, ResultMessage):
            vouchers.result(connection, a.where.gateway, a.content, a.received_ms)
        elif isinstance(a.content, EventMessage) and a.content.kind == vouchers.UNDONE:
            vouchers.event(connection, a.where.gateway, a.content, a.received_ms)


def _row(gateway: str, said: ResultMessage) -> dict[str, object]:
    return {
        "order_id": said.command,
        "at_gateway": gateway,
        "said": said.state,
        "is_final": said.final,
        "said_ms": parse_moment(said.at),
        "why": said.reason,
    }
