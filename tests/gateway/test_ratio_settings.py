"""Transformers in front of a meter and the time that meters show, as they are configured."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from gateway.bootstrap.archive import archive_meters, site_of
from gateway.bootstrap.examine import examine
from tests.gateway.test_settings import GOOD, errors, settings


def of_meter(*lines: str) -> str:
    return GOOD + "\n".join(lines) + "\n"


def test_registers_are_billed_in_front_of_the_transformers(tmp_path: Path) -> None:
    [plain] = archive_meters(settings(tmp_path, GOOD))
    assert (plain.ratio, plain.count_wh, plain.capacity_wh) == (Fraction(1), 10, 10**9)
    [meter] = archive_meters(settings(tmp_path, of_meter('ct = "300/5"', 'pt = "10000/100"', "max_power_w = 5_000_000")))
    assert (meter.ratio, meter.count_wh, meter.capacity_wh) == (Fraction(6000), 60_000, 6000 * 10**9)
    [odd] = archive_meters(settings(tmp_path, of_meter('pt = "380/100"')))
    assert (odd.ratio, odd.count_wh) == (Fraction(19, 5), 38)


@pytest.mark.parametrize("ratio", ["0", "5/300", "-60", "60.5", "300/0", "3e2", " 60", ""])
def test_what_is_no_ratio_is_refused(tmp_path: Path, ratio: str) -> None:
    assert errors(tmp_path, of_meter(f'ct = "{ratio}"')) == [
        f"meter[0].ct: '{ratio}' is no transformer ratio; write one like 300/5 or 60"
    ]


def test_check_refuses_a_ratio_that_would_not_be_billed_right(tmp_path: Path) -> None:
    def check(text: str) -> str:
        return examine(settings(tmp_path, text), tmp_path).errors[0]

    assert check(of_meter('ct = "100/3"')) == "meter a-1: ct 100/3 and pt 1 make steps of the register that are no whole Wh"
    assert "needs max_power_w" in check(of_meter('ct = "60"'))
    assert "ct" not in check(of_meter('ct = "60"', "max_power_w = 5_000_000")).split()
    primary = of_meter('ct = "60"').replace("dlt645-single", "eastron-sdm630")
    assert check(primary) == "meter a-1: profile eastron-sdm630 gives primary values already: ct and pt would count twice"


def test_meters_show_the_time_of_their_own_zone_where_that_is_another(tmp_path: Path) -> None:
    site = site_of(settings(tmp_path, GOOD))
    assert (site.meter_zone, site.keep_clocks) == ("Asia/Shanghai", True)
    site = site_of(settings(tmp_path, GOOD + '[clock]\nmeter_zone = "Etc/GMT-8"\nkeep_meters = false\n'))
    assert (site.zone, site.meter_zone, site.keep_clocks) == ("Asia/Shanghai", "Etc/GMT-8", False)
    assert "clock.meter_zone" in errors(tmp_path, GOOD + '[clock]\nmeter_zone = "Mars"\n')[0]
