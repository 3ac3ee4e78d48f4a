"""One target under atheris, in a process of its own: libFuzzer ends the process that it has run in.

usage: python -m tests.fuzz.with_atheris TARGET shaped|random LIBFUZZER-ARGUMENT...
"""

from __future__ import annotations

import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["protocols", "firmware_sim"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS

WILD = 0.15
"""Share of structure-aware inputs that libFuzzer changes blindly, so that the structure itself is tried as well."""


def main(name: str, mode: str, arguments: list[str]) -> None:
    target = TARGETS[name]

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        dice = Random(seed)
        if dice.random() < WILD:
            return bytes(atheris.Mutate(data, max_size))
        return target.shape(dice, bytes(data))[:max_size]

    options = {"custom_mutator": change} if mode == "shaped" else {}
    atheris.Setup([sys.argv[0], *arguments], target.run, **options)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
