"""The demo's other processes: started together, logged apart, and dead with the demo however it dies."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.cli.answers import Failure

READY_S = 20
"""A cold start on a slow machine loads its libraries from disk for some seconds."""

STOP_S = 6
"""Each of them promises to stop within 5 s."""

_PR_SET_PDEATHSIG = 1


def _death_with(parent: int) -> Callable[[], None]:
    """What a child does before it becomes its program: it asks the kernel to be killed when the demo ends."""
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the demo ended before the kernel was asked
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


class Child:
    """One process. `ready` is the JSON object that it printed when it was up; its log stands in `log`."""

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        self.name, self._command = name, command
        self.log = folder / f"{name}.log"
        self.ready: dict[str, object] = {}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def ended(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.returncode if self._process else None

    async def start(self) -> None:
        """Returns when the process says that it is up. Failure with the end of its log otherwise."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                preexec_fn=_death_with(os.getpid()),
                start_new_session=True,  # Ctrl-C in the terminal is for the demo; it then stops the others
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                line = await self._process.stdout.readline()
            self.ready = json.loads(line)
        except TimeoutError:
            raise Failure(f"the {self.name} did not start within {READY_S} s: see {self.log}") from None
        except ValueError:
            await self._end()
            raise Failure(f"the {self.name} did not start: {self._last_words()}") from None

    async def _end(self) -> None:
        """Let one that is ending end: a signal looks for its exit code first, which asyncio then misses, and says so on stderr."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self.wait()

    async def wait(self) -> int:
        """Until it ends."""
        return await self._process.wait() if self._process else 0

    async def stop(self) -> None:
        """Ask it to end; kill it if it does not."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _last_words(self) -> str:
        """The last sentence on its stderr, among lines of JSON."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return next((line[:400] for line in reversed(lines) if line.strip() and not line.startswith("{")), f"see {self.log}")
