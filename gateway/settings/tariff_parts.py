"""The parts of a tariff in the settings: time of use, seasons, steps, bands, fees, power factor. Their forms: `tariff_words`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.domain import price_list
from gateway.domain.price_list import CountedOn, FeeBasis, StepKind
from gateway.domain.price_list import Rate as RateClass
from gateway.settings.tariff_words import (
    Amount,
    Day,
    EnergyWh,
    Factor,
    KwhPrice,
    Name,
    PerMille,
    RateName,
    Resets,
    TenThousandths,
    Weekday,
    YearDay,
    day_table,
    iso_day,
    written_factor,
)
from gateway.settings.words import Id, Table

PowerFactors = Mapping[int, price_list.PowerFactor]
"""The known tables of power-factor adjustment, by standard in per cent."""

Row = Annotated[tuple[Factor, TenThousandths], Field(strict=False)]
"""A power factor and what is added from it on; TOML knows no tuples."""


class YearZone(Table):
    """A part of the year: from this day on, this day table."""

    from_: Annotated[YearDay, Field(alias="from")]
    table: Name


class TimeOfUse(Table):
    """Which rate holds when. tables: name -> rate -> spans of the day. holidays: "DATE" (holiday_table) or "DATE TABLE"."""

    tables: Annotated[dict[Name, dict[RateName, list[str]]], Field(min_length=1)]
    zones: Annotated[list[YearZone], Field(min_length=1)] | None = None
    weekend: list[Weekday] = []
    weekend_table: Name | None = None
    holidays: list[str] = []
    holiday_table: Name | None = None
    holidays_until: Day | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        faults = self._of_tables() + self._of_holidays()
        if self.zones is None and len(self.tables) > 1:
            faults.append('zones are missing: with more than one table, write like zones = [{from = "01-01", table = "..."}]')
        if bool(self.weekend) != (self.weekend_table is not None):
            faults.append("weekend and weekend_table go together")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _of_tables(self) -> list[str]:
        faults = []
        for name, spans in self.tables.items():
            try:
                day_table(spans)
            except ValueError as fault:
                faults.append(f"day table {name}: {fault}")
        used = [*(zone.table for zone in self.zones or ()), self.weekend_table, self.holiday_table]
        return faults + [f"there is no day table {name}" for name in used if name is not None and name not in self.tables]

    def _of_holidays(self) -> list[str]:
        faults, days = [], set()
        for text in self.holidays:
            day, _, table = text.partition(" ")
            try:
                iso_day(day)
            except ValueError as fault:
                faults.append(f"holidays: {fault}")
                continue
            if day in days:
                faults.append(f"holidays: {day} is there twice")
            days.add(day)
            if not table and self.holiday_table is None:
                faults.append(f"holidays: {day} needs a table, or name a holiday_table for all")
            elif table and table not in self.tables:
                faults.append(f"holidays: there is no day table {table} for {day}")
        if self.holidays and self.holidays_until is None:
            faults.append("holidays_until is missing: the last day that the list of holidays knows")
        return faults

    def time_of_use(self) -> price_list.TimeOfUse:
        """In the domain's words."""
        dates = (text.partition(" ") for text in self.holidays)
        only = [YearZone.model_validate({"from": "01-01", "table": next(iter(self.tables))})]
        return price_list.TimeOfUse(
            zones=tuple(price_list.Zone(*zone.from_, zone.table) for zone in self.zones or only),
            tables={name: day_table(spans) for name, spans in self.tables.items()},
            weekend=tuple(sorted(set(self.weekend))),
            weekend_table=self.weekend_table,
            holidays={day: table or self.holiday_table or "" for day, _, table in dates},
            holidays_until=self.holidays_until,
        )


