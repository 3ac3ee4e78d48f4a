"""Small gateways without lines, forked from a process that has everything loaded: up in some ms, to be killed at any moment."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
ENDS_S = 240.0  # the longest body takes a second; on a machine with other work, and under strace, far longer

Line = Sequence[object]


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Forks:
    """The process that forks. One body at a time: `begin` it, let it `go`, `hear` it, perhaps `kill` it, see how it `ended`."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.system.forks"], cwd=ROOT, bufsize=0, preexec_fn=die_with_parent,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
            )  # fmt: skip
        self._rest = b""
        self._lines: list[Line] = []
        self.pid = 0

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self, body: str, **arguments: object) -> int:
        """Fork; the body waits for `go`. Its pid."""
        self._lines.clear()
        self._send([body, arguments])
        word, pid = self._first()
        assert word == "pid" and isinstance(pid, int)
        self.pid = pid
        return pid

    def go(self) -> None:
        """It does its work from now on."""
        self._send("go")
        assert self._first() == ["went"]

    def hear(self, seconds: float, lines: int | None = None) -> None:
        """Take in what it says for so long, until it has ended, or has said so many lines."""
        deadline = time.monotonic() + seconds
        while not self._over() and time.monotonic() < deadline and (lines is None or len(self._lines) < lines):
            self._hear(deadline)

    def kill(self) -> None:
        """SIGKILL; nothing where it has ended already."""
        if not self._over():
            os.kill(self.pid, signal.SIGKILL)

    def ended(self) -> tuple[list[Line], int]:
        """All that it said, and its exit code, negative for a signal."""
        deadline = time.monotonic() + ENDS_S
        while not self._over():
            assert time.monotonic() < deadline, f"it did not end within {ENDS_S} s: {self.stderr()}"
            self._hear(deadline)
        *said, (_, status) = self._lines
        assert isinstance(status, int)
        return said, os.waitstatus_to_exitcode(status)

    def run(self, body: str, **arguments: object) -> tuple[list[Line], int]:
        """A body from beginning to end."""
        self.begin(body, **arguments)
        self.go()
        return self.ended()

    def stderr(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def _first(self) -> Line:
        deadline = time.monotonic() + ENDS_S
        while not self._lines:
            assert time.monotonic() < deadline, f"the process that forks says nothing: {self.stderr()}"
            self._hear(deadline)
        return self._lines.pop(0)

    def _over(self) -> bool:
        return bool(self._lines) and self._lines[-1][0] == "ended"

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _hear(self, deadline: float) -> None:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if readable:
            heard = os.read(self._process.stdout.fileno(), 65_536)
            assert heard, f"the process that forks is gone: {self.stderr()}"
            *lines, self._rest = (self._rest + heard).split(b"\n")
            self._lines += [json.loads(line) for line in lines]


def say(*words: object) -> None:
    """One line to the test, whole or not at all: a pipe takes up to 4096 bytes in one piece."""
    line = json.dumps(words).encode() + b"\n"
    assert len(line) <= select.PIPE_BUF
    os.write(1, line)


def _line() -> bytes:
    """The next line of stdin, byte by byte: what follows it may be for somebody else."""
    line = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line


def serve() -> None:
    """Fork a body for every line of stdin, until there is no more."""
    import alembic.command  # noqa: F401  (loaded once, not in every fork that makes a store)

    from tests.system.bodies import BODIES

    while line := _line():
        name, arguments = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                die_with_parent()
                _line()
                say("went")
                code = BODIES[name](**arguments)
            except BaseException:  # whatever it is: a fork must not go on as the process that forks
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stderr.flush()
                os._exit(code)
        say("pid", pid)
        say("ended", os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    serve()
