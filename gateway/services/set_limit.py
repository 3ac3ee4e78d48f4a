"""An account's load limit is changed by two people (prepayment.md 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from gateway.domain.approvals import Approval, Decision
from gateway.domain.events import EventKind, Json
from gateway.domain.limit_body import limit_body, limit_from, told
from gateway.domain.limits import WITHIN_LIMIT, LoadLimit, set_by_people
from gateway.domain.meters import Account
from gateway.services import announce
from gateway.services.approve import Act, ask
from gateway.services.keep_limiter import keep, limiter_of
from gateway.services.ports import Site, Tx
from gateway.services.spend_budget import note_change
from gateway.services.watch_limits import free_unlimited
from gateway.services.write_limits import plan_settings

SET_LIMIT = "set_limit"


def ask_limit(
    tx: Tx, ident: str, account: str, limit: LoadLimit | None, reason: str, who: str, site: Site, now_ms: int
) -> Decision:
    """Write down that this limit, or none, waits for its second person."""
    if tx.account(account) is None:
        return Decision(None, f"account {account} is not known here")
    body: Mapping[str, Json] = {"limit": None if limit is None else limit_body(limit), "reason": reason}
    return ask(tx, ident, SET_LIMIT, account, body, who, site, now_ms, account=account)


def set_limit(tx: Tx, account: Account, limit: LoadLimit | None, by: Mapping[str, str], site: Site, now_ms: int) -> None:
    """Judge the account by this limit from now on; what the old one held open is freed where the new one would not hold it.

    by: who asked (`who`), who approved (`second`), why (`reason`). The configuration overrules it when it says something new.
    """
    chosen, memory = set_by_people(limit, account.limit, account.limit_memory, now_ms)
    edge_ms = now_ms if chosen is not None and chosen.switches_off else None
    state = account.limit_state if chosen is not None else WITHIN_LIMIT
    changed = replace(account, limit=chosen, limit_state=state, limit_memory=replace(memory, edge_ms=edge_ms))
    tx.save_account(changed)
    changed = keep(tx, changed, limiter_of(changed))
    free_unlimited(tx, changed.id, site, now_ms)
    plan_settings(tx, changed, now_ms)
    note_change(tx, account.id, by["who"], site, now_ms)
    tx.add_audit(now_ms, by["who"], SET_LIMIT, account.id, {**by, "was": told(account.limit), "is": told(chosen)})
    announce.event(tx, EventKind.LIMIT_CHANGED, now_ms, account=account.id, by=by["who"], second=by.get("second", ""))


def _run(tx: Tx, approval: Approval, who: str, site: Site, now_ms: int) -> str | None:
    account, body = tx.account(approval.subject), json.loads(approval.body)
    if account is None:
        return f"account {approval.subject} is not known here any more"
    limit = None if body["limit"] is None else limit_from(body["limit"])
    by = {"who": approval.asked_by, "second": who, "reason": body["reason"], "approval": approval.id}
    set_limit(tx, account, limit, by, site, now_ms)
    return None


SETTING_LIMIT = Act(_run)
"""What is done once the second person says yes."""
