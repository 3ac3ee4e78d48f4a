"""Exchanges against the captured answers: whole, byte by byte, cut short, in noise; and everything that is not our answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from protocols.errors import Malformed, Refused, RequestError
from protocols.exchange import Done, Exchange, NeedMore
from protocols.modbus.frames import rtu_pack, tcp_pack
from protocols.modbus.master import ReadBits, ReadRegisters, WriteCoil, WriteRegister, WriteRegisters
from tests.protocols.modbus.vectors import VECTORS, Vector, chosen


def question_of(frame: bytes) -> Exchange[Any]:
    """The exchange that asks this RTU request."""
    unit, function, address, value = frame[0], frame[1], int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
    match function:
        case 1 | 2:
            return ReadBits(unit, function, address, value)
        case 3 | 4:
            return ReadRegisters(unit, function, address, value)
        case 5:
            return WriteCoil(unit, address, value == 0xFF00)
        case 6:
            return WriteRegister(unit, address, value)
    words = frame[7:-2]
    return WriteRegisters(unit, address, [int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2)])


ASKED = [v for v in chosen("rtu", "request") if v.data[1] in (1, 2, 3, 4, 5, 6, 16) and v.id != "dds-14"]
ANSWERS = [v for v in chosen("rtu", "response") if v.question is not None and v.data[1] != 15]
REFUSALS = [v for v in chosen("rtu", "exception")]


@pytest.mark.parametrize("vector", ASKED, ids=str)
def test_requests_are_the_bytes_of_the_vectors(vector: Vector) -> None:
    assert question_of(vector.data).start() == vector.data


@pytest.mark.parametrize("vector", chosen("tcp-mbap", "request"), ids=str)
def test_tcp_requests_are_the_bytes_of_the_vectors(vector: Vector) -> None:
    data = vector.data
    address, count = int.from_bytes(data[8:10], "big"), int.from_bytes(data[10:12], "big")
    assert ReadRegisters(data[6], data[7], address, count, "tcp", int.from_bytes(data[:2], "big")).start() == data


def _result(vector: Vector) -> Any:
    """What the answer says, cut out of its bytes by hand."""
    body = vector.data[3:-2]
    if vector.data[1] in (3, 4):
        return tuple(int.from_bytes(body[i : i + 2], "big") for i in range(0, len(body), 2))
    if vector.data[1] in (1, 2):
        assert vector.question is not None
        return tuple(bool(body[n // 8] >> n % 8 & 1) for n in range(vector.question[5]))
    return None


def _ask(vector: Vector) -> Exchange[Any]:
    assert vector.question is not None
    exchange = question_of(vector.question)
    exchange.start()
    return exchange


@pytest.mark.parametrize("vector", ANSWERS, ids=str)
def test_answers_whole_and_byte_by_byte(vector: Vector) -> None:
    want = Done(_result(vector))
    whole = _ask(vector)
    assert whole.feed(vector.data) == want
    assert whole.skipped == 0
    slow = _ask(vector)
    for byte in vector.data[:-1]:
        assert slow.feed(bytes([byte])) == NeedMore(begun=True)
    assert slow.feed(vector.data[-1:]) == want
    assert slow.skipped == 0


@pytest.mark.parametrize("vector", ANSWERS, ids=str)
def test_answers_cut_at_every_length_and_in_noise(vector: Vector) -> None:
    for cut in range(len(vector.data)):
        assert isinstance(_ask(vector).feed(vector.data[:cut]), NeedMore)
    for before in (b"\x00", b"\xff", b"\xfe\xfe", vector.data[:-1], vector.data[:3], VECTORS["rly-12"].data, b"\x68\x16" * 20):
        noisy = _ask(vector)
        assert noisy.feed(before + vector.data + b"\x00") == Done(_result(vector))
        assert noisy.skipped == len(before) + 1


@pytest.mark.parametrize("vector", [v for v in ANSWERS if v.data[1] != 5], ids=str)
def test_our_own_echo_is_skipped(vector: Vector) -> None:
    exchange = _ask(vector)
    assert isinstance(exchange.feed(vector.question or b""), NeedMore)
    assert exchange.feed(vector.data) == Done(_result(vector))
    assert exchange.skipped == len(vector.question or b"")


@pytest.mark.parametrize("vector", ANSWERS, ids=str)
def test_one_changed_byte_is_never_an_answer(vector: Vector) -> None:
    for at in range(len(vector.data)):
        bad = bytearray(vector.data)
        bad[at] ^= 0x01
        assert isinstance(_ask(vector).feed(bytes(bad)), NeedMore)


def test_the_stream_with_stray_zeros() -> None:
    exchange = question_of(VECTORS["sdm-01"].data)
    exchange.start()
    assert exchange.feed(VECTORS["sdm-09"].data) == Done((0x4369, 0x6978))
    assert exchange.skipped == 2


@pytest.mark.parametrize("vector", chosen(misprint=True), ids=str)
def test_misprints_answer_nothing(vector: Vector) -> None:
    question = vector.question or VECTORS["rly-01"].data
    exchange = question_of(question)
    exchange.start()
    assert isinstance(exchange.feed(vector.data), NeedMore)


@pytest.mark.parametrize("vector", REFUSALS, ids=str)
def test_refusals(vector: Vector) -> None:
    asked = {"sdm-07": "sdm-05", "sdm-16": "sdm-01", "rly-16": "rly-01"}[vector.id]
    exchange = question_of(VECTORS[asked].data)
    exchange.start()
    with pytest.raises(Refused) as refused:
        exchange.feed(b"\x00" + vector.data)
    assert refused.value.code == vector.data[2:3]
    assert refused.value.flags == ({1: "illegal function", 2: "illegal data address"}[vector.data[2]],)
    assert exchange.skipped == 1


def test_an_unknown_exception_has_no_words() -> None:
    exchange = ReadRegisters(1, 3, 0, 1)
    exchange.start()
    with pytest.raises(Refused) as refused:
        exchange.feed(rtu_pack(1, b"\x83\x77"))
    assert (refused.value.code, refused.value.flags) == (b"\x77", ())


FOREIGN = [
    ("another unit", rtu_pack(2, bytes.fromhex("030401020304"))),
    ("another function", rtu_pack(1, bytes.fromhex("040401020304"))),
    ("another count", rtu_pack(1, bytes.fromhex("03020102"))),
    ("an exception to another function", rtu_pack(1, bytes.fromhex("8402"))),
    ("an exception of another unit", rtu_pack(2, bytes.fromhex("8302"))),
]


@pytest.mark.parametrize(("why", "frame"), FOREIGN)
def test_answers_to_others_are_skipped(why: str, frame: bytes) -> None:
    exchange = ReadRegisters(1, 3, 0x10, 2)
    exchange.start()
    assert isinstance(exchange.feed(frame), NeedMore), why
    assert exchange.feed(rtu_pack(1, bytes.fromhex("030400070008"))) == Done((7, 8))
    assert exchange.skipped == len(frame)


TCP_FOREIGN = [
    ("another transaction", tcp_pack(1, bytes.fromhex("030401020304"), 6)),
    ("another unit", tcp_pack(2, bytes.fromhex("030401020304"), 7)),
    ("another count", tcp_pack(1, bytes.fromhex("03020102"), 7)),
    ("a byte count that lies", tcp_pack(1, bytes.fromhex("03040102"), 7)),
    ("another function", tcp_pack(1, bytes.fromhex("040401020304"), 7)),
    ("an exception of another transaction", tcp_pack(1, bytes.fromhex("8302"), 8)),
]


@pytest.mark.parametrize(("why", "frame"), TCP_FOREIGN)
def test_tcp_answers_to_others_are_skipped(why: str, frame: bytes) -> None:
    exchange = ReadRegisters(1, 3, 0x10, 2, "tcp", 7)
    exchange.start()
    good = tcp_pack(1, bytes.fromhex("030400070008"), 7)
    assert isinstance(exchange.feed(frame + good[:5]), NeedMore), why
    assert exchange.feed(good[5:] + frame) == Done((7, 8))
    assert exchange.skipped == 2 * len(frame)


WRITES: list[tuple[Callable[[], Exchange[None]], str]] = [
    (lambda: WriteRegister(1, 0x10, 5), "0600100006"),
    (lambda: WriteRegisters(1, 0x1A, [1]), "10001A0002"),
    (lambda: WriteCoil(1, 3, True), "0500030000"),
]


@pytest.mark.parametrize(("question", "pdu"), WRITES)
def test_a_write_answered_with_other_content_is_malformed(question: Callable[[], Exchange[None]], pdu: str) -> None:
    exchange = question()
    exchange.start()
    with pytest.raises(Malformed, match="repeats"):
        exchange.feed(rtu_pack(1, bytes.fromhex(pdu)))


WRONG: list[tuple[Exchange[Any], str]] = [
    (ReadRegisters(0, 3, 0, 1), "a Modbus address is 1 to 247, not 0"),
    (ReadRegisters(248, 3, 0, 1), "a Modbus address is 1 to 247, not 248"),
    (ReadRegisters(1, 6, 0, 1), "registers are read with function 3 or 4, not 6"),
    (ReadRegisters(1, 3, 12, 0), "one read takes 1 to 125 registers, not 0"),
    (ReadRegisters(1, 3, 0, 126), "one read takes 1 to 125 registers, not 126"),
    (ReadRegisters(1, 3, 0xFFFF, 2), "2 from address 65535 on are not all within 0 to 65535"),
    (ReadRegisters(1, 3, -1, 2), "2 from address -1 on are not all within 0 to 65535"),
    (ReadRegisters(1, 3, 0, 1, "tcp", 65536), "a transaction id is 0 to 65535, not 65536"),
    (ReadBits(1, 1, 0, 2001), "one read takes 1 to 2000 bits, not 2001"),
    (ReadBits(1, 3, 0, 1), "bits are read with function 1 or 2, not 3"),
    (WriteRegister(1, 0, 65536), "a register holds 0 to 65535, not 65536"),
    (WriteRegisters(1, 0, []), "one write takes 1 to 123 registers, not 0"),
    (WriteRegisters(1, 0, [0] * 124), "one write takes 1 to 123 registers, not 124"),
    (WriteRegisters(1, 0, [-1]), "a register holds 0 to 65535, not -1"),
    (WriteCoil(1, 65536, True), "1 from address 65536 on are not all within 0 to 65535"),
]


@pytest.mark.parametrize(("exchange", "text"), WRONG)
def test_what_cannot_be_asked(exchange: Exchange[Any], text: str) -> None:
    with pytest.raises(RequestError) as error:
        exchange.start()
    assert str(error.value) == text
