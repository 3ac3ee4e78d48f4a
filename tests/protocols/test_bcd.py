"""Digits on the wire: low pair first, sign in the top bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bcd import decode_bcd, decode_digits, encode_bcd, encode_digits
from protocols.errors import RequestError

LENGTHS = st.integers(1, 8)


@pytest.mark.parametrize(
    ("wire", "signed", "value"),
    [
        ("78563412", False, 12345678),
        ("00000000", False, 0),
        ("34120080", True, -1234),
        ("34120000", True, 1234),
        ("00000080", True, 0),
        ("99999999", False, 99999999),
        ("999999F9", True, -79999999),
        ("FFFFFFFF", False, None),
        ("FFFFFFFF", True, None),
        ("000E0000", False, None),
        ("34120080", False, 80001234),
        ("", False, None),
        ("", True, None),
    ],
)
def test_decode(wire: str, signed: bool, value: int | None) -> None:
    assert decode_bcd(bytes.fromhex(wire), signed) == value


@given(st.data(), LENGTHS)
def test_unsigned_round_trip(data: st.DataObject, length: int) -> None:
    value = data.draw(st.integers(0, 10 ** (2 * length) - 1))
    assert decode_bcd(encode_bcd(value, length)) == value
    assert len(encode_bcd(value, length)) == length


@given(st.data(), LENGTHS)
def test_signed_round_trip(data: st.DataObject, length: int) -> None:
    limit = 8 * 10 ** (2 * length - 1) - 1
    value = data.draw(st.integers(-limit, limit))
    assert decode_bcd(encode_bcd(value, length, signed=True), signed=True) == value


@pytest.mark.parametrize(("value", "length", "signed"), [(-1, 1, False), (100, 1, False), (80, 1, True), (-80, 1, True)])
def test_what_does_not_fit_is_refused(value: int, length: int, signed: bool) -> None:
    with pytest.raises(RequestError):
        encode_bcd(value, length, signed)


def test_digits_are_reversed_by_pairs() -> None:
    assert encode_digits("201906040102") == bytes.fromhex("020104061920")
    assert decode_digits(bytes.fromhex("02aa04061920")) == "20190604AA02"
