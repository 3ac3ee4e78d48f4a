"""Three Modbus devices over one physics: Eastron SDM630, Hiking DDS238 ZN/SR with its relay, an eight-channel relay module.

Registers and quirks: modbus-meters notes 2 (SDM630), 9 (DDS238), 10 (relay module). Addresses are as on the wire, from 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Protocol

from firmware_sim.config import COILS
from firmware_sim.meter import Meter
from firmware_sim.registers import FORWARD, REVERSE
from firmware_sim.station import Delay, Reply, Station
from protocols.modbus.slave import Request, answer, exception

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
SDM_MAX_WORDS = 80
SDM_END = 0x0400  # gaps below read as 0, beyond there is nothing
DDS_END = 0x0020
DDS_RELAY = 0x001A


class Refusal(Exception):
    """The device answers with this exception code."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"exception {code}")


class Device(Protocol):
    """One unit on a line or behind a TCP port."""

    def serve(self, request: Request, raw: bytes, at_us: int) -> Reply | None:
        """Act on a request that ended at `at_us` and answer; None is silence."""


class Measuring:
    """What the two meters share: hear, refuse or answer, log."""

    def __init__(self, station: Station, unit: int) -> None:
        self.station = station
        self.unit = unit

    def serve(self, request: Request, raw: bytes, at_us: int) -> Reply | None:
        if not self.station.hears(raw, at_us):
            return None
        try:
            if request.fault:
                raise Refusal(request.fault)
            data = answer(request, self.values(request, self.station.meter))
        except Refusal as refusal:
            data = exception(request, refusal.code)
        if not data:
            self.station.keep(self.station)
            return None
        return self.station.reply(data, command=request.function in (5, 6, 15, 16))

    def values(self, request: Request, meter: Meter) -> list[int]:
        """Registers asked for; empty after a write. Raises Refusal."""
        raise NotImplementedError


class Sdm630(Measuring):
    """Input registers as f32 with a step of 0.01 kWh; no relay. Eastron's power factor is negative for an inductive load."""

    def values(self, request: Request, meter: Meter) -> list[int]:
        if request.function not in (3, 4):
            raise Refusal(ILLEGAL_FUNCTION if request.function != 16 else ILLEGAL_ADDRESS)
        if request.count > SDM_MAX_WORDS:
            raise Refusal(ILLEGAL_VALUE)
        if request.address % 2 or request.count % 2 or request.address + request.count > SDM_END:
            raise Refusal(ILLEGAL_ADDRESS)
        table = self.inputs(meter) if request.function == 4 else self.holdings()
        words: list[int] = []
        for address in range(request.address, request.address + request.count, 2):
            words += struct.unpack(">HH", struct.pack(">f", table.get(address, 0)))
        return words

    def inputs(self, meter: Meter) -> dict[int, float]:
        """Every input register that is not 0, in the meter's own units (V, A, W, kWh)."""
        table: dict[int, float] = {}
        flow = meter.flow
        for phase in range(3):
            at = 2 * phase
            table[0x0000 + at] = meter.voltage_mv(phase) / 1000
            table[0x0006 + at] = abs(meter.measured_ma(phase)) / 1000
            table[0x000C + at] = flow.active_mw[phase] / 1000
            table[0x0012 + at] = flow.apparent_mva[phase] / 1000
            table[0x0018 + at] = flow.reactive_mvar[phase] / 1000
            table[0x001E + at] = inductive(meter.pf_milli)
            table[0x015A + at] = meter.registers.phase_count(FORWARD, phase) / 100
            table[0x0166 + at] = table[0x015A + at] + meter.registers.phase_count(REVERSE, phase) / 100
        table[0x002A] = sum(meter.voltage_mv(phase) for phase in range(3)) / 3000
        table[0x0030] = sum(abs(meter.measured_ma(phase)) for phase in range(3)) / 1000
        table[0x002E] = table[0x0030] / 3
        table[0x0034] = flow.total_mw / 1000
        table[0x0038] = flow.total_mva / 1000
        table[0x003C] = flow.total_mvar / 1000
        table[0x003E] = inductive(meter.pf_milli)
        table[0x0046] = meter.frequency_mhz / 1000
        table[0x0048] = meter.total_count / 100
        table[0x004A] = meter.registers.count(REVERSE) / 100
        table[0x0156] = (meter.total_count + meter.registers.count(REVERSE)) / 100
        return table

    def holdings(self) -> dict[int, float]:
        """Settings that a master may look at: wiring, address, 9600 baud, unit prefix k, register order."""
        return {0x000A: 3, 0x0014: self.unit, 0x001C: 2, 0x001E: 0, 0x0028: 2141.0}


