"""What the outside asks for, checked for form: payments and orders (contract.md 3 and 5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from gateway.domain.supply import Verb

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SERIAL = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)


def valid_id(text: str) -> bool:
    """Ids of gateway, meter, account, command, bank and line (contract.md 5)."""
    return _ID.fullmatch(text) is not None


def valid_serial(text: str) -> bool:
    """Serials of payments (contract.md 3)."""
    return _SERIAL.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class PaymentIdentity:
    """What makes a payment unique for ever."""

    bank: str
    institution: str
    scope: str
    serial: str


@dataclass(frozen=True, slots=True)
class TopUp:
    """A payment that a bank reports. Content is account, amount and currency; the other fields keep their first value.

    amount_micro: greater than zero. today: the bank's own date at this moment, in its configured time zone.
    """

    identity: PaymentIdentity
    account: str
    amount_micro: int
    currency: str
    paid_at: datetime
    accounting_date: date
    today: date
    channel: str = ""


@dataclass(frozen=True, slots=True)
class SupplyOrder:
    """A person or the centre asks to move a meter's switch. `id` makes it idempotent: the same id gives the same answer.

    who: as the audit log names whoever asks (`operator:NAME`, `uplink:KEY`, `console`); origin is only of which sort they are.
    second: who else wants it. danger: an emergency that is a danger to life, ordered at the gateway's own console. facts: what its
    cause needs, by name (contract, event, plan, notices). reason: in one's own words.
    """

    id: str
    meter: str
    verb: Verb
    cause: str
    origin: str
    expires_ms: int
    who: str = ""
    second: str = ""
    danger: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Protection:
    """A person asks that an account's supply is not cut. owner: who answers for it; until_ms: UTC ms, None ends it. who: as the
    audit log names whoever asks. blocks: `all` cuts or `commercial` ones. in_meter: the meter is told so too (3AH)."""

    account: str
    until_ms: int | None
    owner: str
    reason: str
    who: str = ""
    blocks: str = "all"
    in_meter: bool = False


@dataclass(frozen=True, slots=True)
class RegisterOrder:
    """A person says that a meter's registers end and begin anew. `id` makes it idempotent.

    kind: `rollover` (as it is suspected), `meter_change`. last, first: kWh by register as the display of the old and of the new
    meter shows them; empty for a rollover. by: who says so; second: who else, needed where the old meter can hardly have counted
    so far.
    """

    id: str
    meter: str
    kind: str
    last: Mapping[str, Decimal]
    first: Mapping[str, Decimal]
    reason: str
    by: str
    second: str | None = None
