"""Supply protect of an account: whoever asks owns it, it ends by itself, and taking it off needs two people (prepayment.md 4)."""

from __future__ import annotations

import json
from dataclasses import replace

from gateway.domain.approvals import Approval, Decision
from gateway.domain.events import EventKind, Json
from gateway.domain.meters import NO_PROTECT, Account, Protect
from gateway.domain.precedence import BLOCKS, Claim, claim_of
from gateway.domain.requests import Protection
from gateway.domain.supply import CutCause
from gateway.services import announce
from gateway.services.approve import Act, ask
from gateway.services.judge_account import judge_account
from gateway.services.permit_cut import audited, tell_overruled, withdraw
from gateway.services.ports import Site, Tx
from gateway.services.spend_budget import note_change
from gateway.services.switching import cause_of, is_danger, lift
from gateway.services.wish_signs import wish_protect

LONGEST_MS = 366 * 24 * 60 * 60 * 1000
"""Longer than a year is no protection but an account that is never cut, which its archive says."""

UNPROTECT, LIFT_NEVER_CUT = "unprotect", "lift_never_cut"
"""The acts that need two people."""

COMMERCIAL = frozenset({Claim.COMMERCIAL, Claim.DEMAND_RESPONSE})


def ask_protection(tx: Tx, ident: str, wanted: Protection, site: Site, now_ms: int) -> Decision:
    """Begin or strengthen protection at once; end or weaken it when another person has approved it. ident: of the approval."""
    account = tx.account(wanted.account)
    refused = _form(account, wanted, now_ms)
    if refused is not None or account is None or not _weaker(account, wanted, now_ms):
        return Decision(None, refused or protect_account(tx, wanted, site, now_ms))
    body: dict[str, Json] = {
        "until_ms": wanted.until_ms, "owner": wanted.owner, "reason": wanted.reason, "blocks": wanted.blocks,
        "in_meter": wanted.in_meter,
    }  # fmt: skip
    return ask(tx, ident, UNPROTECT, account.id, body, _who(wanted), site, now_ms, account=account.id)


def protect_account(tx: Tx, wanted: Protection, site: Site, now_ms: int) -> str | None:
    """Begin, change or end the protection of an account, which is allowed. None when done, else why not, in one sentence.

    Beginning lifts cuts for a commercial cause and orders the light back. Ending cuts nobody: debt is judged anew at the next
    reading, and only a new notice and a new permission lead to a cut.
    """
    account = tx.account(wanted.account)
    refused = _form(account, wanted, now_ms)
    if account is None or refused is not None:
        return refused
    who, until_ms = _who(wanted), wanted.until_ms
    told = {"owner": wanted.owner, "reason": wanted.reason, "until_ms": str(until_ms or 0), "blocks": wanted.blocks}
    begins = until_ms is not None
    audited(tx, now_ms, who, "protect" if begins else "unprotect", account.id, told)
    flags = Protect(wanted.owner, wanted.reason, wanted.blocks, wanted.in_meter) if begins else NO_PROTECT
    tx.save_account(replace(account, protect_until_ms=until_ms, protect=flags, warned_ms=account.warned_ms if begins else None))
    note_change(tx, account.id, who, site, now_ms)
    kind = EventKind.SUPPLY_PROTECTED if begins else EventKind.SUPPLY_UNPROTECTED
    shown: dict[str, Json] = {"until_ms": until_ms, "blocks": wanted.blocks, "in_meter": wanted.in_meter}
    announce.event(tx, kind, now_ms, meter=None, account=account.id, owner=wanted.owner, reason=wanted.reason, **shown)
    if begins and wanted.in_meter:
        wish_protect(tx, account)
    if begins:
        _lift_commercial(tx, account, site, now_ms)
        judge_account(tx, account.id, site, now_ms)
    else:
        for cause in CutCause:
            withdraw(tx, account.id, cause, now_ms)
    return None


def lift_never_cut(tx: Tx, account_id: str, who: str, now_ms: int) -> str | None:
    """An account may be cut again, after new notices. Why not, in one sentence."""
    account = tx.account(account_id)
    if account is None:
        return f"account {account_id} is not known here"
    if account.filed:
        return "the flag stands in the configuration file: take it out there"
    if not account.never_cut:
        return f"account {account_id} is not flagged never to be cut"
    tx.add_audit(now_ms, who, "lift_never_cut", account_id, {})
    tx.save_account(replace(account, never_cut=False, warned_ms=None))
    return None


def _form(account: Account | None, wanted: Protection, now_ms: int) -> str | None:
    if account is None:
        return f"account {wanted.account} is not known here"
    if wanted.until_ms is not None and not now_ms < wanted.until_ms <= now_ms + LONGEST_MS:
        return "protection ends in the future, at most 366 days from now"
    if wanted.until_ms is None and not account.protected(now_ms):
        return f"account {account.id} is not protected"
    if not wanted.owner.strip():
        return "protection needs an owner, who answers for it"
    if wanted.blocks not in BLOCKS:
        return f"protection blocks one of {', '.join(sorted(BLOCKS))}"
    return None


def _weaker(account: Account, wanted: Protection, now_ms: int) -> bool:
    """Whether supply would be less protected by this than it is."""
    if not account.protected(now_ms):
        return False
    sooner = wanted.until_ms is None or wanted.until_ms < (account.protect_until_ms or 0)
    return sooner or not BLOCKS[account.protect.blocks] <= BLOCKS[wanted.blocks]


def _lift_commercial(tx: Tx, account: Account, site: Site, now_ms: int) -> None:
    """Every cut for a commercial cause loses against protection, and is told so."""
    reasons = {reason for meter in tx.meters_of(account.id) for reason in meter.cut_reasons if not is_danger(reason)}
    for cause in sorted({CutCause(cause_of(reason)) for reason in reasons}):
        if claim_of(cause) in COMMERCIAL:
            tell_overruled(tx, cause.value, Claim.PROTECT, now_ms, account=account.id)
            lift(tx, account, cause, site, now_ms)


def _who(wanted: Protection) -> str:
    return wanted.who or "operator"


def _unprotect(tx: Tx, approval: Approval, who: str, site: Site, now_ms: int) -> str | None:
    body = json.loads(approval.body)
    until_ms, flags = body["until_ms"], (body["blocks"], body["in_meter"])
    return protect_account(
        tx, Protection(approval.subject, until_ms, body["owner"], body["reason"], approval.asked_by, *flags), site, now_ms
    )


UNPROTECTING = Act(_unprotect)
LIFTING_NEVER_CUT = Act(lambda tx, approval, who, site, now_ms: lift_never_cut(tx, approval.subject, approval.asked_by, now_ms))
