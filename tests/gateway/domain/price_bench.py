"""What the tests of prices share: tariffs in few words, and an account that is charged and keeps its books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from gateway.domain.price_list import Rate, Reset, Season, StepKind, Steps, Switch, Tariff, Terms, TimeOfUse, Version, Zone
from gateway.domain.readings import TOTAL, Registers
from gateway.domain.tariffs import Charge, ChargeLine, PeriodUse, Portion, charge, cost, portions

SHANGHAI = "Asia/Shanghai"
T1, T2, T3, T4 = (f"{TOTAL}_t{number}" for number in range(1, 5))
DAY, NIGHT = Rate.PEAK, Rate.VALLEY
TWO_TABLES = {"all": (Switch(0, NIGHT), Switch(6 * 60, DAY), Switch(22 * 60, NIGHT))}
TWO_RATES = TimeOfUse((Zone(1, 1, "all"),), TWO_TABLES)
TWO_PRICES = (Season("all", 1, 1, {DAY: 617_000, NIGHT: 307_000}),)
MONTHLY = (Reset(1),)
YEARLY = (Reset(1, month=1),)


def at(local: str, zone: str = SHANGHAI) -> int:
    """The UTC ms of a local time like 2026-01-31T00:00."""
    return int(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def version(*, id: str = "v1", from_day: str = "2020-01-01", prices: Mapping[Rate, int] | None = None, **more: Any) -> Version:
    """One version; without more, one price (0.5 per kWh) the whole year."""
    seasons = more.pop("seasons", None) or (Season("all", 1, 1, {Rate.SINGLE: 500_000} if prices is None else prices),)
    return Version(id, from_day, seasons, **more)


def tariff(*versions: Version, zone: str = SHANGHAI, **more: Any) -> Tariff:
    """A price list in yuan."""
    return Tariff("t", "CNY", zone, versions or (version(),), **more)


def blocks(*rows: tuple[int | None, int], resets: Sequence[Reset] = MONTHLY, kind: StepKind = StepKind.BLOCK, **more: Any) -> Steps:
    """Steps from rows of (up to this many kWh, amount in micro)."""
    return Steps(
        kind, tuple(resets), tuple(top * 1000 for top, _ in rows if top is not None), tuple(amount for _, amount in rows), **more
    )


def registers(when: str, total: int, *, zone: str = SHANGHAI, **rates: int) -> Registers:
    """Registers at a local time, in Wh; rates as t1=..., t2=..."""
    return Registers(at(when, zone), {TOTAL: total, **{f"{TOTAL}_{name}": wh for name, wh in rates.items()}})


class Account:
    """An account under a tariff: what it was charged, and its uses as a store would keep them."""

    def __init__(self, tariff: Tariff, terms: Terms | None = None) -> None:
        self.tariff = tariff
        self.terms = terms or Terms()
        self.uses: dict[str, PeriodUse] = {}
        self.lines: list[ChargeLine] = []

    @property
    def micro(self) -> int:
        return sum(line.micro for line in self.lines)

    def charge(self, add: Sequence[Portion] = (), **more: Any) -> Charge:
        done = charge(self.tariff, self.terms, self.uses, add, **more)
        self.uses |= done.uses
        self.lines += done.lines
        return done

    def span(self, start: Registers, end: Registers, **more: Any) -> Charge:
        """A reading after another, fees accrued to it."""
        return self.charge(portions(self.tariff, start, end), until_ms=end.at_ms, **more)

    def use(self, from_local: str, to_local: str, wh: int) -> Charge:
        """So much on the total register between two local times; no fees."""
        zone = self.tariff.zone
        return self.charge(portions(self.tariff, registers(from_local, 0, zone=zone), registers(to_local, wh, zone=zone)))

    def cost(self) -> int:
        """What all uses cost by themselves; the charges must have added up to it."""
        return sum(line.micro for use in self.uses.values() for line in cost(self.tariff, self.terms, use))

    def components(self) -> dict[str, int]:
        """Micro-units by component."""
        found: dict[str, int] = {}
        for line in self.lines:
            found[line.component] = found.get(line.component, 0) + line.micro
        return {name: micro for name, micro in found.items() if micro}
