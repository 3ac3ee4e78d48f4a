"""Modbus questions as exchanges (protocols/exchange.py), the same for RTU and TCP. Modbus Application Protocol V1.1b3, 6.1 to 6.12.

An answer counts only when unit, function, shape and (on TCP) transaction id are those of the question; all else is skipped.
RTU answers to reads carry no address: a late answer of the same shape to an earlier question cannot be told from ours, so the
driver keeps the line silent after a time-out. The echo of a write with 05H or 06H equals its answer: the driver strips echoes,
and a switch is judged by reading it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from protocols.errors import Malformed, Refused, RequestError
from protocols.exchange import Done, NeedMore, Step
from protocols.modbus.frames import EXCEPTIONS, FUNCTIONS, MAX_UNIT, Framing, RtuScanner, TcpDeframer, rtu_pack, tcp_pack

MAX_READ_REGISTERS = 125  # 6.3
MAX_READ_BITS = 2000  # 6.1
MAX_WRITE_REGISTERS = 123  # 6.12

T = TypeVar("T")


class _Question(Generic[T]):
    """One request and the shape of its answer: what stands after the function code, and how many bytes the PDU has."""

    answered = True

    def __init__(
        self, unit: int, function: int, address: int, count: int, framing: Framing = "rtu", transaction_id: int = 0
    ) -> None:
        self.skipped = 0
        self._unit = unit
        self._function = function
        self._address = address
        self._count = count
        self._framing = framing
        self._transaction_id = transaction_id
        self._asked = b""
        self._head = b""
        self._size = 0
        self._rtu = RtuScanner(self._size_at)
        self._tcp = TcpDeframer()

    def start(self) -> bytes:
        """The bytes of the question. Raises RequestError when it cannot be asked."""
        if not 1 <= self._unit <= MAX_UNIT:
            raise RequestError(f"a Modbus address is 1 to {MAX_UNIT}, not {self._unit}")
        if not 0 <= self._transaction_id <= 0xFFFF:
            raise RequestError(f"a transaction id is 0 to 65535, not {self._transaction_id}")
        request = self._build()
        if not 0 <= self._address <= 0x10000 - self._count:
            raise RequestError(f"{self._count} from address {self._address} on are not all within 0 to 65535")
        self._asked = bytes([self._function]) + request.encode()
        if self._framing == "rtu":
            return rtu_pack(self._unit, self._asked)
        return tcp_pack(self._unit, self._asked, self._transaction_id)

    def feed(self, data: bytes) -> Step[T]:
        """What to do after these bytes. Raises Malformed or Refused; after either the exchange is over."""
        answer = self._rtu_answer(data) if self._framing == "rtu" else self._tcp_answer(data)
        if answer is None:
            return NeedMore(begun=self._rtu.begun or self._tcp.begun)
        if answer[0] & 0x80:
            raise Refused(answer[1:2], (EXCEPTIONS[answer[1]],) if answer[1] in EXCEPTIONS else ())
        return Done(self._result(answer[1:]))

    def silence(self) -> Step[T]:
        """A silent line brings nothing new: the length decides where an answer ends, and stray bytes are passed over at once."""
        return NeedMore()

    def _rtu_answer(self, data: bytes) -> bytes | None:
        frames = self._rtu.feed(data)
        if frames:
            self._rtu.drop()
        self.skipped = self._rtu.skipped + sum(map(len, frames[1:]))
        return frames[0][1:-2] if frames else None

    def _tcp_answer(self, data: bytes) -> bytes | None:
        answer: bytes | None = None
        for frame in self._tcp.feed(data):
            mine = frame.unit == self._unit and frame.transaction_id == self._transaction_id
            if answer is None and mine and self._pdu_size(frame.pdu) == len(frame.pdu):
                answer = frame.pdu
            else:
                self._tcp.skipped += frame.size
        if answer is not None:
            self._tcp.drop()
        self.skipped = self._tcp.skipped
        return answer

    def _size_at(self, data: bytes) -> int:
        size = self._pdu_size(data[1:]) if data[0] == self._unit else 0
        return size and size + 3

    def _pdu_size(self, pdu: bytes) -> int:
        """Length of the answer that begins so; 0 when it cannot be one. An empty start may still become one."""
        if pdu[:1] == bytes([self._function | 0x80]):
            return 2
        want = bytes([self._function]) + self._head
        return self._size if want[: len(pdu)] == pdu[: len(want)] else 0

    def _build(self) -> ModbusPDU:
        """The request, and with it `_head` and `_size` of the answer. Raises RequestError."""
        raise NotImplementedError

    def _result(self, body: bytes) -> T:
        raise NotImplementedError


class _Read(_Question[T]):
    """A read: the answer is a byte count and that many bytes."""

    def _read(self, what: str, kinds: Mapping[int, type[ModbusPDU]], most: int, size: int) -> ModbusPDU:
        if self._function not in kinds:
            raise RequestError(f"{what} are read with function {' or '.join(map(str, kinds))}, not {self._function}")
        if not 1 <= self._count <= most:
            raise RequestError(f"one read takes 1 to {most} {what}, not {self._count}")
        self._head, self._size = bytes([size]), 2 + size
        return kinds[self._function](address=self._address, count=self._count)


class ReadRegisters(_Read[tuple[int, ...]]):
    """Reads `count` (1..125) holding (function 3) or input (function 4) registers from `address` (0-based, as on the wire)."""

    def _build(self) -> ModbusPDU:
        kinds = {3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest}
        return self._read("registers", kinds, MAX_READ_REGISTERS, self._count * 2 & 0xFF)

    def _result(self, body: bytes) -> tuple[int, ...]:
        response = ReadHoldingRegistersResponse()
        response.decode(body)
        return tuple(response.registers)


class ReadBits(_Read[tuple[bool, ...]]):
    """Reads `count` (1..2000) coils (function 1) or discrete inputs (function 2) from `address`."""

    def _build(self) -> ModbusPDU:
        kinds = {1: ReadCoilsRequest, 2: ReadDiscreteInputsRequest}
        return self._read("bits", kinds, MAX_READ_BITS, (self._count + 7) // 8 & 0xFF)

    def _result(self, body: bytes) -> tuple[bool, ...]:
        response = ReadCoilsResponse()
        response.decode(body)
        return tuple(response.bits[: self._count])


class _Write(_Question[None]):
    """A write: the answer must repeat the four bytes that follow the function code (address, value or quantity)."""

    def _write(self, request: ModbusPDU, values: Sequence[int] = ()) -> ModbusPDU:
        for value in values:
            if not 0 <= value <= 0xFFFF:
                raise RequestError(f"a register holds 0 to 65535, not {value}")
        self._size = 5
        return request

    def _result(self, body: bytes) -> None:
        if body != self._asked[1:5]:
            name = FUNCTIONS[self._function]
            raise Malformed(f"the answer to {name} repeats {body.hex().upper()}, not {self._asked[1:5].hex().upper()}")


class WriteRegister(_Write):
    """Writes one holding register with function 06H. value: 0..65535."""

    def __init__(self, unit: int, address: int, value: int, framing: Framing = "rtu", transaction_id: int = 0) -> None:
        super().__init__(unit, 6, address, 1, framing, transaction_id)
        self._value = value

    def _build(self) -> ModbusPDU:
        return self._write(WriteSingleRegisterRequest(address=self._address, registers=[self._value]), [self._value])


class WriteRegisters(_Write):
    """Writes 1..123 holding registers with function 10H. values: 0..65535 each."""

    def __init__(self, unit: int, address: int, values: Sequence[int], framing: Framing = "rtu", transaction_id: int = 0) -> None:
        super().__init__(unit, 16, address, len(values), framing, transaction_id)
        self._values = list(values)

    def _build(self) -> ModbusPDU:
        if not 1 <= self._count <= MAX_WRITE_REGISTERS:
            raise RequestError(f"one write takes 1 to {MAX_WRITE_REGISTERS} registers, not {self._count}")
        return self._write(WriteMultipleRegistersRequest(address=self._address, registers=self._values), self._values)


class WriteCoil(_Write):
    """Writes one coil with function 05H."""

    def __init__(self, unit: int, address: int, on: bool, framing: Framing = "rtu", transaction_id: int = 0) -> None:
        super().__init__(unit, 5, address, 1, framing, transaction_id)
        self._on = on

    def _build(self) -> ModbusPDU:
        return self._write(WriteSingleCoilRequest(address=self._address, bits=[self._on]))
