"""Bytes that are nearly what they were."""

from __future__ import annotations

import random


def spoilt(rng: random.Random, whole: bytes) -> bytes:
    """Some bytes changed, put in or left out; never the same."""
    found = bytearray(whole)
    while bytes(found) == whole:
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            at, byte = rng.randrange(len(found)), rng.randrange(256)
            match rng.randrange(3):
                case 0:
                    found[at] = byte
                case 1:
                    found.insert(at, byte)
                case _:
                    del found[at]
    return bytes(found)
