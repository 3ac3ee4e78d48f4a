"""A person's word about registers that end and begin anew: a rollover that was only suspected, a meter that was exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from gateway.domain.meters import Meter
from gateway.domain.readings import TOTAL, Billing, Doubt, Item, Registers, agree, energy_registers, turned_over
from gateway.domain.requests import RegisterOrder, valid_id
from gateway.services.charge_energy import Unpriced
from gateway.services.judge_account import judge_account
from gateway.services.ports import Site, Tx
from gateway.services.record_reading import bound_of, renew_register

KINDS = ("rollover", "meter_change")


def accept_register(tx: Tx, order: RegisterOrder, site: Site, now_ms: int) -> str | None:
    """Bill the meter to the end of its old register and go on from the beginning of the new one, with an entry and an event.

    None when done, or done before under this id; else why not, in one sentence. Never bills backwards; more than the old meter can
    have counted needs a second person.
    """
    key = f"register_order:{order.id}"
    known = tx.meta(key)
    if known is not None:
        return None if known == _content(order) else f"order {order.id} is known with another content"
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
        renew_register(tx, meter, before.confirmed or last, last, first, why, now_ms)
    except Unpriced as unpriced:
        return str(unpriced)
    tx.save_billing(_begun(before, first, paid=meter.account is not None))
    tx.set_meta(key, _content(order))
    if meter.account is not None:
        judge_account(tx, meter.account, site, now_ms)
    return None


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
    last, first = _registers(meter, order.last, now_ms), _registers(meter, order.first, now_ms)
    if first is None or (last is None and billing.confirmed is not None):
        return f"a meter change names the last and the first kWh of {TOTAL} and its rates, with no more decimals than the display"
    last = last or first
    if billing.confirmed is None:
        return last, first
    doubt = agree(billing.confirmed, last, bound_of(meter))
    if doubt is Doubt.JUMP and order.second is not None:
        lower = any(last.wh[name] < wh for name, wh in billing.confirmed.wh.items())
        doubt = Doubt.LOWER if lower else None
    match doubt:
        case None:
            return last, first
        case Doubt.JUMP:
            return f"meter {meter.id} can hardly have counted so far: a second person must say so too"
        case Doubt.MISSING:
            return f"the last registers lack {', '.join(sorted(billing.confirmed.wh.keys() - last.wh.keys()))}"
        case _:
            return f"meter {meter.id} is billed further than these last registers, and nothing is billed backwards"


def _registers(meter: Meter, kwh: Mapping[str, Decimal], at_ms: int) -> Registers | None:
    """What the display shows, as it is billed."""
    wh = energy_registers([Item(name, value, "kWh") for name, value in kwh.items() if value >= 0], meter.ratio)
    return Registers(at_ms, wh) if isinstance(wh, dict) and wh.keys() == kwh.keys() else None


def _begun(before: Billing, first: Registers, *, paid: bool) -> Billing:
    """Held by nothing, and not yet billed beyond the new beginning; where nobody pays the bill begins here."""
    first_wh = before.first_wh if paid and before.first_wh is not None else first.wh[TOTAL]
    begun = Billing(before.meter, first, first_wh=first_wh, renewals=before.renewals + 1)
    return replace(begun, moved_ms=first.at_ms, still_ms=first.at_ms)


def _content(order: RegisterOrder) -> str:
    registers = sorted((*((f"last {n}", v) for n, v in order.last.items()), *((f"first {n}", v) for n, v in order.first.items())))
    return f"{order.meter} {order.kind} " + " ".join(f"{name}={value}" for name, value in registers)
