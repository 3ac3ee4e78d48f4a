"""The energy that a journal's charges name, by period: it must be what the account's uses say, at the price that each line says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.domain.charge_refs import FREEZE, LINE
from gateway.domain.ledger import EntryKind, JournalRow
from gateway.domain.period_cost import NANO
from gateway.domain.period_use import STEPS, PeriodUse

_decoded = json.JSONDecoder().raw_decode  # half of what decode costs

CHARGING = frozenset(kind.value for kind in (EntryKind.CHARGE, EntryKind.CORRECTION, EntryKind.FEE))
BY_ENERGY = frozenset({"energy", "step", "allowance"})

Place = tuple[str, str]
"""Account and tariff."""

Use = tuple[str, str, str]
"""Version, season, rate; of steps the component in the place of season and rate."""

Sums = dict[Use, list[int]]
"""Wh, micro-units, and micro-units per kWh."""


@dataclass(slots=True)
class UseTrail:
    """Adds up what the entries charge. rounded: tariffs whose lines are not just energy at its price. by_hand: account, tariff and
    period of charges that a person corrected, who may have had reasons that no use knows."""

    rounded: set[str] = field(default_factory=set)
    by_hand: set[tuple[str, str, str]] = field(default_factory=set)
    sums: dict[Place, dict[str, Sums]] = field(default_factory=dict)

    def take(self, row: JournalRow, sign: int = 1, *, rounded: bool = False, by_hand: bool = False) -> str | None:
        """What is wrong with this entry's lines, or None: each is its energy at its price, to a micro-unit, unless the tariff
        rounds lines (rounded). sign: -1 for an entry that is reversed."""
        ref = row.ref or {}
        if row.kind not in CHARGING:
            return None
        by_hand = by_hand or (row.kind == EntryKind.CORRECTION and ref.get("reason") != FREEZE)
        account = ""
        for leg in row.legs:
            if leg[0].startswith("customer:"):
                account = leg[0].removeprefix("customer:")
                break
        tariff = ref.get("tariff", "")
        checked = row.kind != EntryKind.CORRECTION and not rounded and not by_hand  # a correction adds floored lines up
        periods = self.sums.setdefault((account, tariff), {})
        if rounded:
            self.rounded.add(tariff)
        for key, text in ref.items():
            if not key.startswith(LINE) or not text.startswith("["):
                continue  # of the first form: charged by registers
            try:
                line, end = _decoded(text)
                period, component, version, season, rate, _, wh, price, micro = line[:9]
                if end != len(text):
                    raise ValueError("more than a line")
                if checked and component in BY_ENERGY and abs(wh * price - micro * NANO) > NANO:
                    return f"entry {row.number} charges {micro} micro for {wh} Wh at {price} micro per kWh"
            except (ValueError, TypeError):
                return f"entry {row.number}: {key} is no line of a charge: {text}"
            if by_hand:
                self.by_hand.add((account, tariff, period))
            if component == "energy" and rate is not None:
                use = (version, season, rate)
            elif component in ("energy", "step"):
                use = (version, component, "")
            else:
                continue
            sums = periods.get(period)
            if sums is None:
                sums = periods[period] = {}
            known = sums.get(use)
            if known is None:
                known = sums[use] = [0, 0, price]
            known[0] += sign * wh
            known[1] += sign * micro
        return None

    def compare(self, account: str, tariff: str, uses: Iterable[PeriodUse]) -> str | None:
        """What the uses of an account under a tariff say that the journal does not, or None."""
        known = {use.period: use for use in uses}
        charged = self.sums.get((account, tariff), {})
        for period, sums in charged.items():
            if (account, tariff, period) in self.by_hand:
                continue
            if finding := _differs(sums, known.get(period), exact=tariff not in self.rounded):
                return f"account {account}, tariff {tariff}, period {period}: {finding}"
        for use in known.values():
            if use.total_wh and not use.period.endswith(STEPS) and use.period not in charged:
                return f"account {account}, tariff {tariff}: no entry charges the {use.total_wh} Wh used in period {use.period}"
        return None


def _differs(sums: Sums, use: PeriodUse | None, *, exact: bool) -> str | None:
    for (version, second, third), (wh, micro, price) in sums.items():
        tranches = [tranche for tranche in (use.tranches if use is not None else ()) if tranche.version == version]
        if third:
            stands = sum(wh for each in tranches if each.season == second for rate, wh in each.wh.items() if rate.value == third)
            what = f"{version} {third}"
        else:
            stands, what = sum(each.total_wh for each in tranches), f"{version} by steps"
        if stands != wh:
            return f"{wh} Wh of {what} are charged, and {stands} Wh stand as used"
        if exact and third and micro != wh * price // NANO:
            return f"{micro} micro are charged for {wh} Wh of {what} at {price} micro per kWh"
    return None
