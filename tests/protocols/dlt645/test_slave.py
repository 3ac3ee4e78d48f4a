"""The answering side: captured requests understood, answers as captured, and master against slave."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import slave
from protocols.dlt645.frames import Deframer, Frame, encode
from protocols.dlt645.master import Action, BroadcastTime, Control, ControlAnswer, Read, ReadAddress
from protocols.dlt645.slave import (
    BroadcastTimeRequest,
    ChangeSpeedRequest,
    ControlRequest,
    ReadAddressRequest,
    ReadRequest,
    SecurityRequest,
    Slave,
    SubsequentRequest,
    UnknownRequest,
    WriteAddressRequest,
    WriteRequest,
)
from protocols.errors import Refused, RequestError
from protocols.exchange import Done, Send, Step
from tests.protocols.dlt645.vectors import FRAMES, SYNTHETIC, name, raw

METER = "201906040102"
BY_ID = {v["id"]: raw(v) for v in FRAMES}
WIDE = bytes.fromhex("01002200220022000025000025000025000000550000005500000055001000100010")
ADDRESSES = st.from_regex(r"[0-9]{12}", fullmatch=True).filter(lambda a: a != "99" * 6)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(lambda t: t.replace(microsecond=0))


@pytest.mark.parametrize(
    ("vector", "request_"),
    [
        ("v143", ReadRequest("111111111111", "00010000")),
        ("v064", ReadAddressRequest("AA" * 6)),
        ("v118", BroadcastTimeRequest("99" * 6, datetime(2017, 6, 5, 10, 22, 51))),
        ("v121", BroadcastTimeRequest("99" * 6, None)),
        (
            "v101",
            ControlRequest(
                "260305510009", 0x1B, 2, "000000", "00000000", 1, datetime(2099, 12, 31, 23, 59, 59), bytes.fromhex("595923311299")
            ),
        ),
        ("v107", ControlRequest("000000219998", 0x1B, 2, "000000", "30303030", 0, None, bytes(6))),
        ("v044", ControlRequest("009910604867", 0x1A, 2, "111111", "45415354", 0, None, b"")),
        ("v096", WriteRequest("201900000034", "04600101", 2, "000000", "31313131", bytes.fromhex("B400"))),
        ("v120", WriteAddressRequest("121078563412", "131078563412")),
        ("v161", SecurityRequest("260305510012", "078102FF", "44332211", b"")),
        ("v278", WriteRequest("AA" * 6, "04A20200", 0, "565239", "00000000", WIDE)),
        ("v285", ChangeSpeedRequest("201901120001", 0x08)),
        ("v308", UnknownRequest("99" * 6, 0x12, bytes.fromhex("CDCECDCD"))),
        ("v171", UnknownRequest("000000000003", 0x01, bytes.fromhex("11B6"))),
        ("s16", SubsequentRequest(METER, "03300201", 1)),
        ("s19", ReadRequest(METER, "06010001", 2, datetime(2026, 11, 21, 10, 15))),
    ],
)
def test_captured_requests(vector: str, request_: slave.Request) -> None:
    wire = BY_ID.get(vector) or SYNTHETIC[vector]
    assert Slave().feed(wire) == [request_]
    listening = Slave()
    assert [r for b in wire for r in listening.feed(bytes([b]))] == [request_]
    assert request_.control == int(wire.lstrip(b"\xfe")[8])


@pytest.mark.parametrize("vector", [v for v in FRAMES if v["dir"] == "response"], ids=name)
def test_answers_of_others_are_passed_over(vector: dict) -> None:
    assert Slave().feed(raw(vector)) == []


@pytest.mark.parametrize(
    ("control", "length"),
    [
        (0x11, 3),
        (0x11, 6),
        (0x12, 4),
        (0x13, 1),
        (0x1C, 10),
        (0x08, 5),
        (0x14, 11),
        (0x1D, 2),
        (0x03, 7),
        (0x15, 5),
        (0x16, 5),
        (0x17, 2),
        (0x18, 11),
        (0x19, 7),
        (0x1A, 9),
        (0x1B, 8),
        (0x1C, 28),
    ],
)
def test_requests_of_an_impossible_length_are_unknown(control: int, length: int) -> None:
    data = bytes(length)
    assert Slave().feed(encode(Frame(METER, control, data))) == [UnknownRequest(METER, control, data)]


def test_a_follow_up_with_seq_zero_is_unknown() -> None:
    assert isinstance(Slave().feed(encode(Frame(METER, 0x12, bytes(5))))[0], UnknownRequest)


def test_a_request_behind_a_false_start_is_found_in_silence() -> None:
    listening = Slave()
    assert listening.feed(bytes.fromhex("68020104061920681CFF") + BY_ID["v143"]) == []
    assert listening.silence() == [ReadRequest("111111111111", "00010000")]


@pytest.mark.parametrize(
    ("pattern", "ours"),
    [(METER, True), ("99" * 6, True), ("AA" * 6, True), ("AAAAAAAA0102", True), ("AAAAAAAA0103", False), ("201906040103", False)],
)
def test_matches(pattern: str, ours: bool) -> None:
    assert slave.matches(pattern, METER) is ours


def test_answers_are_the_documented_ones() -> None:
    parts = Deframer().feed(SYNTHETIC["s15"] + SYNTHETIC["s17"])
    record = parts[0].data[4:] + parts[1].data[4:-1]
    assert slave.read_answer(METER, "03300201", record, preamble=0) == SYNTHETIC["s15"]
    assert slave.read_answer(METER, "03300201", record, seq=1, preamble=0) == SYNTHETIC["s17"]
    assert slave.read_answer(METER, "00900200", bytes.fromhex("56980100"), preamble=0) == SYNTHETIC["s27"]
    assert slave.control_answer(METER, b"\x08\x00", preamble=0) == SYNTHETIC["s23"]
    assert slave.error_answer(METER, 0x14, 0x04, preamble=0) == SYNTHETIC["s13"]
    assert slave.error_answer(METER, 0x1C, b"\x20\x00", preamble=0) == SYNTHETIC["s22"]
    assert slave.write_answer("000000003304") == BY_ID["v134"]
    assert slave.address_answer("000010604867") == BY_ID["v036"]
    assert slave.control_answer("1" * 12, preamble=0) == BY_ID["v063"][-12:]


@pytest.mark.parametrize("address", ["AA" * 6, "99" * 6, "AAAAAAAA0102"])
def test_a_meter_never_answers_with_a_wildcard(address: str) -> None:
    with pytest.raises(RequestError):
        slave.control_answer(address)


@pytest.mark.parametrize(("length", "seq"), [(196, 1), (197, 2), (0, 1), (60000, 256), (10, -1)])
def test_a_part_that_does_not_exist_is_refused(length: int, seq: int) -> None:
    with pytest.raises(RequestError):
        slave.read_answer(METER, "03300201", bytes(length), seq)


def meter(request: bytes, address: str, payload: bytes) -> bytes:
    """A meter that has this payload under every identifier."""
    (asked,) = Slave().feed(request)
    assert isinstance(asked, ReadRequest | SubsequentRequest)
    assert slave.matches(asked.address, address)
    return slave.read_answer(address, asked.di, payload, getattr(asked, "seq", 0))


@given(ADDRESSES, st.sampled_from(["03FE0001", "06FE0001", "FFFFFFFF"]), st.binary(max_size=1200), st.sampled_from([0, 8, 12]))
def test_master_against_slave_read(address: str, di: str, payload: bytes, wild: int) -> None:
    read = Read("A" * wild + address[wild:], di)
    step: Step[object] = Send(read.start())
    parts = 0
    while isinstance(step, Send):
        step = read.feed(meter(step.data, address, payload))
        parts += 1
    assert isinstance(step, Done)
    assert step.result.data == payload
    assert step.result.address == address
    assert parts == 1 + max(0, -(-(len(payload) - 196) // 195))


@given(
    ADDRESSES,
    st.sampled_from(Action),
    MOMENTS,
    st.integers(0, 9),
    st.from_regex(r"[0-9]{6}", fullmatch=True),
    st.from_regex(r"[0-9]{8}", fullmatch=True),
    st.integers(1, 255),
)
def test_master_against_slave_control(
    address: str, action: Action, expiry: datetime, level: int, password: str, operator: str, n2: int
) -> None:
    control = Control(address, action, expiry, level, password, operator, n2)
    (asked,) = Slave().feed(control.start())
    assert isinstance(asked, ControlRequest)
    assert (asked.address, asked.code, asked.level, asked.password) == (address, action, level, password)
    assert (asked.operator, asked.n2, asked.expiry) == (operator, n2, expiry)
    assert control.feed(slave.control_answer(address)) == Done(ControlAnswer(b""))


@given(ADDRESSES, st.integers(1, 255))
def test_master_against_slave_refusal(address: str, error: int) -> None:
    read = Read(address, "00010000")
    (asked,) = Slave().feed(read.start())
    with pytest.raises(Refused) as refused:
        read.feed(slave.error_answer(address, asked.control, error))
    assert refused.value.code == bytes([error])
    assert len(refused.value.flags) == error.bit_count()


@given(MOMENTS)
def test_master_against_slave_broadcast_time(when: datetime) -> None:
    assert Slave().feed(BroadcastTime(when).start()) == [BroadcastTimeRequest("99" * 6, when)]


@given(ADDRESSES)
def test_master_against_slave_address(address: str) -> None:
    search = ReadAddress()
    assert Slave().feed(search.start()) == [ReadAddressRequest("AA" * 6)]
    assert search.feed(slave.address_answer(address)) == Done(address)
