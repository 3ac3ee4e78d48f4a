"""A tariff in the settings: `[[tariff]]` of a configuration, and a file of its own (config/tariffs), in one form.

Prices per kWh and amounts are decimal strings, energies strings in kWh, shares "40%" or "2‰", days "2026-01-01" and "05-01".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.domain import price_list
from gateway.domain.price_list import GapSplit, RoundingMode, RoundingPlace, Season
from gateway.domain.price_list import Rate as RateClass
from gateway.domain.readings import TOTAL
from gateway.domain.tariff_change import ALWAYS
from gateway.domain.units import parse_money, parse_price
from gateway.settings import tariff_parts as parts
from gateway.settings.tariff_parts import PowerFactors
from gateway.settings.tariff_words import Amount, Day, EnergyWh, Name, PerMille, RateName, Resets
from gateway.settings.words import Currency, Id, Price, Table, Zone

Register = Annotated[int, Field(ge=1, le=63)]


class Rate(Table):
    """One price of a two-rate tariff and the meter's rate registers that it covers."""

    registers: Annotated[list[Register], Field(min_length=1)]
    price: Price


class Version(parts.Priced):
    """The tariff from this day until the next version. free: kWh of each period that cost nothing. minimum: of each period."""

    id: Name | None = None
    from_: Annotated[Day, Field(alias="from")]
    season: Annotated[list[parts.Season], Field(min_length=1)] | None = None
    registers: dict[RateName, Annotated[list[Register], Field(min_length=1)]] | None = None
    tou: parts.TimeOfUse | None = None
    period: Resets = (price_list.Reset(1),)
    steps: parts.Steps | None = None
    free: EnergyWh = 0
    bands: list[parts.Band] = []
    fees: list[parts.Fee] = []
    minimum: str | None = None
    power_factor: parts.PowerFactor | None = None

    @model_validator(mode="after")
    def _prices_once(self) -> Self:
        own = self.price is not None or self.prices is not None
        if own and self.season is not None:
            raise ValueError("has either its own prices or seasons, not both")
        if not own and self.season is None and (self.steps is None or self.steps.kind != "block"):
            raise ValueError("has no prices: write price, prices or [[...season]]")
        return self

    def _seasons(self) -> tuple[Season, ...]:
        if self.season is not None:
            return tuple(Season(s.id, *s.from_, s.by_rate()) for s in self.season)
        return (Season("year", 1, 1, self.by_rate()),)

    def _registers(self, priced: set[RateClass]) -> dict[RateClass, tuple[str, ...]]:
        given = {rate: _names(numbers) for rate, numbers in (self.registers or {}).items()}
        return ({RateClass.SINGLE: (TOTAL,)} if RateClass.SINGLE in priced and RateClass.SINGLE not in given else {}) | given

    def version(self, currency: str, known: PowerFactors) -> price_list.Version:
        """In the domain's words."""
        seasons = self._seasons()
        return price_list.Version(
            id=self.id or self.from_,
            from_day=self.from_,
            seasons=seasons,
            registers=self._registers({rate for season in seasons for rate in season.prices}),
            tou=self.tou.time_of_use() if self.tou else None,
            period=self.period,
            steps=self.steps.steps() if self.steps else None,
            free_wh=self.free,
            bands=tuple(price_list.Band(band.over, band.surcharge, band.fixed) for band in self.bands),
            fees=tuple(fee.fee() for fee in self.fees),
            minimum_micro=parse_money(self.minimum, currency) if self.minimum is not None else 0,
            power_factor=self.power_factor.power_factor(known) if self.power_factor else None,
        )


class Rounding(Table):
    """To whole multiples of `unit`: each line, each rate's sum, or the bill."""

    place: Literal["line", "rate", "bill"]
    mode: Literal["half_up", "half_even", "down", "for_customer"]
    unit: Amount

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.unit == 0:
            raise ValueError("unit must be above zero")
        return self

    def rounding(self) -> price_list.Rounding:
        """In the domain's words."""
        return price_list.Rounding(RoundingPlace(self.place), RoundingMode(self.mode), self.unit)


