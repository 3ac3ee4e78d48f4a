"""Characters on a wire bit by bit, and a line of meters whose speed and parity matter, in virtual time.

A receiver set otherwise than the sender gets what a real one gets: it looks for a falling edge, samples in the middle of each of
its own bits, and hands the byte over whether or not the stop bit is where it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction

from gateway.adapters.line_tools.place import Place, Setting
from gateway.adapters.lines.transport import Transport
from tests.simulation.memory_line import MemoryLine

IDLE_BITS = 40


def levels(data: bytes, parity: str) -> list[int]:
    """The levels of the wire, a bit each: start, eight data bits from the lowest, parity, stop."""
    bits: list[int] = []
    for byte in data:
        ones = byte.bit_count()
        check = {"E": [ones & 1], "O": [1 - (ones & 1)], "N": []}[parity]
        bits += [0, *(byte >> n & 1 for n in range(8)), *check, 1]
    return bits


def received(bits: list[int], sent_baud: int, setting: Setting, checks: bool) -> bytes:
    """What a receiver makes of levels sent at another speed. checks: it drops bytes with a wrong parity or stop bit."""
    bits = [1] * 2 + bits + [1] * IDLE_BITS
    step = Fraction(sent_baud, setting.baud)
    at, got = Fraction(0), bytearray()

    def level(moment: Fraction) -> int:
        return bits[int(moment)] if moment < len(bits) else 1

    while at < len(bits):
        edge = next((n for n in range(int(at), len(bits)) if bits[n] == 0 and (n > at or level(at) == 0)), None)
        if edge is None:
            break
        start = max(Fraction(edge), at)
        samples = [level(start + step * (Fraction(1, 2) + n)) for n in range(11)]
        byte = sum(bit << n for n, bit in enumerate(samples[1:9]))
        tail = samples[9:11] if setting.parity != "N" else [None, samples[9]]
        good = tail[1] == 1 and (tail[0] is None or (byte.bit_count() + tail[0]) % 2 == (setting.parity == "O"))
        if good or not checks:
            got.append(byte)
        width = 10 + (setting.parity != "N")
        at = start + step * (width - Fraction(1, 2))
    return bytes(got)


class UartPlace(Place):
    """A place on the shared wire of `meters`, a function from the bytes that reach them to (seconds, bytes that they answer).

    wire: how the meters are set. lax: they take bytes with a wrong parity bit, as some do. echo: the adapter hears itself.
    """

    __slots__ = ("answer", "echo", "lax", "wire")

    def __init__(
        self,
        wire: Setting,
        answer: Callable[[bytes], Iterable[tuple[float, bytes]]],
        given: Setting,
        lax: bool = False,
        echo: bool = False,
    ) -> None:
        super().__init__("/dev/ttyTEST", "serial", "/dev/ttyTEST", given)
        object.__setattr__(self, "wire", wire)
        object.__setattr__(self, "answer", answer)
        object.__setattr__(self, "lax", lax)
        object.__setattr__(self, "echo", echo)

    def at(self, setting: Setting) -> Place:
        return UartPlace(self.wire, self.answer, setting, self.lax, self.echo)

    def transport(self, patience_ms: int = 600, search: bool = False) -> Transport:
        return MemoryLine(self._serve)

    def _serve(self, data: bytes) -> Iterable[tuple[float, bytes]]:
        if self.echo:
            yield 0.0, data
        reached = received(levels(data, self.setting.parity), self.setting.baud, self.wire, checks=not self.lax)
        asked_s = len(data) * 11 / self.setting.baud
        for delay_s, answer in self.answer(reached):
            heard = received(levels(answer, self.wire.parity), self.wire.baud, self.setting, checks=False)
            if heard:
                yield asked_s + delay_s + len(answer) * 11 / self.wire.baud, heard
