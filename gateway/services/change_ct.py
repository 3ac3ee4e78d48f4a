"""Other transformers in front of the same meter: the ratio changes at a register, and every Wh is billed by the one that held."""

from __future__ import annotations

from gateway.domain.events import EventKind, Json
from gateway.domain.life import ChangeCt, Refusal
from gateway.domain.readings import TOTAL
from gateway.services import announce
from gateway.services.acts import Answer, done, known, second_of
from gateway.services.change_meter import forget_registers, renew
from gateway.services.final_registers import FORM, ending, shown
from gateway.services.judge_account import judge_account
from gateway.services.load_archive import place_meter
from gateway.services.ports import Site, Tx

CHANGE = "change_ct"
"""As it stands in the audit log."""


def change_ct(tx: Tx, order: ChangeCt, site: Site, now_ms: int) -> Answer:
    """Bill to this register with the old ratio, write an entry, and go on with the new one and its bounds. Raises Refusal; then
    nothing has changed. What the past would still split is left as it was estimated: it was counted by the old ratio."""
    act, new = order.act, order.meter
    if (told := known(tx, act, CHANGE)) is not None:
        return told
    old = tx.meter(new.id)
    if old is None:
        raise Refusal(f"meter {new.id} is not in the archive")
    if new.ratio == old.ratio:
        raise Refusal(f"meter {new.id} has the ratio {old.ratio} already")
    last = ending(tx, old, order.kwh, act, now_ms)
    first = None if last is None else shown(new, order.kwh, last.at_ms)
    if last is None or first is None:
        raise Refusal(FORM)
    ratios = f"{old.ratio}-{new.ratio}"
    why = {"change": "ct_change", "reason": act.reason, "by": act.by, "order": act.id, "ratio": ratios}
    second = second_of(tx, act)
    renew(tx, old, last, first, why | ({"second": second} if second else {}), now_ms)
    forget_registers(tx, old, now_ms)
    place_meter(tx, new, site, now_ms)
    data: dict[str, Json] = {
        "ratio": str(new.ratio), "was": str(old.ratio), "last_wh": last.wh[TOTAL], "first_wh": first.wh[TOTAL],
    }  # fmt: skip
    announce.event(tx, EventKind.CT_CHANGED, now_ms, meter=new.id, account=old.account, by=act.by, **data)
    if old.account is not None:
        judge_account(tx, old.account, site, now_ms)
    audited = {key: str(value) for key, value in data.items()}
    return done(tx, act, CHANGE, new.id, {"meter": new.id, **data}, now_ms, audited)
