"""Programs of ours as real processes that die with the tests, and waiting for what they do."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar, cast, overload

import pytest

from tests import programs
from tests.ports import free_port as free_port

T = TypeVar("T")

READY_S = 180  # a start takes 1 to 2 s; on a machine that does other things besides, far more
ENDS_S = 240  # `wattgate cut` itself waits up to 90 s for its proof
LOOK_S = 0.05


class Process:
    """`python -m MODULE ...`; what it says on stderr is added to `log`."""

    def __init__(self, name: str, *command: object, folder: Path) -> None:
        self.log = folder / f"{name}.log"
        self._name, self._command = name, command
        self._pid = 0
        self._code: int | None = 0
        self._stdout: asyncio.StreamReader | None = None

    @property
    def pid(self) -> int:
        assert self._pid
        return self._pid

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        if self._code is None:
            self._code = programs.exit_code(self._pid, 0)
        return self._code

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    async def spawn(self) -> None:
        """Returns as soon as there is a process."""
        stdout, reader = self._start(), asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stdout)
        self._stdout = reader

    def _start(self) -> BinaryIO:
        ours, its = os.pipe()
        with self.log.open("ab") as log, open(os.devnull, "rb") as nothing, open(its, "wb") as stdout:
            self._pid = programs.start(self._command, (nothing.fileno(), stdout.fileno(), log.fileno()))
        self._code = None
        return cast(BinaryIO, open(ours, "rb", buffering=0))

    async def ready(self) -> dict[str, object]:
        """What it prints when it is up."""
        assert self._stdout is not None
        line = b""
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(self._stdout.readline(), READY_S)
        if not line:
            pytest.fail(f"{self._name} did not start within {READY_S} s: {self.said()[-2000:]}")
        ready: dict[str, object] = json.loads(line)
        return ready

    async def out(self) -> str:
        """All that it prints on stdout, once it has ended."""
        assert self._stdout is not None
        return (await asyncio.wait_for(self._stdout.read(), ENDS_S)).decode()

    async def start(self) -> dict[str, object]:
        await self.spawn()
        return await self.ready()

    def send(self, number: signal.Signals) -> None:
        """Send it, and do not wait for what comes of it."""
        os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL: without a chance to write anything."""
        await self.end(signal.SIGKILL)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        if self.code is None:
            self.send(number)
        return await self.ended()

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        if self._code is None:
            self._code = await asyncio.to_thread(programs.exit_code, self._pid, ENDS_S)
        if self._code is None:
            self.send(signal.SIGKILL)
            self._code = await asyncio.to_thread(programs.exit_code, self._pid, ENDS_S)
            pytest.fail(f"{self._name} did not end within {ENDS_S} s: {self.said()[-2000:]}")
        return self._code


@dataclass(frozen=True, slots=True)
class Ran:
    """A verb that has ended."""

    code: int
    out: str
    err: str

    def refused(self, *words: str, code: int = 1, sentences: int = 1) -> None:
        """It ended as refused, with so many sentences, in which these words stand, and without a traceback."""
        said = [line for line in self.err.splitlines() if line.strip() and not line.startswith("{")]  # JSON lines are the log
        assert "Traceback" not in self.err + self.out, self.err
        assert (self.code, len(said)) == (code, sentences), (self.code, self.err)
        for word in words:
            assert word in "\n".join(said), (word, said)


async def wattgate(*arguments: object, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Ran:
    """`wattgate VERB ...`, to its end."""
    code, out, err = await asyncio.to_thread(
        programs.run, ["gateway", *arguments], stdin=stdin, environment=environment, within_s=ENDS_S
    )
    if code is None:
        pytest.fail(f"wattgate {arguments[0]} did not end within {ENDS_S} s: {err[-2000:]}")
    return Ran(code, out, err)


@overload
async def until(look: Callable[[], Awaitable[T]], what: str, within_s: float) -> T: ...
@overload
async def until(look: Callable[[], T], what: str, within_s: float) -> T: ...
async def until(look: Callable[[], object], what: str, within_s: float) -> object:
    """Look again and again until it is true; gives what was seen."""
    seen: object = None
    try:
        async with asyncio.timeout(within_s):
            while True:
                answer = look()
                seen = await answer if inspect.isawaitable(answer) else answer
                if seen:
                    return seen
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        pytest.fail(f"not within {within_s} s: {what} (last seen: {seen!r})")
