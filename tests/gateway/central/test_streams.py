"""What is asked for, when, and what is given up."""

from __future__ import annotations

from gateway.central.ranges import Ranges
from gateway.central.streams import ASKED_BELOW_LOW, MOST_RANGES, PATIENCE_S, RANGES_AT_ONCE, Asker, Stream, from_text, to_text
from protocols.uplink.messages import Ack

NAME = ("G1", "e1")


def stream(*seqs: int, low: int = 1) -> Stream:
    return Stream(Ranges((n, n) for n in seqs), low)


def asked(asker: Asker, of: Stream, now: float) -> list[tuple[int, int]]:
    return [r for _, resend in asker.requests({NAME: of}, now) for r in resend.ranges]


def test_the_ack_names_all_that_is_here() -> None:
    assert stream(1, 2, 3, 4).ack("e1") == Ack(epoch="e1", upto=4)
    assert stream(1, 2, 8, 7, 10).ack("e1") == Ack(epoch="e1", upto=2, also=((7, 8), (10, 10)))
    assert stream(3).ack("e1") == Ack(epoch="e1", upto=0, also=((3, 3),))


def test_a_hole_is_on_its_way_for_a_minute_and_asked_for_once_a_minute() -> None:
    asker, of = Asker(), stream(1, 5, 9)
    assert asked(asker, of, 0.0) == []
    assert asked(asker, of, PATIENCE_S - 1) == []
    assert asked(asker, of, PATIENCE_S) == [(2, 4), (6, 8)]
    assert asked(asker, of, PATIENCE_S + 5) == []
    assert asked(asker, of, 2 * PATIENCE_S) == [(2, 4), (6, 8)]
    of.accounted.add(6, 8)
    assert asked(asker, of, 3 * PATIENCE_S) == [(2, 4)]


def test_a_hole_that_is_being_filled_is_not_asked_for() -> None:
    asker, of = Asker(), stream(500)
    for second in range(0, 400, 5):
        assert asked(asker, of, float(second)) == []
        of.accounted.add(second + 1, second + 5)
    assert asked(asker, of, 460.0) == []
    assert asked(asker, of, 460.0 + PATIENCE_S) == [(401, 499)]


def test_what_the_gateway_believes_delivered_is_asked_for_at_once_and_then_given_up() -> None:
    asker, of = Asker(), stream(20, low=10)
    found, lost = [], []
    for n in range(7):
        found.append(asked(asker, of, PATIENCE_S * n))
        lost.append(asker.lost())
    assert found[0] == [(1, 9)]
    assert sum((1, 9) in ranges for ranges in found) == ASKED_BELOW_LOW
    assert all((10, 19) in ranges for ranges in found[1:])
    assert [each for each in lost if each] == [{NAME: [(1, 9)]}] and lost[ASKED_BELOW_LOW]


def test_what_was_delivered_beyond_all_that_is_here_is_missed_too() -> None:
    assert asked(Asker(), stream(1, 2, low=6), 0.0) == [(3, 5)]
    assert list(stream(1, 2, low=3).holes()) == []


def test_requests_and_acks_are_bounded() -> None:
    asker, of = Asker(), stream(*range(2, 1000, 2))
    ack = of.ack("e1")
    assert len(ack.also) == RANGES_AT_ONCE and ack.also[0] == (2, 2)
    assert asked(asker, of, 0.0) == []
    assert len(asked(asker, of, PATIENCE_S)) == RANGES_AT_ONCE


def test_a_stream_of_too_many_holes_takes_only_what_fills_them() -> None:
    of = stream(*range(2, 2 * MOST_RANGES + 1, 2))
    assert not of.may_take(3 * MOST_RANGES)
    assert of.may_take(1) and of.may_take(2) and of.may_take(3) and of.may_take(2 * MOST_RANGES + 1)


def test_dropped_ranges_count_once_something_beside_them_is_here() -> None:
    of = stream(5)
    assert of.fold([(6, 8), (9, 9), (11, 12)]) and list(of.accounted) == [(5, 9)]
    of.accounted.add(10)
    assert of.fold([(11, 12)]) and list(of.accounted) == [(5, 12)]
    assert not of.fold([(11, 12)])
    assert of.fold([(1, 3)]) and of.ack("e1") == Ack(epoch="e1", upto=3, also=((5, 12),))


def test_ranges_stand_in_the_store_as_text() -> None:
    ranges = Ranges([(1, 3), (7, 7)])
    assert to_text(ranges) == "[[1,3],[7,7]]" and list(from_text(to_text(ranges))) == list(ranges)
