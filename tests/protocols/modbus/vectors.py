"""The shared Modbus frames (tests/vectors/modbus.json), as tests use them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[2] / "vectors" / "modbus.json"


@dataclass(frozen=True)
class Vector:
    id: str
    raw: dict[str, Any]

    @property
    def data(self) -> bytes:
        return bytes.fromhex(self.raw["hex"])

    @property
    def inner(self) -> bytes:
        return bytes.fromhex(self.raw.get("inner", self.raw["hex"]))

    @property
    def question(self) -> bytes | None:
        """The request that this frame answers."""
        return VECTORS[self.raw["answers"]].data if "answers" in self.raw else None

    def __str__(self) -> str:
        return self.id


VECTORS = {v["id"]: Vector(v["id"], v) for v in json.loads(_FILE.read_text())["vectors"]}


def chosen(framing: str = "rtu", *directions: str, misprint: bool = False) -> list[Vector]:
    """The vectors of one framing (and direction), right ones or misprints."""
    return [
        v
        for v in VECTORS.values()
        if v.raw["framing"] == framing and (v.raw["crc_ok"] is False) == misprint and (not directions or v.raw["dir"] in directions)
    ]
