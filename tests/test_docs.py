"""The documents are true: their diagrams come from the tables, their examples run, the commands that they name exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.diagrams import diagrams

ROOT = Path(__file__).parents[1]
WATTGATE = Path(sys.executable).parent / "wattgate"
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.M | re.S)


def blocks() -> list[tuple[str, str]]:
    """(where, text) of every console block in the documents."""
    found = []
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        for n, text in enumerate(CONSOLE.findall((ROOT / name).read_text()), 1):
            found.append((f"{name} block {n}", text))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which the examples' relative paths are right."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "wattgate").symlink_to(WATTGATE)
    return tmp_path


@pytest.mark.parametrize(("where", "text"), blocks(), ids=[where for where, _ in blocks()])
def test_every_console_block_gives_what_it_shows(where: str, text: str, folder: Path) -> None:
    """`$ ` begins a command, the lines after it are its output; ... stands for anything. Blocks run line by line in one folder."""
    for step in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, shown = step.partition("\n")
        run = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        pattern = ".*?".join(re.escape(part) for part in shown.strip().split("..."))
        assert re.fullmatch(pattern, (run.stdout + run.stderr).strip(), re.S), f"{where}: {command}\n{run.stdout}{run.stderr}"


def test_the_diagrams_are_drawn_from_the_tables() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for diagram in diagrams():
        assert diagram in text, f"python -m tests.diagrams prints:\n{diagram}"


def test_the_documents_name_only_what_there_is() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text()
        for target in re.findall(r"`make (\w+)", text):
            assert re.search(rf"^{target}:", makefile, re.M), f"{name} names make {target}"
        for path in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / path).exists(), f"{name} links to {path}"


@pytest.mark.parametrize(
    "verb",
    [
        "demo",
        "run",
        "check",
        "sim",
        "central",
        "decode",
        "topup",
        "cut",
        "restore",
        "ledger verify",
        "read",
        "scan",
        "doctor",
        "capture",
        "replay",
        "bench meter",
    ],
)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    run = subprocess.run([str(WATTGATE), *shlex.split(verb), "--help"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0
    assert f"wattgate {verb}" in run.stdout.replace("\n", " ") and "Example:" in run.stdout
