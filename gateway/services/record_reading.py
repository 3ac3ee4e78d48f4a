"""A reading enters in one transaction: accept or hold it, price it, post it, judge credit and limits (design.md 5)."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.estimates import by_rate
from gateway.domain.events import EventKind, Json
from gateway.domain.ledger import Entry, EntryKind, Leg
from gateway.domain.meters import Contact, Meter
from gateway.domain.readings import (
    TOTAL,
    Billing,
    Bound,
    Doubt,
    Judgement,
    Quality,
    Reading,
    Registers,
    Source,
    energy_registers,
    judge,
    least_wms,
    not_ahead,
    primary_w,
    sentinel,
    total_alone,
    unusable,
)
from gateway.domain.supply import SIGNS, SwitchReading
from gateway.services import announce
from gateway.services.charge_energy import Unpriced, charge_energy, must_be_priced
from gateway.services.judge_account import judge_account
from gateway.services.ports import Site, Tx
from gateway.services.post_entry import post_entry
from gateway.services.watch_limits import judge_power

STILL_LOOK_MS = 5 * 60 * 1000
"""How often the power of a meter whose register stands is added up: seldom, because an empty house is no news."""

STILL_READINGS = 200
"""Readings looked through each time; more wait for the next time, so that no reading waits for a long past."""


def record_reading(tx: Tx, reading: Reading, switch: SwitchReading | None, site: Site, now_ms: int) -> Quality:
    """Store what an exchange brought and do all that follows from it. Gives the quality under which it was stored.

    Unknown meter: LookupError. A value of the past: ValueError, it has its own way in and never moves the bill. Only a confirmed
    reading moves money; a suspect one holds the bill and says so once.
    """
    meter = tx.meter(reading.meter)
    if meter is None:
        raise LookupError(f"meter {reading.meter} is not in the archive")
    if reading.taken_ms is not None or reading.source is not Source.LIVE:
        raise ValueError(f"a {reading.source} value of meter {reading.meter} is not of now and cannot be billed as if it were")
    wh = energy_registers(reading.items, meter.ratio)
    quality = Quality.SINGLE if wh is None else _bill(tx, meter, wh, reading.answered_ms, site, now_ms)
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
    if before is seen.contact or before is Contact.UNKNOWN:
        return
    if any(command.verb not in SIGNS for command in tx.open_commands(meter=meter_id)):
        return
    if seen.contact is Contact.CLOSED:
        announce.event(tx, EventKind.SUPPLY_RESTORED, now_ms, meter=meter_id, account=meter.account, evidence=seen.kind)
    elif before is Contact.CLOSED:
        announce.event(tx, EventKind.SUPPLY_LOST, now_ms, meter=meter_id, account=meter.account, evidence=seen.kind)


def bound_of(meter: Meter) -> Bound:
    """What is physically possible for this meter."""
    return Bound(meter.max_power_w, meter.count_wh, meter.capacity_wh)


def _bill(tx: Tx, meter: Meter, wh: dict[str, int] | Doubt, at_ms: int, site: Site, now_ms: int) -> Quality:
    before = not_ahead(tx.billing(meter.id) or Billing(meter.id), at_ms)
    if isinstance(wh, Doubt):
        tx.save_billing(unusable(before, at_ms, wh))
        _tell(tx, meter, before, wh, "a register holds no value that could be billed", now_ms)
        return Quality.SUSPECT
    new = Registers(at_ms, wh)
    before, flow_wms = _flow(tx, meter, before, new, site)
    verdict = judge(before, new, bound_of(meter), flow_wms, rates_matter=total_alone(before, new) and _by_rate(tx, meter))
    try:
        billing = _settle(tx, meter, before, verdict, now_ms)
    except Unpriced as unpriced:
        held_ms = at_ms if before.held_ms is None else before.held_ms
        tx.save_billing(replace(before, held=Doubt.UNPRICED, held_ms=held_ms, suspects=0, suspect=None))
        _tell(tx, meter, before, Doubt.UNPRICED, str(unpriced), now_ms)
        return verdict.quality
    tx.save_billing(billing)
    _tell(tx, meter, before, verdict.doubt, _why(before, new, verdict, meter), now_ms)
    return verdict.quality


def _by_rate(tx: Tx, meter: Meter) -> bool:
    """Whether this meter's bill needs its rate registers."""
    account = tx.account(meter.account or "")
    tariff = tx.price_list(account.tariff) if account else None
    return tariff is not None and by_rate(tariff)


