"""Tests of whole programs as real processes on real time: each may take a minute or two, and far longer as a proof."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import programs

LONGEST_S, LONGEST_PROOF_S = 900, 3600
"""Everything waited for in these tests has a bound of its own; this one is for what nobody thought of."""

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    programs.anew = bool(config.getoption("proof"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.timeout(LONGEST_PROOF_S if config.getoption("proof") else LONGEST_S))
