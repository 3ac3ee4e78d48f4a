"""Frozen registers (05): taken at a time, on order, at midnight, every hour and when a table is switched (DL/T 645-2007 A.6)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from firmware_sim.clockwork import HOUR_US, MINUTE_US, NextAfter, local, local_us
from firmware_sim.loads import DAY_US, FOREVER_US
from protocols.bcd import encode_digits
from protocols.dlt645.freeze_time import FreezeTime
from protocols.dlt645.values import encode_minute

TIMED, INSTANT, ZONES, DAYS, HOURLY, PRICES, DAILY, LADDER = range(8)
DEPTH = {TIMED: 12, INSTANT: 3, ZONES: 2, DAYS: 2, HOURLY: 254, PRICES: 2, DAILY: 62, LADDER: 2}
EVERYTHING = 0xFF
WHEN = 0x00

Frozen = dict[int, bytes]
"""By ii: 00 the time, 01 to 08 energies, 09 and 0A maximum demands, 10 powers."""


class Freezes:
    """What was frozen, the latest first. snapshot: gives the registers of this moment by ii, for a kind of freeze."""

    def __init__(self, snapshot: Callable[[int], Frozen]) -> None:
        self._snapshot = snapshot
        self._kept: dict[int, deque[Frozen]] = {}
        self.timed = FreezeTime(1, 0, 0)
        self.version = 0

    def take(self, kind: int, clock_us: int) -> None:
        """Freeze now, with the time of this moment."""
        frozen = {WHEN: encode_minute(local(clock_us))} | self._snapshot(kind)
        self._kept.setdefault(kind, deque(maxlen=DEPTH[kind])).appendleft(frozen)
        self.version += 1

    def read(self, kind: int, which: int, past: int) -> bytes | None:
        """A frozen register; past 1 is the last freeze. With ii = FF everything of it in the order of ii. None: not there."""
        kept = self._kept.get(kind, deque())
        if not 1 <= past <= len(kept):
            return None
        frozen = kept[past - 1]
        return b"".join(frozen[each] for each in sorted(frozen)) if which == EVERYTHING else frozen.get(which)

    def depth(self, kind: int) -> int:
        """How many freezes of a kind there are."""
        return len(self._kept.get(kind, ()))

    def clear(self) -> None:
        """Forget them all."""
        self._kept.clear()
        self.version += 1

    def save(self) -> dict[str, object]:
        """For the history file."""
        kept = {str(kind): [{str(i): data.hex() for i, data in each.items()} for each in row] for kind, row in self._kept.items()}
        return {"timed": self.timed.encode().hex(), "kept": kept}

    def restore(self, saved: dict[str, dict[str, list[dict[str, str]]]], timed: FreezeTime) -> None:
        """Continue from saved freezes."""
        self.timed = timed
        for kind, rows in saved["kept"].items():
            frozen = [{int(i): bytes.fromhex(data) for i, data in row.items()} for row in rows]
            self._kept[int(kind)] = deque(frozen, DEPTH[int(kind)])


def when_timed(time: FreezeTime) -> NextAfter:
    """The bell of timed freezes: every hour at a minute, every day at a time, every month on a day."""
    minute = (time.minute or 0) * MINUTE_US
    if time.minute is None:
        return lambda clock_us: FOREVER_US
    if time.hour is None:
        return lambda clock_us: _after(clock_us, HOUR_US, minute)
    at_us = time.hour * HOUR_US + minute
    if time.day is None:
        return lambda clock_us: _after(clock_us, DAY_US, at_us)
    return monthly(time.day, at_us)


def monthly(day: int, into_us: int) -> NextAfter:
    """The bell of one day (1 to 28) of every month, so long after its midnight."""

    def next_after(clock_us: int) -> int:
        first = local(clock_us).replace(day=1, hour=0, minute=0, second=0)
        target_us = local_us(first.replace(day=day)) + into_us
        if target_us > clock_us:
            return target_us
        return local_us((first + timedelta(days=32)).replace(day=day)) + into_us

    return next_after


def yearly(dates: tuple[tuple[int, int, int], ...]) -> NextAfter:
    """The bell of some (month, day, hour) of every year."""

    def next_after(clock_us: int) -> int:
        year = local(clock_us).year
        moments = [local_us(datetime(y, month, day, hour)) for y in (year, year + 1) for month, day, hour in dates]
        return min((moment for moment in moments if moment > clock_us), default=FOREVER_US)

    return next_after


def stamp_us(digits: bytes | None) -> int:
    """The time of a switch parameter (YYMMDDhhmm in wire order); FOREVER_US when it is none, as zeros are."""
    if not digits or len(digits) != 5:
        return FOREVER_US
    text = digits[::-1].hex()
    try:
        return local_us(datetime.strptime("20" + text, "%Y%m%d%H%M"))
    except ValueError:
        return FOREVER_US


def stamp(clock_us: int) -> bytes:
    """The same the other way round."""
    return encode_digits(local(clock_us).strftime("%y%m%d%H%M"))


def _after(clock_us: int, period_us: int, offset_us: int) -> int:
    return ((clock_us - offset_us) // period_us + 1) * period_us + offset_us
