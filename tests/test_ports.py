"""No two tests are given the same port, also those of other processes, and nobody gets one that is in use."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ports

OTHER = """
import sys
from tests import ports

ports.FIRST_PORT, ports.LAST_PORT, ports.TRIES = map(int, sys.argv[1:])
found = []
while len(found) < 3:
    found.append(ports.free_port())
print(*found, flush=True)
sys.stdin.read()
"""


def test_what_another_process_has_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_given", set())
    first = ports.FIRST_PORT + 500
    few = {"FIRST_PORT": first, "LAST_PORT": first + 10, "TRIES": 10}
    for name, value in few.items():
        monkeypatch.setattr(ports, name, value)
    command = [sys.executable, "-c", OTHER, *map(str, few.values())]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdin is not None
        theirs, ours = {int(word) for word in other.stdout.readline().split()}, set[int]()
        with pytest.raises(AssertionError, match="no port is free"):
            while True:
                port = ports.free_port()
                assert port not in ours
                ours.add(port)
        assert len(theirs) == 3 and not theirs & ours
        other.stdin.close()
        other.wait()
    assert ports.free_port() in theirs, "given back with the end of its process"


def test_what_is_in_use_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        for name, value in {"FIRST_PORT": port, "LAST_PORT": port + 1, "TRIES": 1}.items():
            monkeypatch.setattr(ports, name, value)
        with pytest.raises(AssertionError, match="no port is free"):
            ports.free_port()
