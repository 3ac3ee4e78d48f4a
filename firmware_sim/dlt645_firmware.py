"""A station that speaks DL/T 645-2007: which request calls for what, and the frame of the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from firmware_sim.dlt645 import commands, security
from firmware_sim.dlt645.device import Device
from firmware_sim.station import Reply, Station
from protocols.dlt645 import codes
from protocols.dlt645.codes import ControlError, ControlWord, Err, Serr
from protocols.dlt645.frames import START, WAKE_UP, Dialect, Frame
from protocols.dlt645.slave import (
    Attention,
    BroadcastTimeRequest,
    ChangePasswordRequest,
    ChangeSpeedRequest,
    ControlRequest,
    DemandResetRequest,
    EventClearRequest,
    FreezeRequest,
    MeterClearRequest,
    OutputRequest,
    ReadAddressRequest,
    ReadRequest,
    SealedControlRequest,
    SecurityRequest,
    SubsequentRequest,
    WriteAddressRequest,
    WriteRequest,
    address_answer,
    attention,
    control_answer,
    error_answer,
    password_data,
    plain_answer,
    read_answer,
    request_of,
    security_answer,
    write_answer,
)
from protocols.errors import RequestError

READING = (codes.READ, codes.READ_NEXT, codes.READ_ADDRESS)
QUICK = (*READING, codes.CONTROL, codes.OUTPUT, codes.BROADCAST_TIME)
"""Answered as fast as a read; everything else is kept in the meter's memory first, and takes longer."""


