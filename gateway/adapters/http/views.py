"""The shapes that leave over HTTP: money and readings as decimal strings, times as RFC 3339 (contract.md 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from starlette.responses import Response

from gateway.adapters.http.status import MeterStatus
from gateway.domain import ledger
from gateway.domain.ledger import PostedEntry
from gateway.domain.meters import Account, Meter
from gateway.domain.readings import Item
from gateway.domain.records import StoredEvent, StoredReading
from gateway.domain.supply import Command, CommandState
from gateway.domain.units import MICRO, format_money
from gateway.services.ports import Tx

PROBLEM_DOCUMENT: dict[str, object] = {
    "description": "What is wrong, as an RFC 9457 problem document",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "code", "detail", "final", "action"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                    "final": {"type": "boolean", "description": "true: this serial will never be accepted"},
                    "action": {"enum": ["refund_payer", "repeat_same_serial", "query", "fix_request", "call_us"]},
                    "field": {"type": "string"},
                },
            }
        }
    },
}
"""For OpenAPI documents: the one shape of every answer that is not a result."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_json(value: object, status: int = 200) -> Response:
    """A view, or a list of views, as a JSON response that nobody may keep."""
    return Response(msgspec.json.encode(value), status, {"cache-control": "no-store"}, "application/json")


def rfc3339(at_ms: int) -> str:
    """A moment in UTC with milliseconds."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def exact_money(micro: int) -> str:
    """All six decimals: what a ledger entry moved, so that the lines of a statement add up."""
    return f"{'-' if micro < 0 else ''}{abs(micro) // MICRO}.{abs(micro) % MICRO:06d}"


def decimal_text(value: Decimal | None) -> str | None:
    """A register's value with its own resolution, never with an exponent."""
    return None if value is None else f"{value:f}"


@dataclass(frozen=True, slots=True)
class RelayView:
    """Ordered and read back: `closed | open | allowed | unknown`."""

    desired: str
    observed: str


@dataclass(frozen=True, slots=True)
class ItemView:
    """One value; null where the meter gave a filler."""

    quantity: str
    value: str | None
    unit: str


@dataclass(frozen=True, slots=True)
class LastReadingView:
    """The newest value of each quantity; `answered` is when the newest of them was read."""

    answered: str
    items: list[ItemView]


@dataclass(frozen=True, slots=True)
class MeterView:
    """One element of GET /api/v1/meters (contract.md 4). held: why its bill stands still, null while it does not."""

    meter: str
    address: str
    protocol: str
    line: str
    account: str | None
    relay: RelayView
    last_reading: LastReadingView | None
    held: str | None


@dataclass(frozen=True, slots=True)
class AccountView:
    """One element of GET /api/v1/accounts (contract.md 4)."""

    account: str
    balance: str
    currency: str
    state: str
    meters: list[str]


@dataclass(frozen=True, slots=True)
class EntryView:
    """One ledger entry as it touched a customer's balance: `amount` exact to six decimals, `balance_after` as shown to people."""

    number: int
    at: str
    kind: str
    amount: str
    balance_after: str
    currency: str
    ref: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReadingView:
    """A stored reading with its three times; taken: when the meter itself took values of its past."""

    id: int
    asked: str
    answered: str
    stored: str
    quality: str
    source: str
    point: str
    items: list[ItemView]
    taken: str | None = None


