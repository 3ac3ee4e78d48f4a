"""The asking side of DL/T 645-1997: what differs from 2007 (dlt645.md 9). BroadcastTime (08) is the same bytes in both."""

from __future__ import annotations

from protocols.bcd import encode_digits
from protocols.dlt645 import codes
from protocols.dlt645.frames import ANY, BROADCAST, Dialect, Frame
from protocols.dlt645.master_read import Read
from protocols.dlt645.question import Order, Plain, Question, authority, identifier, one_meter
from protocols.errors import RequestError
from protocols.exchange import Done, Step


class Read97(Read):
    """Reads one identifier of 4 hex digits (01, then 02). Done with ReadAnswer.

    extra: what load records want behind the identifier, in wire order; its form differs from maker to maker.
    """

    def __init__(self, address: str, di: str, preamble: int = 4, extra: bytes = b"") -> None:
        super().__init__(address, di, preamble)
        self._extra = extra

    def _question(self) -> bytes:
        if self._dialect is not Dialect.V1997:
            raise RequestError(f"{self._di!r} is not an identifier of 4 hex digits")
        return super()._question() + self._extra


class Write97(Plain):
    """Writes one identifier (04; no operator). Done(None): accepted. point_to_point: AA x 6 for the only meter of a line."""

    def __init__(
        self,
        address: str,
        di: str,
        data: bytes,
        level: int = 0,
        password: bytes | str = "000000",
        preamble: int = 4,
        *,
        point_to_point: bool = False,
    ) -> None:
        super().__init__(address, codes.WRITE_1997, Dialect.V1997, preamble, point_to_point)
        self._di, self._data, self._level, self._password = di.upper(), data, level, password

    def _question(self) -> bytes:
        return identifier(self._di, 4) + authority(self._level, self._password) + self._data


class WriteAddress97(Question[str]):
    """Gives the only meter of a line a new address (0A). Done with the new address.

    address: 99 x 6 or AA x 6, as the maker has it: 1997's payload of 0A is known from one source (dlt645.md 12).
    """

    def __init__(self, new: str, address: str = BROADCAST, preamble: int = 4) -> None:
        super().__init__(address, codes.WRITE_ADDRESS_1997, Dialect.V1997, preamble)
        self._new = new

    def _question(self) -> bytes:
        one_meter(self._new)
        if self._address not in (ANY, BROADCAST):
            one_meter(self._address)
        return encode_digits(self._new)

    def _is_from_ours(self, address: str) -> bool:
        return address == self._new

    def _answer(self, frame: Frame) -> Step[str] | None:
        """Some repeat the address, some answer with nothing."""
        return Done(self._new) if frame.data in (b"", encode_digits(self._new)) else None


class ChangeSpeed97(Order[int]):
    """Changes the speed (0C). word: the characteristic byte, which sources read differently (`codes.SPEEDS_1997`). Done with it."""

    def __init__(self, address: str, word: int, preamble: int = 4) -> None:
        super().__init__(address, codes.CHANGE_SPEED_1997, Dialect.V1997, preamble)
        self._word = word

    def _question(self) -> bytes:
        if not 0 < self._word < 256 or self._word.bit_count() != 1:
            raise RequestError(f"a speed is one bit of a byte, not {self._word}")
        return bytes([self._word])

    def _answer(self, frame: Frame) -> Step[int]:
        return self._echoed(frame, bytes([self._word]), self._word)


class ChangePassword97(Order[None]):
    """Replaces a password (0F): the old with its level, then the new with its level. Done(None): the meter repeats the new one."""

    def __init__(
        self,
        address: str,
        old: bytes | str,
        new: bytes | str,
        old_level: int = 0,
        level: int = 0,
        preamble: int = 4,
    ) -> None:
        super().__init__(address, codes.CHANGE_PASSWORD_1997, Dialect.V1997, preamble)
        self._old, self._new, self._old_level, self._level = old, new, old_level, level

    def _question(self) -> bytes:
        return authority(self._old_level, self._old) + authority(self._level, self._new)

    def _answer(self, frame: Frame) -> Step[None]:
        return self._echoed(frame, authority(self._level, self._new), None)


class DemandReset97(Plain):
    """Sets the maximum demands to zero (10). Done(None): accepted. Its payload, level and password, rests on one source."""

    def __init__(self, address: str, level: int = 0, password: bytes | str = "000000", preamble: int = 4) -> None:
        super().__init__(address, codes.DEMAND_RESET_1997, Dialect.V1997, preamble)
        self._level, self._password = level, password

    def _question(self) -> bytes:
        return authority(self._level, self._password)
