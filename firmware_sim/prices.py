"""Prices in a meter: rates and steps, each in a current and a standby set with a switch time (04000108/09, 0405, 0406)."""

from __future__ import annotations

from dataclasses import dataclass, field

from firmware_sim.wallet import NO_STEPS, Steps

MAX_RATES = 63


def _sets() -> list[list[int]]:
    return [[0] * MAX_RATES, [0] * MAX_RATES]


@dataclass(slots=True)
class PriceBook:
    """rates[set][rate - 1] in 0.0001 yuan per kWh; steps[set]. Set 0 is current, set 1 waits."""

    rates: list[list[int]] = field(default_factory=_sets)
    steps: list[Steps] = field(default_factory=lambda: [NO_STEPS, NO_STEPS])
    unsettled: bool = False
    """No day is set on which the steps begin anew: no step part is charged."""

    def price(self, rate: int) -> int:
        """What this rate (1..63) costs now."""
        return self.rates[0][rate - 1]

    @property
    def ladder(self) -> Steps:
        """The steps that are charged now."""
        return NO_STEPS if self.unsettled else self.steps[0]

    def switch_rates(self) -> None:
        """The standby prices become current."""
        self.rates.reverse()

    def switch_steps(self) -> None:
        """The standby steps become current."""
        self.steps.reverse()