class Priced(Table):
    """A price for all energy, or one for each rate."""

    price: KwhPrice | None = None
    prices: Annotated[dict[RateName, KwhPrice], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.price is not None and self.prices is not None:
            raise ValueError("has either price or prices, not both")
        return self

    def by_rate(self) -> dict[RateClass, int]:
        """Micro per kWh."""
        return dict(self.prices or {}) if self.price is None else {RateClass.SINGLE: self.price}


class Season(Priced):
    """Prices from this day of the year on."""

    id: Name
    from_: Annotated[YearDay, Field(alias="from")]

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.price is None and self.prices is None:
            raise ValueError("a season has price or prices")
        return self


class Steps(Table):
    """Steps over the total energy of a period. up_to: the last kWh of each step but the highest, which has no end."""

    kind: Literal["block", "adder"]
    every: Resets
    up_to: Annotated[list[EnergyWh], Field(min_length=1)]
    amounts: list[KwhPrice]
    counted_on: Literal["use", "purchases"] = "use"
    persons: Annotated[int, Field(ge=0, le=99)] = 0
    per_person: EnergyWh = 0
    per_days: Annotated[int, Field(ge=1, le=366)] | None = None
    by_service: bool = True

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len(self.amounts) != len(self.up_to) + 1:
            raise ValueError(f"{len(self.up_to)} thresholds in up_to need one amount more, not {len(self.amounts)}")
        for lower, higher in itertools.pairwise(self.up_to):
            if lower >= higher:
                raise ValueError("the thresholds in up_to must rise")
        if bool(self.persons) != bool(self.per_person):
            raise ValueError("persons and per_person go together")
        return self

    def steps(self) -> price_list.Steps:
        """In the domain's words."""
        return price_list.Steps(
            kind=StepKind(self.kind),
            resets=self.every,
            thresholds_wh=tuple(self.up_to),
            amounts=tuple(self.amounts),
            counted_on=CountedOn(self.counted_on),
            persons=self.persons,
            per_person_wh=self.per_person,
            per_days=self.per_days,
            by_service=self.by_service,
        )


class Band(Table):
    """From more than `over` kWh in the period on, all of it bears this surcharge and this fixed charge."""

    over: EnergyWh
    surcharge: PerMille = 0
    fixed: Amount = 0


class Fee(Table):
    """A basic fee per day, period, kVA of the contract, or kW of demand."""

    id: Id
    basis: Literal["day", "period", "kva", "demand"]
    amount: Amount
    least_kw: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    prorated: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.least_kw and self.basis != "demand":
            raise ValueError('least_kw belongs to basis = "demand"')
        return self

    def fee(self) -> price_list.Fee:
        """In the domain's words."""
        return price_list.Fee(self.id, FeeBasis(self.basis), self.amount, self.least_kw, self.prorated)


class Below(Table):
    """Under the last row, every `each` less adds `add`, down to nothing."""

    each: Factor
    add: TenThousandths


class AdjustTable(Table):
    """Rows (power factor, share) from the highest down: a row holds from its factor up to the one above."""

    standard: Factor
    rows: list[Row]
    below: Below | None = None

    def power_factor(self) -> price_list.PowerFactor:
        """In the domain's words, with a row for every hundredth below the last."""
        rows = [(factor, share) for factor, share in self.rows]
        if self.below is not None and self.below.each and rows:
            factor, share = rows[-1]
            while (factor := factor - self.below.each) >= 0:
                share += self.below.add
                rows.append((factor, share))
        return price_list.PowerFactor(self.standard, tuple(rows))


class AdjustTables(Table):
    """A file of power-factor adjustment tables."""

    table: Annotated[list[AdjustTable], Field(min_length=1)]


class PowerFactor(Table):
    """The standard, and rows of one's own where it is not one of the built-in table's."""

    standard: Factor
    rows: list[Row] | None = None
    below: Below | None = None

    def power_factor(self, known: PowerFactors) -> price_list.PowerFactor:
        """In the domain's words. ValueError for a standard without a table."""
        if self.rows is not None:
            return AdjustTable.model_construct(standard=self.standard, rows=self.rows, below=self.below).power_factor()
        if self.standard not in known:
            standards = ", ".join(written_factor(standard) for standard in sorted(known))
            wanted = written_factor(self.standard)
            raise ValueError(f"there is no built-in power-factor table for {wanted}, only for {standards}; write rows")
        return known[self.standard]
