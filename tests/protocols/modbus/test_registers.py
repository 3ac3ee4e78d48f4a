"""Registers to decimals: every typed value of the vectors, word orders, float steps, sentinels, and the way back."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.registers import WORD_ORDERS, WORDS, Kind, RegisterType, WordOrder, bits
from tests.protocols.modbus.vectors import VECTORS, Vector

# What other registers make of the scale in these vectors: IrAt 40 with UrAt 10 (= 1.0), CT and PT 1; the last is stated in W.
RATIOS = {"IrAt * UrAt * 0.1": "40", "0.01*CT": "0.01", "0.01*PT*CT": "0.01", "0.001 kW*PT*CT": "1", None: "1"}


def _wire(value: dict[str, Any], vector: Vector) -> int:
    """The first word of this value within the answer's data."""
    reg = value["reg"]
    address = int(reg, 16) if reg.startswith("0x") else int(reg) - 1
    if vector.question is not None:
        return address - int.from_bytes(vector.question[2:4], "big")
    first = vector.raw["values"][0]["reg"]
    return address - (int(first, 16) if first.startswith("0x") else int(first) - 1)


TYPED = [
    (vector, value)
    for vector in VECTORS.values()
    if vector.raw["dir"].startswith("response")
    for value in vector.raw.get("values", [])
    if str(value.get("type")).split("-")[0] in WORDS and value["unit"] != "hex"
]


@pytest.mark.parametrize(("vector", "value"), TYPED, ids=lambda x: x.id if isinstance(x, Vector) else x["name"])
def test_values_of_the_vectors(vector: Vector, value: dict[str, Any]) -> None:
    kind, _, order = value["type"].partition("-")
    scale = Decimal(RATIOS.get(value.get("scale"), value.get("scale")))
    step = Decimal(1).scaleb(Decimal(value["value"]).as_tuple().exponent)
    register = RegisterType(kind, (order.upper() or "ABCD"), scale, step)
    body = vector.inner[3:-2]
    at = _wire(value, vector) * 2
    words = [int.from_bytes(body[i : i + 2], "big") for i in range(at, at + register.words * 2, 2)]
    assert str(register.decode(words)) == value["value"]
    assert kind != "f32" or "".join(f"{word:04X}" for word in words) == value["raw"]


def test_the_vectors_were_really_used() -> None:
    assert len(TYPED) > 80


def test_without_a_resolution_the_scale_gives_the_digits() -> None:
    assert str(RegisterType("u32", scale=Decimal("0.01")).decode([0, 6020])) == "60.20"
    assert str(RegisterType("i16", scale=Decimal("0.001")).decode([0xFF38])) == "-0.200"


ORDERED: list[tuple[WordOrder, list[int], list[int]]] = [
    ("ABCD", [0x0102, 0x0304], [0x0102, 0x0304, 0x0506, 0x0708]),
    ("CDAB", [0x0304, 0x0102], [0x0708, 0x0506, 0x0304, 0x0102]),
    ("BADC", [0x0201, 0x0403], [0x0201, 0x0403, 0x0605, 0x0807]),
    ("DCBA", [0x0403, 0x0201], [0x0807, 0x0605, 0x0403, 0x0201]),
]


@pytest.mark.parametrize(("order", "two", "four"), ORDERED)
def test_word_orders(order: WordOrder, two: list[int], four: list[int]) -> None:
    assert RegisterType("u32", order).decode(two) == 0x01020304
    assert RegisterType("i64", order).decode(four) == 0x0102030405060708
    assert RegisterType("u16", order).decode([0x0201 if order in ("BADC", "DCBA") else 0x0102]) == 0x0102


F32 = [
    ("half goes to even, down", 0x3E000000, "1", "0.25", "0.00"),  # 0.125 is half a step
    ("half goes to even, up", 0x3EC00000, "1", "0.25", "0.50"),  # 0.375
    ("the smallest number is nothing", 0x00000001, "1", "0.01", "0.00"),
    ("minus", 0xC0490FDB, "1", "0.001", "-3.142"),
    ("minus zero", 0x80000000, "1", "0.01", "0.00"),
    ("the largest", 0x7F7FFFFF, "1", "1", "340282346638528859811704183484516925440"),
    ("W counted in kW", 0x44AC8000, "0.001", "0.0001", "1.3800"),
]


@pytest.mark.parametrize(("why", "raw", "scale", "step", "want"), F32)
def test_floats_become_steps_exactly(why: str, raw: int, scale: str, step: str, want: str) -> None:
    register = RegisterType("f32", "ABCD", Decimal(scale), Decimal(step))
    assert str(register.decode([raw >> 16, raw & 0xFFFF])) == want, why


@pytest.mark.parametrize("raw", [0x7FC00000, 0xFFFFFFFF, 0x7F800000, 0xFF800000])
def test_a_float_that_is_no_number_is_no_value(raw: int) -> None:
    assert RegisterType("f32", resolution=Decimal("0.01")).decode([raw >> 16, raw & 0xFFFF]) is None


