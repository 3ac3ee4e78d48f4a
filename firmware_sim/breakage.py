"""Faults of a meter's parts: what each does to registers, switch and wiring, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from firmware_sim.meter import Meter
from firmware_sim.registers import COUNT, FORWARD

ROLLOVER = 10**8  # a register holds 999999.99


@dataclass(frozen=True, slots=True)
class Extent:
    """How bad it is. share_permille: of the load that a bypass takes. phases: whose leads are swapped, none for all.

    counts: steps of 0.01 kWh that a register leaps, or that are left until it rolls over.
    """

    share_permille: int = 500
    phases: frozenset[int] = frozenset()
    counts: int = 5


def apply(meter: Meter, kind: str, on: bool, extent: Extent) -> None:
    """Begin or end a fault of a part at this moment; the meter has been advanced to it."""
    if kind == "welded":
        meter.relay.welded = on
    elif kind == "stuck":
        meter.registers.stuck = on
    elif kind == "no_feedback":
        meter.relay.feedback = meter.spec.feedback and not on
    elif kind == "bypass":
        meter.tamper = replace(meter.tamper, bypass_permille=extent.share_permille if on else 0)
    elif kind == "reverse":
        meter.tamper = replace(meter.tamper, reversed=(extent.phases or frozenset(range(meter.spec.phases))) if on else frozenset())
    elif kind in ("jump", "rollover"):
        _shift(meter, kind, on, extent.counts)


def _shift(meter: Meter, kind: str, on: bool, counts: int) -> None:
    """The register shows something else from now on; at the end it shows the truth again."""
    if not on:
        meter.registers.skew[FORWARD][:] = [0] * meter.spec.rates
    elif kind == "jump":
        meter.registers.jump(counts, meter.rate)
    else:
        skew = meter.registers.skew[FORWARD]
        skew[meter.rate - 1] += (ROLLOVER - counts - meter.registers.count(FORWARD)) * COUNT
