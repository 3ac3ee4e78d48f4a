"""What a meter model keeps of its past: the [history] table of a profile, and what DL/T 645 meters keep where it says nothing."""

from __future__ import annotations

import re
from typing import Final

from protocols.profile_table import Table
from protocols.profiles import MeterHistory, Protocol

MOST_DAYS: Final = 254
MOST_MONTHS: Final = 12
"""Of the standards (dlt645.md 8.1, 8.6); a 1997 meter has two months (9)."""

EVENTS: Final = ("1D000001", "1E000001", "03110000", "03300000", "03300100", "03300400", "03300D00", "03300E00")
"""Counters that the supplements have: trips, closes, power-downs, programming, clear, clock set, cover and terminal cover."""

KEPT_2007: Final = MeterHistory(day=62, month=12, curve="06040001", interval_min=15, events=EVENTS)
KEPT_1997: Final = MeterHistory(day=0, month=2, curve="", interval_min=15, events=())
KEPT: Final[dict[Protocol, MeterHistory]] = {"dlt645-2007": KEPT_2007, "dlt645-1997": KEPT_1997}


def parse_history(table: Table, protocol: Protocol) -> MeterHistory:
    """The table with what is usual for the protocol in place of missing keys. Raises ProfileError."""
    usual = KEPT.get(protocol)
    if usual is None:
        raise table.fail("history", f"cannot be read from a {protocol} meter")
    curve = table.take("curve", str, usual.curve)
    if curve and (protocol != "dlt645-2007" or not re.fullmatch(r"060[0-6]0001|0610[0-9A-F]{4}", curve)):
        raise table.fail("curve", f"must be a load profile from a given time (06cc0001) or a curve (0610xxxx), not {curve!r}")
    history = MeterHistory(
        day=table.whole("day", 0, MOST_DAYS if protocol == "dlt645-2007" else 0, usual.day),
        month=table.whole("month", 0, MOST_MONTHS if protocol == "dlt645-2007" else 2, usual.month),
        curve=curve,
        interval_min=table.whole("interval_min", 1, 60, usual.interval_min),
        events=table.each("events", str, list(usual.events)),
    )
    table.done()
    for counter in history.events:
        if protocol != "dlt645-2007" or not re.fullmatch(r"1[DE]000001|03[0-9A-F]{4}00", counter):
            raise table.fail("events", f"must hold counters of events (03ttpp00, 1D000001, 1E000001), not {counter!r}")
    return history
