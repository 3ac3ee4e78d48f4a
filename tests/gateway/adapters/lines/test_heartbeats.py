"""Heartbeats leave the stream where they cannot be part of an answer, and nothing else ever does."""

from __future__ import annotations

import random

import pytest

from gateway.adapters.lines.heartbeats import Heartbeats
from protocols.modbus.frames import rtu_pack
from protocols.modbus.master import ReadRegisters

PAUSE_S = 3.5
ANSWER = bytes.fromhex("FE FE FE FE 68 01 00 00 00 00 00 68 91 08 33 33 34 33 FE FE 33 33 F7 16")
WORDS = b"hello"


def through(beat: bytes, *pieces: tuple[float, bytes]) -> tuple[bytes, int]:
    beats = Heartbeats(beat, PAUSE_S)
    beats.asked()
    heard = [beats.hear(piece, at_s) for at_s, piece in pieces]
    return b"".join(rest for rest, _ in heard), sum(count for _, count in heard)


@pytest.mark.parametrize(
    ("pieces", "left", "count"),
    [
        (((0, WORDS),), b"", 1),
        (((0, WORDS * 3),), b"", 3),
        (((0, b"he"), (3, b"llo")), b"", 1),
        (((0, WORDS + ANSWER),), ANSWER, 1),
        (((0, b"hell"), (1, b"o" + ANSWER[:7]), (2, ANSWER[7:])), ANSWER, 1),
        (((0, b"hel"), (0.1, ANSWER)), b"hel" + ANSWER, 0),  # half a heartbeat is noise, the answer behind it is none
        (((0, ANSWER + WORDS),), ANSWER + WORDS, 0),  # for the exchange to pass over
        (((0, ANSWER[:9]), (3, WORDS), (3, ANSWER[9:])), ANSWER[:9] + WORDS + ANSWER[9:], 0),
        (((0, ANSWER), (4, WORDS)), ANSWER, 1),  # the pause is over
    ],
)
def test_words(pieces: tuple[tuple[float, bytes], ...], left: bytes, count: int) -> None:
    assert through(WORDS, *pieces) == (left, count)


def test_the_wake_up_bytes_of_a_meter_are_neither_counted_nor_missed() -> None:
    assert through(b"\xfe", (0, b"\xfe")) == (b"", 1)
    assert through(b"\xfe", (0, ANSWER)) == (ANSWER.lstrip(b"\xfe"), 0)


def test_bytes_of_an_answer_that_are_like_a_heartbeat_stay_wherever_the_converter_splits() -> None:
    frame = rtu_pack(1, b"\x03\x04\xfe\xfe\xfe\xfe")
    rng = random.Random(4)
    for beat in (b"\xfe", b"\xfe\xfe", b"\x00", b"\xfe\xfe\xfe\xfe"):
        for _ in range(200):
            cuts = sorted(rng.sample(range(1, len(frame)), 3))
            pieces = [frame[a:b] for a, b in zip([0, *cuts], [*cuts, len(frame)], strict=True)]
            assert through(beat, *((n * 1.5, piece) for n, piece in enumerate(pieces))) == (frame, 0)


@pytest.mark.parametrize("beat", [b"\xfe", WORDS, b"\x00\x00"])
def test_an_exchange_passes_over_a_heartbeat_behind_the_answer_and_reads_the_one_before_as_nothing(beat: bytes) -> None:
    frame = rtu_pack(1, b"\x03\x02\x00\x07")
    for stream in (beat + frame, frame + beat, beat + frame + beat + frame):
        left, _ = through(beat, (0, stream))
        question = ReadRegisters(1, 3, 0, 1)
        question.start()
        assert getattr(question.feed(left), "result", None) == (7,)
