"""What a meter profile means to the rest of the house: its switch, its register's step, how long it takes to read."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from gateway.domain.meters import SwitchKind
from protocols.dlt645.identifiers import describe
from protocols.profiles import CoilSwitch, InternalSwitch, MeterProfile, Register, Values, plan_reads

DEFAULT_SETTLE_MS = 4000
"""For a meter without a switch; nobody waits for it."""

TYPICAL_DELAY_MS = 100
"""What a meter takes to answer, for estimates: the standard allows 20 to 500 ms, meters in the field take 25 to 180."""

DLT645_BYTES = 20 + 20 + 4
"""A read with four FE in front, and its answer without data but with the identifier (dlt645.md 2)."""

DLT645_COUNT_WH = 10
"""One step of XXXXXX.XX kWh, the energy registers of DL/T 645."""

DLT645_ROLLOVER_WH = 1_000_000_000
"""999999.99 kWh is followed by 0."""

MODBUS_BYTES = 8 + 5
"""A read request and its answer without data, RTU."""

BLOCK_VALUES = 5
"""Values in a typical block: a total and four tariffs."""


@dataclass(frozen=True, slots=True)
class SwitchFacts:
    """What cuts, whether it can be read back for proof, when after an acknowledgement that may be done, and how many there are."""

    kind: SwitchKind
    feedback: bool
    settle_ms: int
    channels: int = 1


def switch_facts(device: MeterProfile) -> SwitchFacts:
    """The switch of a meter, or of the module that switches for it."""
    switch = device.switch
    if switch is None:
        return SwitchFacts(SwitchKind.NONE, False, DEFAULT_SETTLE_MS)
    if isinstance(switch, InternalSwitch):
        return SwitchFacts(SwitchKind.INTERNAL, True, switch.settle_s * 1000)
    if isinstance(switch, CoilSwitch):
        return SwitchFacts(SwitchKind.CONTACTOR, switch.feedback is not None, switch.settle_s * 1000, switch.channels)
    return SwitchFacts(SwitchKind.CONTACTOR, False, switch.settle_s * 1000)  # registers have no button either


@dataclass(frozen=True, slots=True)
class WalletFacts:
    """How a meter's own wallet takes money: with MACs of a crypto service, or without; whether it gives any back."""

    macs: bool
    refund: bool


def wallet_facts(device: MeterProfile) -> WalletFacts | None:
    """None for a meter that holds no money."""
    form = device.wallet
    return None if form is None else WalletFacts(form.kind == "counted", form.refund)


def password_class(device: MeterProfile) -> str | None:
    """The class whose password the device's own switch needs; None when it needs none."""
    return device.dlt645.password_class if device.dlt645 is not None and device.switch is not None else None


def count_wh(meter: MeterProfile) -> int:
    """One step of the total import register in Wh, before any transformer ratio."""
    total = _total(meter)
    return DLT645_COUNT_WH if total is None else max(1, _wh(total.type.resolution or total.type.scale))


def rollover_wh(meter: MeterProfile) -> int | None:
    """The reading at which the total import register starts again from 0, before any transformer ratio; None when not known."""
    total = _total(meter)
    if total is None:
        return DLT645_ROLLOVER_WH if meter.dlt645 else None
    return None if total.rollover is None else _wh(total.rollover)


def bills_below_wh(meter: MeterProfile) -> int | None:
    """The reading from which the total import register is a float too coarse for its own step, and gives no value any more.

    Before any transformer ratio; None for integers, which never get there.
    """
    total = _total(meter)
    return None if total is None or total.type.exact_below is None else _wh(total.type.exact_below)


def values(meter: MeterProfile) -> Values:
    """Whether the registers are primary, so that no ratio may be applied to them, or secondary, as those of DL/T 645 are."""
    return meter.modbus.values if meter.modbus else "secondary"


def notice(device: MeterProfile) -> str | None:
    """One sentence on what no meter has confirmed of this profile; None when all of it is confirmed."""
    return f"profile {device.name}: no meter has confirmed {'; '.join(device.unconfirmed)}" if device.unconfirmed else None


def _total(meter: MeterProfile) -> Register | None:
    return next((r for r in meter.modbus.registers if r.quantity == "energy_import"), None) if meter.modbus else None


def _wh(kwh: Decimal) -> int:
    return int(kwh.scaleb(3))


def gives(meter: MeterProfile, register: str) -> bool:
    """Whether readings of this meter carry that energy register; DL/T 645 blocks carry the rates that the meter has."""
    return meter.modbus is None or register in meter.quantities


def round_ms(meter: MeterProfile, byte_ms: float, gap_ms: int) -> int:
    """About how long it takes to read every group of this meter once. byte_ms: time of a byte on the wire, 0 over TCP."""
    sizes: list[int] = []
    if meter.dlt645 is not None:
        reads = meter.dlt645
        sizes = [DLT645_BYTES + _data_bytes(di) for di in (*reads.billing, *reads.instant[:1], *reads.status[:1])]
    elif meter.quantities:
        sizes = [MODBUS_BYTES + 2 * block.count for block in plan_reads(meter)]
    return int(sum(size * byte_ms + TYPICAL_DELAY_MS + gap_ms for size in sizes))


def _data_bytes(di: str) -> int:
    item = describe(di)
    return 0 if item is None else sum(field.length for field in item.fields[:BLOCK_VALUES])
