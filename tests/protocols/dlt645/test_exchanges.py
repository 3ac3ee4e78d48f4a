"""Master against slave over a noisy line, for every exchange of both dialects: what is asked arrives, what is answered is taken."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bcd import encode_digits
from protocols.dlt645 import master, slave
from protocols.dlt645.frames import ANY, BROADCAST, Deframer, Frame, encode
from protocols.dlt645.freeze_time import FreezeTime
from protocols.dlt645.items import Item
from protocols.dlt645.items_security import describe_request
from protocols.dlt645.load_profile import GROUPS, LoadRecord, encode_records
from protocols.errors import Malformed, Refused, RequestError
from protocols.exchange import Done, Exchange, NeedMore
from tests.protocols.dlt645.noisy_line import converse

METER, NEW = "201906040102", "201906040199"
WHEN = datetime(2026, 11, 21, 10, 15)
PURCHASE = master.Purchase(5000, 8, "112233445566", (b"\x01\x02\x03\x04", b"\x05\x06\x07\x08"))
MONEY = master.OrderedMoney(5000, "1234567890123456", METER)
PLACE = master.ChipPlace(0x3F01, 0x0002, 0, 8)
WALLET = "904D0000A1A2A3A407000000B1B2B3B466554433221101020304"  # 198.56, count 7
RECORDS = encode_records([LoadRecord(WHEN, ((None,) * len(GROUPS[0]), None, None, None, None, None))] * 20)
PAYLOADS = {
    "00010000": "78563412", "03300201": "00" * 202, "06010001": RECORDS.hex(), "9010": "48632400", "901F": "01000000" * 15,
    "D110": "AB" * 500,
}  # fmt: skip
SECURITY_ANSWERS = {
    "070000FF": "01020304" "1112131415161718", "070002FF": "665544332211" "904D0000" "07000000" "01020304", "078102FF": WALLET,
    "078001FF": PLACE.wire.hex() + "1122334455667788" "A1A2A3A4",
}  # fmt: skip


class TypicalMeter:
    """Obeys every request; what it was told is in `asked`."""

    def __init__(self, old: bool) -> None:
        self.asked: list[slave.Request | slave.Request97] = []
        self._slave = slave.Slave97() if old else slave.Slave()
        self._part = 0

    def __call__(self, heard: bytes) -> bytes:
        requests = self._slave.feed(heard) + self._slave.silence()  # type: ignore[operator]
        (request,) = (r for r in requests if not isinstance(r, slave.UnknownRequest))
        self.asked.append(request)
        return self._answer(request)

    def _answer(self, request: slave.Request | slave.Request97) -> bytes:
        match request:
            case slave.ReadRequest(di=di):
                return slave.read_answer(METER, di, bytes.fromhex(PAYLOADS[di]))
            case slave.SubsequentRequest(di=di, seq=seq):
                return slave.read_answer(METER, di, bytes.fromhex(PAYLOADS[di]), seq)
            case slave.ReadAddressRequest():
                return slave.address_answer(METER)
            case slave.WriteAddressRequest(new=new) | slave.WriteAddress97Request(new=new):
                return slave.plain_answer(new, request.control)
            case slave.ChangeSpeedRequest(word=word) | slave.ChangeSpeed97Request(word=word):
                return slave.plain_answer(METER, request.control, bytes([word]))
            case slave.ChangePasswordRequest() | slave.ChangePassword97Request():
                return slave.plain_answer(METER, request.control, slave.password_data(request.level, request.password))
            case slave.OutputRequest(signal=signal):
                return slave.plain_answer(METER, request.control, bytes([signal]))
            case slave.SecurityRequest(di=di):
                return slave.security_answer(METER, di, bytes.fromhex(SECURITY_ANSWERS.get(di, "")))
            case slave.Read97Request(di=di):
                self._part = 0
                return slave.read_answer_97(METER, di, bytes.fromhex(PAYLOADS[di]))
            case slave.Subsequent97Request(di=di):
                self._part += 1
                return slave.read_answer_97(METER, di, bytes.fromhex(PAYLOADS[di]), self._part)
            case slave.Reread97Request():
                return slave.reread_answer_97(METER, "9010", bytes.fromhex(PAYLOADS["9010"]))
        return slave.plain_answer(METER, request.control)


Make = Callable[[], Exchange[object]]
PASSWORD, OPERATOR = "112233", "04030201"
ORDER = master.order_bytes(master.Action.CUT, WHEN)


def security(di: str, *values: object) -> slave.SecurityRequest:
    item = describe_request(di) or Item(di, ())
    return slave.SecurityRequest(METER, di, OPERATOR, item.write(values) if values else b"")  # type: ignore[arg-type]


ORDERED = (
    encode_digits("0000")[:0] + bytes.fromhex("88130000") + encode_digits("1234567890123456") + bytes(4) + encode_digits(METER)
)
CASES: dict[str, tuple[Make, object]] = {
    "read": (lambda: master.Read(METER, "00010000"), slave.ReadRequest(METER, "00010000")),
    "read abbreviated": (lambda: master.Read("AAAAAAAA0102", "00010000"), slave.ReadRequest("AAAAAAAA0102", "00010000")),
    "read in parts": (lambda: master.Read(METER, "03300201"), slave.ReadRequest(METER, "03300201")),
    "read records": (lambda: master.Read(METER, "06010001", count=20), slave.ReadRequest(METER, "06010001", 20)),
    "read records from a time": (
        lambda: master.Read(METER, "06010001", count=20, when=WHEN), slave.ReadRequest(METER, "06010001", 20, WHEN)
    ),
    "read address": (master.ReadAddress, slave.ReadAddressRequest(ANY)),
    "write": (
        lambda: master.Write(METER, "04001003", bytes(4), 4, PASSWORD, OPERATOR),
        slave.WriteRequest(METER, "04001003", 4, PASSWORD, OPERATOR, bytes(4)),
    ),
    "write sealed": (
        lambda: master.SecuredWrite(METER, "04001003", b"c" * 16, b"mac!", sealed=True, operator=OPERATOR),
        slave.WriteRequest(METER, "04001003", 0x98, "000000", OPERATOR, b"c" * 16 + b"mac!"),
    ),
    "write with a MAC": (
        lambda: master.SecuredWrite(METER, "04001001", bytes(4), b"mac!", sealed=False, operator=OPERATOR),
        slave.WriteRequest(METER, "04001001", 0x99, "000000", OPERATOR, bytes(4) + b"mac!"),
    ),
    "write address": (lambda: master.WriteAddress(NEW), slave.WriteAddressRequest(ANY, NEW)),
    "freeze": (lambda: master.Freeze(FreezeTime(), METER), slave.FreezeRequest(METER, FreezeTime())),
    "change speed": (lambda: master.ChangeSpeed(METER, 9600), slave.ChangeSpeedRequest(METER, 0x20)),
    "change password": (
        lambda: master.ChangePassword(METER, 2, "222222", "111111", 1),
        slave.ChangePasswordRequest(METER, "04000C03", 1, "111111", 2, "222222"),
    ),
    "demand reset": (
        lambda: master.DemandReset(METER, 4, PASSWORD, OPERATOR), slave.DemandResetRequest(METER, 4, PASSWORD, OPERATOR)
    ),
    "meter clear": (lambda: master.MeterClear(METER, 2, PASSWORD, OPERATOR), slave.MeterClearRequest(METER, 2, PASSWORD, OPERATOR)),
    "clear all events": (
        lambda: master.EventClear(METER, 2, PASSWORD, OPERATOR), slave.EventClearRequest(METER, 2, PASSWORD, OPERATOR, None)
    ),
    "clear one event": (
        lambda: master.EventClear(METER, 2, PASSWORD, OPERATOR, di="03300DFF"),
        slave.EventClearRequest(METER, 2, PASSWORD, OPERATOR, "03300DFF"),
    ),
    "control": (
        lambda: master.Control(METER, master.Action.CUT, WHEN, 2, PASSWORD, OPERATOR),
        slave.ControlRequest(METER, 0x1A, 2, PASSWORD, OPERATOR, 0, WHEN, ORDER[2:]),
    ),
    "control, short": (
        lambda: master.Control(METER, master.Action.CLOSE, None, 2, PASSWORD, OPERATOR, short=True),
        slave.ControlRequest(METER, 0x1C, 2, PASSWORD, OPERATOR, 0, None, b""),
    ),
    "control, sealed": (
        lambda: master.SealedControl(METER, b"c" * 16 + b"mac!", OPERATOR, extended=True),
        slave.SealedControlRequest(METER, OPERATOR, b"c" * 16, b"mac!", True),
    ),
    "output": (lambda: master.Output(master.OutputSignal.RATE_SWITCH, METER), slave.OutputRequest(METER, 2)),
    "authenticate": (
        lambda: master.Authenticate(METER, b"cipher!!", b"random!!", b"factor!!", OPERATOR),
        security("070000FF", b"cipher!!".hex(), b"random!!".hex(), b"factor!!".hex()),
    ),
    "set validity": (lambda: master.SetValidity(METER, 30, b"mac!", OPERATOR), security("070001FF", 30, b"mac!".hex())),
    "invalidate": (lambda: master.Invalidate(METER, OPERATOR), security("070002FF")),
    "open account": (
        lambda: master.OpenAccount(METER, PURCHASE, OPERATOR),
        security("070101FF", "50.00", 8, "01020304", "112233445566", "05060708"),
    ),
    "top up": (
        lambda: master.TopUp(METER, PURCHASE, OPERATOR),
        security("070102FF", "50.00", 8, "01020304", "112233445566", "05060708"),
    ),
    "initialise wallet": (
        lambda: master.InitialiseWallet(METER, 100, PURCHASE.macs, OPERATOR),
        security("070103FF", "1.00", "01020304", 0, "05060708"),
    ),
    "top up by order": (
        lambda: master.OrderedTopUp(METER, MONEY, OPERATOR), slave.SecurityRequest(METER, "070102FF", OPERATOR, ORDERED + bytes(4))
    ),
    "refund": (
        lambda: master.Refund(METER, MONEY, OPERATOR), slave.SecurityRequest(METER, "070108FF", OPERATOR, ORDERED + bytes(4))
    ),
    "query wallet": (lambda: master.QueryWallet(METER, OPERATOR), security("078102FF")),
    "read back": (lambda: master.ReadBack(METER, PLACE, OPERATOR), security("078001FF", 8, 0, 2, 0x3F01)),
    "any security function": (
        lambda: master.Security(METER, "070301FF", b"key", OPERATOR), slave.SecurityRequest(METER, "070301FF", OPERATOR, b"key")
    ),
    "1997 read": (lambda: master.Read97(METER, "9010"), slave.Read97Request(METER, "9010")),
    "1997 read by 99": (lambda: master.Read97(BROADCAST, "9010"), slave.Read97Request(BROADCAST, "9010")),
    "1997 read in parts": (lambda: master.Read97(METER, "D110", extra=b"\x01"), slave.Read97Request(METER, "D110", b"\x01")),
    "1997 reread": (lambda: master.Reread97(METER, "9010"), slave.Reread97Request(METER)),
    "1997 write": (
        lambda: master.Write97(METER, "C034", b"123456", 2, PASSWORD), slave.Write97Request(METER, "C034", 2, PASSWORD, b"123456")
    ),
    "1997 write address": (lambda: master.WriteAddress97(NEW), slave.WriteAddress97Request(BROADCAST, NEW)),
    "1997 change speed": (lambda: master.ChangeSpeed97(METER, 0x40), slave.ChangeSpeed97Request(METER, 0x40)),
    "1997 change password": (
        lambda: master.ChangePassword97(METER, "111111", "222222", 1, 2),
        slave.ChangePassword97Request(METER, 1, "111111", 2, "222222"),
    ),
    "1997 demand reset": (lambda: master.DemandReset97(METER, 2, PASSWORD), slave.DemandReset97Request(METER, 2, PASSWORD)),
}  # fmt: skip
RESULTS: dict[str, object] = {
    "read address": METER, "write address": NEW, "1997 write address": NEW, "change speed": 9600, "1997 change speed": 0x40,
    "control": master.ControlAnswer(b""), "control, short": master.ControlAnswer(b""), "control, sealed": master.ControlAnswer(b""),
    "authenticate": master.Challenge(b"\1\2\3\4", bytes.fromhex("1112131415161718")),
    "invalidate": master.Wallet(19856, 7, "112233445566", b"\1\2\3\4"),
    "query wallet": master.Wallet(19856, 7, "112233445566", b"\1\2\3\4", (bytes.fromhex("A1A2A3A4"), bytes.fromhex("B1B2B3B4"))),
    "read back": master.ChipData(bytes.fromhex("1122334455667788"), bytes.fromhex("A1A2A3A4")),
    "any security function": b"",
}  # fmt: skip
PARTS = {"read in parts": 2, "read records": 4, "read records from a time": 4, "1997 read in parts": 3}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
@pytest.mark.parametrize("case", CASES)
def test_over_a_noisy_line(case: str, seed: int) -> None:
    make, request_ = CASES[case]
    meter = TypicalMeter(old=case.startswith("1997"))
    result, questions = converse(make(), meter, random.Random(seed), METER)
    assert meter.asked[0] == request_
    assert questions == len(meter.asked) == PARTS.get(case, 1)
    if isinstance(result, master.ReadAnswer):
        assert result.data == bytes.fromhex(PAYLOADS[result.di])
        assert result.address == METER
    else:
        assert result == RESULTS.get(case)


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_is_told_as_one(case: str) -> None:
    make, _ = CASES[case]
    exchange = make()
    (asked,) = Deframer().feed(exchange.start())
    own = NEW if "address" in case and case != "read address" else METER
    with pytest.raises(Refused) as refused:
        exchange.feed(slave.error_answer(own, asked.control, 0x04))
    assert refused.value.code == b"\x04"
    assert len(refused.value.flags) == 1


@pytest.mark.parametrize("case", [c for c in CASES if c not in ("1997 read by 99",)])
def test_others_and_our_own_echo_are_skipped(case: str) -> None:
    make, _ = CASES[case]
    exchange = make()
    echo = exchange.start()
    (asked,) = Deframer().feed(echo)
    stranger = encode(Frame("888888888888", asked.control | 0x80, asked.data), 0)
    other_function = encode(Frame(METER, 0x85, b""), 0)
    if asked.address in (ANY, BROADCAST):
        stranger = b""
    for noise_ in (echo, stranger, other_function):
        assert exchange.feed(noise_) == NeedMore()
    assert exchange.skipped == len((echo + stranger + other_function).lstrip(b"\xfe"))


def started(exchange: Exchange[object]) -> Exchange[object]:
    exchange.start()
    return exchange


@pytest.mark.parametrize(
    ("exchange", "control", "data"),
    [
        (master.Write(METER, "04001003", bytes(4)), 0x94, "00"),
        (master.Freeze(FreezeTime(), METER), 0x96, "00"),
        (master.ChangeSpeed(METER, 9600), 0x97, "10"),
        (master.ChangeSpeed(METER, 9600), 0x97, ""),
        (master.ChangePassword(METER, 2, "222222", "111111"), 0x98, "02111111"),
        (master.DemandReset(METER, 4), 0x99, "01"),
        (master.Output(master.OutputSignal.RATE_SWITCH, METER), 0x9D, "01"),
        (master.QueryWallet(METER), 0x83, "FF028107" + WALLET[:-2]),
        (master.QueryWallet(METER), 0x83, "FF0281"),
        (master.Authenticate(METER, bytes(8), bytes(8), bytes(8)), 0x83, "FF00000701"),
        (master.TopUp(METER, PURCHASE), 0x83, "FF02010701"),
        (master.TopUp(METER, PURCHASE), 0xC3, "010203"),
        (master.TopUp(METER, PURCHASE), 0xC3, ""),
        (master.ReadBack(METER, PLACE), 0x83, "FF018007" + "0000000000000000" + "A1A2A3A4"),
        (master.ReadBack(METER, PLACE), 0x83, "FF018007" + PLACE.wire.hex() + "A1"),
        (master.Reread97(METER, "9010"), 0x83, "10900000"),
        (master.DemandReset97(METER), 0x90, "00"),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_is_malformed(exchange: Exchange[object], control: int, data: str) -> None:
    with pytest.raises(Malformed):
        started(exchange).feed(encode(Frame(METER, control, bytes.fromhex(data))))


@pytest.mark.parametrize(
    ("exchange", "control", "data"),
    [
        (master.QueryWallet(METER), 0x83, "FF020107"),
        (master.TopUp(METER, PURCHASE), 0x83, "FF028107" + WALLET),
        (master.Reread97(METER, "9010"), 0x83, "209000000000"),
        (master.WriteAddress(NEW), 0x95, ""),
        (master.WriteAddress97(NEW), 0x8A, ""),
    ],
)  # fmt: skip
def test_the_answer_to_another_question_is_not_taken(exchange: Exchange[object], control: int, data: str) -> None:
    assert started(exchange).feed(encode(Frame(METER, control, bytes.fromhex(data)))) == NeedMore()


@pytest.mark.parametrize("length", [1, 2])
def test_the_error_word_of_03_has_one_or_two_bytes(length: int) -> None:
    top_up = started(master.TopUp(METER, PURCHASE))
    with pytest.raises(Refused) as refused:
        top_up.feed(slave.error_answer(METER, 0x03, b"\x02\x00"[:length]))
    assert refused.value.flags == ("repeated recharge",)


def test_some_1997_meters_repeat_their_new_address() -> None:
    step = started(master.WriteAddress97(NEW)).feed(slave.plain_answer(NEW, 0x0A, encode_digits(NEW)))
    assert step == Done(NEW)


@pytest.mark.parametrize(
    "exchange",
    [master.Freeze(FreezeTime()), master.Output(master.OutputSignal.SECOND_PULSE, BROADCAST), master.BroadcastTime(WHEN)],
)
def test_nobody_answers_what_is_told_to_all(exchange: Exchange[object]) -> None:
    assert not exchange.answered
    assert Deframer().feed(exchange.start())[0].address == BROADCAST


@pytest.mark.parametrize(
    "exchange",
    [
        master.Read(METER, "00010000", count=1),
        master.Read(METER, "9010", count=1),
        master.Read(METER, "06010001", count=0),
        master.Read(METER, "06010001", count=100),
        master.Read(METER, "06010001", when=WHEN),
        master.Read97(METER, "00010000"),
        master.Reread97(METER, "00010000"),
        master.Reread97("12", "9010"),
        master.Write(ANY, "04001003", bytes(4)),
        master.Write(BROADCAST, "04001003", bytes(4), point_to_point=True),
        master.Write("AAAAAAAA0102", "04001003", bytes(4), point_to_point=True),
        master.Write(METER, "0400100", bytes(4)),
        master.Write(METER, "04001003", bytes(4), level=10),
        master.Write(METER, "04001003", bytes(4), password="1"),
        master.Write(METER, "04001003", bytes(4), operator="1"),
        master.Write(METER, "04010001", bytes(42)),
        master.Write(METER, "04010001", bytes(250), long=True),
        master.SecuredWrite(METER, "04001003", bytes(4), b"mac", sealed=True),
        master.WriteAddress("AA" * 6),
        master.WriteAddress(NEW, BROADCAST),
        master.WriteAddress97(BROADCAST),
        master.WriteAddress97(NEW, "AAAAAAAA0102"),
        master.Freeze(FreezeTime(hour=1)),
        master.Freeze(FreezeTime(), ANY),
        master.ChangeSpeed(METER, 300),
        master.ChangeSpeed(BROADCAST, 9600),
        master.ChangeSpeed97(METER, 0),
        master.ChangeSpeed97(METER, 3),
        master.ChangeSpeed97(METER, 256),
        master.ChangePassword(METER, 10, "222222", "111111"),
        master.ChangePassword(METER, 2, "22222", "111111"),
        master.ChangePassword(METER, 2, "222222", "111111", 3),
        master.DemandReset(ANY, 4),
        master.EventClear(METER, 2, di="03300D01"),
        master.EventClear(METER, 2, di="03300D"),
        master.Control(METER, master.Action.CUT, WHEN, short=True),
        master.SealedControl(METER, bytes(19)),
        master.SealedControl(ANY, bytes(20)),
        master.Output(master.OutputSignal.RATE_SWITCH, ANY),
        master.Authenticate(METER, bytes(7), bytes(8), bytes(8)),
        master.SetValidity(METER, 0, bytes(4)),
        master.SetValidity(METER, 10000, bytes(4)),
        master.TopUp(METER, master.Purchase(-1, 8, METER)),
        master.TopUp(METER, master.Purchase(2**32, 8, METER)),
        master.TopUp(METER, master.Purchase(1, -1, METER)),
        master.TopUp(METER, master.Purchase(1, 8, "1")),
        master.TopUp(ANY, PURCHASE),
        master.TopUp(METER, PURCHASE, "x"),
        master.Refund(METER, master.OrderedMoney(1, "1", METER)),
        master.ReadBack(METER, master.ChipPlace(1 << 16, 0, 0, 8)),
        master.Security(METER, "07010", b""),
        master.Security(METER, "070301FF", bytes(248)),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_before_the_line(exchange: Exchange[object]) -> None:
    with pytest.raises(RequestError):
        exchange.start()


def test_a_long_write_is_asked_for() -> None:
    wire = master.Write(METER, "04010001", bytes(42), long=True).start()
    (request_,) = slave.Slave().feed(wire)
    assert isinstance(request_, slave.WriteRequest) and request_.data == bytes(42)
    assert request_.secured is None


def test_what_a_purchase_has_signed() -> None:
    assert PURCHASE.signed == (bytes.fromhex("8813000008000000"), encode_digits("112233445566"))
