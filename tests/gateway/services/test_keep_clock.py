"""The clocks of a line's meters as use cases: what is due, what is written down, what is told (field-lessons.md 1, pain 18)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.clocks import RETRY_MS, ClockState, MeterClock
from gateway.domain.jobs import Answered, ClockJob, ClockReadJob, ClockSeen, ClockSetJob, Failed, Fault, Outcome
from gateway.domain.supply import Verb
from gateway.services.keep_clock import CLOCKED, MOST_LOOKS, Work, due_clock, record_clock
from tests.gateway.services.house import OK, PASSWORD, SILENT, House, local, meter

NOW_TOO_LATE = Failed(Fault.REQUEST, "the clock is not set now", certain=True)
NO_PASSWORD = Failed(Fault.REFUSED, "not sent: there is no password class control", certain=True)


def due(house: House) -> list[Work]:
    return house.do(lambda tx: due_clock(tx, "bus-1", house.site, house.now_ms))


def done(house: House, job: Work, outcome: Outcome) -> None:
    house.do(lambda tx: record_clock(tx, job, outcome, house.site, house.now_ms))


def see(house: House, offset_s: int, ident: str = "m1") -> None:
    done(house, ClockReadJob(ident), Answered(clock=ClockSeen(offset_s * 1000, 600, house.now_ms)))


def clock(house: House, ident: str = "m1") -> MeterClock:
    found = house.do(lambda tx: tx.clock(ident))
    assert found is not None
    return found


def at(house: House, time: str) -> House:
    house.now_ms = local(time)
    return house


@pytest.fixture
def kept(house: House) -> House:
    """At a calm minute, with one meter whose clock nobody has looked at."""
    at(house, "2026-11-24 10:06").settle(meter())
    house.kinds()
    return house


def test_a_clock_that_is_right_is_looked_at_once_a_day_and_told_nothing(kept: House) -> None:
    assert due(kept) == [ClockReadJob("m1")]
    see(kept, 9)
    looks = 0
    for _ in range(3 * 24 * 12):
        kept.later(minutes=5)
        for job in due(kept):
            assert job == ClockReadJob("m1")
            looks += 1
            see(kept, 9)
    assert (looks, kept.kinds(), clock(kept).state) == (3, [], ClockState.RIGHT)


def test_a_small_error_is_broadcast_once_a_day_and_proved_by_another_look(kept: House) -> None:
    see(kept, 40)
    assert due(kept) == [ClockJob("bus-1")]
    done(kept, ClockJob("bus-1"), OK)
    assert (due(kept), clock(kept).state) == ([], ClockState.SENT)
    kept.later(s=5)
    assert due(kept) == [ClockReadJob("m1")]
    assert kept.kinds() == ["clock_off"]
    see(kept, 0)
    [event] = kept.events()
    assert (event.kind, event.meter, event.account) == ("clock_set", "m1", "A-1")
    assert event.data == {"offset_ms": 0, "within_ms": 600, "was_ms": 40_000, "by": "broadcast"}
    see(kept, 40)
    assert due(kept) == []  # the line was told today
    assert at(kept, "2026-11-25 10:06") and ClockJob("bus-1") in due(kept)


def test_a_large_error_is_written_and_nothing_is_called_set_before_it_is_seen(kept: House) -> None:
    see(kept, -420)
    assert due(kept) == []  # it shows 9:59, and would be moved across the full hour
    at(kept, "2026-11-24 10:21")
    assert due(kept) == [ClockSetJob("m1")]
    done(kept, ClockSetJob("m1"), OK)
    kept.later(s=5)
    assert (kept.kinds(), due(kept)) == (["clock_off"], [ClockReadJob("m1")])
    see(kept, 1)
    assert [(e.kind, e.data["by"], e.data["was_ms"]) for e in kept.events()] == [("clock_set", "write", -420_000)]


def test_a_write_whose_answer_was_lost_is_read_back_not_repeated(kept: House) -> None:
    see(kept, 420)
    done(kept, ClockSetJob("m1"), SILENT)
    kept.later(s=5)
    assert due(kept) == [ClockReadJob("m1")]
    see(kept, 0)
    assert kept.kinds() == ["clock_off", "clock_set"]


def test_a_meter_that_is_off_again_twice_in_a_month_is_faulty_and_told_once(kept: House) -> None:
    for _ in range(2):
        see(kept, 420)
        done(kept, ClockSetJob("m1"), OK)
        kept.later(s=5)
        see(kept, 0)
    for _ in range(3):
        see(kept, 420)
        assert due(kept) == []
    assert kept.kinds() == ["clock_off", "clock_set"] * 2 + ["clock_fault"]


@pytest.mark.parametrize("outcome", [PASSWORD, Failed(Fault.REFUSED, "refused with error 01 (other)"), NO_PASSWORD])
def test_a_meter_that_refuses_to_be_set_is_faulty_and_left_alone_for_a_week(kept: House, outcome: Failed) -> None:
    see(kept, 420)
    done(kept, ClockSetJob("m1"), outcome)
    [found, fault] = kept.events()
    assert (found.kind, fault.kind) == ("clock_off", "clock_fault") and outcome.text in str(fault.data["text"])
    for day in range(25, 30):
        at(kept, f"2026-11-{day} 10:06")
        assert ClockSetJob("m1") not in due(kept)
        see(kept, 420)
    assert kept.kinds() == []
    at(kept, "2026-12-01 10:06")
    assert ClockSetJob("m1") in due(kept)
    see(kept, 0)
    assert kept.kinds() == ["clock_right"]


def test_the_clock_leaves_the_last_password_of_the_day_to_the_switch(kept: House) -> None:
    """Two refused passwords a day, whoever spent them: after both no more is sent."""
    see(kept, 420)
    done(kept, ClockSetJob("m1"), PASSWORD)
    kept.order(Verb.CUT, id="O-1")
    assert kept.send(PASSWORD).state == "refused"
    kept.order(Verb.CUT, id="O-2")
    assert kept.start("O-2") is None
    assert "twice within a day" in str(kept.command("O-2").reason)


def test_a_password_that_the_switch_spent_is_not_followed_by_the_clock_s(kept: House) -> None:
    kept.order(Verb.CUT, id="O-1")
    kept.send(PASSWORD)
    see(kept, 420)
    assert due(kept) == []
    at(kept, "2026-11-25 10:21")
    assert ClockSetJob("m1") in due(kept)


def test_pain_18_a_look_that_fails_is_nobody_s_fault_and_not_repeated_in_a_loop(kept: House) -> None:
    for n in range(1, 4):
        assert due(kept) == [ClockReadJob("m1")]
        done(kept, ClockReadJob("m1"), SILENT)
        assert (due(kept), clock(kept).tries, kept.kinds()) == ([], n, [])
        kept.now_ms += RETRY_MS
    see(kept, 0)
    assert (clock(kept).tries, clock(kept).state, kept.kinds()) == (0, ClockState.RIGHT, [])


@pytest.mark.parametrize("offset_s", [60, 420])
@pytest.mark.parametrize(
    "time", ["2026-11-25 00:06", "2026-11-24 23:52", "2026-11-24 11:57", "2026-11-24 12:02", "2026-11-24 12:31"]
)
def test_nobody_is_told_the_time_near_midnight_the_full_hour_or_a_quarter(kept: House, offset_s: int, time: str) -> None:
    see(kept, offset_s)
    assert not {ClockJob("bus-1"), ClockSetJob("m1")} & set(due(at(kept, time)))


@pytest.mark.parametrize("changes", [{"clock_trusted": False}, {"keep_clocks": False}])
def test_nothing_is_looked_at_or_told_while_our_own_clock_is_not_vouched_for(kept: House, changes: dict[str, bool]) -> None:
    see(kept, 420)
    kept.site = replace(kept.site, **changes)  # type: ignore[arg-type]
    assert due(kept) == []


def test_a_broadcast_that_never_left_is_still_to_be_sent(kept: House) -> None:
    see(kept, 40)
    done(kept, ClockJob("bus-1"), NOW_TOO_LATE)
    assert due(kept) == [ClockJob("bus-1")]
    done(kept, ClockSetJob("m1"), NOW_TOO_LATE)
    assert (clock(kept).written, clock(kept).state) == ((), ClockState.OFF)


def test_a_clock_that_was_found_right_before_it_was_written_is_right(kept: House) -> None:
    see(kept, 420)
    done(kept, ClockSetJob("m1"), Answered(clock=ClockSeen(0, 600, kept.now_ms)))
    assert (clock(kept).state, clock(kept).written, kept.kinds()) == (ClockState.RIGHT, (), ["clock_off", "clock_right"])


def test_when_five_meters_agree_against_us_none_is_set_and_it_is_told_once(kept: House) -> None:
    names = [f"m{n}" for n in range(1, 6)]
    kept.settle(*(meter(name, switch_line="bus-1") for name in names))
    for _ in range(2):
        for name in names:
            see(kept, 3_600, name)
    kinds = kept.kinds()
    assert (kinds.count("clock_off"), kinds.count("clock_fault"), due(kept)) == (5, 1, [])
    for name in names:
        see(kept, 0, name)
    assert kept.kinds() == ["clock_right"] * 5


def test_meters_without_a_clock_are_left_alone(house: House) -> None:
    house.settle(meter(protocol="modbus"), meter("m2", line="bus-2"))
    assert "modbus" not in CLOCKED and due(house) == []


def test_no_more_is_given_out_at_once_than_the_line_does_in_a_minute(house: House) -> None:
    house.settle(*(meter(f"m{n}") for n in range(3 * MOST_LOOKS)))
    assert len(due(house)) == MOST_LOOKS
