"""Which readings may be billed (prepayment.md, "What we decided" 7)."""

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.readings import Billing, Bound, Doubt, Item, Quality, Registers, agree, confirms_itself, energy_registers, judge

BOUND = Bound(max_power_w=10_000, count_wh=10)
MINUTE = 60_000


def total(at_ms: int, wh: int) -> Registers:
    return Registers(at_ms, {"energy_import": wh})


@pytest.mark.parametrize(
    ("later_wh", "doubt"),
    [
        (1000, None),
        (1000 + 167 + 10, None),  # 10 kW for a minute is 166.7 Wh, and one count
        (1000 + 167 + 11, Doubt.JUMP),
        (999, Doubt.LOWER),
    ],
)
def test_agreement_of_two_readings_a_minute_apart(later_wh: int, doubt: Doubt | None) -> None:
    assert agree(total(0, 1000), total(MINUTE, later_wh), BOUND) is doubt


def test_a_register_that_vanished_is_a_doubt() -> None:
    first = Registers(0, {"energy_import": 100, "energy_import_t1": 60, "energy_import_t2": 40})
    half = Registers(MINUTE, {"energy_import": 100, "energy_import_t1": 60})
    assert agree(first, half, BOUND) is Doubt.MISSING
    assert agree(first, total(MINUTE, 100), BOUND) is None  # a bad line brings no blocks: the total alone is compared as such
    assert agree(first, total(MINUTE, 90), BOUND) is Doubt.LOWER


@pytest.mark.parametrize(("rates", "agrees"), [([60, 40], True), ([50, 30], True), ([50, 20], False), ([], False)])
def test_a_block_confirms_itself_within_one_count_a_rate(rates: list[int], agrees: bool) -> None:
    wh = {"energy_import": 100} | {f"energy_import_t{n}": value for n, value in enumerate(rates, 1)}
    assert confirms_itself(wh, 10) is agrees


def test_the_next_consistent_reading_confirms_the_earlier_one() -> None:
    first = judge(Billing("m"), total(0, 1000), BOUND)
    assert (first.quality, first.billable) == (Quality.SINGLE, None)
    second = judge(first.billing, total(MINUTE, 1050), BOUND)
    assert (second.quality, second.billable) == (Quality.SINGLE, total(0, 1000))
    third = judge(second.billing, total(2 * MINUTE, 1060), BOUND)
    assert third.billable == total(MINUTE, 1050)
    assert third.billing.first_wh == 1000


def test_a_wrong_high_candidate_is_dropped_and_never_billed() -> None:
    billing = judge(judge(Billing("m"), total(0, 1000), BOUND).billing, total(MINUTE, 1010), BOUND).billing
    wrong = judge(billing, total(2 * MINUTE, 1300), BOUND)
    assert wrong.billing.candidate == total(2 * MINUTE, 1300) or wrong.quality is Quality.SUSPECT
    true = judge(wrong.billing, total(3 * MINUTE, 1030), BOUND)
    assert true.billable is None or true.billable.wh["energy_import"] <= 1030


def test_of_two_that_contradict_each_other_neither_is_billed() -> None:
    billing = Billing("m", confirmed=total(0, 1000), candidate=total(MINUTE, 1050), first_wh=900)
    wrong_low = judge(billing, total(2 * MINUTE, 1020), BOUND)
    assert (wrong_low.quality, wrong_low.doubt, wrong_low.billing.candidate) == (Quality.SUSPECT, Doubt.LOWER, None)
    after = judge(wrong_low.billing, total(3 * MINUTE, 1100), BOUND)
    assert (after.quality, after.billable, after.billing.candidate) == (Quality.SINGLE, None, total(3 * MINUTE, 1100))


def test_a_register_that_goes_back_holds_the_bill_until_it_is_plausible_again() -> None:
    billing = Billing("m", confirmed=total(0, 1000), first_wh=1000)
    back = judge(billing, total(MINUTE, 900), BOUND)
    assert (back.quality, back.doubt, back.billable, back.billing.held) == (Quality.SUSPECT, Doubt.LOWER, None, Doubt.LOWER)
    assert judge(back.billing, total(2 * MINUTE, 1010), BOUND).billing.held is None


def test_a_filler_among_the_registers_makes_them_unusable() -> None:
    good = Item("energy_import", Decimal("1.20"), "kWh")
    assert energy_registers((good,)) == {"energy_import": 1200}
    assert energy_registers((good, Item("energy_import_t1", None, "kWh"))) is Doubt.FILLER
    assert energy_registers((Item("energy_import", None, "kWh", coarse=Decimal("131072.01")),)) is Doubt.COARSE
    assert energy_registers((Item("energy_import", Decimal("1.2005"), "kWh"),)) is Doubt.FINE  # than 1 Wh: shown, never billed
    assert energy_registers((Item("energy_import", Decimal("1.2000"), "kWh"),)) == {"energy_import": 1200}
    assert energy_registers((Item("power", Decimal("1.0"), "kW"),)) is None


@given(st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(1, 120_000)), min_size=1, max_size=30))
def test_what_is_billed_never_goes_back_and_never_exceeds_physics(readings: list[tuple[int, int]]) -> None:
    billing, at_ms, billed = Billing("m"), 0, []
    for wh, gap_ms in readings:
        at_ms += gap_ms
        verdict = judge(billing, total(at_ms, wh), BOUND)
        billing = verdict.billing
        if verdict.billable is not None:
            billed.append(verdict.billable)
    for before, after in itertools.pairwise(billed):
        assert agree(before, after, BOUND) is None
