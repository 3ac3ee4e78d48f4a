"""A command from the centre: judged once, recorded, answered; the same id gets the same answer for ever (contract.md 5)."""

from __future__ import annotations

import json

from gateway.domain.events import EventKind, Json, Outgoing, Topic
from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import CommandState, Verb
from gateway.services import announce
from gateway.services.order_supply import order_supply
from gateway.services.ports import JsonObject, Site, SupplyAnswer, Tx

ORIGIN = "uplink"

SERVED = frozenset(verb.value for verb in Verb if verb not in (Verb.PROTECT, Verb.UNPROTECT))
"""Verbs that an uplink command may have here: protection is an account's."""


def receive_command(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> SupplyAnswer:
    """Orders what the command asks for, or refuses it with a reason; in both cases a result is on its way up."""
    if (again := _answer_again(tx, command.id, now_ms)) is not None:
        return again
    if (out_of_place := _foreign_or_late(command, site, now_ms)) is not None:
        state, why = out_of_place
        announce.event(tx, EventKind.COMMAND_UNREADABLE, now_ms, command=command.id, reason=why)
        return _no(tx, command.id, state, why, command, now_ms)
    if command.meter is None or command.verb not in SERVED:
        return _no(tx, command.id, CommandState.REFUSED, _not_served(command), command, now_ms)
    verb = Verb(command.verb)
    cause, said = command.cause or "", command.reason
    order = SupplyOrder(
        command.id, command.meter, verb, cause, ORIGIN, command.expires_ms, ORIGIN, facts=command.facts, reason=said
    )
    answer = order_supply(tx, order, site, now_ms)
    if answer.command is None:
        return _no(tx, command.id, CommandState.REFUSED, answer.refused or "there is nothing to do", command, now_ms)
    if answer.command.id != command.id:
        why = f"command {answer.command.id} is already doing this"
        return _no(tx, command.id, CommandState.SUPERSEDED, why, command, now_ms)
    return answer


def receive_unreadable(tx: Tx, what: UnreadableCommand, now_ms: int) -> None:
    """Records what could not be read or may not count; answers it where it names an id. An id that is known keeps its answer."""
    announce.event(tx, EventKind.COMMAND_UNREADABLE, now_ms, command=what.id, reason=what.why)
    if what.id is not None and _answer_again(tx, what.id, now_ms) is None:
        _no(tx, what.id, CommandState.REFUSED, what.why, None, now_ms)


def _foreign_or_late(command: IncomingCommand, site: Site, now_ms: int) -> tuple[CommandState, str] | None:
    if command.gateway != site.gateway:
        return CommandState.REFUSED, f"the command is for gateway {command.gateway}, this is {site.gateway}"
    if command.expires_ms <= now_ms:
        return CommandState.EXPIRED, "the command came after its expiry"
    return None


def _not_served(command: IncomingCommand) -> str:
    if command.verb not in SERVED:
        return f"the verb {command.verb} is not served; {', '.join(sorted(SERVED))} are"
    return "a command for a whole account is not served; name its meters one by one"


def _answer_again(tx: Tx, command_id: str, now_ms: int) -> SupplyAnswer | None:
    """Sends the answer to a known id up again; None for an id never seen."""
    command = tx.command(command_id)
    if command is not None:
        announce.result(tx, command)
        return SupplyAnswer(command)
    stored = tx.meta(_key(command_id))
    if stored is None:
        return None
    body: JsonObject = json.loads(stored)
    tx.add_outgoing(Outgoing(Topic.RESULT, command_id, now_ms, body))
    return SupplyAnswer(None, str(body["reason"]))


def _no(tx: Tx, command_id: str, state: CommandState, why: str, command: IncomingCommand | None, now_ms: int) -> SupplyAnswer:
    """Remembers a final answer that has no command behind it, and sends it up."""
    body: dict[str, Json] = {
        "command": command_id,
        "meter": command.meter if command else None,
        "verb": command.verb if command else None,
        "cause": command.cause if command else None,
        "origin": ORIGIN,
        "state": state.value,
        "final": True,
        "evidence": [],
        "reason": why,
    }
    tx.set_meta(_key(command_id), json.dumps(body))
    tx.add_outgoing(Outgoing(Topic.RESULT, command_id, now_ms, body))
    return SupplyAnswer(None, why)


def _key(command_id: str) -> str:
    return f"answer:{command_id}"
