"""The shipped schemes, what a configuration makes of them, and what is wrong with one, in one sentence each."""

from __future__ import annotations

import pytest

from gateway.bootstrap.schemes import examine_schemes, keep_of, schemes_of, shipped
from gateway.domain.jobs import Want
from gateway.domain.readings import Source
from gateway.domain.schemes import Scheme
from gateway.domain.slots import HOUR_MS, MINUTE_MS
from gateway.services.retention import Keep
from gateway.settings import Settings


def settings(*schemes: dict[str, object], **tables: object) -> Settings:
    return Settings.model_validate(
        {
            "gateway": {"id": "g"},
            "line": [{"id": "n", "kind": "tcp", "host": "h", "port": 1}, {"id": "s", "kind": "modbus-tcp", "host": "h", "port": 2}],
            "meter": [
                {"id": "d", "line": "n", "address": "1", "profile": "dlt645-single"},
                {"id": "m", "line": "s", "address": "1", "profile": "eastron-sdm630"},
            ],
            "scheme": list(schemes),
            **tables,
        }
    )


def by_id(*schemes: dict[str, object]) -> dict[str, Scheme]:
    return {scheme.id: scheme for scheme in schemes_of(settings(*schemes))}


def test_without_a_scheme_the_shipped_ones_apply_to_the_meters_that_can_answer() -> None:
    found = by_id()
    assert {name: dict(scheme.meters) for name, scheme in found.items()} == {
        "day": {"d": Source.FREEZE, "m": Source.LIVE},
        "month": {"d": Source.FREEZE, "m": Source.LIVE},
        "curve": {"d": Source.CURVE},
        "events": {"d": Source.FREEZE},
    }
    assert found["day"].cron == "5 0 * * *" and found["day"].target == 9_950
    assert (found["curve"].step_ms, found["curve"].window_ms) == (15 * MINUTE_MS, 2 * HOUR_MS)
    assert set(shipped()) == {"live", "day", "month", "curve", "events"}
    assert examine_schemes(settings()) == []


def test_single_keys_of_a_shipped_scheme_are_changed() -> None:
    found = by_id({"id": "curve", "enabled": False}, {"id": "day", "window_min": 30, "target": "90"}, {"billing_s": 60})
    assert sorted(found) == ["day", "events", "month"]
    assert (found["day"].window_ms, found["day"].target, found["day"].retries) == (30 * MINUTE_MS, 9_000, 5)
    assert settings({"billing_s": 60}).live().billing_s == 60
    assert settings({"id": "curve", "step_min": 30}).live().billing_s == 900


def test_a_scheme_of_ones_own_for_some_lines_or_meters() -> None:
    own = {"id": "rare", "want": "day", "cron": "0 4 * * 1", "window_min": 60, "priority": 9, "retries": 0, "target": "50"}
    assert by_id(own | {"lines": ["n"]})["rare"] == Scheme(
        "rare", Want.DAY, "0 4 * * 1", HOUR_MS, 0, 9, 0, 5_000, {"d": Source.FREEZE}
    )
    assert dict(by_id(own | {"meters": ["m"]})["rare"].meters) == {"m": Source.LIVE}
    assert dict(by_id(own | {"meters": []})["rare"].meters) == {}


@pytest.mark.parametrize(
    ("scheme", "sentence"),
    [
        ({"id": "mine", "want": "curve", "cron": "0 * * * *"}, "needs window_min, priority, retries, target, step_min"),
        ({"id": "day", "cron": "five past"}, "'five past' is no cron line"),
        ({"id": "day", "cron": "0 0 31 2 *"}, "is no cron line"),
        ({"id": "day", "meters": ["x"]}, "scheme day: there is no meter x"),
        ({"id": "day", "lines": ["x"]}, "scheme day: there is no line x"),
    ],
)
def test_what_is_wrong_is_one_sentence(scheme: dict[str, object], sentence: str) -> None:
    [error] = examine_schemes(settings(scheme))
    assert sentence in error


@pytest.mark.parametrize(
    "scheme",
    [
        {"id": "day", "billing_s": 5}, {"id": "live", "cron": "0 * * * *"}, {"id": "live", "enabled": False},
        {"id": "day", "step_min": 7}, {"id": "day", "target": "101"}, {"id": "day", "target": "99.999"},
        {"id": "day", "window_min": 0}, {"id": "x", "want": "all"},
    ],
)  # fmt: skip
def test_keys_that_do_not_fit_are_refused(scheme: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        settings(scheme)


def test_two_live_schemes_are_one_too_many() -> None:
    assert examine_schemes(settings({"id": "live"}, {"id": "other", "want": "live"})) == ["scheme: only one may be live"]


def test_how_long_things_are_kept_is_configuration() -> None:
    assert keep_of(settings()) == Keep() == Keep(396, 7, 90)
    assert keep_of(settings(store={"readings_days": 60, "acknowledged_days": 1, "acknowledged_money_days": 9})) == Keep(60, 1, 9)
