"""Rows to store, every field set to something else than its default, so that a forgotten column cannot hide."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from gateway.domain.approvals import Approval, ApprovalState
from gateway.domain.clocks import ClockState, MeterClock, Remedy
from gateway.domain.credit import CreditPolicy, CreditState, Standing
from gateway.domain.debt_terms import DebtTerms
from gateway.domain.events import Event, EventKind, Outgoing, Topic
from gateway.domain.findings import Finding, FindingKind
from gateway.domain.jobs import ClockSeen, Want
from gateway.domain.ledger import Entry, EntryKind, Leg, bank_clearing, customer
from gateway.domain.limits import LimitMemory, LimitPhase, LimitState, LoadLimit
from gateway.domain.meters import Account, Authority, Contact, Meter, Protect, SwitchKind
from gateway.domain.no_cut import NoCutCalendar, Window
from gateway.domain.notices import Contact as Way
from gateway.domain.notices import Notice, NoticeState, Reach
from gateway.domain.people import Person, Role
from gateway.domain.permissions import CutPermission
from gateway.domain.price_list import Terms
from gateway.domain.readings import Billing, Doubt, Item, Quality, Reading, Registers, Source
from gateway.domain.records import DaySum, Payment
from gateway.domain.requests import PaymentIdentity
from gateway.domain.schemes import Scheme, Slot, SlotState
from gateway.domain.supply import Command, CommandState, Verb
from gateway.domain.wallet_mirror import Span
from gateway.domain.wallets import Act, Delivery, DeliveryState, Switching, Wallet, WalletMemory
from tests.gateway.price_lists import by_register

NOW_MS = 1_763_700_000_000

TARIFF = by_register({"energy_import_t1": 617_000, "energy_import_t2": 307_000})
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
    terms=Terms("2024-02-29", 5, 8_000),
    priced_since="2025-03-01",
    debt=DebtTerms("2026/18", 250, "2025-12-31", 30_000_000),
    authority=Authority.METER,
    standing=Standing(NOW_MS - 4),
    protect=Protect("hospital", "ventilator", "commercial", in_meter=True),
    limit_memory=LimitMemory("2026-11"),
    reach=Reach((Way("sms", "+8613800000000", bad=True), Way("paper")), "zh", {"flat": "7"}),
    filed=False,
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
    capacity_wh=10**12,
    ratio=Fraction(19, 5),
    desired=Contact.OPEN,
    observed=Contact.ALLOWED,
    observed_ms=NOW_MS,
    cut_reasons=("credit:energy_debt", "limit:safety"),
    filed=False,
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
    taken_ms=NOW_MS - 900_000,
)
BILLING = Billing(
    METER.id,
    Registers(NOW_MS, {"energy_import": 2**40}),
    Registers(NOW_MS + 5, {"energy_import": 2**40 + 10}),
    7,
    Doubt.JUMP,
    held_ms=NOW_MS + 6,
    suspects=3,
    suspect=Registers(NOW_MS + 7, {"energy_import": 2**41}),
    moved_ms=NOW_MS + 4,
    still_ms=NOW_MS + 8,
    still_wms=2**50,
    renewals=1,
)
CLOCK = MeterClock(
    METER.id,
    ClockState.SENT,
    ClockSeen(-420_000, 900, NOW_MS),
    tried_ms=NOW_MS + 1,
    tries=2,
    sent=Remedy.WRITE,
    sent_ms=NOW_MS + 2,
    off_ms=-420_000,
    unheeded=1,
    written=(NOW_MS - 9, NOW_MS + 2),
    refused=(NOW_MS - 9,),
    blocked_ms=NOW_MS - 8,
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
PERMITTED = replace(COMMAND, permission=1)
PERMISSION = CutPermission(
    1, "house-7", "energy_debt", "credit", NOW_MS, NOW_MS + 900_000, {"balance": "-20.00", "reading": "5 min"}, NOW_MS + 5
)
APPROVAL = Approval(
    *("a-1", "unprotect", "house-7", '{"until":null}', "operator:li", NOW_MS, NOW_MS + 100),
    state=ApprovalState.APPROVED,
    decided_by="operator:wang",
    decided_ms=NOW_MS + 99,
    reason="seen",
)
PERSON = Person("李", (Role.APPROVER, Role.AUDITOR), "ab" * 32, NOW_MS, NOW_MS + 1)
NOTICE = Notice(
    *(1, "house-7", "low", "sms", "+8613800000000", {"balance": "4.20"}, NOW_MS),
    state=NoticeState.FAILED,
    tries=3,
    next_ms=NOW_MS + 60_000,
    changed_ms=NOW_MS + 1,
    detail="no such number",
)
FINDING = Finding(FindingKind.WALLET_DIFFERS, METER.id, NOW_MS, "The meter says 5.00, we say 4.00.", {"meter": "5.00"})
CALENDAR = NoCutCalendar(
    "cn-2026", "Asia/Shanghai", (Window(1_020, 540), Window(6_480, 540)), ("2026-10-01", "2026-10-02"), "2026-12-31", 600
)
WALLET_MEMORY = WalletMemory(
    customer="000000004711", seen_customer="000000004711", next_ms=NOW_MS + 1, hoarding_micro=500_000_000, limits_ms=NOW_MS - 5,
    offset=Span(-9_999, 0), held=Span(-5, 5), held_ms=NOW_MS - 1, adopt=True, refused=(NOW_MS - 9,), epoch=2,
    switching=Switching.FREEZE, by="operator:li", frozen_micro=5, frozen_books=6, strange="it is another", differs=Span(7, 8),
    elsewhere=2,
)  # fmt: skip
WALLET = Wallet(METER.id, 7, 2**40, 5_000_000, NOW_MS, opened=True, held_since_ms=NOW_MS - 1, memory=WALLET_MEMORY)
DELIVERY = Delivery(
    id="delivery-7", account="house-7", meter=METER.id, act=Act.REFUND, micro=2**40 // 10_000 * 10_000, currency="CNY",
    created_ms=NOW_MS - 10, due_ms=NOW_MS + 10, epoch=2, state=DeliveryState.UNCERTAIN, changed_ms=NOW_MS, count=8, entry=3,
    attempts=2, sent_ms=NOW_MS - 1, look_ms=NOW_MS + 1, next_ms=NOW_MS + 2, refusals=1, reason="no answer",
)  # fmt: skip
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
    receipt_jws="eyJhbGciOiJFZERTQSJ9.e30.c2ln",
)
EVENT = Event(EventKind.CUT_HELD, NOW_MS, METER.id, "house-7", {"missing": ["F1", None, True], "n": {"deep": -5}})
MESSAGE = Outgoing(Topic.BALANCE, "house-7", NOW_MS, {"balance": "-0.30", "list": [1, "二", None]})

SCHEME = Scheme("curve", Want.CURVE, "10 * * * *", 1, 2, 3, 4, 5, {METER.id: Source.CURVE, "m2": Source.LIVE})
SLOT = Slot(
    meter=METER.id,
    want=Want.CURVE,
    at_ms=NOW_MS - 900_000,
    scheme="curve",
    line="bus-1",
    source=Source.CURVE,
    late_ms=NOW_MS + 3_600_000,
    next_ms=NOW_MS - 300_000,
    retries=3,
    state=SlotState.READ,
    tries=2,
    read_ms=NOW_MS,
    quality=Quality.CONFIRMED,
)
DAY_SUM = DaySum(
    METER.id, "2026-11-24", "energy_import", "kWh", 3, Decimal("1.00"), 1, Decimal("2.00"), 3, Decimal("1.00"), Decimal("2.10")
)
FULL_ROWS = (
    *(ACCOUNT, METER, READING, BILLING, CLOCK, PERMITTED, PAYMENT, EVENT, SLOT),
    *(PERMISSION, APPROVAL, PERSON, NOTICE, FINDING, WALLET, WALLET_MEMORY, DELIVERY),
)
"""Of what has columns; a document takes every field by itself."""


def unset_fields(row: Any) -> list[str]:
    """Fields that a sample leaves at their default."""
    return [f.name for f in fields(row) if f.default is not MISSING and getattr(row, f.name) == f.default]


def entry(micro: int, account: str = "house-7", currency: str = "CNY", **ref: str) -> Entry:
    """A top-up of so many micro-units."""
    return Entry(EntryKind.TOPUP, currency, (Leg(customer(account), micro), Leg(bank_clearing("icbc"), -micro)), NOW_MS, ref)