class Dds238(Measuring):
    """u16 registers in 0.01 kWh, 0.1 V, 0.01 A and W; relay order at 001A, written by FC 10 only, without any contact feedback."""

    def values(self, request: Request, meter: Meter) -> list[int]:
        if request.function == 16:
            self._write(request, meter)
            return []
        if request.function != 3:
            raise Refusal(ILLEGAL_FUNCTION)
        if request.address + request.count > DDS_END:
            raise Refusal(ILLEGAL_ADDRESS)
        table = self.registers(meter)
        return [table.get(address, 0) for address in range(request.address, request.address + request.count)]

    def registers(self, meter: Meter) -> dict[int, int]:
        """Every register that is not 0."""
        high, low = divmod(meter.total_count % 100_000_000, 0x10000)
        clock = datetime.fromtimestamp(meter.clock_us // 1_000_000, UTC)
        back_high, back_low = divmod(meter.registers.count(REVERSE) % 100_000_000, 0x10000)
        return {
            0x0000: high, 0x0001: low, 0x0008: back_high, 0x0009: back_low, 0x000A: high, 0x000B: low,
            0x000C: meter.voltage_mv() // 100, 0x000D: abs(meter.measured_ma()) // 10,
            0x000E: signed(meter.flow.total_mw // 1000), 0x000F: signed(meter.flow.total_mvar // 1000),
            0x0010: meter.pf_milli, 0x0011: meter.frequency_mhz // 10,
            0x0012: clock.year % 100 << 8 | clock.month, 0x0013: clock.day << 8 | clock.hour,
            0x0014: clock.minute << 8 | clock.second,
            0x0015: self.unit << 8 | 1,
            DDS_RELAY: int(meter.relay.order_closed),
        }  # fmt: skip

    def _write(self, request: Request, meter: Meter) -> None:
        if (request.address, request.count) != (DDS_RELAY, 1):
            raise Refusal(ILLEGAL_ADDRESS)
        if request.values[0] not in (0, 1):
            raise Refusal(ILLEGAL_VALUE)
        order = meter.relay.close if request.values[0] else meter.relay.cut
        order(meter.now_us)


@dataclass(frozen=True, slots=True)
class Channel:
    """A meter's contactor on this module; inverted: the coil opens it."""

    station: Station
    inverted: bool


class RelayModule:
    """Coils order (FC 01, 05, 0F), inputs tell what the contacts did (FC 02). A channel without a contactor is only a coil."""

    def __init__(self, unit: int, delay: Delay, rng: Random) -> None:
        self.unit = unit
        self.coils: dict[int, Channel] = {}
        self.inputs: dict[int, Station] = {}
        self._free = [False] * COILS
        self._delay = delay
        self._rng = rng
        self._powered = True

    def power(self, on: bool, at_us: int) -> None:
        """The module's own supply. Without it the module is silent and every coil drops; with it the coils stay dropped."""
        self._powered = on
        for index in () if on else range(COILS):
            if index in self.coils:
                self.coils[index].station.advance(at_us)
            self._set(index, False, at_us)
        for channel in self.coils.values():
            channel.station.keep(channel.station)

    def serve(self, request: Request, raw: bytes, at_us: int) -> Reply | None:
        if not self._powered:
            return None
        stations = self._touched(request)
        for station in stations:
            station.advance(at_us)
        try:
            data = answer(request, self._act(request, at_us))
        except Refusal as refusal:
            data = exception(request, refusal.code)
        if len(stations) == 1 and data:
            stations[0].note(raw, at_us)
            return stations[0].reply(data, command=request.function in (5, 15))
        for station in stations:
            station.keep(station)
        return Reply(self._delay.pick(self._rng), data) if data else None

    def _touched(self, request: Request) -> list[Station]:
        span = range(request.address, request.address + request.count)
        linked = self.inputs if request.function == 2 else {coil: channel.station for coil, channel in self.coils.items()}
        return [station for index, station in linked.items() if index in span] if request.function in (1, 2, 5, 15) else []

    def _act(self, request: Request, at_us: int) -> list[int]:
        if request.fault:
            raise Refusal(request.fault)
        if request.function == 3:
            return [self._setting(address) for address in range(request.address, request.address + request.count)]
        if request.function not in (1, 2, 5, 15):
            raise Refusal(ILLEGAL_FUNCTION)
        if request.address + request.count > COILS:
            raise Refusal(ILLEGAL_ADDRESS)
        span = range(request.address, request.address + request.count)
        if request.function == 1:
            return [int(self.coil(index)) for index in span]
        if request.function == 2:
            return [int(index in self.inputs and self.inputs[index].meter.relay.contact_closed) for index in span]
        for index, value in zip(span, request.values, strict=True):
            self._set(index, bool(value), at_us)
        return []

    def coil(self, index: int) -> bool:
        """The order that stands on this coil."""
        channel = self.coils.get(index)
        return channel.station.meter.relay.order_closed != channel.inverted if channel else self._free[index]

    def _set(self, index: int, on: bool, at_us: int) -> None:
        channel = self.coils.get(index)
        if channel is None:
            self._free[index] = on
            return
        relay = channel.station.meter.relay
        order = relay.close if on != channel.inverted else relay.cut
        order(at_us)

    def _setting(self, address: int) -> int:
        """4000 holds the address, 1000.. the mode of each relay: 0, so that no input drives it."""
        if address == 0x4000:
            return self.unit
        if 0x1000 <= address < 0x1000 + COILS:
            return 0
        raise Refusal(ILLEGAL_ADDRESS)


def signed(value: int) -> int:
    """A 16-bit register in two's complement."""
    return max(-0x8000, min(value, 0x7FFF)) & 0xFFFF


def inductive(pf_milli: int) -> float:
    """Eastron's sign: negative for inductive, 1 without current."""
    return -pf_milli / 1000 if pf_milli < 1000 else 1.0
