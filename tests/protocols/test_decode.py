"""`decode_line` on every captured line: header, values, refusals, streams (contract.md 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.decode import PROTOCOLS, decode_line
from tests.protocols.dlt645.vectors import ALL, BAD, FRAMES, STREAMS, SYNTHETIC, in_noise, name, raw

BY_ID = {v["id"]: v["hex"] for v in ALL}


def one(line: str | bytes, protocol: str | None = None) -> dict[str, Any]:
    result: dict[str, Any] = decode_line(line.hex() if isinstance(line, bytes) else line, protocol)
    (frame,) = result["frames"]
    return frame


def check(frame: dict[str, Any], vector: dict[str, Any]) -> None:
    assert frame["address"] == vector["addr"]
    assert frame["control"] == vector["ctrl"]
    assert frame["direction"] == vector["dir"]
    assert frame["data"] == vector["data"]
    assert frame["more"] == vector["more"]
    assert (frame["error"] is not None) == vector["error"]
    if "values" in vector:
        assert [i["value"] for i in frame["items"]] == vector["values"]
        assert {i["unit"] for i in frame["items"]} == {vector["unit"]}
    if vector["variant"] in ("2007", "1997") and vector["ctrl"] not in ("23", "81"):
        assert frame["di"] == vector.get("di")
        if vector["ctrl"] != "08":
            assert frame["protocol"] == f"dlt645-{vector['variant']}"


@pytest.mark.parametrize("vector", FRAMES, ids=name)
def test_a_captured_frame(vector: dict[str, Any]) -> None:
    result = decode_line(vector["hex"])
    assert (result["skipped"], result["incomplete"]) == (0, False)
    check(one(vector["hex"]), vector)
    assert decode_line(" ".join(vector["hex"][i : i + 2] for i in range(0, len(vector["hex"]), 2)).lower() + "\r\n") == result


@pytest.mark.parametrize("vector", [v for v in FRAMES if "values" in v], ids=name)
def test_a_captured_frame_in_noise(vector: dict[str, Any]) -> None:
    for before, after in in_noise(raw(vector), 5):
        check(one(before + raw(vector) + after), vector)


@pytest.mark.parametrize("vector", FRAMES, ids=name)
def test_a_frame_cut_short_is_incomplete(vector: dict[str, Any]) -> None:
    for length in range(vector["preamble"] + 1, len(raw(vector))):
        assert decode_line(raw(vector)[:length].hex(), "dlt645-2007") == {"frames": [], "skipped": 0, "incomplete": True}


@pytest.mark.parametrize("vector", BAD, ids=name)
def test_a_bad_frame_is_refused(vector: dict[str, Any]) -> None:
    assert decode_line(vector["hex"])["frames"] == []


@pytest.mark.parametrize(
    ("vector_id", "incomplete"), [("v074", True), ("v075", True), ("v072", False), ("v104", False), ("v155", False)]
)
def test_incomplete_and_wrong_are_different(vector_id: str, incomplete: bool) -> None:
    result = decode_line(BY_ID[vector_id])
    assert result["incomplete"] is incomplete
    assert result["skipped"] == (0 if incomplete else len(BY_ID[vector_id]) // 2)


@pytest.mark.parametrize("vector", STREAMS, ids=name)
def test_a_stream(vector: dict[str, Any]) -> None:
    result: dict[str, Any] = decode_line(vector["hex"])
    alone = [one(frame) for frame in vector["valid_frames"]]
    assert result["frames"] == alone
    outside = len(vector["hex"]) - sum(map(len, vector["valid_frames"])) - 2 * vector["hex"].count("FEFE68") * 2
    assert result["skipped"] == outside // 2


def test_a_frame_behind_a_false_start_is_found() -> None:
    result: dict[str, Any] = decode_line("68020104061920681CFF" + BY_ID["v009"] + "6802")
    assert [f["address"] for f in result["frames"]] == ["000006605518"]
    assert (result["skipped"], result["incomplete"]) == (10, True)


@pytest.mark.parametrize(
    ("line", "code", "flags"),
    [
        (BY_ID["v001"], "02", ["no requested data"]),
        (BY_ID["v088"], "04", ["password wrong or not authorised"]),
        (BY_ID["v162"], "02", ["repeated recharge"]),
        (BY_ID["v212"], "04", ["password wrong"]),
        (BY_ID["v202"], "B66666", []),
        (SYNTHETIC["s22"].hex(), "2000", ["refused by supply-protect"]),
        (SYNTHETIC["s24"].hex(), "0800", ["identity authentication failed or expired"]),
        (SYNTHETIC["s25"].hex(), "0200", ["repeated recharge"]),
    ],
)
def test_errors_in_words(line: str, code: str, flags: list[str]) -> None:
    assert one(line)["error"] == {"code": code, "flags": flags}


@pytest.mark.parametrize(
    ("line", "item"),
    [
        (BY_ID["v002"], {"quantity": "clock_time", "value": "185332", "unit": "", "text": "18:53:32"}),
        (BY_ID["v003"], {"quantity": "clock_date", "value": "18122906", "unit": "", "text": "2018-12-29"}),
        (BY_ID["v138"], {"quantity": "rated_voltage", "value": "220V", "unit": ""}),
        (BY_ID["v035"], {"quantity": "trip_count", "value": "0", "unit": ""}),
        (BY_ID["v116"], {"quantity": "energy_import", "value": None, "unit": "kWh"}),
        (SYNTHETIC["s28"].hex(), {"quantity": "energy_combined", "value": "-12.34", "unit": "kWh"}),
        (
            SYNTHETIC["s26"].hex(),
            {"quantity": "status_3", "value": "592", "unit": "", "flags": ["relay_open", "command_open", "prepaid_money"]},
        ),
    ],
)
def test_items(line: str, item: dict[str, object]) -> None:
    assert one(line)["items"] == [item]


@pytest.mark.parametrize("vector_id", ["v083", "v103", "v132", "v176", "v223"])
def test_what_is_not_understood_gives_no_items(vector_id: str) -> None:
    assert one(BY_ID[vector_id])["items"] == []


def test_follow_up_frames_hold_no_beginning_of_values() -> None:
    assert one(SYNTHETIC["s17"])["items"] == []
    assert one(SYNTHETIC["s15"])["more"] is True


def test_the_1997_block_of_a_meter_that_ends_it_with_aa() -> None:
    values = [i["value"] for i in one(BY_ID["v280"])["items"]]
    assert values == ["10793.30", "2035.28", "3095.84", "2858.81", "2803.37", "0.00", "0.00"]


def test_the_dialect_of_a_lone_ambiguous_frame_is_2007_and_beside_1997_frames_1997() -> None:
    assert one(BY_ID["v118"])["protocol"] == "dlt645-2007"
    beside: dict[str, Any] = decode_line(BY_ID["v171"] + BY_ID["v118"])
    assert [f["protocol"] for f in beside["frames"]] == ["dlt645-1997"] * 2
    mixed: dict[str, Any] = decode_line(BY_ID["v171"] + BY_ID["v118"] + BY_ID["v143"])
    assert mixed["frames"][1]["protocol"] == "dlt645-2007"
    for vector_id in ("v161", "v162"):
        assert one(BY_ID[vector_id])["protocol"] == "dlt645-2007"


def test_a_named_protocol_is_obeyed() -> None:
    frame = one(BY_ID["v009"], "dlt645-1997")
    assert (frame["protocol"], frame["function"], frame["items"]) == ("dlt645-1997", "unknown", [])
    assert decode_line(BY_ID["v009"], "modbus-rtu")["frames"] == []
    with pytest.raises(ValueError, match="iec62056"):
        decode_line("68", "iec62056")


def test_modbus_is_told_by_a_whole_line_of_right_checksums() -> None:
    request = "010300000002C40B"
    assert one(request)["protocol"] == "modbus-rtu"
    assert one(request, "modbus-rtu") == one(request)
    assert decode_line("FF" + request)["frames"] == []
    assert one("FF" + request, "modbus-rtu")["address"] == one(request)["address"]
    assert decode_line(request, "dlt645-2007")["frames"] == []


@pytest.mark.parametrize(
    ("text", "error"),
    [("6x", "not hex digits"), ("681", "an odd number of hex digits"), ("é", "not hex digits"), ("-", "not hex digits")],
)
def test_what_is_not_hex_is_said(text: str, error: str) -> None:
    assert decode_line(text) == {"error": error}


def test_an_empty_line_has_no_frames() -> None:
    assert decode_line(" \n") == {"frames": [], "skipped": 0, "incomplete": False}


@given(st.binary(max_size=300), st.sampled_from([None, *PROTOCOLS]))
def test_any_bytes_are_decoded_without_failing(data: bytes, protocol: str | None) -> None:
    result = decode_line(data.hex(), protocol)
    assert set(result) == {"frames", "skipped", "incomplete"}
    json.dumps(result)


@given(st.text(max_size=40))
def test_any_text_is_answered_without_failing(text: str) -> None:
    assert set(decode_line(text)) in ({"error"}, {"frames", "skipped", "incomplete"})
