"""Commands as the centre gives them: written before they leave, counted per key and gateway for ever, followed to their end."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from joserfc.jwk import OKPKey
from sqlalchemy import Connection, Row, insert, or_, select, update

from gateway.central import audit, schema
from gateway.central.schema import UNSIGNED
from gateway.central.store import CentralStore
from protocols.uplink import signing
from protocols.uplink.commands import EXPIRING, Command, decode_command
from protocols.uplink.messages import BadMessage
from protocols.uplink.moments import format_moment

NEW = "new"
"""State of an order of which its gateway has not said anything."""

AGAIN_S = (30, 60, 300, 900)
"""An order of which nothing is heard is sent again after these pauses, the last one for ever: brokers forget, and the same id is
the same command."""

MONEY = frozenset({"topup", "refund"})
"""Verbs that move money: who gave them by hand stands in the audit log; vouchers stand there with their payment."""

AT_ONCE = 500
"""Orders written or sent in one go: what a second brings when a utility sends its lists."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A key of ours and the id under which gateways know it."""

    kid: str
    key: OKPKey = field(repr=False)

    def sign(self, payload: bytes) -> bytes:
        """The compact JWS."""
        return signing.sign(payload, self.kid, self.key)


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a gateway. id: made up when None; the same id again is the same command.

    meter, account (a pseudonym), or neither, as the verb has it. lives_s: until it expires, for verbs that do.
    """

    verb: str
    gateway: str
    meter: str | None = None
    account: str | None = None
    args: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""
    id: str | None = None
    lives_s: int = 300


@dataclass(frozen=True, slots=True)
class Written:
    """An order in the store. token: as it leaves; final, state, reason: what the gateway last said."""

    id: str
    gateway: str
    token: bytes
    state: str = NEW
    final: bool = False
    reason: str | None = None


def write(store: CentralStore, orders: Sequence[Order], signer: Signer | None, now_ms: int) -> list[Written]:
    """Writes orders down in one transaction, signed, each with the next counter of its gateway; a known id gives what was written.

    signer None: unsigned, for gateways that take that from a broker on loopback. BadMessage: one of them is none that a gateway
    would take; none was written.
    """

    def work(connection: Connection) -> list[Written]:
        known = _known(connection, [order.id for order in orders if order.id is not None])
        written = add(store, connection, orders, signer, now_ms)
        for order, one in zip(orders, written, strict=True):
            if order.verb in MONEY and one.id not in known:
                who = f"key:{UNSIGNED if signer is None else signer.kid}"
                said = {"gateway": order.gateway, "account": order.account or "", "reason": order.reason}
                said |= {name: str(value) for name, value in order.args.items()}
                audit.add(connection, now_ms, who, f"order_{order.verb}", one.id, said)
        return written

    return store.write(work)


def add(store: CentralStore, connection: Connection, orders: Sequence[Order], signer: Signer | None, now_ms: int) -> list[Written]:
    """As `write`, within a transaction."""
    kid = UNSIGNED if signer is None else signer.kid
    known = _known(connection, [order.id for order in orders if order.id is not None])
    counters = _counters(connection, kid, {order.gateway for order in orders})
    written: list[Written] = []
    rows = []
    for order in orders:
        if order.id is not None and order.id in known:
            written.append(known[order.id])
            continue
        counters[order.gateway] = counters.get(order.gateway, 0) + 1
        command = _command(order, counters[order.gateway], now_ms)
        payload = _checked(command)
        token = payload if signer is None else signer.sign(payload)
        one = Written(command.id, order.gateway, token)
        known[command.id] = one
        written.append(one)
        rows.append(_row(order, command, kid, token, now_ms))
    if rows:
        connection.execute(insert(schema.order), rows)
        used = {str(row["gateway"]) for row in rows}
        store.upsert(connection, schema.counter, [{"kid": kid, "gateway": g, "last": counters[g]} for g in sorted(used)])
    return written


def _known(connection: Connection, ids: Sequence[str]) -> dict[str, Written]:
    if not ids:
        return {}
    o = schema.order.c
    query = select(o.id, o.gateway, o.payload, o.state, o.final, o.reason).where(o.id.in_(ids))
    return {row.id: _written(row) for row in connection.execute(query)}


def _written(row: Row[Any, Any, Any, Any, Any, Any]) -> Written:
    return Written(row.id, row.gateway, row.payload.encode(), row.state, bool(row.final), row.reason)


def _counters(connection: Connection, kid: str, gateways: set[str]) -> dict[str, int]:
    c = schema.counter.c
    query = select(c.gateway, c.last).where(c.kid == kid, c.gateway.in_(gateways))
    return {gateway: last for gateway, last in connection.execute(query)}


def _command(order: Order, counter: int, now_ms: int) -> Command:
    expires = format_moment(now_ms + order.lives_s * 1000) if order.verb in EXPIRING else None
    try:
        return _built(order, counter, expires, now_ms)
    except (ValueError, msgspec.ValidationError) as wrong:
        raise BadMessage(f"this {order.verb} is wrong: {wrong}", order.id) from None


def _built(order: Order, counter: int, expires: str | None, now_ms: int) -> Command:
    return Command(
        id=order.id or f"c-{secrets.token_hex(8)}",
        gateway=order.gateway,
        verb=order.verb,
        meter=order.meter,
        account=order.account,
        args=dict(order.args),
        issued_at=format_moment(now_ms),
        expires_at=expires,
        reason=order.reason,
        counter=counter,
    )


def _checked(command: Command) -> bytes:
    payload = msgspec.json.encode(command)
    decode_command(payload)  # what a gateway would refuse does not leave
    return payload


def _row(order: Order, command: Command, kid: str, token: bytes, now_ms: int) -> dict[str, object]:
    return {
        "id": command.id,
        "gateway": order.gateway,
        "kid": kid,
        "counter": command.counter,
        "verb": order.verb,
        "payload": token.decode(),
        "made_ms": now_ms,
        "expires_ms": now_ms + order.lives_s * 1000 if command.expires_at else None,
        "sent_ms": None,
        "tries": 0,
        "state": NEW,
        "final": False,
    }


def due(connection: Connection, now_ms: int) -> list[Written]:
    """Orders to be sent now: those that have not left, and those of which nothing was heard; none that has expired."""
    o = schema.order.c
    silent = [(o.tries == tries) & (o.sent_ms <= now_ms - AGAIN_S[tries - 1] * 1000) for tries in range(1, len(AGAIN_S))]
    silent.append((o.tries >= len(AGAIN_S)) & (o.sent_ms <= now_ms - AGAIN_S[-1] * 1000))
    query = (
        select(o.id, o.gateway, o.payload, o.state, o.final, o.reason)
        .where(
            o.final.is_(False),
            o.state == NEW,
            or_(o.expires_ms.is_(None), o.expires_ms > now_ms),
            or_(o.sent_ms.is_(None), *silent),
        )
        .order_by(o.made_ms, o.counter)
        .limit(AT_ONCE)
    )
    return [_written(row) for row in connection.execute(query)]


def mark_sent(store: CentralStore, ids: Sequence[str], now_ms: int) -> None:
    """The broker has them."""
    if not ids:
        return
    o = schema.order.c
    statement = update(schema.order).where(o.id.in_(ids)).values(sent_ms=now_ms, tries=o.tries + 1)
    store.write(lambda connection: connection.execute(statement))


def state(connection: Connection, id: str) -> Written | None:
    """An order as it stands."""
    return _known(connection, [id]).get(id)
