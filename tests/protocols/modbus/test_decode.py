"""decode_rtu on every vector: what the bytes say without knowing the question (contract.md section 6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.decode import decode_rtu
from protocols.modbus.frames import rtu_pack
from tests.protocols.modbus.vectors import VECTORS, Vector, chosen

# The answer to these repeats the request, so the bytes do not tell; AAH is a vendor's function with unknown rules.
EITHER_WAY = {0x05, 0x08, 0xAA}
WORDS = {
    0x01: "read coils",
    0x02: "read discrete inputs",
    0x03: "read holding registers",
    0x04: "read input registers",
    0x05: "write single coil",
    0x08: "diagnostics",
    0x0F: "write multiple coils",
    0x10: "write multiple registers",
    0xAA: "unknown",
}


@pytest.mark.parametrize("vector", chosen(), ids=str)
def test_every_good_vector(vector: Vector) -> None:
    data, exceptional = vector.data, vector.raw["dir"] == "exception"
    direction = None if data[1] in EITHER_WAY else "request" if vector.raw["dir"] == "request" else "response"
    flags = {1: ["illegal function"], 2: ["illegal data address"]}
    want = {
        "protocol": "modbus-rtu",
        "direction": direction,
        "address": str(vector.raw["unit_id"]),
        "control": vector.raw["fc"],
        "function": WORDS[data[1] & 0x7F if exceptional else data[1]],
        "error": {"code": f"{data[2]:02X}", "flags": flags[data[2]]} if exceptional else None,
        "more": False,
        "di": None,
        "items": [],
        "data": data[2:-2].hex().upper(),
    }
    whole = {"frames": [want], "skipped": 0, "incomplete": False}
    assert decode_rtu(data) == decode_rtu(data, force=True) == whole


@pytest.mark.parametrize("vector", chosen(misprint=True), ids=str)
def test_misprints_are_refused(vector: Vector) -> None:
    assert decode_rtu(vector.data) is None
    forced = decode_rtu(vector.data, force=True)
    assert forced is not None and forced["frames"] == []


@pytest.mark.parametrize("vector", [v for v in chosen() if v.data[1] != 0xAA], ids=str)
def test_cut_frames_are_incomplete_and_noise_is_counted(vector: Vector) -> None:
    for cut in range(2, len(vector.data)):
        assert decode_rtu(vector.data[:cut]) is None
        forced = decode_rtu(vector.data[:cut], force=True)
        assert forced == {"frames": [], "skipped": 0, "incomplete": True}
    noisy = decode_rtu(b"\xfe\xfe" + vector.data + b"\xff", force=True)
    assert noisy is not None
    assert [frame["data"] for frame in noisy["frames"]] == [vector.data[2:-2].hex().upper()]
    assert (noisy["skipped"], noisy["incomplete"]) == (3, False)


def test_the_captured_stream() -> None:
    data = VECTORS["sdm-09"].data
    assert decode_rtu(data) is None
    forced = decode_rtu(data, force=True)
    assert forced is not None
    assert [(f["address"], f["data"]) for f in forced["frames"]] == [("1", "0443696978")]
    assert (forced["skipped"], forced["incomplete"]) == (2, False)


def test_a_request_and_its_answer_on_one_line() -> None:
    line = decode_rtu(VECTORS["dds-01"].data + VECTORS["dds-02"].data)
    assert line is not None
    assert [f["direction"] for f in line["frames"]] == ["request", "response"]


AMBIGUOUS = [
    ("3 bytes of coils that are also a sound request", "010103000008", None),
    ("3 bytes of coils that ask for too many", "010103AABBCC", "response"),
    ("a register read at 03xx is no answer of 3 bytes", "010303100001", "request"),
    ("a function that the standard does not know", "01410102", None),
]


@pytest.mark.parametrize(("why", "body", "direction"), AMBIGUOUS)
def test_direction(why: str, body: str, direction: str | None) -> None:
    data = bytes.fromhex(body)
    decoded = decode_rtu(rtu_pack(data[0], data[1:]))
    assert decoded is not None and decoded["frames"][0]["direction"] == direction, why


def test_nothing_is_nothing() -> None:
    assert decode_rtu(b"") is None
    assert decode_rtu(b"", force=True) == {"frames": [], "skipped": 0, "incomplete": False}


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data: bytes) -> None:
    decode_rtu(data)
    forced = decode_rtu(data, force=True)
    assert forced is not None
    assert forced["skipped"] + sum(len(f["data"]) // 2 + 4 for f in forced["frames"]) <= len(data)
