"""A proof run multiplies the scale and writes the figures of what passed; an everyday run writes nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

TESTS = """
def test_passes(proof_scale, figure):
    figure("rounds", proof_scale)

def test_fails(figure):
    figure("unproved", 1)
    assert False
"""


def run(folder: Path, *options: str) -> Path:
    shutil.copy(Path(__file__).parent / "conftest.py", folder)
    (folder / "test_sample.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(folder), *options]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    return folder / "PROOF.md"


def test_figures_of_passed_tests_are_written_also_by_workers(tmp_path: Path) -> None:
    text = run(tmp_path, "--proof", "-n", "1").read_text()
    assert "::test_passes` | rounds | 100 |" in text
    assert "unproved" not in text


def test_an_everyday_run_writes_nothing(tmp_path: Path) -> None:
    assert not run(tmp_path).exists()
