"""Times: what the uplink writes, and what it reads of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.uplink.moments import format_moment, parse_moment

END = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


@given(st.integers(0, END))
def test_what_is_written_is_read_back(at_ms: int) -> None:
    assert parse_moment(format_moment(at_ms)) == at_ms


@pytest.mark.parametrize(
    ("text", "at_ms"),
    (
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-21T08:00:00.000Z", 1_795_248_000_000),
        ("2026-11-21t16:00:00.5+08:00", 1_795_248_000_500),
        ("2026-11-21T08:00:00.123456789z", 1_795_248_000_123),
        ("2026-11-21T00:00:00-08:00", 1_795_248_000_000),
        ("9999-12-31T23:59:59.999Z", END),
    ),
)
def test_rfc_3339(text: str, at_ms: int) -> None:
    assert parse_moment(text) == at_ms


@pytest.mark.parametrize(
    "text",
    (
        "",
        "2026-11-21",
        "2026-11-21T08:00:00",
        "2026-11-21 08:00:00Z",
        "2026-13-21T08:00:00Z",
        "2026-11-31T08:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T08:00:60Z",
        "2026-11-21T08:00:00,5Z",
        "2026-11-21T08:00:00.Z",
        "2026-11-21T24:00:00.000Z",
        "2026-W47-6T08:00:00.000Z",
        "2026-11-21T08:00:00.١٢٣Z",
        "1969-12-31T23:59:59.999Z",
        "2026-11-21T08:00:00+0800",
        "2026-11-21T08:00:00+25:00",
        "1969-12-31T23:59:59Z",
        "２026-11-21T08:00:00Z",
        "2026-11-21T08:00:00Z\n",
        "9999-12-31T23:59:59-00:01",
    ),
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time|before 1970|after 9999"):
        parse_moment(text)
