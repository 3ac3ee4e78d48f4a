"""Which budget a cut comes out of, whether there is room in it, and whose turn it is when there is not (prepayment.md 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.domain.approvals import ApprovalState
from gateway.domain.budgets import DAY_MS, HOUR_MS, LATE_MS, LONGEST_MS, Budget, Window, room
from gateway.domain.findings import FindingKind
from gateway.domain.meters import Account
from gateway.domain.permissions import CutPermission, Grounds, grounds_of
from gateway.domain.supply import CutCause
from gateway.services.findings import found
from gateway.services.ports import Site, Tx
from gateway.services.steady import steady_now

DEFERRED = "deferred"
"""How what is missing begins where only the budget is: the cut waits for its turn."""

RULES = "rules"
"""Who wants a cut that no person ordered."""

_WAITING, _COUNT, _CHANGED = "deferred:", "deferred", "changed:"


@dataclass(frozen=True, slots=True)
class Purse:
    """A budget of somebody: whose key it is, and what binds it."""

    budget: Budget
    key: str
    windows: tuple[Window, ...]


def purse(tx: Tx, account: Account | None, cause: CutCause, grounds: Grounds, site: Site, now_ms: int) -> Purse:
    """What this cut comes out of; what a change of limit, tariff or protection brings within a day, out of whose change it was."""
    if grounds.danger:
        return Purse(Budget.SAFETY, "danger", ())
    plan = _signed_plan(tx, grounds)
    if plan is not None:
        return Purse(Budget.PLAN, plan[0], (Window(HOUR_MS, plan[1]),))
    if grounds.by != RULES:
        return Purse(Budget.ORDERED, grounds.by, site.budgets.ordered)
    if cause in (CutCause.SAFETY, CutCause.ENERGY_DEBT) and account is not None:
        changed_by = _changed_by(tx, account, site, now_ms)
        if changed_by is not None:
            return Purse(Budget.ORDERED, changed_by, site.budgets.ordered)
    if cause is CutCause.SAFETY:
        return Purse(Budget.SAFETY, RULES, ())
    return Purse(Budget.OWN, RULES, site.budgets.own)


def _signed_plan(tx: Tx, grounds: Grounds) -> tuple[str, int] | None:
    """The plan that the grounds name and how many meters it has, where two people approved it as a `plan`."""
    approval = tx.approval(grounds.facts["plan"]) if grounds.facts.get("plan") else None
    if approval is None or approval.act != "plan" or approval.state is not ApprovalState.APPROVED:
        return None
    meters = json.loads(approval.body).get("meters", [])
    return (approval.id, len(meters)) if grounds.facts.get("meter", "") in meters else None


def room_in(tx: Tx, of: Purse, site: Site, now_ms: int, *, reserved: bool = True) -> int | None:
    """How many cuts may still be ordered out of it; None for any number. reserved: those ordered and not yet sent count too."""
    if not of.windows:
        return None
    at_ms = steady_now(tx, site, now_ms)
    longest_ms = max(window.span_ms for window in of.windows)
    spent = [when for _, when in tx.spent(of.budget, of.key, at_ms - longest_ms - LATE_MS)]
    meters = tx.switches() if any(window.percent for window in of.windows) else 0
    left = room(of.windows, spent, 0, meters, at_ms)
    if not left or not reserved:
        return left
    return max(0, left - _reserved(tx, of))


def _reserved(tx: Tx, of: Purse) -> int:
    """Cuts out of it that wait to be sent."""
    permissions = (tx.permission(cut.permission) for cut in tx.queued_cuts() if cut.permission is not None)
    return sum(p is not None and purse_of(p) == (of.budget, of.key) for p in permissions)


def purse_of(permission: CutPermission) -> tuple[str, str]:
    """Budget and key that a permission's cuts come out of."""
    return permission.evidence.get("budget", Budget.SAFETY), permission.evidence.get("key", RULES)


def fits(tx: Tx, permission: CutPermission, site: Site, now_ms: int) -> bool:
    """Whether one more cut of this permission may leave at this moment; what two people want is counted, and not bound."""
    if grounds_of(permission).by_two:
        return True
    budget, key = purse_of(permission)
    left = room_in(tx, Purse(Budget(budget), key, site.budgets.windows(Budget(budget))), site, now_ms, reserved=False)
    return left is None or left > 0


def spend(tx: Tx, permission: CutPermission, meter: str, site: Site, now_ms: int) -> None:
    """One cut leaves; many safety trips within an hour are a finding."""
    budget, key = purse_of(permission)
    at_ms = steady_now(tx, site, now_ms)
    tx.spend(budget, key, meter, at_ms)
    many = site.budgets.many_trips
    if budget == Budget.SAFETY and many is not None:
        count = len(tx.spent(budget, None, at_ms - many.span_ms))
        if count > many.most(tx.switches()):
            text = f"{count} safety trips within {many.span_ms // 60_000} minutes: look at limits and feeder"
            found(tx, FindingKind.SAFETY_TRIPS_MANY, "gateway", text, now_ms, {"trips": str(count)})


def unspend(tx: Tx, permission: CutPermission, meter: str) -> None:
    """The cut certainly did not leave."""
    budget, key = purse_of(permission)
    tx.unspend(budget, key, meter)


