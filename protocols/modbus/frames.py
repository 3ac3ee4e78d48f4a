"""Modbus framing: RTU by CRC and length, TCP by the MBAP header. Modbus over Serial Line V1.02; Messaging on TCP/IP V1.0b.

Silence never ends an RTU frame here: USB adapters and TCP converters do not keep the 3.5 characters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

Framing = Literal["rtu", "tcp"]

MAX_UNIT: Final = 247  # 248..255 are reserved on a serial line
MAX_PDU: Final = 253  # what fits an RS-485 frame of 256 bytes; TCP keeps the same bound
_MBAP = 6  # transaction id, protocol id, length: the bytes before the unit

FUNCTIONS: Final = {
    0x01: "read coils",
    0x02: "read discrete inputs",
    0x03: "read holding registers",
    0x04: "read input registers",
    0x05: "write single coil",
    0x06: "write single register",
    0x07: "read exception status",
    0x08: "diagnostics",
    0x0B: "get comm event counter",
    0x0C: "get comm event log",
    0x0F: "write multiple coils",
    0x10: "write multiple registers",
    0x11: "report server id",
    0x14: "read file record",
    0x15: "write file record",
    0x16: "mask write register",
    0x17: "read/write multiple registers",
}
EXCEPTIONS: Final = {
    0x01: "illegal function",
    0x02: "illegal data address",
    0x03: "illegal data value",
    0x04: "server device failure",
    0x05: "acknowledge",
    0x06: "server device busy",
    0x08: "memory parity error",
    0x0A: "gateway path unavailable",
    0x0B: "gateway target device failed to respond",
}

Layout = dict[int, tuple[int, int]]
"""Function code -> (bytes of the whole RTU frame without counted data, place of the byte count or 0)."""

REQUESTS: Final[Layout] = {
    **dict.fromkeys((0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x08), (8, 0)),
    **dict.fromkeys((0x07, 0x0B, 0x0C, 0x11), (4, 0)),
    **dict.fromkeys((0x0F, 0x10), (9, 6)),
    **dict.fromkeys((0x14, 0x15), (5, 2)),
    0x16: (10, 0),
    0x17: (13, 10),
}
RESPONSES: Final[Layout] = {
    **dict.fromkeys((0x01, 0x02, 0x03, 0x04, 0x0C, 0x11, 0x14, 0x15, 0x17), (5, 2)),
    **dict.fromkeys((0x05, 0x06, 0x08, 0x0B, 0x0F, 0x10), (8, 0)),
    0x07: (5, 0),
    0x16: (10, 0),
    **dict.fromkeys((function | 0x80 for function in FUNCTIONS), (5, 0)),
}


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC = tuple(_crc_of_byte(byte) for byte in range(256))


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS (reflected 8005H, start FFFFH); it is sent low byte first. Serial Line 2.5.1.2."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def rtu_pack(unit: int, pdu: bytes) -> bytes:
    """The RTU frame of this PDU (function code and data)."""
    body = bytes([unit]) + pdu
    return body + crc16(body).to_bytes(2, "little")


def rtu_intact(frame: bytes) -> bool:
    """True when the last two bytes are the CRC of the rest."""
    return len(frame) >= 4 and crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little")


def rtu_size(layout: Layout, data: bytes) -> int:
    """Length of the RTU frame that begins here: 0 when no such function, the least possible while the byte count has not come."""
    fixed, count_at = layout.get(data[1], (0, 0)) if len(data) > 1 else (4, 0)
    return fixed + (data[count_at] if count_at and len(data) > count_at else 0)


def tcp_pack(unit: int, pdu: bytes, transaction_id: int) -> bytes:
    """The TCP frame of this PDU. transaction_id: 0..65535."""
    return transaction_id.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes([unit]) + pdu


class RtuScanner:
    """Finds intact RTU frames in a stream, byte by byte or in lumps, through noise, echo and frames of others.

    size_at: for the bytes from some place on, the length of the frame wanted there, 0 when none can begin there.
    A frame is found even behind a false start that claims more bytes than ever come, so a stray byte costs nothing.
    skipped: bytes that belong to no frame found. begun: what is left may be the start of one; it is shorter than one frame.
    """

    def __init__(self, size_at: Callable[[bytes], int]) -> None:
        self._size_at = size_at
        self._buffer = b""
        self.skipped = 0

    @property
    def begun(self) -> bool:
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The frames completed by these bytes, in order."""
        self._buffer += data
        found = []
        while (frame := self._next()) is not None:
            found.append(frame)
        return found

    def drop(self) -> None:
        """Gives up what is left (the line fell silent, or the exchange is over): it counts as skipped."""
        self.skipped += len(self._buffer)
        self._buffer = b""

    def _next(self) -> bytes | None:
        begun_at = len(self._buffer)
        for start in range(len(self._buffer)):
            rest = self._buffer[start : start + MAX_PDU + 3]
            size = self._size_at(rest)
            if size > len(rest):
                if size <= MAX_PDU + 3:
                    begun_at = min(begun_at, start)
            elif size and rtu_intact(rest[:size]):
                self._cut(start, start + size)
                return rest[:size]
        self._cut(begun_at, begun_at)
        return None

    def _cut(self, skipped: int, upto: int) -> None:
        self.skipped += skipped
        self._buffer = self._buffer[upto:]


@dataclass(frozen=True, slots=True)
class TcpFrame:
    """One MBAP frame; `pdu` is function code and data."""

    transaction_id: int
    unit: int
    pdu: bytes

    @property
    def size(self) -> int:
        return _MBAP + 1 + len(self.pdu)


class TcpDeframer:
    """MBAP frames out of a TCP stream. A header that cannot be one (protocol not 0, length not 2..254) costs one byte."""

    def __init__(self) -> None:
        self._buffer = b""
        self.skipped = 0

    @property
    def begun(self) -> bool:
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[TcpFrame]:
        """The frames completed by these bytes, in order."""
        stream, at, found = self._buffer + data, 0, []
        while len(stream) - at >= _MBAP:
            length = int.from_bytes(stream[at + 4 : at + 6], "big")
            if stream[at + 2 : at + 4] != b"\0\0" or not 2 <= length <= MAX_PDU + 1:
                at += 1
                self.skipped += 1
                continue
            frame = stream[at : at + _MBAP + length]
            if len(frame) < _MBAP + length:
                break
            found.append(TcpFrame(int.from_bytes(frame[:2], "big"), frame[6], frame[7:]))
            at += len(frame)
        self._buffer = stream[at:]
        return found

    def drop(self) -> None:
        """Gives up what is left: it counts as skipped."""
        self.skipped += len(self._buffer)
        self._buffer = b""
