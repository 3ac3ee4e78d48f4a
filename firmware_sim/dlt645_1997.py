"""A station that speaks DL/T 645-1997: the same meter with the older control codes and identifiers (notes 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from firmware_sim.dlt645 import commands, parameter_io, reads_1997
from firmware_sim.dlt645.device import Device
from firmware_sim.dlt645_firmware import Dlt645Unit
from firmware_sim.station import Station
from protocols.bcd import encode_bcd, encode_digits
from protocols.dlt645 import codes
from protocols.dlt645.codes import ControlWord, Err, Err1997
from protocols.dlt645.frames import BROADCAST, Dialect, Frame
from protocols.dlt645.items import Item
from protocols.dlt645.master import Action
from protocols.dlt645.slave import (
    BroadcastTimeRequest,
    ChangePassword97Request,
    ChangeSpeed97Request,
    DemandReset97Request,
    Read97Request,
    Reread97Request,
    Subsequent97Request,
    Write97Request,
    WriteAddress97Request,
    error_answer,
    password_data,
    plain_answer,
    read_answer_97,
    request_of_97,
    reread_answer_97,
)
from protocols.errors import RequestError

OPERATOR = "00000000"
"""1997 sends none."""
RELAY = "E323"
ORDERS = {"111111": Action.CLOSE, "222222": Action.CUT}
"""One maker's relay, written like a parameter; that 222222 opens is our own choice, only the closing is known."""
LEAST_LEVEL = 4


class Dlt645Unit1997(Dlt645Unit):
    """One meter on a line in the older dialect."""

    dialect: ClassVar[Dialect] = Dialect.V1997
    _reading: ClassVar[tuple[int, ...]] = (codes.READ_1997, codes.READ_NEXT_1997, codes.REREAD_1997)
    _quick: ClassVar[tuple[int, ...]] = (*_reading, codes.BROADCAST_TIME)

    def __init__(self, station: Station, firmware: Device) -> None:
        super().__init__(station, firmware)
        self._next_part = 0
        self._acts_97: dict[type, Callable[[Any], bytes]] = {
            Read97Request: self._read_97,
            Subsequent97Request: self._part_97,
            Reread97Request: self._reread,
            Write97Request: self._write_97,
            WriteAddress97Request: self._write_address_97,
            ChangeSpeed97Request: self._change_speed_97,
            ChangePassword97Request: self._change_password_97,
            DemandReset97Request: self._demand_reset,
            BroadcastTimeRequest: self._set_time,
        }

    def answer(self, frame: Frame) -> bytes:
        """See Dlt645Unit. A control code of 2007 gets silence, as from most meters of this age."""
        request = request_of_97(frame)
        act = self._acts_97.get(type(request))
        return act(request) if act and self.firmware.options.profile.has(frame.control) else b""

    def _item(self, di: str) -> Item | None:
        return self.firmware.options.profile.describe(di)

    def _refuse(self, control: int, error: Err1997) -> bytes:
        return error_answer(self.address, control, error, self._preamble)

    def _read_97(self, request: Read97Request) -> bytes:
        item = self._item(request.di)
        data = reads_1997.read(self.firmware, request.di, item) if item else None
        if data is None:
            return self._refuse(request.control, Err1997.WRONG_DI)
        self._last, self._next_part = (request.di, data), 1
        return read_answer_97(self.address, request.di, data, preamble=self._preamble)

    def _part_97(self, request: Subsequent97Request) -> bytes:
        di, data = self._last
        if di != request.di:
            return self._refuse(request.control, Err1997.ILLEGAL_DATA)
        try:
            part = read_answer_97(self.address, di, data, self._next_part, self._preamble)
        except RequestError:
            return self._refuse(request.control, Err1997.ILLEGAL_DATA)
        self._next_part += 1
        return part

    def _reread(self, request: Reread97Request) -> bytes:
        di, data = self._last
        if not di:
            return self._refuse(request.control, Err1997.ILLEGAL_DATA)
        return reread_answer_97(self.address, di, data, self._preamble)

    def _write_97(self, request: Write97Request) -> bytes:
        if not self.firmware.access.admits(request.level, request.password, LEAST_LEVEL) or not self.firmware.access.programming:
            return self._refuse(request.control, Err1997.PASSWORD)
        error = self._written(request)
        if not error and self.station.faults.strikes("nak_write", command=True) is not None:
            error = Err1997.ILLEGAL_DATA
        if error:
            return self._refuse(request.control, error)
        return plain_answer(self.address, request.control, preamble=self._preamble)

    def _written(self, request: Write97Request) -> Err1997:
        item = self._item(request.di)
        if item is None:
            return Err1997.WRONG_DI
        if item.cut(request.data) is None:
            return Err1997.ILLEGAL_DATA
        if request.di == RELAY:
            order = ORDERS.get(request.data.hex())
            obeyed = order is not None and isinstance(self.firmware.gear.order(order, 0, OPERATOR), ControlWord)
            return Err1997(0) if obeyed else Err1997.ILLEGAL_DATA
        di, data = _in_2007(request.di, request.data)
        item_07 = self.firmware.options.describe_2007(di)
        if item_07 is None:
            return Err1997.WRONG_DI
        return _ERRORS[parameter_io.write(self.firmware, di, data, item_07, OPERATOR)]

    def _write_address_97(self, request: WriteAddress97Request) -> bytes:
        if not request.new.isdecimal() or request.new == BROADCAST or not self.firmware.access.programming:
            return b""
        self.firmware.address = request.new
        return plain_answer(request.new, request.control, encode_digits(request.new), self._preamble)

    def _change_speed_97(self, request: ChangeSpeed97Request) -> bytes:
        baud = {word: baud for baud, word in codes.SPEEDS_1997.items()}.get(request.word)
        if baud is None:
            return self._refuse(request.control, Err1997.ILLEGAL_DATA)
        self.firmware.baud = baud
        return plain_answer(self.address, request.control, bytes([request.word]), self._preamble)

    def _change_password_97(self, request: ChangePassword97Request) -> bytes:
        if request.level > commands.MAX_LEVEL or not self.firmware.access.admits(request.old_level, request.old, request.level):
            return self._refuse(request.control, Err1997.PASSWORD)
        self.firmware.access.passwords[request.level] = request.password
        return plain_answer(self.address, request.control, password_data(request.level, request.password), self._preamble)

    def _demand_reset(self, request: DemandReset97Request) -> bytes:
        if request.level is None or not self.firmware.access.admits(request.level, request.password, LEAST_LEVEL):
            return self._refuse(request.control, Err1997.PASSWORD)
        commands.reset_demand(self.firmware, OPERATOR)
        return plain_answer(self.address, request.control, preamble=self._preamble)


_ERRORS = {
    Err(0): Err1997(0),
    Err.OTHER: Err1997.ILLEGAL_DATA,
    Err.NO_DATA: Err1997.WRONG_DI,
    Err.PASSWORD: Err1997.PASSWORD,
    Err.ZONES: Err1997.ZONES,
    Err.SEGMENTS: Err1997.SEGMENTS,
    Err.RATES: Err1997.RATES,
}


def _in_2007(di: str, data: bytes) -> tuple[str, bytes]:
    """Under which name and in which bytes the meter keeps it; a name that it does not keep stays as it is."""
    if di in ("B634", "B635"):
        return ("04000E01", "04000E02")[di == "B635"], b"\0" + data
    if di == "C314":
        return "04000205", data + encode_bcd(0, 1)
    return reads_1997.SAME.get(di, di), data
