"""Energy between two registers becomes money: shared out over the tariff's calendar, priced, posted (design.md 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from gateway.domain import ledger, tariffs
from gateway.domain.charge_refs import line_refs
from gateway.domain.estimates import Estimate, boundaries, fits, portions_by, priced_registers
from gateway.domain.meters import Account, Meter
from gateway.domain.period_use import PeriodUse, Portion
from gateway.domain.price_list import Tariff
from gateway.domain.readings import TOTAL, Quality, Registers, Source, energy_registers
from gateway.domain.slots import DAY_MS
from gateway.domain.tariffs import Charge, ChargeLine, UnpricedRegister, UnpricedTime
from gateway.services import announce
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry

Unpriced = (UnpricedRegister, UnpricedTime)
"""Why energy cannot be priced yet: the bill is held."""

LOOKED_UP = 64
"""Boundaries of a span that are looked up at once, a statement or two each: four days of switches. Values of a longer gap mostly
come after the reading that ends it, and then `correct_estimate` takes them over one by one."""

ESTIMATE_KEPT_MS = 62 * DAY_MS
"""How long an estimate waits for its freezes: meters keep 62 days of them (DL/T 645-2007)."""

PAST = (Source.FREEZE, Source.CURVE)


def charge_energy(tx: Tx, meter: Meter, start: Registers, end: Registers, now_ms: int) -> None:
    """Post what the account owes for the energy between two registers; nothing where none flowed.

    Where the price changes in between, confirmed values of the past split it exactly; without one the split is an estimate, which
    is remembered until they come. Raises what is in `Unpriced` before anything is written.
    """
    account, tariff = tariff_of(tx, meter)
    points = _points(tx, meter, tariff, start, end)
    add = portions_by(tariff, points)
    charge = tariffs.charge(tariff, account.terms_for(tariff.id), uses_of(tx, account, tariff, add), add)
    if not charge.lines and start.wh == end.wh:
        return
    posted = post_entry(tx, _entry(account, meter, tariff, points, add, charge, now_ms))
    save_uses(tx, account, tariff, charge.uses)
    if any(portion.estimated for portion in add):
        tx.drop_estimates(meter.id, now_ms - ESTIMATE_KEPT_MS)
        tx.add_estimate(Estimate(posted.number, meter.id, account.id, tariff.id, points))
    announce.balance(tx, account, now_ms)


def must_be_priced(tx: Tx, meter: Meter, start: Registers, end: Registers) -> None:
    """Raises what is in `Unpriced` where this energy could not be charged."""
    _, tariff = tariff_of(tx, meter)
    portions_by(tariff, (start, end))


def tariff_of(tx: Tx, meter: Meter) -> tuple[Account, Tariff]:
    """Who pays for this meter, and by what. LookupError without both."""
    account = tx.account(meter.account or "")
    tariff = tx.price_list(account.tariff) if account else None
    if account is None or tariff is None:
        raise LookupError(f"meter {meter.id} has no account with a tariff in the archive")
    return account, tariff


def uses_of(tx: Tx, account: Account, tariff: Tariff, *moved: Sequence[Portion]) -> dict[str, PeriodUse]:
    """What is known of the periods that these portions lie in."""
    names = sorted(frozenset().union(*map(tariffs.periods, moved)))
    found = {name: tx.period_use(account.id, tariff.id, name) for name in names}
    return {name: use for name, use in found.items() if use is not None}


def save_uses(tx: Tx, account: Account, tariff: Tariff, uses: Mapping[str, PeriodUse]) -> None:
    """As they now stand."""
    for use in uses.values():
        tx.save_period_use(account.id, tariff.id, use)


def past_registers(tx: Tx, meter: Meter, at_ms: int) -> Registers | None:
    """What the meter itself kept of this moment, where it is confirmed."""
    for source in PAST:
        for stored in tx.past_readings(meter.id, source, at_ms):
            wh = energy_registers(stored.reading.items, meter.ratio) if stored.quality is Quality.CONFIRMED else None
            if isinstance(wh, dict):
                return Registers(at_ms, wh)
    return None


def component_sums(lines: Sequence[ChargeLine]) -> dict[str, int]:
    """Micro-units by component of revenue."""
    parts: dict[str, int] = {}
    for line in lines:
        parts[line.component] = parts.get(line.component, 0) + line.micro
    return parts


def priced_by(points: Sequence[Registers], add: Sequence[Portion]) -> dict[str, str]:
    """What an entry says of the readings between its ends, and whether any of its energy was shared out."""
    ref = {"points": " ".join(str(point.at_ms) for point in points[1:-1])} if len(points) > 2 else {}
    rules = sorted({portion.rule for portion in add if portion.estimated})
    return ref | {"estimated": "; ".join(rules)} if rules else ref


def _points(tx: Tx, meter: Meter, tariff: Tariff, start: Registers, end: Registers) -> tuple[Registers, ...]:
    points: tuple[Registers, ...] = (start, end)
    for at_ms in islice(boundaries(tariff, start.at_ms, end.at_ms), LOOKED_UP):
        found = past_registers(tx, meter, at_ms)
        if found is not None and fits(tariff, points, found):
            points = (*points[:-1], found, end)
    return points


def _entry(
    account: Account,
    meter: Meter,
    tariff: Tariff,
    points: Sequence[Registers],
    add: Sequence[Portion],
    charge: Charge,
    now_ms: int,
) -> ledger.Entry:
    start, end = points[0], points[-1]
    ref = {"meter": meter.id, "tariff": tariff.id, "from_ms": str(start.at_ms), "to_ms": str(end.at_ms)}
    for name in sorted({TOTAL} | priced_registers(tariff)):
        if name in start.wh and name in end.wh:
            ref[name] = f"{start.wh[name]}-{end.wh[name]}"
    ref |= priced_by(points, add) | line_refs(charge.lines)
    return ledger.charge(account.id, account.currency, component_sums(charge.lines), now_ms, ref)
