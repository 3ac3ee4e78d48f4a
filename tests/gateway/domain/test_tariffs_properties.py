"""Charges add up: over any split of a span, in any order of meters, and taken back again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.calendars import calendar_of
from gateway.domain.price_list import (
    Band,
    CountedOn,
    Fee,
    FeeBasis,
    PowerFactor,
    Rate,
    Reset,
    Rounding,
    RoundingMode,
    RoundingPlace,
    Season,
    StepKind,
    Steps,
    Tariff,
    Terms,
    Version,
)
from gateway.domain.readings import TOTAL, Registers
from gateway.domain.tariffs import cost, portions, price_series
from tests.gateway.domain.price_bench import MONTHLY, T1, T2, TWO_RATES, YEARLY, Account, at, tariff, version

START_MS = at("2026-01-25T00:00")
MINUTE_MS = 60_000
PRICES = st.integers(1, 2_000_000)
RESETS = st.sampled_from([MONTHLY, YEARLY, (Reset(1, month=2), Reset(1, month=3)), (Reset(28, 9),), ()])
TERMS = st.builds(Terms, st.sampled_from([None, "2026-01-20", "2026-02-03"]), st.integers(0, 6), st.integers(0, 50_000))


@st.composite
def steps(draw: st.DrawFn) -> Steps:
    tops = tuple(sorted(draw(st.sets(st.integers(1, 50_000), max_size=3))))
    amounts = tuple(draw(st.integers(0, 500_000)) for _ in range(len(tops) + 1))
    more: dict[str, Any] = {
        "persons": 3,
        "per_person_wh": draw(st.integers(0, 500)),
        "per_days": draw(st.sampled_from([None, 30])),
        "by_service": draw(st.booleans()),
    }
    return Steps(StepKind.ADDER, draw(RESETS), tops, amounts, CountedOn.USE, **more)


@st.composite
def versions(draw: st.DrawFn, place: int, from_day: str, registered: bool) -> Version:
    seasons = tuple(
        Season(f"s{number}", month, day, {Rate.PEAK: draw(PRICES), Rate.VALLEY: draw(PRICES)})
        for number, (month, day) in enumerate(sorted(draw(st.sets(st.sampled_from([(1, 27), (2, 10), (6, 1)]), min_size=1))))
    )
    bands = [Band(0, draw(st.integers(0, 300)), draw(PRICES)), Band(9_000, draw(st.integers(0, 900)), draw(PRICES))]
    fees = [Fee(f"f{n}", basis, draw(PRICES), draw(st.integers(0, 3)), draw(st.booleans())) for n, basis in enumerate(FeeBasis)]
    return version(
        id=f"v{place}",
        from_day=from_day,
        seasons=seasons,
        tou=TWO_RATES,
        registers={Rate.PEAK: (T1,), Rate.VALLEY: (T2,)} if registered else {},
        period=draw(st.sampled_from([MONTHLY, (Reset(5, 6),)])),
        steps=draw(st.none() | steps()),
        free_wh=draw(st.sampled_from([0, 3_000])),
        bands=tuple(bands[: draw(st.integers(0, 2))]),
        fees=tuple(fees[: draw(st.integers(0, 4))]),
        minimum_micro=draw(st.sampled_from([0, 5_000_000])),
        power_factor=draw(st.sampled_from([None, PowerFactor(90, ((90, -75), (0, 5_000)))])),
    )


@st.composite
def tariffs(draw: st.DrawFn, registered: bool = True) -> Tariff:
    days = ["2020-01-01", *sorted(draw(st.sets(st.sampled_from(["2026-01-29", "2026-02-14"]), max_size=2)))]
    rounding = st.builds(Rounding, st.sampled_from(RoundingPlace), st.sampled_from(RoundingMode), st.sampled_from([1, 100, 10_000]))
    return tariff(*(draw(versions(place, day, registered)) for place, day in enumerate(days)), rounding=draw(st.none() | rounding))


@st.composite
def profiles(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Time (UTC ms), peak and valley registers, rising."""
    rows = [(START_MS, draw(st.integers(0, 10**6)), draw(st.integers(0, 10**6)))]
    for minutes, peak, valley in draw(
        st.lists(st.tuples(st.integers(1, 6_000), st.integers(0, 3_000), st.integers(0, 3_000)), min_size=1, max_size=12)
    ):
        before = rows[-1]
        rows.append((before[0] + minutes * MINUTE_MS, before[1] + peak, before[2] + valley))
    return rows


def by_meter(rows: Sequence[tuple[int, int, int]]) -> list[Registers]:
    return [Registers(at_ms, {TOTAL: peak + valley, T1: peak, T2: valley}) for at_ms, peak, valley in rows]


def with_boundaries(priced: Tariff, rows: Sequence[Registers]) -> list[Registers]:
    """A reading at each boundary, too, its energy by time: what a freeze would have told."""
    found = [rows[0]]
    for start, end in itertools.pairwise(rows):
        cuts, at_ms = [], start.at_ms
        while (at_ms := calendar_of(priced).boundary_after(at_ms)) < end.at_ms:
            cuts.append(at_ms)
        for cut in cuts:
            wh = {
                name: value + (end.wh[name] - value) * (cut - start.at_ms) // (end.at_ms - start.at_ms)
                for name, value in start.wh.items()
            }
            found.append(Registers(cut, wh))
        found.append(end)
    return found


def charged(priced: Tariff, terms: Terms, rows: Sequence[Registers]) -> Account:
    account = Account(priced, terms)
    for start, end in itertools.pairwise(rows):
        account.span(start, end)
    return account


