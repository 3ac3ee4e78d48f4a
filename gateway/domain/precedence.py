"""Which of two conflicting orders wins (prepayment.md, "What we decided" 4): one table, walked by a test."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum


class Claim(StrEnum):
    """Whatever may want a supply open or closed. NEVER_CUT and PROTECT want it closed, the others open."""

    DANGER_TO_LIFE = "danger_to_life"
    NEVER_CUT = "never_cut"
    PROTECT = "protect"
    SAFETY = "safety"
    EMERGENCY = "emergency"
    COMMERCIAL = "commercial"
    DEMAND_RESPONSE = "demand_response"


_C = Claim

PRECEDENCE: tuple[frozenset[Claim], ...] = (
    frozenset({_C.DANGER_TO_LIFE}),
    frozenset({_C.NEVER_CUT}),
    frozenset({_C.PROTECT}),
    frozenset({_C.SAFETY, _C.EMERGENCY}),
    frozenset({_C.COMMERCIAL}),
    frozenset({_C.DEMAND_RESPONSE}),
)
"""The strongest first; what stands together has the same rank, and nothing of it wins over the other."""

FOR_SUPPLY = frozenset({_C.NEVER_CUT, _C.PROTECT})
"""Claims that keep supply on."""

BLOCKS: Mapping[str, frozenset[Claim]] = {
    "all": frozenset({_C.SAFETY, _C.EMERGENCY, _C.COMMERCIAL, _C.DEMAND_RESPONSE}),
    "commercial": frozenset({_C.COMMERCIAL, _C.DEMAND_RESPONSE}),
}
"""What supply protect stands against, by its `blocks`."""

SENTENCES: Mapping[Claim, str] = {
    _C.DANGER_TO_LIFE: "an order for danger to life stands above everything",
    _C.NEVER_CUT: "the account is flagged never to be cut",
    _C.PROTECT: "supply protect is on",
    _C.SAFETY: "a safety trip stands",
    _C.EMERGENCY: "the dispatcher's emergency order stands",
    _C.COMMERCIAL: "supply is held open for a commercial cause",
    _C.DEMAND_RESPONSE: "supply is held open for demand response",
}
"""What the loser is told."""

CLAIMS: Mapping[str, Claim] = {
    "safety": _C.SAFETY,
    "emergency": _C.EMERGENCY,
    "energy_debt": _C.COMMERCIAL,
    "contract_time_table": _C.COMMERCIAL,
    "theft_by_two_people": _C.COMMERCIAL,
    "demand_response": _C.DEMAND_RESPONSE,
}
"""The claim of each cause of a cut; an emergency that two people call danger to life has a claim of its own."""

_RANK = {claim: rank for rank, claims in enumerate(PRECEDENCE) for claim in claims}


def claim_of(cause: str, *, danger: bool = False) -> Claim:
    """The claim of a cut for this cause; KeyError for one that is not on the closed list."""
    return _C.DANGER_TO_LIFE if danger else CLAIMS[cause]


def wins(claim: Claim, other: Claim) -> bool:
    """Whether the first stands above the second."""
    return _RANK[claim] < _RANK[other]


def strongest(claims: Collection[Claim]) -> Claim | None:
    """The first of them in the table; None of none."""
    return min(claims, key=lambda claim: (_RANK[claim], claim.value), default=None)


def forbids(claim: Claim, *, never_cut: bool, protected: bool, blocks: str) -> Claim | None:
    """What keeps supply on against a cut with this claim, the strongest of it; None where the cut wins."""
    standing = [_C.NEVER_CUT] if never_cut and wins(_C.NEVER_CUT, claim) else []
    if protected and claim in BLOCKS[blocks]:
        standing.append(_C.PROTECT)
    return strongest(standing)
