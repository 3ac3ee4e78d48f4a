"""`python -m tests.system.shifted FILE run ...`: the gateway with a clock that somebody sets; FILE holds how many ns it is off."""

from __future__ import annotations

import mmap
import runpy
import sys
import time
from pathlib import Path

SIZE = 8


def set_clock(file: Path, off_ms: int) -> None:
    """From now on the clock of whoever runs on this file is so far off; the steady clocks go on as they are."""
    with file.open("r+b" if file.exists() else "w+b") as opened:
        opened.write((off_ms * 1_000_000).to_bytes(SIZE, "little", signed=True))


def main() -> None:
    file, *words = sys.argv[1:]
    with open(file, "rb") as opened:
        off = mmap.mmap(opened.fileno(), SIZE, access=mmap.ACCESS_READ)
    real = time.time_ns
    time.time_ns = lambda: real() + int.from_bytes(off[:SIZE], "little", signed=True)
    sys.argv = ["gateway", *words]
    runpy.run_module("gateway", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
