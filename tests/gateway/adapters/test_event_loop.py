"""The event loop of the long-running programs can be chosen, and only among those that there are."""

from __future__ import annotations

import asyncio

import pytest

from gateway.adapters.event_loop import CHOICE, UnknownLoop, run


async def module() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_it_is_uvloop_unless_that_is_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHOICE, raising=False)
    assert run(module()) == "uvloop"
    monkeypatch.setenv(CHOICE, "asyncio")
    assert run(module()).startswith("asyncio.")


def test_an_unknown_loop_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "trio")
    with pytest.raises(UnknownLoop, match="WATTGATE_LOOP is uvloop or asyncio, not 'trio'"):
        run(module())
