"""A gateway whose lines are in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway.bootstrap.site import Site, street
from tests.simulation.quick_meters import QuickMeters

MakeSite = Callable[..., Site]


@pytest.fixture
def site_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeSite:
    """site_of(lines, meters on each), by default of quick meters that all answer."""

    def make(lines: int, meters: int, wire: Callable[[], QuickMeters] = QuickMeters) -> Site:
        site = Site(tmp_path, street(lines, meters), wire)
        monkeypatch.setattr("gateway.bootstrap.lines.transport_of", site.transport)
        return site

    return make
