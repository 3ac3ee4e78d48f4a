"""The asking side of DL/T 645: reads, address search, control (1C) and broadcast time, each an exchange (protocols.exchange)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Generic, NoReturn, TypeVar

from protocols.bcd import decode_digits, encode_digits
from protocols.dlt645 import codes
from protocols.dlt645.codes import control_flags, error_flags
from protocols.dlt645.frames import ANY, BROADCAST, Deframer, Dialect, Frame, covers, encode
from protocols.dlt645.identifiers import decode, describe
from protocols.dlt645.status import RelayState, relay_state
from protocols.dlt645.values import encode_second
from protocols.errors import Malformed, ProtocolError, Refused, RequestError
from protocols.exchange import Done, NeedMore, Send, Step
from protocols.quantities import Measurement

__all__ = ["Action", "BroadcastTime", "Control", "ControlAnswer", "Read", "ReadAddress", "ReadAnswer", "RelayState", "relay_state"]

T = TypeVar("T")
MAX_FOLLOW_UPS = 255
"""SEQ is one byte and begins with 1."""
_PATTERN = re.compile(r"(?:AA)*(?:\d\d)*")


class _Question(Generic[T]):
    """What every exchange shares: finding the frames that answer, counting the bytes that do not, and ending once."""

    answered = True

    def __init__(self, address: str, function: int, dialect: Dialect, preamble: int) -> None:
        self.skipped = 0
        self._address, self._function, self._dialect, self._preamble = address, function, dialect, preamble
        self._deframer = Deframer()
        self._foreign = 0
        self._over = False

    def start(self) -> bytes:
        """The bytes of the question. Raises RequestError when it cannot be asked."""
        return self._ask(self._question())

    def feed(self, data: bytes) -> Step[T]:
        """What to do after these bytes. Raises Malformed or Refused; after either, and after Done, the exchange is over."""
        return self._consume(self._deframer.feed(data))

    def silence(self) -> Step[T]:
        """The byte gap has passed inside a frame: gives up false starts and looks at what stood behind them."""
        return self._consume(self._deframer.flush())

    def _question(self) -> bytes:
        """DATA of the first question."""
        raise NotImplementedError

    def _answer(self, frame: Frame) -> Step[T] | None:
        """Judges a normal answer of our meter to our function; None when it answers another question."""
        raise NotImplementedError

    def _ask(self, data: bytes) -> bytes:
        return encode(Frame(self._address, self._function, data), self._preamble)

    def _consume(self, frames: Iterable[Frame]) -> Step[T]:
        if self._over:
            raise RequestError("this exchange is over")
        step: Step[T] | None = None
        try:
            for frame in frames:
                judged = None if step else self._judge(frame)
                step = step or judged
                self._foreign += 0 if judged else frame.size
            self._over = isinstance(step, Done)
        except ProtocolError:
            self._over = True
            raise
        finally:
            self.skipped = self._foreign + self._deframer.skipped + (self._deframer.pending if self._over else 0)
        return step or NeedMore(begun=self._deframer.pending > 0)

    def _judge(self, frame: Frame) -> Step[T] | None:
        """None for an echo, another meter's frame, or the answer to another question."""
        if not frame.is_response or frame.function != self._function or not self._is_from_ours(frame.address):
            return None
        return self._refuse(frame) if frame.is_error else self._answer(frame)

    def _is_from_ours(self, address: str) -> bool:
        """Some meters answer a wildcard with the wildcard; many 1997 meters answer reads of 99 x 6 with their own address."""
        return covers(self._address, address) or (self._dialect is Dialect.V1997 and self._address == BROADCAST)

    def _refuse(self, frame: Frame) -> NoReturn:
        if not frame.data:
            raise Malformed("an error answer without an error word")
        raise Refused(frame.data, error_flags(frame.function, frame.data, self._dialect))


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """address: as the meter gave it; data: the payload behind the DI, all parts; items: its measurements, none if unknown."""

    address: str
    di: str
    data: bytes
    items: tuple[Measurement, ...]


class Read(_Question[ReadAnswer]):
    """Reads one identifier: 8 hex digits ask in 2007 (11, then 12 with SEQ), 4 hex digits in 1997 (01, then 02).

    address: 12 digits, high pair first; leading pairs may be AA (any), in 1997 also 99 x 6. Done with ReadAnswer.
    """

    def __init__(self, address: str, di: str, preamble: int = 4) -> None:
        old = len(di) == 4
        super().__init__(address, codes.READ_1997 if old else codes.READ, Dialect.V1997 if old else Dialect.V2007, preamble)
        self._di = di.upper()
        self._wire_di = b""
        self._data = b""
        self._seq = 0

    def _question(self) -> bytes:
        if not re.fullmatch(r"[0-9A-F]{4}|[0-9A-F]{8}", self._di):
            raise RequestError(f"{self._di!r} is not an identifier of 8 or 4 hex digits")
        if len(self._address) != 12 or not _PATTERN.fullmatch(self._address):
            raise RequestError(f"{self._address!r} is not 12 digits, nor AA pairs followed by digits")
        if self._address == BROADCAST and self._dialect is Dialect.V2007:
            raise RequestError("nobody answers a read of the broadcast address")
        self._wire_di = encode_digits(self._di)
        return self._wire_di

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
        item = describe(self._di, self._dialect)
        if item and item.cut(self._data) is None:
            raise Malformed(f"{self._di} came with {len(self._data)} bytes, which are not its values: {self._data.hex().upper()}")
        return ReadAnswer(address, self._di, self._data, tuple(decode(self._di, self._data, self._dialect)))


