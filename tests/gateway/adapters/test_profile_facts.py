"""What profiles mean to the house: steps, limits, sides, switches and what no meter has confirmed."""

from __future__ import annotations

import pytest

from gateway.adapters import profile_facts
from gateway.adapters.profiles import profile
from gateway.domain.meters import SwitchKind


@pytest.mark.parametrize(
    ("name", "count_wh", "rollover_wh", "below_wh", "values"),
    [
        ("dlt645-single", 10, 1_000_000_000, None, "secondary"),
        ("eastron-sdm630", 10, 1_000_000_000, 131_072_000, "primary"),
        ("hiking-dds238-zn-sr", 10, 1_000_000_000, None, "primary"),
        ("acrel-dtsd1352", 10, None, None, "secondary"),
        ("chint-dtsu666", 10, None, 131_072_000, "secondary"),
        ("chint-dtsu666-ct", 10, None, 131_072_000, "primary"),
        ("schneider-iem3155", 1, None, None, "primary"),
        ("relay-module-8", 10, None, None, "secondary"),
    ],
)
def test_the_total_register(name: str, count_wh: int, rollover_wh: int | None, below_wh: int | None, values: str) -> None:
    meter = profile(name)
    assert profile_facts.count_wh(meter) == count_wh
    assert profile_facts.rollover_wh(meter) == rollover_wh
    assert profile_facts.bills_below_wh(meter) == below_wh
    assert profile_facts.values(meter) == values


def test_a_prepaid_relay_gives_no_feedback_of_its_own() -> None:
    facts = profile_facts.switch_facts(profile("acrel-ddsy1352"))
    assert (facts.kind, facts.feedback, facts.channels) == (SwitchKind.CONTACTOR, False, 1)
    assert profile_facts.switch_facts(profile("contactor-coil")).channels == 256


def test_what_no_meter_has_confirmed_is_one_sentence() -> None:
    said = profile_facts.notice(profile("acrel-ddsy1352"))
    assert said is not None and "\n" not in said
    assert said.startswith("profile acrel-ddsy1352: no meter has confirmed any register; the relay words 0x0057 and 0x0058; ")
