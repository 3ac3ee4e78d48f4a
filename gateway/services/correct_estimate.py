"""A reading of a boundary came late: what was shared out for want of it is taken back and priced as it was (prepayment.md a6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.domain import ledger, tariffs
from gateway.domain.charge_refs import FREEZE, LINE, line_refs, lines_of
from gateway.domain.estimates import MOST_POINTS, Estimate, boundaries, fits, portions_by, with_point
from gateway.domain.meters import Account, Meter
from gateway.domain.period_use import Portion
from gateway.domain.readings import Reading, Registers, energy_registers
from gateway.domain.tariffs import ChargeLine
from gateway.services import announce
from gateway.services.charge_energy import component_sums, priced_by, save_uses, uses_of
from gateway.services.correct_entry import correct
from gateway.services.judge_account import judge_account
from gateway.services.ports import Site, Tx

OF_PRICING = ("points", "estimated")
"""What an entry says of how its energy was shared out; the correction says it anew."""


def correct_estimate(tx: Tx, meter: Meter, registers: Registers, site: Site, now_ms: int) -> bool:
    """Price anew what was estimated around the moment of these registers, which are confirmed; whether anything was.

    Money moves by one reversal and one correction of the newest entry, by the tariff and into the periods of that time; where no
    line changes, nothing is posted. Registers that are none of a boundary, or lie outside those around them, change nothing.
    """
    corrected = [estimate for estimate in tx.estimates_of(meter.id, registers.at_ms) if _correct(tx, estimate, registers, now_ms)]
    for account in dict.fromkeys(estimate.account for estimate in corrected):
        judge_account(tx, account, site, now_ms)
    return bool(corrected)


def price_again(tx: Tx, past: Reading, site: Site, now_ms: int) -> bool:
    """`correct_estimate` by a confirmed value of the past; whether anything was priced anew."""
    meter = tx.meter(past.meter)
    wh = energy_registers(past.items, meter.ratio) if meter is not None else None
    return meter is not None and isinstance(wh, dict) and correct_estimate(tx, meter, Registers(past.at_ms, wh), site, now_ms)


def _correct(tx: Tx, estimate: Estimate, registers: Registers, now_ms: int) -> bool:
    account, tariff = tx.account(estimate.account), tx.price_list(estimate.tariff)
    if account is None or tariff is None or len(estimate.points) >= MOST_POINTS or not fits(tariff, estimate.points, registers):
        return False
    if registers.at_ms not in boundaries(tariff, estimate.from_ms, estimate.to_ms):
        return False
    if tx.reversed_by(estimate.entry) is not None:  # a person corrected it, who knows better
        tx.drop_estimate(estimate.entry)
        return False
    points = with_point(estimate.points, registers)
    take, add = portions_by(tariff, estimate.points), portions_by(tariff, points)
    charge = tariffs.charge(tariff, account.terms_for(tariff.id), uses_of(tx, account, tariff, take, add), add, take=take)
    number = _posted(tx, estimate.entry, account, points, take, add, charge.lines, now_ms) if charge.lines else estimate.entry
    save_uses(tx, account, tariff, charge.uses)
    tx.drop_estimate(estimate.entry)
    if any(portion.estimated for portion in add):
        tx.add_estimate(replace(estimate, entry=number, points=points))
    if charge.micro:
        announce.balance(tx, account, now_ms)
    return True


def _posted(
    tx: Tx,
    number: int,
    account: Account,
    points: Sequence[Registers],
    take: Sequence[Portion],
    add: Sequence[Portion],
    changes: Sequence[ChargeLine],
    now_ms: int,
) -> int:
    """The correction's number: what the entry said, with these changes of its lines."""
    original = tx.entry(number)
    if original is None:
        raise LookupError(f"there is no entry {number}, whose energy was estimated")
    old = original.entry
    lines = merged((*lines_of(old.ref), *changes))
    links = ("corrects", "reversal", "reason", "period")
    kept = {key: value for key, value in old.ref.items() if not key.startswith(LINE) and key not in (*OF_PRICING, *links)}
    right = ledger.charge(account.id, old.currency, component_sums(lines), now_ms, kept | priced_by(points, add) | line_refs(lines))
    why = {"reason": FREEZE, "period": " ".join(sorted({portion.period for portion in (*take, *add)}))}
    _, correction = correct(tx, number, right.legs, right.ref, why, now_ms)
    return correction.number


def merged(lines: Sequence[ChargeLine]) -> list[ChargeLine]:
    """Lines of the same kind and period as one, with the later's price and rule; without those that come to nothing."""
    found: dict[tuple[object, ...], ChargeLine] = {}
    for line in lines:
        key = (line.period, line.component, line.version, line.season, line.rate, line.step, line.name)
        known = found.get(key)
        found[key] = line if known is None else replace(line, wh=known.wh + line.wh, micro=known.micro + line.micro)
    return [line for line in found.values() if line.wh or line.micro]
