"""Acts that need two people: one asks, another decides; on a one-person site the same one after a pause (prepayment.md 6)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gateway.domain.approvals import ALONE_MS, Approval, ApprovalState, Decision
from gateway.domain.events import EventKind, Json
from gateway.services import announce
from gateway.services.notify import tell
from gateway.services.ports import Duplicate, Site, Tx
from gateway.services.uplink_answers import decided

LIVES_MS = 24 * 60 * 60 * 1000
"""Who asked for something that nobody approved within a day asks again: what it was for has changed meanwhile."""

MOST_ASKED = 10_000
"""Acts that may wait: two days of quarantine on the largest site; beyond it who asks is told so."""


@dataclass(frozen=True, slots=True)
class Act:
    """What is done once it is approved. run: by whom it was decided; why it cannot be done, None when it is. ended: it was refused
    or expired, with the reason."""

    run: Callable[[Tx, Approval, str, Site, int], str | None]
    ended: Callable[[Tx, Approval, str, int], None] = lambda tx, approval, why, now_ms: None


def ask(
    tx: Tx,
    ident: str,
    act: str,
    subject: str,
    body: Mapping[str, Json],
    who: str,
    site: Site,
    now_ms: int,
    *,
    account: str | None = None,
    expires_ms: int | None = None,
) -> Decision:
    """Write down that this waits for a second person; the same id again gives the same approval.

    account: whose act it is. On a one-person site its contacts are told, on the channel of their own: the second pair of eyes.
    """
    text = json.dumps(body, sort_keys=True)
    known = tx.approval(ident)
    if known is not None:
        same = (known.act, known.subject, known.body) == (act, subject, text)
        return Decision(known, None if same else f"approval {ident} is known with another content")
    if tx.count_asked(MOST_ASKED) >= MOST_ASKED:
        return Decision(None, f"{MOST_ASKED} acts wait for their second person: decide some first")
    asked = Approval(ident, act, subject, text, who, now_ms, now_ms + LIVES_MS if expires_ms is None else expires_ms)
    try:
        tx.add_approval(asked)
    except Duplicate:
        return Decision(None, f"approval {ident} is known with another content")
    tx.add_audit(now_ms, who, "ask_approval", subject, {"approval": ident, "act": act})
    announce.event(tx, EventKind.APPROVAL_ASKED, now_ms, account=account, approval=ident, act=act, subject=subject, who=who)
    of = tx.account(account) if account is not None else None
    if site.one_person and of is not None:
        tell(tx, of, "approval", {"act": act, "subject": subject, "who": who}, now_ms)
    return Decision(asked)


def approve(tx: Tx, ident: str, who: str, site: Site, now_ms: int, acts: Mapping[str, Act]) -> Decision:
    """Do what was asked for. who: another person, or on a one-person site the same one ALONE_MS after it was asked.

    An act that can no longer be done is refused with its reason, and never waits again.
    """
    approval, refused = _waits(tx, ident, now_ms)
    if approval is None:
        return Decision(None, refused)
    if who == approval.asked_by:
        if not site.one_person:
            return Decision(None, f"{who} asked for it: another person must approve it")
        if now_ms - approval.asked_ms < ALONE_MS:
            return Decision(None, f"nobody else is here to approve it: confirm it {ALONE_MS // 60_000} minutes after it was asked")
    why = acts[approval.act].run(tx, approval, who, site, now_ms)
    if why is not None:
        return Decision(_decided(tx, approval, ApprovalState.REFUSED, who, f"it could not be done: {why}", now_ms), why)
    return Decision(_decided(tx, approval, ApprovalState.APPROVED, who, "", now_ms))


def refuse(tx: Tx, ident: str, who: str, reason: str, now_ms: int, acts: Mapping[str, Act]) -> Decision:
    """It is not done. Who asked may take it back this way."""
    approval, refused = _waits(tx, ident, now_ms)
    if approval is None:
        return Decision(None, refused)
    acts[approval.act].ended(tx, approval, f"refused by {who}: {reason}", now_ms)
    return Decision(_decided(tx, approval, ApprovalState.REFUSED, who, reason, now_ms))


def expire(tx: Tx, now_ms: int, acts: Mapping[str, Act], limit: int) -> int:
    """Ends what nobody decided in time; how many."""
    late = [approval for approval in tx.approvals(MOST_ASKED, asked=True) if approval.expires_ms <= now_ms]
    for approval in late[:limit]:
        acts[approval.act].ended(tx, approval, "nobody released it before its expiry", now_ms)
        tx.save_approval(replace(approval, state=ApprovalState.EXPIRED))
        _tell(tx, approval, ApprovalState.EXPIRED, "", now_ms)
    return min(len(late), limit)


def _waits(tx: Tx, ident: str, now_ms: int) -> tuple[Approval | None, str | None]:
    approval = tx.approval(ident)
    if approval is None:
        return None, f"nothing waits under {ident}"
    if approval.state is not ApprovalState.ASKED:
        return None, f"it is decided already: {approval.state.value}"
    if approval.expires_ms <= now_ms:
        return None, "it waited too long and is expired"
    return approval, None


def _decided(tx: Tx, approval: Approval, state: ApprovalState, who: str, reason: str, now_ms: int) -> Approval:
    decided = replace(approval, state=state, decided_by=who, decided_ms=now_ms, reason=reason)
    tx.save_approval(decided)
    data = {"approval": approval.id, "act": approval.act, "asked_by": approval.asked_by, "reason": reason}
    tx.add_audit(now_ms, who, state.value, approval.subject, data)
    _tell(tx, decided, state, who, now_ms)
    return decided


def _tell(tx: Tx, approval: Approval, state: ApprovalState, who: str, now_ms: int) -> None:
    what, on = approval.act, approval.subject
    account = on if tx.account(on) is not None else None
    told = {"approval": approval.id, "act": what, "subject": on, "state": state.value, "who": who}
    announce.event(tx, EventKind.APPROVAL_DECIDED, now_ms, account=account, **told)
    decided(tx, replace(approval, state=state), now_ms)
