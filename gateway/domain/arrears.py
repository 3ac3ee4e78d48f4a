"""Late fees day by day, and the week in which a debt is recovered (prepayment.md a5, a7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.debt_terms import Accrual, DebtTerms
from gateway.domain.price_list import LateFee
from gateway.domain.slots import local_of, midnight


def late(accrual: Accrual, rule: LateFee, terms: DebtTerms, debt_micro: int, upto_ms: int, zone: ZoneInfo) -> tuple[Accrual, int]:
    """The accrual up to the local midnight not after this moment, and the fee in micro-units for the days between.

    A day counts with what is owed on it, by the rate of its year; the least is reached with the first day, and counts against what
    follows.
    """
    day, today = local_of(accrual.late_ms, zone).date(), local_of(upto_ms, zone).date()
    total = accrual.late_per_mille_micro
    while day < today:
        later_year = day.year > date.fromisoformat(terms.since_day).year
        total += debt_micro * (rule.per_mille_next_year if later_year else rule.per_mille)
        day += timedelta(days=1)
    after = replace(accrual, late_ms=max(midnight(today, zone), accrual.late_ms), late_per_mille_micro=total)
    return after, _fee(after, rule) - _fee(accrual, rule)


def _fee(accrual: Accrual, rule: LateFee) -> int:
    micro = accrual.late_per_mille_micro // 1000
    return max(micro, rule.least_micro) if accrual.late_per_mille_micro else 0


def midnight_of(day: str, zone: ZoneInfo) -> int:
    """When this ISO day begins, UTC ms."""
    return midnight(date.fromisoformat(day), zone)


def week_begins(at_ms: int, zone: ZoneInfo) -> int:
    """The local midnight of the Monday of this moment's week (ISO 8601), UTC ms."""
    day = local_of(at_ms, zone).date()
    return midnight(day - timedelta(days=day.weekday()), zone)