class ReadAddress(_Question[str]):
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


class Action(IntEnum):
    """N1 of control 1C."""

    CUT = 0x1A
    ALLOW_CLOSE = 0x1B
    CLOSE = 0x1C
    CUT_THEN_CLOSE = 0x1D
    CUT_THEN_ALLOW = 0x1E
    ALARM_ON = 0x2A
    ALARM_OFF = 0x2B
    PROTECT_ON = 0x3A
    PROTECT_OFF = 0x3B


@dataclass(frozen=True, slots=True)
class ControlAnswer:
    """The meter accepted the command, which does not mean that it was carried out: read the relay back.

    word: empty, or the 2 bytes of the extended answer in wire order; flags: its bits in words.
    """

    word: bytes

    @property
    def flags(self) -> tuple[str, ...]:
        """The set bits of `word` in words."""
        return control_flags(self.word)


class Control(_Question[ControlAnswer]):
    """Cuts, allows, closes, alarms or protects (1C in plain text, dlt645.md 5). Done with ControlAnswer.

    expiry: until when the meter may obey, naive, on the meter's own clock; None sends zeros, which only lax meters accept.
    level: authority 0 to 9. password: 6 digits, high pair first, or its 3 bytes in wire order. operator: 8 digits.
    n2: for the CUT_THEN actions the pause before supply returns, in units of 5 minutes (1 to 255); else reserved.
    """

    def __init__(
        self,
        address: str,
        action: Action,
        expiry: datetime | None,
        level: int = 2,
        password: bytes | str = "000000",
        operator: str = "00000000",
        n2: int = 0,
        preamble: int = 4,
    ) -> None:
        super().__init__(address, codes.CONTROL, Dialect.V2007, preamble)
        self._action, self._expiry, self._n2 = action, expiry, n2
        self._level, self._password, self._operator = level, password, operator

    def _question(self) -> bytes:
        if not re.fullmatch(r"[0-9]{12}", self._address) or self._address == BROADCAST:
            raise RequestError(f"a control command goes to one meter of 12 digits, not to {self._address!r}")
        if not 0 <= self._level <= 9:
            raise RequestError(f"authority level {self._level} is not 0 to 9")
        timed = self._action in (Action.CUT_THEN_CLOSE, Action.CUT_THEN_ALLOW)
        if not (1 if timed else 0) <= self._n2 <= 255:
            raise RequestError(f"n2 is {self._n2}, not {'1' if timed else '0'} to 255")
        expiry = bytes(6) if self._expiry is None else encode_second(self._expiry)
        password = _digits("password", self._password, 3)
        operator = _digits("operator", self._operator, 4)
        return bytes([self._level]) + password + operator + bytes([Action(self._action), self._n2]) + expiry

    def _answer(self, frame: Frame) -> Step[ControlAnswer]:
        if len(frame.data) not in (0, 2):
            raise Malformed(f"a control answer has 0 or 2 bytes, not {len(frame.data)}")
        return Done(ControlAnswer(frame.data))

    def _refuse(self, frame: Frame) -> NoReturn:
        if len(frame.data) > 2:
            raise Malformed(f"a control refusal has 1 or 2 bytes, not {len(frame.data)}")
        super()._refuse(frame)


class BroadcastTime(_Question[None]):
    """Tells all meters of a line the time (08); each obeys within 5 minutes of its own clock, once a day. Nobody answers.

    when: naive, in the meters' own local time. address: some vendors take it for one meter, outside the standard.
    """

    answered = False

    def __init__(self, when: datetime, address: str = BROADCAST, preamble: int = 4) -> None:
        super().__init__(address, codes.BROADCAST_TIME, Dialect.V2007, preamble)
        self._when = when

    def _question(self) -> bytes:
        if not re.fullmatch(r"[0-9]{12}", self._address):
            raise RequestError(f"{self._address!r} is not 12 digits")
        return encode_second(self._when)

    def _answer(self, frame: Frame) -> None:
        return None


def _digits(what: str, value: bytes | str, length: int) -> bytes:
    data = value
    if isinstance(value, str):
        data = encode_digits(value) if re.fullmatch(r"[0-9]*", value) and len(value) == 2 * length else b""
    if not isinstance(data, bytes) or len(data) != length:
        raise RequestError(f"the {what} is not {2 * length} digits")
    return data
