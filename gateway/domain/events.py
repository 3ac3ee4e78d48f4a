"""What happened, in the past tense: the names of events and the messages that leave through the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]


class EventKind(StrEnum):
    """Every kind of event there is."""

    GATEWAY_STARTED = "gateway_started"
    STORE_RESTORED = "store_restored"
    PAYMENTS_BROUGHT_IN = "payments_brought_in"
    BANK_AGREED = "bank_agreed"
    CENTRE_AGREED = "centre_agreed"
    MONEY_RELEASED = "money_released"
    CONFIGURATION_CHANGED = "configuration_changed"
    LOW_BALANCE_WARNED = "low_balance_warned"
    CUSTOMER_TOLD = "customer_told"
    NOTICES_FAILED = "notices_failed"
    BALANCE_EXHAUSTED = "balance_exhausted"
    EMERGENCY_OFFERED = "emergency_offered"
    EMERGENCY_LENT = "emergency_lent"
    CUT_ANNOUNCED = "cut_announced"
    CUT_HELD = "cut_held"
    CUT_ORDERED = "cut_ordered"
    CUT_VERIFIED = "cut_verified"
    RESTORE_ORDERED = "restore_ordered"
    RESTORE_VERIFIED = "restore_verified"
    CLOSE_ALLOWED = "close_allowed"
    SUPPLY_RESTORED = "supply_restored"
    SUPPLY_LOST = "supply_lost"
    SUPPLY_PROTECTED = "supply_protected"
    SUPPLY_UNPROTECTED = "supply_unprotected"
    COMMAND_FAILED = "command_failed"
    COMMAND_UNCERTAIN = "command_uncertain"
    METER_TOLD = "meter_told"
    TOPUP_POSTED = "topup_posted"
    TOPUP_REVERSED = "topup_reversed"
    BANK_SETTLED = "bank_settled"
    DAY_RECONCILED = "day_reconciled"
    DAY_CLOSED = "day_closed"
    DIFFERENCE_RESOLVED = "difference_resolved"
    READING_SUSPECT = "reading_suspect"
    BILL_HELD = "bill_held"
    BILL_RELEASED = "bill_released"
    FEE_BASIS_MISSING = "fee_basis_missing"
    TARIFF_CHANGED = "tariff_changed"
    LEDGER_UNSOUND = "ledger_unsound"
    REGISTER_RENEWED = "register_renewed"
    ACCOUNT_OPENED = "account_opened"
    ACCOUNT_CLOSED = "account_closed"
    METER_MOVED = "meter_moved"
    METER_CHANGED = "meter_changed"
    CT_CHANGED = "ct_changed"
    REFUND_BEGUN = "refund_begun"
    REFUND_PAID = "refund_paid"
    REFUND_VOIDED = "refund_voided"
    ARCHIVE_CHANGED = "archive_changed"
    CLOCK_OFF = "clock_off"
    CLOCK_SET = "clock_set"
    CLOCK_RIGHT = "clock_right"
    CLOCK_FAULT = "clock_fault"
    LIMIT_WARNED = "limit_warned"
    LIMIT_EXCEEDED = "limit_exceeded"
    LIMIT_CUT = "limit_cut"
    LIMIT_RECLOSED = "limit_reclosed"
    LIMIT_LOCKED = "limit_locked"
    LIMIT_RELEASED = "limit_released"
    LIMIT_CHANGED = "limit_changed"
    LIMIT_WRITTEN = "limit_written"
    MALIGNANT_LOAD = "malignant_load"
    MONTH_AMOUNT_USED = "month_amount_used"
    METER_SILENT = "meter_silent"
    METER_BACK = "meter_back"
    LINE_DOWN = "line_down"
    LINE_UP = "line_up"
    ACK_REFUSED = "ack_refused"
    DROPPED = "dropped"
    COMMAND_UNREADABLE = "command_unreadable"
    COMMAND_REFUSED = "command_refused"
    UPLINK_KEY_CHANGED = "uplink_key_changed"
    HISTORY_UNAVAILABLE = "history_unavailable"
    COMPLETENESS_MISSED = "completeness_missed"
    METER_RECORD = "meter_record"
    CUTS_STOPPED = "cuts_stopped"
    CUTS_RESUMED = "cuts_resumed"
    CUT_QUARANTINED = "cut_quarantined"
    CUT_DELAYED = "cut_delayed"
    ORDER_OVERRULED = "order_overruled"
    APPROVAL_ASKED = "approval_asked"
    APPROVAL_DECIDED = "approval_decided"
    DELIVERY_CHANGED = "delivery_changed"
    WALLET_ALIGNED = "wallet_aligned"
    AUTHORITY_CHANGED = "authority_changed"
    AUTHORITY_KEPT = "authority_kept"
    FINDING_OPENED = "finding_opened"
    FINDING_CLOSED = "finding_closed"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `data` holds JSON values, no floats."""

    kind: EventKind
    at_ms: int
    meter: str | None = None
    account: str | None = None
    data: Mapping[str, Json] = field(default_factory=dict)


class Topic(StrEnum):
    """The classes of outgoing messages (contract.md 5, `up/...`)."""

    READING = "reading"
    EVENT = "event"
    BALANCE = "balance"
    RESULT = "result"
    ANCHOR = "anchor"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way to the centre, as the domain knows it; the uplink adapter makes topic and payload of it."""

    topic: Topic
    subject: str
    at_ms: int
    body: Mapping[str, Json]
