"""What has begun of a tariff stays; what is to come may be anything that is a tariff."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.price_list import GapSplit, Rate, Season, Switch, Tariff, TimeOfUse, Version, Zone
from gateway.domain.tariff_change import VersionHolds, successor
from tests.gateway.price_lists import ZONE, flat

TODAY = "2026-11-24"
TABLES = {"day": (Switch(0, Rate.VALLEY), Switch(480, Rate.PEAK)), "holiday": (Switch(0, Rate.VALLEY),)}
OFF = {"2026-10-01": "holiday"}


def dated(day: str, micro: int = 500_000, holidays: dict[str, str] | None = None) -> Version:
    tou = TimeOfUse((Zone(1, 1, "day"),), TABLES, holidays=OFF if holidays is None else holidays, holidays_until="2027-12-31")
    return Version(day, day, (Season("year", 1, 1, {Rate.PEAK: micro, Rate.VALLEY: 1}),), {}, tou)


def tariff(*versions: Version, **changes: object) -> Tariff:
    return replace(Tariff("t", "CNY", ZONE, versions), **changes)  # type: ignore[arg-type]


STORED = tariff(dated("2026-01-01"), dated("2027-01-01", 7))


@pytest.mark.parametrize(
    ("configured", "becomes"),
    [
        (STORED, STORED),
        (tariff(dated("2026-01-01")), tariff(dated("2026-01-01"))),  # what is to come may be dropped
        (tariff(dated("2026-01-01"), dated("2026-11-25", 9)), tariff(dated("2026-01-01"), dated("2026-11-25", 9))),
        (tariff(dated("2026-12-01", 9)), tariff(dated("2026-01-01"), dated("2026-12-01", 9))),  # what has begun need not be named
    ],
)
def test_what_is_to_come_is_free(configured: Tariff, becomes: Tariff) -> None:
    assert successor(STORED, configured, TODAY) == becomes


@pytest.mark.parametrize(
    ("configured", "sentence"),
    [
        (tariff(dated("2026-01-01", 9)), "tariff t: version 2026-01-01 holds since 2026-01-01 and cannot be changed; add"),
        (tariff(dated("2026-01-01"), dated(TODAY, 9)), "tariff t: version 2026-11-24 begins on 2026-11-24, when others held; let"),
        (tariff(dated("2025-01-01", 9), dated("2026-01-01")), "version 2025-01-01 begins on 2025-01-01, when others held"),
        (tariff(dated("2026-01-01", holidays={"2026-11-24": "holiday"})), "version 2026-01-01 holds since"),
        (replace(STORED, currency="EUR"), "tariff t: its currency cannot be changed"),
        (replace(STORED, zone="Asia/Colombo"), "tariff t: its zone cannot be changed"),
        (replace(STORED, split=GapSplit.BILLING_MONTHS), "tariff t: its split cannot be changed"),
    ],
)
def test_what_has_begun_is_not(configured: Tariff, sentence: str) -> None:
    with pytest.raises(VersionHolds, match=sentence):
        successor(STORED, configured, TODAY)


def test_a_holiday_to_come_is_added_to_a_version_in_force() -> None:
    more = tariff(dated("2026-01-01", holidays={**OFF, "2026-11-25": "holiday"}))
    assert successor(STORED, more, TODAY) == more


def test_one_without_days_changes_from_tomorrow_on() -> None:
    before = flat(500_000)
    changed = successor(before, flat(700_000), TODAY)
    assert [(v.id, v.from_day, v.seasons[0].prices[Rate.SINGLE]) for v in changed.versions] == [
        ("1970-01-01", "1970-01-01", 500_000),
        ("2026-11-25", "2026-11-25", 700_000),
    ]
    assert successor(changed, flat(700_000), TODAY) == changed
    assert successor(changed, flat(700_000), "2026-11-25") == changed
    assert successor(changed, flat(500_000), TODAY) == before
    assert [v.from_day for v in successor(changed, flat(500_000), "2026-11-30").versions][1:] == ["2026-11-25", "2026-12-01"]
