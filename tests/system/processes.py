"""Programs of ours as real processes that die with the tests, and waiting for what they do."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import inspect
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

import pytest

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
READY_S = 30  # a start takes 1 to 2 s; on a machine that does other things besides, some more
ENDS_S = 60  # the longest verb that is run here waits for a welded relay
LOOK_S = 0.05
FIRST_PORT, LAST_PORT = 10_000, 32_000  # below those of outgoing connections, which would take a port during a restart


def free_port() -> int:
    """A port of the loopback interface that nobody has, and that no outgoing connection will get."""
    for port in random.SystemRandom().sample(range(FIRST_PORT, LAST_PORT), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no port is free")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    """`python -m MODULE ...` in a folder; what it says on stderr is added to `log`."""

    def __init__(self, name: str, *command: object, folder: Path) -> None:
        self.log = folder / f"{name}.log"
        self._name, self._command, self._folder = name, [str(word) for word in command], folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.returncode if self._process else 0

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    async def spawn(self) -> None:
        """Returns at once."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *self._command, cwd=ROOT, preexec_fn=_die_with_parent, start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip

    async def ready(self) -> dict[str, object]:
        """What it prints when it is up."""
        assert self._process is not None and self._process.stdout is not None
        line = b""
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(self._process.stdout.readline(), READY_S)
        if not line:
            pytest.fail(f"{self._name} did not start within {READY_S} s: {self.said()[-2000:]}")
        ready: dict[str, object] = json.loads(line)
        return ready

    async def out(self) -> str:
        """All that it prints on stdout, once it has ended."""
        assert self._process is not None and self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.read(), ENDS_S)).decode()

    async def start(self) -> dict[str, object]:
        await self.spawn()
        return await self.ready()

    def send(self, number: signal.Signals) -> None:
        """Send it, and do not wait for what comes of it."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL: without a chance to write anything."""
        await self.end(signal.SIGKILL)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        try:
            return await asyncio.wait_for(self._process.wait(), ENDS_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            pytest.fail(f"{self._name} did not end within {ENDS_S} s: {self.said()[-2000:]}")


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
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *(str(word) for word in arguments), cwd=ROOT, preexec_fn=_die_with_parent,
        env={**os.environ, **(environment or {})}, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), ENDS_S)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        pytest.fail(f"wattgate {arguments[0]} did not end within {ENDS_S} s: {err.decode()[-2000:]}")
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


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
