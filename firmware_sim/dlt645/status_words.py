"""The status words of a meter from its state (DL/T 645-2007 C, with the bits of the supplements)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware_sim import watches
from firmware_sim.wallet import Credit

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

_PHASE_BITS = (
    (watches.VOLTAGE_LOST, 0), (watches.UNDER, 1), (watches.OVER, 2), (watches.OVERLOAD, 5), (watches.REVERSED, 6),
    (watches.PHASE_BROKEN, 7),
)  # fmt: skip
ENERGY_PREPAID, MONEY_PREPAID = 1, 2


def word(device: Device, number: int) -> bytes:
    """Status word 1 to 7, two bytes in wire order."""
    value = (_general, _directions, _supply, _phase_a, _phase_b, _phase_c, _grid)[number - 1](device)
    return value.to_bytes(2, "little")


def _general(device: Device) -> int:
    flow = device.meter.flow
    overdrawn = device.wallet is not None and device.wallet.credit >= Credit.OVERDRAFT and device.wallet.balance_micro < 0
    bits = ((4, flow.total_mw < 0), (5, flow.total_mvar < 0), (8, device.gear.failed), (14, overdrawn))
    return sum(1 << bit for bit, on in bits if on)


def _directions(device: Device) -> int:
    flow = device.meter.flow
    active = sum(1 << phase for phase, power in enumerate(flow.active_mw) if power < 0)
    return active | sum(1 << 4 + phase for phase, power in enumerate(flow.reactive_mvar) if power < 0)


def _supply(device: Device) -> int:
    relay, meter, wallet = device.meter.relay, device.meter, device.wallet
    bits = (
        (0, bool(meter.timetable.day_set)),
        (3, device.access.key_needed and device.access.programming),
        (4, not relay.reported_closed),
        (6, not relay.order_closed),
        (7, meter.alarm or device.gear.pre_trip or (wallet is not None and wallet.credit >= Credit.VERY_LOW)),
        (12, meter.protect),
        (13, device.session.valid),
        (15, wallet is not None and wallet.opened),
    )
    value = sum(1 << bit for bit, on in bits if on)
    return value | ((ENERGY_PREPAID if device.in_kwh else MONEY_PREPAID) << 8 if wallet else 0)


def _phase_a(device: Device) -> int:
    return _of_phase(device, 1)


def _phase_b(device: Device) -> int:
    return _of_phase(device, 2)


def _phase_c(device: Device) -> int:
    return _of_phase(device, 3)


def _of_phase(device: Device, phase: int) -> int:
    active = device.watches.active
    return sum(1 << bit for kind, bit in _PHASE_BITS if f"{kind}{phase:02X}" in active)


def _grid(device: Device) -> int:
    bits = ((2, watches.UNBALANCE in device.watches.active), (9, device.covers.open), (10, device.covers.terminal_open))
    return sum(1 << bit for bit, on in bits if on)
