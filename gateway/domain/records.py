"""Rows of the store as the use cases and the readers of the API see them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from gateway.domain.events import Event, Outgoing, Topic
from gateway.domain.readings import Item, Quality, Reading
from gateway.domain.requests import PaymentIdentity


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as it was judged, for ever. `status`: posted, reversed or refused.

    receipt: the receipt document as the bank got it, byte for byte; None when refused. problem: code of a stored refusal and its
    detail. later: differing values of other fields that came with repeats (recorded, never a conflict). entry: ledger number.
    receipt_jws: the receipt signed, the same for ever; None where it was booked without a key.
    """

    identity: PaymentIdentity
    account: str
    amount_micro: int
    currency: str
    accounting_date: str
    paid_at: str
    channel: str
    status: str
    at_ms: int
    receipt: str | None = None
    problem: str | None = None
    detail: str | None = None
    entry: int | None = None
    receipt_jws: str | None = None


class Paid(NamedTuple):
    """The money of a payment that an entry posted: what a verifier compares with that entry."""

    entry: int
    bank: str
    institution: str
    scope: str
    serial: str
    account: str
    amount_micro: int
    currency: str
    accounting_date: str
    status: str


class BankDay(NamedTuple):
    """What a bank is reconciled by."""

    bank: str
    accounting_date: str
    currency: str


@dataclass(frozen=True, slots=True)
class Counted:
    """How many payments, and their sum in micro-units."""

    count: int
    micro: int


class DayKey(NamedTuple):
    """Where a line stands in a day's statement. part: 0 payments, 1 reversals, 2 refunds."""

    part: int
    institution: str
    scope: str
    serial: str


@dataclass(frozen=True, slots=True)
class Closing:
    """A period that is closed. entry: the entry that says so; upto: the last entry of the period; hash: that entry's."""

    entry: int
    upto: int
    hash: str


@dataclass(frozen=True, slots=True)
class Taken:
    """Posted payments of one bank in one currency: how many, and their sum in micro-units."""

    bank: str
    currency: str
    count: int
    micro: int


@dataclass(frozen=True, slots=True)
class StoredReading:
    """A reading in the store: what was read, its quality, and when it was stored."""

    id: int
    reading: Reading
    point: str
    quality: Quality
    stored_ms: int


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its number in the store."""

    id: int
    event: Event


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message on its way: dense sequence number; published_ms None until it was handed to the broker."""

    seq: int
    message: Outgoing
    published_ms: int | None
    acknowledged_ms: int | None


@dataclass(frozen=True, slots=True)
class OutboxState:
    """The outbox at a glance: last number given, lowest not yet acknowledged (last + 1 when none); rows not acknowledged, and rows
    ever published, acknowledged, and dropped by policy before the centre had them."""

    last: int
    low: int
    waiting: int
    published: int
    acknowledged: int
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class OutboxSize:
    """What the outbox takes: all its rows, also those that are kept for resends, and the length of their bodies."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class OutboxClass:
    """What waits of one class of messages, and since when its oldest."""

    topic: Topic
    waiting: int
    oldest_ms: int


@dataclass(frozen=True, slots=True)
class LatestItem:
    """The newest value of one quantity of a meter and when the meter answered it (UTC ms)."""

    item: Item
    answered_ms: int


@dataclass(frozen=True, slots=True)
class DaySum:
    """What is left of a day's readings of one quantity after their retention. day: local date, ISO. count: readings with a value.

    first, last: the values of the day's first and last moment (first_ms, last_ms); a register's consumption lies between them.
    """

    meter: str
    day: str
    quantity: str
    unit: str
    count: int
    first: Decimal
    first_ms: int
    last: Decimal
    last_ms: int
    lowest: Decimal
    highest: Decimal
