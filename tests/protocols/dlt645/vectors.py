"""The captured frames of tests/vectors/dlt645.json, and ways to spoil a line."""

from __future__ import annotations

import json
import random
from itertools import count, islice
from pathlib import Path
from typing import Any

_FILE = json.loads((Path(__file__).parents[2] / "vectors" / "dlt645.json").read_text())
ALL: list[dict[str, Any]] = _FILE["vectors"]
FRAMES = [v for v in ALL if v["kind"] == "frame" and v["checksum_ok"]]
STREAMS = [v for v in ALL if v["kind"] == "stream"]
BAD = [v for v in ALL if v["kind"] == "bad"]
WITH_VALUES = [v for v in FRAMES if "values" in v]
SYNTHETIC: dict[str, bytes] = {v["id"]: bytes.fromhex(v["hex"]) for v in _FILE["synthetic"]}


def name(vector: dict[str, Any]) -> str:
    return str(vector["id"])


def raw(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"])


def bare(vector: dict[str, Any]) -> bytes:
    """Without the preamble."""
    return raw(vector)[vector["preamble"] :]


def noise(seed: int, length: int = 40) -> bytes:
    """Bytes that look like starts, preambles and ends more often than chance."""
    dice = random.Random(seed)
    return bytes(dice.choice((0x68, 0x68, 0xFE, 0x16, dice.randrange(256))) for _ in range(length))


def in_noise(frame: bytes, times: int) -> list[tuple[bytes, bytes]]:
    """Noise before and behind, `times` different ones, that does not by chance make a frame of its own with a right checksum."""
    pairs = ((noise(seed), noise(seed + 1_000_000)) for seed in count())
    return list(islice((p for p in pairs if _intact(p[0] + frame + p[1]) == 1), times))


def _intact(line: bytes) -> int:
    """How many frames stand in a line by their definition, at any place."""
    return sum(
        line[at] == line[at + 7] == 0x68
        and len(line) >= (end := at + 12 + line[at + 9])
        and line[end - 1] == 0x16
        and sum(line[at : end - 2]) % 256 == line[end - 2]
        for at in range(len(line) - 11)
    )
