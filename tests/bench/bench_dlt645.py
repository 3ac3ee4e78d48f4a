"""What the DL/T 645 link layer costs. The budget: a frame of 20 bytes takes 92 ms at 2400 baud, so microseconds are enough."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Iterator

from protocols.dlt645.frames import Deframer, Frame, encode

ROUNDS, REPEATS = 5_000, 5  # the best of the repeats: what is above it is the machine's noise
REPLY = Frame("000006605518", 0x91, bytes.fromhex("0000010078563412"))
LONG = Frame("000006605518", 0x91, bytes.fromhex("00FF0100") + bytes(range(196)))


def feed_bytewise(wire: bytes) -> None:
    deframer = Deframer()
    for value in wire:
        deframer.feed(bytes([value]))


def microseconds(work: Callable[[], object]) -> float:
    return min(timeit.repeat(work, number=ROUNDS, repeat=REPEATS)) / ROUNDS * 1e6


def figures() -> Iterator[tuple[str, float, str]]:
    reply, long = encode(REPLY), encode(LONG)
    yield "encode a reply of 8 data bytes", microseconds(lambda: encode(REPLY)), "us"
    yield "find it in one piece", microseconds(lambda: Deframer().feed(reply)), "us"
    yield "find it byte by byte", microseconds(lambda: feed_bytewise(reply)), "us"
    yield "find a reply of 200 data bytes in one piece", microseconds(lambda: Deframer().feed(long)), "us"
    yield "find a reply behind 200 bytes of noise", microseconds(lambda: Deframer().feed(b"\x68" * 200 + reply)), "us"
