"""Meters of one line as functions, for the tools: what the protocol's own answering side says, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from protocols.dlt645.frames import Dialect
from protocols.dlt645.slave import (
    Attention,
    Read97Request,
    ReadAddressRequest,
    ReadRequest,
    Slave,
    Slave97,
    address_answer,
    attention,
    error_answer,
    read_answer,
    read_answer_97,
)

Answers = Iterable[tuple[float, bytes]]


@dataclass(frozen=True)
class Plain:
    """A meter that can be read. preamble: it hears only questions with (4) or without (0) FE in front; None: both."""

    address: str
    dialect: Dialect = Dialect.V2007
    delay_s: float = 0.05
    refuses: bool = False
    preamble: int | None = None

    def hear(self, data: bytes) -> bytes | None:
        """Its answer to bytes of a line."""
        if self.preamble is not None and data.startswith(b"\xfe") != bool(self.preamble):
            return None
        slave = Slave() if self.dialect is Dialect.V2007 else Slave97()
        for request in slave.feed(data):
            control = getattr(request, "control", 0)
            if attention(control, request.address, self.address, self.dialect) is not Attention.ANSWER:
                continue
            if isinstance(request, ReadAddressRequest):
                return address_answer(self.address)
            if self.refuses:
                return error_answer(self.address, control, 2)
            if isinstance(request, ReadRequest):
                own = bytes.fromhex(self.address)[::-1]
                known = {"04000401": own, "00010000": b"\x78\x56\x34\x12"}.get(request.di)
                return read_answer(self.address, request.di, known) if known else error_answer(self.address, control, 2)
            if isinstance(request, Read97Request) and request.di == "9010":
                return read_answer_97(self.address, request.di, b"\x78\x56\x34\x12")
        return None


def line_of(*meters: Plain) -> Callable[[bytes], Answers]:
    """All of them on one pair, without collisions."""

    def answer(data: bytes) -> Answers:
        for meter in meters:
            if (said := meter.hear(data)) is not None:
                yield meter.delay_s, said

    return answer


def colliding(meters: Sequence[Plain], rng: Random, baud: int = 9600) -> Callable[[bytes], Answers]:
    """All of them on one pair: each thinks for a random time, and who talks into another is garbled."""

    def answer(data: bytes) -> Answers:
        talks = [[rng.uniform(0.02, 0.2), bytearray(said)] for meter in meters if (said := meter.hear(data))]
        talks.sort(key=lambda talk: talk[0])  # type: ignore[arg-type,return-value]
        ends = 0.0
        for n, (start, said) in enumerate(talks):
            assert isinstance(start, float) and isinstance(said, bytearray)
            if start < ends:
                for hit in (said, talks[n - 1][1]):
                    assert isinstance(hit, bytearray)
                    hit[3:] = rng.randbytes(len(hit) - 3)
            ends = max(ends, start + len(said) * 11 / baud)
        for start, said in talks:
            assert isinstance(start, float) and isinstance(said, bytearray)
            yield start + len(said) * 11 / baud, bytes(said)

    return answer
