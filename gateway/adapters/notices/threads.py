"""Blocking work in threads that nobody waits for longer than is good: one that hangs is left behind, and dies with the process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Crowded(Exception):
    """So much of the work hangs that no more is begun."""


class Threads:
    """most: threads at a time, those that hang among them."""

    def __init__(self, most: int) -> None:
        self._most, self._busy, self._lock = most, 0, threading.Lock()

    @property
    def busy(self) -> int:
        """Threads that have not ended."""
        return self._busy

    async def run(self, work: Callable[[], T], timeout_s: float, name: str) -> T:
        """What the work gives or raises. TimeoutError after that time, then its end is not waited for. Raises Crowded."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def tell(result: T | None, problem: Exception | None) -> None:
            if done.done():
                return
            if problem is not None:
                done.set_exception(problem)
            else:
                done.set_result(result)  # type: ignore[arg-type]

        def body() -> None:
            result, failure = None, None
            try:
                result = work()
            except Exception as problem:
                failure = problem
            with self._lock:
                self._busy -= 1
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, result, failure)

        with self._lock:
            if self._busy >= self._most:
                raise Crowded
            self._busy += 1
        threading.Thread(target=body, name=name, daemon=True).start()  # an executor's threads would hold up the end of the process
        async with asyncio.timeout(timeout_s):
            return await done