def state(account: Account) -> Mapping[str, object]:
    return {name: use for name, use in account.uses.items() if use.tranches or use.until_ms}


@settings(deadline=None)
@given(tariffs(), TERMS, profiles(), st.data())
def test_charges_over_any_split_add_up_to_the_charge_of_the_whole(
    priced: Tariff, terms: Terms, rows: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    fine = with_boundaries(priced, by_meter(rows))
    keep = {row.at_ms for row in fine if calendar_of(priced).stretch(row.at_ms).from_ms == row.at_ms}
    kept = data.draw(st.sets(st.sampled_from([row.at_ms for row in fine])))
    coarse = [row for place, row in enumerate(fine) if row.at_ms in keep | kept or place in (0, len(fine) - 1)]
    one, other = charged(priced, terms, fine), charged(priced, terms, coarse)
    assert one.micro == other.micro == one.cost() == other.cost()
    assert state(one) == state(other)


@settings(deadline=None)
@given(tariffs(), TERMS, profiles(), profiles(), st.randoms(use_true_random=False))
def test_the_order_of_meters_and_late_readings_does_not_matter(
    priced: Tariff, terms: Terms, first: list[tuple[int, int, int]], second: list[tuple[int, int, int]], order: Random
) -> None:
    spans = [*itertools.pairwise(by_meter(first)), *itertools.pairwise(by_meter(second))]
    in_order, shuffled = Account(priced, terms), Account(priced, terms)
    for start, end in spans:
        in_order.span(start, end)
    order.shuffle(spans)
    for start, end in spans:
        shuffled.span(start, end)
    assert in_order.micro == shuffled.micro == shuffled.cost()
    assert state(in_order) == state(shuffled)


@settings(deadline=None)
@given(tariffs(), TERMS, profiles(), profiles())
def test_what_is_taken_back_leaves_state_and_money_as_they_were(
    priced: Tariff, terms: Terms, first: list[tuple[int, int, int]], second: list[tuple[int, int, int]]
) -> None:
    account = charged(priced, terms, by_meter(first))
    before, money = state(account), account.micro
    wrong = [
        portion for start, end in itertools.pairwise(by_meter(second)) for portion in portions(priced, start, end, reactive_varh=7)
    ]
    account.charge(wrong)
    account.charge(take=wrong)
    assert account.micro == money
    assert state(account) == before
    account.charge(wrong, take=wrong)
    assert account.micro == money


@settings(deadline=None)
@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=8), steps(), PRICES, TERMS)
def test_blocks_and_base_with_adders_agree(used: list[int], adders: Steps, base: int, terms: Terms) -> None:
    adders = replace(adders, resets=MONTHLY)
    by_adders = tariff(version(prices={Rate.SINGLE: base}, steps=adders))
    amounts = tuple(base + amount for amount in adders.amounts)
    by_blocks = tariff(version(prices={}, steps=replace(adders, kind=StepKind.BLOCK, amounts=amounts)))
    rounding = Rounding(RoundingPlace.BILL, RoundingMode.DOWN, 1)  # lines are floored one by one, and there are not as many of them
    accounts = [Account(replace(each, rounding=rounding), terms) for each in (by_adders, by_blocks)]
    for day, wh in enumerate(used, 1):
        charges = [account.use(f"2026-01-{day:02}T00:00", f"2026-01-{day + 1:02}T00:00", wh).micro for account in accounts]
        assert charges[0] == charges[1]


@settings(deadline=None)
@given(tariffs(registered=False), TERMS, st.lists(st.tuples(st.integers(1, 900), st.integers(0, 2_000)), min_size=1, max_size=60))
def test_a_series_is_priced_as_one_charge_after_another(priced: Tariff, terms: Terms, moves: list[tuple[int, int]]) -> None:
    points = [(START_MS, 5)]
    for minutes, wh in moves:
        points.append((points[-1][0] + minutes * MINUTE_MS, points[-1][1] + wh))
    account = Account(priced, terms)
    for number, ((from_ms, from_wh), (to_ms, to_wh)) in enumerate(itertools.pairwise(points), 2):
        account.span(Registers(from_ms, {TOTAL: from_wh}), Registers(to_ms, {TOTAL: to_wh}))
        series = price_series(priced, terms, points[:number]) if number % 10 == 0 or number == len(points) else None
        if series is not None:
            assert series.uses == account.uses
            assert series.micro == account.micro
            assert series.costs == {name: cost(priced, terms, use) for name, use in account.uses.items()}


@settings(deadline=None)
@given(tariffs(registered=False), profiles())
def test_portions_hold_all_energy_and_lie_within_one_of_everything(priced: Tariff, rows: list[tuple[int, int, int]]) -> None:
    for start, end in itertools.pairwise(by_meter(rows)):
        found = portions(priced, start, end, reactive_varh=11)
        assert sum(portion.total_wh for portion in found) == end.wh[TOTAL] - start.wh[TOTAL]
        assert sum(portion.reactive_varh for portion in found) == 11
        assert (found[0].from_ms, found[-1].to_ms) == (start.at_ms, end.at_ms)
        assert all(before.to_ms == after.from_ms for before, after in itertools.pairwise(found))
        for portion in found:
            assert sum(portion.wh.values()) == portion.total_wh
            stretch = calendar_of(priced).stretch(portion.from_ms)
            assert (portion.period, portion.version, portion.season) == (stretch.bill.name, stretch.version.id, stretch.season.id)
            assert portion.to_ms <= stretch.to_ms
