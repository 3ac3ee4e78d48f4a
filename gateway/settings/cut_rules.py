"""The limiter of cuts and the second person in the settings (`[limits]`; prepayment.md 6)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.domain.budgets import DAY_MS, HOUR_MS, MINUTE_MS, Budgets, Window
from gateway.settings.words import Table

Cuts = Annotated[int, Field(ge=0, le=1_000_000)]
Percent = Annotated[int, Field(ge=0, le=100)]


class Limits(Table):
    """own: our cuts for debt. ordered: those of each operator and each key of the uplink. A number of cuts, or that percentage of
    the meters where it is more. trips: more safety trips in an hour are a finding. approval: where nobody else is there, `delayed`
    lets the same person confirm after 15 minutes."""

    own_per_minute: Cuts = 5
    own_per_hour: Cuts = 2
    own_percent_per_hour: Percent = 10
    ordered_per_hour: Cuts = 2
    ordered_percent_per_hour: Percent = 2
    ordered_per_day: Cuts = 3
    ordered_percent_per_day: Percent = 10
    trips_per_hour: Cuts = 3
    trips_percent_per_hour: Percent = 5
    approval: Literal["two_persons", "delayed"] = "two_persons"

    @property
    def budgets(self) -> Budgets:
        """In the domain's words."""
        return Budgets(
            own=(Window(MINUTE_MS, self.own_per_minute), Window(HOUR_MS, self.own_per_hour, self.own_percent_per_hour)),
            ordered=(
                Window(HOUR_MS, self.ordered_per_hour, self.ordered_percent_per_hour),
                Window(DAY_MS, self.ordered_per_day, self.ordered_percent_per_day),
            ),
            many_trips=Window(HOUR_MS, self.trips_per_hour, self.trips_percent_per_hour),
        )
