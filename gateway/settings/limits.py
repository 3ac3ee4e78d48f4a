"""Load limits in the settings: the `limit` of an account, and policies that several share (`[[load_policy]]`).

Powers in W, currents and energies as decimal strings in A and kWh, spans in seconds, times of the day "22:00".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gateway.domain import load_caps
from gateway.domain.limits import LoadLimit
from gateway.domain.load_caps import MOST_PERIODS, CapTable, MonthCap
from gateway.domain.malignant_load import LEAST_W, MOST_WINDOWS, MalignantMode, MalignantRule, Permitted, PowerWindow
from gateway.domain.units import MICRO, parse_money
from gateway.settings.tariff_words import DAY_MIN, Day, EnergyWh, PerMille, Weekday, minute
from gateway.settings.words import Id, Table, Zone

_AMPERES = re.compile(r"(0|[1-9][0-9]{0,3})(?:\.([0-9]{1,3}))?", re.ASCII)
_FACTOR = re.compile(r"0\.([0-9]{1,3})", re.ASCII)
MOST_A = 999_999
"""What the meters' own register of it holds: NNN.NNN A, in mA."""


def _ma(value: object) -> int:
    match = _AMPERES.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"a current is a string in A with at most 3 decimals, like 60 or 12.5, not {value!r}")
    return int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0"))


def _factor(value: object) -> int:
    match = _FACTOR.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"a power factor is a string below 1, like 0.95, not {value!r}")
    return int(match[1].ljust(3, "0"))


def _of_day(value: object) -> int:
    found = minute(value) if isinstance(value, str) else DAY_MIN
    if found == DAY_MIN:
        raise ValueError(f"must be a time of the day in quotes, like 22:00, not {value!r}")
    return found


Ma = Annotated[int, BeforeValidator(_ma)]
Factor = Annotated[int, BeforeValidator(_factor)]
OfDay = Annotated[int, BeforeValidator(_of_day)]
Watts = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seconds = Annotated[int, Field(ge=1, le=31 * 86_400)]
Plan = Annotated[str, Field(min_length=1, max_length=256)]


class Period(Table):
    """From this time of the day on: a cap, or nothing at all. With neither, only the limit itself holds."""

    from_: Annotated[OfDay, Field(alias="from")]
    power_w: Watts | None = None
    current_a: Ma | None = None
    off: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.off and (self.power_w is not None or self.current_a is not None):
            raise ValueError("is either off or has a cap")
        return self

    def cap(self) -> load_caps.Cap:
        """In the domain's words."""
        return load_caps.Cap(self.from_, self.power_w, self.current_a, self.off)


Periods = Annotated[list[Period], Field(min_length=1, max_length=MOST_PERIODS)]


class Caps(Table):
    """Caps by the time of the day, and the plan that the customer signed. rest: days of the week on which `holiday` holds, as on
    `holidays`, on those of a no-cut calendar, or of the account's tariff; not on `workdays`."""

    plan: Plan
    workday: Periods
    holiday: Periods | None = None
    rest: list[Weekday] = [6, 7]
    holidays: list[Day] = []
    workdays: list[Day] = []
    calendar: Id | None = None
    tariff_holidays: bool = False
    zone: Zone | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name in ("workday", "holiday"):
            begins = [period.from_ for period in getattr(self, name) or ()]
            if begins != sorted({*begins}):
                raise ValueError(f"{name}: the periods stand in order of their times, each once")
        if both := sorted({*self.holidays} & {*self.workdays}):
            raise ValueError(f"{both[0]} is both a holiday and a workday")
        if self.calendar is not None and self.tariff_holidays:
            raise ValueError("holidays are either those of a calendar or those of the tariff")
        if self.holiday is None and self.model_fields_set & {"rest", "holidays", "workdays", "calendar", "tariff_holidays"}:
            raise ValueError("has days that stand out, but no holiday periods that hold on them")
        return self

    def table(self) -> CapTable:
        """In the domain's words."""
        return CapTable(
            plan=self.plan,
            workday=tuple(period.cap() for period in self.workday),
            holiday=tuple(period.cap() for period in self.holiday or ()),
            rest=tuple(sorted({*self.rest})),
            days=tuple(self.holidays),
            work=tuple(self.workdays),
            calendar=self.calendar,
            by_tariff=self.tariff_holidays,
            zone=self.zone or "",
        )


class Month(Table):
    """What holds after so much energy in a bill period, by the plan that the customer signed: a lower power, or off."""

    plan: Plan
    energy_kwh: EnergyWh
    power_w: Watts | None = None
    off: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.off is (self.power_w is not None):
            raise ValueError("needs what holds when the amount is used up: either power_w or off = true")
        return self

    def cap(self) -> MonthCap:
        """In the domain's words."""
        return MonthCap(self.energy_kwh, self.plan, self.power_w, self.off)


class Permit(Table):
    name: Annotated[str, Field(min_length=1, max_length=64)]
    power_w: Watts
    tolerance_w: Annotated[int, Field(ge=0, le=100_000)]


