"""Meter profiles: the shipped files and the frames they carry, block planning, and one sentence for every mistake."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import identifiers
from protocols.dlt645.frames import Deframer, Dialect
from protocols.exchange import Done
from protocols.modbus.master import ReadBits, ReadRegisters, WriteCoil, WriteRegister, WriteRegisters
from protocols.modbus.registers import Kind, RegisterType
from protocols.profile_file import parse_profile
from protocols.profiles import (
    BlockRead,
    BlockSwitch,
    CapturedFrame,
    CoilSwitch,
    Feedback,
    InternalSwitch,
    MeterProfile,
    ModbusReads,
    ProfileError,
    Register,
    RegisterSwitch,
    Span,
    plan_reads,
)
from protocols.quantities import Measurement

SHIPPED = sorted((Path(__file__).parents[2] / "config" / "meters").glob("*.toml"))


def _load(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def _meaning(profile: MeterProfile, frame: CapturedFrame) -> tuple[Measurement, ...] | tuple[bool, ...] | bool | None:
    """What our own code reads out of the frame, with nothing but the profile."""
    if profile.dlt645:
        (found,) = Deframer().feed(frame.frame)
        assert found.is_response and not found.is_error
        width = 4 if profile.protocol == "dlt645-2007" else 2
        di = found.data[:width][::-1].hex().upper()
        return tuple(identifiers.decode(di, found.data[width:], Dialect(profile.protocol)))
    unit, function, ask = frame.request[0], frame.request[1], frame.request
    if function in (5, 6, 16):
        return _order(profile, frame)
    address, count = int.from_bytes(ask[2:4], "big"), int.from_bytes(ask[4:6], "big")
    exchange = ReadBits(unit, function, address, count) if function <= 2 else ReadRegisters(unit, function, address, count)
    assert exchange.start() == ask
    step = exchange.feed(frame.frame)
    assert isinstance(step, Done)
    if function <= 2:
        return tuple(bool(bit) for bit in step.result)
    assert profile.modbus is not None
    if frame.ordered is not None:
        assert isinstance(profile.switch, BlockSwitch)
        assert (profile.switch.read_function, profile.switch.read_address, profile.switch.read_count) == (function, address, count)
        return profile.switch.told(step.result)
    inside = tuple(
        r for r in profile.modbus.registers if r.function == function and address <= r.address and r.end <= address + count
    )
    return BlockRead(function, address, count, inside).decode(step.result)


def _order(profile: MeterProfile, frame: CapturedFrame) -> bool:
    """The position whose order is exactly this request; its answer is taken."""
    unit, (fitting,) = frame.request[0], [closed for closed in (True, False) if _write(profile, 1, closed).start() == frame.request]
    step = _write(profile, unit, fitting)
    step.start()
    assert isinstance(step.feed(frame.frame), Done)
    return fitting


def _write(profile: MeterProfile, unit: int, closed: bool) -> WriteCoil | WriteRegister | WriteRegisters:
    match profile.switch:
        case CoilSwitch() as coil:
            return WriteCoil(unit, coil.address, coil.order(closed))
        case RegisterSwitch(function=6) as single:
            return WriteRegister(unit, single.address, single.words(closed)[0])
        case RegisterSwitch() | BlockSwitch() as words:
            return WriteRegisters(unit, words.address, words.words(closed))
    raise AssertionError(f"profile {profile.name} has no switch that is written")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_the_frames_of_a_profile_mean_what_it_says(path: Path) -> None:
    profile = parse_profile(_load(path))
    assert profile.name == path.stem
    assert profile.frames, f"{path.name} carries no frame"
    for frame in profile.frames:
        assert _meaning(profile, frame) == (frame.bits or frame.reads or frame.ordered)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_profile_bills_by_a_frame_that_it_carries(path: Path) -> None:
    """The register that money depends on is shown in a frame, and both positions of a switch that is written."""
    profile = parse_profile(_load(path))
    if profile.quantities:
        assert any(m.quantity == "energy_import" and m.value for frame in profile.frames for m in frame.reads)
    if profile.switch and profile.protocol == "modbus":
        assert {frame.ordered for frame in profile.frames} >= {True, False}


def test_the_shipped_profiles_are_all_there() -> None:
    assert {path.stem for path in SHIPPED} >= {
        "acrel-adl400",
        "acrel-ddsy1352",
        "acrel-dtsd1352",
        "acrel-dtsy1352",
        "chint-ddsu666",
        "chint-dtsu666",
        "chint-dtsu666-2016",
        "chint-dtsu666-ct",
        "contactor-coil",
        "contactor-coil-inverted",
        "dlt645-single",
        "dlt645-three",
        "eastron-sdm120",
        "eastron-sdm630",
        "hiking-dds238-zn-sr",
        "relay-module-8",
        "schneider-iem3155",
    }


def test_what_no_meter_has_confirmed_is_said() -> None:
    """Only the DDS238's block was captured whole; no other profile may call its registers confirmed."""
    profiles = [parse_profile(_load(path)) for path in SHIPPED]
    assert [p.name for p in profiles if p.modbus and p.modbus.confirmed] == ["hiking-dds238-zn-sr"]
    assert not any(p.switch.confirmed for p in profiles if p.switch)
    assert all(p.unconfirmed for p in profiles)


