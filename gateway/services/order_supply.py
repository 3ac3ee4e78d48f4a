"""A person or the centre orders a switch: checked, recorded, answered; the line does the rest (design.md, One cut)."""

from __future__ import annotations

from gateway.domain.meters import Account, Meter, SwitchKind
from gateway.domain.requests import SupplyOrder, valid_id
from gateway.domain.supply import Command, CommandState, CutCause, Verb, missing_for_cut, missing_without_account
from gateway.services.ports import Site, SupplyAnswer, Tx
from gateway.services.switching import CREDIT, LIMIT, bring, circumstances, drop_reason, lift, put_reason
from gateway.services.watch_limits import release_limit

OUTSIDE_CAUSES = frozenset(CutCause) - {CutCause.SAFETY}
"""Causes that an order may name; `safety` is for the limiter alone, which measured it."""


def order_supply(tx: Tx, order: SupplyOrder, site: Site, now_ms: int) -> SupplyAnswer:
    """Judge an order and queue its command. The same id gives the same command again; an order under way is not doubled.

    A cut needs what its cause needs (missing_for_cut). A restore lifts what persons and the limiter put on the meter; it does not
    lift a lack of credit: then the answer says so.
    """
    known = tx.command(order.id)
    if known is not None:
        same = (known.meter, known.verb is Verb.CUT) == (order.meter, order.verb is Verb.CUT)
        return SupplyAnswer(known, None if same else f"command {order.id} is known with another content")
    meter = tx.meter(order.meter)
    refused = _form(meter, order, now_ms)
    if meter is None or refused is not None:
        return SupplyAnswer(None, refused)
    account = tx.account(meter.account) if meter.account else None
    judge = _cut if order.verb is Verb.CUT else _restore
    refused = judge(tx, meter, account, order, site, now_ms)
    if refused is not None:
        return SupplyAnswer(None, refused)
    bring(tx, meter.id, site, now_ms, order)
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


def _cut(tx: Tx, meter: Meter, account: Account | None, order: SupplyOrder, site: Site, now_ms: int) -> str | None:
    if order.cause not in OUTSIDE_CAUSES:
        return f"a cut names its cause: one of {', '.join(sorted(OUTSIDE_CAUSES))}"
    cause = CutCause(order.cause)
    if account is None:
        missing = missing_without_account(cause, site.clock_trusted)
    else:
        missing = missing_for_cut(cause, account, circumstances(tx, account, site, now_ms))
    if missing:
        return "no permission to cut: " + "; ".join(missing)
    put_reason(tx, meter, f"{order.origin}:{order.cause}")
    return None


def _restore(tx: Tx, meter: Meter, account: Account | None, order: SupplyOrder, site: Site, now_ms: int) -> str | None:
    if account is not None and CREDIT in meter.cut_reasons:
        return "the account is cut for lack of credit: top it up, and supply returns by itself"
    drop_reason(tx, meter, *meter.cut_reasons)
    if account is not None and LIMIT in meter.cut_reasons:
        release_limit(tx, account, now_ms)
        lift(tx, account, CutCause.SAFETY, site, now_ms)  # the limit is the account's: its other meters are freed too
    return None


def _under_way(tx: Tx, meter: Meter) -> Command | None:
    under_way = [c for c in tx.open_commands(meter=meter.id) if c.state is not CommandState.SUPERSEDED]
    return under_way[-1] if under_way else None
