"""Framing: CRC, lengths, and finding frames in what a line really carries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.frames import (
    MAX_PDU,
    REQUESTS,
    RESPONSES,
    RtuScanner,
    TcpDeframer,
    crc16,
    rtu_intact,
    rtu_pack,
    rtu_size,
    tcp_pack,
)
from tests.protocols.modbus.vectors import VECTORS, Vector, chosen


@pytest.mark.parametrize("vector", chosen(), ids=str)
def test_crc_of_every_good_vector(vector: Vector) -> None:
    assert rtu_intact(vector.data)
    assert rtu_pack(vector.data[0], vector.data[1:-2]) == vector.data


@pytest.mark.parametrize("vector", chosen(misprint=True), ids=str)
def test_misprints_are_not_intact_and_their_right_crc_is_known(vector: Vector) -> None:
    assert not rtu_intact(vector.data)
    assert crc16(vector.data[:-2]).to_bytes(2, "little").hex().upper() == vector.raw["crc_should_be"]


@pytest.mark.parametrize("vector", [v for v in chosen() if v.data[1] != 0xAA], ids=str)
def test_length_is_told_by_the_frame_itself(vector: Vector) -> None:
    layout = REQUESTS if vector.raw["dir"] == "request" else RESPONSES
    assert rtu_size(layout, vector.data) == len(vector.data)
    for cut in range(1, len(vector.data)):
        assert 0 < rtu_size(layout, vector.data[:cut]) <= len(vector.data)


def _scanner() -> RtuScanner:
    return RtuScanner(lambda data: rtu_size(RESPONSES, data) if data[0] == 1 else 0)


GOOD = VECTORS["dds-02"].data


@given(before=st.binary(max_size=30), after=st.binary(max_size=10), cuts=st.lists(st.integers(1, 20), max_size=20))
def test_a_frame_is_found_in_noise_however_it_arrives(before: bytes, after: bytes, cuts: list[int]) -> None:
    scanner, stream, found = _scanner(), before + GOOD + after, []
    for cut in [*cuts, len(stream)]:
        found += scanner.feed(stream[:cut])
        stream = stream[cut:]
    assert found == [GOOD]
    scanner.drop()
    assert scanner.skipped == len(before) + len(after)


def test_a_false_start_that_claims_more_than_ever_comes_hides_nothing() -> None:
    scanner = _scanner()
    assert scanner.feed(bytes.fromhex("0103FA") + GOOD) == [GOOD]
    assert (scanner.skipped, scanner.begun) == (3, False)


def test_two_frames_in_one_lump() -> None:
    assert _scanner().feed(GOOD + GOOD) == [GOOD, GOOD]


def test_begun_tells_a_started_frame_from_noise() -> None:
    scanner = _scanner()
    scanner.feed(b"\xff\x00")
    assert not scanner.begun
    scanner.feed(GOOD[:4])
    assert scanner.begun
    scanner.drop()
    assert (scanner.begun, scanner.skipped) == (False, 6)


@given(noise=st.lists(st.binary(max_size=64), max_size=40))
def test_what_waits_is_shorter_than_one_frame(noise: list[bytes]) -> None:
    scanner, fed = _scanner(), 0
    for lump in noise:
        frames = scanner.feed(lump)
        fed += len(lump) - sum(map(len, frames))
        assert fed - scanner.skipped < MAX_PDU + 3


@pytest.mark.parametrize("vector", chosen("tcp-mbap"), ids=str)
def test_tcp_vectors_whole_byte_by_byte_and_cut(vector: Vector) -> None:
    whole = TcpDeframer().feed(vector.data)
    assert len(whole) == 1
    assert tcp_pack(whole[0].unit, whole[0].pdu, whole[0].transaction_id) == vector.data
    deframer = TcpDeframer()
    for byte in vector.data[:-1]:
        assert deframer.feed(bytes([byte])) == []
        assert deframer.begun
    assert deframer.feed(vector.data[-1:]) == whole


@pytest.mark.parametrize("junk", ["FFFF", "0126000100060103", "012600000001", "01260000FFFF"])
def test_tcp_resynchronises_behind_headers_that_cannot_be(junk: str) -> None:
    good = VECTORS["iem-01"].data
    deframer = TcpDeframer()
    frames = deframer.feed(bytes.fromhex(junk) + good)
    assert [frame.size for frame in frames] == [len(good)]
    assert deframer.skipped == len(junk) // 2
