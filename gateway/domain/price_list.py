"""What a tariff says, as data: versions with effective dates, time of use, steps, fees. `tariffs.py` prices with it.

Prices are micro-units per kWh, fees micro-units, energies Wh, shares per mille; calendar facts are local to the tariff's zone.
Rates are the field's five (sharp, peak, flat, valley, deep_valley; prepayment.md a6), and SINGLE where time does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.domain.readings import TOTAL

MOST_ZONES, MOST_TABLES, MOST_SWITCHES = 14, 8, 14
"""Zones of a year, day tables and switches of a day that a tariff may have (DL/T 645-2007 04000201 to 04000203)."""


class Rate(StrEnum):
    """The price classes of a day."""

    SINGLE = "single"
    SHARP = "sharp"
    PEAK = "peak"
    FLAT = "flat"
    VALLEY = "valley"
    DEEP_VALLEY = "deep_valley"

    __hash__ = str.__hash__  # an enum's own is slow, and every reading looks rates up


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of the year that begins on this day (month, day) and uses this day table until the next zone begins."""

    month: int
    day: int
    table: str


@dataclass(frozen=True, slots=True)
class Switch:
    """From this minute of the day (0 to 1439) this rate holds, until the next switch; the day's first switch stands at 0."""

    minute: int
    rate: Rate


@dataclass(frozen=True, slots=True)
class TimeOfUse:
    """Which rate holds when. `zones` in order of the year; before the first one the year's last holds.

    weekend: ISO weekdays (1 to 7) that use `weekend_table` in every zone. holidays: ISO date -> table; they go before weekends.
    holidays_until: the last ISO date that the list knows; None where there are no holidays to know.
    """

    zones: tuple[Zone, ...]
    tables: Mapping[str, tuple[Switch, ...]]
    weekend: tuple[int, ...] = ()
    weekend_table: str | None = None
    holidays: Mapping[str, str] = field(default_factory=dict)
    holidays_until: str | None = None


@dataclass(frozen=True, slots=True)
class Season:
    """Prices from this day (month, day) until the next season begins: micro per kWh by rate; none where blocks are the prices."""

    id: str
    month: int
    day: int
    prices: Mapping[Rate, int]


class StepKind(StrEnum):
    """What a step's number means: the price of its energy, or what is added to the time-of-use price (prepayment.md a6)."""

    BLOCK = "block"
    ADDER = "adder"


class CountedOn(StrEnum):
    """What moves a step: energy used, or energy bought (vend direction, South Africa)."""

    USE = "use"
    PURCHASES = "purchases"


@dataclass(frozen=True, slots=True)
class Reset:
    """When step use begins anew, local time: month None means every month."""

    day: int
    hour: int = 0
    month: int | None = None


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps over the total energy of a period. A threshold belongs to the lower step (used <= threshold; prepayment.md a6).

    thresholds_wh: rising, one less than `amounts`. per_person_wh: what each person over `persons` adds to every threshold.
    per_days: thresholds scale with the period's days / this many (Sri Lanka: 30), floor to the Wh; None: they do not.
    Year steps of an account that came into service within the period shrink by months in service / 12 (`by_service`).
    """

    kind: StepKind
    resets: tuple[Reset, ...]
    thresholds_wh: tuple[int, ...]
    amounts: tuple[int, ...]
    counted_on: CountedOn = CountedOn.USE
    persons: int = 0
    per_person_wh: int = 0
    per_days: int | None = None
    by_service: bool = True


@dataclass(frozen=True, slots=True)
class Band:
    """From more than this total of the period (Wh) on, the whole period bears this surcharge and this fixed charge.

    over_wh: 0 holds for a period without energy, too; scales with the days as the steps' thresholds do (`per_days`).
    """

    over_wh: int
    surcharge_per_mille: int = 0
    fixed_micro: int = 0


class FeeBasis(StrEnum):
    """What a basic fee is counted by."""

    DAY = "day"
    PERIOD = "period"
    KVA = "kva"
    DEMAND = "demand"


@dataclass(frozen=True, slots=True)
class Fee:
    """A basic fee: micro per day, per period, per kVA of the contract and period, or per kW of the period's highest demand.

    least_kw: at least so much demand is charged (DEMAND). prorated: PERIOD and KVA count by days in service of the period.
    """

    id: str
    basis: FeeBasis
    micro: int
    least_kw: int = 0
    prorated: bool = True


@dataclass(frozen=True, slots=True)
class PowerFactor:
    """力调电费: by how much energy and basic fees change by the period's power factor (per cent) against the standard.

    adjust: rows (power factor in per cent, per ten-thousand), falling; the first row whose factor is not above the measured holds;
    below them all, the last.
    """

    standard: int
    adjust: tuple[tuple[int, int], ...]


class RoundingPlace(StrEnum):
    """What is rounded: each line of a period, each rate's sum, or the period's bill."""

    LINE = "line"
    RATE = "rate"
    BILL = "bill"


class RoundingMode(StrEnum):
    """How: half up (away from zero), half to even, down (toward zero), or for the customer (a charge down, a vend up)."""

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    DOWN = "down"
    FOR_CUSTOMER = "for_customer"


@dataclass(frozen=True, slots=True)
class Rounding:
    """The rule a law states: to whole multiples of `unit_micro`. Without one, amounts are exact but for the part below a micro."""

    place: RoundingPlace
    mode: RoundingMode
    unit_micro: int


@dataclass(frozen=True, slots=True)
class Version:
    """A tariff as it is from `from_day` (ISO, local midnight) until the next version.

    registers: the meter's rate registers of each rate; where a rate has none, `tou` says when it holds and the split is by time.
    seasons: at least one, in order of the year; before the first one the year's last holds. period: when a bill's period begins.
    free_wh: energy of each period that bears no energy price, first used first free; it counts for the steps all the same.
    minimum_micro: a period bears at least so much.
    """

    id: str
    from_day: str
    seasons: tuple[Season, ...]
    registers: Mapping[Rate, tuple[str, ...]] = field(default_factory=lambda: {Rate.SINGLE: (TOTAL,)})
    tou: TimeOfUse | None = None
    period: tuple[Reset, ...] = (Reset(1),)
    steps: Steps | None = None
    free_wh: int = 0
    bands: tuple[Band, ...] = ()
    fees: tuple[Fee, ...] = ()
    minimum_micro: int = 0
    power_factor: PowerFactor | None = None


class GapSplit(StrEnum):
    """How a late reading without a freeze is shared out: by time, or equally over billing months (prepayment.md 8)."""

    TIME = "time"
    BILLING_MONTHS = "billing_months"


@dataclass(frozen=True, slots=True)
class LateFee:
    """Per mille of the arrears a day, in the year they fell due and after its end, and the least (prepayment.md a5)."""

    per_mille: int
    per_mille_next_year: int
    least_micro: int = 0


@dataclass(frozen=True, slots=True)
class Tariff:
    """A price list: versions in order of their days, all in one currency and zone."""

    id: str
    currency: str
    zone: str
    versions: tuple[Version, ...]
    rounding: Rounding | None = None
    split: GapSplit = GapSplit.TIME
    late_fee: LateFee | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a tariff must know of an account. since_day: ISO date it came into service, None: long ago. contract_va: of its kVA."""

    since_day: str | None = None
    persons: int = 0
    contract_va: int = 0
