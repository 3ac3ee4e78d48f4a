"""Frames in words: every captured one says what it means, and none says a password."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.decode import decode_line
from protocols.dlt645 import master
from protocols.dlt645.frames import Deframer, Dialect, Frame
from protocols.explain import explain
from tests.protocols.dlt645.vectors import ALL, FRAMES, SYNTHETIC, name

BY_ID = {v["id"]: v["hex"] for v in ALL} | {key: wire.hex() for key, wire in SYNTHETIC.items()}


def words(line: str) -> str:
    result: dict[str, Any] = decode_line(line, explain=True)
    (frame,) = result["frames"]
    return str(frame["explanation"])


@pytest.mark.parametrize(
    ("vector", "text"),
    [
        ("v001", "meter 000006605518 refuses (read): no requested data [02]."),
        ("v002", "meter 000006605518 tells clock time [04000102]: clock time 18:53:32."),
        ("v009", "meter 000006605518 tells energy import [00010000]: energy import 230.93 kWh."),
        ("v021", "meter 201000000012 tells voltage block [0201FF00]: voltage a 225.6 V, voltage b not available, "
                 "voltage c not available."),
        ("v044", "to meter 009910604867: cut the supply, short form without expiry, authority 02, operator 45415354."),
        ("v063", "meter 111111111111 accepts the control command, which does not say that it was carried out."),
        ("v064", "to any meter: tell your address."),
        ("v101", "to meter 260305510009: allow the customer to close by the button, valid until 2099-12-31T23:59:59 "
                 "on the meter's clock, authority 02, operator 00000000."),
        ("v107", "to meter 000000219998: allow the customer to close by the button, without expiry, authority 02, "
                 "operator 30303030."),
        ("v118", "to all meters: set the clock to 2017-06-05T10:22:51."),
        ("v120", "to meter 121078563412: take the address 131078563412."),
        ("v121", "to all meters: set the clock to what is no date."),
        ("v126", "meter 181226034194 tells its address: 181226034194."),
        ("v161", "to meter 260305510012: query the wallet [078102FF], operator 44332211."),
        ("v162", "meter 260305510012 refuses (authenticate): repeated recharge [02]."),
        ("v171", "to meter 000000000003: read voltage a [B611]."),
        ("v211", "to any meter: write device number [C034], authority 02: device number 199811463960."),
        ("v212", "meter 199811463960 refuses (write): password wrong [04]."),
        ("v285", "to meter 201901120001: change the speed to 2400 baud."),
        ("s01", "to all meters: freeze now."),
        ("s02", "to meter 201906040102: freeze every day at 00:30."),
        ("s07", "to meter 201906040102: change the password of level 02 with that of level 02."),
        ("s08", "meter 201906040102 accepts (change password)."),
        ("s11", "to meter 201906040102: clear the records of all events, authority 02, operator 04030201."),
        ("s14", "to meter 201906040102: put out the tariff switch."),
        ("s15", "meter 201906040102 tells part of demand reset 1 block [03300201]: 196 bytes; more frames follow."),
        ("s16", "to meter 201906040102: read part 1 of demand reset 1 block [03300201]."),
        ("s19", "to meter 201906040102: read load records [06010001], 2 records from 2026-11-21T10:15 on."),
        ("s20", "meter 201906040102 tells load records [06010001]: nothing."),
        ("s22", "meter 201906040102 refuses (control): refused by supply-protect [2000]."),
        ("s23", "meter 201906040102 accepts the control command (delayed trip), which does not say that it was carried out."),
        ("s26", "meter 201906040102 tells status 3 [04000503]: status 3 relay_open, command_open, prepaid_money."),
    ],
)  # fmt: skip
def test_what_a_frame_says(vector: str, text: str) -> None:
    assert words(BY_ID[vector]) == text


@pytest.mark.parametrize("vector", FRAMES, ids=name)
def test_every_captured_frame_is_explained(vector: dict[str, Any]) -> None:
    text = words(vector["hex"])
    assert text.endswith(".") and len(text) > 20
    for value in vector.get("values") or []:
        assert ("not available" if value is None else value) in text
    if vector["error"]:
        assert "refuses" in text
    if vector["variant"] in ("2007", "1997") and vector["ctrl"] not in ("07", "87", "C5", "23", "00"):
        assert "unknown function" not in text


def test_a_long_block_is_counted() -> None:
    text = explain(Frame("1" * 12, 0x91, bytes.fromhex("00FF0100") + bytes(4 * 40)))
    assert text.count("kWh") == 16 and text.endswith("and 24 more.")


def test_passwords_are_never_said() -> None:
    secret = "918273"
    meter = "201906040102"
    questions = [
        master.Write(meter, "04001003", bytes(4), 4, secret),
        master.Control(meter, master.Action.CUT, None, 2, secret),
        master.ChangePassword(meter, 2, secret, secret),
        master.DemandReset(meter, 4, secret),
        master.EventClear(meter, 2, secret),
        master.Write97(meter, "C034", bytes(6), 2, secret),
        master.ChangePassword97(meter, secret, secret),
    ]
    for question in questions:
        (frame,) = Deframer().feed(question.start())
        text = explain(frame)
        assert secret not in text and "738291" not in text and "unknown" not in text


def test_money_is_said() -> None:
    meter = "201906040102"
    (frame,) = Deframer().feed(master.TopUp(meter, master.Purchase(5000, 8, "112233445566")).start())
    assert "top-up [070102FF], operator 00000000: amount 50.00 currency, purchase count 8" in explain(frame)
    (frame,) = Deframer().feed(master.Refund(meter, master.OrderedMoney(1, "1234567890123456", meter)).start())
    assert "refund [070108FF], operator 00000000: amount 0.01 currency, order 1234567890123456" in explain(frame)


def test_the_dialect_can_be_told() -> None:
    frame = Frame("1" * 12, 0x03)
    assert explain(frame) == "to meter 111111111111: authenticate, but of a wrong length."
    assert explain(frame, Dialect.V1997) == "to meter 111111111111: say the last answer again."


def test_without_being_asked_nothing_is_explained() -> None:
    result: dict[str, Any] = decode_line(BY_ID["v009"])
    assert "explanation" not in result["frames"][0]


@given(st.integers(0, 255), st.binary(max_size=220), st.sampled_from([None, *Dialect]))
def test_any_frame_is_explained(control: int, data: bytes, dialect: Dialect | None) -> None:
    assert explain(Frame("201906040102", control, data), dialect).endswith(".")


@given(st.sampled_from(["1B", "1C", "9C", "03", "83", "C3", "14", "16", "17", "1D", "08"]), st.binary(max_size=40))
def test_any_data_of_a_known_function_is_explained(control: str, data: bytes) -> None:
    explain(Frame("201906040102", int(control, 16), data))
