"""The other side of the wire: requests out of a stream, and the bytes of their answers. It holds no registers."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteMultipleCoilsResponse,
    WriteSingleCoilRequest,
    WriteSingleCoilResponse,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
    WriteSingleRegisterResponse,
)

from protocols.modbus.frames import REQUESTS, RtuScanner, TcpDeframer, rtu_pack, rtu_size, tcp_pack

BROADCAST = 0  # obeyed by every unit on a serial line, answered by none
_REQUESTS: dict[int, type[ModbusPDU]] = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
    5: WriteSingleCoilRequest,
    6: WriteSingleRegisterRequest,
    15: WriteMultipleCoilsRequest,
    16: WriteMultipleRegistersRequest,
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a master asked.

    values: registers to write, or coils to write as 0 and 1; empty for reads. transaction_id: None on a serial line.
    fault: the exception that the standard asks for (1 unknown function, 3 count or value out of range), 0 when it can be served.
    """

    unit: int
    function: int
    address: int
    count: int
    values: tuple[int, ...] = ()
    transaction_id: int | None = None
    fault: int = 0


class RtuSlave:
    """Requests to any of `units`, and broadcasts, out of what a serial line carries. Feed it no bytes that it sent itself."""

    def __init__(self, units: Collection[int]) -> None:
        self._units = frozenset(units) | {BROADCAST}
        self._scanner = RtuScanner(self._size_at)

    @property
    def skipped(self) -> int:
        """Bytes that belonged to no request for these units."""
        return self._scanner.skipped

    def feed(self, data: bytes) -> list[Request]:
        """The requests completed by these bytes, in order."""
        return [_request(frame[0], frame[1:-2], None) for frame in self._scanner.feed(data)]

    def silence(self) -> None:
        """The line was quiet for 3.5 characters or more: a frame that has not ended never will."""
        self._scanner.drop()

    def _size_at(self, data: bytes) -> int:
        return rtu_size(REQUESTS, data) if data[0] in self._units else 0


class TcpSlave:
    """Requests out of one TCP connection, for any of `units` (None: for every unit)."""

    def __init__(self, units: Collection[int] | None = None) -> None:
        self._units = units
        self._deframer = TcpDeframer()

    @property
    def skipped(self) -> int:
        """Bytes that belonged to no request for these units."""
        return self._deframer.skipped

    def feed(self, data: bytes) -> list[Request]:
        """The requests completed by these bytes, in order."""
        requests = []
        for frame in self._deframer.feed(data):
            if self._units is None or frame.unit in self._units:
                requests.append(_request(frame.unit, frame.pdu, frame.transaction_id))
            else:
                self._deframer.skipped += frame.size
        return requests


def answer(request: Request, values: Sequence[int] = ()) -> bytes:
    """The good answer: `values` are the registers or bits read (exactly `count`); writes need none. Empty for a broadcast."""
    reads = request.function <= 4
    if reads and len(values) != request.count:
        raise ValueError(f"the request asks for {request.count} values, not {len(values)}")
    response: ModbusPDU
    if request.function in (1, 2):
        response = ReadCoilsResponse(bits=[bool(value) for value in values])
    elif reads:
        response = ReadHoldingRegistersResponse(registers=list(values))
    elif request.function == 5:
        response = WriteSingleCoilResponse(address=request.address, bits=[bool(request.values[0])])
    elif request.function == 6:
        response = WriteSingleRegisterResponse(address=request.address, registers=list(request.values))
    else:
        kind = WriteMultipleCoilsResponse if request.function == 15 else WriteMultipleRegistersResponse
        response = kind(address=request.address, count=request.count)
    return _pack(request, bytes([request.function]) + response.encode())


def exception(request: Request, code: int) -> bytes:
    """The refusal with this exception code. Empty for a broadcast."""
    return _pack(request, bytes([request.function | 0x80]) + ExceptionResponse(request.function, code).encode())


def _pack(request: Request, pdu: bytes) -> bytes:
    if request.transaction_id is not None:
        return tcp_pack(request.unit, pdu, request.transaction_id)
    return b"" if request.unit == BROADCAST else rtu_pack(request.unit, pdu)


def _request(unit: int, pdu: bytes, transaction_id: int | None) -> Request:
    function, body = pdu[0], pdu[1:]
    if function not in _REQUESTS:
        return Request(unit, function, 0, 0, (), transaction_id, fault=1)
    message = _REQUESTS[function]()
    try:
        message.decode(body)
    except (ValueError, IndexError, struct.error):
        return Request(unit, function, 0, 0, (), transaction_id, fault=3)
    values = tuple(int(value) for value in (message.bits if function in (5, 15) else message.registers))
    count = len(values) if function in (5, 6) else message.count
    fault = 0 if _sound(function, body, count, len(values)) else 3
    return Request(unit, function, message.address, count, values, transaction_id, fault)


def _sound(function: int, body: bytes, count: int, carried: int) -> bool:
    """What pymodbus lets pass and the standard does not: lengths, the two coil values, counts of written registers."""
    if function == 5:
        return len(body) == 4 and body[2:4] in (b"\xff\x00", b"\x00\x00")
    if function <= 6:
        return len(body) == 4
    size = (count + 7) // 8 if function == 15 else count * 2
    return carried == count and 1 <= size <= 246 and body[4] == size == len(body) - 5
