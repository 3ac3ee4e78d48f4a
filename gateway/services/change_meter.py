"""A person's word about registers that end and begin anew: a rollover that was only suspected, a meter that was exchanged.

The metering point outlives the device (contract.md, Words): account, steps, periods and past go on under the same id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.domain.clocks import MeterClock
from gateway.domain.events import EventKind, Json
from gateway.domain.jobs import Want
from gateway.domain.life import ChangeMeter, Refusal
from gateway.domain.meters import Authority, Contact, Meter
from gateway.domain.readings import TOTAL, Billing, Doubt, Registers, turned_over
from gateway.domain.requests import RegisterOrder, valid_id
from gateway.domain.supply import CommandEvent, CommandState
from gateway.domain.units import format_money
from gateway.services import announce
from gateway.services.acts import Answer, done, known, second_of
from gateway.services.charge_energy import Unpriced
from gateway.services.final_registers import FORM, moment, must_believe, shown, unbelievable
from gateway.services.judge_account import judge_account
from gateway.services.load_archive import place_meter
from gateway.services.meter_wallet import change_wallet
from gateway.services.ports import Site, Tx
from gateway.services.record_reading import bound_of, renew_register
from gateway.services.switching import step

KINDS = ("rollover", "meter_change")

CHANGE = "change_meter"
"""As it stands in the audit log."""

UNSENT = frozenset({CommandState.QUEUED, CommandState.QUARANTINED})
"""Commands that a new device may still be given: the old one never heard of them."""


def accept_register(tx: Tx, order: RegisterOrder, site: Site, now_ms: int) -> str | None:
    """Bill the meter to the end of its old register and go on from the beginning of the new one, with an entry and an event.

    None when done, or done before under this id; else why not, in one sentence. Never bills backwards; more than the old meter can
    have counted needs a second person.
    """
    key = f"register_order:{order.id}"
    told = tx.meta(key)
    if told is not None:
        return None if told == _content(order) else f"order {order.id} is known with another content"
    meter = tx.meter(order.meter)
    refused = _form(meter, order)
    if meter is None or refused is not None:
        return refused
    before = tx.billing(meter.id) or Billing(meter.id)
    ends = _rollover(meter, before) if order.kind == "rollover" else _exchange(meter, before, order, now_ms)
    if isinstance(ends, str):
        return ends
    last, first = ends
    why = {"change": order.kind, "reason": order.reason, "by": order.by, "order": order.id}
    if order.second is not None:
        why["second"] = order.second
    try:
        renew(tx, meter, last, first, why, now_ms)
    except Refusal as unpriced:
        return str(unpriced)
    tx.set_meta(key, _content(order))
    if meter.account is not None:
        judge_account(tx, meter.account, site, now_ms)
    return None


def renew(tx: Tx, meter: Meter, last: Registers, first: Registers, why: Mapping[str, str], now_ms: int) -> None:
    """Bill the meter to the end of its register, and let the bill go on from the beginning of the new one. Raises Refusal before
    anything is written."""
    before = tx.billing(meter.id) or Billing(meter.id)
    try:
        renew_register(tx, meter, before.confirmed or last, last, first, dict(why), now_ms)
    except Unpriced as unpriced:
        raise Refusal(str(unpriced)) from None
    tx.save_billing(_begun(before, last, first, paid=meter.account is not None))


def change_meter(tx: Tx, order: ChangeMeter, site: Site, now_ms: int) -> Answer:
    """Another device at the same metering point, billed from where the old one ended. Raises Refusal; then nothing has changed.

    What was on its way to the old device has failed, its purchase count and clock are forgotten, and its past cannot be fetched
    any more; where the new one's switch stands is not known until it is read.
    """
    act, new = order.act, order.meter
    if (told := known(tx, act, CHANGE)) is not None:
        return told
    old = tx.meter(new.id)
    if old is None:
        raise Refusal(f"meter {new.id} is not in the archive")
    last, first = _ends(tx, old, order, now_ms)
    why = {"change": "meter_change", "reason": act.reason, "by": act.by, "order": act.id, "address": f"{old.address}-{new.address}"}
    second = second_of(tx, act)
    renew(tx, old, last, first, why | ({"second": second} if second else {}), now_ms)
    forget_device(tx, old, now_ms)
    change_wallet(tx, old.id, act.who, site, now_ms)
    place_meter(tx, new, site, now_ms)
    placed = tx.meter(new.id) or new
    tx.save_meter(replace(placed, observed=Contact.UNKNOWN, observed_ms=None))
    data: dict[str, Json] = {"address": new.address, "last_wh": last.wh[TOTAL], "first_wh": first.wh[TOTAL]}
    announce.event(tx, EventKind.METER_CHANGED, now_ms, meter=new.id, account=old.account, was=old.address, by=act.by, **data)
    if old.account is not None:
        judge_account(tx, old.account, site, now_ms)
    audited = {"was": old.address} | {key: str(value) for key, value in data.items()}
    return done(tx, act, CHANGE, new.id, {"meter": new.id, "point": new.point, **data}, now_ms, audited)


def _ends(tx: Tx, old: Meter, order: ChangeMeter, now_ms: int) -> tuple[Registers, Registers]:
    """Where the old device ends, in front of its transformers, and the new one begins in front of its own."""
    billing = tx.billing(old.id) or Billing(old.id)
    confirmed, at_ms = billing.confirmed, moment(billing, now_ms)
    last, first = shown(old, order.last, at_ms), shown(order.meter, order.first, at_ms)
    if first is None or (last is None and (order.last or confirmed is not None)):
        raise Refusal(f"{FORM}: the last ones of the old meter and the first ones of the new")
    last = last or first
    if confirmed is not None:
        must_believe(tx, old, confirmed, last, order.act)
    return last, first


def nothing_inside(tx: Tx, meter: Meter) -> None:
    """Refusal while the meter itself holds money of its account: what leaves with it would be lost."""
    account, wallet = tx.account(meter.account or ""), tx.wallet(meter.id)
    if account is not None and account.authority is Authority.METER and wallet is not None and wallet.balance_micro > 0:
        inside = format_money(wallet.balance_micro, account.currency)
        raise Refusal(f"meter {meter.id} still holds {inside} {account.currency} of account {account.id}: take it out first")


def forget_device(tx: Tx, meter: Meter, now_ms: int) -> None:
    """What is known of a device that is not there any more, and would be wrong of the next one."""
    for command in tx.open_commands(meter=meter.id):
        if command.state not in UNSENT:
            step(tx, command, CommandEvent.GIVEN_UP, now_ms, reason="the meter was exchanged")
    for want in (Want.DAY, Want.MONTH, Want.CURVE, Want.EVENTS):
        tx.drop_slots(meter.id, want, now_ms, expected=True)
    if tx.clock(meter.id) is not None:
        tx.save_clock(MeterClock(meter.id))
    forget_registers(tx, meter, now_ms)


def forget_registers(tx: Tx, meter: Meter, now_ms: int) -> None:
    """Registers count anew: estimates of the time before are final, and reactive energy is seen for the first time."""
    tx.drop_estimates(meter.id, now_ms)
    accrual = tx.accrual(meter.account or "")
    if accrual is not None and meter.id in accrual.varh:
        tx.save_accrual(replace(accrual, varh={name: varh for name, varh in accrual.varh.items() if name != meter.id}))


def _form(meter: Meter | None, order: RegisterOrder) -> str | None:
    if meter is None:
        return f"meter {order.meter} is not in the archive"
    if not valid_id(order.id):
        return "an order's id is 1 to 64 letters, digits, _ or -"
    if order.kind not in KINDS:
        return f"registers are renewed by {' or '.join(KINDS)}"
    if order.second is not None and order.second.casefold() == order.by.casefold():
        return "the second person must be another one"
    if order.kind == "rollover" and (order.last or order.first):
        return "a rollover needs no registers: they are those that were read"
    return None


def _rollover(meter: Meter, billing: Billing) -> tuple[Registers, Registers] | str:
    seen, before = billing.suspect, billing.confirmed
    turned = turned_over(before, seen, bound_of(meter)) if before is not None and seen is not None else None
    if billing.held is not Doubt.ROLLOVER or turned is None:
        return f"no rollover is suspected of meter {meter.id}"
    return turned


def _exchange(meter: Meter, billing: Billing, order: RegisterOrder, now_ms: int) -> tuple[Registers, Registers] | str:
    at_ms = moment(billing, now_ms)
    last, first = shown(meter, order.last, at_ms), shown(meter, order.first, at_ms)
    if first is None or (last is None and billing.confirmed is not None):
        return f"a meter change names the last and the first kWh of {TOTAL} and its rates, with no more decimals than the display"
    last = last or first
    if billing.confirmed is None:
        return last, first
    return unbelievable(meter, billing.confirmed, last, two_people=order.second is not None) or (last, first)


def _begun(before: Billing, last: Registers, first: Registers, *, paid: bool) -> Billing:
    """Held by nothing, and not yet billed beyond the new beginning; a bill that had not begun begins with the old end where
    somebody pays, because that stands in the journal, else here."""
    began_wh = last.wh[TOTAL] if before.first_wh is None else before.first_wh
    first_wh = began_wh if paid else first.wh[TOTAL]
    begun = Billing(before.meter, first, first_wh=first_wh, renewals=before.renewals + 1)
    return replace(begun, moved_ms=first.at_ms, still_ms=first.at_ms)


def _content(order: RegisterOrder) -> str:
    registers = sorted((*((f"last {n}", v) for n, v in order.last.items()), *((f"first {n}", v) for n, v in order.first.items())))
    return f"{order.meter} {order.kind} " + " ".join(f"{name}={value}" for name, value in registers)
