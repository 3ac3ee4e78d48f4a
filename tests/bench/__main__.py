"""Runs every benchmark of this folder and prints one line a figure.

A benchmark is a module bench_*.py here with `figures()`, which yields (name, value, unit) and measures real code of the project.
usage: python -m tests.bench [WORD...]: only modules whose name contains one of the words
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import platform
import sys

from tests import bench


def main(words: list[str]) -> int:
    names = [m.name for m in pkgutil.iter_modules(bench.__path__) if m.name.startswith("bench_")]
    chosen = [name for name in names if not words or any(word in name for word in words)]
    if not chosen:
        print(f"no benchmark is called {' or '.join(words)}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    for name in chosen:
        for what, value, unit in importlib.import_module(f"tests.bench.{name}").figures():
            print(f"{name.removeprefix('bench_'):<10} {what:<48} {value:>12,.2f} {unit}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
