"""What flows now, in the form of the identifiers 02 (DL/T 645-2007 A.3)."""

from __future__ import annotations

from collections.abc import Callable
from math import acos, degrees
from typing import TYPE_CHECKING

from firmware_sim.clockwork import local
from firmware_sim.dlt645.readings import ALL, FILLER
from firmware_sim.meter import Meter
from firmware_sim.registers import APPARENT_FORWARD, FORWARD, Q1
from protocols.bcd import encode_bcd

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

VOLTAGE, CURRENT, POWER, REACTIVE, APPARENT, FACTOR, ANGLE, VOLTS_DISTORTED, AMPS_DISTORTED = range(1, 10)
VOLTS_HARMONIC, AMPS_HARMONIC = 0x0A, 0x0B
TOTALS = (POWER, REACTIVE, APPARENT, FACTOR)
MOST = 799_999  # of a signed XX.XXXX or XXX.XXX
ORDERS = 21
VOLTS_THD, AMPS_THD = 120, 450  # 0.01 %, of every load here
PHASES = 3


def of_phase(meter: Meter, family: int, phase: int) -> bytes:
    """A quantity of phase 0, 1 or 2; FF when the meter has no such phase."""
    if phase >= meter.spec.phases:
        return FILLER * (3 if family in (CURRENT, POWER, REACTIVE, APPARENT) else 2)
    flow = meter.flow
    values: dict[int, Callable[[], bytes]] = {
        VOLTAGE: lambda: encode_bcd(meter.voltage_mv(phase) // 100, 2),
        CURRENT: lambda: signed(meter.measured_ma(phase)),
        POWER: lambda: signed(_tenths(flow.active_mw[phase])),
        REACTIVE: lambda: signed(_tenths(flow.reactive_mvar[phase])),
        APPARENT: lambda: signed(_tenths(flow.apparent_mva[phase])),
        FACTOR: lambda: factor(meter, flow.active_mw[phase]),
        ANGLE: lambda: encode_bcd(_angle(meter, flow.active_mw[phase]), 2),
        VOLTS_DISTORTED: lambda: encode_bcd(VOLTS_THD, 2),
        AMPS_DISTORTED: lambda: encode_bcd(AMPS_THD if flow.active_mw[phase] else 0, 2),
    }
    return values[family]()


def total(meter: Meter, family: int) -> bytes:
    """A quantity of all phases together."""
    flow = meter.flow
    if family == FACTOR:
        return factor(meter, flow.total_mw)
    return signed(_tenths({POWER: flow.total_mw, REACTIVE: flow.total_mvar, APPARENT: flow.total_mva}[family]))


def read(device: Device, family: int, which: int, order: int) -> bytes | None:
    """One phase (01 to 03), the total (00) where there is one, or the block (FF)."""
    meter = device.meter
    if family in (VOLTS_HARMONIC, AMPS_HARMONIC):
        return _harmonics(meter, family, which, order)
    if not VOLTAGE <= family <= AMPS_DISTORTED or order:
        return None
    if which == 0:
        return total(meter, family) if family in TOTALS else None
    if 1 <= which <= meter.spec.phases:
        return of_phase(meter, family, which - 1)
    if which != ALL:
        return None
    return (total(meter, family) if family in TOTALS else b"") + b"".join(of_phase(meter, family, p) for p in range(PHASES))


def single(device: Device, di: str) -> bytes | None:
    """The values that stand alone: 0280 and 0281."""
    meter, demand, prices = device.meter, device.demand, device.prices
    values: dict[str, Callable[[], bytes]] = {
        "02800001": lambda: signed(meter.neutral_ma),
        "02800002": lambda: encode_bcd(meter.frequency_mhz // 10, 2),
        "02800003": lambda: signed(_tenths(demand.last_slip(FORWARD))),
        "02800004": lambda: signed(_tenths(demand.present[FORWARD])),
        "02800005": lambda: signed(_tenths(demand.present[Q1])),
        "02800006": lambda: signed(_tenths(demand.present[APPARENT_FORWARD])),
        "02800007": lambda: encode_bcd(250, 2, signed=True),
        "02800008": lambda: encode_bcd(360, 2),
        "02800009": lambda: encode_bcd(600, 2),
        "0280000A": lambda: encode_bcd(device.log.kind("031100").seconds // 60, 4),
        "02800022": lambda: encode_bcd(device.session.minutes, 2),
        "02800023": lambda: encode_bcd(0, 1),
        "02810001": lambda: _running(device),
    }
    if device.wallet and not device.in_kwh:
        adder = prices.ladder.adders[prices.ladder.step(device.wallet.used + 1)]
        values["0280000B"] = lambda: encode_bcd(adder, 4)
        values["02800020"] = lambda: encode_bcd(prices.price(meter.rate) + adder, 4)
        values["02800021"] = lambda: encode_bcd(prices.price(meter.rate), 4)
    return values[di]() if di in values else None


def factor(meter: Meter, power_mw: int) -> bytes:
    """X.XXX with the sign of the power."""
    pf_milli = meter.wanted.pf_milli if power_mw else 1000
    return encode_bcd(-pf_milli if power_mw < 0 else pf_milli, 2, signed=True)


def signed(value: int) -> bytes:
    """Three bytes with a sign; what is larger shows the largest."""
    return encode_bcd(max(-MOST, min(value, MOST)), 3, signed=True)


def _tenths(milli: int) -> int:
    """mW to 0.1 W, toward zero."""
    return milli // 100 if milli >= 0 else -(-milli // 100)


def _angle(meter: Meter, power_mw: int) -> int:
    """0.1 degrees between voltage and current; a swapped lead turns it by half a circle."""
    if not power_mw:
        return 0
    turn = round(degrees(acos(meter.wanted.pf_milli / 1000)) * 10)
    if meter.wanted.leading:
        turn = 3600 - turn if turn else 0
    return turn if power_mw > 0 else (turn + 1800) % 3600


def _harmonics(meter: Meter, family: int, phase: int, order: int) -> bytes | None:
    """0.01 % of the fundamental: odd orders fall off with their number, even ones are a tenth of that."""
    if not 1 <= phase <= meter.spec.phases or (order != ALL and not 1 <= order <= ORDERS):
        return None
    distortion = VOLTS_THD if family == VOLTS_HARMONIC else AMPS_THD if meter.flow.active_mw[phase - 1] else 0
    orders = range(1, ORDERS + 1) if order == ALL else (order,)
    parts = [9999 if n == 1 else distortion * 2 // n if n % 2 else distortion // (5 * n) for n in orders]
    return b"".join(encode_bcd(part, 2) for part in parts)


def _running(device: Device) -> bytes:
    """The rate, segment, day table and zone that run now, one byte each."""
    meter = device.meter
    date = local(meter.clock_us)
    segment, rate = meter.running
    parts = (rate, segment, meter.timetable.table(date), meter.timetable.zone(date))
    return b"".join(encode_bcd(part, 1) for part in parts)
