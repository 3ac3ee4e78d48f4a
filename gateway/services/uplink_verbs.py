"""What each verb of the centre comes to: the use cases that persons have too, with the key as the one who asks (contract.md 5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gateway.domain.approvals import RELEASE, ApprovalState, Decision
from gateway.domain.incoming import IncomingCommand
from gateway.domain.limit_body import limit_from
from gateway.domain.meters import Meter
from gateway.domain.requests import Protection, SupplyOrder
from gateway.domain.supply import SIGNS, Command, CommandEvent, CommandState, Verb
from gateway.domain.units import parse_money
from gateway.domain.uplink_keys import Why
from gateway.domain.uplink_orders import LATER, ORDERED, UplinkOrder
from gateway.services import approve, two_people
from gateway.services.order_supply import order_supply
from gateway.services.ports import Site, Tx
from gateway.services.protect_account import ask_protection
from gateway.services.set_limit import ask_limit
from gateway.services.stop_switch import resume_cuts, stop_cuts, stop_ordered
from gateway.services.switching import bring, drop_reason, step
from gateway.services.uplink_answers import ORIGIN, QUARANTINED, QUEUED, Received, conclude, record, refuse
from gateway.services.uplink_money import pay_in, put_by

Handler = Callable[[Tx, IncomingCommand, Site, int], Received]

FOREVER_MS = 4_102_444_800_000
"""2100: the expiry of an order that was given none."""


def reached(tx: Tx, command: IncomingCommand) -> tuple[Sequence[str], str | None]:
    """Meters and account that a command is about, as the scope of a key is held against them."""
    ident = command.args.get("id") if command.verb in ("cancel", "release", "refuse") else None
    if isinstance(ident, str):
        found, approval, order = tx.command(ident), tx.approval(ident), tx.uplink_order(ident)
        if found is not None:
            return (found.meter,), found.account
        subject = approval.subject if approval is not None else ""
        if subject and tx.account(subject):
            return _reach(tx, None, subject)
        return _reach(tx, order.meter, order.account) if order is not None else ((), None)
    return _reach(tx, command.meter, command.account)


def _reach(tx: Tx, meter_id: str | None, account: str | None) -> tuple[Sequence[str], str | None]:
    if meter_id is not None:
        meter = tx.meter(meter_id)
        return (meter_id,), meter.account if meter is not None else None
    return (tuple(meter.id for meter in tx.meters_of(account)), account) if account is not None else ((), None)


def money_of(command: IncomingCommand) -> int | None:
    """Micro-units that a command moves."""
    amount, currency = command.args.get("amount"), command.args.get("currency")
    try:
        return parse_money(str(amount), str(currency or "CNY")) if amount is not None else None
    except ValueError:
        return None


def _switch(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> Received:
    meter = command.meter or only_switch(tx, command.account)
    if meter is None:
        return refuse(
            tx, command, Why.NOT_PERMITTED, "this account has not one meter with a switch; name its meters one by one", now_ms
        )
    on = command.args.get("on", True)
    verb = Verb.ALARM_OFF if command.verb == "alarm" and on is False else Verb(command.verb)
    expires_ms = FOREVER_MS if command.expires_ms is None else command.expires_ms
    if command.lives_ms is not None:
        expires_ms = min(expires_ms, now_ms + command.lives_ms)
    who = command.who if command.kid else ORIGIN
    order = SupplyOrder(
        command.id, meter, verb, command.cause or "", ORIGIN, expires_ms, who, facts=command.facts, reason=command.reason
    )
    answer = order_supply(tx, order, site, now_ms)
    if answer.command is None:
        return refuse(tx, command, Why.NOT_PERMITTED, answer.refused or "there is nothing to do", now_ms)
    if answer.command.id != command.id:
        return refuse(tx, command, Why.SUPERSEDED, f"command {answer.command.id} is already doing this", now_ms)
    record(tx, replace(command, meter=meter), ORDERED, now_ms)
    return Received(answer.command)


def only_switch(tx: Tx, account: str | None) -> str | None:
    """The meter that an order to an account's switch means; None where it has not one."""
    meters: Sequence[Meter] = [meter for meter in tx.meters_of(account) if meter.cuttable] if account is not None else ()
    return meters[0].id if len(meters) == 1 else None


