"""What is told to many meters, or to one about its clockwork: time (08), freeze (16), speed (17), output (1D)."""

from __future__ import annotations

import re
from datetime import datetime
from enum import IntEnum

from protocols.dlt645 import codes
from protocols.dlt645.frames import BROADCAST, Dialect, Frame
from protocols.dlt645.freeze_time import FreezeTime
from protocols.dlt645.question import Order, Question, one_meter
from protocols.dlt645.values import encode_second
from protocols.errors import Malformed, RequestError
from protocols.exchange import Done, Step


class BroadcastTime(Question[None]):
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


class _ToAll(Question[None]):
    """To one meter, which answers, or to all, of whom nobody does."""

    def __init__(self, address: str, function: int, preamble: int) -> None:
        super().__init__(address, function, Dialect.V2007, preamble)
        self.answered = address != BROADCAST

    def start(self) -> bytes:
        """The bytes of the order. Raises RequestError when it cannot be given."""
        if self.answered:
            one_meter(self._address)
        return super().start()


class Freeze(_ToAll):
    """Freezes the registers now, or every hour, day or month (16). Done(None): accepted; all meters at once do not answer."""

    def __init__(self, when: FreezeTime, address: str = BROADCAST, preamble: int = 4) -> None:
        super().__init__(address, codes.FREEZE, preamble)
        self._when = when

    def _question(self) -> bytes:
        return self._when.encode()

    def _answer(self, frame: Frame) -> Step[None]:
        if frame.data:
            raise Malformed(f"the answer to a freeze is empty, not {frame.data.hex().upper()}")
        return Done(None)


class OutputSignal(IntEnum):
    """What the multi-function terminal puts out."""

    SECOND_PULSE = 0
    DEMAND_PERIOD = 1
    RATE_SWITCH = 2


class Output(_ToAll):
    """Chooses what the multi-function terminal puts out (1D, supplement). Done(None): the meter repeats it."""

    def __init__(self, signal: OutputSignal, address: str, preamble: int = 4) -> None:
        super().__init__(address, codes.OUTPUT, preamble)
        self._signal = signal

    def _question(self) -> bytes:
        return bytes([OutputSignal(self._signal)])

    def _answer(self, frame: Frame) -> Step[None]:
        if frame.data != self._question():
            raise Malformed(f"the meter puts out {frame.data.hex().upper() or 'nothing'}, not {self._question().hex()}")
        return Done(None)


class ChangeSpeed(Order[int]):
    """Changes the speed of a meter's port (17). Done with the baud rate, which holds from behind the answer on and stays."""

    def __init__(self, address: str, baud: int, preamble: int = 4) -> None:
        super().__init__(address, codes.CHANGE_SPEED, preamble=preamble)
        self._baud = baud

    def _question(self) -> bytes:
        if self._baud not in codes.SPEEDS:
            raise RequestError(f"{self._baud} baud is not one of {', '.join(map(str, codes.SPEEDS))}")
        return bytes([codes.SPEEDS[self._baud]])

    def _answer(self, frame: Frame) -> Step[int]:
        return self._echoed(frame, self._question(), self._baud)
