"""Findings: what a person must look at, from when it is first seen until it is over. An event tells; a finding stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class FindingKind(StrEnum):
    """Every kind there is, with the rule that ends it."""

    UNREACHABLE_EXHAUSTED = "unreachable_exhausted"
    CUT_DEFERRED_LONG = "cut_deferred_long"
    CALENDAR_ENDING = "calendar_ending"
    CALENDAR_ENDED = "calendar_ended"
    NOTICES_FAILING = "notices_failing"
    TRANSFER_UNCERTAIN = "transfer_uncertain"
    WALLET_DIFFERS = "wallet_differs"
    SWITCH_DEFECTIVE = "switch_defective"
    LIMIT_NOT_WRITTEN = "limit_not_written"
    NO_TOPUP_PATH = "no_topup_path"
    CLOCK_NOT_TRUSTED = "clock_not_trusted"
    DISK_LOW = "disk_low"
    SAFETY_TRIPS_MANY = "safety_trips_many"
    QUARANTINED = "quarantined"
    OUTBOX_FULL = "outbox_full"
    CERTIFICATE_ENDING = "certificate_ending"
    CERTIFICATE_ENDING_SOON = "certificate_ending_soon"
    DEBIT_UNBOOKED = "debit_unbooked"
    MAC_KEYS_LOST = "mac_keys_lost"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of a subject (account, meter, calendar, command or "gateway") that needs a person. text: one sentence."""

    kind: FindingKind
    subject: str
    since_ms: int
    text: str
    data: Mapping[str, str] = field(default_factory=dict)
