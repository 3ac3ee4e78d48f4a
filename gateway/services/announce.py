"""Events and messages as rows of the same transaction: what is written here is also on its way to the centre."""

from __future__ import annotations

import re

from gateway.domain import ledger
from gateway.domain.events import Event, EventKind, Json, Outgoing, Topic
from gateway.domain.meters import Account
from gateway.domain.readings import Quality, Reading
from gateway.domain.supply import Command, CommandState
from gateway.domain.units import format_money
from gateway.services.ports import Tx

_ACCOUNT = re.compile(r"\baccount ([A-Za-z0-9_-]{1,64})")


def event(tx: Tx, kind: EventKind, at_ms: int, *, meter: str | None = None, account: str | None = None, **data: Json) -> None:
    """Record an event and send it up."""
    tx.add_event(Event(kind, at_ms, meter, account, data))
    told = {name: _told(tx, value) for name, value in data.items()}
    body: dict[str, Json] = {"kind": kind.value, "meter": meter, "account": account, "data": told}
    tx.add_outgoing(Outgoing(Topic.EVENT, meter or "gateway", at_ms, body))


def _told(tx: Tx, value: Json) -> Json:
    if isinstance(value, list):
        return [_told(tx, each) for each in value]
    return unnamed(tx, value) if isinstance(value, str) else value


def unnamed(tx: Tx, text: str) -> str:
    """A sentence of ours for the centre, which knows accounts by pseudonyms only: without the ids of ours (contract.md 5)."""
    if "account " not in text:
        return text
    return _ACCOUNT.sub(lambda found: "account \u2026" if tx.account(found[1]) is not None else found[0], text)


def reading(tx: Tx, read: Reading, point: str, quality: Quality, stored_ms: int) -> None:
    """Send a reading up with its three times, quality and source."""
    items: list[Json] = [
        {
            "quantity": item.quantity,
            "obis": item.obis,
            "value": None if item.value is None else f"{item.value:f}",
            "unit": item.unit,
        }
        for item in read.items
    ]
    body: dict[str, Json] = {
        "point": point,
        "items": items,
        "quality": quality.value,
        "source": read.source.value,
        "asked_ms": read.asked_ms,
        "answered_ms": read.answered_ms,
        "stored_ms": stored_ms,
    }
    if read.taken_ms is not None:
        body["taken_ms"] = read.taken_ms
    tx.add_outgoing(Outgoing(Topic.READING, read.meter, stored_ms, body))


def balance(tx: Tx, account: Account, at_ms: int) -> None:
    """Send an account's balance and credit state up."""
    micro = tx.balance(ledger.customer(account.id), account.currency)
    body: dict[str, Json] = {
        "balance": format_money(micro, account.currency),
        "currency": account.currency,
        "credit": account.credit.value,
    }
    tx.add_outgoing(Outgoing(Topic.BALANCE, account.id, at_ms, body))


def result(tx: Tx, command: Command) -> None:
    """Send a command's new state up; an unproved acknowledgement is called by its name (contract.md 5)."""
    shown = CommandState.ACKNOWLEDGED if command.state is CommandState.COMMAND_ONLY else command.state
    body: dict[str, Json] = {
        "command": command.id,
        "meter": command.meter,
        "verb": command.verb.value,
        "cause": command.cause,
        "origin": command.origin,
        "state": shown.value,
        "final": command.final,
        "evidence": list(command.evidence),
        "reason": command.reason and unnamed(tx, command.reason),
    }
    tx.add_outgoing(Outgoing(Topic.RESULT, command.id, command.changed_ms, body))
