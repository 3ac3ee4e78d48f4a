"""A person ends a lock-out, or what a plan switches off, and stands in the audit log for it."""

from __future__ import annotations

from gateway.services.ports import Site, Tx
from gateway.services.watch_limits import release_limit


def release(tx: Tx, account_id: str, who: str, reason: str, site: Site, now_ms: int) -> str | None:
    """Give an account's supply back as far as its limiter holds it; why not, in one sentence. Raises LookupError."""
    account = tx.account(account_id)
    if account is None:
        raise LookupError(f"account {account_id} is not known here")
    if account.limit is None:
        return f"account {account_id} has no load limit"
    if not release_limit(tx, account, site, now_ms):
        return f"the load limit of account {account_id} holds nothing open"
    tx.add_audit(now_ms, who, "release_limit", account_id, {"reason": reason, "was": account.limit_state.phase.value})
    return None
