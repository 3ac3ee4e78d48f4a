"""An account's limiter as it is stored, the cuts that it asks for, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.domain.events import EventKind, Json
from gateway.domain.limits import Limiter, Trip, ends_ms
from gateway.domain.meters import Account
from gateway.domain.supply import CutCause
from gateway.services import announce
from gateway.services.notify import tell
from gateway.services.ports import Site, Tx
from gateway.services.switching import LIMIT, PLAN, hold_open


def limiter_of(account: Account) -> Limiter:
    """Where its limiter stands."""
    return Limiter(account.limit_state, account.limit_memory)


def keep(tx: Tx, account: Account, limiter: Limiter) -> Account:
    """Store it where it changed, with the time of what comes next. Gives the account as it now is."""
    edge_ms, ends = limiter.memory.edge_ms, None if account.limit is None else ends_ms(account.limit, limiter)
    due_ms = min((at_ms for at_ms in (ends, edge_ms) if at_ms is not None), default=None)
    memory = limiter.memory if limiter.memory.due_ms == due_ms else replace(limiter.memory, due_ms=due_ms)
    if (limiter.state, memory) == (account.limit_state, account.limit_memory):
        return account
    changed = replace(account, limit_state=limiter.state, limit_memory=memory)
    tx.save_account(changed)
    return changed


def trip(tx: Tx, account: Account, by: Trip, site: Site, now_ms: int) -> bool:
    """Whether the cut could be ordered: an account none of whose meters can be cut only has its overload announced."""
    if not any(meter.cuttable for meter in tx.meters_of(account.id)):
        return False
    cause, reason = (CutCause.CONTRACT_TIME_TABLE, PLAN) if by is Trip.CAP else (CutCause.SAFETY, LIMIT)
    return not hold_open(tx, account, cause, reason, site, now_ms)


def say(tx: Tx, kind: EventKind, account: Account, data: Mapping[str, Json], now_ms: int, meter: str | None = None) -> None:
    """An event, and a notice to whoever of the account can be reached."""
    announce.event(tx, kind, now_ms, account=account.id, meter=meter, **data)
    if account.reach.contacts:
        tell(tx, account, kind.value, {name: str(value) for name, value in data.items() if value is not None}, now_ms)
