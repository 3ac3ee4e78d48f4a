"""A line of hex digits to the frames in it, as plain data for JSON (contract.md 6)."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocols.bcd import decode_digits
from protocols.dlt645.codes import dialect_of, error_flags, function_name, has_di
from protocols.dlt645.frames import Deframer, Dialect, Frame
from protocols.dlt645.identifiers import read_fields
from protocols.dlt645.items import FieldValue
from protocols.dlt645.status import quantity_flags
from protocols.dlt645.values import Stamp
from protocols.explain import explain as in_words
from protocols.modbus.decode import decode_rtu

PROTOCOLS: Final = (*(str(d) for d in Dialect), "modbus-rtu")
_DI_BYTES = {Dialect.V2007: 4, Dialect.V1997: 2}


def decode_line(text: str, protocol: str | None = None, explain: bool = False) -> dict[str, object]:
    """{"frames", "skipped", "incomplete"} of a line of hex digits, blanks allowed; {"error"} when it is not hex.

    explain: every DL/T 645 frame also carries "explanation", the frame in words.

    protocol: one of PROTOCOLS; None tells the dialect from the control code, and takes a line for Modbus only when it has no
    DL/T 645 frame and is wholly Modbus frames. Raises ValueError for another protocol.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise ValueError(f"{protocol!r} is not one of {', '.join(PROTOCOLS)}")
    digits = "".join(text.split())
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        odd = len(digits) % 2 and all(c in "0123456789abcdefABCDEF" for c in digits)
        return {"error": "an odd number of hex digits" if odd else "not hex digits"}
    if protocol == "modbus-rtu":
        return {**(decode_rtu(data, force=True) or {})}
    found = _dlt645(data, Dialect(protocol) if protocol else None, explain)
    if not found["frames"] and protocol is None and (modbus := decode_rtu(data)):
        return {**modbus}
    return found


def _dlt645(data: bytes, dialect: Dialect | None, explain: bool) -> dict[str, object]:
    """The line has an end: behind a start that never completes, frames are looked for too; the last such start is `incomplete`."""
    deframer = Deframer()
    frames = deframer.feed(data)
    incomplete = 0
    while pending := deframer.pending:
        more = deframer.abandon()
        frames += more
        incomplete = 0 if more else incomplete or pending
    deframer.flush()
    known = {dialect_of(frame) for frame in frames} - {None}
    ambiguous = Dialect.V1997 if known == {Dialect.V1997} else Dialect.V2007
    return {
        "frames": [_frame(frame, dialect or dialect_of(frame) or ambiguous, explain) for frame in frames],
        "skipped": deframer.skipped - incomplete,
        "incomplete": bool(incomplete),
    }


def _frame(frame: Frame, dialect: Dialect, explain: bool) -> dict[str, object]:
    size = _DI_BYTES[dialect]
    di = decode_digits(frame.data[:size]) if has_di(frame, dialect) and len(frame.data) >= size else None
    return {
        "protocol": str(dialect),
        "direction": "response" if frame.is_response else "request",
        "address": frame.address,
        "control": f"{frame.control:02X}",
        "function": function_name(frame, dialect),
        "error": _error(frame, dialect) if frame.is_error else None,
        "more": frame.more,
        "di": di,
        "items": _items(frame, di, dialect),
        "data": frame.data.hex().upper(),
        **({"explanation": in_words(frame, dialect)} if explain else {}),
    }


def _error(frame: Frame, dialect: Dialect) -> dict[str, object]:
    return {"code": frame.data.hex().upper(), "flags": list(error_flags(frame.function, frame.data, dialect))}


def _items(frame: Frame, di: str | None, dialect: Dialect) -> list[dict[str, object]]:
    """Only answers to a first read, and those of security functions, hold values that begin at the beginning."""
    if di is None or not frame.is_response or function_name(frame, dialect) not in ("read", "authenticate"):
        return []
    return [_item(found) for found in read_fields(di, frame.data[_DI_BYTES[dialect] :], dialect)]


def _item(found: FieldValue) -> dict[str, object]:
    field, value = found.field, found.value
    item: dict[str, object] = {
        "quantity": field.quantity,
        "value": format(value, "f") if isinstance(value, Decimal) else value,
        "unit": field.unit,
    }
    if found.at is not None:
        item["at"] = found.at
    if isinstance(field.format, Stamp) and isinstance(value, str):
        item["text"] = field.format.text(value)
    if isinstance(value, Decimal) and (flags := quantity_flags(field.quantity, int(value))) is not None:
        item["flags"] = list(flags)
    return item
