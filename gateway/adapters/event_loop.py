"""Which event loop the long-running programs run on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

CHOICE = "WATTGATE_LOOP"
"""Set to `asyncio` it keeps Python's own event loop; by default it is uvloop where that is installed (not on Windows)."""


class UnknownLoop(Exception):
    """WATTGATE_LOOP names no event loop; one sentence."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on the fastest event loop there is. Raises UnknownLoop."""
    try:
        factory = loop_factory(os.environ)
    except UnknownLoop:
        main.close()
        raise
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def loop_factory(environment: Mapping[str, str]) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, or None for asyncio's own. Raises UnknownLoop."""
    choice = environment.get(CHOICE, "uvloop")
    if choice not in ("uvloop", "asyncio"):
        raise UnknownLoop(f"{CHOICE} is uvloop or asyncio, not {choice!r}")
    if choice == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
