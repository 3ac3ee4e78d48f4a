"""Meters that cost next to nothing and answer at once, for tests of a thousand of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from protocols.dlt645 import codes
from protocols.dlt645.frames import Deframer, Frame, encode
from protocols.modbus.frames import crc16
from tests.simulation.memory_line import MemoryLine

ANSWERS = {
    bytes.fromhex("00FF0100"): bytes.fromhex("2143650000000000002143650000000000000000"),  # 6543.21 kWh, all of it in rate 2
    bytes.fromhex("00010102"): bytes.fromhex("0122"),  # 220.1 V
    bytes.fromhex("00010202"): bytes.fromhex("340200"),  # 0.234 A
    bytes.fromhex("00000302"): bytes.fromhex("150500"),  # 0.0515 kW
    bytes.fromhex("03050004"): bytes.fromhex("0000"),  # relay closed, no order to open
}
"""By data identifier, both as they go over the wire; everything else is refused as not there."""


MODBUS_WORDS = bytes.fromhex("43660000")
"""230.0 as a float32, whichever register is asked for."""


class QuickMeters(MemoryLine):
    """A line of single-phase DL/T 645 meters.

    addresses: who is on it; None: everybody. asked: the address of every question, in order.
    """

    def __init__(self, addresses: Collection[str] | None = None) -> None:
        super().__init__(self._reply)
        self.addresses = addresses
        self.asked: list[str] = []
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1
        await super().close()

    def _reply(self, data: bytes) -> Iterable[tuple[float, bytes]]:
        for frame in Deframer().feed(data):
            self.asked.append(frame.address)
            if self.addresses is None or frame.address in self.addresses:
                yield 0.0, encode(_answer(frame))


class QuickUnits(QuickMeters):
    """A line of Modbus RTU units that all show the same."""

    def _reply(self, data: bytes) -> Iterable[tuple[float, bytes]]:
        unit, function, count = data[0], data[1], int.from_bytes(data[4:6])
        self.asked.append(f"{unit:012d}")
        words = (MODBUS_WORDS * count)[: 2 * count]
        answer = bytes([unit, function, len(words)]) + words
        yield 0.0, answer + crc16(answer).to_bytes(2, "little")


def _answer(frame: Frame) -> Frame:
    if (found := ANSWERS.get(frame.data[:4])) is None or frame.control != codes.READ:
        return Frame(frame.address, frame.control | 0xC0, b"\x02")
    return Frame(frame.address, frame.control | 0x80, frame.data[:4] + found)
