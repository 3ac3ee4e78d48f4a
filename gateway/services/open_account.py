"""A customer comes: account, agreement, meters, first registers and what is taken over, in one transaction or not at all."""

from __future__ import annotations

import json
from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.events import EventKind, Json
from gateway.domain.life import Installed, OpenAccount, Refusal
from gateway.domain.meters import Account, Meter
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import Verb
from gateway.domain.units import format_money
from gateway.services import announce
from gateway.services.acts import Answer, done, known, must_be_two
from gateway.services.final_registers import begin_bill, stands
from gateway.services.judge_account import judge_account
from gateway.services.load_archive import Opening, enter_account, place_meter
from gateway.services.meter_wallet import watch_account
from gateway.services.money_held import must_be_open
from gateway.services.move_meter import hand_over, tell_moved
from gateway.services.order_supply import order_supply
from gateway.services.ports import Site, Tx
from gateway.services.switching import RESTORE_LIVES_MS

OPEN = "open_account"
"""As it stands in the audit log."""


def open_account(tx: Tx, order: OpenAccount, site: Site, now_ms: int) -> Answer:
    """Open it and give its balance and where its meters' bills begin. Raises Refusal or MoneyHeld; then nothing has changed.

    A meter whose supply a person held open is given it back: somebody pays again.
    """
    act, account = order.act, order.account
    if (told := known(tx, act, OPEN)) is not None:
        return told
    _may_be_opened(tx, order)
    enter_account(tx, Opening(account, order.opening_micro, order.debt_micro), site, now_ms)
    meters: list[Json] = [_bind(tx, installed, order, site, now_ms) for installed in order.meters]
    watch_account(tx, account.id, "", now_ms)
    judged = judge_account(tx, account.id, site, now_ms)
    balance = format_money(tx.balance(ledger.customer(account.id), account.currency), account.currency)
    agreement = json.dumps(dict(order.agreement), sort_keys=True, ensure_ascii=False)
    said: dict[str, Json] = {"by": act.by, "balance": balance, "currency": account.currency, "tariff": account.tariff}
    announce.event(tx, EventKind.ACCOUNT_OPENED, now_ms, meter=None, account=account.id, **said)
    announce.balance(tx, judged, now_ms)
    told = {"account": account.id, "balance": balance, "currency": account.currency, "meters": meters}
    audited = {"agreement": agreement, "balance": balance, "receipt": order.receipt or "", "meters": _names(order)}
    return done(tx, act, OPEN, account.id, told, now_ms, audited)


def _may_be_opened(tx: Tx, order: OpenAccount) -> None:
    account = order.account
    there = tx.account(account.id)
    if there is not None:
        what = "closed: it is not opened again, open one under another id" if there.closed else "open already"
        raise Refusal(f"account {account.id} is {what}")
    if account.closed:
        raise Refusal(f"account {account.id} would be closed from the beginning")
    if order.opening_micro or order.debt_micro:
        must_be_open(tx)
    if order.opening_micro and not order.receipt:
        shown = format_money(order.opening_micro, account.currency)
        must_be_two(tx, order.act, f"a balance of {shown} {account.currency} without a counter receipt")
    names = [installed.meter.id for installed in order.meters]
    if len(set(names)) < len(names):
        raise Refusal("a meter is named twice")


def _bind(tx: Tx, installed: Installed, order: OpenAccount, site: Site, now_ms: int) -> Json:
    """One meter of the new account; where its bill begins."""
    new, old = installed.meter, tx.meter(installed.meter.id)
    owner: Account | None = tx.account(old.account) if old is not None and old.account else None
    if owner is not None and not owner.closed:
        raise Refusal(f"meter {new.id} is account {owner.id}'s: move it, or close that account first")
    if old is None:
        place_meter(tx, new, site, now_ms)
        at = stands(tx, new, installed.kwh, order.act, now_ms)
        begin_bill(tx, new, at)
        old = replace(new, account=None)
    else:
        at = hand_over(tx, old, installed, order.act, site, now_ms)
    _light(tx, tx.meter(new.id) or new, order, site, now_ms)
    return tell_moved(tx, old, new, at, order.act, now_ms)


def _light(tx: Tx, meter: Meter, order: OpenAccount, site: Site, now_ms: int) -> None:
    if not meter.cut_reasons:
        return
    ident = f"{order.act.id[:31]}-{meter.id[:32]}"
    wanted = SupplyOrder(ident, meter.id, Verb.RESTORE, "operator", "operator", now_ms + RESTORE_LIVES_MS, order.act.who)
    refused = order_supply(tx, wanted, site, now_ms).refused
    if refused is not None:
        raise Refusal(f"supply of meter {meter.id} cannot be given back: {refused}")


def _names(order: OpenAccount) -> str:
    return ",".join(installed.meter.id for installed in order.meters)
