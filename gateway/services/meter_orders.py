"""Orders that move no switch: a meter's alarm, and protection in the meter itself (prepayment.md 3, 4, 10; dlt645.md 5).

They live like a cut or a restore and are proved by the meter's own bit. What is uncertain is read, and may be sent again.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.events import EventKind, Json
from gateway.domain.jobs import Failed, Outcome
from gateway.domain.meters import Meter
from gateway.domain.requests import SupplyOrder, valid_id
from gateway.domain.signs import ABLE, VERBS, Sign, proof, sign_of
from gateway.domain.supply import (
    MAX_ATTEMPTS,
    MAX_READBACKS,
    READBACK_PAUSE_MS,
    READS_BEFORE_REPEAT,
    SILENT_PAUSE_MS,
    Command,
    CommandEvent,
    CommandState,
)
from gateway.services import announce
from gateway.services.permit_cut import audited
from gateway.services.ports import SupplyAnswer, Tx
from gateway.services.switching import OF_RULES, step

SILENT = "the meter has been silent since, and its time is over: whether it took the order is not known"
UNHEEDED = "the meter does not show what was ordered"
UNHEARD = "the meter never acknowledged the order, and has nothing that would show it"


def order_sign(tx: Tx, order: SupplyOrder, now_ms: int) -> SupplyAnswer:
    """Queue an order to the meter itself, in the place of one that asks for the opposite. The same id gives the same command again.

    One of the same that is under way is not doubled. Protection is the account's: nobody orders it for one meter alone.
    """
    known = tx.command(order.id)
    if known is not None:
        same = (known.meter, known.verb) == (order.meter, order.verb)
        return SupplyAnswer(known, None if same else f"command {order.id} is known with another content")
    meter = tx.meter(order.meter)
    refused = _form(meter, order, now_ms)
    if meter is None or refused is not None:
        return SupplyAnswer(None, refused)
    sign = sign_of(order.verb)
    for other in tx.open_commands(meter=meter.id):
        if other.verb is order.verb:
            return SupplyAnswer(other)
        if other.verb in VERBS[sign]:
            step(tx, other, CommandEvent.SUPERSEDED, now_ms, reason="a later order asks for the opposite")
    return SupplyAnswer(_queue(tx, meter, order, now_ms))


def finish_sign(tx: Tx, command_id: str, outcome: Outcome, now_ms: int) -> None:
    """Write down what the meter shows and what that proves about the order."""
    command = tx.command(command_id)
    if command is None or command.state not in (CommandState.ACKNOWLEDGED, CommandState.UNCERTAIN):
        return
    if isinstance(outcome, Failed) or outcome.signs is None:
        if now_ms >= command.expires_ms:
            _fail(tx, command, SILENT, now_ms)
        else:
            tx.save_command(replace(command, read_at_ms=now_ms + SILENT_PAUSE_MS))
        return
    happened, evidence = proof(command.verb, outcome.signs)
    acknowledged = command.state is CommandState.ACKNOWLEDGED
    if happened is CommandEvent.SEEN_UNMOVED or (happened is CommandEvent.PROVES_NOTHING and not acknowledged):
        _unmoved(tx, command, now_ms, blind=happened is CommandEvent.PROVES_NOTHING)
        return
    done = step(tx, command, happened, now_ms, evidence=evidence)
    told: dict[str, Json] = {"command": done.id, "verb": done.verb.value, "evidence": list(evidence)}
    announce.event(tx, EventKind.METER_TOLD, now_ms, meter=done.meter, account=done.account, **told)


def _form(meter: Meter | None, order: SupplyOrder, now_ms: int) -> str | None:
    if not valid_id(order.id):
        return "a command id is 1 to 64 letters, digits, _ or -"
    if meter is None:
        return f"meter {order.meter} is not in the archive"
    if meter.protocol not in ABLE:
        return f"meter {meter.id} ({meter.protocol}) has nothing by which it could be told: {order.verb}"
    if sign_of(order.verb) is Sign.PROTECT and order.origin not in OF_RULES:
        return "protection is asked for an account, with in_meter, and not for one meter"
    return "the order is expired" if order.expires_ms <= now_ms else None


def _queue(tx: Tx, meter: Meter, order: SupplyOrder, now_ms: int) -> Command:
    command = Command(
        id=order.id,
        meter=meter.id,
        line=meter.line,
        account=meter.account,
        verb=order.verb,
        cause=order.cause,
        origin=order.origin,
        state=CommandState.QUEUED,
        created_ms=now_ms,
        expires_ms=order.expires_ms,
        changed_ms=now_ms,
    )
    tx.add_command(command)
    announce.result(tx, command)
    data = {"command": command.id, "cause": command.cause}
    audited(tx, now_ms, order.who or order.origin, f"order_{order.verb}", meter.id, data)  # it takes no supply: also on a full disk
    return command


def _unmoved(tx: Tx, command: Command, now_ms: int, *, blind: bool) -> None:
    """The bit is not as ordered: look again, send again what nobody acknowledged, or give up. blind: the meter has no such bit."""
    looked = replace(command, readbacks=command.readbacks + 1)
    acknowledged = command.state is CommandState.ACKNOWLEDGED
    if not blind and looked.readbacks < (MAX_READBACKS if acknowledged else READS_BEFORE_REPEAT):
        step(tx, looked, CommandEvent.SEEN_UNMOVED, now_ms, read_at_ms=now_ms + READBACK_PAUSE_MS)
    elif acknowledged:
        _fail(tx, looked, UNHEEDED, now_ms)
    elif now_ms >= command.expires_ms:
        step(tx, looked, CommandEvent.EXPIRED, now_ms, reason="its expiry passed while its outcome was unknown")
    elif command.attempts < MAX_ATTEMPTS:
        step(tx, looked, CommandEvent.TRY_AGAIN, now_ms)
    else:
        _fail(tx, looked, UNHEARD if blind else UNHEEDED, now_ms)


def _fail(tx: Tx, command: Command, why: str, now_ms: int) -> None:
    failed = step(tx, command, CommandEvent.GIVEN_UP, now_ms, reason=why)
    told = {"command": failed.id, "verb": failed.verb.value, "state": failed.state.value, "reason": why}
    announce.event(tx, EventKind.COMMAND_FAILED, now_ms, meter=failed.meter, account=failed.account, **told)
