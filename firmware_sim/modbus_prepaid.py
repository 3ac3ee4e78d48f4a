"""Acrel DDSY1352: a prepaid Modbus meter whose relay two words force. Registers: modbus-meters notes 7; no meter confirmed them.

Strict where nothing is known: registers that no table lists refuse, and the prepaid block is only read as a whole.
"""

from __future__ import annotations

from firmware_sim.meter import Meter
from firmware_sim.modbus_firmware import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, Measuring, Refusal, signed
from firmware_sim.station import Station
from protocols.modbus.slave import Request

BLOCK, BLOCK_WORDS = 0x0046, 28
FORCE = 0x0057  # forced or released; the position stands behind it
PURCHASES, BALANCE = 8, 9  # offsets in the block
RATES = 4


class Ddsy1352(Measuring):
    """Energies at 0000, the rest to 0010; the relay forced by 0057 and 0058 in one write, released it follows a balance."""

    def __init__(self, station: Station, unit: int) -> None:
        super().__init__(station, unit)
        self.forced: tuple[int, int] = (0, 0)
        self.balance = 100_000

    def values(self, request: Request, meter: Meter) -> list[int]:
        if request.function == 16:
            self._write(request, meter)
            return []
        if request.function != 3:
            raise Refusal(ILLEGAL_FUNCTION)
        if (request.address, request.count) == (BLOCK, BLOCK_WORDS):
            return self._block()
        table = self.registers(meter)
        words = [table.get(address) for address in range(request.address, request.address + request.count)]
        known = [word for word in words if word is not None]
        if len(known) < len(words):
            raise Refusal(ILLEGAL_ADDRESS)
        return known

    def registers(self, meter: Meter) -> dict[int, int]:
        """The registers of the manual's page; 000E is not among them."""
        table = {
            0x000A: 0, 0x000B: meter.voltage_mv() // 100, 0x000C: abs(meter.measured_ma()) // 10,
            0x000D: signed(meter.flow.total_mw // 1000), 0x000F: abs(meter.flow.total_mva) // 1000, 0x0010: signed(meter.pf_milli),
        }  # fmt: skip
        counts = [meter.total_count, *(meter.rate_count(n) if n <= meter.registers.rates else 0 for n in range(1, RATES + 1))]
        for n, count in enumerate(counts):
            table[2 * n], table[2 * n + 1] = divmod(count % 2**32, 0x10000)
        return table

    def _block(self) -> list[int]:
        words = [0] * BLOCK_WORDS
        words[PURCHASES] = 1
        words[BALANCE], words[BALANCE + 1] = divmod(self.balance, 0x10000)
        words[FORCE - BLOCK], words[FORCE - BLOCK + 1] = self.forced
        return words

    def _write(self, request: Request, meter: Meter) -> None:
        if (request.address, request.count) != (FORCE, 2):
            raise Refusal(ILLEGAL_ADDRESS)
        force, position = request.values
        if force not in (0, 1) or position not in (0, 1):
            raise Refusal(ILLEGAL_VALUE)
        self.forced = force, position
        opens = bool(position) if force else not self.balance
        order = meter.relay.cut if opens else meter.relay.close
        order(meter.now_us)
