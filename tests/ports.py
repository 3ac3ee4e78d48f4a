"""Ports of the loopback interface for what a test starts later, and stops and starts again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import BinaryIO

FIRST_PORT, LAST_PORT = 10_000, 32_000  # below those of outgoing connections, which would take a port during a restart
TRIES = 1000

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, that no outgoing connection gets, and that no other test is given while this process lives."""
    for port in random.SystemRandom().sample(range(FIRST_PORT, LAST_PORT), TRIES):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                _given.add(port)
                return port
    raise AssertionError("no port is free")


@cache
def _claims() -> BinaryIO:
    """One byte for each port, locked by the process that has it. It stays open: closed, it would give all of them back."""
    return (Path(tempfile.gettempdir()) / f"wattgate-ports-{os.getuid()}").open("ab")