def forget_spent(tx: Tx, site: Site, now_ms: int) -> None:
    """What no window can see any more."""
    tx.forget_spent(steady_now(tx, site, now_ms) - LONGEST_MS - LATE_MS)


def note_change(tx: Tx, account_id: str, by: str, site: Site, now_ms: int) -> None:
    """Limit, thresholds or protection of an account were changed: for a day its cuts come out of the budget of whoever did it."""
    tx.set_meta(f"{_CHANGED}{account_id}", f"{steady_now(tx, site, now_ms) + DAY_MS} {by}")


def note_tariff(tx: Tx, tariff: str, by: str, site: Site, now_ms: int) -> None:
    """A tariff was changed: the same for all that it prices, for a day after its next local midnight, when it comes into force."""
    tx.set_meta(f"{_CHANGED}tariff:{tariff}", f"{steady_now(tx, site, now_ms) + 2 * DAY_MS} {by}")


def _changed_by(tx: Tx, account: Account, site: Site, now_ms: int) -> str | None:
    for key in (f"{_CHANGED}{account.id}", f"{_CHANGED}tariff:{account.tariff}"):
        until, _, by = (tx.meta(key) or "").partition(" ")
        if until and steady_now(tx, site, now_ms) < int(until):
            return by
    return None


# whose turn it is


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """An account whose cut waits for room; the order is that of their turns.

    tried_ms: when a cut of it died unsent, lest a dead line takes all turns; debt_ms: since when it has been out of credit (UTC);
    since_ms: since when it waits; both others on the limiter's clock. ready: only the budget was missing when it was last judged.
    purse: budget and key that it waits for; nobody waits behind another one's.
    """

    tried_ms: int
    debt_ms: int
    account: str
    since_ms: int
    ready: bool
    purse: str


def anybody_waits(tx: Tx) -> bool:
    """Whether there is any cut that waits for its turn."""
    return (tx.meta(_COUNT) or "0") != "0"


def waiting(tx: Tx) -> list[Waiting]:
    """All that wait, in the order of their turns."""
    if not anybody_waits(tx):
        return []
    return sorted(_kept(key.removeprefix(_WAITING), text) for key, text in tx.metas_of(_WAITING).items())


def waits(tx: Tx, account: str) -> bool:
    """Whether this one does."""
    return bool(tx.meta(f"{_WAITING}{account}"))


def _kept(account: str, text: str) -> Waiting:
    tried, debt, since, ready, of = text.split(" ", 4)
    return Waiting(int(tried), int(debt), account, int(since), ready == "1", of)


def turn(tx: Tx, account: Account, of: Purse, wanted: int, site: Site, now_ms: int, *, called: bool) -> int:
    """How many of an account's meters may be cut for debt now: no more than there is room for. 0: it waits.

    called: it is its turn among those who wait; else it goes behind them, whatever room there is.
    """
    behind = bool(of.windows) and not called and anybody_waits(tx)
    left = 0 if behind else room_in(tx, of, site, now_ms)
    if left is None or left >= wanted:
        no_longer_waits(tx, account.id)
    else:
        _keep(tx, _mine(tx, account, _name(of), site, now_ms))
    return wanted if left is None else min(left, wanted)


def _name(of: Purse) -> str:
    return f"{of.budget.value}:{of.key}"


def _mine(tx: Tx, account: Account, of: str, site: Site, now_ms: int) -> Waiting:
    """Its place, kept as long as it waits."""
    kept = tx.meta(f"{_WAITING}{account.id}")
    since_ms = account.standing.exhausted_ms
    if not kept:
        return Waiting(0, now_ms if since_ms is None else since_ms, account.id, steady_now(tx, site, now_ms), True, of)
    mine = _kept(account.id, kept)
    return replace(mine, debt_ms=mine.debt_ms if since_ms is None else since_ms, ready=True, purse=of)


def not_ready(tx: Tx, each: Waiting) -> None:
    """Something else is missing too: it keeps its place, and takes no turn before it is judged again."""
    _keep(tx, replace(each, ready=False))


def died_unsent(tx: Tx, account: Account, of: str, site: Site, now_ms: int) -> None:
    """Its cut expired before a line could send it: those who wait for the same budget have their turn first."""
    _keep(tx, replace(_mine(tx, account, of, site, now_ms), tried_ms=steady_now(tx, site, now_ms), ready=False))


def no_longer_waits(tx: Tx, account_id: str) -> None:
    """It was cut, or need not be."""
    if waits(tx, account_id):
        tx.set_meta(f"{_WAITING}{account_id}", "")
        tx.set_meta(_COUNT, str(int(tx.meta(_COUNT) or "0") - 1))


def _keep(tx: Tx, each: Waiting) -> None:
    key = f"{_WAITING}{each.account}"
    if not tx.meta(key):
        tx.set_meta(_COUNT, str(int(tx.meta(_COUNT) or "0") + 1))
    tx.set_meta(key, f"{each.tried_ms} {each.debt_ms} {each.since_ms} {int(each.ready)} {each.purse}")


def evidence(of: Purse) -> Mapping[str, str]:
    """As a permission keeps it."""
    return {"budget": of.budget.value, "key": of.key}
