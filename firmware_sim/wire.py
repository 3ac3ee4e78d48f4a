"""One RS-485 pair in time: every byte takes its 11 bits, and who talks into another is garbled. No clock, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from firmware_sim.station import Reply

BITS_PER_BYTE = 11  # start, eight data, parity, stop
MAX_PENDING_BYTES = 4096  # what a serial server's buffer holds for the line; more is lost, as on a real one
MAX_TALKS = 64  # answers waiting for their moment: more meters than that never answer one question
PACE_US = 10_000  # answers are handed over in pieces of about this much line time

Receive = Callable[[bytes, int, int], list[Reply]]
"""Bytes with the start and the end of their time on the line -> the answers they cause."""


@dataclass(slots=True)
class Counters:
    """What happened on this line since `since_us`; byte times are in `busy_us`."""

    since_us: int
    rx_bytes: int = 0
    tx_bytes: int = 0
    answers: int = 0
    collisions: int = 0
    noisy_bytes: int = 0
    lost_bytes: int = 0
    busy_us: int = 0


@dataclass(slots=True)
class _Talk:
    """Bytes that occupy the pair from `start_us` on; `sent` of them have been handed over."""

    start_us: int
    data: bytearray = field(default_factory=bytearray)
    sent: int = 0


class Wire:
    """A half-duplex line with meters on it.

    write: the master's bytes, beginning at `now_us`. poll: what has reached the master by `now_us`. next_us: when to poll again.
    noise: probability that a byte loses one bit. echo: the master hears itself, as behind many two-wire adapters.
    paced: False where a real serial port below gives every byte its time.
    """

    def __init__(
        self, receive: Receive, baud: int, rng: Random, now_us: int, noise: float = 0.0, echo: bool = False, paced: bool = True
    ) -> None:
        self._receive = receive
        self._rng = rng
        self.baud = baud
        self.noise = noise
        self.echo = echo
        self._paced = paced
        self.counters = Counters(now_us)
        self._asked: deque[_Talk] = deque()
        self._talks: list[_Talk] = []

    def line_us(self, count: int) -> int:
        """Line time of `count` bytes, rounded up, so that at its end they have all passed."""
        return 0 if not self._paced else -(-count * BITS_PER_BYTE * 1_000_000 // self.baud)

    @property
    def next_us(self) -> int | None:
        """The next moment at which something arrives at either end; None while the line is quiet."""
        moments = [self._end_us(talk) for talk in self._asked]
        pace = max(1, PACE_US * self.baud // (BITS_PER_BYTE * 1_000_000))
        moments += [talk.start_us + self.line_us(min(len(talk.data), talk.sent + pace)) for talk in self._talks]
        return min(moments, default=None)

    def write(self, data: bytes, now_us: int) -> None:
        """The master puts bytes on the line; they queue behind its earlier ones."""
        room = MAX_PENDING_BYTES - sum(len(talk.data) for talk in self._asked)
        self.counters.lost_bytes += max(0, len(data) - room)
        if not (data := data[:room]):
            return
        start_us = max(now_us, self._end_us(self._asked[-1])) if self._asked else now_us
        talk = _Talk(start_us, self._noisy(data))
        self.counters.rx_bytes += len(data)
        self.counters.busy_us += self.line_us(len(data))
        for answer in self._talks:
            self._collide(talk, answer)
        self._asked.append(talk)

    def poll(self, now_us: int) -> bytes:
        """Let the meters hear what is complete by now and collect what they have said by now."""
        heard = bytearray()
        while self._asked and self._end_us(self._asked[0]) <= now_us:
            talk = self._asked.popleft()
            if self.echo:
                heard += talk.data
            end_us = self._end_us(talk)
            for reply in self._receive(bytes(talk.data), talk.start_us, end_us):
                self._answer(reply, end_us)
        for talk in self._talks:
            passed = (now_us - talk.start_us) * self.baud // (BITS_PER_BYTE * 1_000_000)
            until = min(len(talk.data), max(0, passed)) if self._paced else len(talk.data) if now_us >= talk.start_us else 0
            heard += talk.data[talk.sent : until]
            talk.sent = max(talk.sent, until)
        self._talks = [talk for talk in self._talks if talk.sent < len(talk.data)]
        return bytes(heard)

    def _end_us(self, talk: _Talk) -> int:
        return talk.start_us + self.line_us(len(talk.data))

    def _answer(self, reply: Reply, now_us: int) -> None:
        if len(self._talks) >= MAX_TALKS:
            self.counters.lost_bytes += len(reply.data)
            return
        talk = _Talk(now_us + reply.delay_us, self._noisy(reply.data))
        self.counters.answers += 1
        self.counters.tx_bytes += len(reply.data)
        self.counters.busy_us += self.line_us(len(reply.data))
        for other in self._asked:
            self._collide(talk, other)
        for other in self._talks:
            self._collide(talk, other)
        self._talks.append(talk)
        self._talks.sort(key=lambda each: each.start_us)

    def _collide(self, one: _Talk, other: _Talk) -> None:
        """Garble the bytes of both that share the pair at the same time."""
        start, end = max(one.start_us, other.start_us), min(self._end_us(one), self._end_us(other))
        if start >= end:
            return
        self.counters.collisions += 1
        for talk in (one, other):
            first = (start - talk.start_us) * self.baud // (BITS_PER_BYTE * 1_000_000)
            last = -(-(end - talk.start_us) * self.baud // (BITS_PER_BYTE * 1_000_000))
            for index in range(max(first, talk.sent), min(last, len(talk.data))):
                talk.data[index] = self._rng.randrange(256)

    def _noisy(self, data: bytes) -> bytearray:
        hit = bytearray(data)
        if self.noise > 0:
            for index in range(len(hit)):
                if self._rng.random() < self.noise:
                    hit[index] ^= 1 << self._rng.randrange(8)
                    self.counters.noisy_bytes += 1
        return hit
