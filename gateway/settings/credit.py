"""Credit policies in the settings: an account's own, or one by its name: of the file (`[[policy]]`) or shipped (config/policies).

Money as decimal strings in the account's currency, times in the unit of the key's name.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from gateway.domain import credit
from gateway.domain.credit import DAY_MS, MINUTE_MS, CreditPolicy, CreditState
from gateway.domain.units import parse_money, parse_signed_money
from gateway.settings.tariff_words import Day
from gateway.settings.words import Currency, Id, Table

HOUR_MS = 60 * MINUTE_MS

At = Literal["low", "very_low", "emergency", "exhausted", "cut"]
Source = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Channels = Annotated[list[Id], Field(max_length=20)]


class Step(Table):
    """A rung of the notice ladder. channels: none means whatever the account has. before_min: so long before the cut."""

    name: Id
    at: At
    channels: Channels = []
    before_min: Annotated[int, Field(ge=0, le=366 * 24 * 60)] = 0
    needed: bool = True
    last: bool = False
    go_on: bool = False
    unproved: bool = False

    def step(self) -> credit.Step:
        """In the domain's words."""
        flags = (self.needed, self.last, self.go_on, self.unproved)
        return credit.Step(self.name, tuple(self.channels), CreditState(self.at), self.before_min * MINUTE_MS, *flags)


class Emergency(Table):
    """Credit lent: how much, at which balance, and whether somebody has to ask for it."""

    amount: str
    at: str
    accept: Literal["asked", "automatic"] = "asked"


class Period(Table):
    """A number of a rule, where it stands, and of which day that is."""

    days: Annotated[int, Field(ge=0, le=366)] = 0
    hours: Annotated[int, Field(ge=0, le=24)] = 0
    source: Source
    date: Day

    def sourced(self) -> credit.Sourced:
        """In the domain's words."""
        return credit.Sourced(self.days * DAY_MS + self.hours * HOUR_MS, self.source, self.date)


class PostPaid(Table):
    """What holds without a prepayment agreement: a bill is due so long after its month, and overdue so long before the notice."""

    due: Period
    overdue: Period
    notice: Period
    repeat: Period
    channels: Channels = []

    def profile(self) -> credit.PostPaid:
        """In the domain's words."""
        return credit.PostPaid(
            self.due.sourced(), self.overdue.sourced(), self.notice.sourced(), self.repeat.sourced(), tuple(self.channels)
        )


class Policy(Table):
    """What an account's balance does. name: that of a policy that stands elsewhere; then nothing else stands here.

    low, very_low: warned at or below. cut: exhausted at or below; overdraft: the same as an amount below zero. close: supply
    returns above it. calendar: when nobody is cut; friendly: whom that helps. hoard: the highest balance. emergency: credit lent.
    """

    name: Id | None = None
    low: str = "20.00"
    very_low: str | None = None
    cut: str | None = None
    overdraft: str | None = None
    close: str = "0.00"
    close_inclusive: bool = False
    reconnect: Literal["close", "allow"] = "allow"
    no_cut_hours: bool = True
    calendar: Id | None = None
    friendly: Literal["any", "credit"] = "any"
    hoard: str | None = None
    emergency: Emergency | None = None
    reminding_cut: bool = False
    grace_hours: Annotated[int, Field(ge=0, le=366 * 24)] = 0
    trip_delay_min: Annotated[int, Field(ge=0, le=24 * 60)] = 0
    steps: Annotated[list[Step], Field(min_length=1, max_length=16)] | None = None
    postpaid: PostPaid | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if self.name is not None and (more := sorted(self.model_fields_set - {"name"})):
            raise ValueError(f"is policy {self.name}, and has no {', '.join(more)} of its own")
        if self.cut is not None and self.overdraft is not None:
            raise ValueError("has either cut or overdraft: they say the same")
        return self

    def policy(self, currency: str) -> CreditPolicy:
        """In the domain's words; not for one that stands elsewhere. ValueError for an amount that is none."""
        lent = self.emergency
        return CreditPolicy(
            low_micro=parse_signed_money(self.low, currency),
            cut_micro=self._cut(currency),
            close_micro=parse_signed_money(self.close, currency),
            close_inclusive=self.close_inclusive,
            reconnect_direct=self.reconnect == "close",
            no_cut_hours=self.no_cut_hours,
            very_low_micro=None if self.very_low is None else parse_signed_money(self.very_low, currency),
            emergency_micro=0 if lent is None else parse_money(lent.amount, currency),
            emergency_at_micro=0 if lent is None else parse_signed_money(lent.at, currency),
            emergency_auto=lent is not None and lent.accept == "automatic",
            hoard_micro=0 if self.hoard is None else parse_money(self.hoard, currency),
            reminding=self.reminding_cut,
            grace_ms=self.grace_hours * HOUR_MS,
            trip_delay_ms=self.trip_delay_min * MINUTE_MS,
            friendly=self.friendly,
            calendar=self.calendar,
            steps=(credit.LOG_STEP,) if self.steps is None else tuple(step.step() for step in self.steps),
            postpaid=None if self.postpaid is None else self.postpaid.profile(),
        )

    def _cut(self, currency: str) -> int:
        if self.overdraft is not None:
            return -parse_money(self.overdraft, currency)
        return 0 if self.cut is None else parse_signed_money(self.cut, currency)


class NamedPolicy(Policy):
    """`[[policy]]`: one that accounts of this currency name."""

    id: Id
    currency: Currency

    @model_validator(mode="after")
    def _itself(self) -> Self:
        if self.name is not None:
            raise ValueError(f"stands here itself, and not elsewhere as {self.name}")
        return self
