"""The lines of a charge survive the journal, in their form of today and in the first one."""

from __future__ import annotations

import pytest

from gateway.domain.charge_refs import line_refs, lines_of
from gateway.domain.price_list import Rate
from gateway.domain.tariffs import ChargeLine

LINES = tuple(
    ChargeLine("2026-01-01T00:00", "energy", "v1", "summer", rate, step, wh, 617_000, -wh * 617, 'a "rule", 力调', f"n{wh}")
    for wh, (rate, step) in enumerate([(Rate.PEAK, None), (None, 3), (None, None)] * 5)
)


def test_there_and_back_in_order() -> None:
    refs = {"meter": "m1", **line_refs(LINES), "to_ms": "5"}
    assert lines_of(refs) == LINES
    assert lines_of(dict(reversed(refs.items()))) == LINES


def test_the_first_form() -> None:
    [line] = lines_of({"energy_import": "1000-3500", "line:energy_import_t2": "1000-3500@500000=1250000"})
    assert (line.component, line.wh, line.price_micro, line.micro) == ("energy", 2500, 500_000, 1_250_000)
    assert line.rule == "energy_import_t2 from 1000 to 3500 Wh"


@pytest.mark.parametrize("text", ["", "5", "[]", '["a","b"]', "1-2@3", '["","","","","night",null,1,1,1,"",""]'])
def test_what_is_no_line(text: str) -> None:
    with pytest.raises(ValueError, match="line:0 is no line of a charge"):
        lines_of({"line:0": text})
