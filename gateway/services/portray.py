"""What is known of meters at this moment, put together for a foreign system (domain/outputs.py)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gateway.domain import ledger
from gateway.domain.events import Topic
from gateway.domain.meters import Account, Meter, SwitchKind
from gateway.domain.outputs import LastOrder, Portrait
from gateway.domain.readings import Billing, primary_w
from gateway.domain.records import LatestItem, OutboxRow
from gateway.domain.supply import Command, CommandState
from gateway.domain.units import format_money
from gateway.services.ports import Tx

POWERS = ("power", "power_a", "power_b", "power_c")
"""Of these a picture holds what flows in front of the transformers."""

Kinds = Mapping[str, tuple[object, ...]]
"""Meters by id, and what they are: cheap to ask for, so that a change is found without a picture of every meter."""


def kinds(tx: Tx, read: Collection[str] | None = None) -> Kinds:
    """What there is now. read: meters that are read; the past of others stays in the store. None: all."""
    currencies = {account.id: account.currency for account in tx.accounts()}
    return {
        m.id: (m.profile, m.address, m.line, m.switch, m.account, currencies.get(m.account or ""))
        for m in tx.meters()
        if read is None or m.id in read
    }


def portray(tx: Tx, meters: Iterable[str], silent: Collection[str] = ()) -> dict[str, Portrait]:
    """Pictures of these meters, of those that are there. silent: who does not answer."""
    found = ((name, tx.meter(name)) for name in meters)
    return {name: _portrait(tx, meter, name not in silent) for name, meter in found if meter is not None}


def concerned(tx: Tx, rows: Iterable[OutboxRow]) -> list[str]:
    """The meters that these rows are about, each once, in the order of the rows."""
    seen: dict[str, None] = {}
    for row in rows:
        message = row.message
        if message.topic is Topic.BALANCE:
            seen |= dict.fromkeys(meter.id for meter in tx.meters_of(message.subject))
        elif message.topic is Topic.READING:
            seen[message.subject] = None
        elif isinstance(meter := message.body.get("meter"), str):
            seen[meter] = None
    return list(seen)


def _portrait(tx: Tx, meter: Meter, answering: bool) -> Portrait:
    items, billing = tx.latest(meter.id), tx.billing(meter.id)
    newest = None if billing is None else billing.newest
    account = tx.account(meter.account) if meter.account is not None else None
    command = tx.last_command(meter.id)
    return Portrait(
        meter=meter.id,
        model=meter.profile,
        serial=meter.address,
        line=meter.line,
        switch=meter.switch is not SwitchKind.NONE,
        items=items,
        energy_wh={} if newest is None else newest.wh,
        power_w=_powers(meter, items),
        doubtful=_doubtful(billing, items),
        desired=meter.desired,
        observed=meter.observed,
        observed_ms=meter.observed_ms,
        account=None if account is None else account.id,
        balance=None if account is None else format_money(_balance(tx, account), account.currency),
        currency=None if account is None else account.currency,
        credit=None if account is None else account.credit.value,
        order=None if command is None else _last_order(command),
        answering=answering,
    )


def _powers(meter: Meter, items: Mapping[str, LatestItem]) -> dict[str, int]:
    found = ((name, items[name].item.value) for name in POWERS if name in items)
    return {name: primary_w(value, meter.ratio) for name, value in found if value is not None}


def _doubtful(billing: Billing | None, items: Mapping[str, LatestItem]) -> frozenset[str]:
    suspect = None if billing is None else billing.suspect
    if suspect is None:
        return frozenset()
    return frozenset(name for name, each in items.items() if name in suspect.wh and each.answered_ms >= suspect.at_ms)


def _balance(tx: Tx, account: Account) -> int:
    return tx.balance(ledger.customer(account.id), account.currency)


def _last_order(command: Command) -> LastOrder:
    state = CommandState.ACKNOWLEDGED if command.state is CommandState.COMMAND_ONLY else command.state
    return LastOrder(command.id, command.verb.value, state.value, command.final, command.reason, command.changed_ms)
