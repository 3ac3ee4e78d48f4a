"""Questions that change nothing: 11 with 12, 13, and in 1997 01 with 02, and 03."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from protocols.bcd import decode_digits, encode_bcd, encode_digits
from protocols.dlt645 import codes
from protocols.dlt645.frames import ANY, BROADCAST, Dialect, Frame, covers
from protocols.dlt645.identifiers import describe, measure, measurements
from protocols.dlt645.items import FieldValue
from protocols.dlt645.question import Question, readable
from protocols.dlt645.values import encode_minute
from protocols.errors import Malformed, RequestError
from protocols.exchange import Done, Send, Step
from protocols.quantities import Measurement

MAX_FOLLOW_UPS = 255
"""SEQ is one byte and begins with 1."""
_LOAD = "06"


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """address: as the meter gave it; data: the payload behind the DI, all parts; items: its measurements, none if unknown."""

    address: str
    di: str
    data: bytes
    items: tuple[Measurement, ...]

    @property
    def fields(self) -> tuple[FieldValue, ...]:
        """All values, texts and times too; none for an unknown identifier."""
        item = describe(self.di, _dialect(self.di))
        return tuple((item.read(self.data) if item else None) or ())


class Read(Question[ReadAnswer]):
    """Reads one identifier: 8 hex digits ask in 2007 (11, then 12 with SEQ), 4 hex digits in 1997 (01, then 02).

    address: 12 digits, high pair first; leading pairs may be AA (any), in 1997 also 99 x 6. Done with ReadAnswer.
    count, when: only for load profile (06): how many records, 1 to 99, and the naive meter-local time of the first one.
    """

    def __init__(self, address: str, di: str, preamble: int = 4, *, count: int | None = None, when: datetime | None = None) -> None:
        old = len(di) == 4
        super().__init__(address, codes.READ_1997 if old else codes.READ, _dialect(di), preamble)
        self._di = di.upper()
        self._count, self._when = count, when
        self._wire_di = b""
        self._data = b""
        self._seq = 0

    def _question(self) -> bytes:
        self._wire_di = _wire(self._di)
        readable(self._address)
        if self._address == BROADCAST and self._dialect is Dialect.V2007:
            raise RequestError("nobody answers a read of the broadcast address")
        return self._wire_di + self._which_records()

    def _which_records(self) -> bytes:
        if self._count is None and self._when is None:
            return b""
        if self._dialect is Dialect.V1997 or not self._di.startswith(_LOAD):
            raise RequestError(f"{self._di} is no load profile: only there one asks for a number of records")
        if self._count is None or not 1 <= self._count <= 99:
            raise RequestError(f"{self._count} records are not 1 to 99")
        return encode_bcd(self._count, 1) + (b"" if self._when is None else encode_minute(self._when))

    def _answer(self, frame: Frame) -> Step[ReadAnswer] | None:
        if len(frame.data) < len(self._wire_di):
            raise Malformed(f"the answer to {self._di} has {len(frame.data)} bytes, not even the identifier")
        if not frame.data.startswith(self._wire_di):
            return None
        self._data += self._part(frame.data[len(self._wire_di) :])
        if "AA" not in frame.address:
            self._address = frame.address  # what follows is asked of, and awaited from, this meter alone
        return self._next() if frame.more else Done(self._result(frame.address))

    def _part(self, payload: bytes) -> bytes:
        """The payload without SEQ, which closes every follow-up of 2007."""
        if not self._seq or self._dialect is Dialect.V1997:
            return payload
        if not payload or payload[-1] != self._seq:
            raise Malformed(f"follow-up {self._seq} of {self._di} ends with {payload[-1:].hex() or 'nothing'}, not with its SEQ")
        return payload[:-1]

    def _next(self) -> Send:
        if self._seq == MAX_FOLLOW_UPS:
            raise Malformed(f"more than {MAX_FOLLOW_UPS} follow-up frames for {self._di}")
        self._seq += 1
        if self._dialect is Dialect.V1997:
            self._function = codes.READ_NEXT_1997
            return Send(self._ask(self._wire_di))
        self._function = codes.READ_NEXT
        return Send(self._ask(self._wire_di + bytes([self._seq])))

    def _result(self, address: str) -> ReadAnswer:
        found = measure(self._di, self._data, self._dialect)
        if found is None:
            raise Malformed(f"{self._di} came with {len(self._data)} bytes, which are not its values: {self._data.hex().upper()}")
        return ReadAnswer(address, self._di, self._data, tuple(found))


class Reread97(Question[ReadAnswer]):
    """Asks a 1997 meter to say its last answer again (03). di: what that answer was about. Done with ReadAnswer."""

    def __init__(self, address: str, di: str, preamble: int = 4) -> None:
        super().__init__(address, codes.REREAD_1997, Dialect.V1997, preamble)
        self._di = di.upper()

    def _question(self) -> bytes:
        if not re.fullmatch(r"[0-9A-F]{4}", self._di):
            raise RequestError(f"{self._di!r} is not an identifier of 4 hex digits")
        readable(self._address)
        return b""

    def _answer(self, frame: Frame) -> Step[ReadAnswer] | None:
        if not frame.data.startswith(encode_digits(self._di)):
            return None
        payload = frame.data[2:]
        item = describe(self._di, Dialect.V1997)
        found = item.read(payload) if item else []
        if found is None:
            raise Malformed(f"{self._di} came with {len(payload)} bytes, which are not its values: {payload.hex().upper()}")
        return Done(ReadAnswer(frame.address, self._di, payload, tuple(measurements(found))))


class ReadAddress(Question[str]):
    """Asks the only meter of a line for its address (13 to AA x 6). Done with 12 digits."""

    def __init__(self, preamble: int = 4) -> None:
        super().__init__(ANY, codes.READ_ADDRESS, Dialect.V2007, preamble)

    def _question(self) -> bytes:
        return b""

    def _answer(self, frame: Frame) -> Step[str]:
        address = decode_digits(frame.data)
        if len(frame.data) != 6 or not address.isdecimal() or not covers(frame.address, address):
            raise Malformed(f"{frame.data.hex().upper()} from {frame.address} is no address")
        return Done(address)


@lru_cache(maxsize=1024)  # every poll asks for the same few
def _wire(di: str) -> bytes:
    if not re.fullmatch(r"[0-9A-F]{4}|[0-9A-F]{8}", di):
        raise RequestError(f"{di!r} is not an identifier of 8 or 4 hex digits")
    return encode_digits(di)


def _dialect(di: str) -> Dialect:
    return Dialect.V1997 if len(di) == 4 else Dialect.V2007