@dataclass(frozen=True, slots=True)
class EventView:
    """Something that happened."""

    id: int
    kind: str
    at: str
    meter: str | None
    account: str | None
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CommandView:
    """An order to a switch. `final`: the outcome stands for good."""

    id: str
    meter: str
    line: str
    account: str | None
    verb: str
    cause: str
    origin: str
    state: str
    final: bool
    created: str
    expires: str
    changed: str
    attempts: int
    evidence: list[str]
    reason: str | None


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One element of GET /api/v1/lines/{line}/meters: how a device on the line is, and what was learned about it."""

    meter: str
    groups: list[str]
    state: str
    since: str
    failures: int
    next: str
    p50_ms: int | None
    p95_ms: int | None
    manner: Mapping[str, object]


def device_view(device: MeterStatus) -> DeviceView:
    """A device with its times as people read them."""
    return DeviceView(
        device.meter,
        list(device.groups),
        device.state,
        rfc3339(device.since_ms),
        device.failures,
        rfc3339(device.next_ms),
        device.p50_ms,
        device.p95_ms,
        device.manner,
    )


def meter_view(tx: Tx, meter: Meter) -> MeterView:
    """A meter with its newest values."""
    latest = tx.latest(meter.id)
    last = None
    if latest:
        newest_ms = max(entry.answered_ms for entry in latest.values())
        last = LastReadingView(rfc3339(newest_ms), [item_view(latest[name].item) for name in sorted(latest)])
    relay = RelayView(meter.desired.value, meter.observed.value)
    billing = tx.billing(meter.id)
    held = None if billing is None or billing.held is None else billing.held.value
    return MeterView(meter.id, meter.address, meter.protocol, meter.line, meter.account, relay, last, held)


def item_view(item: Item) -> ItemView:
    """One value as a decimal string."""
    return ItemView(item.quantity, decimal_text(item.value), item.unit)


def account_view(tx: Tx, account: Account) -> AccountView:
    """An account with its balance and meters."""
    balance = format_money(tx.balance(ledger.customer(account.id), account.currency), account.currency)
    meters = [meter.id for meter in tx.meters_of(account.id)]
    return AccountView(account.id, balance, account.currency, account.credit.value, meters)


def moved_micro(posted: PostedEntry, ledger_account: str) -> int:
    """What an entry moved on one ledger account, in micro-units."""
    return sum(leg.micro for leg in posted.entry.legs if leg.account == ledger_account)


def newest_entries(tx: Tx, account: Account, limit: int) -> list[EntryView]:
    """The newest entries of an account, newest first, each with the balance after it."""
    name = ledger.customer(account.id)
    balance = tx.balance(name, account.currency)
    lines = []
    for posted in tx.entries_of(name, limit):
        entry, moved = posted.entry, moved_micro(posted, name)
        shown = format_money(balance, account.currency)
        line = EntryView(
            posted.number, rfc3339(entry.at_ms), entry.kind.value, exact_money(moved), shown, entry.currency, dict(entry.ref)
        )
        lines.append(line)
        balance -= moved
    return lines


def reading_view(stored: StoredReading, quantity: str | None) -> ReadingView:
    """A reading, or only one quantity of it."""
    read = stored.reading
    items = [item_view(item) for item in read.items if quantity in (None, item.quantity)]
    asked, answered, kept = rfc3339(read.asked_ms), rfc3339(read.answered_ms), rfc3339(stored.stored_ms)
    taken = None if read.taken_ms is None else rfc3339(read.taken_ms)
    return ReadingView(stored.id, asked, answered, kept, stored.quality.value, read.source.value, stored.point, items, taken)


def event_view(stored: StoredEvent) -> EventView:
    """An event with its number."""
    event = stored.event
    return EventView(stored.id, event.kind.value, rfc3339(event.at_ms), event.meter, event.account, dict(event.data))


def command_view(command: Command) -> CommandView:
    """A command; an unproved acknowledgement is called by its name, with `command_only` as evidence (contract.md 5)."""
    unproved = command.state is CommandState.COMMAND_ONLY
    return CommandView(
        id=command.id,
        meter=command.meter,
        line=command.line,
        account=command.account,
        verb=command.verb.value,
        cause=command.cause,
        origin=command.origin,
        state=(CommandState.ACKNOWLEDGED if unproved else command.state).value,
        final=command.final,
        created=rfc3339(command.created_ms),
        expires=rfc3339(command.expires_ms),
        changed=rfc3339(command.changed_ms),
        attempts=command.attempts,
        evidence=list(command.evidence),
        reason=command.reason,
    )
