"""A profile's TOML table to a MeterProfile. The adapter reads the file; this takes the dict.

Every wrong key or type raises ProfileError with one sentence that names the profile and the key; unknown keys are errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final, TypeVar, cast, get_args

from protocols.modbus.registers import WORD_ORDERS, WORDS, Kind, RegisterType, WordOrder
from protocols.profiles import (
    DEFAULT_SETTLE_S,
    MAX_WORDS,
    CapturedFrame,
    CoilSwitch,
    Dlt645Reads,
    Feedback,
    InternalSwitch,
    MeterProfile,
    ModbusReads,
    Origin,
    ProfileError,
    Protocol,
    Register,
    RegisterSwitch,
    Switch,
)
from protocols.quantities import Measurement, quantity

_FROM_METERS: Final = ("captured", "log")  # origins that were seen on a wire
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
T = TypeVar("T")


def parse_profile(data: Mapping[str, object]) -> MeterProfile:
    """The profile in this dict, as tomllib gives it. Raises ProfileError."""
    name = data.get("name")
    if not isinstance(name, str) or not _NAME.match(name):
        raise ProfileError("a profile needs a name of small letters, digits and hyphens")
    top = _Table(data, f"profile {name}")
    top.take("name", str)
    protocol = cast(Protocol, top.choice("protocol", get_args(Protocol)))
    profile = MeterProfile(
        name=name,
        protocol=protocol,
        notes=top.take("notes", str, ""),
        dlt645=None if protocol == "modbus" else _dlt645(top.table("dlt645"), 8 if protocol == "dlt645-2007" else 4),
        modbus=_modbus(top.table("modbus", {})) if protocol == "modbus" else None,
        switch=_switch(top.table("switch"), protocol) if top.has("switch") else None,
        frames=tuple(_frame(frame, protocol) for frame in top.tables("frame")),
    )
    top.done()
    if profile.modbus and not profile.modbus.registers and not profile.switch:
        raise ProfileError(f"profile {name} neither reads nor switches anything")
    if _claims(profile) and not any(frame.origin in _FROM_METERS for frame in profile.frames):
        raise ProfileError(f"profile {name} calls itself confirmed but holds no frame that was captured or logged")
    return profile


def _claims(profile: MeterProfile) -> bool:
    return any(part is not None and part.confirmed for part in (profile.dlt645, profile.modbus, profile.switch))


class _Table:
    """A TOML table being taken apart; `path` names it in errors."""

    def __init__(self, data: Mapping[str, object], path: str) -> None:
        self._left = dict(data)
        self.path = path

    def fail(self, key: str, what: str) -> ProfileError:
        return ProfileError(f"{self.path}: {key} {what}")

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of this key; without a default it must be there."""
        value = self._left.pop(key, default)
        if value is None:
            raise self.fail(key, "is missing")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.fail(key, f"must be {_KINDS[kind]}, not {value!r}")
        return value

    def has(self, key: str) -> bool:
        return key in self._left

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.take(key, int, default)
        if not low <= value <= high:
            raise self.fail(key, f"must be {low} to {high}, not {value}")
        return value

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        value = self.take(key, str, default)
        if value not in choices:
            raise self.fail(key, f"must be one of {', '.join(choices)}, not {value!r}")
        return value

    def number(self, key: str, default: str | None = None) -> Decimal:
        """A decimal string: a TOML float would not be exact."""
        text = self.take(key, str, default)
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise self.fail(key, f"must be a decimal number in quotes, not {text!r}") from None
        if not value.is_finite():
            raise self.fail(key, f"must be a finite number, not {text!r}")
        return value

    def octets(self, key: str, default: str | None = None) -> bytes:
        text = self.take(key, str, default)
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise self.fail(key, f"must be hex digits in pairs, not {text!r}") from None

    def each(self, key: str, kind: type[T], default: list[object] | None = None) -> tuple[T, ...]:
        values = self.take(key, list, default)
        for value in values:
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise self.fail(key, f"must be a list, each {_KINDS[kind]}, not {value!r}")
        return tuple(values)

    def table(self, key: str, default: dict[str, object] | None = None) -> _Table:
        return _Table(self.take(key, dict, default), f"{self.path}: {key}")

    def tables(self, key: str) -> list[_Table]:
        return [_Table(value, f"{self.path}: {key}[{n}]") for n, value in enumerate(self.each(key, dict, []))]

    def done(self) -> None:
        if self._left:
            raise self.fail(", ".join(self._left), "is not a key of this table")


_KINDS: Final[dict[type, str]] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


def _modbus(table: _Table) -> ModbusReads:
    order = table.choice("word_order", WORD_ORDERS, "ABCD")
    reads = ModbusReads(
        registers=tuple(_register(read, order) for read in table.tables("read")),
        max_words=table.whole("max_words", 1, MAX_WORDS, MAX_WORDS),
        max_gap=table.whole("max_gap", 0, MAX_WORDS, 0),
        confirmed=table.take("confirmed", bool, False),
    )
    table.done()
    seen: set[str] = set()
    for register in reads.registers:
        if register.quantity in seen:
            raise table.fail("read", f"gives {register.quantity} twice")
        if register.type.words > reads.max_words:
            raise table.fail("max_words", f"is too small for {register.quantity}")
        seen.add(register.quantity)
    return reads


