"""Orders that went over their budget or need a second person wait here; their expiry runs on (prepayment.md 6, contract.md 5)."""

from __future__ import annotations

import json
from dataclasses import replace

from gateway.domain.approvals import RELEASE, Approval
from gateway.domain.events import EventKind, Json
from gateway.domain.findings import FindingKind
from gateway.domain.meters import Meter
from gateway.domain.permissions import Grounds
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import QUARANTINE, Command, CommandEvent, CommandState, CutCause, Verb, aside
from gateway.services import announce
from gateway.services.approve import Act, ask
from gateway.services.findings import found, over
from gateway.services.permit_cut import LOG_FULL, grant, judge
from gateway.services.ports import Site, Tx
from gateway.services.spend_budget import purse
from gateway.services.switching import DANGER, bring, make_room, put_reason, step


def grounds_for(order: SupplyOrder, *, second: str = "") -> Grounds:
    """What an order brings for its cause."""
    facts = {"order": order.reason or order.id, "meter": order.meter, **order.facts}
    return Grounds(order.who or order.origin, second or order.second, order.danger, facts)


def reason_of(order: SupplyOrder) -> str:
    """What an order's cut puts on its meter."""
    return f"{DANGER if order.danger else order.origin}:{order.cause}"


def put_aside(tx: Tx, meter: Meter, order: SupplyOrder, why: str, site: Site, now_ms: int) -> Command | str:
    """The order becomes a command in the quarantine, and its release is asked for; or why not."""
    who = order.who or order.origin
    body: dict[str, Json] = {
        "meter": order.meter,
        "cause": order.cause,
        "origin": order.origin,
        "danger": order.danger,
        "facts": dict(order.facts),
        "reason": order.reason,
        "why": why,
    }
    expires_ms = order.expires_ms
    asked = ask(tx, order.id, RELEASE, order.meter, body, who, site, now_ms, account=meter.account, expires_ms=expires_ms)
    if asked.refused is not None:
        return asked.refused
    origin, _, cause = reason_of(order).partition(":")
    command = Command(
        id=order.id,
        meter=meter.id,
        line=meter.switch_line,
        account=meter.account,
        verb=Verb.CUT,
        cause=cause,
        origin=origin,
        state=CommandState.QUARANTINED,
        created_ms=now_ms,
        expires_ms=order.expires_ms,
        changed_ms=now_ms,
        reason=f"{QUARANTINE}: {why}",
    )
    tx.add_command(command)
    announce.result(tx, command)
    announce.event(tx, EventKind.CUT_QUARANTINED, now_ms, meter=meter.id, account=meter.account, command=order.id, who=who, why=why)
    found(tx, FindingKind.QUARANTINED, who, f"cuts of {who} wait for another person: {why}", now_ms)
    return command


def _release(tx: Tx, approval: Approval, who: str, site: Site, now_ms: int) -> str | None:
    """Another person vouches for it: everything but the budget is judged anew, and the command is queued."""
    command = tx.command(approval.id)
    if command is None or command.state is not CommandState.QUARANTINED:
        return "the command is not in the quarantine any more"
    meter = tx.meter(command.meter)
    if meter is None:
        return f"meter {command.meter} is not in the archive"
    for other in tx.open_commands(meter=meter.id):
        if other.verb is Verb.CUT and not aside(other) and not make_room(tx, other, now_ms):
            return f"command {other.id} is already cutting this meter"
    body = json.loads(approval.body)
    order = SupplyOrder(
        command.id, command.meter, Verb.CUT, body["cause"], body["origin"], command.expires_ms, approval.asked_by, who,
        body["danger"], body["facts"], body["reason"],
    )  # fmt: skip
    account = tx.account(meter.account) if meter.account else None
    cause, grounds = CutCause(order.cause), grounds_for(order)
    if site.one_person and who == approval.asked_by:
        grounds = replace(grounds, second=f"{who} (alone)")
    missing = judge(tx, account, cause, grounds, site, now_ms)
    permission = None
    if not missing:
        of = purse(tx, account, cause, grounds, site, now_ms)
        permission = grant(tx, account, cause, approval.asked_by, grounds, of, command.expires_ms, now_ms, meter)
        missing = () if permission is not None else (LOG_FULL,)
    if permission is None:
        why = "; ".join(missing)
        step(tx, command, CommandEvent.REFUSED, now_ms, reason=f"{QUARANTINE}: {why}")
        _count(tx, approval, now_ms)
        return why
    put_reason(tx, meter, reason_of(order))
    step(tx, replace(command, permission=permission.number), CommandEvent.RELEASED, now_ms, reason=f"released by {who}")
    bring(tx, meter.id, site, now_ms, permission=permission)
    _count(tx, approval, now_ms)
    return None


def _ended(tx: Tx, approval: Approval, why: str, now_ms: int) -> None:
    command = tx.command(approval.id)
    if command is not None and command.state is CommandState.QUARANTINED:
        happened = CommandEvent.EXPIRED if now_ms >= approval.expires_ms else CommandEvent.REFUSED
        step(tx, command, happened, now_ms, reason=f"{QUARANTINE}: {why}")
    _count(tx, approval, now_ms)


def _count(tx: Tx, approval: Approval, now_ms: int) -> None:
    """The finding ends with the last of this key's commands."""
    if tx.count_asked(2, RELEASE, approval.asked_by) < 2:  # itself still waits
        over(tx, FindingKind.QUARANTINED, approval.asked_by, now_ms)


RELEASING = Act(_release, _ended)
