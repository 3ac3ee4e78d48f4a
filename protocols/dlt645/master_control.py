"""Trip, close, alarm, supply-protect (1C), in plain text and sealed (dlt645.md 5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NoReturn

from protocols.dlt645 import codes
from protocols.dlt645.codes import control_flags
from protocols.dlt645.frames import BROADCAST, Dialect, Frame
from protocols.dlt645.question import Question, authority, digits
from protocols.dlt645.values import encode_second
from protocols.errors import Malformed, RequestError
from protocols.exchange import Done, Step

SEALED_ORDER = 20
"""Bytes of a sealed order: 16 of ciphertext, 4 of MAC."""


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


class _Ordered(Question[ControlAnswer]):
    """What both kinds of order share: one meter, the two lengths of answers and of refusals."""

    def __init__(self, address: str, preamble: int) -> None:
        super().__init__(address, codes.CONTROL, Dialect.V2007, preamble)

    def start(self) -> bytes:
        """The bytes of the command. Raises RequestError when it cannot be given."""
        if not re.fullmatch(r"[0-9]{12}", self._address) or self._address == BROADCAST:
            raise RequestError(f"a control command goes to one meter of 12 digits, not to {self._address!r}")
        return super().start()

    def _answer(self, frame: Frame) -> Step[ControlAnswer]:
        if len(frame.data) not in (0, 2):
            raise Malformed(f"a control answer has 0 or 2 bytes, not {len(frame.data)}")
        return Done(ControlAnswer(frame.data))

    def _refuse(self, frame: Frame) -> NoReturn:
        if len(frame.data) > 2:
            raise Malformed(f"a control refusal has 1 or 2 bytes, not {len(frame.data)}")
        super()._refuse(frame)


class Control(_Ordered):
    """Cuts, allows, closes, alarms or protects (1C in plain text). Done with ControlAnswer.

    expiry: until when the meter may obey, naive, on the meter's own clock; None sends zeros, which only lax meters accept.
    level: authority 0 to 9. password: 6 digits, high pair first, or its 3 bytes in wire order. operator: 8 digits.
    n2: for the CUT_THEN actions the pause before supply returns, in units of 5 minutes (1 to 255); else reserved.
    short: the form of 9 bytes without n2 and expiry that some private meters want, outside every standard.
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
        short: bool = False,
    ) -> None:
        super().__init__(address, preamble)
        self._action, self._expiry, self._n2, self._short = action, expiry, n2, short
        self._level, self._password, self._operator = level, password, operator

    def _question(self) -> bytes:
        order = order_bytes(self._action, self._expiry, self._n2)
        if self._short and (self._n2 or self._expiry):
            raise RequestError("the short form has no room for a pause or an expiry")
        head = authority(self._level, self._password) + digits("operator", self._operator, 4)
        return head + (order[:1] if self._short else order)


class SealedControl(_Ordered):
    """Orders with the order sealed by the security module (PA 98). Done with ControlAnswer.

    sealed: what the module made of `order_bytes`, 20 bytes: ciphertext and MAC; a valid authentication must precede it.
    extended: ask for the two-byte words of acceptance and refusal (P2 = 01).
    """

    def __init__(self, address: str, sealed: bytes, operator: str = "00000000", extended: bool = False, preamble: int = 4) -> None:
        super().__init__(address, preamble)
        self._sealed, self._operator, self._extended = sealed, operator, extended

    def _question(self) -> bytes:
        if len(self._sealed) != SEALED_ORDER:
            raise RequestError(f"a sealed order has {SEALED_ORDER} bytes, not {len(self._sealed)}")
        head = bytes([codes.PA_SEALED, 0, 0, 1 if self._extended else 0])
        return head + digits("operator", self._operator, 4) + self._sealed


def order_bytes(action: Action, expiry: datetime | None, n2: int = 0) -> bytes:
    """N1 to N8: the action, its pause and its expiry. Raises RequestError for a pause that does not fit the action."""
    timed = action in (Action.CUT_THEN_CLOSE, Action.CUT_THEN_ALLOW)
    if not (1 if timed else 0) <= n2 <= 255:
        raise RequestError(f"n2 is {n2}, not {'1' if timed else '0'} to 255")
    return bytes([Action(action), n2]) + (bytes(6) if expiry is None else encode_second(expiry))
