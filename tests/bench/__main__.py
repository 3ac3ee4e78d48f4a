"""Runs every benchmark of this folder and prints one line a figure.

A benchmark is a module bench_*.py here with `figures()`, which yields (name, value, unit) and measures real code of the project.
usage: python -m tests.bench [--write] [WORD...]: only modules whose name contains one of the words; --write: RESULTS.md as well
"""

from __future__ import annotations

import datetime
import importlib
import os
import pkgutil
import platform
import re
import sys
from pathlib import Path

from tests import bench

RESULTS = Path(__file__).parent / "RESULTS.md"
HEAD = """# What things cost

Written by `make bench ARGS=--write`, a section by `make bench ARGS="--write NAME"`. All figures of a section come from one run on
one machine, where we and others take turns; a ratio says more than a time, and a busy machine makes both longer.
"""


def main(arguments: list[str]) -> int:
    words = [word for word in arguments if word != "--write"]
    names = [m.name for m in pkgutil.iter_modules(bench.__path__) if m.name.startswith("bench_")]
    chosen = [name for name in names if not words or any(word in name for word in words)]
    if not chosen:
        print(f"no benchmark is called {' or '.join(words)}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    print(machine)
    for name in chosen:
        rows = []
        short = name.removeprefix("bench_")
        for what, value, unit in importlib.import_module(f"tests.bench.{name}").figures():
            print(f"{short:<10} {what:<62} {value:>12,.2f} {unit}", flush=True)
            rows.append(f"| {what} | {value:,.2f} | {unit} |")
        if "--write" in arguments:
            write(short, machine, rows)
    return 0


def write(name: str, machine: str, rows: list[str]) -> None:
    """Replaces the section of one module in RESULTS.md."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    run = f"`make bench ARGS={name}`, {datetime.date.today()}, {machine}"
    sections[name] = "\n".join(["", run, "", "| what | value | unit |", "| --- | ---: | --- |", *rows, ""])
    body = "\n".join(f"## {each}\n{sections[each].rstrip()}\n" for each in sorted(sections))
    RESULTS.write_text(f"{HEAD}\n{body}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
