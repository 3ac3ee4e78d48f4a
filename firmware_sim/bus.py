"""What hangs on one line: bytes in, answers out, DL/T 645 and Modbus RTU side by side. No clock, no I/O, no framing of its own."""

from __future__ import annotations

from firmware_sim.dlt645_1997 import Dlt645Unit1997
from firmware_sim.dlt645_firmware import Dlt645Unit
from firmware_sim.modbus_firmware import Device
from firmware_sim.station import Reply
from protocols.dlt645.frames import Deframer, Frame
from protocols.modbus.slave import BROADCAST, RtuSlave

DLT645_GAP_US = 500_000  # DL/T 645 5.2: bytes of one frame are at most this far apart
RTU_GAP_US = 20_000  # the standard says 3.5 characters; a computer's own pauses while writing one frame may be longer than that

Unit = Dlt645Unit | Dlt645Unit1997


class Bus:
    """The meters of one line. Each protocol's parser hears every byte; who is not meant stays silent.

    baud: at which the master sends; a meter that has been told another speed hears noise. strict: so does one that has been told
    none, where that is not the line's own.
    """

    def __init__(self, baud: int = 2400, strict: bool = False) -> None:
        self.baud = baud
        self._own = baud if strict else None
        self.units: list[Unit] = []
        self.modbus: dict[int, Device] = {}
        self._by_address: dict[str, list[Unit]] = {}
        self._deframer = Deframer()
        self._rtu: RtuSlave | None = None
        self._quiet_since_us = 0

    def add_dlt645(self, unit: Unit) -> None:
        """Connect a DL/T 645 meter."""
        self.units.append(unit)
        self._by_address.setdefault(unit.address, []).append(unit)

    def add_modbus(self, unit: int, device: Device) -> None:
        """Connect a Modbus device."""
        self.modbus[unit] = device
        self._rtu = RtuSlave(tuple(self.modbus))

    @property
    def dlt645(self) -> dict[str, Unit]:
        """The DL/T 645 meters by their present address; of two with the same one, the first."""
        return {address: units[0] for address, units in self._by_address.items()}

    def index(self) -> None:
        """Look at all addresses anew; on a real line two meters may have the same one."""
        self._by_address.clear()
        for unit in self.units:
            self._by_address.setdefault(unit.address, []).append(unit)

    def receive(self, data: bytes, start_us: int, end_us: int) -> list[Reply]:
        """Bytes that occupied the line from `start_us` to `end_us`; the answers to what they complete."""
        gap_us, self._quiet_since_us = start_us - self._quiet_since_us, end_us
        replies = self._hear_dlt645(data, gap_us, end_us) if self.units else []
        if self._rtu:
            replies += self._hear_rtu(self._rtu, data, gap_us, end_us)
        return replies

    def _hear_dlt645(self, data: bytes, gap_us: int, at_us: int) -> list[Reply]:
        if gap_us > DLT645_GAP_US:
            self._deframer.flush()  # what stood behind a false start is too old to be answered
        replies = []
        for frame in self._deframer.feed(data):
            if not frame.is_response:
                replies += self._pass_on(frame, data, at_us)
        return replies

    def _pass_on(self, frame: Frame, data: bytes, at_us: int) -> list[Reply]:
        """To the meters with this address; a pattern or a broadcast goes to all, who know whether they are meant."""
        replies = []
        for unit in self._by_address.get(frame.address, self.units):
            if (unit.firmware.baud or self._own) not in (None, self.baud):
                continue
            address = unit.address
            if reply := unit.serve(frame, data, at_us):
                replies.append(reply)
            if unit.address != address:
                unit.station.address = unit.address
                self.index()
        return replies

    def _hear_rtu(self, rtu: RtuSlave, data: bytes, gap_us: int, at_us: int) -> list[Reply]:
        if gap_us > RTU_GAP_US:
            rtu.silence()
        replies = []
        for request in rtu.feed(data):
            meant = self.modbus.values() if request.unit == BROADCAST else [self.modbus[request.unit]]
            replies += [reply for device in meant if (reply := device.serve(request, data, at_us))]
        return replies
