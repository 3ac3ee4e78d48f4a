"""From a parsed request to the exchange that asks it, and from a parsed answer to the frame that a meter of ours gives."""

from __future__ import annotations

from datetime import datetime

from protocols.bcd import decode_digits
from protocols.dlt645 import codes, master, slave
from protocols.dlt645.frames import ANY, Dialect, Frame
from protocols.dlt645.slave import request_of, request_of_97
from protocols.exchange import Exchange


def question(frame: Frame, dialect: Dialect, preamble: int) -> Exchange[object] | None:
    """The exchange whose question this frame is; None for a request that no exchange of ours asks."""
    request = request_of_97(frame) if dialect is Dialect.V1997 else request_of(frame)
    return asked(request, dialect, preamble)


def asked(request: slave.Request | slave.Request97, dialect: Dialect, preamble: int) -> Exchange[object] | None:
    """The exchange that asks this."""
    exchange = _question_97(request, preamble) if dialect is Dialect.V1997 else _question_2007(request, preamble)
    return exchange  # type: ignore[return-value]


def _question_2007(request: object, preamble: int) -> object:
    match request:
        case slave.ReadRequest(address, di, count, when):
            return master.Read(address, di, preamble, count=count, when=when)
        case slave.ReadAddressRequest():
            return master.ReadAddress(preamble)
        case slave.ControlRequest() as r:
            expiry = r.expiry if any(r.expiry_raw) else None
            short = not r.expiry_raw
            action = master.Action(r.code)
            return master.Control(r.address, action, expiry, r.level, r.password, r.operator, r.n2, preamble, short)
        case slave.SealedControlRequest() as r:
            return master.SealedControl(r.address, r.cipher + r.mac, r.operator, r.extended, preamble)
        case slave.BroadcastTimeRequest(address, datetime() as when):
            return master.BroadcastTime(when, address, preamble)
        case slave.WriteRequest() as r if r.secured:
            sealed, (data, mac) = r.level == codes.PA_SEALED, r.secured
            return master.SecuredWrite(r.address, r.di, data, mac, sealed=sealed, operator=r.operator, preamble=preamble)
        case slave.WriteRequest() as r:
            single = r.address == ANY
            return master.Write(
                r.address, r.di, r.data, r.level, r.password, r.operator, preamble, long=True, point_to_point=single
            )
        case slave.WriteAddressRequest(address, new):
            return master.WriteAddress(new, address, preamble)
        case slave.FreezeRequest(address, when) if when:
            return master.Freeze(when, address, preamble)
        case slave.ChangeSpeedRequest() as r if r.baud:
            return master.ChangeSpeed(r.address, r.baud, preamble)
        case slave.ChangePasswordRequest() as r:
            return master.ChangePassword(r.address, r.level, r.password, r.old, r.old_level, preamble)
        case slave.DemandResetRequest() as r:
            return master.DemandReset(r.address, r.level, r.password, r.operator, preamble)
        case slave.MeterClearRequest() as r:
            return master.MeterClear(r.address, r.level, r.password, r.operator, preamble)
        case slave.EventClearRequest() as r:
            return master.EventClear(r.address, r.level, r.password, r.operator, preamble, di=r.di)
        case slave.OutputRequest() as r:
            return master.Output(master.OutputSignal(r.signal), r.address, preamble)
        case slave.SecurityRequest() as r:
            return master.Security(r.address, r.di, r.payload, r.operator, preamble)
    return None


def _question_97(request: object, preamble: int) -> object:
    match request:
        case slave.Read97Request(address, di, extra):
            return master.Read97(address, di, preamble, extra)
        case slave.Write97Request() as r:
            single = r.address == ANY
            return master.Write97(r.address, r.di, r.data, r.level, r.password, preamble, point_to_point=single)
        case slave.WriteAddress97Request(address, new):
            return master.WriteAddress97(new, address, preamble)
        case slave.ChangeSpeed97Request(address, word):
            return master.ChangeSpeed97(address, word, preamble)
        case slave.ChangePassword97Request() as r:
            return master.ChangePassword97(r.address, r.old, r.password, r.old_level, r.level, preamble)
        case slave.DemandReset97Request(address, int() as level, password):
            return master.DemandReset97(address, level, password, preamble)
        case slave.BroadcastTimeRequest(address, datetime() as when):
            return master.BroadcastTime(when, address, preamble)
    return None


def answer(frame: Frame, dialect: Dialect, preamble: int) -> bytes | None:
    """The bytes with which a meter of ours says the same; None for an answer that it never gives."""
    own, data = frame.address, frame.data
    if frame.is_error:
        return slave.error_answer(own, frame.function, data, preamble)
    if dialect is Dialect.V1997 and frame.control == 0x81:
        return slave.read_answer_97(own, decode_digits(data[:2]), data[2:], preamble=preamble)
    if dialect is Dialect.V1997:
        return slave.plain_answer(own, frame.function, data, preamble) if frame.control == 0x84 else None
    match frame.control:
        case 0x91 if data:
            return slave.read_answer(own, decode_digits(data[:4]), data[4:], preamble=preamble)
        case 0x93:
            return slave.address_answer(own, preamble)
        case 0x94:
            return slave.write_answer(own, preamble)
        case 0x9C:
            return slave.control_answer(own, data, preamble)
        case 0x96 | 0x97 | 0x98:
            return slave.plain_answer(own, frame.function, data, preamble)
    return None
