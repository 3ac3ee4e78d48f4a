"""An account in the settings: who pays, by which tariff and thresholds, and what is owed from before."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from gateway.domain.credit import CreditPolicy
from gateway.domain.credit_check import contradictions
from gateway.domain.debt_terms import DebtTerms
from gateway.domain.notices import Reach
from gateway.domain.price_list import Terms
from gateway.domain.units import parse_money
from gateway.settings.credit import Policy
from gateway.settings.limits import Limit
from gateway.settings.notices import MOST_CONTACTS, Contact
from gateway.settings.tariff_words import Day, PerMille
from gateway.settings.words import Currency, Id, Table

_KVA = re.compile(r"(0|[1-9][0-9]{0,6})(?:\.([0-9]{1,3}))?", re.ASCII)


def _va(value: object) -> int:
    match = _KVA.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"a contract is a string in kVA with at most 3 decimals, like 315, not {value!r}")
    return int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0"))


Kva = Annotated[int, BeforeValidator(_va)]

Said = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Signed(Table):
    """What the customer signed, and by which ways it lets him be told (prepayment.md 2)."""

    id: Said
    date: str
    version: Said = "1"
    channels: Annotated[list[Said], Field(max_length=16)] = []

    @model_validator(mode="after")
    def _day(self) -> Self:
        if len(self.date) != 10:
            raise ValueError(f"date is like 2026-11-01, not {self.date!r}")
        date.fromisoformat(self.date)
        return self

    @property
    def text(self) -> str:
        """As it stands with the account, and in the plan that a cut at its end names."""
        by = f", notices by {', '.join(self.channels)}" if self.channels else ""
        return f"{self.id}, version {self.version}, of {self.date}{by}"


def _agreed(value: object) -> object:
    return Signed.model_validate(value).text if isinstance(value, dict) else value


Agreement = Annotated[str, BeforeValidator(_agreed)]
"""A table with id, date, version and channels; or its number alone."""


class Debt(Table):
    """What is owed from before, taken over once. share: of each payment, up to weekly_cap an ISO week, by the agreement that the
    customer signed. since: the day it fell due. kind: what is not for energy is never taken out of a payment for energy."""

    opening: str
    kind: Literal["energy", "other"] = "energy"
    share: PerMille = 0
    agreement: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    since: Day
    weekly_cap: str | None = None

    @model_validator(mode="after")
    def _a_share(self) -> Self:
        if self.kind == "other":
            if more := sorted(self.model_fields_set & {"share", "weekly_cap"}):
                raise ValueError(f"a debt that is not for energy has no {' and no '.join(more)}: no payment is split to it")
        elif not 1 <= self.share <= 1000:
            raise ValueError("share must lie between 0.1% and 100%")
        return self

    def terms(self, currency: str) -> DebtTerms:
        """In the domain's words."""
        cap = parse_money(self.weekly_cap, currency) if self.weekly_cap is not None else None
        return DebtTerms(self.agreement, self.share, self.since, cap, self.kind == "energy")


class Account(Table):
    """since: the day it came into service, by default long ago. persons: of the household. kva: of the contract.

    authority: who holds its money when it first enters the store. customer: the number that purchases for a meter's wallet name.
    """

    id: Id
    currency: Currency
    tariff: Id
    holder: str = ""
    agreement: Agreement | None = None
    opening: str | None = None
    never_cut: bool = False
    closed: bool = False
    authority: Literal["gateway", "meter"] = "gateway"
    customer: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")] | None = None
    since: Day | None = None
    persons: Annotated[int, Field(ge=0, le=99)] = 0
    kva: Kva = 0
    policy: Policy = Policy()
    limit: Limit | None = None
    debt: Debt | None = None
    contacts: Annotated[list[Contact], Field(max_length=MOST_CONTACTS)] = []
    language: Literal["en", "zh"] = "en"

    @model_validator(mode="after")
    def _money(self) -> Self:
        if self.policy.name is None and (faults := contradictions(self._policy(), agreement=self.agreement is not None)):
            raise ValueError("; ".join(f"policy.{text}" for text in faults))
        if self.opening is not None:
            parse_money(self.opening, self.currency)
            if self.authority == "meter":
                raise ValueError("opening is what the wallet of its meter shows: leave it out where authority is meter")
        if self.debt is not None:
            self.debt.terms(self.currency)
            if not parse_money(self.debt.opening, self.currency):
                raise ValueError("debt.opening must be above zero")
        return self

    def _policy(self) -> CreditPolicy:
        try:
            return self.policy.policy(self.currency)
        except ValueError as problem:
            raise ValueError(f"policy: {problem}") from None

    def reach(self) -> Reach:
        """Whom notices go to."""
        return Reach(tuple(contact.contact() for contact in self.contacts), self.language)

    def terms(self) -> Terms:
        """What its tariff must know of it."""
        return Terms(self.since, self.persons, self.kva)
