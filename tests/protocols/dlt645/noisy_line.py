"""A line in memory between a master's exchange and a meter: echo, noise, foreign frames, bytes in pieces, and pauses."""

from __future__ import annotations

import random
from collections.abc import Callable

from protocols.dlt645.frames import ANY, BROADCAST, Deframer, Frame, encode
from protocols.exchange import Done, Exchange, Send, Step
from tests.protocols.dlt645.vectors import noise

STRANGER = "888888888888"
MAX_TURNS = 300  # a read has at most 256 parts


def clean_noise(dice: random.Random, beside: bytes) -> bytes:
    """Noise that makes no frame of its own, alone or with the bytes behind it."""
    while True:
        made = noise(dice.randrange(10**9), dice.randrange(40))
        deframer = Deframer()
        found = deframer.feed(made + beside) + deframer.flush()
        alone = Deframer()
        if found == alone.feed(beside) + alone.flush():
            return made


def pieces(dice: random.Random, data: bytes) -> list[bytes]:
    cuts = sorted(dice.choices(range(len(data) + 1), k=dice.randrange(4)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def foreign(dice: random.Random, control: int, function: int) -> bytes:
    """What else is heard: another meter's answer to the same function, and our meter's or another's to a different one."""
    other = Frame(STRANGER, control | 0x80, b"\x01")
    late = Frame(STRANGER, 0x91 if function != 0x11 else 0x94, bytes(8))
    return b"".join(encode(f) for f in dice.sample([other, late], k=dice.randrange(3)))


def converse(exchange: Exchange[object], meter: Callable[[bytes], bytes], dice: random.Random, address: str) -> tuple[object, int]:
    """The result of an exchange over the line, and how many questions it took.

    meter: from the bytes that reach it to the bytes it sends.
    """
    sent = exchange.start()
    for turn in range(1, MAX_TURNS):
        (asked,) = Deframer().feed(sent)
        answer = meter(clean_noise(dice, sent) + sent)
        alone = asked.address in (ANY, BROADCAST)  # such a question may be asked where there is one meter only
        heard = sent + (b"" if alone else foreign(dice, asked.control, asked.function)) + answer
        step = _listen(exchange, clean_noise(dice, heard) + heard, dice)
        if isinstance(step, Done):
            return step.result, turn
        assert isinstance(step, Send), step
        sent = step.data
    raise AssertionError("the exchange never ends")


def _listen(exchange: Exchange[object], heard: bytes, dice: random.Random) -> Step[object]:
    for piece in pieces(dice, heard):
        step = exchange.feed(piece)
        if isinstance(step, Done | Send):
            return step
    return exchange.silence()
