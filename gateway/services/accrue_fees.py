"""What time brings day by day: basic fees, minimum, fixed charges, late fees and power factors (prepayment.md a6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

from gateway.domain import arrears, ledger, tariffs
from gateway.domain.calendars import Stretch, calendar_of
from gateway.domain.charge_refs import line_refs
from gateway.domain.debt_terms import Accrual
from gateway.domain.estimates import priced_registers
from gateway.domain.events import EventKind
from gateway.domain.ledger import EntryKind
from gateway.domain.meters import Account, Meter
from gateway.domain.period_use import accrued
from gateway.domain.price_list import FeeBasis, Tariff
from gateway.domain.readings import TOTAL, Reading, Registers, Source
from gateway.domain.slots import HOUR_MS, local_of, midnight
from gateway.services import announce
from gateway.services.charge_energy import component_sums, save_uses, uses_of
from gateway.services.judge_account import judge_account
from gateway.services.ports import Site, Tx
from gateway.services.post_entry import post_entry

DAYS_AT_ONCE = 31
"""Days booked in one transaction, some 3 ms each: after a year's pause payments wait no longer than for a batch of readings."""

NEAR_MS = 2 * HOUR_MS
"""A reading no older than this speaks for the end of a day: the slowest schedule of bills reads once an hour."""

SAMPLES = 512
"""Readings looked through for the end of a day: two hours of a poll every 15 s."""

DEMAND = "demand_import_max"
REACTIVE = ("reactive_energy_import", "reactive_energy_combined_1")
"""The reactive register by which a meter's power factor is told: forward, or what its combination word makes of the quadrants."""


def fees_due(tx: Tx, account_id: str, now_ms: int) -> bool:
    """Whether there is anything for `accrue_fees` to do."""
    account = tx.account(account_id)
    tariff = tx.price_list(account.tariff) if account is not None else None
    if account is None or tariff is None or account.closed:
        return False
    known = tx.accrual(account.id)
    if known is None:
        return _of_time(tariff) or account.debt is not None
    return known.tariff != tariff.id or _next_midnight(tariff, known.until_ms) <= now_ms


def accrue_fees(tx: Tx, account_id: str, site: Site, now_ms: int) -> bool:
    """Book what has come due by the last local midnight, at most DAYS_AT_ONCE days; whether more is left.

    Each day is an entry of its own, and never booked twice. Nothing is booked of the time before the first call for an account, nor
    twice for a day on which its tariff changed. Where a demand or reactive energy is not measured, an event says so once.
    """
    account = tx.account(account_id)
    tariff = tx.price_list(account.tariff) if account is not None else None
    if account is None or tariff is None or account.closed:
        return False
    known = tx.accrual(account.id)
    if known is None:
        if _of_time(tariff) or account.debt is not None:
            begin_ms = midnight(local_of(now_ms, ZoneInfo(tariff.zone)).date(), ZoneInfo(tariff.zone))
            _begin(tx, account, tariff, Accrual(account.id, tariff.id, begin_ms, begin_ms))
        return False
    before = tx.journal_end()
    more = _catch_up(tx, account, tariff, known, now_ms)
    if tx.journal_end() != before:
        announce.balance(tx, account, now_ms)
        judge_account(tx, account.id, site, now_ms)
    return more


def _catch_up(tx: Tx, account: Account, tariff: Tariff, accrual: Accrual, now_ms: int) -> bool:
    for _ in range(DAYS_AT_ONCE):
        if accrual.tariff != tariff.id:
            accrual = _under_old(tx, account, tariff, accrual, now_ms)
            continue
        until_ms = _next_midnight(tariff, accrual.until_ms)
        if until_ms > now_ms:
            break
        if _of_time(tariff):
            accrual = _day(tx, account, tariff, accrual, until_ms, now_ms)
        accrual = _late(tx, account, tariff, replace(accrual, until_ms=until_ms), until_ms, now_ms)
        tx.save_accrual(accrual)
    return _next_midnight(tariff, accrual.until_ms) <= now_ms


def _under_old(tx: Tx, account: Account, tariff: Tariff, accrual: Accrual, now_ms: int) -> Accrual:
    """One more day of the tariff before, or the beginning of the present one."""
    old, zone = tx.price_list(accrual.tariff), ZoneInfo(tariff.zone)
    changed_ms = midnight(local_of(now_ms, zone).date(), zone)
    if account.priced_since is not None:
        changed_ms = arrears.midnight_of(account.priced_since, zone)
    if old is not None and (until_ms := _next_midnight(old, accrual.until_ms)) <= changed_ms:
        if _of_time(old):
            accrual = _day(tx, account, old, accrual, until_ms, now_ms)
        accrual = _late(tx, account, old, replace(accrual, until_ms=until_ms), until_ms, now_ms)
        tx.save_accrual(accrual)
        return accrual
    return _begin(tx, account, tariff, replace(accrual, tariff=tariff.id, until_ms=changed_ms))


def _begin(tx: Tx, account: Account, tariff: Tariff, accrual: Accrual) -> Accrual:
    """From here on; what the period bears for the time before is nobody's, or was booked under another tariff."""
    if _of_time(tariff) and accrual.until_ms >= calendar_of(tariff).starts[0]:
        add = _empty(tariff, accrual.until_ms, accrual.until_ms)
        begun = tariffs.charge(tariff, account.terms_for(tariff.id), uses_of(tx, account, tariff, add), add).uses
        save_uses(tx, account, tariff, {name: accrued(use, accrual.until_ms) for name, use in begun.items()})
    tx.save_accrual(accrual)
    return accrual