def test_values_are_primary_or_secondary_as_the_manuals_say() -> None:
    known = [p for p in map(parse_profile, map(_load, SHIPPED)) if p.modbus and p.quantities]
    assert {p.name for p in known if p.modbus and p.modbus.values == "secondary"} == {
        "acrel-adl400",
        "acrel-ddsy1352",
        "acrel-dtsd1352",
        "acrel-dtsy1352",
        "chint-dtsu666",
        "chint-dtsu666-2016",
    }


def _shipped(name: str) -> MeterProfile:
    return parse_profile(_load(next(path for path in SHIPPED if path.stem == name)))


def test_switches_of_the_shipped_profiles() -> None:
    internal, relay = _shipped("dlt645-single").switch, _shipped("hiking-dds238-zn-sr").switch
    assert internal == InternalSwitch(settle_s=4, confirmed=False)
    assert isinstance(relay, RegisterSwitch)
    assert (relay.address, relay.function, relay.words(True), relay.words(False)) == (0x1A, 16, (1,), (0,))
    assert (relay.read_address, relay.read_count) == (0x1A, 1)
    assert [relay.told([word]) for word in (1, 0, 7)] == [True, False, None]
    assert _shipped("eastron-sdm630").switch is None


def test_the_prepaid_relay_is_two_words_in_one_write_and_is_read_back_in_its_record() -> None:
    switch = _shipped("acrel-ddsy1352").switch
    assert isinstance(switch, BlockSwitch)
    assert (switch.address, switch.function, switch.words(True), switch.words(False)) == (0x57, 16, (1, 0), (1, 1))
    assert (switch.read_address, switch.read_count) == (0x46, 28)

    def seen(*words: int) -> bool | None:
        return switch.told([9] * 17 + [*words] + [9] * 9)

    assert [seen(1, 0), seen(1, 1), seen(0, 0), seen(0, 1), seen(1, 7)] == [True, False, None, None, None]
    with pytest.raises(ValueError, match="28 words, not 2"):
        switch.told([1, 0])


def test_a_coil_of_the_generic_contactor() -> None:
    plain, inverted = _shipped("contactor-coil").switch, _shipped("contactor-coil-inverted").switch
    assert isinstance(plain, CoilSwitch) and isinstance(inverted, CoilSwitch)
    assert plain.channel(200).feedback == Feedback(2, 200, False)
    assert (plain.order(closed=True), inverted.order(closed=True)) == (True, False)


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
    assert blocks("acrel-dtsd1352", "current_c", "frequency") == [(3, 0x66, 1), (3, 0x77, 1)], "the span between is reserved"
    assert blocks("acrel-dtsd1352", "event_last") == [(3, 0x3001, 6)], "an event record is read whole"
    assert blocks("schneider-iem3155", "energy_import", "energy_export") == [(3, 3203, 8)]
    with pytest.raises(ProfileError, match="profile eastron-sdm120 has no voltage_b, voltage_c"):
        plan_reads(_shipped("eastron-sdm120"), ["voltage_c", "voltage_a", "voltage_b"])
    with pytest.raises(ProfileError, match="dlt645-2007, which has no registers"):
        plan_reads(_shipped("dlt645-single"))


