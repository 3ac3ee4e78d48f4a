"""What was agreed with a bank: its days, its scopes, and how much it may bring (contract.md 3).

Amounts are micro-units of the partner's `currency`; None is no limit. A day is the payment's accounting date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from zoneinfo import ZoneInfo

NOON_MIN = 12 * 60

COUNTER, AT_METER = "counter", "at-meter"
OURS = frozenset({COUNTER, AT_METER})
"""Ids under which we book ourselves: money at the counter, and a purchase that was found in a meter. No bank is called so."""

QUERY, TOPUP, REVERSAL, REFUND, RECONCILE, SETTLE = "query", "topup", "reversal", "refund", "reconcile", "settle"
SCOPES = frozenset({QUERY, TOPUP, REVERSAL, REFUND, RECONCILE, SETTLE})
"""What a bank may be allowed to ask; quotes are part of `query`."""


class SerialScope(StrEnum):
    """Within what a bank's serials are unique: for ever, or within one accounting date (then it is part of path and identity)."""

    EVER = ""
    ACCOUNTING_DATE = "accounting_date"


@dataclass(frozen=True, slots=True)
class Limits:
    """Most that is taken: one payment (and least), one account in a day, all accounts in a day; and how many payments in a day."""

    least_micro: int | None = None
    payment_micro: int | None = None
    account_day_micro: int | None = None
    day_micro: int | None = None
    account_day_count: int | None = None
    day_count: int | None = None


@dataclass(frozen=True, slots=True)
class PartnerTerms:
    """A bank as it is configured; the default is a bank of which nothing was said.

    cut_over_min: the local minute of the day at which its accounting date changes: in the afternoon that of tomorrow begins, in the
    morning that of yesterday ends. no_trade: local minutes [from, to) in which no new payment is taken, also over midnight. limits,
    and those of single channels beside them. quota_micro: the most it may owe us unsettled.
    """

    bank: str
    zone: str = "Asia/Shanghai"
    currency: str = "CNY"
    serial_scope: SerialScope = SerialScope.EVER
    cut_over_min: int = 0
    no_trade: tuple[int, int] | None = None
    limits: Limits = Limits()
    channels: Mapping[str, Limits] = field(default_factory=lambda: MappingProxyType({}))
    quota_micro: int | None = None

    def today(self, now_ms: int) -> date:
        """The bank's accounting date at this moment."""
        local = self._local(now_ms)
        over = local.hour * 60 + local.minute >= self.cut_over_min
        by_noon = self.cut_over_min < NOON_MIN
        return local.date() + timedelta(days=over - by_noon)

    def trades(self, now_ms: int) -> bool:
        """Whether this moment lies outside the no-trade window."""
        if self.no_trade is None:
            return True
        begin, end = self.no_trade
        local = self._local(now_ms)
        minute = local.hour * 60 + local.minute
        return not (begin <= minute < end if begin <= end else minute >= begin or minute < end)

    def scope_of(self, accounting_date: date) -> str:
        """The scope of a payment's identity."""
        return accounting_date.isoformat() if self.serial_scope is SerialScope.ACCOUNTING_DATE else ""

    def _local(self, now_ms: int) -> datetime:
        return datetime.fromtimestamp(now_ms // 1000, UTC).astimezone(ZoneInfo(self.zone))
