"""A profile's TOML table to a MeterProfile. The adapter reads the file; this takes the dict.

Every wrong key or type raises ProfileError with one sentence that names the profile and the key; unknown keys are errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, cast, get_args

from protocols.modbus.registers import WORD_ORDERS, WORDS, Kind, RegisterType, WordOrder
from protocols.profile_history import KEPT, parse_history
from protocols.profile_table import Table
from protocols.profiles import (
    DEFAULT_SETTLE_S,
    MAX_WORDS,
    BlockSwitch,
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
    Span,
    Switch,
    Values,
    WalletForm,
)
from protocols.quantities import Measurement, quantity

_FROM_METERS: Final = ("captured", "log")  # origins that were seen on a wire
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_MOST_SWITCH_WORDS: Final = 8
"""Two were seen; more than a few words could carry other settings along."""


def parse_profile(data: Mapping[str, object]) -> MeterProfile:
    """The profile in this dict, as tomllib gives it. Raises ProfileError."""
    name = data.get("name")
    if not isinstance(name, str) or not _NAME.match(name):
        raise ProfileError("a profile needs a name of small letters, digits and hyphens")
    top = Table(data, f"profile {name}")
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
        unconfirmed=top.each("unconfirmed", str, []),
        history=parse_history(top.table("history"), protocol) if top.has("history") else KEPT.get(protocol),
        wallet=_wallet(top.table("wallet"), protocol) if top.has("wallet") else None,
    )
    top.done()
    if profile.modbus and not profile.modbus.registers and not profile.switch:
        raise ProfileError(f"profile {name} neither reads nor switches anything")
    if _claims(profile) and not any(frame.origin in _FROM_METERS for frame in profile.frames):
        raise ProfileError(f"profile {name} calls itself confirmed but holds no frame that was captured or logged")
    if not all(part.confirmed for part in _parts(profile)) and not profile.unconfirmed:
        raise top.fail("unconfirmed", "must say what no meter has confirmed, because a part of the profile is not confirmed")
    return profile


def _claims(profile: MeterProfile) -> bool:
    return any(part.confirmed for part in _parts(profile))


def _parts(profile: MeterProfile) -> list[Dlt645Reads | ModbusReads | Switch | WalletForm]:
    """What reads, what switches and what holds money, as far as the profile has it."""
    reads = profile.modbus if profile.modbus and profile.modbus.registers else profile.dlt645
    return [part for part in (reads, profile.switch, profile.wallet) if part is not None]


def _wallet(table: Table, protocol: str) -> WalletForm:
    kind = cast(Literal["counted", "ordered"], table.choice("form", ("counted", "ordered")))
    form = WalletForm(kind, table.take("refund", bool, False), table.take("confirmed", bool, False))
    table.done()
    if protocol != "dlt645-2007":
        raise table.fail("form", "is known for dlt645-2007 alone")
    if form.refund and kind == "counted":
        raise table.fail("refund", "is not known where money goes in under a purchase count")
    return form


def _modbus(table: Table) -> ModbusReads:
    order = table.choice("word_order", WORD_ORDERS, "ABCD")
    even = table.take("even", bool, False)
    registers = tuple(_register(read, order) for read in table.tables("read"))
    reads = ModbusReads(
        registers=registers,
        max_words=table.whole("max_words", 1, MAX_WORDS, MAX_WORDS),
        max_gap=table.whole("max_gap", 0, MAX_WORDS, 0),
        confirmed=table.take("confirmed", bool, False),
        forbidden=tuple(_span(span) for span in table.tables("forbidden")),
        whole=tuple(_span(span) for span in table.tables("whole")),
        values=cast(Values, table.choice("values", get_args(Values), None if registers else "secondary")),
    )
    table.done()
    _check_registers(table, reads, even)
    if any(span.count > reads.max_words for span in reads.whole):
        raise table.fail("max_words", "is too small for a record that is read whole")
    spans = (*reads.whole, *reads.forbidden)
    if any(one.touches(two.function, two.first, two.last + 1) for n, one in enumerate(spans) for two in spans[:n]):
        raise table.fail("whole and forbidden", "must not overlap")
    return reads


def _check_registers(table: Table, reads: ModbusReads, even: bool) -> None:
    seen: set[str] = set()
    for register in reads.registers:
        name = register.quantity
        if name in seen:
            raise table.fail("read", f"gives {name} twice")
        if register.type.words > reads.max_words:
            raise table.fail("max_words", f"is too small for {name}")
        if even and (register.address % 2 or register.type.words % 2):
            raise table.fail("even", f"wants even addresses and counts, which {name} has not")
        where = register.function, register.address, register.end
        if any(span.touches(*where) for span in reads.forbidden):
            raise table.fail("forbidden", f"holds {name}")
        if any(span.touches(*where) and not span.holds(register) for span in reads.whole):
            raise table.fail("whole", f"cuts {name} in two")
        seen.add(name)


def _span(table: Table) -> Span:
    function, first = table.whole("function", 3, 4, 3), table.whole("first", 0, 0xFFFF)
    span = Span(function, first, table.whole("last", first, 0xFFFF))
    table.done()
    return span


def _register(table: Table, order: str) -> Register:
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
    rollover = table.number("rollover") if table.has("rollover") else None
    table.done()
    try:
        register = Register(name, unit, function, address, RegisterType(kind, word_order, scale, step, sentinels), rollover)
    except ValueError as error:
        raise ProfileError(f"{table.path}: {error}") from error
    if register.end > 0x10000:
        raise table.fail("address", f"leaves no room for {kind}")
    return register


def _signs(table: Table) -> tuple[str, ...]:
    found = table.each("signs", str, ["alarm", "protect"])
    if not {*found} <= {"alarm", "protect"}:
        raise table.fail("signs", f"may hold alarm and protect, not {', '.join(found)}")
    return found


def _dlt645(table: Table, digits: int) -> Dlt645Reads:
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
        signs=_signs(table),
        preamble=table.whole("preamble", 0, 16, 4),
        confirmed=table.take("confirmed", bool, False),
    )
    table.done()
    if not reads.billing:
        raise table.fail("billing", "must name at least one identifier")
    return reads


def _byte(table: Table, key: str) -> int:
    value = table.octets(key)
    if len(value) != 1:
        raise table.fail(key, f"must be one byte in hex, not {value.hex().upper()!r}")
    return value[0]


def _switch(table: Table, protocol: Protocol) -> Switch:
    kind = table.choice("kind", ("register", "block", "coil") if protocol == "modbus" else ("internal",))
    settle_s = table.whole("settle_s", 0, 600, DEFAULT_SETTLE_S)
    confirmed = table.take("confirmed", bool, False)
    switch = _SWITCHES[kind](table, settle_s, confirmed)
    table.done()
    return switch


def _internal(table: Table, settle_s: int, confirmed: bool) -> Switch:
    return InternalSwitch(settle_s, confirmed)


def _by_register(table: Table, settle_s: int, confirmed: bool) -> Switch:
    address, function = table.whole("address", 0, 0xFFFF), table.whole("function", 6, 16)
    if function not in (6, 16):
        raise table.fail("function", f"must be 6 or 16, not {function}")
    closed, opened = table.whole("closed", 0, 0xFFFF), table.whole("open", 0, 0xFFFF)
    if closed == opened:
        raise table.fail("open", "must differ from closed")
    return RegisterSwitch(address, closed, opened, function, table.whole("read_function", 3, 4, 3), settle_s, confirmed)


def _by_block(table: Table, settle_s: int, confirmed: bool) -> Switch:
    address = table.whole("address", 0, 0xFFFF)
    closed, opened = _words(table, "closed"), _words(table, "open")
    if closed == opened or len(closed) != len(opened):
        raise table.fail("open", "must differ from closed and have as many words")
    inner = table.table("read")
    function, first, count = inner.whole("function", 3, 4, 3), inner.whole("address", 0, 0xFFFF), inner.whole("count", 1, MAX_WORDS)
    inner.done()
    if not first <= address <= address + len(closed) <= first + count <= 0x10000:
        raise table.fail("read", "must hold the words that are written")
    return BlockSwitch(address, closed, opened, function, first, count, settle_s, confirmed)


def _words(table: Table, key: str) -> tuple[int, ...]:
    words = table.each(key, int)
    if not 1 <= len(words) <= _MOST_SWITCH_WORDS or not all(0 <= word <= 0xFFFF for word in words):
        raise table.fail(key, f"must be 1 to {_MOST_SWITCH_WORDS} words of 0 to 65535, not {list(words)}")
    return words


def _by_coil(table: Table, settle_s: int, confirmed: bool) -> Switch:
    channels = table.whole("channels", 1, 256, 1)
    address, inverted = table.whole("address", 0, 0x10000 - channels), table.take("inverted", bool, False)
    feedback: Feedback | None = None
    if table.has("feedback"):
        inner = table.table("feedback")
        function, input_address = inner.whole("function", 1, 2, 2), inner.whole("address", 0, 0x10000 - channels)
        feedback = Feedback(function, input_address, inner.take("inverted", bool, False))
        inner.done()
    return CoilSwitch(address, inverted, feedback, channels, settle_s, confirmed)


_SWITCHES: Final[dict[str, Callable[[Table, int, bool], Switch]]] = {
    "internal": _internal,
    "register": _by_register,
    "block": _by_block,
    "coil": _by_coil,
}


def _frame(table: Table, protocol: Protocol) -> CapturedFrame:
    captured = CapturedFrame(
        origin=cast(Origin, table.choice("origin", get_args(Origin))),
        request=table.octets("request", None if protocol == "modbus" else ""),
        frame=table.octets("hex"),
        reads=tuple(_reading(read) for read in table.tables("reads")),
        bits=table.each("bits", bool, []),
        ordered=table.choice("ordered", ("closed", "open")) == "closed" if table.has("ordered") else None,
    )
    table.done()
    if not captured.reads and not captured.bits and captured.ordered is None:
        raise table.fail("reads", "must say what the frame means")
    return captured


def _reading(table: Table) -> Measurement:
    name, unit, text = table.take("quantity", str), table.take("unit", str), table.take("value", str, "")
    table.done()
    if not text:
        return Measurement(name, None, unit)
    try:
        return Measurement(name, Decimal(text), unit)
    except InvalidOperation:
        raise table.fail("value", f"must be a decimal number in quotes, not {text!r}") from None
