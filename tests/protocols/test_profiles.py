"""Meter profiles: the shipped files and the frames they carry, block planning, and one sentence for every mistake."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import identifiers
from protocols.dlt645.frames import Deframer, Dialect
from protocols.exchange import Done
from protocols.modbus.master import ReadBits, ReadRegisters
from protocols.modbus.registers import RegisterType
from protocols.profile_file import parse_profile
from protocols.profiles import (
    BlockRead,
    CapturedFrame,
    CoilSwitch,
    Feedback,
    InternalSwitch,
    MeterProfile,
    ModbusReads,
    ProfileError,
    Register,
    RegisterSwitch,
    plan_reads,
)
from protocols.quantities import Measurement

SHIPPED = sorted((Path(__file__).parents[2] / "config" / "meters").glob("*.toml"))


def _load(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def _meaning(profile: MeterProfile, frame: CapturedFrame) -> tuple[Measurement, ...] | tuple[bool, ...]:
    """What our own code reads out of the frame, with nothing but the profile."""
    if profile.dlt645:
        (found,) = Deframer().feed(frame.frame)
        assert found.is_response and not found.is_error
        width = 4 if profile.protocol == "dlt645-2007" else 2
        di = found.data[:width][::-1].hex().upper()
        return tuple(identifiers.decode(di, found.data[width:], Dialect(profile.protocol)))
    unit, function, ask = frame.request[0], frame.request[1], frame.request
    address, count = int.from_bytes(ask[2:4], "big"), int.from_bytes(ask[4:6], "big")
    exchange = ReadBits(unit, function, address, count) if function <= 2 else ReadRegisters(unit, function, address, count)
    assert exchange.start() == ask
    step = exchange.feed(frame.frame)
    assert isinstance(step, Done)
    if function <= 2:
        return tuple(bool(bit) for bit in step.result)
    assert profile.modbus is not None
    inside = tuple(
        r for r in profile.modbus.registers if r.function == function and address <= r.address and r.end <= address + count
    )
    return BlockRead(function, address, count, inside).decode(step.result)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_the_frames_of_a_profile_mean_what_it_says(path: Path) -> None:
    profile = parse_profile(_load(path))
    assert profile.name == path.stem
    assert profile.frames, f"{path.name} carries no frame"
    for frame in profile.frames:
        assert _meaning(profile, frame) == (frame.bits or frame.reads)


def test_the_shipped_profiles_are_all_there() -> None:
    assert {path.stem for path in SHIPPED} >= {
        "dlt645-single",
        "dlt645-three",
        "eastron-sdm120",
        "eastron-sdm630",
        "hiking-dds238-zn-sr",
        "relay-module-8",
    }


def _shipped(name: str) -> MeterProfile:
    return parse_profile(_load(next(path for path in SHIPPED if path.stem == name)))


def test_switches_of_the_shipped_profiles() -> None:
    internal, relay = _shipped("dlt645-single").switch, _shipped("hiking-dds238-zn-sr").switch
    assert internal == InternalSwitch(settle_s=4, confirmed=False)
    assert isinstance(relay, RegisterSwitch)
    assert (relay.address, relay.function, relay.order(True), relay.order(False)) == (0x1A, 16, 1, 0)
    assert [relay.is_closed(word) for word in (1, 0, 7)] == [True, False, None]
    assert _shipped("eastron-sdm630").switch is None


def test_a_coil_of_the_relay_module() -> None:
    module = _shipped("relay-module-8").switch
    assert isinstance(module, CoilSwitch)
    third = module.channel(2)
    assert (third.address, third.feedback) == (2, Feedback(2, 2, False))
    with pytest.raises(ValueError, match="channels 0 to 7, not 8"):
        module.channel(8)


@pytest.mark.parametrize("inverted", [True, False])
def test_inverted_coils_and_contacts(inverted: bool) -> None:
    switch = CoilSwitch(0, inverted, Feedback(2, 0, inverted), 1, 4, False)
    assert switch.order(closed=True) is not inverted
    assert switch.feedback is not None
    assert switch.feedback.is_closed(True) is not inverted


def test_blocks_of_the_shipped_profiles() -> None:
    def blocks(name: str, *quantities: str) -> list[tuple[int, int, int]]:
        return [(b.function, b.address, b.count) for b in plan_reads(_shipped(name), quantities or None)]

    assert blocks("eastron-sdm630") == [(4, 0x00, 76)]
    assert blocks("eastron-sdm630", "energy_import") == [(4, 0x48, 2)]
    assert blocks("eastron-sdm120") == [(4, 0x00, 32), (4, 0x46, 6)]
    assert blocks("hiking-dds238-zn-sr") == [(3, 0x00, 18)]
    assert blocks("hiking-dds238-zn-sr", "energy_import", "voltage_a") == [(3, 0x0A, 3)]
    with pytest.raises(ProfileError, match="profile eastron-sdm120 has no voltage_b, voltage_c"):
        plan_reads(_shipped("eastron-sdm120"), ["voltage_c", "voltage_a", "voltage_b"])
    with pytest.raises(ProfileError, match="dlt645-2007, which has no registers"):
        plan_reads(_shipped("dlt645-single"))


@given(
    places=st.lists(st.tuples(st.sampled_from([3, 4]), st.integers(0, 60), st.sampled_from(["u16", "u32", "u64"])), max_size=12),
    max_words=st.integers(4, 30),
    max_gap=st.integers(0, 6),
)
def test_plans_cover_everything_within_their_bounds(places: list[tuple[int, int, Any]], max_words: int, max_gap: int) -> None:
    registers = tuple(Register(f"x{n}", "", f, a, RegisterType(kind)) for n, (f, a, kind) in enumerate(places))
    profile = MeterProfile("x", "modbus", "", None, ModbusReads(registers, max_words, max_gap, False), None, ())
    blocks = plan_reads(profile)
    assert sorted(r.quantity for b in blocks for r in b.registers) == sorted(r.quantity for r in registers)
    for block, after in pairwise(blocks):
        first = min(after.registers, key=lambda r: (r.address, r.end))
        gap, size = first.address - block.address - block.count, first.end - block.address
        assert block.function != after.function or gap > max_gap or size > max_words
    for block in blocks:
        assert block.count <= max_words
        # each word holds its own address, so a value tells where it was cut from
        words = list(range(block.address, block.address + block.count))
        for register, measured in zip(block.registers, block.decode(words), strict=True):
            assert register.function == block.function
            assert measured.value is not None and int(measured.value) % 0x10000 == register.end - 1


def test_a_block_of_another_length_is_refused() -> None:
    (block,) = plan_reads(_shipped("eastron-sdm630"))
    with pytest.raises(ValueError, match="the block has 76 words, not 75"):
        block.decode([0] * 75)


MODBUS: dict[str, Any] = {
    "name": "m",
    "protocol": "modbus",
    "modbus": {
        "word_order": "CDAB",
        "max_words": 10,
        "read": [{"quantity": "power", "unit": "kW", "function": 3, "address": 7, "type": "i32", "scale": "0.001"}],
    },
    "switch": {"kind": "coil", "address": 1, "feedback": {"address": 2}},
    "frame": [{"origin": "log", "request": "00", "hex": "00", "reads": [{"quantity": "power", "value": "1.0", "unit": "kW"}]}],
}
DLT645: dict[str, Any] = {
    "name": "d",
    "protocol": "dlt645-1997",
    "dlt645": {"billing": ["9010"], "authority": "02", "password_class": "control"},
    "switch": {"kind": "internal"},
}


def test_defaults() -> None:
    modbus, dlt645 = parse_profile(MODBUS), parse_profile(DLT645)
    assert modbus.modbus is not None and dlt645.dlt645 is not None
    assert modbus.modbus.registers == (
        Register("power", "kW", 3, 7, RegisterType("i32", "CDAB", Decimal("0.001"), Decimal("0.001"))),
    )
    assert (modbus.modbus.max_gap, modbus.modbus.confirmed) == (0, False)
    assert modbus.switch == CoilSwitch(1, False, Feedback(2, 2, False), 1, 4, False)
    assert (dlt645.dlt645.preamble, dlt645.dlt645.instant, dlt645.quantities) == (4, (), ())


def _at(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    """A change of the profile: the key at this dotted path becomes the value, or goes when it is None."""

    def change(data: Any) -> None:
        *way, last = path.split(".")
        for step in way:
            data = data[int(step)] if step.isdigit() else data[step]
        if value is None:
            del data[last]
        else:
            data[last] = value

    return change


WRONG: list[tuple[dict[str, Any], str, object, str]] = [
    (MODBUS, "name", None, "a profile needs a name of small letters, digits and hyphens"),
    (MODBUS, "name", "A b", "a profile needs a name of small letters, digits and hyphens"),
    (MODBUS, "protocol", "iec", "profile m: protocol must be one of dlt645-2007, dlt645-1997, modbus, not 'iec'"),
    (MODBUS, "colour", "red", "profile m: colour is not a key of this table"),
    (MODBUS, "notes", 3, "profile m: notes must be a string, not 3"),
    (MODBUS, "modbus", 3, "profile m: modbus must be a table, not 3"),
    (MODBUS, "modbus.max_words", 126, "profile m: modbus: max_words must be 1 to 125, not 126"),
    (MODBUS, "modbus.max_words", 1, "profile m: modbus: max_words is too small for power"),
    (MODBUS, "modbus.max_words", True, "profile m: modbus: max_words must be a whole number, not True"),
    (MODBUS, "modbus.word_order", "ABDC", "profile m: modbus: word_order must be one of ABCD, CDAB, BADC, DCBA, not 'ABDC'"),
    (MODBUS, "modbus.read.0.quantity", None, "profile m: modbus: read[0]: quantity is missing"),
    (MODBUS, "modbus.read.0.unit", "W", "profile m: modbus: read[0]: unit of power must be 'kW', not 'W'"),
    (MODBUS, "modbus.read.0.scale", 0.001, "profile m: modbus: read[0]: scale must be a string, not 0.001"),
    (MODBUS, "modbus.read.0.scale", "a", "profile m: modbus: read[0]: scale must be a decimal number in quotes, not 'a'"),
    (MODBUS, "modbus.read.0.scale", "NaN", "profile m: modbus: read[0]: scale must be a finite number, not 'NaN'"),
    (MODBUS, "modbus.read.0.scale", "0", "profile m: modbus: read[0]: scale must be a finite number other than 0, not 0"),
    (MODBUS, "modbus.read.0.type", "f32", "profile m: modbus: read[0]: resolution is missing"),
    (MODBUS, "modbus.read.0.function", 5, "profile m: modbus: read[0]: function must be 3 to 4, not 5"),
    (MODBUS, "modbus.read.0.address", 65535, "profile m: modbus: read[0]: address leaves no room for i32"),
    (
        MODBUS,
        "modbus.read.0.sentinels",
        ["x"],
        "profile m: modbus: read[0]: sentinels must be a list, each a whole number, not 'x'",
    ),
    (MODBUS, "modbus.read.0.adress", 1, "profile m: modbus: read[0]: adress is not a key of this table"),
    (MODBUS, "modbus.read", [*MODBUS["modbus"]["read"] * 2], "profile m: modbus: read gives power twice"),
    (MODBUS, "modbus.confirmed", "no", "profile m: modbus: confirmed must be true or false, not 'no'"),
    (MODBUS, "switch.kind", "internal", "profile m: switch: kind must be one of register, coil, not 'internal'"),
    (MODBUS, "switch.kind", "register", "profile m: switch: function is missing"),
    (MODBUS, "switch.settle_s", -1, "profile m: switch: settle_s must be 0 to 600, not -1"),
    (MODBUS, "switch.feedback", {}, "profile m: switch: feedback: address is missing"),
    (MODBUS, "switch.feedback.function", 3, "profile m: switch: feedback: function must be 1 to 2, not 3"),
    (MODBUS, "switch.value", 3, "profile m: switch: value is not a key of this table"),
    (MODBUS, "switch", {"kind": "register", "address": 1, "function": 7}, "profile m: switch: function must be 6 or 16, not 7"),
    (
        MODBUS,
        "switch",
        {"kind": "register", "address": 1, "function": 6, "closed": 1, "open": 1},
        "profile m: switch: open must differ from closed",
    ),
    (MODBUS, "frame.0.origin", "dream", "profile m: frame[0]: origin must be one of captured, log, published, "),
    (MODBUS, "frame.0.hex", "0G", "profile m: frame[0]: hex must be hex digits in pairs, not '0G'"),
    (MODBUS, "frame.0.request", None, "profile m: frame[0]: request is missing"),
    (MODBUS, "frame.0.reads", [], "profile m: frame[0]: reads must say what the frame means"),
    (MODBUS, "frame.0.reads.0.value", "x", "profile m: frame[0]: reads[0]: value must be a decimal number in quotes, not 'x'"),
    (DLT645, "dlt645", None, "profile d: dlt645 is missing"),
    (DLT645, "dlt645.billing", [], "profile d: dlt645: billing must name at least one identifier"),
    (DLT645, "dlt645.clock", ["04000101"], "profile d: dlt645: clock must hold identifiers of 4 hex digits, not '04000101'"),
    (DLT645, "dlt645.authority", "0204", "profile d: dlt645: authority must be one byte in hex, not '0204'"),
    (DLT645, "dlt645.preamble", 17, "profile d: dlt645: preamble must be 0 to 16, not 17"),
    (DLT645, "dlt645.password", "111111", "profile d: dlt645: password is not a key of this table"),
    (DLT645, "dlt645.confirmed", True, "profile d calls itself confirmed but holds no frame that was captured or logged"),
    (DLT645, "switch.kind", "coil", "profile d: switch: kind must be one of internal, not 'coil'"),
]


@pytest.mark.parametrize(("good", "path", "value", "text"), WRONG, ids=[f"{w[0]['name']}-{w[1]}-{n}" for n, w in enumerate(WRONG)])
def test_one_sentence_for_every_mistake(good: dict[str, Any], path: str, value: object, text: str) -> None:
    data = deepcopy(good)
    _at(path, value)(data)
    with pytest.raises(ProfileError) as error:
        parse_profile(data)
    assert str(error.value).startswith(text)
    assert "\n" not in str(error.value)


def test_a_profile_that_does_nothing_is_refused() -> None:
    with pytest.raises(ProfileError, match="profile x neither reads nor switches anything"):
        parse_profile({"name": "x", "protocol": "modbus"})
