"""Energy registers: what was counted, by quantity and rate and by quantity and phase, and what the display makes of it.

Energies are kept in grains (1 mW for 1 us at a speed of 0.001), so that no step ever rounds.
"""

from __future__ import annotations

from collections.abc import Iterator

GRAIN = 10**9  # grains in one mWs
CENTI_KWH_MWS = 36_000_000  # 0.01 kWh
COUNT = GRAIN * CENTI_KWH_MWS  # grains in one step of a register
FORWARD, REVERSE, Q1, Q2, Q3, Q4, APPARENT_FORWARD, APPARENT_REVERSE = range(8)
QUANTITIES = 8
NAMES = ("forward", "reverse", "q1", "q2", "q3", "q4", "apparent_forward", "apparent_reverse")


class Registers:
    """Rows of grains: `total[quantity][rate - 1]` and `phase[quantity][phase]`.

    skew: what the display adds to a total, because the register was stuck or has jumped; the energy itself stays true.
    """

    def __init__(self, rates: int, phases: int) -> None:
        self.rates = rates
        self.total = [[0] * rates for _ in range(QUANTITIES)]
        self.phase = [[0] * phases for _ in range(QUANTITIES)]
        self.skew = [[0] * rates for _ in range(QUANTITIES)]
        self.stuck = False

    def grains(self, quantity: int) -> int:
        """Everything counted of one quantity."""
        return sum(self.total[quantity])

    def count(self, quantity: int, rate: int = 0) -> int:
        """A register in its own steps, truncated by itself, without rollover; rate 0 is the total."""
        if rate:
            return (self.total[quantity][rate - 1] + self.skew[quantity][rate - 1]) // COUNT
        return (sum(self.total[quantity]) + sum(self.skew[quantity])) // COUNT

    def phase_count(self, quantity: int, phase: int) -> int:
        """The register of one phase."""
        return self.phase[quantity][phase] // COUNT

    def preset(self, forward_grains: int, shares: tuple[int, ...]) -> None:
        """Energy counted before the beginning, spread evenly over the rates and by thousandths over the phases."""
        share, rest = divmod(forward_grains, self.rates)
        self.total[FORWARD] = [share + (rest if i == 0 else 0) for i in range(self.rates)]
        self.phase[FORWARD] = [forward_grains * each // 1000 for each in shares]

    def jump(self, steps: int, rate: int) -> None:
        """Let the display of forward active energy leap by this many steps (0.01 kWh), up or down."""
        self.skew[FORWARD][rate - 1] += steps * COUNT

    def clear(self) -> None:
        """Begin again at zero."""
        for rows in (self.total, self.phase, self.skew):
            for row in rows:
                row[:] = [0] * len(row)

    def save(self) -> dict[str, list[int]]:
        """Every row that is not all zero, by name, except forward active energy, which the meter keeps by itself."""
        return {name: list(row) for name, row in self._rows() if any(row) and name != "total forward"}

    def restore(self, saved: dict[str, list[int]]) -> None:
        """Continue from saved rows. Raises ValueError for a row of another length."""
        for name, row in self._rows():
            if name in saved:
                if len(saved[name]) != len(row):
                    raise ValueError(f"{name} was saved with {len(saved[name])} registers, now {len(row)}")
                row[:] = saved[name]

    def _rows(self) -> Iterator[tuple[str, list[int]]]:
        for kind, rows in (("total", self.total), ("phase", self.phase), ("skew", self.skew)):
            for name, row in zip(NAMES, rows, strict=True):
                yield f"{kind} {name}", row
