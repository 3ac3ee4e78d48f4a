"""Wrong tokens: ten in a row from one place, then one every five seconds, and a table that does not grow."""

from __future__ import annotations

import pytest

from gateway.adapters.http.wrong_tokens import FORGIVEN_S, MOST_PLACES, MOST_WRONG, WrongTokens


class Steady:
    """Seconds that a test puts forward."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def wrong_until_closed(wrong: WrongTokens, host: str) -> int:
    for count in range(100):
        if wrong.wait_s(host):
            return count
        wrong.add(host)
    raise AssertionError("never closed")


def test_ten_are_looked_at_then_one_for_every_five_seconds() -> None:
    steady = Steady()
    wrong = WrongTokens(steady)
    assert wrong_until_closed(wrong, "10.0.0.7") == MOST_WRONG == 10
    assert wrong.wait_s("10.0.0.7") == FORGIVEN_S == 5
    steady.s += 4.5
    assert wrong.wait_s("10.0.0.7") == 1
    steady.s += 0.5
    assert wrong_until_closed(wrong, "10.0.0.7") == 1
    steady.s += 3 * FORGIVEN_S
    assert wrong_until_closed(wrong, "10.0.0.7") == 3
    steady.s += 1000 * FORGIVEN_S
    assert wrong_until_closed(wrong, "10.0.0.7") == MOST_WRONG


def test_a_monitor_with_a_dead_token_locks_nobody_out() -> None:
    steady = Steady()
    wrong = WrongTokens(steady)
    for _ in range(1000):
        assert not wrong.wait_s("10.0.0.7")
        wrong.add("10.0.0.7")
        steady.s += 10


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("10.0.0.7", "10.0.0.8", False), ("2001:db8::1", "2001:db8::ffff:1", True), ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
     ("unix", "unix", True), ("", "testclient", False)],
)  # fmt: skip
def test_each_place_counts_for_itself(one: str, other: str, same: bool) -> None:
    wrong = WrongTokens(Steady())
    wrong_until_closed(wrong, one)
    assert bool(wrong.wait_s(other)) is same


def test_the_table_has_an_end_and_forgets_who_was_quiet_longest() -> None:
    wrong = WrongTokens(Steady())
    for host in ("old", "new", *(f"10.1.{n // 256}.{n % 256}" for n in range(MOST_PLACES - 2))):
        wrong_until_closed(wrong, host)
    assert len(wrong) == MOST_PLACES and wrong.wait_s("old")
    wrong.add("one-more")
    assert len(wrong) == MOST_PLACES and not wrong.wait_s("old") and wrong.wait_s("new")
