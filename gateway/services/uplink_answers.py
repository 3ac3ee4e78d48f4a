"""What an order of the centre was answered: kept for ever under its id, sent up at every change and when it comes again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.domain.approvals import Approval, ApprovalState
from gateway.domain.events import EventKind, Json, Outgoing, Topic
from gateway.domain.incoming import IncomingCommand
from gateway.domain.supply import FINAL, Command, CommandState
from gateway.domain.uplink_keys import Why
from gateway.domain.uplink_orders import LATER, ORDERED, UplinkOrder, args_text
from gateway.services import announce
from gateway.services.ports import JsonObject, Tx

ORIGIN = "uplink"

QUEUED, QUARANTINED = CommandState.QUEUED, CommandState.QUARANTINED


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a command. command: the record at a meter, where there is one. why, refused: of a refusal. again: its id was
    known. later: it is being done, or waits for a second person."""

    command: Command | None = None
    refused: str | None = None
    why: Why | None = None
    again: bool = False
    later: bool = False


def record(
    tx: Tx, command: IncomingCommand, state: str, now_ms: int, code: str = "", reason: str = "", answer: JsonObject | None = None
) -> UplinkOrder:
    """Keep the order with its first state. It is told, but for one whose life goes on as a command at a meter."""
    order = UplinkOrder(
        command.id,
        command.kid,
        command.counter,
        command.verb,
        command.meter,
        command.account,
        command.digest,
        command.issued_ms,
        command.expires_ms,
        now_ms,
        args_text(command.args, command.reply),
        command.reason,
        command.token,
        state,
        now_ms,
        code,
        reason,
        json.dumps(answer or {}, sort_keys=True),
    )
    tx.add_uplink_order(order)
    if state != ORDERED:
        tell(tx, order, now_ms, command.cause)
    return order


def conclude(
    tx: Tx, order: UplinkOrder, state: CommandState, now_ms: int, code: str = "", reason: str = "", answer: JsonObject | None = None
) -> None:
    """The answer to an order that waited, or its next state."""
    changed = replace(
        order, state=state.value, changed_ms=now_ms, code=code, reason=reason, answer=json.dumps(answer or {}, sort_keys=True)
    )
    tx.save_uplink_order(changed)
    tell(tx, changed, now_ms)
    if code:
        tell_refused(tx, order.id, order.kid, order.verb, Why(code), reason, now_ms)


def refuse(tx: Tx, command: IncomingCommand, why: Why, text: str, now_ms: int, answer: JsonObject | None = None) -> Received:
    """Keep a refusal for ever, and tell it."""
    states = {Why.EXPIRED: CommandState.EXPIRED, Why.SUPERSEDED: CommandState.SUPERSEDED}
    record(tx, command, states.get(why, CommandState.REFUSED).value, now_ms, why.value, text, answer)
    tell_refused(tx, command.id, command.kid, command.verb, why, text, now_ms)
    return Received(None, text, why)


def tell_refused(tx: Tx, ident: str | None, kid: str, verb: str | None, why: Why, text: str, now_ms: int) -> None:
    """The event of a refusal. What could not be judged at all has a kind of its own."""
    kind = EventKind.COMMAND_REFUSED if verb is not None else EventKind.COMMAND_UNREADABLE
    announce.event(tx, kind, now_ms, command=ident, verb=verb, key=kid or None, code=why.value, reason=text)


def again(tx: Tx, command: IncomingCommand, now_ms: int, may_repeat: Callable[[], bool] = lambda: True) -> Received | None:
    """The answer to a known id, sent up again where that may be; None for an id never seen. Another content under it is an event,
    and changes nothing."""
    order = tx.uplink_order(command.id)
    if order is None:
        return _from_before(tx, command.id, now_ms)
    if order.digest != command.digest:
        text = f"command {command.id} is known with another content"
        tell_refused(tx, command.id, command.kid, command.verb, Why.KNOWN_ID, text, now_ms)
        return replace(repeat(tx, order, now_ms), refused=text, why=Why.KNOWN_ID)
    return repeat(tx, order, now_ms) if may_repeat() else Received(again=True)


def repeat(tx: Tx, order: UplinkOrder, now_ms: int) -> Received:
    """Send the state of an order up once more."""
    found = tx.command(order.id)
    if found is not None and order.state == ORDERED:
        announce.result(tx, found)
        return Received(found, again=True)
    tell(tx, order, now_ms)
    why = Why(order.code) if order.code else None
    return Received(None, order.reason or None, why, again=True, later=order.waits)


def tell(tx: Tx, order: UplinkOrder, now_ms: int, cause: str | None = None) -> None:
    """Send an order's state up."""
    state = CommandState(order.state)
    body: dict[str, Json] = {
        "command": order.id,
        "meter": order.meter,
        "verb": order.verb,
        "cause": cause,
        "origin": ORIGIN,
        "state": state.value,
        "final": state in FINAL,
        "evidence": [],
        "reason": announce.unnamed(tx, order.reason) or None,
        "code": order.code or None,
        "answer": json.loads(order.answer),
    }
    tx.add_outgoing(Outgoing(Topic.RESULT, order.id, now_ms, body))


def decided(tx: Tx, approval: Approval, now_ms: int) -> None:
    """An act that the centre asked for was approved, refused, or waited too long: its order is answered."""
    order = tx.uplink_order(approval.id)
    if order is None or order.state != QUARANTINED.value:
        return
    match approval.state:
        case ApprovalState.APPROVED if order.verb in LATER:
            conclude(tx, order, QUEUED, now_ms, reason=f"released by {approval.decided_by}")
        case ApprovalState.APPROVED:
            conclude(tx, order, CommandState.DONE, now_ms, reason=f"released by {approval.decided_by}")
        case ApprovalState.EXPIRED:
            conclude(tx, order, CommandState.EXPIRED, now_ms, Why.EXPIRED.value, "nobody released it in time")
        case ApprovalState.REFUSED:
            conclude(tx, order, CommandState.REFUSED, now_ms, Why.NOT_PERMITTED.value, approval.reason)


def _from_before(tx: Tx, ident: str, now_ms: int) -> Received | None:
    """Answers of versions that kept them elsewhere, and commands that others than the centre named so."""
    command = tx.command(ident)
    if command is not None:
        announce.result(tx, command)
        return Received(command, again=True)
    stored = tx.meta(f"answer:{ident}")
    if stored is None:
        return None
    body: JsonObject = json.loads(stored)
    tx.add_outgoing(Outgoing(Topic.RESULT, ident, now_ms, body))
    return Received(None, str(body["reason"]), Why.NOT_PERMITTED, again=True)


def tell_unknown(tx: Tx, ident: str, text: str, why: Why, now_ms: int) -> None:
    """The answer to what names an id and cannot be read: it is told, and the id stays free for what can."""
    body: dict[str, Json] = {
        "command": ident,
        "meter": None,
        "verb": None,
        "cause": None,
        "origin": ORIGIN,
        "state": CommandState.REFUSED.value,
        "final": True,
        "evidence": [],
        "reason": text,
        "code": why.value,
    }
    tx.add_outgoing(Outgoing(Topic.RESULT, ident, now_ms, body))
