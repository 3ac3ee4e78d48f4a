"""A DL/T 645 frame in words: who says what to whom, and what it means (contract.md 6, `decode --explain`)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import takewhile

from protocols.bcd import decode_digits
from protocols.dlt645 import codes, slave_1997, slave_2007
from protocols.dlt645.codes import control_flags, dialect_of, error_flags, function_name, has_di
from protocols.dlt645.frames import ANY, BROADCAST, Dialect, Frame
from protocols.dlt645.identifiers import describe, read_fields
from protocols.dlt645.items import FieldValue, Item
from protocols.dlt645.items_security import ORDERED_MONEY, describe_request, is_ordered
from protocols.dlt645.load_profile import CurveItem, LoadItem
from protocols.dlt645.master_control import Action
from protocols.dlt645.slave import Request, Request97, request_of, request_of_97
from protocols.dlt645.status import quantity_flags
from protocols.dlt645.values import Stamp

MAX_VALUES = 16
"""Values named one by one; what a block has beyond them is counted."""
_DI_BYTES = {Dialect.V2007: 4, Dialect.V1997: 2}
_ACTIONS = {
    Action.CUT: "cut the supply",
    Action.ALLOW_CLOSE: "allow the customer to close by the button",
    Action.CLOSE: "close the switch",
    Action.CUT_THEN_CLOSE: "cut now and close again",
    Action.CUT_THEN_ALLOW: "cut now and allow closing again",
    Action.ALARM_ON: "switch the alarm on",
    Action.ALARM_OFF: "switch the alarm off",
    Action.PROTECT_ON: "protect the supply from cuts",
    Action.PROTECT_OFF: "end the protection of the supply",
}
_OUTPUTS = ("the second pulse", "the demand period", "the tariff switch")
_SECURITY = {
    "070000FF": "identity authentication", "070001FF": "set the validity of an authentication",
    "070002FF": "end the authentication", "070101FF": "open an account", "070102FF": "top-up",
    "070103FF": "initialise the wallet", "070108FF": "refund", "070104FF": "parameter block", "078001FF": "read the security chip",
    "078002FF": "compare the software", "078102FF": "query the wallet",
    **{f"07020{n}FF": "key update" for n in (1, 2, 3)}, "070301FF": "key update",
}  # fmt: skip


def explain(frame: Frame, dialect: Dialect | None = None) -> str:
    """One sentence about a frame. dialect: None tells it from the control code (2007 where both have it)."""
    told = dialect or dialect_of(frame) or Dialect.V2007
    if frame.is_response:
        return f"{_meter(frame.address)} {_answer(frame, told)}."
    if told is Dialect.V1997:
        return f"to {_meter(frame.address)}: {_request(request_of_97(frame), told)}."
    return f"to {_meter(frame.address)}: {_request(request_of(frame), told)}."


def _meter(address: str) -> str:
    if address == BROADCAST:
        return "all meters"
    if address == ANY:
        return "any meter"
    return f"any meter whose address ends in {address.lstrip('A')}" if "AA" in address else f"meter {address}"


def _answer(frame: Frame, dialect: Dialect) -> str:
    if frame.is_error:
        flags = error_flags(frame.function, frame.data, dialect)
        why = ", ".join(flags) or "an error that no document explains"
        return f"refuses ({_function(frame, dialect)}): {why} [{frame.data.hex().upper() or 'no error word'}]"
    size = _DI_BYTES[dialect]
    more = "; more frames follow" if frame.more else ""
    if not has_di(frame, dialect):
        return f"{_accepts(frame, dialect)}{more}"
    if len(frame.data) < size:
        return f"answers ({_function(frame, dialect)}) without an identifier [{frame.data.hex().upper()}]"
    di, payload = decode_digits(frame.data[:size]), frame.data[size:]
    if frame.more or function_name(frame, dialect) == "read subsequent":
        return f"tells part of {_named(di, dialect)}: {len(payload)} bytes{more}"
    return f"{_tells(di, dialect)}: {_payload(di, payload, dialect)}"


def _accepts(frame: Frame, dialect: Dialect) -> str:
    name, raw = _function(frame, dialect), frame.data.hex().upper()
    if name == "read address" and len(frame.data) == 6:
        return f"tells its address: {decode_digits(frame.data)}"
    if frame.function == codes.CONTROL and dialect is Dialect.V2007:
        flags = f" ({', '.join(control_flags(frame.data))})" if frame.data else ""
        return f"accepts the control command{flags}, which does not say that it was carried out"
    return f"accepts ({name})" + (f" [{raw}]" if raw and name != "change password" else "")


def _tells(di: str, dialect: Dialect) -> str:
    return f"answers {_SECURITY[di]} [{di}]" if di in _SECURITY else f"tells {_named(di, dialect)}"


def _function(frame: Frame, dialect: Dialect) -> str:
    name = function_name(frame, dialect)
    return f"unknown function {frame.function:02X}" if name == "unknown" else name


def _named(di: str, dialect: Dialect) -> str:
    """An identifier with the name of what it holds."""
    if di in _SECURITY:
        return f"{_SECURITY[di]} [{di}]"
    item = describe(di, dialect)
    return f"{_title(item)} [{di}]" if item else f"the unknown identifier {di}"


def _title(item: Item) -> str:
    """What its values have in common."""
    if isinstance(item, LoadItem):
        return "load records"
    words = [field.quantity.split("_") for field in item.fields]
    shared = [column[0] for column in takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))]
    kind = " curve" if isinstance(item, CurveItem) else " block" if len(words) > 1 else ""
    return " ".join(shared or words[0]) + kind


def _payload(di: str, payload: bytes, dialect: Dialect) -> str:
    if not payload:
        return "nothing"
    return _values(read_fields(di, payload, dialect)) or f"{payload.hex().upper()}, which is not understood"


def _values(found: list[FieldValue]) -> str:
    said = [_value(each) for each in found[:MAX_VALUES]]
    rest = len(found) - len(said)
    return ", ".join(said) + (f" and {rest} more" if rest else "")


def _value(found: FieldValue) -> str:
    name, value = found.field.quantity.replace("_", " "), found.value
    if value is None:
        return f"{name} not available"
    text = format(value, "f") if isinstance(value, Decimal) else value
    if isinstance(found.field.format, Stamp):
        text = found.field.format.text(value) if isinstance(value, str) else text
    if isinstance(value, Decimal) and (flags := quantity_flags(found.field.quantity, int(value))) is not None:
        text = ", ".join(flags) or "no bit set"
    unit = f" {found.field.unit}" if found.field.unit else ""
    return f"{name} {text}{unit}" + (f" at {found.at}" if found.at else "")


def _request(request: Request | Request97, dialect: Dialect) -> str:
    for kind, say in _SAYINGS.items():
        if isinstance(request, kind):
            return str(say(request))
    if isinstance(request, slave_2007.UnknownRequest):
        data = f" with {request.data.hex().upper()}" if request.data else ""
        name = function_name(Frame(request.address, request.control), dialect)
        return (f"unknown function {request.control:02X}" if name == "unknown" else f"{name}, but of a wrong length") + data
    return "a request"


def _read(r: slave_2007.ReadRequest) -> str:
    count = "" if r.count is None else f", {r.count} records"
    when = "" if r.when is None else f" from {r.when:%Y-%m-%dT%H:%M} on"
    return f"read {_named(r.di, Dialect.V2007)}{count}{when}"


def _control(r: slave_2007.ControlRequest) -> str:
    what = _ACTIONS.get(Action(r.code)) if r.code in set(Action) else f"unknown order {r.code:02X}"
    pause = f" after {5 * r.n2} minutes" if r.code in (Action.CUT_THEN_CLOSE, Action.CUT_THEN_ALLOW) else ""
    if r.expiry is not None:
        until = f"valid until {r.expiry:%Y-%m-%dT%H:%M:%S} on the meter's clock"
    elif not r.expiry_raw:
        until = "short form without expiry"
    else:
        until = "without expiry" if not any(r.expiry_raw) else f"with an expiry that is no date ({r.expiry_raw.hex()})"
    return f"{what}{pause}, {until}, authority {r.level:02X}, operator {r.operator}"


def _write(r: slave_2007.WriteRequest) -> str:
    if r.secured:
        form = "sealed" if r.level == codes.PA_SEALED else "with a MAC"
        return f"write {_named(r.di, Dialect.V2007)} {form}, operator {r.operator}: {r.data.hex().upper()}"
    value = _payload(r.di, r.data, Dialect.V2007)
    return f"write {_named(r.di, Dialect.V2007)}, authority {r.level:02X}, operator {r.operator}: {value}"


def _write_97(r: slave_1997.Write97Request) -> str:
    return f"write {_named(r.di, Dialect.V1997)}, authority {r.level:02X}: {_payload(r.di, r.data, Dialect.V1997)}"


def _security(r: slave_2007.SecurityRequest) -> str:
    item = Item(r.di, ORDERED_MONEY) if is_ordered(r.payload) else describe_request(r.di)
    found = (item.read(r.payload) if item and item.fields else None) or []
    said = _values(found) or r.payload.hex().upper()
    name = f"{_SECURITY.get(r.di, 'security function')} [{r.di}]"
    return f"{name}, operator {r.operator}" + (f": {said}" if said else "")


def _time(r: slave_2007.BroadcastTimeRequest) -> str:
    return "set the clock to " + ("what is no date" if r.when is None else f"{r.when:%Y-%m-%dT%H:%M:%S}")


def _speed(r: slave_2007.ChangeSpeedRequest) -> str:
    return f"change the speed to {r.baud} baud" if r.baud else f"change the speed to the unknown {r.word:02X}"


def _output(r: slave_2007.OutputRequest) -> str:
    return f"put out {_OUTPUTS[r.signal]}" if r.signal < len(_OUTPUTS) else f"put out the unknown {r.signal:02X}"


_SAYINGS: dict[type, Callable[..., str]] = {
    slave_2007.ReadRequest: _read,
    slave_2007.SubsequentRequest: lambda r: f"read part {r.seq} of {_named(r.di, Dialect.V2007)}",
    slave_2007.ReadAddressRequest: lambda r: "tell your address",
    slave_2007.ControlRequest: _control,
    slave_2007.SealedControlRequest: lambda r: f"a sealed control command, operator {r.operator}",
    slave_2007.BroadcastTimeRequest: _time,
    slave_2007.WriteRequest: _write,
    slave_2007.WriteAddressRequest: lambda r: f"take the address {r.new}",
    slave_2007.FreezeRequest: lambda r: f"freeze {r.when or 'at what is no time'}",
    slave_2007.ChangeSpeedRequest: _speed,
    slave_2007.ChangePasswordRequest: lambda r: f"change the password of level {r.level:02X} with that of level {r.old_level:02X}",
    slave_2007.DemandResetRequest: lambda r: f"reset the maximum demands, authority {r.level:02X}, operator {r.operator}",
    slave_2007.MeterClearRequest: lambda r: f"clear the meter, authority {r.level:02X}, operator {r.operator}",
    slave_2007.EventClearRequest: lambda r: f"clear {_events(r.di)}, authority {r.level:02X}, operator {r.operator}",
    slave_2007.OutputRequest: _output,
    slave_2007.SecurityRequest: _security,
    slave_1997.Read97Request: lambda r: f"read {_named(r.di, Dialect.V1997)}" + (f" with {r.extra.hex()}" if r.extra else ""),
    slave_1997.Subsequent97Request: lambda r: f"read the next part of {_named(r.di, Dialect.V1997)}",
    slave_1997.Reread97Request: lambda r: "say the last answer again",
    slave_1997.Write97Request: _write_97,
    slave_1997.WriteAddress97Request: lambda r: f"take the address {r.new}",
    slave_1997.ChangeSpeed97Request: lambda r: f"change the speed to {r.word:02X}",
    slave_1997.ChangePassword97Request: lambda r: f"change the password of level {r.level:02X}",
    slave_1997.DemandReset97Request: lambda r: "reset the maximum demands",
}
"""How each kind of request is said; passwords are never."""


def _events(di: str | None) -> str:
    return "the records of all events" if di is None else f"the records of {di}"