class Dlt645Unit:
    """One meter on a line. firmware: what it does; its address and speed may be changed over the line."""

    dialect: ClassVar[Dialect] = Dialect.V2007

    def __init__(self, station: Station, firmware: Device) -> None:
        self.station = station
        self.firmware = firmware
        self._last: tuple[str, bytes] = ("", b"")
        self._acts: dict[type, Callable[[Any], bytes]] = {
            ReadRequest: self._read,
            SubsequentRequest: self._part,
            ReadAddressRequest: lambda request: address_answer(self.address, self._preamble),
            WriteRequest: self._write,
            WriteAddressRequest: self._write_address,
            FreezeRequest: lambda request: self._plain(request.control, commands.freeze(self.firmware, request)),
            ChangeSpeedRequest: self._change_speed,
            ChangePasswordRequest: self._change_password,
            DemandResetRequest: lambda request: self._plain(request.control, commands.demand_reset(self.firmware, request)),
            MeterClearRequest: lambda request: self._plain(request.control, commands.meter_clear(self.firmware, request)),
            EventClearRequest: lambda request: self._plain(request.control, commands.event_clear(self.firmware, request)),
            ControlRequest: lambda request: self._controlled(commands.control(self.firmware, request), extended=False),
            SealedControlRequest: self._sealed_control,
            OutputRequest: lambda request: plain_answer(self.address, request.control, bytes([request.signal]), self._preamble),
            SecurityRequest: self._security,
            BroadcastTimeRequest: self._set_time,
        }

    @property
    def address(self) -> str:
        """Its present address."""
        return self.firmware.address

    def serve(self, frame: Frame, raw: bytes, at_us: int) -> Reply | None:
        """Act on a frame from the master; None is silence."""
        if self._asleep(raw):
            return None
        heed = attention(frame.control, frame.address, self.address, self.dialect)
        if heed is Attention.IGNORE or not self.station.hears(raw, at_us):
            return None
        data = self.answer(frame)
        if heed is Attention.OBEY or not data:
            self.station.keep(self.station)
            return None
        return self.station.reply(data, command=frame.control not in self._reading, write=frame.control not in self._quick)

    _reading: ClassVar[tuple[int, ...]] = READING
    _quick: ClassVar[tuple[int, ...]] = QUICK

    def _asleep(self, raw: bytes) -> bool:
        """A meter that sleeps is woken by FE and misses a frame without."""
        wake_up = self.firmware.options.wake_up
        return wake_up > 0 and bytes([WAKE_UP]) * wake_up + bytes([START]) not in raw

    def answer(self, frame: Frame) -> bytes:
        """The frame to send, empty for silence; the meter has done what was asked."""
        request = request_of(frame)
        act = self._acts.get(type(request))
        if act is None or not self.firmware.options.profile.has(frame.control):
            return error_answer(self.address, frame.control, Err.OTHER, self._preamble)
        return act(request)

    @property
    def _preamble(self) -> int:
        return self.firmware.options.preamble

    def _read(self, request: ReadRequest) -> bytes:
        firmware, records = self.firmware, request.count
        data = firmware.read(request.di) if records is None else firmware.read_records(request.di, records, request.when)
        if data is None:
            return error_answer(self.address, request.control, Err.NO_DATA, self._preamble)
        self._last = request.di, data  # follow-up frames tell the rest of this moment, not of a later one
        return read_answer(self.address, request.di, data, preamble=self._preamble)

    def _part(self, request: SubsequentRequest) -> bytes:
        di, data = self._last
        try:
            return read_answer(self.address, request.di, data if di == request.di else b"", request.seq, self._preamble)
        except RequestError:
            return error_answer(self.address, request.control, Err.NO_DATA, self._preamble)

    def _write(self, request: WriteRequest) -> bytes:
        half = self.station.faults.strikes("half_write", command=True) is not None
        error = commands.write(self.firmware, request, half)
        if not error and self.station.faults.strikes("nak_write", command=True) is not None:
            error = Err.OTHER
        if error:
            return error_answer(self.address, request.control, error, self._preamble)
        return write_answer(self.address, self._preamble)

    def _write_address(self, request: WriteAddressRequest) -> bytes:
        done = commands.write_address(self.firmware, request)
        return plain_answer(self.address, request.control, preamble=self._preamble) if done else b""

    def _change_speed(self, request: ChangeSpeedRequest) -> bytes:
        if request.baud is None:
            return error_answer(self.address, request.control, Err.SPEED, self._preamble)
        self.firmware.baud = request.baud
        return plain_answer(self.address, request.control, bytes([request.word]), self._preamble)

    def _change_password(self, request: ChangePasswordRequest) -> bytes:
        error = commands.change_password(self.firmware, request)
        return self._plain(request.control, error, password_data(request.level, request.password))

    def _plain(self, control: int, error: Err, data: bytes = b"") -> bytes:
        if error:
            return error_answer(self.address, control, error, self._preamble)
        return plain_answer(self.address, control, data, self._preamble)

    def _controlled(self, outcome: ControlError | ControlWord, extended: bool) -> bytes:
        """9C with or without a word. The plain refusal has one bit for passwords; all else is "other error"."""
        if isinstance(outcome, ControlWord):
            return control_answer(self.address, codes.wire(outcome) if extended else b"", self._preamble)
        word: int | bytes = Err.PASSWORD if outcome == ControlError.PASSWORD else Err.OTHER
        return error_answer(self.address, codes.CONTROL, codes.wire(outcome) if extended else word, self._preamble)

    def _sealed_control(self, request: SealedControlRequest) -> bytes:
        return self._controlled(commands.sealed_control(self.firmware, request), request.extended)

    def _security(self, request: SecurityRequest) -> bytes:
        outcome = security.serve(self.firmware, request)
        if isinstance(outcome, Serr):
            length = self.firmware.options.profile.serr_bytes
            word = outcome if outcome < 256 or length > 1 else Serr.OTHER
            return error_answer(self.address, request.control, codes.wire(word, length), self._preamble)
        return security_answer(self.address, request.di, outcome, self._preamble)

    def _set_time(self, request: BroadcastTimeRequest) -> bytes:
        commands.set_time(self.firmware, request.when)
        return b""
