"""What flows at one moment, and what the meter makes of it: drawn by the house, through the contact, measured, counted.

Units: mW, mvar, mVA, mA at nominal voltage. Measured active power is negative when it flows back to the grid, reactive power when
the current leads; a swapped lead turns both.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from firmware_sim.loads import Draw
from firmware_sim.registers import APPARENT_FORWARD, APPARENT_REVERSE, FORWARD, Q1, Q2, Q3, Q4, REVERSE

NOMINAL = 1000  # thousandths of the nominal voltage


@dataclass(frozen=True, slots=True)
class Tamper:
    """What somebody has done to the meter. reversed: phases whose current leads are swapped.

    bypass_permille: the share of the load that flows around the meter. magnet_permille: what a magnet leaves of the measurement.
    """

    reversed: frozenset[int] = frozenset()
    bypass_permille: int = 0
    magnet_permille: int = 1000


HONEST = Tamper()


@dataclass(frozen=True, slots=True)
class Flow:
    """One moment. drawn_mw: what the house uses. power_mw: what of it passes the contact, by phase in `phases_mw`.

    active_mw, reactive_mvar, apparent_mva: as measured, by phase; the totals add up with their signs. counted: the starting
    current is reached.
    """

    drawn_mw: int
    power_mw: int
    phases_mw: tuple[int, ...]
    active_mw: tuple[int, ...]
    reactive_mvar: tuple[int, ...]
    apparent_mva: tuple[int, ...]
    total_mw: int
    total_mvar: int
    total_mva: int
    counted: bool

    def weights(self) -> list[tuple[int, int]]:
        """(quantity, power) of everything that the total registers count."""
        return _weights(self.total_mw, self.total_mvar, self.total_mva) if self.counted else []

    def phase_weights(self, phase: int) -> list[tuple[int, int]]:
        """(quantity, power) of what the registers of one phase count."""
        measured = self.active_mw[phase], self.reactive_mvar[phase], self.apparent_mva[phase]
        return _weights(*measured) if self.counted else []


def flow(draw: Draw, shares: tuple[int, ...], levels: tuple[int, ...], closed: bool, tamper: Tamper, floor_mw: int) -> Flow:
    """What happens when a load draws. levels: voltage of each phase in thousandths. floor_mw: power of the starting current."""
    wanted = [_at_level(power, level) for power, level in zip(_split(draw.power_mw, shares), levels, strict=True)]
    around = [power * tamper.bypass_permille // 1000 for power in wanted]
    phases = tuple(power - aside if closed else 0 for power, aside in zip(wanted, around, strict=True))
    sign = tuple(-1 if phase in tamper.reversed else 1 for phase in range(len(shares)))
    seen = [power * tamper.magnet_permille // 1000 for power in phases]
    active = tuple(s * power for s, power in zip(sign, seen, strict=True))
    lead = -1 if draw.leading else 1
    varying = tuple(s * lead * reactive(power, draw.pf_milli) for s, power in zip(sign, seen, strict=True))
    total = sum(active)
    total_mvar = sum(varying) if tamper.reversed and len(shares) > 1 else sign[0] * lead * reactive(total, draw.pf_milli)
    total_mva = isqrt(total**2 + total_mvar**2) if tamper.reversed else apparent(total, draw.pf_milli)
    return Flow(
        drawn_mw=max(0, sum(around) + sum(phases)),
        power_mw=sum(phases),
        phases_mw=phases,
        active_mw=active,
        reactive_mvar=varying,
        apparent_mva=tuple(apparent(power, draw.pf_milli) for power in seen),
        total_mw=total,
        total_mvar=total_mvar,
        total_mva=total_mva,
        counted=max(map(abs, seen)) >= floor_mw and any(seen),
    )


def apparent(power_mw: int, pf_milli: int) -> int:
    """mVA from active power, whichever way it flows, and power factor."""
    return abs(power_mw) * 1000 // pf_milli


def reactive(power_mw: int, pf_milli: int) -> int:
    """mvar without a sign."""
    return isqrt(max(0, apparent(power_mw, pf_milli) ** 2 - power_mw**2))


def _split(power_mw: int, shares: tuple[int, ...]) -> list[int]:
    """The load by phases; they add up exactly."""
    first = [power_mw * share // 1000 for share in shares[:-1]]
    return [*first, power_mw - sum(first)]


def _at_level(power_mw: int, level: int) -> int:
    """A load is a resistance: its power goes with the square of the voltage."""
    return power_mw if level == NOMINAL else power_mw * level * level // NOMINAL**2


def _weights(active: int, varying: int, apparent_: int) -> list[tuple[int, int]]:
    quadrant = (Q1 if varying >= 0 else Q4) if active >= 0 else (Q2 if varying >= 0 else Q3)
    pairs = (
        (FORWARD if active >= 0 else REVERSE, abs(active)),
        (quadrant, abs(varying)),
        (APPARENT_FORWARD if active >= 0 else APPARENT_REVERSE, apparent_),
    )
    return [(quantity, power) for quantity, power in pairs if power]