def _day(tx: Tx, account: Account, tariff: Tariff, accrual: Accrual, until_ms: int, now_ms: int) -> Accrual:
    """The fees of a day, by what the meters showed at its end."""
    from_ms = max(accrual.until_ms, calendar_of(tariff).starts[0])
    if until_ms <= from_ms:
        return accrual
    stretch = calendar_of(tariff).stretch(until_ms - 1)
    demand_w, varh, accrual = _measured(tx, account, stretch, accrual, until_ms, now_ms)
    add = list(_empty(tariff, from_ms, until_ms))
    add[-1] = replace(add[-1], reactive_varh=varh)
    demands = {stretch.bill.name: demand_w} if demand_w is not None else None
    uses = uses_of(tx, account, tariff, add)
    charge = tariffs.charge(tariff, account.terms_for(tariff.id), uses, add, until_ms=until_ms, demand_w=demands)
    save_uses(tx, account, tariff, charge.uses)
    if charge.lines:
        ref = {"account": account.id, "tariff": tariff.id, "from_ms": str(from_ms), "to_ms": str(until_ms)}
        ref |= line_refs(charge.lines)
        parts = component_sums(charge.lines)
        post_entry(tx, ledger.charge(account.id, account.currency, parts, now_ms, ref, EntryKind.FEE))
    return accrual


def _late(tx: Tx, account: Account, tariff: Tariff, accrual: Accrual, upto_ms: int, now_ms: int) -> Accrual:
    """What the debt costs for the days up to then."""
    owed = -tx.balance(ledger.debt(account.id), account.currency)
    if account.debt is None or not account.debt.cut_relevant or tariff.late_fee is None or owed <= 0:
        return replace(accrual, late_ms=max(accrual.late_ms, upto_ms))
    accrual, micro = arrears.late(accrual, tariff.late_fee, account.debt, owed, upto_ms, ZoneInfo(tariff.zone))
    if micro > 0:
        ref = {"account": account.id, "tariff": tariff.id, "arrears_micro": str(owed), "to_ms": str(upto_ms)}
        post_entry(tx, ledger.late_fee(account.id, account.currency, micro, now_ms, ref))
    return accrual


def _of_time(tariff: Tariff) -> bool:
    """Whether anything of the tariff comes by time alone."""
    return any(
        version.fees or version.minimum_micro or version.power_factor or any(band.fixed_micro for band in version.bands)
        for version in tariff.versions
    )


def _next_midnight(tariff: Tariff, at_ms: int) -> int:
    zone = ZoneInfo(tariff.zone)
    return midnight(local_of(at_ms, zone).date() + timedelta(days=1), zone)


def _empty(tariff: Tariff, from_ms: int, to_ms: int) -> tuple[tariffs.Portion, ...]:
    """Portions without energy."""
    nothing = dict.fromkeys({TOTAL} | priced_registers(tariff), 0)
    return tariffs.portions(tariff, Registers(from_ms, nothing), Registers(to_ms, nothing))


# What the meters measured


def _measured(
    tx: Tx, account: Account, stretch: Stretch, accrual: Accrual, at_ms: int, now_ms: int
) -> tuple[int | None, int, Accrual]:
    """The highest demand of any of the account's meters (None: unknown), and the reactive energy since it was last seen."""
    wants_demand = any(fee.basis is FeeBasis.DEMAND for fee in stretch.version.fees)
    wants_varh = stretch.version.power_factor is not None
    if not wants_demand and not wants_varh:
        return None, 0, accrual
    demands, varh, seen = [], 0, dict(accrual.varh)
    for meter in tx.meters_of(account.id):
        values = _values(tx, meter, at_ms)
        if wants_demand and (kw := values.get(DEMAND)) is not None:
            demands.append(kw)
        found = next((values[name] for name in REACTIVE if name in values), None)
        if wants_varh and found is not None:
            varh += max(found - seen.get(meter.id, found), 0)
            seen[meter.id] = found
    for what, lacks in (("demand", wants_demand and not demands), ("reactive energy", wants_varh and not seen)):
        if lacks:
            _tell_once(tx, account, what, now_ms)
    return max(demands, default=None), varh, replace(accrual, varh=seen)


def _values(tx: Tx, meter: Meter, at_ms: int) -> Mapping[str, int]:
    """Demand in W and reactive registers in varh, in front of the transformers, newest last before this moment."""
    found: dict[str, int] = {}
    for reading in _samples(tx, meter, at_ms):
        for item in reading.items:
            if item.quantity in (DEMAND, *REACTIVE) and item.value is not None:
                found[item.quantity] = int(item.value * 1000 * meter.ratio.numerator) // meter.ratio.denominator
    return found


def _samples(tx: Tx, meter: Meter, at_ms: int) -> Iterator[Reading]:
    for stored in tx.readings(meter.id, at_ms - NEAR_MS, SAMPLES):
        if stored.reading.source is Source.LIVE and stored.reading.answered_ms <= at_ms:
            yield stored.reading
    for source in (Source.CURVE, Source.FREEZE):
        for stored in tx.past_readings(meter.id, source, at_ms):
            yield stored.reading


def _tell_once(tx: Tx, account: Account, what: str, now_ms: int) -> None:
    key = f"fee_basis:{account.id}:{account.tariff}:{what}"
    if tx.meta(key) is None:
        tx.set_meta(key, str(now_ms))
        text = f"tariff {account.tariff} counts by {what}, which no meter of account {account.id} gives"
        announce.event(tx, EventKind.FEE_BASIS_MISSING, now_ms, meter=None, account=account.id, basis=what, text=text)