def test_sentinels_are_compared_in_reading_order() -> None:
    register = RegisterType("i32", "CDAB", sentinels=(0x80000000,))
    assert register.decode([0x0000, 0x8000]) is None
    assert register.decode([0x8000, 0x0000]) == 0x8000
    assert register.encode(None) == (0x0000, 0x8000)


@given(
    kind=st.sampled_from([k for k in WORDS if k != "f32"]),
    order=st.sampled_from(WORD_ORDERS),
    data=st.data(),
    places=st.integers(0, 3),
)
def test_there_and_back_integers(kind: Kind, order: WordOrder, data: st.DataObject, places: int) -> None:
    size = WORDS[kind] * 16
    low = -(1 << size - 1) if kind.startswith("i") else 0
    number = data.draw(st.integers(low, low + (1 << size) - 1))
    register = RegisterType(kind, order, Decimal(1).scaleb(-places))
    value = Decimal(number).scaleb(-places)
    assert register.decode(register.encode(value)) == value


@given(order=st.sampled_from(WORD_ORDERS), hundredths=st.integers(-13107199, 13107199))
def test_there_and_back_floats_below_131072(order: WordOrder, hundredths: int) -> None:
    register = RegisterType("f32", order, resolution=Decimal("0.01"))
    value = Decimal(hundredths).scaleb(-2)
    assert register.decode(register.encode(value)) == value


@pytest.mark.parametrize(
    ("register", "value"),
    [
        (RegisterType("u16"), Decimal(65536)),
        (RegisterType("u16"), Decimal(-1)),
        (RegisterType("i16"), Decimal(32768)),
        (RegisterType("u16"), None),
        (RegisterType("f32", resolution=Decimal(1)), Decimal("1e39")),
    ],
)
def test_what_does_not_fit_is_refused(register: RegisterType, value: Decimal | None) -> None:
    with pytest.raises(ValueError, match=r"does not fit|no value"):
        register.encode(value)


EXACT_BELOW = [
    ("1", "0.01", "131072"),
    ("1", "1", "16777216"),
    ("0.001", "0.001", "16777.216"),
    ("0.1", "0.1", "1677721.6"),
    ("1", "0.0078125", "131072"),
]


@pytest.mark.parametrize(("scale", "step", "limit"), EXACT_BELOW)
def test_where_a_float_gets_coarser_than_its_resolution(scale: str, step: str, limit: str) -> None:
    """Below the limit every step of the meter is another float; at the limit two steps are one."""
    register = RegisterType("f32", "ABCD", Decimal(scale), Decimal(step))
    assert register.exact_below == Decimal(limit)
    counts = int(Decimal(limit) / Decimal(scale))
    raw = int.from_bytes(struct.pack(">f", counts), "big")
    for pattern, coarse in ((raw - 1, False), (raw, True), (raw | 1 << 31, True), (0x7F800000, False)):
        assert register.coarse([pattern >> 16, pattern & 0xFFFF]) is coarse, hex(pattern)


def test_steps_that_a_float_keeps_apart_below_the_limit_and_merges_above() -> None:
    register = RegisterType("f32", resolution=Decimal("0.01"))
    below = [Decimal("131071.00") + Decimal(n) / 100 for n in range(100)]
    above = [Decimal("131072.00") + Decimal(n) / 100 for n in range(100)]
    assert len({register.encode(value) for value in below}) == 100
    assert len({register.encode(value) for value in above}) < 100


def test_vectors_on_coarse_floats() -> None:
    """sdm-15: kWh above 2^17; iem-10: the float copy of 16 777 217 Wh."""
    words = {
        name: [int.from_bytes(VECTORS[name].data[n : n + 2], "big") for n in (3, 5)] for name in ("sdm-15", "iem-10", "sdm-02")
    }
    assert RegisterType("f32", resolution=Decimal("0.01")).coarse(words["sdm-15"])
    assert RegisterType("f32", scale=Decimal("0.001"), resolution=Decimal("0.001")).coarse(words["iem-10"])
    assert not RegisterType("f32", resolution=Decimal("0.01")).coarse(words["sdm-02"])


@given(raw=st.integers(0, 2**64 - 1))
def test_an_integer_is_never_coarse(raw: int) -> None:
    register = RegisterType("u64", scale=Decimal("0.001"))
    assert register.exact_below is None and not register.coarse([raw >> shift & 0xFFFF for shift in (48, 32, 16, 0)])


def test_types_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="needs a resolution"):
        RegisterType("f32")
    with pytest.raises(ValueError, match="scale must be a finite number other than 0"):
        RegisterType("u16", scale=Decimal(0))
    with pytest.raises(ValueError, match="resolution must be positive"):
        RegisterType("f32", resolution=Decimal("-0.01"))
    with pytest.raises(ValueError, match="u32 takes 2 words, not 1"):
        RegisterType("u32").decode([1])


def test_bits_of_status_words() -> None:
    assert [n for n, bit in enumerate(bits([0x8001, 0x0002])) if bit] == [0, 15, 17]
