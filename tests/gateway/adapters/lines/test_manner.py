"""A meter's manner: its time-out, its FE preambles, its blocks."""

from __future__ import annotations

import pytest

from gateway.adapters.lines.manner import (
    BACK_TO_BLOCK,
    BARE_ENOUGH,
    BARE_TRIAL,
    BUCKETS_MS,
    GARBLED_BLOCKS,
    MANY_FE,
    MARGIN_MS,
    NO_BLOCK,
    RECENT,
    SURE,
    Block,
    Manner,
    WakeUp,
)
from gateway.adapters.lines.timing import FIRST_BYTE_MS, LATEST_MS


def met(*delays_ms: int) -> Manner:
    manner = Manner()
    for delay_ms in delays_ms:
        manner.answered(delay_ms)
    return manner


@pytest.mark.parametrize(
    ("delays_ms", "timeout_ms"),
    [
        ((), FIRST_BYTE_MS),
        ((50,) * (SURE - 1), FIRST_BYTE_MS),
        ((50,) * SURE, 75 + MARGIN_MS),
        ((50, 80, 50, 50, 50), 120 + MARGIN_MS),
        ((700,), 1050 + MARGIN_MS),
        ((5_000,), LATEST_MS),
    ],
)
def test_the_time_out_is_the_standards_until_the_meter_is_known(delays_ms: tuple[int, ...], timeout_ms: int) -> None:
    assert met(*delays_ms).timeout_ms() == timeout_ms


def test_orders_and_rare_questions_are_waited_for_as_the_standard_says() -> None:
    assert met(*[50] * 20).timeout_ms(routine=False) == FIRST_BYTE_MS
    assert met(700).timeout_ms(routine=False) > FIRST_BYTE_MS


def test_a_time_out_brings_the_standards_back_at_once_and_trust_comes_back_slowly() -> None:
    manner = met(*[50] * 20)
    manner.unanswered()
    assert manner.timeout_ms() == FIRST_BYTE_MS
    for _ in range(SURE):
        manner.answered(50)
    assert manner.timeout_ms() < FIRST_BYTE_MS


def test_a_late_answer_is_waited_for_until_it_is_long_ago() -> None:
    manner = met(*[50] * 20)
    manner.unanswered(late_ms=900)
    assert manner.timeout_ms() == 1350 + MARGIN_MS
    for _ in range(RECENT):
        manner.answered(50)
    assert manner.timeout_ms() < FIRST_BYTE_MS


def test_a_meter_that_died_after_a_late_answer_is_not_waited_for_long_for_ever() -> None:
    manner = met(*[50] * 20)
    manner.late(5_000)
    manner.unanswered()
    assert manner.timeout_ms() == FIRST_BYTE_MS


def test_latencies_are_counted_in_buckets() -> None:
    state = met(0, 20, 21, 500, 6_000, 6_001).state()
    assert dict(zip((*BUCKETS_MS, None), state.latency, strict=True)) == {
        20: 2, 50: 1, 100: 0, 200: 0, 500: 1, 1_000: 0, 2_000: 0, 6_000: 1, None: 1,
    }  # fmt: skip
    assert (state.answered, state.failed, state.delay_ms, state.preamble) == (6, 0, 6_001, None)


def converse(wake_up: WakeUp, needs: int, times: int) -> list[int]:
    """What the questions began with; the meter hears those with at least `needs` FE."""
    said = []
    for _ in range(times):
        said.append(used := wake_up.count)
        (wake_up.answered if used >= needs else wake_up.silent)(used)
    return said


def test_preambles_are_dropped_after_enough_answers_without() -> None:
    said = converse(WakeUp(4), 0, BARE_TRIAL + 20)
    assert said == [4] * BARE_TRIAL + [0] * 20


def test_a_meter_that_needs_them_is_tried_ever_more_rarely() -> None:
    said = converse(WakeUp(4), 4, 1_000)
    trials = [n for n, used in enumerate(said) if used == 0]
    assert trials[0] == BARE_TRIAL and len(trials) <= 4
    assert trials[2] - trials[1] > 3 * (trials[1] - trials[0])


def test_an_unknown_meter_that_is_silent_is_woken_in_turns() -> None:
    assert converse(WakeUp(0), 99, 5) == [0, MANY_FE, 0, MANY_FE, 0]
    assert converse(WakeUp(4), 99, 3) == [4, 4, 4]
    assert set(converse(WakeUp(0), 4, 40)[4:20]) == {4}


def test_one_lost_question_does_not_bring_preambles_back() -> None:
    wake_up = WakeUp(4)
    converse(wake_up, 0, BARE_TRIAL + BARE_ENOUGH)
    wake_up.silent(wake_up.count)
    assert converse(wake_up, 0, 3) == [4, 0, 0]
    assert 4 in converse(wake_up, 4, 10)[-3:]


def test_a_block_is_given_up_for_good_when_it_is_refused_again_and_again() -> None:
    block = Block()
    for _ in range(NO_BLOCK):
        assert block.whole
        block.refused()
    assert not block.whole and block.state == "refused"
    for _ in range(1_000):
        block.came(whole=False)
    assert not block.whole


def test_garbled_blocks_are_asked_for_in_parts_and_tried_again_after_good_ones() -> None:
    block = Block()
    for _ in range(GARBLED_BLOCKS):
        assert block.whole
        block.garbled(whole=True)
    waits = []
    for _ in range(3):
        waits.append(0)
        while not block.whole:
            block.came(whole=False)
            waits[-1] += 1
        block.garbled(whole=True)
    assert waits == [BACK_TO_BLOCK, 2 * BACK_TO_BLOCK, 4 * BACK_TO_BLOCK]
    while not block.whole:
        block.came(whole=False)
    block.came(whole=True)
    block.garbled(whole=True)
    assert block.whole, "one garbled block is nothing yet"