def test_pain_16_requests_are_merged() -> None:
    """All that a meter gives comes in a few requests: as many as its gaps and its limit ask for, not one a value."""
    for path in SHIPPED:
        profile = parse_profile(_load(path))
        if profile.modbus and profile.quantities:
            energies = [q for q in profile.quantities if q.startswith("energy_")]
            assert len(plan_reads(profile, energies)) == 1, f"{path.stem} is billed by one request"
            assert len(plan_reads(profile)) <= max(2, len(profile.quantities) // 2), path.stem
    assert len(plan_reads(_shipped("eastron-sdm630"))) == 1 and len(_shipped("eastron-sdm630").quantities) == 16


def _modbus(registers: tuple[Register, ...], **limits: Any) -> MeterProfile:
    return MeterProfile("x", "modbus", "", None, ModbusReads(registers, confirmed=False, **limits), None, ())


SIZES: tuple[Kind, ...] = ("u16", "u32", "u64")


@st.composite
def _maps(draw: st.DrawFn) -> MeterProfile:
    """Small maps of overlapping registers, with reserved spans and records between them."""
    marks = draw(st.lists(st.integers(0, 30), min_size=4, max_size=4, unique=True).map(sorted))
    spans = (Span(3, marks[0], min(marks[1] - 1, marks[0] + 3)), Span(3, marks[2], min(marks[3], marks[2] + 3)))
    forbidden, whole = draw(st.sampled_from([((), ()), (spans, ()), ((), spans), (spans[:1], spans[1:])]))
    places = draw(st.lists(st.tuples(st.sampled_from([3, 3, 4]), st.integers(0, 30), st.sampled_from(SIZES)), max_size=6))
    found = [Register(f"x{n}", "", f, a, RegisterType(kind)) for n, (f, a, kind) in enumerate(places)]
    kept = tuple(
        r
        for r in found
        if not any(s.touches(r.function, r.address, r.end) for s in forbidden)
        and not any(s.touches(r.function, r.address, r.end) and not s.holds(r) for s in whole)
    )
    return _modbus(kept, max_words=draw(st.integers(4, 20)), max_gap=draw(st.integers(0, 6)), forbidden=forbidden, whole=whole)


def _partitions(registers: tuple[Register, ...]) -> Iterator[list[list[Register]]]:
    """Every way to share registers out among requests."""
    if not registers:
        yield []
        return
    first, rest = registers[0], registers[1:]
    for shared in _partitions(rest):
        yield [[first], *shared]
        for n, group in enumerate(shared):
            yield [*shared[:n], [first, *group], *shared[n + 1 :]]


def _one_request(group: list[Register], reads: ModbusReads) -> bool:
    """Whether one request may bring these, judged word by word."""
    records = {next((s for s in reads.whole if s.holds(r)), None) for r in group}
    if len({r.function for r in group}) > 1 or len(records) > 1:
        return False
    if records != {None}:
        return True
    function, wanted = group[0].function, {a for r in group for a in range(r.address, r.end)}
    words = range(min(wanted), max(wanted) + 1)
    closed = {a for s in (*reads.forbidden, *reads.whole) if s.function == function for a in range(s.first, s.last + 1)}
    holes = "".join("x" if a in wanted else "." for a in words).split("x")
    return len(words) <= reads.max_words and not closed & set(words) and max(map(len, holes)) <= reads.max_gap


@given(profile=_maps())
def test_plans_cover_everything_once_within_their_bounds_in_the_fewest_requests(profile: MeterProfile) -> None:
    reads = profile.modbus
    assert reads is not None
    blocks = plan_reads(profile)
    assert sorted(r.quantity for b in blocks for r in b.registers) == sorted(profile.quantities)
    for block in blocks:
        end = block.address + block.count
        assert block.count <= reads.max_words
        assert not any(span.touches(block.function, block.address, end) for span in reads.forbidden)
        for span in reads.whole:
            exact = (span.function, span.first, span.count) == (block.function, block.address, block.count)
            assert exact or not span.touches(block.function, block.address, end)
        # each word holds its own address, so a value tells where it was cut from
        for register, measured in zip(block.registers, block.decode(list(range(block.address, end))), strict=True):
            assert register.function == block.function
            assert measured.value is not None and int(measured.value) % 0x10000 == register.end - 1
    fewest = min(len(way) for way in _partitions(reads.registers) if all(_one_request(group, reads) for group in way))
    assert len(blocks) == fewest


def test_pain_20_word_order_and_scale_are_data() -> None:
    """The same value by profiles that differ in nothing but data: order of words, of bytes, type and scale."""

    def reading(words: list[int], **read: Any) -> Measurement:
        table = {"quantity": "energy_import", "unit": "kWh", "function": 3, "address": 0, **read}
        modbus = {"values": "primary", "read": [table]}
        profile = parse_profile({"name": "x", "protocol": "modbus", "unconfirmed": ["it"], "modbus": modbus})
        (block,) = plan_reads(profile)
        (measured,) = block.decode(words)
        return measured

    want = Measurement("energy_import", Decimal("1234.56"), "kWh")
    assert reading([0x0001, 0xE240], type="u32", scale="0.01") == want
    assert reading([0xE240, 0x0001], type="u32", scale="0.01", word_order="CDAB") == want
    assert reading([0x0100, 0x40E2], type="u32", scale="0.01", word_order="BADC") == want
    assert reading([0x449A, 0x51EC], type="f32", resolution="0.01") == want
    assert reading([0x51EC, 0x449A], type="f32", resolution="0.01", word_order="CDAB") == want
    assert reading([0, 0, 0x0012, 0xD680], type="i64", scale="0.001") == want


COARSE = [
    # the last float below 2^17 kWh, 2^17 itself, and vector sdm-15: 131072.01 arrives as 131072.015625
    ("eastron-sdm630", [0x47FF, 0xFFFF], "131071.99", None),
    ("eastron-sdm630", [0x4800, 0x0000], None, "131072.00"),
    ("eastron-sdm630", [0x4800, 0x0001], None, "131072.02"),
    ("chint-ddsu666", [0x47FF, 0xFFFF], "131071.99", None),
    ("chint-dtsu666", [0x4800, 0x0000], None, "131072.00"),
]


@pytest.mark.parametrize(("name", "words", "value", "coarse"), COARSE)
def test_a_counter_has_no_value_where_its_float_is_coarser_than_its_step(
    name: str, words: list[int], value: str | None, coarse: str | None
) -> None:
    (block,) = plan_reads(_shipped(name), ["energy_import"])
    (measured,) = block.decode(words)
    assert measured == Measurement(
        "energy_import", None if value is None else Decimal(value), "kWh", None if coarse is None else Decimal(coarse)
    )


def test_a_power_too_large_for_its_step_is_still_shown() -> None:
    (block,) = plan_reads(_shipped("eastron-sdm630"), ["power"])
    (measured,) = block.decode([0x4A00, 0x0000])  # 2^21 W, in steps of 0.25 W
    assert measured.value == Decimal("2097.152") and measured.coarse is None


def test_a_block_of_another_length_is_refused() -> None:
    (block,) = plan_reads(_shipped("eastron-sdm630"))
    with pytest.raises(ValueError, match="the block has 76 words, not 75"):
        block.decode([0] * 75)


MODBUS: dict[str, Any] = {
    "name": "m",
    "protocol": "modbus",
    "unconfirmed": ["anything"],
    "modbus": {
        "values": "primary",
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
    "unconfirmed": ["anything"],
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
    (MODBUS, "modbus.read.0.rollover", 1, "profile m: modbus: read[0]: rollover must be a string, not 1"),
    (MODBUS, "modbus.values", None, "profile m: modbus: values is missing"),
    (MODBUS, "modbus.values", "both", "profile m: modbus: values must be one of primary, secondary, not 'both'"),
    (MODBUS, "modbus.even", True, "profile m: modbus: even wants even addresses and counts, which power has not"),
    (MODBUS, "modbus.forbidden", [{"first": 8, "last": 9}], "profile m: modbus: forbidden holds power"),
    (MODBUS, "modbus.forbidden", [{"first": 8, "last": 7}], "profile m: modbus: forbidden[0]: last must be 8 to 65535, not 7"),
    (MODBUS, "modbus.whole", [{"first": 8, "last": 9}], "profile m: modbus: whole cuts power in two"),
    (
        MODBUS,
        "modbus.whole",
        [{"first": 7, "last": 17}],
        "profile m: modbus: max_words is too small for a record that is read whole",
    ),
    (
        MODBUS,
        "modbus.whole",
        [{"first": 1, "last": 2}, {"first": 2, "last": 3}],
        "profile m: modbus: whole and forbidden must not overlap",
    ),
    (MODBUS, "unconfirmed", [], "profile m: unconfirmed must say what no meter has confirmed"),
    (MODBUS, "unconfirmed", "all", "profile m: unconfirmed must be a list, not 'all'"),
    (MODBUS, "modbus.confirmed", "no", "profile m: modbus: confirmed must be true or false, not 'no'"),
    (MODBUS, "switch.kind", "internal", "profile m: switch: kind must be one of register, block, coil, not 'internal'"),
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
    (
        MODBUS,
        "switch",
        {"kind": "block", "address": 1, "closed": [1, 0], "open": [1, 0]},
        "profile m: switch: open must differ from closed and have as many words",
    ),
    (
        MODBUS,
        "switch",
        {"kind": "block", "address": 1, "closed": []},
        "profile m: switch: closed must be 1 to 8 words of 0 to 65535",
    ),
    (
        MODBUS,
        "switch",
        {"kind": "block", "address": 1, "closed": [1, 0], "open": [1, 1], "read": {"address": 0, "count": 2}},
        "profile m: switch: read must hold the words that are written",
    ),
    (MODBUS, "frame.0.ordered", "shut", "profile m: frame[0]: ordered must be one of closed, open, not 'shut'"),
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
