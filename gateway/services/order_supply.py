"""A person or the centre orders a switch: checked, recorded, answered; the line does the rest (design.md, One cut)."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.budgets import Budget
from gateway.domain.meters import Account, Meter, SwitchKind
from gateway.domain.permissions import CutPermission
from gateway.domain.precedence import Claim
from gateway.domain.requests import SupplyOrder, valid_id
from gateway.domain.supply import SIGNS, Command, CutCause, Verb, aside
from gateway.services.meter_orders import order_sign
from gateway.services.permit_cut import LOG_FULL, grant, judge, overruled, tell_overruled
from gateway.services.ports import Site, SupplyAnswer, Tx
from gateway.services.quarantine import grounds_for, put_aside, reason_of
from gateway.services.spend_budget import purse, room_in
from gateway.services.switching import CREDIT, DANGER, LIMIT, PLAN, bring, drop_reason, is_danger, put_reason
from gateway.services.watch_limits import release_limit

OUTSIDE_CAUSES = frozenset(CutCause) - {CutCause.SAFETY}
"""Causes that an order may name; `safety` is for the limiter alone, which measured it."""

SOMEBODY = "another person"
"""Stands for the second person while an order is judged that will wait for one."""


def order_supply(tx: Tx, order: SupplyOrder, site: Site, now_ms: int) -> SupplyAnswer:
    """Judge an order and queue its command. The same id gives the same command again; an order under way is not doubled.

    A cut needs what its cause needs (missing_for_cut). One that is over its key's budget, or needs a second person, waits in the
    quarantine. A restore lifts what persons and the limiter put on the meter; it does not lift a lack of credit, nor what was
    ordered for danger to life: then the answer says so.
    """
    if order.verb in SIGNS:
        return order_sign(tx, order, now_ms)
    known = tx.command(order.id)
    if known is not None:
        same = (known.meter, known.verb is Verb.CUT) == (order.meter, order.verb is Verb.CUT) and known.verb not in SIGNS
        return SupplyAnswer(known, None if same else f"command {order.id} is known with another content")
    meter = tx.meter(order.meter)
    refused = _form(meter, order, now_ms)
    if meter is None or refused is not None:
        return SupplyAnswer(None, refused)
    account = tx.account(meter.account) if meter.account else None
    if order.verb is Verb.CUT:
        return _cut(tx, meter, account, order, site, now_ms)
    refused = _restore(tx, meter, account, order, site, now_ms)
    return SupplyAnswer(None, refused) if refused is not None else _ordered(tx, meter, order, None, site, now_ms)


def _ordered(tx: Tx, meter: Meter, order: SupplyOrder, permission: CutPermission | None, site: Site, now_ms: int) -> SupplyAnswer:
    bring(tx, meter.id, site, now_ms, order, permission)
    return SupplyAnswer(tx.command(order.id) or _under_way(tx, meter))


def _form(meter: Meter | None, order: SupplyOrder, now_ms: int) -> str | None:
    if not valid_id(order.id):
        return "a command id is 1 to 64 letters, digits, _ or -"
    if meter is None:
        return f"meter {order.meter} is not in the archive"
    if meter.switch is SwitchKind.NONE:
        return f"meter {meter.id} has no switch"
    if order.expires_ms <= now_ms:
        return "the order is expired"
    return None


def _cut(tx: Tx, meter: Meter, account: Account | None, order: SupplyOrder, site: Site, now_ms: int) -> SupplyAnswer:
    """What wins over it refuses it; what its cause lacks refuses it; a missing second person or a spent budget makes it wait."""
    if order.cause not in OUTSIDE_CAUSES:
        return SupplyAnswer(None, f"a cut names its cause: one of {', '.join(sorted(OUTSIDE_CAUSES))}")
    cause = CutCause(order.cause)
    if order.danger and cause is not CutCause.EMERGENCY:
        return SupplyAnswer(None, f"only an emergency can be a danger to life, not {cause}")
    grounds = grounds_for(order)
    alone = not grounds.by_two and (cause is CutCause.THEFT_BY_TWO_PEOPLE or (order.danger and not site.one_person))
    vouched = replace(grounds, second=SOMEBODY) if alone else grounds
    winner = overruled(tx, account, cause, grounds, now_ms)
    if winner is not None:
        said = tell_overruled(tx, order.id, winner, now_ms, meter=meter.id, account=meter.account)
        return SupplyAnswer(None, f"no permission to cut: {said}")
    missing = judge(tx, account, cause, vouched, site, now_ms)
    if missing:
        return SupplyAnswer(None, "no permission to cut: " + "; ".join(missing))
    of = purse(tx, account, cause, grounds, site, now_ms)
    why = "it needs a second person" if alone else ""
    if not why and not grounds.by_two and room_in(tx, of, site, now_ms) == 0:
        whose = "the plan's" if of.budget is Budget.PLAN else f"{of.key}'s"
        why = f"{whose} budget for cuts is spent"
    if why:
        waits = put_aside(tx, meter, order, why, site, now_ms)
        return SupplyAnswer(None, waits) if isinstance(waits, str) else SupplyAnswer(waits)
    permission = grant(tx, account, cause, grounds.by, grounds, of, order.expires_ms, now_ms, meter)
    if permission is None:
        return SupplyAnswer(None, f"no permission to cut: {LOG_FULL}")
    put_reason(tx, meter, reason_of(order))
    return _ordered(tx, meter, replace(order, origin=DANGER) if order.danger else order, permission, site, now_ms)


def _restore(tx: Tx, meter: Meter, account: Account | None, order: SupplyOrder, site: Site, now_ms: int) -> str | None:
    lifting = order.danger and (grounds_for(order).by_two or site.one_person)
    if any(is_danger(reason) for reason in meter.cut_reasons) and not lifting:
        return tell_overruled(tx, order.id, Claim.DANGER_TO_LIFE, now_ms, meter=meter.id, account=meter.account)
    if account is not None and CREDIT in meter.cut_reasons:
        return "the account is cut for lack of credit: top it up, and supply returns by itself"
    drop_reason(tx, meter, *meter.cut_reasons)
    if account is not None and {LIMIT, PLAN} & {*meter.cut_reasons}:
        release_limit(tx, account, site, now_ms)  # the limit is the account's: its other meters are freed too
    return None


def _under_way(tx: Tx, meter: Meter) -> Command | None:
    under_way = [command for command in tx.open_commands(meter=meter.id) if not aside(command)]
    return under_way[-1] if under_way else None