def _flow(tx: Tx, meter: Meter, billing: Billing, new: Registers, site: Site) -> tuple[Billing, int]:
    """For a register that stands: what the power measured meanwhile promises at least, and until when it was added up."""
    newest = billing.newest
    if newest is None or newest.wh[TOTAL] != new.wh[TOTAL]:
        return billing, 0
    since_ms = billing.still_ms or newest.at_ms
    if new.at_ms - since_ms < STILL_LOOK_MS:
        return billing, 0
    found = tx.readings(meter.id, since_ms, STILL_READINGS)
    samples = [
        (stored.reading.answered_ms, primary_w(item.value, meter.ratio))
        for stored in found
        if stored.reading.source is Source.LIVE
        for item in stored.reading.items
        if item.quantity == "power" and item.value is not None
    ]
    until_ms = samples[-1][0] if samples else since_ms
    if len(found) == STILL_READINGS:
        until_ms = found[-1].reading.answered_ms
    return replace(billing, still_ms=until_ms), least_wms(samples, site.power_stale_ms)


def _settle(tx: Tx, meter: Meter, before: Billing, verdict: Judgement, now_ms: int) -> Billing:
    """Charge what became billable; the billing as it then stands. Raises what is in `Unpriced` before anything is posted."""
    start, end, billing = before.confirmed, verdict.billable, verdict.billing
    if start is not None and end is not None:
        if verdict.turned is not None:
            last, first = verdict.turned
            if meter.account is not None:
                must_be_priced(tx, meter, first, end)
            start = renew_register(tx, meter, start, last, first, {"change": "rollover", "by": "two blocks in a row"}, now_ms)
        if meter.account is not None:
            charge_energy(tx, meter, start, end, now_ms)
    if meter.account is None and billing.confirmed is not None:
        billing = replace(billing, first_wh=billing.confirmed.wh[TOTAL])  # nobody pays yet: the bill begins later
    return billing


def _why(before: Billing, new: Registers, verdict: Judgement, meter: Meter) -> str:
    if verdict.doubt is Doubt.SENTINEL:
        return f"{dict(new.wh)} Wh is no value: {sentinel(before.newest, new, bound_of(meter))}"
    if verdict.doubt is Doubt.STILL:
        return f"the register stands at {new.wh[TOTAL]} Wh while power is measured"
    return f"{dict(new.wh)} Wh does not follow the confirmed registers"


def _tell(tx: Tx, meter: Meter, before: Billing, doubt: Doubt | None, text: str, now_ms: int) -> None:
    """One event when a hold begins and one when it ends, however many readings and doubts lie between."""
    unpriced = doubt is Doubt.UNPRICED and before.held is not doubt  # a person must do something about it
    if doubt is not None and (before.held is None or unpriced):
        kind = EventKind.BILL_HELD if doubt is Doubt.UNPRICED else EventKind.READING_SUSPECT
        announce.event(tx, kind, now_ms, meter=meter.id, account=meter.account, doubt=doubt.value, text=text)
    elif doubt is None and before.held is not None:
        was, since_ms = before.held.value, before.held_ms
        announce.event(tx, EventKind.BILL_RELEASED, now_ms, meter=meter.id, account=meter.account, doubt=was, held_ms=since_ms)


def renew_register(
    tx: Tx, meter: Meter, start: Registers, last: Registers, first: Registers, why: dict[str, str], now_ms: int
) -> Registers:
    """A register ends at `last` and goes on from `first`: billed to its end, and an entry of its own in the journal, so that every
    charged Wh can be followed. Gives where the bill goes on. Raises what is in `Unpriced` before anything is posted."""
    account = tx.account(meter.account or "")
    if account is not None:
        charge_energy(tx, meter, start, last, now_ms)
        ref = {"meter": meter.id, TOTAL: f"{last.wh[TOTAL]}-{first.wh[TOTAL]}"}
        for name in sorted(last.wh.keys() | first.wh.keys()):
            ref[f"register:{name}"] = f"{last.wh.get(name, '')}-{first.wh.get(name, '')}"
        legs = (Leg(ledger.customer(account.id), 0), Leg(ledger.revenue("energy"), 0))
        post_entry(tx, Entry(EntryKind.REGISTER, account.currency, legs, now_ms, ref | why))
    data: dict[str, Json] = {"last_wh": last.wh[TOTAL], "first_wh": first.wh[TOTAL], **why}
    announce.event(tx, EventKind.REGISTER_RENEWED, now_ms, meter=meter.id, account=meter.account, **data)
    return first