class Malignant(Table):
    """Steps of power near power factor 1, as heaters make them. windows: pairs of W. daily_restores: then a person releases it."""

    mode: Literal["off", "alarm", "trip"] = "alarm"
    windows: Annotated[list[tuple[int, int]], Field(min_length=1, max_length=MOST_WINDOWS)]
    power_factor: Factor = 950
    permitted: Annotated[list[Permit], Field(max_length=64)] = []
    restore_s: Seconds = 60
    daily_restores: Annotated[int, Field(ge=0, le=100)] = 3

    @model_validator(mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("windows"), list):
            pairs = [tuple(pair) if isinstance(pair, list) else pair for pair in value["windows"]]
            return {**value, "windows": pairs}
        return value

    @model_validator(mode="after")
    def _windows(self) -> Self:
        for low, high in self.windows:
            if not LEAST_W <= low <= high:
                raise ValueError(f"windows: [{low}, {high}] is no span of W from {LEAST_W} up")
        return self

    def rule(self) -> MalignantRule:
        """In the domain's words."""
        return MalignantRule(
            mode=MalignantMode(self.mode),
            windows=tuple(PowerWindow(*pair) for pair in self.windows),
            power_factor=self.power_factor,
            permitted=tuple(Permitted(load.name, load.power_w, load.tolerance_w) for load in self.permitted),
            restore_ms=self.restore_s * 1000,
            daily_restores=self.daily_restores,
        )


class InMeter(Table):
    """What is written into the account's meters, and read back. Delays in minutes; amounts of money as decimal strings."""

    trip_current_a: Ma | None = None
    guard_min: Annotated[int, Field(ge=0, le=9999)] | None = None
    trip_delay_min: Annotated[int, Field(ge=0, le=9999)] | None = None
    alarm_1: str | None = None
    alarm_2: str | None = None
    overdraft: str | None = None
    hoarding: str | None = None
    reconnect: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.written():
            raise ValueError("says nothing that could be written into a meter")
        if (self.trip_current_a or 0) > MOST_A:
            raise ValueError("trip_current_a is more than a meter's register holds, 999.999")
        first, second = _cents(self.alarm_1), _cents(self.alarm_2)
        if first is not None and second is not None and first < second:
            raise ValueError("alarm_1 must not lie below alarm_2")
        return self

    def written(self) -> dict[str, int]:
        """Parameter and value in its own least unit: mA, minutes, cents (dlt645.md 8.5)."""
        found: dict[str, int | None] = {
            "trip_current_limit": self.trip_current_a,
            "trip_guard_delay": self.guard_min,
            "trip_delay": self.trip_delay_min,
            "balance_alarm_1": _cents(self.alarm_1),
            "balance_alarm_2": _cents(self.alarm_2),
            "overdraft_limit": _cents(self.overdraft),
            "hoarding_limit": _cents(self.hoarding),
            "reconnect_balance": _cents(self.reconnect),
        }
        return {name: value for name, value in found.items() if value is not None}


def _cents(amount: str | None) -> int | None:
    """What the meters count in: two decimals, whatever the currency is called."""
    return None if amount is None else parse_money(amount, "CNY") * 100 // MICRO


class Policy(Table):
    """What an account may draw, and what happens beyond it. warn: share of what is allowed. lockout_s: where it is left out, a
    person ends a lock-out."""

    power_w: Watts | None = None
    current_a: Ma | None = None
    delay_s: Seconds | None = None
    pause_s: Seconds = 60
    recloses: Annotated[int, Field(ge=0, le=100)] = 3
    forget_s: Seconds = 3600
    warn: PerMille | None = None
    lockout_s: Seconds | None = None
    caps: Caps | None = None
    month: Month | None = None
    malignant: Malignant | None = None
    meter: InMeter | None = None

    def missing(self) -> str | None:
        """Why it says nothing that could be kept."""
        measured = self.power_w or self.current_a or self.caps or self.month
        if self.current_a == 0:
            return "current_a must be above zero"
        if self.warn is not None and not 1 <= self.warn < 1000:
            return "warn is a share of what is allowed, like 90%"
        if measured and self.delay_s is None:
            return "delay_s is missing"
        if not measured and not self.malignant and not self.meter:
            return "limits nothing: write power_w, current_a, caps, month, malignant or meter"
        return None

    def limit(self, policy: str = "") -> LoadLimit:
        """In the domain's words. policy: the name by which it is known."""
        return LoadLimit(
            power_w=self.power_w or 0,
            delay_ms=(self.delay_s or 0) * 1000,
            pause_ms=self.pause_s * 1000,
            recloses=self.recloses,
            forget_ms=self.forget_s * 1000,
            current_ma=self.current_a or 0,
            warn=self.warn or 0,
            lockout_ms=(self.lockout_s or 0) * 1000,
            caps=self.caps.table() if self.caps else None,
            month=self.month.cap() if self.month else None,
            malignant=self.malignant.rule() if self.malignant else None,
            written=self.meter.written() if self.meter else {},
            policy=policy,
        )


class LoadPolicy(Policy):
    """`[[load_policy]]`: one that accounts name."""

    id: Id

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if problem := self.missing():
            raise ValueError(problem)
        return self


class Limit(Policy):
    """The limit of one account: its own, or that of a policy."""

    policy: Id | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.policy is not None and (more := sorted(self.model_fields_set - {"policy"})):
            raise ValueError(f"is that of policy {self.policy}, and has no {', '.join(more)} of its own")
        if self.policy is None and (problem := self.missing()):
            raise ValueError(problem)
        return self


def limit_of(limit: Limit | None, policies: Iterable[LoadPolicy]) -> LoadLimit | None:
    """What an account's limit is in the domain's words; its policy must be there."""
    if limit is None or limit.policy is None:
        return None if limit is None else limit.limit()
    return next(policy for policy in policies if policy.id == limit.policy).limit(limit.policy)


def strangers(limits: Iterable[tuple[str, Limit | None]], policies: Iterable[LoadPolicy]) -> list[str]:
    """Accounts that name a policy which there is not. limits: by account."""
    known = {policy.id for policy in policies}
    return [
        f"account {account}: there is no load_policy {limit.policy}"
        for account, limit in limits
        if limit is not None and limit.policy is not None and limit.policy not in known
    ]
