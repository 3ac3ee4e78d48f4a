"""Questions that change a meter: write (14), address (15), password (18), resets and clearances (19, 1A, 1B)."""

from __future__ import annotations

from protocols.bcd import encode_digits
from protocols.dlt645 import codes
from protocols.dlt645.frames import ANY, Dialect, Frame
from protocols.dlt645.question import Order, Plain, Question, authority, credentials, digits, identifier, one_meter
from protocols.errors import RequestError
from protocols.exchange import Done, Step

MAX_WRITE = 50
"""DATA bytes of a write in DL/T 645-2007; price blocks and vendors' parameter blocks are longer."""
MAC = 4
_EVENTS = "FF"
_PASSWORDS = "04000C"


class _Write(Plain):
    def __init__(self, address: str, di: str, preamble: int, point_to_point: bool, long: bool) -> None:
        super().__init__(address, codes.WRITE, Dialect.V2007, preamble, point_to_point)
        self._di, self._long = di.upper(), long

    def _body(self) -> bytes:
        """What stands behind the identifier."""
        raise NotImplementedError

    def _question(self) -> bytes:
        data = identifier(self._di) + self._body()
        if len(data) > MAX_WRITE and not self._long:
            raise RequestError(f"a write of {len(data)} bytes is beyond the standard's {MAX_WRITE}: ask for a long one")
        return data


class Write(_Write):
    """Writes one identifier in plain text (14). Done(None): accepted; read it back to know (dlt645.md 3).

    data: the value in wire order (`identifiers.write_fields`). long: allow more than the standard's 50 bytes.
    """

    def __init__(
        self,
        address: str,
        di: str,
        data: bytes,
        level: int = 4,
        password: bytes | str = "000000",
        operator: str = "00000000",
        preamble: int = 4,
        *,
        long: bool = False,
        point_to_point: bool = False,
    ) -> None:
        super().__init__(address, di, preamble, point_to_point, long)
        self._data, self._level, self._password, self._operator = data, level, password, operator

    def _body(self) -> bytes:
        return credentials(self._level, self._password, self._operator) + self._data


class SecuredWrite(_Write):
    """Writes one identifier under the security module (14 with PA 98 or 99; dlt645.md 6). Done(None): accepted.

    data: with `sealed` the ciphertext (98), else the plain value (99); mac: its 4 bytes. No key needs to be pressed for it, but a
    valid authentication must precede it.
    """

    def __init__(
        self,
        address: str,
        di: str,
        data: bytes,
        mac: bytes,
        *,
        sealed: bool,
        operator: str = "00000000",
        preamble: int = 4,
    ) -> None:
        super().__init__(address, di, preamble, point_to_point=False, long=True)
        self._data, self._mac, self._sealed, self._operator = data, mac, sealed, operator

    def _body(self) -> bytes:
        if len(self._mac) != MAC:
            raise RequestError(f"a MAC has {MAC} bytes, not {len(self._mac)}")
        head = bytes([codes.PA_SEALED if self._sealed else codes.PA_CHECKED, 0, 0, 0])
        return head + digits("operator", self._operator, 4) + self._data + self._mac


class WriteAddress(Question[str]):
    """Gives the only meter of a line a new address (15); nobody refuses it. Done with the new address, which now answers.

    address: AA x 6, or for makers who want it the present one.
    """

    def __init__(self, new: str, address: str = ANY, preamble: int = 4) -> None:
        super().__init__(address, codes.WRITE_ADDRESS, Dialect.V2007, preamble)
        self._new = new

    def _question(self) -> bytes:
        one_meter(self._new)
        if self._address != ANY:
            one_meter(self._address)
        return encode_digits(self._new)

    def _is_from_ours(self, address: str) -> bool:
        return address == self._new

    def _answer(self, frame: Frame) -> Step[str] | None:
        return None if frame.data else Done(frame.address)


class ChangePassword(Order[None]):
    """Sets the password of `level` (18) with that of `old_level`, as high or higher. Done(None): the meter repeats the new one."""

    def __init__(
        self,
        address: str,
        level: int,
        new: bytes | str,
        old: bytes | str,
        old_level: int | None = None,
        preamble: int = 4,
    ) -> None:
        super().__init__(address, codes.CHANGE_PASSWORD, preamble=preamble)
        self._level, self._new, self._old = level, new, old
        self._old_level = level if old_level is None else old_level

    def _question(self) -> bytes:
        new, old = authority(self._level, self._new), authority(self._old_level, self._old)
        if self._old_level > self._level:
            raise RequestError(f"level {self._old_level} may not set the password of the higher level {self._level}")
        return identifier(f"{_PASSWORDS}{self._level + 1:02X}") + old + new

    def _answer(self, frame: Frame) -> Step[None]:
        return self._echoed(frame, authority(self._level, self._new), None)


class _Clearance(Plain):
    """An order of nothing but authority and operator."""

    function: int

    def __init__(
        self, address: str, level: int, password: bytes | str = "000000", operator: str = "00000000", preamble: int = 4
    ) -> None:
        super().__init__(address, self.function, preamble=preamble)
        self._level, self._password, self._operator = level, password, operator

    def _question(self) -> bytes:
        return credentials(self._level, self._password, self._operator)


class DemandReset(_Clearance):
    """Sets the maximum demands to zero (19; level 04). Done(None): accepted."""

    function = codes.DEMAND_RESET


class MeterClear(_Clearance):
    """Sets all registers and records of the meter to zero (1A; level 02). Done(None): accepted."""

    function = codes.METER_CLEAR


class EventClear(_Clearance):
    """Clears the records of events (1B; level 02). di: one event, its DI0 FF; None clears all. Done(None): accepted."""

    function = codes.EVENT_CLEAR

    def __init__(
        self,
        address: str,
        level: int,
        password: bytes | str = "000000",
        operator: str = "00000000",
        preamble: int = 4,
        *,
        di: str | None = None,
    ) -> None:
        super().__init__(address, level, password, operator, preamble)
        self._di = di

    def _question(self) -> bytes:
        which = b"\xff" * 4
        if self._di is not None:
            which = identifier(self._di)
            if not self._di.upper().endswith(_EVENTS):
                raise RequestError(f"{self._di} names one record: events are cleared with DI0 = {_EVENTS}")
        return super()._question() + which