def _register(table: _Table, order: str) -> Register:
    name, unit = table.take("quantity", str), table.take("unit", str)
    known = quantity(name)
    if known.unit != unit and (known.unit or known.obis):
        raise table.fail("unit", f"of {name} must be {known.unit!r}, not {unit!r}")
    kind = cast(Kind, table.choice("type", tuple(WORDS)))
    scale = table.number("scale", "1")
    step = table.number("resolution", None if kind == "f32" else str(abs(scale)))
    sentinels = table.each("sentinels", int, [])
    function, address = table.whole("function", 3, 4), table.whole("address", 0, 0xFFFF)
    word_order = cast(WordOrder, table.choice("word_order", WORD_ORDERS, order))
    table.done()
    try:
        register = Register(name, unit, function, address, RegisterType(kind, word_order, scale, step, sentinels))
    except ValueError as error:
        raise ProfileError(f"{table.path}: {error}") from error
    if register.end > 0x10000:
        raise table.fail("address", f"leaves no room for {kind}")
    return register


def _dlt645(table: _Table, digits: int) -> Dlt645Reads:
    def identifiers(key: str, default: list[object] | None = None) -> tuple[str, ...]:
        found = table.each(key, str, default)
        for text in found:
            if not re.fullmatch(rf"[0-9A-F]{{{digits}}}", text):
                raise table.fail(key, f"must hold identifiers of {digits} hex digits, not {text!r}")
        return found

    reads = Dlt645Reads(
        billing=identifiers("billing"),
        instant=identifiers("instant", []),
        status=identifiers("status", []),
        clock=identifiers("clock", []),
        authority=_byte(table, "authority"),
        password_class=table.take("password_class", str),
        preamble=table.whole("preamble", 0, 16, 4),
        confirmed=table.take("confirmed", bool, False),
    )
    table.done()
    if not reads.billing:
        raise table.fail("billing", "must name at least one identifier")
    return reads


def _byte(table: _Table, key: str) -> int:
    value = table.octets(key)
    if len(value) != 1:
        raise table.fail(key, f"must be one byte in hex, not {value.hex().upper()!r}")
    return value[0]


def _switch(table: _Table, protocol: Protocol) -> Switch:
    kind = table.choice("kind", ("register", "coil") if protocol == "modbus" else ("internal",))
    settle_s = table.whole("settle_s", 0, 600, DEFAULT_SETTLE_S)
    confirmed = table.take("confirmed", bool, False)
    switch = _SWITCHES[kind](table, settle_s, confirmed)
    table.done()
    return switch


def _internal(table: _Table, settle_s: int, confirmed: bool) -> Switch:
    return InternalSwitch(settle_s, confirmed)


def _by_register(table: _Table, settle_s: int, confirmed: bool) -> Switch:
    address, function = table.whole("address", 0, 0xFFFF), table.whole("function", 6, 16)
    if function not in (6, 16):
        raise table.fail("function", f"must be 6 or 16, not {function}")
    closed, opened = table.whole("closed", 0, 0xFFFF), table.whole("open", 0, 0xFFFF)
    if closed == opened:
        raise table.fail("open", "must differ from closed")
    return RegisterSwitch(address, closed, opened, function, table.whole("read_function", 3, 4, 3), settle_s, confirmed)


def _by_coil(table: _Table, settle_s: int, confirmed: bool) -> Switch:
    channels = table.whole("channels", 1, 256, 1)
    address, inverted = table.whole("address", 0, 0x10000 - channels), table.take("inverted", bool, False)
    feedback: Feedback | None = None
    if table.has("feedback"):
        inner = table.table("feedback")
        function, input_address = inner.whole("function", 1, 2, 2), inner.whole("address", 0, 0x10000 - channels)
        feedback = Feedback(function, input_address, inner.take("inverted", bool, False))
        inner.done()
    return CoilSwitch(address, inverted, feedback, channels, settle_s, confirmed)


_SWITCHES: Final[dict[str, Callable[[_Table, int, bool], Switch]]] = {
    "internal": _internal,
    "register": _by_register,
    "coil": _by_coil,
}


def _frame(table: _Table, protocol: Protocol) -> CapturedFrame:
    captured = CapturedFrame(
        origin=cast(Origin, table.choice("origin", get_args(Origin))),
        request=table.octets("request", None if protocol == "modbus" else ""),
        frame=table.octets("hex"),
        reads=tuple(_reading(read) for read in table.tables("reads")),
        bits=table.each("bits", bool, []),
    )
    table.done()
    if not captured.reads and not captured.bits:
        raise table.fail("reads", "must say what the frame means")
    return captured


def _reading(table: _Table) -> Measurement:
    name, unit, text = table.take("quantity", str), table.take("unit", str), table.take("value", str, "")
    table.done()
    if not text:
        return Measurement(name, None, unit)
    try:
        return Measurement(name, Decimal(text), unit)
    except InvalidOperation:
        raise table.fail("value", f"must be a decimal number in quotes, not {text!r}") from None
