"""A reading enters in one transaction: accept or hold it, price it, post it, judge credit and limits (design.md 5)."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.events import EventKind
from gateway.domain.ledger import Entry, EntryKind, Leg
from gateway.domain.meters import Account, Contact, Meter
from gateway.domain.readings import TOTAL, Billing, Bound, Doubt, Quality, Reading, Registers, energy_registers, judge
from gateway.domain.supply import SwitchReading
from gateway.domain.tariffs import Line, UnpricedRegister, charge
from gateway.services import announce
from gateway.services.judge_account import judge_account
from gateway.services.ports import Site, Tx
from gateway.services.post_entry import post_entry
from gateway.services.watch_limits import judge_power


def record_reading(tx: Tx, reading: Reading, switch: SwitchReading | None, site: Site, now_ms: int) -> Quality:
    """Store what an exchange brought and do all that follows from it. Gives the quality under which it was stored.

    Unknown meter: LookupError. Only a confirmed reading moves money; a suspect one holds the bill and says so once.
    """
    meter = tx.meter(reading.meter)
    if meter is None:
        raise LookupError(f"meter {reading.meter} is not in the archive")
    wh = energy_registers(reading.items)
    quality = Quality.SINGLE if wh is None else _bill(tx, meter, Registers(reading.answered_ms, wh), now_ms)
    tx.add_reading(reading, meter.point, quality, now_ms)
    announce.reading(tx, reading, meter.point, quality, now_ms)
    if switch is not None:
        observe_switch(tx, meter.id, switch, now_ms)
    if meter.account is not None:
        judge_power(tx, meter.account, reading, site, now_ms)
        if wh is not None or switch is not None:
            judge_account(tx, meter.account, site, now_ms)
    return quality


def observe_switch(tx: Tx, meter_id: str, seen: SwitchReading, now_ms: int) -> None:
    """Write down where a switch was seen; a move that nobody ordered is an event."""
    meter = tx.meter(meter_id)
    if meter is None or seen.kind == "command_only" or seen.contact is Contact.UNKNOWN:
        return
    before = meter.observed
    tx.save_meter(replace(meter, observed=seen.contact, observed_ms=seen.at_ms))
    if before is seen.contact or before is Contact.UNKNOWN or tx.open_commands(meter=meter_id):
        return
    if seen.contact is Contact.CLOSED:
        announce.event(tx, EventKind.SUPPLY_RESTORED, now_ms, meter=meter_id, account=meter.account, evidence=seen.kind)
    elif before is Contact.CLOSED:
        announce.event(tx, EventKind.SUPPLY_LOST, now_ms, meter=meter_id, account=meter.account, evidence=seen.kind)


def _bill(tx: Tx, meter: Meter, new: Registers, now_ms: int) -> Quality:
    before = tx.billing(meter.id) or Billing(meter.id)
    verdict = judge(before, new, Bound(meter.max_power_w, meter.count_wh))
    billing = verdict.billing
    if verdict.billable is not None and before.confirmed is not None and meter.account is not None:
        try:
            _charge(tx, meter, before.confirmed, verdict.billable, now_ms)
        except UnpricedRegister as unpriced:
            billing = replace(before, held=Doubt.UNPRICED)
            _tell_held(tx, meter, before, Doubt.UNPRICED, str(unpriced), now_ms)
            tx.save_billing(billing)
            return verdict.quality
    if meter.account is None and billing.confirmed is not None:
        billing = replace(billing, first_wh=billing.confirmed.wh[TOTAL])  # nobody pays yet: the bill begins later
    if verdict.doubt is not None:
        _tell_held(tx, meter, before, verdict.doubt, f"{dict(new.wh)} Wh does not follow the confirmed registers", now_ms)
    tx.save_billing(billing)
    return verdict.quality


def _tell_held(tx: Tx, meter: Meter, before: Billing, doubt: Doubt, text: str, now_ms: int) -> None:
    if before.held is not doubt:
        kind = EventKind.BILL_HELD if doubt is Doubt.UNPRICED else EventKind.READING_SUSPECT
        announce.event(tx, kind, now_ms, meter=meter.id, account=meter.account, doubt=doubt.value, text=text)


def _charge(tx: Tx, meter: Meter, start: Registers, end: Registers, now_ms: int) -> None:
    account = tx.account(meter.account or "")
    tariff = tx.tariff(account.tariff) if account else None
    if account is None or tariff is None:
        raise LookupError(f"meter {meter.id} has no account with a tariff in the archive")
    lines = charge(tariff, start, end)
    total = sum(line.amount_micro for line in lines)
    if total == 0 and start.wh == end.wh:
        return
    post_entry(tx, _entry(account, meter, lines, start, end, total, now_ms))
    announce.balance(tx, account, now_ms)


def _entry(
    account: Account, meter: Meter, lines: tuple[Line, ...], start: Registers, end: Registers, total: int, now_ms: int
) -> Entry:
    ref: dict[str, str] = {"meter": meter.id, "tariff": account.tariff, "from_ms": str(start.at_ms), "to_ms": str(end.at_ms)}
    ref[TOTAL] = f"{start.wh[TOTAL]}-{end.wh[TOTAL]}"
    for line in lines:
        ref[f"line:{line.register}"] = f"{line.from_wh}-{line.to_wh}@{line.price_micro_per_kwh}={line.amount_micro}"
    legs = (Leg(ledger.customer(account.id), -total), Leg(ledger.revenue("energy"), total))
    return Entry(EntryKind.CHARGE, account.currency, legs, now_ms, ref)
