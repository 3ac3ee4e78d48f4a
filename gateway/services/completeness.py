"""How complete a day is, by scheme and line; a target that was missed is told once."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.events import EventKind
from gateway.domain.schemes import Completeness
from gateway.domain.slots import local_of, midnight
from gateway.services import announce
from gateway.services.ports import Site, Tx

LOOK_BACK_DAYS = 4
"""Days that may still be waiting for their judgement: backfill goes three days back by itself."""

KEPT_DAYS = 400
"""Tallies are few (a row for each day, scheme and line) and are kept for a year and a month."""


def judge_days(tx: Tx, site: Site, now_ms: int) -> int:
    """Compare the days whose windows are over with their targets, each once; how many fell short."""
    zone = ZoneInfo(site.meter_zone)
    today = local_of(now_ms, zone).date()
    schemes = {scheme.id: scheme for scheme in tx.schemes()}
    short = 0
    for row in tx.completeness(_day(today, -LOOK_BACK_DAYS), _day(today, -1)):
        scheme = schemes.get(row.scheme)
        over_ms = midnight(date.fromisoformat(row.day) + timedelta(days=1), zone) + (scheme.window_ms if scheme else 0)
        if row.judged or now_ms <= over_ms:
            continue
        tx.mark_judged(row.day, row.scheme, row.line)
        if scheme is not None and row.tally.complete < scheme.target:
            short += 1
            _tell(tx, row, scheme.target, now_ms)
    return short


def forget_days(tx: Tx, site: Site, now_ms: int) -> int:
    """Forget tallies that are too old; how many."""
    return tx.drop_completeness(_day(local_of(now_ms, ZoneInfo(site.meter_zone)).date(), -KEPT_DAYS))


def _day(today: date, days: int) -> str:
    return (today + timedelta(days=days)).isoformat()


def _tell(tx: Tx, row: Completeness, target: int, now_ms: int) -> None:
    announce.event(
        tx,
        EventKind.COMPLETENESS_MISSED,
        now_ms,
        day=row.day,
        scheme=row.scheme,
        line=row.line,
        expected=row.tally.expected,
        read=row.tally.read,
        unavailable=row.tally.unavailable,
        complete=percent(row.tally.complete),
        target=percent(target),
    )


def percent(share: int) -> str:
    """A share of WHOLE as a person reads it, like 99.50."""
    return f"{share // 100}.{share % 100:02d}"
