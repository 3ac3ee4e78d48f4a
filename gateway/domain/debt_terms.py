"""What an account owes from before it was here, and how far what time brings is booked (prepayment.md a5, a7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DebtTerms:
    """How a debt is recovered, by an agreement that the customer signed: a share of each payment, per mille, up to a sum per week.

    weekly_cap_micro: None for no cap. since_day: ISO date it fell due; the year of late fees counts from there.
    cut_relevant: it is for energy. Any other debt (property fees, rent) only stands here: no payment for energy is split to it, it
    bears no late fee of ours, and nobody is cut for it.
    """

    agreement: str
    share_per_mille: int
    since_day: str
    weekly_cap_micro: int | None = None
    cut_relevant: bool = True


@dataclass(frozen=True, slots=True)
class Accrual:
    """How far what time brings is booked for an account, UTC ms. tariff: whose fees. late_ms: late fees.

    late_per_mille_micro: debt times per mille of every day so far, before the division, so that no day rounds.
    varh: the reactive register of each meter, as it was last counted.
    """

    account: str
    tariff: str
    until_ms: int
    late_ms: int
    late_per_mille_micro: int = 0
    varh: Mapping[str, int] = field(default_factory=dict)
