"""Tests as a mutant meets them: each from the start, cheap ones first, and the same examples every time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, settings

from gateway.domain import calendars

EXAMPLES = 20
"""Of each property: every mutant that lives meets all of them, and what more of them would kill an exact test should."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_property(item):
            test: Any = item.obj  # type: ignore[attr-defined]
            given = test._hypothesis_internal_use_settings  # no profile goes before a test's own decorator
            test._hypothesis_internal_use_settings = settings(
                given,
                max_examples=min(given.max_examples, EXAMPLES),
                derandomize=True,
                database=None,
                deadline=None,
                phases=(Phase.explicit, Phase.generate),
            )
    items.sort(key=_is_property)


def _is_property(item: pytest.Item) -> bool:
    return hasattr(getattr(item, "obj", None), "hypothesis")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What an earlier test had worked out would hide a mutant from this one."""
    calendars._calendars.clear()
    yield
