"""What no meter can have counted is not billed, one glitch holds no bill for ever (prepayment.md 7; field-lessons.md, pain 21)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.readings import (
    SENTINELS,
    TOTAL,
    Billing,
    Bound,
    Doubt,
    Item,
    Judgement,
    Quality,
    Registers,
    agree,
    confirms_itself,
    energy_registers,
    judge,
    least_wms,
    primary_w,
    sentinel,
    turned_over,
)

TOP = 1_000_000_000
BOUND = Bound(max_power_w=10_000, count_wh=10, capacity_wh=TOP)
MINUTE, HOUR = 60_000, 3_600_000


def total(at_ms: int, wh: int) -> Registers:
    return Registers(at_ms, {TOTAL: wh})


def block(at_ms: int, *rates: int) -> Registers:
    return Registers(at_ms, {TOTAL: sum(rates)} | {f"{TOTAL}_t{n}": wh for n, wh in enumerate(rates, 1)})


def begun(wh: int, first: int = 0) -> Billing:
    return Billing("m", confirmed=total(0, wh), first_wh=first, moved_ms=0)


# names of what is no value


@pytest.mark.parametrize("pattern", SENTINELS)
def test_pain_21_a_pattern_that_means_no_value_is_suspect_however_long_the_meter_was_not_read(pattern: str) -> None:
    first, last = SENTINELS[pattern]
    for counts in (first, last):
        verdict = judge(begun(1000, 500), total(10_000 * 24 * HOUR, counts * BOUND.count_wh), BOUND)
        assert (verdict.quality, verdict.doubt, verdict.billable) == (Quality.SUSPECT, Doubt.SENTINEL, None)
        assert sentinel(None, total(0, counts * BOUND.count_wh), BOUND) == pattern


def test_a_register_that_counts_its_way_through_a_pattern_is_believed() -> None:
    near = 0xFFFF * 10 - 2_000
    assert judge(begun(near, 500), total(HOUR, 0xFFFF * 10), BOUND).quality is Quality.SINGLE
    assert judge(begun(999_990_000, 1), total(HOUR, 999_999_990), BOUND).quality is Quality.SINGLE


def test_a_first_reading_that_is_no_value_begins_no_bill() -> None:
    assert judge(Billing("m"), total(0, 0xFFFF_FFFF * 10), BOUND).billing.newest is None


# jumps


def test_time_alone_makes_no_jump_true() -> None:
    """500 kWh more within a minute, and from there on as ever: after 50 hours 10 kW could have drawn that, but they did not."""
    billing = begun(1_000_000, 500)
    for n in range(1, 400):
        verdict = judge(billing, total(n * 15 * MINUTE, 1_500_000 + 100 * n), BOUND)
        billing = verdict.billing
        assert (verdict.doubt, verdict.billable) == (Doubt.JUMP, None)
    assert billing.suspects == 399


def test_a_step_that_an_hour_of_full_load_explains_heals_by_waiting() -> None:
    billing, doubts = begun(1_000_000, 500), []
    for n in range(1, 8):
        verdict = judge(billing, total(n * 15 * MINUTE, 1_011_000), BOUND)
        billing = verdict.billing
        doubts.append(verdict.doubt)
    assert doubts == [Doubt.JUMP] * 4 + [None] * 3


def test_a_bill_that_had_not_begun_yields_to_an_hour_of_readings_that_agree() -> None:
    """Pain 21: 0 at first, then the full total."""
    first = judge(Billing("m"), block(0, 0, 0), BOUND).billing
    billing, seen = first, []
    for n in range(1, 8):
        verdict = judge(billing, block(n * 20 * MINUTE, 800_000 + 100 * n, 400_000), BOUND)
        billing = verdict.billing
        seen.append(verdict.quality)
    assert seen == [Quality.SUSPECT] * 4 + [Quality.CONFIRMED] * 3
    assert (billing.first_wh, billing.held) == (1_200_500, None)


def test_once_money_has_moved_no_number_of_readings_moves_the_bill_back() -> None:
    billing = begun(1_000_000, 500)
    for n in range(1, 100):
        billing = judge(billing, block(n * HOUR, 10 * n, 0), BOUND).billing
    assert (billing.confirmed, billing.held) == (total(0, 1_000_000), Doubt.LOWER)


def test_a_block_whose_decimal_point_may_have_slipped_waits_for_the_next() -> None:
    billing = Billing("m", confirmed=block(0, 500, 500), first_wh=100)
    slipped = judge(billing, block(HOUR, 5_000, 5_100), BOUND)
    assert (slipped.quality, slipped.billable) == (Quality.SINGLE, None)
    true = judge(slipped.billing, block(2 * HOUR, 540, 500), BOUND)
    assert (true.quality, true.billable) == (Quality.CONFIRMED, block(2 * HOUR, 540, 500))


# standing still


def test_power_between_two_samples_counts_as_the_lower_of_them() -> None:
    samples = [(0, 1000), (60_000, 3000), (120_000, -500), (180_000, 400), (900_000, 400)]
    assert least_wms(samples, 180_000) == 1000 * 60_000


def test_a_register_that_stands_while_power_flows_is_suspect_until_it_moves() -> None:
    two_counts = 2 * BOUND.count_wh * HOUR
    billing = judge(begun(1000, 500), total(MINUTE, 1000), BOUND, two_counts - 1).billing
    assert billing.held is None
    still = judge(billing, total(2 * MINUTE, 1000), BOUND, 1)
    assert (still.quality, still.doubt) == (Quality.SUSPECT, Doubt.STILL)
    moved = judge(still.billing, total(3 * MINUTE, 1010), BOUND)
    assert (moved.quality, moved.billing.held, moved.billing.still_wms) == (Quality.SINGLE, None, 0)


# the top of the register


def test_a_rollover_is_accepted_when_two_blocks_agree_on_it() -> None:
    before = Registers(0, {TOTAL: TOP - 100, f"{TOTAL}_t1": TOP - 40_000, f"{TOTAL}_t2": 39_900})
    billing = Billing("m", confirmed=before, first_wh=500)
    rolled = [
        Registers(n * MINUTE, {TOTAL: 50 + 10 * n, f"{TOTAL}_t1": TOP - 40_000 + 150 + 10 * n, f"{TOTAL}_t2": 39_900})
        for n in (1, 2)
    ]
    first = judge(billing, rolled[0], BOUND)
    assert (first.quality, first.doubt, first.billing.held) == (Quality.SUSPECT, Doubt.ROLLOVER, Doubt.ROLLOVER)
    second = judge(first.billing, rolled[1], BOUND)
    assert (second.quality, second.billable, second.billing.held) == (Quality.CONFIRMED, rolled[1], None)
    assert second.turned is not None
    last, begins = second.turned
    assert (last.wh[TOTAL], begins.wh[TOTAL]) == (TOP, 0)
    assert last.wh[f"{TOTAL}_t1"] == begins.wh[f"{TOTAL}_t1"] == TOP - 40_000
    again = judge(second.billing, Registers(3 * MINUTE, dict(rolled[1].wh)), BOUND)
    assert again.quality is Quality.CONFIRMED  # the total is now short of its rates by the whole register


def test_without_rates_a_rollover_waits_for_a_person() -> None:
    billing = begun(TOP - 50, 500)
    for n in range(1, 20):
        verdict = judge(billing, total(n * MINUTE, 20 + n), BOUND)
        billing = verdict.billing
        assert (verdict.doubt, verdict.turned) == (Doubt.ROLLOVER, None)


@pytest.mark.parametrize(
    ("before", "after", "capacity"),
    [(TOP - 500_000, 20, TOP), (TOP - 50, 5_000, TOP), (TOP - 50, 20, 0), (500_000, 0, TOP)],
    ids=["too far from the top", "too far beyond it", "no top known", "nowhere near"],
)
def test_a_register_that_cannot_have_gone_over_its_top_is_only_lower(before: int, after: int, capacity: int) -> None:
    bound = Bound(10_000, 10, capacity)
    assert turned_over(total(0, before), total(MINUTE, after), bound) is None
    assert judge(begun(before, 1), total(MINUTE, after), bound).doubt is Doubt.LOWER


def test_a_lost_memory_is_no_rollover() -> None:
    before = block(0, TOP // 2, TOP // 2 - 100)
    assert turned_over(before, block(MINUTE, 0, 0), BOUND) is None


# freezes, ratios, blocks


@pytest.mark.parametrize(("ratio", "wh"), [("1", 12_340), ("60", 740_400), ("19/5", 46_892)])
def test_secondary_registers_are_billed_as_they_are_in_front_of_the_transformers(ratio: str, wh: int) -> None:
    item = Item(TOTAL, Decimal("12.34"), "kWh")
    assert energy_registers((item,), Fraction(ratio)) == {TOTAL: wh}


def test_steps_that_are_no_whole_wh_are_not_billed() -> None:
    assert energy_registers((Item(TOTAL, Decimal("12.341"), "kWh"),), Fraction(19, 5)) is Doubt.FINE
    assert primary_w(Decimal("-1.2345"), Fraction(60)) == -74_070


def test_a_total_alone_does_not_replace_the_rates_that_the_bill_needs() -> None:
    billing = Billing("m", confirmed=block(0, 600, 400), first_wh=100)
    for n in range(1, 5):
        verdict = judge(billing, total(n * MINUTE, 1000 + 10 * n), BOUND, rates_matter=True)
        billing = verdict.billing
        assert (verdict.quality, verdict.billable, billing.held) == (Quality.SINGLE, None, None)
    assert judge(billing, block(HOUR, 700, 400), BOUND, rates_matter=True).quality is Quality.CONFIRMED
    assert judge(billing, total(25 * HOUR, 1100), BOUND, rates_matter=True).doubt is Doubt.MISSING
    assert judge(billing, total(HOUR, 1100), BOUND).billing.candidate == total(HOUR, 1100)


# random histories

RATES = 3
GLITCHES = ("zero", "ten", "hundred", "nines", "ones", "old", "flip", "count", "filler of zeros")


@dataclass
class Register:
    """The truth: rates in Wh, truncated to counts when they are read."""

    rates: list[int]

    def read(self, at_ms: int, blocks: bool) -> Registers:
        shown = [wh // 10 * 10 for wh in self.rates]
        names = {f"{TOTAL}_t{n}": wh for n, wh in enumerate(shown, 1)} if blocks else {}
        return Registers(at_ms, {TOTAL: sum(self.rates) // 10 * 10} | names)


def disturbed(true: Registers, glitch: str, past: list[Registers], rng: Random) -> Registers:
    wh = dict(true.wh)
    name = rng.choice(sorted(wh))
    match glitch:
        case "zero":
            wh = dict.fromkeys(wh, 0)
        case "filler of zeros":
            wh[name] = 0
        case "ten" | "hundred":
            wh = {n: value * {"ten": 10, "hundred": 100}[glitch] for n, value in wh.items()}
        case "nines":
            wh = dict.fromkeys(wh, 999_999_990)
        case "ones":
            wh = dict.fromkeys(wh, 0xFFFF_FFFF * 10)
        case "old":
            wh = dict(rng.choice(past).wh)
        case "flip":
            wh[name] = (wh[name] // 10 ^ 1 << rng.randrange(27)) * 10
        case "count":
            wh[name] = max(0, wh[name] - 10)
    return Registers(true.at_ms, wh)


@settings(max_examples=300, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from([1_000, 15_000, MINUTE, 15 * MINUTE, HOUR, 24 * HOUR]), st.integers(0, 100)),
        min_size=3, max_size=40,
    ),
)  # fmt: skip
def test_pain_21_single_glitches_are_never_billed_and_always_got_over(
    rng: Random, blocks: bool, steps: list[tuple[int, int]]
) -> None:
    """Whatever is billed the meter had counted by then, and within two days the bill stands where the meter does."""
    true, at_ms = Register([rng.randrange(10, 50_000_000) for _ in range(RATES)]), 0
    past: list[Registers] = []
    billed: list[Registers] = []
    billing, quiet = Billing("m"), 0

    def read(glitch: str | None) -> Judgement:
        nonlocal billing
        honest = true.read(at_ms, blocks)
        verdict = judge(billing, honest if glitch is None else disturbed(honest, glitch, past, rng), BOUND)
        past.append(honest)
        billing = verdict.billing
        if verdict.billable is not None:
            billed.append(verdict.billable)
            slack = 2 * RATES * BOUND.count_wh if blocks else 0  # what the separate truncation of a block can hide
            assert all(wh <= honest.wh[name] + slack for name, wh in verdict.billable.wh.items())
        return verdict

    for gap_ms, load in steps:
        at_ms += gap_ms
        most = BOUND.max_power_w * gap_ms // HOUR
        true.rates[rng.randrange(RATES)] += most * load // 100
        glitch = rng.choice(GLITCHES) if quiet >= 3 and rng.random() < 0.3 else None
        quiet = 0 if glitch else quiet + 1
        read(glitch)
    for _ in range(8):
        at_ms += 6 * HOUR
        for rate in range(RATES):
            true.rates[rate] += 1_000
        last = read(None)
    assert (billing.held, last.doubt) == (None, None)
    assert billed[-1] == past[-1 if blocks else -2]
    assert all(before.wh[TOTAL] <= after.wh[TOTAL] for before, after in itertools.pairwise(billed))
    assert billing.first_wh == billed[0].wh[TOTAL]


@given(st.integers(2, 63), st.randoms(use_true_random=False))
def test_rates_that_are_truncated_separately_confirm_their_total(rates: int, rng: Random) -> None:
    wh = [rng.randrange(10**9) for _ in range(rates)]
    shown = {TOTAL: sum(wh) // 10 * 10} | {f"{TOTAL}_t{n}": value // 10 * 10 for n, value in enumerate(wh, 1)}
    assert confirms_itself(shown, 10)
    assert not confirms_itself(shown | {TOTAL: shown[TOTAL] + 10 * (rates + 1)}, 10)


@given(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**8))
def test_agreement_is_neither_lower_nor_beyond_physics(before: int, gap_ms: int, rise: int) -> None:
    found = agree(total(0, before), total(gap_ms, before + rise), BOUND)
    assert (found is None) == (rise * HOUR <= BOUND.max_power_w * gap_ms + BOUND.count_wh * HOUR + HOUR - 1)
