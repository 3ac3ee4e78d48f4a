"""Conflicting orders: the whole table of precedence is walked (prepayment.md, "What we decided" 4)."""

from __future__ import annotations

import itertools

import pytest

from gateway.domain.precedence import BLOCKS, CLAIMS, FOR_SUPPLY, PRECEDENCE, SENTENCES, Claim, claim_of, forbids, strongest, wins
from gateway.domain.supply import CutCause

ORDER = "danger_to_life > never_cut > protect > safety emergency > commercial > demand_response"
"""As the document has it."""

RANKS = [set(rank.split()) for rank in ORDER.split(" > ")]


def test_the_table_is_the_documents() -> None:
    assert [set(claims) for claims in PRECEDENCE] == RANKS
    assert {claim for claims in PRECEDENCE for claim in claims} == set(Claim) == set(SENTENCES)


@pytest.mark.parametrize(("one", "other"), list(itertools.product(Claim, Claim)))
def test_every_pair_has_at_most_one_winner_and_it_is_the_higher_one(one: Claim, other: Claim) -> None:
    higher = next(n for n, rank in enumerate(RANKS) if one in rank) < next(n for n, rank in enumerate(RANKS) if other in rank)
    assert wins(one, other) is higher
    assert not (wins(one, other) and wins(other, one))
    assert strongest([one, other]) == (one if higher or (one.value < other.value and not wins(other, one)) else other)


def test_nobody_is_the_strongest_of_none() -> None:
    assert strongest([]) is None


def test_every_cause_has_its_claim() -> None:
    assert set(CLAIMS) == {cause.value for cause in CutCause}
    assert {cause: claim_of(cause) for cause in CutCause} == {
        "safety": Claim.SAFETY,
        "emergency": Claim.EMERGENCY,
        "energy_debt": Claim.COMMERCIAL,
        "contract_time_table": Claim.COMMERCIAL,
        "theft_by_two_people": Claim.COMMERCIAL,
        "demand_response": Claim.DEMAND_RESPONSE,
    }
    assert {claim_of(cause, danger=True) for cause in CutCause} == {Claim.DANGER_TO_LIFE}
    with pytest.raises(KeyError):
        claim_of("rent")


@pytest.mark.parametrize("never_cut", [False, True])
@pytest.mark.parametrize("protected", [None, "all", "commercial"])
@pytest.mark.parametrize("claim", sorted(set(Claim) - FOR_SUPPLY))
def test_what_keeps_supply_on_against_each_cut(claim: Claim, protected: str | None, never_cut: bool) -> None:
    """The expectation is written out by hand, not by the table."""
    expected = None
    commercial = claim in ("commercial", "demand_response")
    if claim != "danger_to_life":
        if protected == "all" or (protected == "commercial" and commercial):
            expected = Claim.PROTECT
        if never_cut:
            expected = Claim.NEVER_CUT
    assert forbids(claim, never_cut=never_cut, protected=protected is not None, blocks=protected or "all") is expected


def test_protection_never_blocks_what_stands_above_it() -> None:
    assert all(wins(Claim.PROTECT, claim) for claims in BLOCKS.values() for claim in claims)
    assert BLOCKS["commercial"] < BLOCKS["all"]
