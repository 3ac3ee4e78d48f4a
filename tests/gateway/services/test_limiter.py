"""The limiter on the gateway itself: never over its budget in true time, and nobody forgotten (prepayment.md 6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.budgets import DAY_MS, HOUR_MS, Budgets, Window
from gateway.domain.findings import FindingKind
from gateway.domain.jobs import Failed, Fault
from gateway.domain.limits import LoadLimit
from gateway.domain.supply import CutCause
from gateway.services.ports import Tx
from gateway.services.run_command import finish_switch, start_command
from gateway.services.spend_budget import note_change, note_tariff, waiting
from gateway.services.steady import steady_now
from gateway.services.switching import LIMIT, hold_open
from gateway.services.watch_cuts import watch_cuts
from tests.gateway.services.town import Town


def test_many_due_at_once_are_cut_by_turns_oldest_debt_first_and_none_is_forgotten(proof_scale: int) -> None:
    count, tenth = (1000, 100) if proof_scale > 1 else (200, 20)
    town = Town(count)
    for n in range(0, count, tenth):  # each tenth owes a second longer than the next
        town.due(range(n, n + tenth))
        town.wait(1)
    for minute in range(12 * 60):
        if minute % 10 == 0:  # a meter that is not about to be cut may be read or not
            dark = town.dark
            town.read_all([n for n in range(count) if f"m-{n:04}" not in dark][:120])
        town.look()
        if minute == 60:
            town.restart()
        if minute == 120:
            town.jump(400)
        if minute == 180:
            town.reboot(90, days=-3650)
        if len(town.sent) == count:
            break
        town.wait(60)
    order = [meter for _, meter in town.sent]
    town.check()
    assert len(order) == len({*order}) == count, "everybody, once"
    assert town.most_within(HOUR_MS) == tenth, "and no slower than the budget allows"
    tenths = [int(meter[2:]) // tenth for meter in order]
    late = sum(each < max(tenths[:place], default=0) - 1 for place, each in enumerate(tenths))
    assert late == 0, "oldest debt first"
    assert town.do(waiting) == []


@pytest.mark.parametrize("between", ["nothing", "restart", "a day", "400 days", "ten years back", "reboot"])
def test_a_drip_at_99_percent_of_the_rate_is_never_deferred_for_long(between: str) -> None:
    town, n = Town(200), 0
    for _ in range(5 * 60):  # 20 an hour are allowed; one is due every 182 s
        if (n + 1) * 182_000 <= town.true_ms and n < 99:
            town.due([n])
            n += 1
        if town.true_ms == 2 * HOUR_MS:
            acts: dict[str, Callable[[], None]] = {
                "restart": town.restart,
                "a day": lambda: town.jump(1),
                "400 days": lambda: town.jump(400),
                "ten years back": lambda: town.jump(-3650),
                "reboot": lambda: town.reboot(60),
            }
            if between in acts:
                acts[between]()
        if town.true_ms % 600_000 == 0:
            town.read_all(m for m in range(n) if f"m-{m:04}" not in town.dark)
        town.look()
        town.wait(60)
    town.check()
    behind = n - len(town.sent)
    assert behind <= (2 if between == "reboot" else 0)


EVENTS = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 3000)),
    st.tuples(st.just("due"), st.integers(1, 15)),
    st.tuples(st.just("jump"), st.sampled_from([1, 400, -3650, -1, 3650])),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("reboot"), st.integers(0, 20_000)),
    st.tuples(st.just("line"), st.integers(1, 10)),
)


def _happens(town: Town, what: str, much: int, owing: int) -> int:
    """One event; how many owe now."""
    if what == "due":
        more = min(owing + much, town.houses)
        town.due(range(owing, more))
        return more
    if what == "line":  # what is ordered leaves later, in small steps
        for _ in range(much):
            town.wait(7)
            town.send()
    else:
        acts: dict[str, Callable[[], None]] = {
            "wait": lambda: town.wait(much),
            "jump": lambda: town.jump(much),
            "reboot": lambda: town.reboot(much),
            "restart": town.restart,
        }
        acts[what]()
    return owing


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=40), st.booleans())
def test_whatever_happens_to_the_clocks_it_is_never_over_the_budget_and_in_the_end_all_are_cut(
    events: list[tuple[str, int]], slow_line: bool
) -> None:
    town, owing = Town(40), 0
    for what, much in events:
        owing = _happens(town, what, much, owing)
        if not slow_line:
            town.read_all(n for n in range(owing) if f"m-{n:04}" not in town.dark)
            town.look()
    town.check()
    for _ in range(owing * 6 * 2):  # then nothing happens any more: 4 an hour
        town.read_all(n for n in range(owing) if f"m-{n:04}" not in town.dark)
        town.look()
        town.wait(600)
        if len(town.dark) == owing:
            break
    town.check()
    assert len(town.dark) == owing
    assert max(Counter(meter for _, meter in town.sent).values(), default=1) == 1, "nobody twice"


def test_without_a_steady_clock_the_wall_clock_set_back_gives_nothing_back() -> None:
    town = Town(20, steady=False)
    town.due(range(20))
    town.look()
    assert len(town.sent) == 2
    town.jump(-3650)
    for _ in range(59):
        town.wait(60)
        town.read_all(range(2, 20))
        town.look()
    assert len(town.sent) == 2
    for _ in range(5):
        town.wait(60)
        town.read_all(range(2, 20))
        town.look()
    assert len(town.sent) == 4


def test_a_dead_line_does_not_take_everybodys_turn() -> None:
    """The two oldest debts hang on a line that sends nothing: their cuts expire, and the others go first."""
    town = Town(20)
    town.due([0, 8])  # both on bus-0
    town.wait(1)
    town.due([1, 2, 3])
    dead = {"bus-0"}

    def look() -> None:
        town.read_all(n for n in (0, 1, 2, 3, 8) if f"m-{n:04}" not in town.dark)
        town.do(lambda tx: watch_cuts(tx, town.site, town.now_ms))
        town.send(dead=dead)

    for _ in range(3 * 60):
        look()
        town.wait(60)
    assert {"m-0001", "m-0002", "m-0003"} <= town.dark
    dead.clear()
    for _ in range(2 * 60):
        look()
        town.wait(60)
    assert town.dark == {"m-0000", "m-0001", "m-0002", "m-0003", "m-0008"}
    town.check()


def test_a_cut_that_waits_for_a_day_is_a_finding_until_it_is_made() -> None:
    town = Town(20)
    town.due(range(20))
    kind = FindingKind.CUT_DEFERRED_LONG

    def spend(tx: Tx) -> None:
        for _ in range(2):
            tx.spend("own", "rules", "x", steady_now(tx, town.site, town.now_ms))

    town.do(spend)
    for hour in range(1, 27):
        town.wait(3600)
        town.do(spend)
        town.look()
        found = [finding.subject for finding in town.do(lambda tx: tx.findings()) if finding.kind is kind]
        assert bool(found) is (hour >= 24)
    town.wait(7200)
    town.read_all(range(20))
    for _ in range(20):
        town.look()
        town.wait(1860)
        town.read_all(n for n in range(20) if f"m-{n:04}" not in town.dark)
    town.wait(61)
    town.look()
    assert [finding.subject for finding in town.do(lambda tx: tx.findings()) if finding.kind is kind] == []


# what people and keys order


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 149), st.integers(0, 4000)), max_size=60), st.sampled_from([0, 1, -3650])
)
def test_each_key_has_its_own_budget_by_hour_and_by_day(orders: list[tuple[int, int, int]], days: int) -> None:
    """150 meters: 3 an hour and 15 a day for each."""
    town, left = Town(150), dict[str, list[int]]()
    for number, (key, meter, wait_s) in enumerate(orders):
        who = f"uplink:key-{key}"
        town.order(meter, f"c-{number}", who)
        before = len(town.sent)
        town.send()
        left.setdefault(who, []).extend(at for at, _ in town.sent[before:])
        town.wait(wait_s)
        if number == 20:
            town.jump(days)
    for times in left.values():
        assert max(sum(end - HOUR_MS < at <= end for at in times) for end in times or [0]) <= 3
        assert max(sum(end - DAY_MS < at <= end for at in times) for end in times or [0]) <= 15


def test_orders_that_wait_for_their_line_count_against_the_budget() -> None:
    town = Town(40)
    states = [str(answer.command.state) for n in range(4) if (answer := town.order(n, f"c-{n}")).command is not None]
    assert states == ["queued", "queued", "quarantined", "quarantined"]
    town.wait(5 * 3600)
    assert str(town.order(4, "c-4").command.state) == "quarantined"  # type: ignore[union-attr]
    town.send()
    assert len(town.sent) == 2


def test_what_certainly_did_not_leave_is_given_back() -> None:
    town = Town(10)
    town.order(0, "c-0")
    for _ in range(10):  # the line breaks before the first byte, again and again
        town.do(lambda tx: start_command(tx, "c-0", town.site, town.now_ms))
        down = Failed(Fault.LINE_DOWN, "the line is down", certain=True)
        town.do(lambda tx: finish_switch(tx, "c-0", down, town.site, town.now_ms))  # noqa: B023
    town.send()
    assert [meter for _, meter in town.sent] == ["m-0000"]
    assert str(town.order(1, "c-1").command.state) == "queued"  # type: ignore[union-attr]


# safety, and what a change brings


def trip(town: Town, n: int) -> tuple[str, ...]:
    def usecase(tx: Tx) -> tuple[str, ...]:
        known = tx.account(f"A-{n:04}")
        assert known is not None
        limited = replace(known, limit=LoadLimit(1000, 10_000, 30_000, 1))
        tx.save_account(limited)
        return hold_open(tx, limited, CutCause.SAFETY, LIMIT, town.site, town.now_ms)

    missing = town.do(usecase)
    town.send()
    return missing


def test_safety_trips_have_no_limit_but_many_are_a_finding() -> None:
    town, kind = Town(100), FindingKind.SAFETY_TRIPS_MANY
    for n in range(30):
        assert trip(town, n) == ()
        assert (town.do(lambda tx: tx.finding(kind, "gateway")) is not None) is (n >= 5), "5 % of 100, or 3"
    assert len(town.sent) == 30
    town.wait(3700)
    town.look()
    assert town.do(lambda tx: tx.finding(kind, "gateway")) is None


def test_trips_that_a_young_change_of_the_limit_caused_come_out_of_the_budget_of_whoever_changed_it() -> None:
    town = Town(100)
    for n in range(10):
        town.do(lambda tx, n=n: note_change(tx, f"A-{n:04}", "operator:li", town.site, town.now_ms))  # type: ignore[misc]
    held = [trip(town, n) for n in range(10)]
    assert [bool(missing) for missing in held] == [False] * 2 + [True] * 8
    assert held[-1][0].startswith("deferred")
    assert trip(town, 50) == (), "nobody changed this one"
    town.wait(25 * 3600)
    assert [trip(town, n) for n in range(2, 10)] == [()] * 8, "after a day it is the limiter's own again"


def test_the_windows_are_those_of_the_site() -> None:
    town = Town(20)
    town.budgets = Budgets(own=(Window(60_000, 1),))
    town.due(range(3))
    town.look()
    assert len(town.sent) == 1


def test_a_tariff_that_changed_is_its_authors_budget_until_a_day_after_it_holds() -> None:
    town = Town(100)
    town.do(lambda tx: note_tariff(tx, "flat", "file", town.site, town.now_ms))
    town.wait(47 * 3600)
    town.due(range(6))
    town.look()
    assert len(town.sent) == 2, "of the file's 2 an hour, although our own budget has room for 10"
    town.wait(3601)
    town.read_all(range(2, 6))
    town.look()
    town.wait(61)
    town.look()
    assert len(town.sent) == 6, "after that they are our own cuts"
