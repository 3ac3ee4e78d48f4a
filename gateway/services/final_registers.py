"""Where one bill of a meter ends and the next begins: read by the gateway itself, or said by a person who answers for it."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.estimates import priced_registers
from gateway.domain.life import Act, Kwh, Refusal
from gateway.domain.meters import Meter
from gateway.domain.readings import TOTAL, Billing, Doubt, Item, Registers, agree, energy_registers
from gateway.domain.supply import FRESH_MS
from gateway.services.acts import must_be_two
from gateway.services.charge_energy import Unpriced, charge_energy, tariff_of
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from gateway.services.record_reading import bound_of

FORM = f"registers are the kWh of {TOTAL} and of rates, with no more decimals than the display"


def shown(meter: Meter, kwh: Kwh, at_ms: int) -> Registers | None:
    """What the display shows, as it is billed; None for what no display of this meter shows."""
    wh = energy_registers([Item(name, value, "kWh") for name, value in kwh.items() if value >= 0], meter.ratio)
    return Registers(at_ms, wh) if isinstance(wh, dict) and wh.keys() == kwh.keys() else None


def moment(billing: Billing, now_ms: int) -> int:
    """When a person's word is of: now, and not before what was read already, whichever way the clock was set since."""
    return max([now_ms, *(registers.at_ms for registers in (billing.confirmed, billing.candidate) if registers is not None)])


def unbelievable(meter: Meter, before: Registers, last: Registers, *, two_people: bool) -> str | None:
    """Why the bill cannot go from one to the other; more than the meter can have counted takes two people. None when it can."""
    doubt = agree(before, last, bound_of(meter))
    if doubt is Doubt.JUMP and two_people:
        lower = any(last.wh.get(name, wh) < wh for name, wh in before.wh.items())
        doubt = Doubt.LOWER if lower else None
    match doubt:
        case None:
            return None
        case Doubt.JUMP:
            return f"meter {meter.id} can hardly have counted so far: a second person must say so too"
        case Doubt.MISSING:
            return f"the last registers lack {', '.join(sorted(before.wh.keys() - last.wh.keys()))}"
        case _:
            return f"meter {meter.id} is billed further than these last registers, and nothing is billed backwards"


def ending(tx: Tx, meter: Meter, kwh: Kwh | None, act: Act, now_ms: int) -> Registers | None:
    """Where the meter's present bill ends; None for a meter that was never read. Raises Refusal.

    kwh None: as the gateway read it, confirmed within the last 15 minutes; else as the act's person says.
    """
    billing = tx.billing(meter.id) or Billing(meter.id)
    if kwh is None:
        return _as_read(meter, billing, now_ms)
    last = shown(meter, kwh, moment(billing, now_ms))
    if last is None:
        raise Refusal(FORM)
    if billing.confirmed is not None:
        must_believe(tx, meter, billing.confirmed, last, act)
    if billing.candidate is not None and agree(billing.candidate, last, bound_of(meter)) is Doubt.LOWER:
        must_be_two(tx, act, f"meter {meter.id} has shown more than these last registers since")
    return last


def must_believe(tx: Tx, meter: Meter, before: Registers, last: Registers, act: Act) -> None:
    """Refusal where the bill cannot go from one to the other, NeedsSecond where it could if somebody else said so too."""
    if unbelievable(meter, before, last, two_people=False) is None:
        return
    why = unbelievable(meter, before, last, two_people=True)
    if why is not None:
        raise Refusal(why)
    must_be_two(tx, act, f"meter {meter.id} can hardly have counted so far")


def _as_read(meter: Meter, billing: Billing, now_ms: int) -> Registers | None:
    if billing.held is not None:
        raise Refusal(f"the bill of meter {meter.id} is held ({billing.held.value}): say what its display shows")
    confirmed = billing.confirmed
    if confirmed is not None and not 0 <= now_ms - confirmed.at_ms <= FRESH_MS:
        raise Refusal(f"meter {meter.id} has no confirmed reading of the last 15 minutes: say what its display shows")
    return confirmed


def end_bill(tx: Tx, meter: Meter, kwh: Kwh | None, act: Act, now_ms: int) -> Registers | None:
    """Bill whoever pays for this meter to where it stands, and take it off the account; where that is. Raises Refusal.

    The meter's own row is the caller's to change.
    """
    last, billing = ending(tx, meter, kwh, act, now_ms), tx.billing(meter.id)
    account = tx.account(meter.account or "")
    if last is None or account is None:
        return last
    if billing is not None and billing.confirmed is not None:
        try:
            charge_energy(tx, meter, billing.confirmed, last, now_ms)
        except Unpriced as unpriced:
            raise Refusal(str(unpriced)) from None
    post_entry(tx, ledger.off_account(account.id, account.currency, meter.id, last.wh[TOTAL], now_ms))
    return last


def begin_bill(tx: Tx, meter: Meter, at: Registers | None) -> None:
    """From here on: the account in the meter's row, which is saved, pays for what it counts. None: from its next confirmed
    reading. Raises Refusal where the tariff could not price what follows."""
    before = tx.billing(meter.id) or Billing(meter.id)
    if at is None:
        tx.save_billing(Billing(meter.id, renewals=before.renewals))
        return
    if meter.account is not None:
        _, tariff = tariff_of(tx, meter)
        if lacks := sorted(priced_registers(tariff) - at.wh.keys()):
            raise Refusal(f"tariff {tariff.id} prices {', '.join(lacks)}: say where that register of meter {meter.id} stands too")
    waits = before.candidate if before.candidate is not None and before.candidate.at_ms > at.at_ms else None
    begun = Billing(meter.id, at, waits, first_wh=at.wh[TOTAL], renewals=before.renewals)
    tx.save_billing(replace(begun, moved_ms=at.at_ms, still_ms=at.at_ms))


def stands(tx: Tx, meter: Meter, kwh: Kwh | None, act: Act, now_ms: int) -> Registers | None:
    """Where a bill begins at a meter for which nobody pays; None: with its next confirmed reading. Raises Refusal."""
    if kwh is not None:
        return ending(tx, meter, kwh, act, now_ms)
    billing = tx.billing(meter.id)
    confirmed = None if billing is None or billing.held is not None else billing.confirmed
    return confirmed if confirmed is not None and 0 <= now_ms - confirmed.at_ms <= FRESH_MS else None
