"""Our programs as processes of their own, forked from one that has everything loaded: up in some ms instead of a second or two.

A fork is a process like any other: it has its own arguments, folder, environment and standard streams, is our child, can be killed
at any moment and ends through the interpreter's own end. It runs `python -m MODULE` from its first line; what it does not repeat is
the loading of the modules. A proof starts every program anew.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from gateway.cli.app import VERBS, Verbs
from tests.kept_types import keep_types

ROOT = Path(__file__).resolve().parents[1]
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
ADOPTED_WITHIN_S = 120.0  # real time: some ms; a machine with other work takes longer
MOST_BYTES = 1 << 17  # of one order: arguments and environment
LOADED = (
    *("alembic.command", "asyncio", "uvicorn", "fastapi", "psycopg", "httpx2", "rich.table", "structlog", "firmware_sim.serve"),
    *("gateway.bootstrap.process", "gateway.bootstrap.by_hand", "gateway.bootstrap.tools", "gateway.settings"),
)
"""What most programs load; a fork loads what else it needs by itself."""


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value)


class Anew:
    """Starts every program anew, as a user does."""

    def start(self, words: Sequence[str], folder: Path, environment: Mapping[str, str], streams: tuple[int, int, int]) -> int:
        """`python -m WORDS` in a session of its own that ends with us, its streams these open files. Its pid, to be waited for."""
        stdin, stdout, stderr = streams
        started = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=folder, env=dict(environment), stdin=stdin, stdout=stdout, stderr=stderr,
            start_new_session=True, preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )  # fmt: skip
        started.returncode = 0  # whoever started it waits for its pid
        return started.pid


class Forked:
    """Forks every program from a process that is started with the first."""

    def __init__(self) -> None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # a fork's own parent ends at once, and so it becomes our child
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.programs", str(theirs.fileno())], cwd=ROOT, pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def start(self, words: Sequence[str], folder: Path, environment: Mapping[str, str], streams: tuple[int, int, int]) -> int:
        """As Anew.start."""
        order = json.dumps([os.getpid(), *map(str, (folder, *words))]), json.dumps(dict(environment))
        with self._lock:
            socket.send_fds(self._orders, ["\0".join(order).encode()], list(streams))
            answer = self._orders.recv(64)
        assert answer, "the process that forks is gone"
        return int(answer)


@cache
def _forks() -> Forked:
    return Forked()


anew = True
"""Whether programs are started anew; the everyday tests set it to False."""

_ended: dict[int, int] = {}
"""Exit codes of those that were waited for, each until its pid is another's."""
_waiting = threading.Lock()


def start(
    words: Sequence[object], streams: tuple[int, int, int], *, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> int:
    """`python -m WORDS` as a child that ends with us, or with this thread; its pid. streams: its first three, ours to close."""
    starter = Anew() if anew else _forks()
    pid = starter.start([str(word) for word in words], folder, {**os.environ, **(environment or {})}, streams)
    _ended.pop(pid, None)
    return pid


def exit_code(pid: int, within_s: float) -> int | None:
    """A child's exit code, negative for a signal, once it has ended; None where it goes on. Several threads may ask."""
    with contextlib.suppress(ProcessLookupError):  # another one has waited for it
        watched = os.pidfd_open(pid)
        try:
            if pid not in _ended and not select.select([watched], [], [], within_s)[0]:
                return None
        finally:
            os.close(watched)
    with _waiting:
        if pid not in _ended:
            _ended[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return _ended[pid]


def run(
    words: Sequence[object],
    *,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    within_s: float,
) -> tuple[int | None, str, str]:
    """A program to its end: exit code, stdout, stderr. What is still there after so long is killed; its code is None."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        pid = start(words, (given.fileno(), out.fileno(), err.fileno()), folder=folder, environment=environment)
        if (code := exit_code(pid, within_s)) is None:
            os.kill(pid, signal.SIGKILL)
            exit_code(pid, within_s)
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
        return code, said[0], said[1]


def serve(orders: socket.socket) -> list[str] | None:
    """Fork a program for every order, until nobody is there to give one; in the fork the words of the program to run."""
    while True:
        order, files, _, _ = socket.recv_fds(orders, MOST_BYTES, 3)
        if not order:
            return None
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid == 0:
                orders.close()
                program, environment = map(json.loads, order.split(b"\0"))
                return _become(program, environment, files)
            orders.send(str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)
        for file in files:
            os.close(file)


def _become(program: list[object], environment: dict[str, str], files: list[int]) -> list[str]:
    """What a new process would have from its start."""
    parent, folder, *words = program
    os.setsid()
    deadline = time.monotonic() + ADOPTED_WITHIN_S
    while os.getppid() != parent:
        if time.monotonic() > deadline:
            os._exit(70)
        os.sched_yield()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(str(folder))
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    return [str(word) for word in words]


def load() -> None:
    """What cannot be loaded is told by the program that needs it."""
    for name in LOADED:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    for verb in VERBS:
        with contextlib.suppress(Exception):
            Verbs()[verb]
    keep_types()
    gc.collect()
    gc.freeze()


def main() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    load()
    if (words := serve(orders)) is not None:
        module, *rest = words
        sys.argv = [module, *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
