"""Rows to store, every field set to something else than its default, so that a forgotten column cannot hide."""

from __future__ import annotations

from dataclasses import MISSING, fields
from decimal import Decimal
from typing import Any

from gateway.domain.credit import CreditPolicy, CreditState
from gateway.domain.events import Event, EventKind, Outgoing, Topic
from gateway.domain.ledger import Entry, EntryKind, Leg, bank_clearing, customer
from gateway.domain.limits import LimitPhase, LimitState, LoadLimit
from gateway.domain.meters import Account, Contact, Meter, SwitchKind
from gateway.domain.readings import Billing, Doubt, Item, Reading, Registers, Source
from gateway.domain.requests import PaymentIdentity
from gateway.domain.supply import Command, CommandState, Verb
from gateway.domain.tariffs import Tariff
from gateway.services.ports import Payment

NOW_MS = 1_763_700_000_000

TARIFF = Tariff("two-rate", "CNY", {"energy_import_t1": 617_000, "energy_import_t2": 307_000})
POLICY = CreditPolicy(10_000_000, -20_000_000, 5_000_000, close_inclusive=True, reconnect_direct=True, no_cut_hours=False)
ACCOUNT = Account(
    id="house-7",
    holder="王小明",
    currency="CNY",
    tariff="two-rate",
    policy=POLICY,
    limit=LoadLimit(3_000, 60_000, 120_000, 2, forget_ms=7_200_000),
    agreement="2026/17 v2",
    never_cut=True,
    protect_until_ms=NOW_MS + 1,
    closed=True,
    credit=CreditState.EXHAUSTED,
    warned_ms=NOW_MS - 1,
    limit_state=LimitState(LimitPhase.TRIPPED, NOW_MS - 2, 1, NOW_MS - 3),
)
PLAIN_ACCOUNT = Account("house-8", "", "CNY", "two-rate", CreditPolicy(0))
METER = Meter(
    id="bus-1-000000000001",
    line="bus-1",
    address="000000000001",
    protocol="dlt645-2007",
    profile="dlt645-generic",
    account="house-7",
    point="point-7",
    switch=SwitchKind.EXTERNAL_AUTO,
    switch_line="coils",
    feedback=False,
    cut_with_account=False,
    settle_ms=5_000,
    max_power_w=9_000,
    count_wh=100,
    desired=Contact.OPEN,
    observed=Contact.ALLOWED,
    observed_ms=NOW_MS,
    cut_reasons=("credit:energy_debt", "limit:safety"),
)
READING = Reading(
    METER.id,
    (
        Item("energy_import", Decimal("1234.50"), "kWh", "1-0:1.8.0"),
        Item("power", Decimal("-0.0010"), "kW", None),
        Item("voltage_b", None, "V", "1-0:52.7.0"),
    ),
    asked_ms=NOW_MS,
    answered_ms=NOW_MS + 90,
    source=Source.CURVE,
)
BILLING = Billing(
    METER.id, Registers(NOW_MS, {"energy_import": 2**40}), Registers(NOW_MS + 5, {"energy_import": 2**40 + 10}), 7, Doubt.JUMP
)
COMMAND = Command(
    id="cmd-1",
    meter=METER.id,
    line="coils",
    account="house-7",
    verb=Verb.CUT,
    cause="energy_debt",
    origin="credit",
    state=CommandState.ACKNOWLEDGED,
    created_ms=NOW_MS,
    expires_ms=NOW_MS + 60_000,
    changed_ms=NOW_MS + 1,
    read_at_ms=NOW_MS + 4_001,
    attempts=1,
    readbacks=2,
    evidence=("relay_bit", "load"),
    reason="it was said so",
)
IDENTITY = PaymentIdentity("icbc", "inst", "2026-11-21", "S.1:2")
PAYMENT = Payment(
    IDENTITY,
    "house-7",
    50_000_000,
    "CNY",
    "2026-11-21",
    "2026-11-21T10:00:00+08:00",
    "counter",
    "posted",
    NOW_MS,
    receipt='{"receipt_no":"g-1","holder":"王*"}',
    problem="some_code",
    detail="some words",
    entry=1,
)
EVENT = Event(EventKind.CUT_HELD, NOW_MS, METER.id, "house-7", {"missing": ["F1", None, True], "n": {"deep": -5}})
MESSAGE = Outgoing(Topic.BALANCE, "house-7", NOW_MS, {"balance": "-0.30", "list": [1, "二", None]})

FULL_ROWS = (ACCOUNT, POLICY, METER, READING, BILLING, COMMAND, PAYMENT, EVENT)


def unset_fields(row: Any) -> list[str]:
    """Fields that a sample leaves at their default."""
    return [f.name for f in fields(row) if f.default is not MISSING and getattr(row, f.name) == f.default]


def entry(micro: int, account: str = "house-7", currency: str = "CNY", **ref: str) -> Entry:
    """A top-up of so many micro-units."""
    return Entry(EntryKind.TOPUP, currency, (Leg(customer(account), micro), Leg(bank_clearing("icbc"), -micro)), NOW_MS, ref)
