"""Every captured frame: to its meaning, and where it is one of ours, back to the same bytes."""

from __future__ import annotations

from typing import Any

import pytest

from protocols.dlt645.codes import dialect_of
from protocols.dlt645.frames import Deframer, Dialect, Frame
from protocols.dlt645.identifiers import describe
from protocols.dlt645.layers import PRIVATE, PRIVATE_1997
from tests.protocols.dlt645 import rebuild
from tests.protocols.dlt645.vectors import FRAMES, SYNTHETIC, name, raw

NOT_OURS = {
    "v103": "an answer without its identifier",
    "v121": "a time that is no date",
    "v158": "a meter that answers with the wildcard",
    "v180": "a read to 99 x 6, which no 2007 meter answers",
    "v316": "a read to 99 x 6, which no 2007 meter answers",
    "v202": "a vendor's gateway that answers as everybody",
    "v201": "a vendor's function",
    "v203": "a vendor's function",
    "v292": "offset forgotten; no 03 of 2007",
    "v308": "offset forgotten; 12 without SEQ",
    "v314": "a reserved function",
    **{v["id"]: "a vendor's keypad" for v in FRAMES if v["variant"] == "vendor"},
}
OURS = [v for v in FRAMES if v["id"] not in NOT_OURS]
IN_SEQUENCE = {"s15", "s16", "s17", "s18"}
"""Parts of one long answer: test_master and test_slave have them."""
VALUES_LOST = {
    "v083": "4 bytes of voltage",
    "v176": "a vendor's fifth byte",
    "v116": "digits that are not decimal",
    "v280": "AA at its end",
}


def frame_of(wire: bytes) -> Frame:
    (frame,) = Deframer().feed(wire)
    return frame


def dialect_of_vector(vector: dict[str, Any], frame: Frame) -> Dialect:
    return dialect_of(frame) or (Dialect.V1997 if vector["variant"] == "1997" else Dialect.V2007)


def again(frame: Frame, dialect: Dialect, preamble: int) -> bytes | None:
    if frame.is_response:
        return rebuild.answer(frame, dialect, preamble)
    question = rebuild.question(frame, dialect, preamble)
    return question.start() if question else None


@pytest.mark.parametrize("vector", OURS, ids=name)
def test_a_captured_frame_is_ours_byte_for_byte(vector: dict[str, Any]) -> None:
    frame = frame_of(raw(vector))
    assert again(frame, dialect_of_vector(vector, frame), vector["preamble"]) == raw(vector)


@pytest.mark.parametrize("vector_id", sorted(SYNTHETIC.keys() - IN_SEQUENCE))
def test_a_documented_frame_is_ours_byte_for_byte(vector_id: str) -> None:
    wire = SYNTHETIC[vector_id]
    assert again(frame_of(wire), Dialect.V2007, 0) == wire


def test_what_is_not_ours_is_so_by_name() -> None:
    assert len(OURS) > 120
    assert NOT_OURS.keys() <= {v["id"] for v in FRAMES}


ANSWERS = [v for v in OURS if v["ctrl"] in ("91", "81") and v["id"] not in VALUES_LOST]


@pytest.mark.parametrize("vector", ANSWERS, ids=name)
def test_captured_values_are_written_as_they_were_read(vector: dict[str, Any]) -> None:
    dialect = Dialect.V1997 if vector["ctrl"] == "81" else Dialect.V2007
    payload = bytes.fromhex(vector["data"])[2 if dialect is Dialect.V1997 else 4 :]
    profile = PRIVATE_1997 if dialect is Dialect.V1997 else PRIVATE
    item = describe(vector["di"], dialect) or profile.describe(vector["di"])
    if item is None:
        assert vector["di"] in ("12010101", "00004100")
        return
    found = item.read(payload)
    assert found
    assert item.write(found) == payload


def test_the_values_that_are_lost_are_so_by_name() -> None:
    assert VALUES_LOST.keys() <= {v["id"] for v in FRAMES}
