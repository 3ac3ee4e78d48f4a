"""What hangs on one line: bytes in, answers out, DL/T 645 and Modbus RTU side by side. No clock, no I/O, no framing of its own."""

from __future__ import annotations

from firmware_sim.dlt645_firmware import Dlt645Unit
from firmware_sim.modbus_firmware import Device
from firmware_sim.station import Reply
from protocols.dlt645.slave import Slave, matches
from protocols.modbus.slave import BROADCAST, RtuSlave

DLT645_GAP_US = 500_000  # DL/T 645 5.2: bytes of one frame are at most this far apart
RTU_GAP_US = 20_000  # the standard says 3.5 characters; a computer's own pauses while writing one frame may be longer than that


class Bus:
    """The meters of one line. Each protocol's parser hears every byte; who is not meant stays silent."""

    def __init__(self) -> None:
        self.dlt645: dict[str, Dlt645Unit] = {}
        self.modbus: dict[int, Device] = {}
        self._slave = Slave()
        self._rtu: RtuSlave | None = None
        self._quiet_since_us = 0

    def add_dlt645(self, unit: Dlt645Unit) -> None:
        """Connect a DL/T 645 meter."""
        self.dlt645[unit.firmware.address] = unit

    def add_modbus(self, unit: int, device: Device) -> None:
        """Connect a Modbus device."""
        self.modbus[unit] = device
        self._rtu = RtuSlave(tuple(self.modbus))

    def receive(self, data: bytes, start_us: int, end_us: int) -> list[Reply]:
        """Bytes that occupied the line from `start_us` to `end_us`; the answers to what they complete."""
        gap_us, self._quiet_since_us = start_us - self._quiet_since_us, end_us
        replies = self._hear_dlt645(data, gap_us, end_us) if self.dlt645 else []
        if self._rtu:
            replies += self._hear_rtu(self._rtu, data, gap_us, end_us)
        return replies

    def _hear_dlt645(self, data: bytes, gap_us: int, at_us: int) -> list[Reply]:
        if gap_us > DLT645_GAP_US:
            self._slave.silence()  # what stood behind a false start is too old to be answered
        replies = []
        for request in self._slave.feed(data):
            known = self.dlt645.get(request.address)
            meant = [known] if known else [unit for address, unit in self.dlt645.items() if matches(request.address, address)]
            replies += [reply for unit in meant if (reply := unit.serve(request, data, at_us))]
        return replies

    def _hear_rtu(self, rtu: RtuSlave, data: bytes, gap_us: int, at_us: int) -> list[Reply]:
        if gap_us > RTU_GAP_US:
            rtu.silence()
        replies = []
        for request in rtu.feed(data):
            meant = self.modbus.values() if request.unit == BROADCAST else [self.modbus[request.unit]]
            replies += [reply for device in meant if (reply := device.serve(request, data, at_us))]
        return replies
