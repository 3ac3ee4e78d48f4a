"""The committed inputs: one line of hex each, in a file for each target; `#` begins a remark, as on what a find once broke."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
MAX_BYTES = 300_000
"""All files together: a repository is no place for more, and libFuzzer finds the rest again in minutes."""


def load(target: str) -> list[bytes]:
    """The inputs of a target, in the order of the file; none where there is no file."""
    file = FOLDER / f"{target}.hex"
    lines = file.read_text().splitlines() if file.exists() else []
    return [bytes.fromhex(line.partition("#")[0]) for line in lines]


def save(target: str, inputs: list[bytes]) -> None:
    """Replaces the inputs of a target; lines with a remark stay."""
    file = FOLDER / f"{target}.hex"
    kept = [line for line in file.read_text().splitlines() if "#" in line] if file.exists() else []
    known = {line.partition("#")[0].strip() for line in kept}
    new = sorted({data.hex().upper() for data in inputs} - known, key=lambda digits: (len(digits), digits))
    FOLDER.mkdir(exist_ok=True)
    file.write_text("\n".join([*kept, *new]) + "\n")
