"""Any request that a master can ask arrives as what it is: round trip over every control code of both dialects."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bcd import decode_digits
from protocols.dlt645 import codes, slave
from protocols.dlt645.frames import ANY, BROADCAST, Deframer, Dialect, Frame
from protocols.dlt645.freeze_time import FreezeTime
from protocols.dlt645.master import Action
from protocols.dlt645.values import encode_second
from tests.protocols.dlt645 import rebuild


def digits(length: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=length, max_size=length)


def identifiers(length: int = 4) -> st.SearchStrategy[str]:
    return st.binary(min_size=length, max_size=length).map(decode_digits)


METERS = digits(12).filter(lambda a: a != BROADCAST)
PATTERNS = st.tuples(METERS, st.sampled_from([0, 2, 8, 12])).map(lambda p: "A" * p[1] + p[0][p[1] :])
LEVELS, PASSWORDS, OPERATORS = st.integers(0, 9), digits(6), digits(8)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(lambda t: t.replace(microsecond=0))
MINUTES = MOMENTS.map(lambda t: t.replace(second=0))
MACS = st.binary(min_size=4, max_size=4)
BY_PASSWORD = (LEVELS, PASSWORDS, OPERATORS)
FREEZES = st.one_of(
    st.just(FreezeTime()),
    st.builds(FreezeTime, minute=st.integers(0, 59)),
    st.builds(FreezeTime, hour=st.integers(0, 23), minute=st.integers(0, 59)),
    st.builds(FreezeTime, st.integers(1, 28), st.integers(0, 23), st.integers(0, 59)),
)


@st.composite
def passwords(draw: st.DrawFn) -> slave.ChangePasswordRequest:
    level = draw(LEVELS)
    old = draw(st.integers(0, level))
    return slave.ChangePasswordRequest(draw(METERS), f"04000C{level + 1:02X}", old, draw(PASSWORDS), level, draw(PASSWORDS))


@st.composite
def orders(draw: st.DrawFn) -> slave.ControlRequest:
    expiry = draw(MOMENTS)
    parts = (draw(LEVELS), draw(PASSWORDS), draw(OPERATORS), draw(st.integers(1, 255)), expiry, encode_second(expiry))
    return slave.ControlRequest(draw(METERS), draw(st.sampled_from(Action)), *parts)


REQUESTS = {
    "read": st.builds(slave.ReadRequest, PATTERNS, identifiers()),
    "read records": st.builds(
        slave.ReadRequest, PATTERNS, identifiers().map(lambda di: "06" + di[2:]), st.integers(1, 99), st.none() | MINUTES
    ),
    "read address": st.just(slave.ReadAddressRequest(ANY)),
    "control": orders(),
    "sealed control": st.builds(
        slave.SealedControlRequest, METERS, OPERATORS, st.binary(min_size=16, max_size=16), MACS, st.booleans()
    ),
    "time": st.builds(slave.BroadcastTimeRequest, METERS | st.just(BROADCAST), MOMENTS),
    "write": st.builds(slave.WriteRequest, METERS | st.just(ANY), identifiers(), *BY_PASSWORD, st.binary(max_size=200)),
    "secured write": st.builds(
        slave.WriteRequest,
        METERS,
        identifiers(),
        st.sampled_from([codes.PA_SEALED, codes.PA_CHECKED]),
        st.just("000000"),
        OPERATORS,
        st.binary(min_size=4, max_size=200),
    ),
    "write address": st.builds(slave.WriteAddressRequest, METERS | st.just(ANY), METERS),
    "freeze": st.builds(slave.FreezeRequest, METERS | st.just(BROADCAST), FREEZES),
    "change speed": st.builds(slave.ChangeSpeedRequest, METERS, st.sampled_from(list(codes.SPEEDS.values()))),
    "change password": passwords(),
    "demand reset": st.builds(slave.DemandResetRequest, METERS, *BY_PASSWORD),
    "meter clear": st.builds(slave.MeterClearRequest, METERS, *BY_PASSWORD),
    "event clear": st.builds(
        slave.EventClearRequest, METERS, *BY_PASSWORD, st.none() | identifiers(3).map(lambda di: di + "FF")
    ).filter(lambda r: r.di != "F" * 8),
    "output": st.builds(slave.OutputRequest, METERS | st.just(BROADCAST), st.integers(0, 2)),
    "security": st.builds(slave.SecurityRequest, METERS, identifiers(), OPERATORS, st.binary(max_size=247)),
}
REQUESTS_97 = {
    "read": st.builds(slave.Read97Request, PATTERNS | st.just(BROADCAST), identifiers(2), st.binary(max_size=20)),
    "write": st.builds(slave.Write97Request, METERS | st.just(ANY), identifiers(2), LEVELS, PASSWORDS, st.binary(max_size=200)),
    "write address": st.builds(slave.WriteAddress97Request, METERS | st.sampled_from([ANY, BROADCAST]), METERS),
    "change speed": st.builds(slave.ChangeSpeed97Request, METERS, st.sampled_from([1 << bit for bit in range(8)])),
    "change password": st.builds(slave.ChangePassword97Request, METERS, LEVELS, PASSWORDS, LEVELS, PASSWORDS),
    "demand reset": st.builds(slave.DemandReset97Request, METERS, LEVELS, PASSWORDS),
    "time": st.builds(slave.BroadcastTimeRequest, METERS | st.just(BROADCAST), MOMENTS),
}


@pytest.mark.parametrize("kind", REQUESTS)
@settings(deadline=None)
@given(data=st.data(), preamble=st.integers(0, 7))
def test_2007(kind: str, data: st.DataObject, preamble: int) -> None:
    request_ = data.draw(REQUESTS[kind])
    exchange = rebuild.asked(request_, Dialect.V2007, preamble)
    wire = exchange.start()
    assert wire.startswith(b"\xfe" * preamble + b"\x68")
    assert slave.Slave().feed(wire) == [request_]
    assert Deframer().feed(wire)[0].control == request_.control


@pytest.mark.parametrize("kind", REQUESTS_97)
@settings(deadline=None)
@given(data=st.data(), preamble=st.integers(0, 7))
def test_1997(kind: str, data: st.DataObject, preamble: int) -> None:
    request_ = data.draw(REQUESTS_97[kind])
    wire = rebuild.asked(request_, Dialect.V1997, preamble).start()
    assert slave.Slave97().feed(wire) == [request_]
    assert Deframer().feed(wire)[0].control == request_.control


@given(st.integers(0, 255), st.binary(max_size=255), st.sampled_from(["201906040102", ANY, BROADCAST]))
def test_any_frame_is_a_request_of_either_dialect(control: int, data: bytes, address: str) -> None:
    frame = Frame(address, control, data)
    for request_ in (slave.request_of(frame), slave.request_of_97(frame)):
        assert request_.address == address
        assert request_.control == control
