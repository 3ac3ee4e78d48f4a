"""The long run: so many structure-aware and so many random inputs over all targets, with atheris where it is installed.

usage: python -m tests.fuzz [--inputs N] [--seed N] [--keep] [TARGET...]
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import corpus, plain
from tests.fuzz.targets import MAX_INPUT, TARGETS

KINDS = ("shaped", "random")
HANG_S = 20
"""Wall time for one input under atheris, which is slow and may share its processor."""
MEMORY_MB = 400
"""What a run may hold: several times what it does, its own corpus included."""
DONE = re.compile(r"^Done (\d+) runs", re.M)
MEMORY = re.compile(r"^#\d+\s+\w+ .*rss: (\d+)Mb", re.M)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one target and kind. memory: at the start and the end; fault: empty when nothing broke."""

    inputs: int
    seconds: float
    memory: str
    fault: str = ""


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of each kind, shared by the targets (default: 10^6)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="add to the committed corpus what covers something new")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    asked = parser.parse_args(words)
    if unknown := set(asked.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    atheris = importlib.util.find_spec("atheris") is not None
    if asked.keep and not atheris:
        parser.error("only atheris can tell which inputs cover something new")
    names = asked.targets or list(TARGETS)
    print(f"with {'atheris' if atheris else 'our own mutator (atheris is not installed here)'}", flush=True)
    total, broken = dict.fromkeys(KINDS, 0), 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            for kind in KINDS:
                run = (_with_atheris if atheris else _plain)(name, kind, asked.inputs // len(names), asked.seed, Path(folder))
                total[kind] += run.inputs
                broken += bool(run.fault)
                rate = run.inputs / run.seconds
                print(f"{name:<13} {kind:<7} {run.inputs:>9,} inputs {rate:>7,.0f}/s  memory {run.memory} {run.fault}", flush=True)
            if asked.keep:
                _keep(name, Path(folder))
    print(f"in all: {total['shaped']:,} structure-aware and {total['random']:,} random inputs, {broken} broken runs")
    return 1 if broken else 0


def _plain(name: str, kind: str, count: int, seed: int, folder: Path) -> Run:
    start, tally, fault = time.monotonic(), plain.Tally(), ""
    try:
        tally = plain.shake(TARGETS[name], corpus.load(name), seed, count, kind == "shaped")
    except plain.Broken as error:
        fault = f"\n{error}"
    return Run(tally.inputs, time.monotonic() - start, "not measured", fault)


def _with_atheris(name: str, kind: str, count: int, seed: int, folder: Path) -> Run:
    """libFuzzer grows its own corpus in `folder`/inputs, which the next kind goes on from."""
    found = folder / "inputs"
    if not found.exists():
        _spread(name, found)
    start = time.monotonic()
    said = _child(name, kind, f"-runs={count}", f"-seed={seed}", f"-artifact_prefix={folder}/", str(found))
    seconds = time.monotonic() - start
    done, memory = DONE.search(said), MEMORY.findall(said)
    if done:
        return Run(int(done[1]), seconds, f"{memory[0]} -> {memory[-1]} MB")
    culprit = next((file for file in folder.iterdir() if file.is_file()), None)
    return Run(0, seconds, "", f"\n{said[-4000:]}\ninput {culprit.read_bytes().hex().upper() if culprit else 'unknown'}")


def _child(name: str, kind: str, *arguments: str) -> str:
    limits = [f"-max_len={MAX_INPUT}", f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MB}", "-print_final_stats=0"]
    command = [sys.executable, "-m", "tests.fuzz.with_atheris", name, kind, *limits, *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _spread(name: str, folder: Path) -> None:
    folder.mkdir()
    for number, data in enumerate(corpus.load(name)):
        (folder / str(number)).write_bytes(data)


def _keep(name: str, folder: Path) -> None:
    """libFuzzer has put into `inputs` what reached something new; the shortest of it, as far as there is room."""
    kept = corpus.load(name)
    left = corpus.MAX_BYTES // len(TARGETS) - sum(2 * len(data) + 1 for data in kept)
    for data in sorted((file.read_bytes() for file in (folder / "inputs").iterdir()), key=len):
        left -= 0 if data in kept else 2 * len(data) + 1
        if left > 0 and data not in kept:
            kept.append(data)
    corpus.save(name, kept)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
