"""What every exchange of the asking side shares: which frames answer it, which bytes do not, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Generic, NoReturn, TypeVar

from protocols.bcd import encode_digits
from protocols.dlt645.codes import LEVELS, error_flags
from protocols.dlt645.frames import ANY, BROADCAST, Deframer, Dialect, Frame, covers, encode
from protocols.errors import Malformed, ProtocolError, Refused, RequestError
from protocols.exchange import Done, NeedMore, Step

T = TypeVar("T")
_PATTERN = re.compile(r"(?:AA)*(?:[0-9]{2})*")
_METER = re.compile(r"[0-9]{12}")


class Question(Generic[T]):
    """Finds the frames that answer, counts the bytes that do not, and ends once.

    A frame answers when it comes from our meter, to our function, and is what `_answer` waits for: the echo of the question,
    other meters' frames and answers to other questions are skipped and counted, never taken (dlt645.md 10.3).
    """

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


class Order(Question[T]):
    """A question that changes something: it goes to one meter, and an empty answer says that it was accepted.

    point_to_point: AA x 6 may stand for the only meter of the line, which some makers want for writing.
    """

    def __init__(
        self, address: str, function: int, dialect: Dialect = Dialect.V2007, preamble: int = 4, point_to_point: bool = False
    ) -> None:
        super().__init__(address, function, dialect, preamble)
        self._point_to_point = point_to_point

    def start(self) -> bytes:
        """The bytes of the order. Raises RequestError when it cannot be given."""
        if not (self._point_to_point and self._address == ANY):
            one_meter(self._address)
        return super().start()

    def _echoed(self, frame: Frame, expected: bytes, result: T) -> Done[T]:
        """Done when the answer repeats what it must; an answer with something else is no acceptance."""
        if frame.data != expected:
            raise Malformed(f"the answer to {frame.function:02X} holds {frame.data.hex().upper()}, not {expected.hex().upper()}")
        return Done(result)


class Plain(Order[None]):
    """An order whose answer is empty. Done(None): accepted; nothing more is proved."""

    def _answer(self, frame: Frame) -> Step[None]:
        return self._echoed(frame, b"", None)


def one_meter(address: str) -> None:
    """Raises RequestError unless this is the address of one meter."""
    if not _METER.fullmatch(address) or address == BROADCAST:
        raise RequestError(f"this goes to one meter of 12 digits, not to {address!r}")


@lru_cache(maxsize=4096)  # the meters of a gateway
def readable(address: str) -> None:
    """Raises RequestError unless one can read from this: 12 digits, of which the leading pairs may be AA."""
    if len(address) != 12 or not _PATTERN.fullmatch(address):
        raise RequestError(f"{address!r} is not 12 digits, nor AA pairs followed by digits")


def digits(what: str, value: bytes | str, length: int) -> bytes:
    """The bytes of digits written high pair first, or of bytes already in wire order. Raises RequestError for another length."""
    data = value
    if isinstance(value, str):
        data = encode_digits(value) if re.fullmatch(r"[0-9]*", value) and len(value) == 2 * length else b""
    if not isinstance(data, bytes) or len(data) != length:
        raise RequestError(f"the {what} is not {2 * length} digits")
    return data


def authority(level: int, password: bytes | str) -> bytes:
    """PA P0 P1 P2. password: 6 digits, high pair first, or its 3 bytes in wire order. Raises RequestError."""
    if level not in LEVELS:
        raise RequestError(f"authority level {level} is not 0 to 9")
    return bytes([level]) + digits("password", password, 3)


def credentials(level: int, password: bytes | str, operator: str) -> bytes:
    """PA P0 P1 P2 C0 C1 C2 C3. operator: 8 digits. Raises RequestError."""
    return authority(level, password) + digits("operator", operator, 4)


def identifier(di: str, length: int = 8) -> bytes:
    """The wire bytes of an identifier. Raises RequestError for other than `length` hex digits."""
    if not re.fullmatch(rf"[0-9A-Fa-f]{{{length}}}", di):
        raise RequestError(f"{di!r} is not an identifier of {length} hex digits")
    return encode_digits(di)
