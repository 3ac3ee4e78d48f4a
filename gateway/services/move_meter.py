"""A meter passes from one account to another, or to nobody: what it counted until then is the old one's, every Wh once."""

from __future__ import annotations

from gateway.domain.events import EventKind, Json
from gateway.domain.life import Act, Installed, MoveMeters, Refusal
from gateway.domain.meters import Account, Meter
from gateway.domain.readings import TOTAL, Registers
from gateway.services import announce
from gateway.services.acts import Answer, done, known
from gateway.services.change_meter import forget_registers, nothing_inside
from gateway.services.final_registers import begin_bill, end_bill, stands
from gateway.services.judge_account import judge_account
from gateway.services.load_archive import place_meter
from gateway.services.ports import Site, Tx

MOVE = "move_meters"
"""As it stands in the audit log."""


def move_meters(tx: Tx, order: MoveMeters, site: Site, now_ms: int) -> Answer:
    """Move them all, or none: raises Refusal. Both accounts of each are judged afterwards, on what they then have."""
    act = order.act
    if (told := known(tx, act, MOVE)) is not None:
        return told
    if not order.meters:
        raise Refusal("name a meter to move")
    moved: list[Json] = []
    touched: dict[str, None] = {}
    for installed in order.meters:
        old = tx.meter(installed.meter.id)
        if old is None:
            raise Refusal(f"meter {installed.meter.id} is not in the archive")
        if old.account == installed.meter.account:
            raise Refusal(f"meter {old.id} is {'of account ' + old.account if old.account else 'on no account'} already")
        at = hand_over(tx, old, installed, act, site, now_ms)
        moved.append(tell_moved(tx, old, installed.meter, at, act, now_ms))
        touched |= dict.fromkeys(name for name in (old.account, installed.meter.account) if name)
    for name in touched:
        judge_account(tx, name, site, now_ms)
    subject = ",".join(installed.meter.id for installed in order.meters)
    return done(tx, act, MOVE, subject, {"moved": moved}, now_ms, {"accounts": ",".join(touched)})


def hand_over(tx: Tx, old: Meter, installed: Installed, act: Act, site: Site, now_ms: int) -> Registers | None:
    """End the bill of whoever pays now, let the meter be as it will be, and begin the next bill where that one ended; the register
    (None: the next confirmed reading). Judges nobody. Raises Refusal."""
    new = installed.meter
    payer(tx, new)
    nothing_inside(tx, old)
    if old.account is not None:
        at = end_bill(tx, old, installed.kwh, act, now_ms)
        forget_registers(tx, old, now_ms)
    else:
        at = stands(tx, old, installed.kwh, act, now_ms)
    place_meter(tx, new, site, now_ms)
    begin_bill(tx, tx.meter(new.id) or new, at)
    return at


def payer(tx: Tx, meter: Meter) -> Account | None:
    """Who will pay for this meter. Refusal for an account that is closed or not known."""
    if meter.account is None:
        return None
    account = tx.account(meter.account)
    if account is None:
        raise Refusal(f"account {meter.account} is not known here")
    if account.closed:
        raise Refusal(f"account {account.id} is closed: no meter can be moved to it")
    return account


def tell_moved(tx: Tx, old: Meter, new: Meter, at: Registers | None, act: Act, now_ms: int) -> Json:
    """An event for each account, because its id is in no event of another; and the same for the person."""
    wh = None if at is None else at.wh[TOTAL]
    for account, way in ((old.account, "left"), (new.account, "came")):
        if account is not None and old.account != new.account:
            announce.event(tx, EventKind.METER_MOVED, now_ms, meter=new.id, account=account, way=way, wh=wh, by=act.by)
    moved: dict[str, Json] = {"meter": new.id, "from": old.account, "to": new.account, "wh": wh}
    return moved
