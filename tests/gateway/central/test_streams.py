"""What is acknowledged and what is asked for."""

from __future__ import annotations

from gateway.central.ranges import Ranges
from gateway.central.streams import ASKED_BELOW_LOW, PATIENCE_S, RANGES_AT_ONCE, Streams
from protocols.uplink.messages import Ack
from tests.gateway.central.arriving import arrival


def take(streams: Streams, *seqs: int, low: int = 1) -> Ack:
    return streams.take([arrival(seq, low=low) for seq in seqs])["G1"]


def asked(streams: Streams, now: float) -> list[tuple[int, int]]:
    return [r for _, resend in streams.missing(now) for r in resend.ranges]


def test_the_ack_names_all_that_is_here() -> None:
    streams = Streams({("G1", "e1"): Ranges([(1, 3)])})
    assert take(streams, 4) == Ack(epoch="e1", upto=4)
    assert take(streams, 8, 7, 10) == Ack(epoch="e1", upto=4, also=((7, 8), (10, 10)))
    assert take(streams, 8) == Ack(epoch="e1", upto=4, also=((7, 8), (10, 10)))
    assert take(streams, 5, 6, 9) == Ack(epoch="e1", upto=10)


def test_each_gateway_and_epoch_for_itself() -> None:
    streams = Streams({})
    acks = streams.take([arrival(1), arrival(2, gateway="G2"), arrival(1, gateway="G3", epoch="old")])
    assert acks == {"G1": Ack(epoch="e1", upto=1), "G2": Ack(epoch="e1", upto=0, also=((2, 2),)), "G3": Ack(epoch="old", upto=1)}


def test_a_hole_is_on_its_way_for_a_minute_and_asked_for_once_a_minute() -> None:
    streams = Streams({})
    take(streams, 1, 5, 9)
    assert asked(streams, 0.0) == []
    assert asked(streams, PATIENCE_S - 1) == []
    assert asked(streams, PATIENCE_S) == [(2, 4), (6, 8)]
    assert asked(streams, PATIENCE_S + 5) == []
    assert asked(streams, 2 * PATIENCE_S) == [(2, 4), (6, 8)]
    take(streams, 6, 7, 8)
    assert asked(streams, 3 * PATIENCE_S) == [(2, 4)]


def test_a_hole_that_is_being_filled_is_not_asked_for() -> None:
    streams = Streams({})
    take(streams, 500)
    for second in range(0, 400, 5):
        assert asked(streams, float(second)) == []
        take(streams, *range(second + 1, second + 6))
    assert asked(streams, 460.0) == []
    assert asked(streams, 460.0 + PATIENCE_S) == [(401, 499)]


def test_what_the_gateway_believes_delivered_is_asked_for_at_once_but_not_for_ever() -> None:
    streams = Streams({})
    take(streams, 20, low=10)
    found = [asked(streams, PATIENCE_S * n) for n in range(6)]
    assert found[0] == [(1, 9)]
    assert sum((1, 9) in ranges for ranges in found) == ASKED_BELOW_LOW
    assert all((10, 19) in ranges for ranges in found[1:])


def test_requests_and_acks_are_bounded() -> None:
    streams = Streams({})
    ack = take(streams, *range(2, 1000, 2))
    assert len(ack.also) == RANGES_AT_ONCE and ack.also[0] == (2, 2)
    assert asked(streams, 0.0) == []
    assert len(asked(streams, PATIENCE_S)) == RANGES_AT_ONCE
