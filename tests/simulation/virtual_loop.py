"""An event loop whose clock jumps over every wait: hours pass in milliseconds, and the order of things is the same each time."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: where virtual wall clocks begin."""


class Stuck(Exception):
    """Everything waits and nothing will ever happen."""


class _JumpingSelector(selectors.BaseSelector):
    """Real files are looked at but never waited for: instead of waiting, the clock is put forward."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready:
            return ready
        if timeout is None:
            raise Stuck("every task waits for something that no timer and no other task will bring")
        self.now_s += max(timeout, 0.0)
        return []

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio in virtual time. No threads: work for an executor must be run inline."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-6  # after a virtual year a float's own step is coarser than the default of 1 ns

    def time(self) -> float:
        return self._jumping.now_s


class VirtualClock:
    """The wall clock of a virtual loop; `set` moves it as an operator would, and timers do not notice."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._at_zero_ms = start_ms

    def now_ms(self) -> int:
        """UTC milliseconds."""
        return self._at_zero_ms + round(self.monotonic() * 1000)

    def monotonic(self) -> float:
        """Seconds of the loop's own time."""
        return asyncio.get_running_loop().time()

    def set(self, now_ms: int) -> None:
        """It is this late now."""
        self._at_zero_ms += now_ms - self.now_ms()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time. Raises Stuck instead of hanging."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Makes an async test run in virtual time."""

    @functools.wraps(test)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return wrapped
