"""Steps of a price, as the rungs that energy climbs: counted first, then priced, a threshold belonging to the lower one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.domain.price_list import Steps


@dataclass(frozen=True, slots=True)
class Rung:
    """One step for one account and period: what lies over from_wh, up to and with to_wh (None: no end), in micro per kWh."""

    from_wh: int
    to_wh: int | None
    amount: int
    rule: str


def ladder(steps: Steps, persons: int, scale: tuple[int, int]) -> tuple[Rung, ...]:
    """The rungs for a household of so many persons, thresholds times the scale (a share of days or months), floored to the Wh."""
    more_wh = steps.per_person_wh * max(persons - steps.persons, 0)
    tops = [(wh + more_wh) * scale[0] // scale[1] for wh in steps.thresholds_wh]
    rungs = []
    for number, amount in enumerate(steps.amounts):
        from_wh = tops[number - 1] if number else 0
        to_wh = tops[number] if number < len(tops) else None
        rule = f"step {number + 1}, over {kwh(from_wh)} kWh" if to_wh is None else f"step {number + 1}, up to {kwh(to_wh)} kWh"
        rungs.append(Rung(from_wh, to_wh, amount, rule))
    return tuple(rungs)


def climbed(rungs: Sequence[Rung], from_wh: int, to_wh: int) -> Iterator[tuple[int, int, Rung]]:
    """On which rungs the energy from one use to another lies: their numbers (1 and up), how much, and the rung."""
    for number, rung in enumerate(rungs, 1):
        top_wh = to_wh if rung.to_wh is None else min(to_wh, rung.to_wh)
        if (wh := top_wh - max(from_wh, rung.from_wh)) > 0:
            yield number, wh, rung


def kwh(wh: int) -> str:
    """A not negative energy for people: exact, no more decimals than it has."""
    return f"{wh // 1000}.{wh % 1000:03}".rstrip("0").rstrip(".")


def share(whole: int, weights: Sequence[int]) -> list[int]:
    """The whole in proportion, by largest remainder: parts that sum exactly; all to the first where nothing weighs."""
    if len(weights) == 1 or not any(weights):
        return [whole] + [0] * (len(weights) - 1)
    total = sum(weights)
    parts = [whole * weight // total for weight in weights]
    by_rest = sorted(range(len(weights)), key=lambda place: -(whole * weights[place] % total))
    for place in by_rest[: whole - sum(parts)]:
        parts[place] += 1
    return parts
