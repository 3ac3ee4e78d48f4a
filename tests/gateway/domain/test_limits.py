"""The limiter: over, tripped, reclosed, locked out; warnings; caps of a contract beside the limit itself (prepayment.md d, F9)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.limits import (
    WITHIN_LIMIT,
    LimitAction,
    Limiter,
    LimitMemory,
    LimitPhase,
    LimitState,
    LoadLimit,
    Trip,
    allowed,
    ends_ms,
    on_cut_seen,
    on_load,
    on_malignant,
    on_time,
    released,
    set_by_people,
    taken_over,
    used_up,
    warns,
    withdrawn,
)
from gateway.domain.load_caps import Allowed, Cap, CapTable, Draw, MonthCap
from gateway.domain.malignant_load import MalignantMode, MalignantRule, PowerWindow

WITHIN, OVER, TRIPPED, LOCKED = LimitPhase.WITHIN, LimitPhase.OVER, LimitPhase.TRIPPED, LimitPhase.LOCKED
NONE, CUT, RECLOSE, LOCK = LimitAction.NONE, LimitAction.CUT, LimitAction.RECLOSE, LimitAction.LOCK
LIMIT = LoadLimit(power_w=2000, delay_ms=10_000, pause_ms=30_000, recloses=1)
GAP_MS = 20_000
HEATERS = MalignantRule(MalignantMode.TRIP, (PowerWindow(300, 3000),), restore_ms=7_000, daily_restores=1)
STRICT = replace(LIMIT, malignant=HEATERS)


def power(
    limiter: Limiter, watts: int, at_ms: int, limit: LoadLimit = LIMIT, cap_w: int | None = None
) -> tuple[Limiter, LimitAction]:
    may = limit.itself if cap_w is None else Allowed(cap_w)
    return on_load(limit, limiter, Draw(watts), may, at_ms, GAP_MS)


def over(since_ms: int = 0, seen_ms: int = 0, spent: int = 0, danger_ms: int | None = 0) -> Limiter:
    return Limiter(LimitState(OVER, since_ms, spent, seen_ms), LimitMemory(danger_ms=danger_ms))


def test_a_load_limit_cuts_recloses_and_locks() -> None:
    it, action = power(Limiter(), 2001, 0)
    assert (it.state, it.memory.danger_ms, action) == (LimitState(OVER, 0, 0, 0), 0, NONE)
    it, action = power(it, 2001, 10_000)
    assert (it.state, action) == (LimitState(OVER, 0, 0, 10_000), NONE)
    it, action = power(it, 2001, 10_001)
    assert (it.state, it.memory.by, action) == (LimitState(TRIPPED, 10_001), Trip.LIMIT, CUT)
    assert power(it, 9999, 11_000) == (it, NONE)
    it = replace(it, state=on_cut_seen(it.state, 15_000))
    assert on_time(LIMIT, it, 44_999) == (it, NONE)
    it, action = on_time(LIMIT, it, 45_000)
    assert (it.state, it.memory.restores, action) == (LimitState(WITHIN, 45_000, 1), 0, RECLOSE)
    it, _ = power(it, 2500, 50_000)
    assert it.state == LimitState(OVER, 50_000, 1, 50_000)
    it, action = power(it, 2500, 61_000)
    assert (it.state, it.memory.by, action) == (LimitState(LOCKED, 61_000, 1), Trip.LIMIT, LOCK)
    assert power(it, 9999, 62_000) == (it, NONE)
    assert on_time(LIMIT, it, 10**12) == (it, NONE)
    assert released(10**9) == LimitState(WITHIN, 10**9)


@pytest.mark.parametrize(("spent", "phase"), [(0, TRIPPED), (1, LOCKED), (2, LOCKED)])
def test_with_all_recloses_spent_it_locks(spent: int, phase: LimitPhase) -> None:
    assert power(over(0, 10_000, spent), 2001, 10_001)[0].state == LimitState(phase, 10_001, spent)


@pytest.mark.parametrize(("look_ms", "starts_anew"), [(20_000, False), (20_001, True), (-20_000, False), (-20_001, True)])
def test_an_overload_that_was_not_watched_starts_anew(look_ms: int, starts_anew: bool) -> None:
    at_ms = 100_000 + look_ms
    it, action = power(over(100_000, 100_000, danger_ms=100_000), 2001, at_ms)
    if starts_anew:
        assert (it.state, it.memory.danger_ms, action) == (LimitState(OVER, at_ms, 0, at_ms), at_ms, NONE)
    else:
        assert (it.state.phase, action) == ((TRIPPED, CUT) if look_ms > 0 else (OVER, NONE))


def test_what_is_remembered_stays_whatever_is_drawn() -> None:
    memory = LimitMemory("2026-03", by=Trip.CAP, restores=2, excused_ms=7)
    for it in (Limiter(memory=memory), Limiter(over().state, memory)):
        for watts in (100, 2001):
            after = power(it, watts, 10)[0].memory
            assert replace(after, danger_ms=None) == memory


def test_an_end_of_the_overload_counts_from_then() -> None:
    it, action = power(over(5, 9, spent=1), 2000, 10)
    assert (it.state, it.memory.danger_ms, action) == (LimitState(WITHIN, 10, 1), None, NONE)


@pytest.mark.parametrize(
    ("at_ms", "state"),
    [
        (3_600_099, LimitState(WITHIN, 100, 1)),
        (3_600_100, LimitState(WITHIN, 3_600_100, 0)),
        (99, LimitState(WITHIN, 99, 1)),  # the clock was set back
        (100, LimitState(WITHIN, 100, 1)),
    ],
)
def test_the_count_of_recloses_is_forgotten_after_an_hour_within_the_limit(at_ms: int, state: LimitState) -> None:
    assert power(Limiter(LimitState(WITHIN, 100, 1)), 100, at_ms)[0].state == state


def test_without_a_count_nothing_moves_within_the_limit() -> None:
    it = Limiter(LimitState(WITHIN, 100))
    for at_ms in (50, 100, 10**9):
        assert power(it, 100, at_ms) == (it, NONE)


@pytest.mark.parametrize(
    ("danger_ms", "watts", "by"),
    [
        (None, 1500, Trip.CAP),  # never beyond the limit itself
        (100, 1500, Trip.CAP),  # no longer
        (None, 2001, Trip.CAP),  # only just
        (1, 2001, Trip.CAP),  # for the delay and no longer
        (0, 2001, Trip.LIMIT),
    ],
)
def test_only_what_was_beyond_the_limit_itself_all_the_time_trips_for_safety(danger_ms: int | None, watts: int, by: Trip) -> None:
    it, action = power(over(0, 9_000, danger_ms=danger_ms), watts, 10_001, cap_w=800)
    assert (it.memory.by, it.state.phase, action) == (by, TRIPPED, CUT)


def test_how_long_it_is_beyond_the_limit_itself_is_counted_apart() -> None:
    it, _ = power(Limiter(), 900, 0, cap_w=800)
    assert (it.state.since_ms, it.memory.danger_ms) == (0, None)
    it, _ = power(it, 2001, 3_000, cap_w=800)
    it, _ = power(it, 2001, 6_000, cap_w=800)
    assert (it.state.since_ms, it.state.seen_ms, it.memory.danger_ms) == (0, 6_000, 3_000)
    it, _ = power(it, 900, 7_000, cap_w=800)
    assert it.memory.danger_ms is None
    it, _ = power(it, 2001, 8_000, cap_w=800)
    assert it.memory.danger_ms == 8_000


def test_the_pause_runs_from_where_the_switch_was_seen_open() -> None:
    assert on_cut_seen(LimitState(TRIPPED, 5, 1), 9) == LimitState(TRIPPED, 9, 1)
    assert on_cut_seen(LimitState(LOCKED, 5, 1), 9) == LimitState(LOCKED, 9, 1)
    for phase in (WITHIN, OVER):
        assert on_cut_seen(LimitState(phase, 5, 1, 3), 9) == LimitState(phase, 5, 1, 3)


@pytest.mark.parametrize("phase", [TRIPPED, LOCKED])
@pytest.mark.parametrize(
    ("by", "after"),
    [
        (Trip.LIMIT, Limiter(LimitState(OVER, 9, 1, 9), LimitMemory(by=Trip.LIMIT, danger_ms=9))),
        (Trip.CAP, Limiter(LimitState(OVER, 9, 1, 9), LimitMemory(by=Trip.CAP))),
        (Trip.MALIGNANT, Limiter(LimitState(WITHIN, 9, 1), LimitMemory(by=Trip.MALIGNANT, danger_ms=3))),
    ],
)
def test_a_trip_without_permission_goes_back_to_watching_and_spends_nothing(phase: LimitPhase, by: Trip, after: Limiter) -> None:
    assert withdrawn(Limiter(LimitState(phase, 5, 1), LimitMemory(by=by, danger_ms=3)), 9) == after


@pytest.mark.parametrize("phase", [WITHIN, OVER])
def test_where_nothing_is_held_nothing_is_withdrawn(phase: LimitPhase) -> None:
    it = Limiter(LimitState(phase, 5, 1, 4), LimitMemory(danger_ms=3))
    assert withdrawn(it, 9) == it


LOCKING = replace(STRICT, lockout_ms=1_800_000)


@pytest.mark.parametrize(
    ("limit", "phase", "by", "ends"),
    [
        (LIMIT, WITHIN, Trip.LIMIT, None),
        (LIMIT, OVER, Trip.LIMIT, None),
        (LIMIT, TRIPPED, Trip.LIMIT, 30_100),
        (LIMIT, TRIPPED, Trip.CAP, 30_100),
        (STRICT, TRIPPED, Trip.LIMIT, 30_100),
        (STRICT, TRIPPED, Trip.MALIGNANT, 7_100),
        (LIMIT, TRIPPED, Trip.MALIGNANT, 30_100),  # the rule went meanwhile
        (LIMIT, LOCKED, Trip.LIMIT, None),
        (LOCKING, LOCKED, Trip.LIMIT, 1_800_100),
        (LOCKING, LOCKED, Trip.CAP, 1_800_100),
        (LOCKING, LOCKED, Trip.MALIGNANT, None),
    ],
)
def test_when_time_ends_a_trip(limit: LoadLimit, phase: LimitPhase, by: Trip, ends: int | None) -> None:
    it = Limiter(LimitState(phase, 100, 1, 50), LimitMemory(by=by))
    assert ends_ms(limit, it) == ends
    if ends is not None:
        assert on_time(limit, it, ends - 1) == (it, NONE)
        assert on_time(limit, it, ends)[1] is RECLOSE


def test_a_lock_out_that_time_ends_starts_anew() -> None:
    it = Limiter(LimitState(LOCKED, 100, 1), LimitMemory(restores=2))
    after, action = on_time(LOCKING, it, 1_800_100)
    assert (after, action) == (Limiter(LimitState(WITHIN, 1_800_100), LimitMemory(restores=2)), RECLOSE)


@pytest.mark.parametrize(("phase", "limit"), [(TRIPPED, LIMIT), (LOCKED, LOCKING)])
def test_when_the_clock_is_set_back_a_pause_runs_anew(phase: LimitPhase, limit: LoadLimit) -> None:
    it = Limiter(LimitState(phase, 10**9, 1))
    assert on_time(limit, it, 10**9) == (it, NONE)
    back = on_time(limit, it, 500)
    assert back == (Limiter(LimitState(phase, 500, 1)), NONE)
    assert on_time(limit, back[0], ends_ms(limit, back[0]) or 0)[1] is RECLOSE


def test_a_malignant_load_trips_at_once_and_spends_the_days_restores() -> None:
    it, action = on_malignant(STRICT, Limiter(LimitState(WITHIN, 3, 1), LimitMemory(danger_ms=8)), "2026-03-01", 100)
    assert action is CUT
    assert it == Limiter(LimitState(TRIPPED, 100, 1), LimitMemory(by=Trip.MALIGNANT, danger_ms=8, day="2026-03-01"))
    it, action = on_time(STRICT, it, 7_100)
    assert (it.state, it.memory.restores, action) == (
        LimitState(WITHIN, 7_100, 1),
        1,
        RECLOSE,
    )  # no reclose of the limit's is spent
    locked, action = on_malignant(STRICT, it, "2026-03-01", 8_000)
    assert (locked.state, locked.memory.restores, action) == (LimitState(LOCKED, 8_000, 1), 1, LOCK)
    tripped, action = on_malignant(STRICT, it, "2026-03-02", 8_000)
    assert (tripped.state.phase, tripped.memory.day, tripped.memory.restores, action) == (TRIPPED, "2026-03-02", 0, CUT)


def test_a_malignant_load_changes_nothing_where_supply_is_open_or_no_rule_is() -> None:
    for phase in (TRIPPED, LOCKED):
        it = Limiter(LimitState(phase, 5))
        assert on_malignant(STRICT, it, "2026-03-01", 9) == (it, NONE)
    assert on_malignant(LIMIT, Limiter(), "2026-03-01", 9) == (Limiter(), NONE)
    assert on_malignant(STRICT, over(), "2026-03-01", 9)[1] is CUT


WARNED = replace(LIMIT, warn=900, current_ma=10_000)


@pytest.mark.parametrize(
    ("draw", "warned_ms", "told"),
    [
        (Draw(1800), None, False),
        (Draw(1801), None, True),
        (Draw(100, 9_000), None, False),
        (Draw(100, 9_001), None, True),
        (Draw(1801), 0, False),
        (Draw(1801), -3_599_999 + 1_000, False),
        (Draw(1801), -3_600_000 + 1_000, True),
        (Draw(1801), 1_001, True),  # the clock was set back
        (Draw(1801), 1_000, False),
    ],
)
def test_a_warning_is_told_once_an_hour(draw: Draw, warned_ms: int | None, told: bool) -> None:
    it = Limiter(memory=LimitMemory(warned_ms=warned_ms))
    assert warns(WARNED, it, draw, WARNED.itself, 1_000) is told


def test_who_is_over_already_or_asked_for_none_is_not_warned() -> None:
    for phase in (OVER, TRIPPED, LOCKED):
        assert not warns(WARNED, Limiter(LimitState(phase)), Draw(1900), WARNED.itself, 0)
    assert not warns(replace(WARNED, warn=0), Limiter(), Draw(1900), WARNED.itself, 0)
    assert not warns(WARNED, Limiter(), Draw(10**9), Allowed(), 0)
    assert warns(WARNED, Limiter(), Draw(451), Allowed(500), 0)  # of what may be drawn at this time


TABLE = CapTable("plan", (Cap(0),))
MONTH = MonthCap(50_000, "plan", 600)
USED = LimitMemory(month="2026-03", month_from_ms=100, month_to_ms=200)


@pytest.mark.parametrize(
    ("limit", "cap", "memory", "at_ms", "may"),
    [
        (LIMIT, None, LimitMemory(), 0, Allowed(2000)),
        (LoadLimit(0, 1, 1, 1, current_ma=6_000), None, LimitMemory(), 0, Allowed(None, 6_000)),
        (LIMIT, Cap(0, 800), LimitMemory(), 0, Allowed(800)),
        (LIMIT, Cap(0, 9_000), LimitMemory(), 0, Allowed(2000)),
        (LIMIT, Cap(0, None, 5_000), LimitMemory(), 0, Allowed(2000, 5_000)),
        (replace(LIMIT, current_ma=4_000), Cap(0, None, 5_000), LimitMemory(), 0, Allowed(2000, 4_000)),
        (LIMIT, Cap(0, off=True), LimitMemory(), 0, Allowed(2000, None, True)),
        (replace(LIMIT, month=MONTH), None, USED, 99, Allowed(2000)),
        (replace(LIMIT, month=MONTH), None, USED, 100, Allowed(600)),
        (replace(LIMIT, month=MONTH), None, USED, 199, Allowed(600)),
        (replace(LIMIT, month=MONTH), None, USED, 200, Allowed(2000)),
        (replace(LIMIT, month=MONTH), Cap(0, 400), USED, 150, Allowed(400)),
        (replace(LIMIT, month=MONTH), Cap(0, off=True), USED, 150, Allowed(600, None, True)),
        (replace(LIMIT, month=MonthCap(1, "plan", None, True)), None, USED, 150, Allowed(2000, None, True)),
        (replace(LIMIT, month=MonthCap(1, "plan", None, True)), Cap(0, 700), USED, 150, Allowed(700, None, True)),
        (LIMIT, None, USED, 150, Allowed(2000)),
    ],
)
def test_the_least_of_limit_time_table_and_month_holds(
    limit: LoadLimit, cap: Cap | None, memory: LimitMemory, at_ms: int, may: Allowed
) -> None:
    assert allowed(limit, cap, memory, at_ms) == may


def test_a_month_is_used_up_only_by_name() -> None:
    assert used_up(USED, 150)
    assert not used_up(replace(USED, month=""), 150)


@pytest.mark.parametrize(
    ("limit", "switches_off"),
    [
        (LIMIT, False),
        (replace(LIMIT, caps=TABLE), False),
        (replace(LIMIT, caps=CapTable("plan", (Cap(0), Cap(60, off=True)))), True),
        (replace(LIMIT, caps=CapTable("plan", (Cap(0),), (Cap(0, off=True),))), True),
        (replace(LIMIT, month=MONTH), False),
        (replace(LIMIT, month=MonthCap(1, "plan", None, True)), True),
        (replace(LIMIT, caps=TABLE, month=MonthCap(1, "plan", None, True)), True),
    ],
)
def test_which_plans_switch_off(limit: LoadLimit, switches_off: bool) -> None:
    assert limit.switches_off is switches_off


def test_which_limits_are_in_amperes() -> None:
    assert not LIMIT.in_amperes
    assert replace(LIMIT, current_ma=1).in_amperes
    assert not replace(LIMIT, caps=TABLE).in_amperes
    assert replace(LIMIT, caps=CapTable("plan", (Cap(0), Cap(60, None, 0)))).in_amperes
    assert replace(LIMIT, caps=CapTable("plan", (Cap(0),), (Cap(0, None, 5),))).in_amperes


def test_what_people_set_holds_until_the_configuration_says_something_new() -> None:
    other, theirs = replace(LIMIT, power_w=1), replace(LIMIT, power_w=2)
    limit, memory = set_by_people(theirs, LIMIT, LimitMemory("2026-03"), 50)
    assert (limit, memory) == (theirs, LimitMemory("2026-03", changed_ms=50, instead_of=LIMIT, by_people=True))
    assert taken_over(LIMIT, theirs, memory, 60) == (theirs, memory)
    assert taken_over(LIMIT, None, memory, 60) == (None, memory)
    assert taken_over(other, theirs, memory, 60) == (other, LimitMemory("2026-03", changed_ms=60, edge_ms=60, due_ms=60))
    assert taken_over(None, theirs, memory, 60) == (None, LimitMemory("2026-03", changed_ms=60, edge_ms=60, due_ms=60))
    assert taken_over(theirs, theirs, memory, 60) == (theirs, LimitMemory("2026-03", changed_ms=50))


def test_what_people_set_twice_still_stands_in_the_place_of_the_configurations() -> None:
    _, memory = set_by_people(None, LIMIT, LimitMemory(), 50)
    limit, memory = set_by_people(STRICT, None, memory, 70)
    assert (limit, memory) == (STRICT, LimitMemory(changed_ms=70, instead_of=LIMIT, by_people=True))


def test_an_unchanged_configuration_changes_nothing() -> None:
    memory = LimitMemory(changed_ms=5)
    assert taken_over(LIMIT, LIMIT, memory, 60) == (LIMIT, memory)
    assert taken_over(STRICT, LIMIT, memory, 60) == (STRICT, LimitMemory(changed_ms=60, edge_ms=60, due_ms=60))
    assert taken_over(LIMIT, LIMIT, LimitMemory(instead_of=LIMIT), 60) == (LIMIT, LimitMemory())


def test_as_it_was_where_nothing_is_said() -> None:
    assert LoadLimit(2000, 10_000, 30_000, 1, 3_600_000, 0, 0, 0, None, None, None, {}, "") == LIMIT
    assert LIMIT.itself == Allowed(2000)
    assert Limiter() == Limiter(WITHIN_LIMIT, LimitMemory())
    assert (LimitState(), LimitMemory()) == (
        LimitState(WITHIN, 0, 0, 0),
        LimitMemory("", 0, 0, Trip.LIMIT, None, None, "", 0, {}, 0, None, None, 0, None, False),
    )