class LateFee(Table):
    """Share of the arrears a day, in the year they fell due and (by default the same) after its end, and the least fee."""

    per_day: PerMille
    next_year: PerMille | None = None
    least: str | None = None

    def late_fee(self, currency: str) -> price_list.LateFee:
        """In the domain's words."""
        next_year = self.per_day if self.next_year is None else self.next_year
        return price_list.LateFee(self.per_day, next_year, parse_money(self.least, currency) if self.least else 0)


class Tariff(Table):
    """One tariff: a flat or two-rate one in a few keys, one in a file of its own, or all of it with versions."""

    id: Id
    currency: Currency | None = None
    kind: Literal["flat", "two_rate"] | None = None
    price: Price | None = None
    peak: Rate | None = None
    valley: Rate | None = None
    file: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    zone: Zone | None = None
    rounding: Rounding | None = None
    split: Literal["time", "billing_months"] = "time"
    late_fee: LateFee | None = None
    version: Annotated[list[Version], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.file is not None:
            if foreign := sorted(self.model_fields_set - {"id", "file"}):
                raise ValueError(f"a tariff in a file of its own has no {', '.join(foreign)} here")
            return self
        if self.currency is None:
            raise ValueError("currency is missing")
        self._prices()
        for money in [version.minimum for version in self.version or ()] + [self.late_fee.least if self.late_fee else None]:
            if money is not None:
                parse_money(money, self.currency)
        return self

    def _prices(self) -> None:
        if (self.kind is None) == (self.version is None):
            raise ValueError("a tariff has either kind, file or [[...version]]")
        if self.kind == "flat" and (self.price is None or self.peak or self.valley):
            raise ValueError("a flat tariff has a price and no rates")
        if self.kind == "two_rate" and (self.price is not None or self.peak is None or self.valley is None):
            raise ValueError("a two_rate tariff has [peak] and [valley], each with registers and price")
        if self.kind is None and (self.price or self.peak or self.valley):
            raise ValueError("a tariff with versions has its prices there")
        if self.peak and self.valley and set(self.peak.registers) & set(self.valley.registers):
            raise ValueError("a rate register stands in both peak and valley")

    def tariff(self, zone: str, known: PowerFactors) -> price_list.Tariff:
        """In the domain's words; zone: where the tariff names none. Not for one that stands in a file. ValueError."""
        assert self.currency is not None, "a tariff in a file is loaded from there"
        late, rounding = self.late_fee, self.rounding
        return price_list.Tariff(
            id=self.id,
            currency=self.currency,
            zone=self.zone or zone,
            versions=self._versions(self.currency, known),
            rounding=rounding.rounding() if rounding else None,
            split=GapSplit(self.split),
            late_fee=late.late_fee(self.currency) if late else None,
        )

    def _versions(self, currency: str, known: PowerFactors) -> tuple[price_list.Version, ...]:
        if self.version is not None:
            return tuple(version.version(currency, known) for version in self.version)
        if self.price is not None:
            return (_always({RateClass.SINGLE: parse_price(self.price)}, {RateClass.SINGLE: (TOTAL,)}),)
        rates = {name: rate for name, rate in ((RateClass.PEAK, self.peak), (RateClass.VALLEY, self.valley)) if rate}
        prices = {name: parse_price(rate.price) for name, rate in rates.items()}
        registers = {name: _names(rate.registers) for name, rate in rates.items()}
        return (_always(prices, registers),)


def _always(prices: Mapping[RateClass, int], registers: Mapping[RateClass, tuple[str, ...]]) -> price_list.Version:
    return price_list.Version(ALWAYS, ALWAYS, (Season("year", 1, 1, prices),), registers)


def _names(registers: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"energy_import_t{n}" for n in registers)
