"""The slave side: captured requests, faults that the standard names, and master against slave on both framings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import Refused
from protocols.exchange import Done, Exchange, NeedMore
from protocols.modbus.frames import Framing, rtu_pack, tcp_pack
from protocols.modbus.master import ReadBits, ReadRegisters, WriteCoil, WriteRegister, WriteRegisters
from protocols.modbus.slave import Request, RtuSlave, TcpSlave, answer, exception
from tests.protocols.modbus.vectors import VECTORS, Vector, chosen

# rly-10 repeats another quantity than the standard asks for; rly-11 is the standard answer to the same request.
STANDARD_ANSWERS = [v for v in chosen("rtu", "response") if v.question and v.id != "rly-10"]
KNOWN = [v for v in chosen("rtu", "request") if v.data[1] in (1, 2, 3, 4, 5, 6, 15, 16)]


@pytest.mark.parametrize("vector", KNOWN, ids=str)
def test_requests_of_the_vectors(vector: Vector) -> None:
    data = vector.data
    for noise in (b"", b"\x00", b"\xff\xff", data[:-1]):
        slave = RtuSlave([data[0]])
        found = [request for byte in noise + data for request in slave.feed(bytes([byte]))]
        assert [(r.unit, r.function, r.transaction_id) for r in found] == [(data[0], data[1], None)]
        assert found[0].fault == (3 if vector.id == "dds-14" else 0)
        if vector.id != "dds-14":
            assert found[0].address == int.from_bytes(data[2:4], "big")
        assert slave.skipped == len(noise)


CONTENT = {
    "sdm-05": (2, (0x4270, 0)),
    "sdm-13": (4, ()),
    "dds-11": (1, (1,)),
    "rly-01": (1, (1,)),
    "rly-02": (1, (0,)),
    "rly-05": (8, ()),
    "rly-09": (8, (1, 1, 0, 0, 0, 0, 0, 0)),
}


@pytest.mark.parametrize("name", CONTENT)
def test_content_of_requests(name: str) -> None:
    (request,) = RtuSlave([1]).feed(VECTORS[name].data)
    assert (request.count, request.values) == CONTENT[name]


@pytest.mark.parametrize("vector", STANDARD_ANSWERS, ids=str)
def test_answers_of_the_vectors_are_what_we_would_send(vector: Vector) -> None:
    assert vector.question is not None
    (request,) = RtuSlave([vector.data[0]]).feed(vector.question)
    body = vector.data[3:-2]
    values: list[int] = []
    if request.function in (3, 4):
        values = [int.from_bytes(body[i : i + 2], "big") for i in range(0, len(body), 2)]
    elif request.function in (1, 2):
        values = [body[n // 8] >> n % 8 & 1 for n in range(request.count)]
    assert answer(request, values) == vector.data


@pytest.mark.parametrize("vector", chosen(misprint=True), ids=str)
def test_misprints_ask_nothing(vector: Vector) -> None:
    assert RtuSlave([1]).feed(vector.data) == []


def test_others_are_not_heard_and_silence_ends_a_half_frame() -> None:
    slave = RtuSlave([1])
    assert slave.feed(VECTORS["rly-12"].data + VECTORS["dds-02"].data[:-3]) == []
    slave.feed(VECTORS["sdm-01"].data[:5])
    slave.silence()
    assert len(slave.feed(VECTORS["sdm-01"].data)) == 1


def test_a_broadcast_is_heard_and_never_answered() -> None:
    (request,) = RtuSlave([1]).feed(rtu_pack(0, bytes.fromhex("0600010002")))
    assert (request.unit, request.values) == (0, (2,))
    assert answer(request) == exception(request, 1) == b""


FAULTS = [
    ("diagnostics, which we do not serve", "080000AA55", 1),
    ("a read of no words", "03000C0000", 3),
    ("a read of 126 words", "04000C007E", 3),
    ("a read of 2001 bits", "01000007D1", 3),
    ("a coil that is neither on nor off", "0500000001", 3),
    ("a byte count that is not twice the words", "10000000020200010002"[:16], 3),
    ("a byte count that is not the bits'", "0F00000008020301", 3),
]


@pytest.mark.parametrize(("why", "pdu", "code"), FAULTS)
def test_faults_get_the_exception_of_the_standard(why: str, pdu: str, code: int) -> None:
    body = bytes.fromhex(pdu)
    (request,) = RtuSlave([9]).feed(rtu_pack(9, body))
    assert request.fault == code, why
    assert exception(request, request.fault) == rtu_pack(9, bytes([body[0] | 0x80, code]))
    (over_tcp,) = TcpSlave().feed(tcp_pack(9, body, 77))
    assert exception(over_tcp, over_tcp.fault) == tcp_pack(9, bytes([body[0] | 0x80, code]), 77)


def test_tcp_units_and_requests_in_one_lump() -> None:
    slave = TcpSlave([1])
    lump = b"".join(v.data for v in chosen("tcp-mbap", "request"))
    other = tcp_pack(2, bytes.fromhex("0300000001"), 5)
    assert [(r.transaction_id, r.address, r.count) for r in slave.feed(lump + other)] == [
        (0x0126, 2999, 10),
        (0x016E, 3053, 6),
        (0x01B6, 3203, 8),
    ]
    assert slave.skipped == len(other)


def test_an_answer_must_carry_what_was_asked() -> None:
    with pytest.raises(ValueError, match="asks for 2 values, not 1"):
        answer(Request(1, 3, 0, 2), [1])


units = st.integers(1, 247)
addresses = st.integers(0, 60000)
words = st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=123)
lumps = st.lists(st.integers(1, 40), max_size=12)
framings = st.sampled_from(["rtu", "tcp"])


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    pieces = []
    for cut in [*cuts, len(data)]:
        pieces.append(data[:cut])
        data = data[cut:]
    return pieces


def _carry(exchange: Exchange[Any], framing: Framing, unit: int, cuts: list[int], reply: Any) -> Any:
    """One exchange against a slave, both ways in pieces; `reply` turns the request into bytes."""
    slave = RtuSlave([unit]) if framing == "rtu" else TcpSlave([unit])
    requests = [request for piece in _pieces(exchange.start(), cuts) for request in slave.feed(piece)]
    assert len(requests) == 1 and slave.skipped == 0 and requests[0].fault == 0
    for piece in _pieces(reply(requests[0]), cuts):
        step = exchange.feed(piece)
        if isinstance(step, Done):
            assert exchange.skipped == 0
            return requests[0], step.result
        assert isinstance(step, NeedMore)
    raise AssertionError("no answer was recognised")


@given(framings, units, st.sampled_from([3, 4]), addresses, words, lumps, st.integers(0, 65535))
def test_registers_through_both_sides(
    framing: Framing, unit: int, function: int, address: int, values: list[int], cuts: list[int], transaction: int
) -> None:
    exchange = ReadRegisters(unit, function, address, len(values), framing, transaction)
    request, result = _carry(exchange, framing, unit, cuts, lambda r: answer(r, values))
    assert (request.function, request.address, request.count) == (function, address, len(values))
    assert result == tuple(values)


@given(framings, units, st.sampled_from([1, 2]), addresses, st.lists(st.booleans(), min_size=1, max_size=2000), lumps)
def test_bits_through_both_sides(
    framing: Framing, unit: int, function: int, address: int, values: list[bool], cuts: list[int]
) -> None:
    exchange = ReadBits(unit, function, address, len(values), framing, 3)
    assert _carry(exchange, framing, unit, cuts, lambda r: answer(r, values))[1] == tuple(values)


@given(framings, units, addresses, words, st.booleans(), lumps)
def test_writes_through_both_sides(framing: Framing, unit: int, address: int, values: list[int], on: bool, cuts: list[int]) -> None:
    for exchange, want in (
        (WriteRegisters(unit, address, values, framing, 9), tuple(values)),
        (WriteRegister(unit, address, values[0], framing, 9), (values[0],)),
        (WriteCoil(unit, address, on, framing, 9), (int(on),)),
    ):
        request, result = _carry(exchange, framing, unit, cuts, answer)
        assert (request.address, request.values, result) == (address, want, None)


@given(framings, units, st.integers(1, 255))
def test_exceptions_through_both_sides(framing: Framing, unit: int, code: int) -> None:
    with pytest.raises(Refused) as refused:
        _carry(ReadRegisters(unit, 4, 7, 3, framing, 1), framing, unit, [], lambda r: exception(r, code))
    assert refused.value.code == bytes([code])
