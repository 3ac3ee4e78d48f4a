"""An account in the settings: who pays, by which tariff and thresholds, and what is owed from before."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from gateway.domain.debt_terms import DebtTerms
from gateway.domain.price_list import Terms
from gateway.domain.units import parse_money, parse_signed_money
from gateway.settings.tariff_words import Day, PerMille
from gateway.settings.words import Currency, Id, Table

_KVA = re.compile(r"(0|[1-9][0-9]{0,6})(?:\.([0-9]{1,3}))?", re.ASCII)


def _va(value: object) -> int:
    match = _KVA.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"a contract is a string in kVA with at most 3 decimals, like 315, not {value!r}")
    return int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0"))


Kva = Annotated[int, BeforeValidator(_va)]


class Policy(Table):
    """Thresholds as decimal strings in the account's currency."""

    low: str = "20.00"
    cut: str = "0.00"
    close: str = "0.00"
    close_inclusive: bool = False
    reconnect: Literal["close", "allow"] = "allow"
    no_cut_hours: bool = True


class Limit(Table):
    power_w: Annotated[int, Field(ge=1)]
    delay_s: Annotated[int, Field(ge=1)]
    pause_s: Annotated[int, Field(ge=1)] = 60
    recloses: Annotated[int, Field(ge=0, le=100)] = 3


class Debt(Table):
    """What is owed from before, taken over once. share: of each payment, up to weekly_cap an ISO week, by the agreement that the
    customer signed. since: the day it fell due."""

    opening: str
    share: PerMille
    agreement: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    since: Day
    weekly_cap: str | None = None

    @model_validator(mode="after")
    def _a_share(self) -> Self:
        if not 1 <= self.share <= 1000:
            raise ValueError("share must lie between 0.1% and 100%")
        return self

    def terms(self, currency: str) -> DebtTerms:
        """In the domain's words."""
        cap = parse_money(self.weekly_cap, currency) if self.weekly_cap is not None else None
        return DebtTerms(self.agreement, self.share, self.since, cap)


class Account(Table):
    """since: the day it came into service, by default long ago. persons: of the household. kva: of the contract."""

    id: Id
    currency: Currency
    tariff: Id
    holder: str = ""
    agreement: str | None = None
    opening: str | None = None
    never_cut: bool = False
    closed: bool = False
    since: Day | None = None
    persons: Annotated[int, Field(ge=0, le=99)] = 0
    kva: Kva = 0
    policy: Policy = Policy()
    limit: Limit | None = None
    debt: Debt | None = None

    @model_validator(mode="after")
    def _money(self) -> Self:
        for name in ("low", "cut", "close"):
            parse_signed_money(getattr(self.policy, name), self.currency)
        if self.opening is not None:
            parse_money(self.opening, self.currency)
        if self.debt is not None:
            self.debt.terms(self.currency)
            if not parse_money(self.debt.opening, self.currency):
                raise ValueError("debt.opening must be above zero")
        if parse_signed_money(self.policy.low, self.currency) < parse_signed_money(self.policy.cut, self.currency):
            raise ValueError("policy.low must not lie below policy.cut: nobody would be warned before the cut")
        return self

    def terms(self) -> Terms:
        """What its tariff must know of it."""
        return Terms(self.since, self.persons, self.kva)