def _protect(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> Received:
    args = command.args
    if command.account is None:
        return refuse(tx, command, Why.NOT_PERMITTED, "protection is an account's: name the account", now_ms)
    until = args.get("until_ms")
    wanted = Protection(
        command.account,
        until if isinstance(until, int) else None,
        str(args.get("owner") or command.who),
        command.reason or "ordered by the centre",
        command.who,
        str(args.get("blocks", "all")),
        args.get("in_meter") is True,
    )
    return _asked(tx, command, ask_protection(tx, command.id, wanted, site, now_ms), now_ms)


def _limit(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> Received:
    wanted, body = command.args.get("limit"), command.args.get("load_limit")
    if wanted is not None and not isinstance(body, dict):
        return refuse(tx, command, Why.NOT_PERMITTED, str(command.args.get("wrong") or "this is no load limit"), now_ms)
    try:
        limit = limit_from(body) if wanted is not None and isinstance(body, dict) else None
    except ValueError as wrong:
        return refuse(tx, command, Why.NOT_PERMITTED, str(wrong), now_ms)
    why = command.reason or "ordered by the centre"
    asked = ask_limit(tx, command.id, str(command.account), limit, why, command.who, site, now_ms)
    return _asked(tx, command, asked, now_ms)


def _asked(tx: Tx, command: IncomingCommand, decision: Decision, now_ms: int) -> Received:
    """Done, refused, or waiting for its second person; its own expiry runs on."""
    if decision.refused is not None:
        return refuse(tx, command, Why.NOT_PERMITTED, decision.refused, now_ms)
    if decision.approval is None:
        record(tx, command, CommandState.DONE.value, now_ms)
        return Received()
    record(tx, command, QUARANTINED.value, now_ms, reason="it waits for a second person")
    return Received(later=True)


def _decide(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> Received:
    """A second key releases or refuses what waits; of the same holder it is no second person."""
    ident = str(command.args["id"])
    approval = tx.approval(ident)
    if approval is None or not (approval.act == RELEASE or approval.asked_by.startswith(f"{ORIGIN}:")):
        return refuse(tx, command, Why.NOT_PERMITTED, f"nothing waits under {ident}", now_ms)
    if command.verb == "release":
        if _same_holder(tx, command.kid, approval.asked_by):
            text = f"{approval.asked_by} asked for it: a key of another holder must release it"
            return refuse(tx, command, Why.NO_RIGHT, text, now_ms)
        decision = approve.approve(tx, ident, command.who, site, now_ms, two_people.ACTS)
    else:
        decision = approve.refuse(tx, ident, command.who, command.reason or "refused by the centre", now_ms, two_people.ACTS)
    if decision.refused is not None:
        return refuse(tx, command, Why.NOT_PERMITTED, decision.refused, now_ms)
    record(tx, command, CommandState.DONE.value, now_ms)
    return Received()


def _same_holder(tx: Tx, kid: str, asked_by: str) -> bool:
    mine, other = tx.uplink_key(kid), tx.uplink_key(asked_by.removeprefix(f"{ORIGIN}:"))
    if mine is None or other is None:
        return False
    return mine.public == other.public or (bool(mine.holder) and mine.holder == other.holder)


def _cancel(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> Received:
    """Takes back what has not left: a command in the queue or in the quarantine."""
    ident = str(command.args["id"])
    found, order = tx.command(ident), tx.uplink_order(ident)
    if found is not None and not _unsent(found):
        return refuse(
            tx, command, Why.NOT_PERMITTED, f"command {ident} is {found.state.value}: it cannot be cancelled any more", now_ms
        )
    if found is None and (order is None or not order.waits):
        return refuse(tx, command, Why.NOT_PERMITTED, f"nothing that could be cancelled is known under {ident}", now_ms)
    why = f"cancelled by {command.who}"
    if found is not None:
        _call_off(tx, found, why, site, now_ms)
    elif order is not None:
        conclude(tx, order, CommandState.CANCELLED, now_ms, reason=why)
    approval = tx.approval(ident)
    if approval is not None and approval.state is ApprovalState.ASKED:
        approve.refuse(tx, ident, command.who, "cancelled", now_ms, two_people.ACTS)
    tx.add_audit(now_ms, command.who, "cancel_command", ident, {"command": command.id})
    record(tx, command, CommandState.DONE.value, now_ms)
    return Received()


def _unsent(found: Command) -> bool:
    return found.state is CommandState.QUARANTINED or (found.state is CommandState.QUEUED and found.attempts == 0)


def _call_off(tx: Tx, found: Command, why: str, site: Site, now_ms: int) -> None:
    waited = found.state is CommandState.QUARANTINED
    step(tx, found, CommandEvent.CANCELLED, now_ms, reason=why)
    meter = tx.meter(found.meter)
    if meter is None or waited or found.verb in SIGNS:
        return
    if found.verb is Verb.CUT:
        drop_reason(tx, meter, f"{found.origin}:{found.cause}")
    bring(tx, meter.id, site, now_ms)


def _stop(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> Received:
    why = command.reason or "ordered by the centre"
    if command.verb == "stop":
        stop_cuts(tx, command.who, why, now_ms)
        if command.kid:
            stop_ordered(tx, command.kid, command.counter, command.issued_ms)
    elif (refused := resume_cuts(tx, command.who, why, now_ms)) is not None:
        return refuse(tx, command, Why.NOT_PERMITTED, refused, now_ms)
    record(tx, command, CommandState.DONE.value, now_ms)
    return Received()


def _later(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> Received:
    """What takes more than this transaction (the archive, a line): it is kept, and done from what is kept, also after a restart."""
    record(tx, command, QUEUED.value, now_ms)
    return Received(later=True)


VERBS: Mapping[str, Handler] = {
    **dict.fromkeys(("cut", "restore", "allow_close", "alarm"), _switch),
    **dict.fromkeys(("protect", "unprotect"), _protect),
    "set_limit": _limit,
    **dict.fromkeys(("release", "refuse"), _decide),
    "cancel": _cancel,
    **dict.fromkeys(("stop", "go"), _stop),
    "topup": pay_in,
    "refund": put_by,
    **dict.fromkeys(sorted(LATER), _later),
}
"""Every verb and what does it."""

SERVED = ", ".join(sorted(VERBS))


def finish(
    tx: Tx, order: UplinkOrder, now_ms: int, refused: str | None, answer: Mapping[str, object], *, waits: bool = False
) -> None:
    """What became of one of LATER. waits: for a second person. One that was cancelled meanwhile keeps that answer."""
    kept = tx.uplink_order(order.id)
    if kept is None or not kept.waits:
        return
    told = json.loads(json.dumps(answer, default=str))
    if waits:
        if kept.state != QUARANTINED.value:
            conclude(tx, kept, QUARANTINED, now_ms, reason=refused or "")
    elif refused is not None:
        conclude(tx, kept, CommandState.REFUSED, now_ms, Why.NOT_PERMITTED.value, refused, told)
    else:
        conclude(tx, kept, CommandState.DONE, now_ms, answer=told)
