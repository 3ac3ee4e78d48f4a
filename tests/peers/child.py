"""Another library in a process of its own: calls go in and answers come out as lines of JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType

import pytest

ROOT = Path(__file__).parents[2]


class PeerError(Exception):
    """The peer raised; the text is its exception."""


def python_of(name: str) -> Path:
    """The interpreter of the peer's venv; skips the test where it is not installed."""
    folder = ROOT / ".venv-peers" / name
    if not (folder / "installed").exists():
        pytest.skip(f"{name} is not installed: run scripts/install peers to compare us with it.")
    return folder / "bin" / "python"


def node_folder() -> Path:
    """Where Node's packages are; skips the test where they are not installed."""
    folder = ROOT / ".venv-peers" / "node"
    if not (folder / "installed").exists():
        pytest.skip("Node's packages are not installed: run scripts/install node to compare us with them.")
    return folder


class Peer:
    """`with Peer("dlt645", "drive_dlt645.py") as call: call("read", "00010000")`. Raises PeerError."""

    def __init__(self, name: str, driver: str) -> None:
        command = [str(python_of(name)), "-u", str(Path(__file__).parent / driver)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def __call__(self, name: str, *arguments: object) -> object:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise PeerError("the peer's process ended")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer["value"]
