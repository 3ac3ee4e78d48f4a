"""Every captured frame whole, in pieces, cut short and in noise; every bad one refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645.frames import MAX_DATA, OVERHEAD, Deframer, Frame, covers, encode
from protocols.errors import RequestError
from tests.protocols.dlt645.vectors import ALL, BAD, FRAMES, STREAMS, WITH_VALUES, bare, in_noise, name, raw

FRAME_STRATEGY = st.builds(
    Frame, st.text("0123456789A", min_size=12, max_size=12), st.integers(0, 255), st.binary(max_size=MAX_DATA)
)


def of(vector: dict) -> Frame:
    return Frame(vector["addr"], int(vector["ctrl"], 16), bytes.fromhex(vector["data"]))


def test_the_vectors_are_all_there() -> None:
    assert (len(ALL), len(FRAMES), len(STREAMS), len(BAD)) == (197, 183, 3, 11)
    assert len(WITH_VALUES) == 36


@pytest.mark.parametrize("vector", FRAMES, ids=name)
def test_a_captured_frame_is_found_whole_and_byte_by_byte(vector: dict) -> None:
    deframer = Deframer()
    assert deframer.feed(raw(vector)) == [of(vector)]
    assert [f for b in raw(vector) for f in deframer.feed(bytes([b]))] == [of(vector)]
    assert (deframer.skipped, deframer.pending) == (0, 0)


@pytest.mark.parametrize("vector", FRAMES, ids=name)
def test_a_captured_frame_encodes_to_the_same_bytes(vector: dict) -> None:
    assert encode(of(vector), preamble=vector["preamble"]) == raw(vector)


@pytest.mark.parametrize("vector", FRAMES, ids=name)
def test_a_frame_cut_short_is_pending_and_nothing_else(vector: dict) -> None:
    whole = raw(vector)
    for length in range(vector["preamble"] + 1, len(whole)):
        deframer = Deframer()
        assert deframer.feed(whole[:length]) == []
        assert (deframer.pending, deframer.skipped) == (length, 0)
        assert deframer.flush() == []
        assert (deframer.pending, deframer.skipped) == (0, length)


@pytest.mark.parametrize("vector", FRAMES, ids=name)
def test_a_frame_is_found_in_noise(vector: dict) -> None:
    for before, after in in_noise(raw(vector), 20):
        deframer = Deframer()
        found = deframer.feed(before + raw(vector) + after) + deframer.flush()
        assert found == [of(vector)]
        lead = len(before) - len(before.rstrip(b"\xfe"))
        assert deframer.skipped in (len(before + after), len(before + after) - lead)


@pytest.mark.parametrize("vector", BAD, ids=name)
def test_a_bad_frame_is_refused(vector: dict) -> None:
    deframer = Deframer()
    assert deframer.feed(raw(vector)) + deframer.flush() == []
    assert deframer.skipped == len(raw(vector))


@pytest.mark.parametrize("vector", STREAMS, ids=name)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_stream_is_resynchronised(vector: dict, step: int) -> None:
    deframer = Deframer()
    data = raw(vector)
    found = [f for i in range(0, len(data), step) for f in deframer.feed(data[i : i + step])] + deframer.flush()
    assert [encode(f, 0).hex().upper() for f in found] == vector["valid_frames"]


def test_skipped_counts_what_stands_outside_frames_but_no_preamble() -> None:
    counts = {v["id"]: v for v in STREAMS}
    for vector_id, skipped in (("v014", 3), ("v159", 1), ("v205", 3)):
        deframer = Deframer()
        deframer.feed(raw(counts[vector_id]))
        assert deframer.skipped == skipped


def test_a_false_start_that_claims_255_bytes_hides_a_frame_only_until_the_pause() -> None:
    false, good = bytes.fromhex("68020104061920681CFF"), bare(FRAMES[0])
    deframer = Deframer()
    assert deframer.feed(false + good) == []
    assert deframer.pending == len(false + good)
    assert deframer.abandon() == [of(FRAMES[0])]
    assert (deframer.pending, deframer.skipped) == (0, len(false))


def test_abandon_gives_up_one_start_and_flush_all() -> None:
    false = bytes.fromhex("68020104061920681CFF")
    deframer = Deframer()
    deframer.feed(false + false)
    assert deframer.abandon() == []
    assert deframer.pending > 0
    assert deframer.flush() == []
    assert (deframer.pending, deframer.skipped) == (0, 20)


def test_the_buffer_is_bounded_whatever_comes() -> None:
    deframer = Deframer()
    for chunk in (b"\x68" * 5000, b"\xfe" * 5000, bytes.fromhex("68AAAAAAAAAAAA6811FF") * 500):
        deframer.feed(chunk)
        assert len(deframer._buffer) < OVERHEAD + MAX_DATA


@given(st.lists(FRAME_STRATEGY, max_size=4), st.lists(st.integers(0, 1100), max_size=6), st.integers(0, 8))
def test_frames_survive_any_cut(frames: list[Frame], cuts: list[int], preamble: int) -> None:
    line = b"".join(encode(f, preamble) for f in frames)
    deframer = Deframer()
    found = [f for a, b in pairwise([0, *sorted(cuts), len(line)]) for f in deframer.feed(line[a : max(a, b)])]
    assert found == frames
    assert deframer.skipped == 0


@given(st.binary(max_size=600))
def test_any_bytes_are_accounted_for(data: bytes) -> None:
    deframer = Deframer()
    frames = deframer.feed(data) + deframer.flush()
    assert deframer.pending == 0
    assert deframer.skipped + sum(f.size for f in frames) <= len(data)


@pytest.mark.parametrize("frame", [Frame("12345678901", 0x11), Frame("12345678901x", 0x11), Frame("1" * 12, 0x11, bytes(256))])
def test_what_no_frame_can_carry_is_refused(frame: Frame) -> None:
    with pytest.raises(RequestError):
        encode(frame)


def test_wildcards() -> None:
    assert covers("AAAAAAAA0102", "201906040102")
    assert not covers("AAAAAAAA0102", "201906040103")
    assert covers("AA" * 6, "000000000000")
    assert not covers("201906040102", "AA" * 6)
