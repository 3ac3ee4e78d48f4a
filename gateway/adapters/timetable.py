"""When a cron line is next due, in a zone's own calendar."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError


class BadCron(ValueError):
    """A cron line that cannot be used; one sentence."""


def check_cron(cron: str) -> None:
    """Raises BadCron when this is no cron line of five fields that is ever due."""
    if len(cron.split()) != 5:
        raise BadCron(f"{cron!r} is no cron line; write minute hour day month weekday, like 5 0 * * *")
    if _next(cron, "UTC", 0) is None:
        raise BadCron(f"the cron line {cron!r} is never due")


def next_fire(cron: str, zone: str, after_ms: int) -> int | None:
    """When it is due next, later than `after_ms` (both UTC ms); None: never. Raises BadCron.

    Of an hour that the clock shows twice, a line for one time of the day is due once, one for every hour twice; of an hour that
    is skipped it is due at its end (as Debian's cron does).
    """
    return _next(cron, zone, after_ms)


@lru_cache(maxsize=256)  # every look asks anew for the same few
def _next(cron: str, zone: str, after_ms: int) -> int | None:
    start = datetime.fromtimestamp(after_ms // 1000, UTC).astimezone(ZoneInfo(zone))
    try:
        moment = next(CronSim(cron, start))
    except CronSimError as wrong:
        raise BadCron(f"{cron!r} is no cron line: {wrong}") from None
    except StopIteration:
        return None
    return int(moment.timestamp()) * 1000
