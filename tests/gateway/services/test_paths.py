"""F2 in the store: what is heard is kept once a minute, and the finding begins and ends with the paths."""

from __future__ import annotations

import pytest

from gateway.domain.findings import FindingKind
from gateway.domain.paths import PathKind, PathVerdict
from gateway.services.paths import KEEP_MS, heard, judge_paths, last_heard, worth_judging
from tests.gateway.services.house import House

ALIVE, CLOSED = PathVerdict(alive=True), PathVerdict(alive=False, why="counter: it is closed", planned=True)
DEAD = PathVerdict(alive=False, why="bank: it was never heard")


@pytest.mark.parametrize(("after_ms", "kept"), [(0, False), (KEEP_MS - 1, False), (KEEP_MS, True), (-1, True)])
def test_what_is_heard_is_written_once_a_minute_and_after_the_clock_was_set_back(house: House, after_ms: int, kept: bool) -> None:
    first = house.now_ms
    house.do(lambda tx: heard(tx, PathKind.BANK, first))
    house.do(lambda tx: heard(tx, PathKind.BANK, first + after_ms))
    assert house.do(last_heard) == {PathKind.BANK: first + after_ms if kept else first}


def test_each_path_is_remembered_for_itself(house: House) -> None:
    house.do(lambda tx: heard(tx, PathKind.BANK, 5))
    house.do(lambda tx: heard(tx, PathKind.CENTRE, 7))
    assert house.do(last_heard) == {PathKind.BANK: 5, PathKind.CENTRE: 7}


def judged(house: House, verdict: PathVerdict) -> tuple[bool, bool]:
    """Whether it was worth it, and whether the finding stands afterwards."""
    worth = house.do(lambda tx: worth_judging(tx, verdict))
    house.do(lambda tx: judge_paths(tx, verdict, house.now_ms))
    return worth, house.do(lambda tx: tx.finding(FindingKind.NO_TOPUP_PATH, "gateway")) is not None


def test_the_finding_begins_once_and_ends_once(house: House) -> None:
    story = [(ALIVE, False, False), (DEAD, True, True), (DEAD, False, True), (CLOSED, False, True), (ALIVE, True, False),
             (ALIVE, False, False), (CLOSED, False, False), (DEAD, True, True)]  # fmt: skip
    for verdict, worth, stands in story:
        assert judged(house, verdict) == (worth, stands), verdict
        house.later(minutes=1)
    found = house.do(lambda tx: tx.finding(FindingKind.NO_TOPUP_PATH, "gateway"))
    assert found is not None and found.text == "nothing can be paid in: bank: it was never heard"
    told = [event.kind.value for event in house.events()]
    assert told == ["finding_opened", "finding_closed", "finding_opened"]
