"""Load limits: judge what is measured, cut what is too much for too long, and give supply back when its time has come.

Load beyond the limit itself is cut for safety; load beyond a cap of a contract, and what its plan switches off, by the contract's
time-table (prepayment.md 3). Every cut is asked for by switching.hold_open, which may refuse it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from gateway.domain.events import EventKind, Json
from gateway.domain.limits import (
    LimitAction,
    Limiter,
    LimitPhase,
    LoadLimit,
    on_cut_seen,
    on_load,
    on_time,
    released,
    warns,
    withdrawn,
)
from gateway.domain.load_caps import Allowed, Draw
from gateway.domain.meters import Account, Contact
from gateway.domain.readings import TOTAL, Reading
from gateway.domain.supply import CutCause
from gateway.services import announce
from gateway.services.allowed_load import CURRENTS, allowed_now, draw_now, month_use, next_edge_ms
from gateway.services.keep_limiter import keep, limiter_of, say, trip
from gateway.services.ports import Site, Tx
from gateway.services.switching import LIMIT, PLAN, bring, drop_reason, hold_open, lift
from gateway.services.watch_malignant import POWERS, look_for_malignant
from gateway.services.write_limits import end_unwanted, plan_settings

LOAD = frozenset({"power", *CURRENTS})
"""Quantities that a load is judged by."""

JUDGED = LOAD | POWERS | {TOTAL}
"""And those that a malignant one and the month's energy are."""

HELD_MS = 60_000
"""How soon what a plan switches off is tried again where it had no permission."""

LOOK_AGAIN_MS = 10 * 60_000
"""How soon it is looked at again where it is held open: a protection may have come between and be over."""

SPREAD_MS = 60_000
"""Over so long the closings at a plan's edge are spread, each account at a place of its own (prepayment.md 5, F8)."""


def judge_power(tx: Tx, account_id: str, reading: Reading, site: Site, now_ms: int) -> None:
    """Judge a reading by the account's load limit; more than is allowed for longer than the delay cuts."""
    quantities = {item.quantity for item in reading.items}
    if not quantities & JUDGED:
        return
    account = tx.account(account_id)
    limit = account.limit if account is not None else None
    if account is None or limit is None:
        return
    if TOTAL in quantities:
        account = _count_month(tx, account, limit, now_ms)
    account = look_for_malignant(tx, account, limit, reading, site, now_ms)
    if "power" in quantities or (quantities & LOAD and limit.in_amperes):
        _judge_load(tx, account, limit, reading, site, now_ms)


def limit_cut_seen(tx: Tx, account_id: str, now_ms: int) -> None:
    """A cut was verified: the limiter's pause runs from here, if it was the limiter's cut."""
    account = tx.account(account_id)
    if account is None or account.limit is None:
        return
    if any({LIMIT, PLAN} & {*m.cut_reasons} and m.observed is Contact.OPEN for m in tx.meters_of(account_id)):
        before = limiter_of(account)
        keep(tx, account, replace(before, state=on_cut_seen(before.state, now_ms)))


def prime_limits(tx: Tx, after: str, most: int, now_ms: int) -> str | None:
    """What time brings is due when it should be, also after another configuration, another calendar or a clock that was set.

    Looks through so many accounts behind this one; gives the last of them, None where there are no more.
    """
    accounts = tx.accounts_after(after, most)
    if not after:
        end_unwanted(tx, now_ms)
    for account in accounts:
        if account.limit is not None or account.limit_memory.due_ms is not None:
            planned = account.limit is not None and (account.limit.switches_off or account.limit_memory.edge_ms is not None)
            memory = replace(account.limit_memory, edge_ms=now_ms if planned else None)
            limiter = Limiter(account.limit_state, memory)
            if account.limit is not None and account.limit_state.since_ms > now_ms:  # the clock was set back: a pause runs anew
                limiter, _ = on_time(account.limit, limiter, now_ms)
            keep(tx, account, limiter)
        plan_settings(tx, account, now_ms)
    return accounts[-1].id if len(accounts) == most else None


def watch_limit(tx: Tx, account_id: str, site: Site, now_ms: int) -> None:
    """Give an account's supply back where its pause has run out, and do what its plan says of now."""
    account = tx.account(account_id)
    if account is None:
        return
    if account.limit is None:
        keep(tx, account, replace(limiter_of(account), memory=replace(account.limit_memory, edge_ms=None)))
        return
    before = limiter_of(account)
    after, action = on_time(account.limit, before, now_ms)
    account = keep(tx, account, after)
    if action is LimitAction.RECLOSE:
        _free(tx, account, site, now_ms)
        by = "time" if before.state.phase is LimitPhase.LOCKED else after.memory.by.value
        kind = EventKind.LIMIT_RELEASED if by == "time" else EventKind.LIMIT_RECLOSED
        announce.event(tx, kind, now_ms, account=account.id, spent=after.state.spent, by=by)
    _keep_plan(tx, account, site, now_ms)
    plan_settings(tx, account, now_ms)


def put_off_limit(tx: Tx, account_id: str, now_ms: int) -> None:
    """What could not be done for this account is tried again later; it must not stand before the others for ever."""
    account = tx.account(account_id)
    if account is not None:
        tx.save_account(replace(account, limit_memory=replace(account.limit_memory, due_ms=now_ms + HELD_MS)))


def withdraw_trip(tx: Tx, account_id: str | None, site: Site, now_ms: int) -> None:
    """A limiter's cut may not be sent any more: the limiter goes back to watching, and what else it held open is freed.

    The caller has lifted the reason from the meter whose cut it was.
    """
    account = tx.account(account_id) if account_id else None
    if account is not None:
        account = keep(tx, account, withdrawn(limiter_of(account), now_ms))
        lift(tx, account, CutCause.SAFETY, site, now_ms)
        drop_plan(tx, account, site, now_ms)


def release_limit(tx: Tx, account: Account, site: Site, now_ms: int) -> bool:
    """A person releases the limiter: its lock-out and its count end, and what a plan switches off stays on until the plan's next
    change. Whether there was anything to release."""
    limit, limiter = account.limit, limiter_of(account)
    off = limit is not None and _off(tx, account, limit, site, now_ms)
    if limit is None or not (limiter.state.open or off):
        return False
    memory = limiter.memory
    if off:
        memory = replace(memory, excused_ms=next_edge_ms(tx, account, limit, site, now_ms))
    if limiter.state.open:
        memory = replace(memory, day="", restores=0)
    state = released(now_ms) if limiter.state.open else limiter.state
    _free(tx, keep(tx, account, Limiter(state, memory)), site, now_ms)
    announce.event(tx, EventKind.LIMIT_RELEASED, now_ms, account=account.id, by="a person")
    return True


def _judge_load(tx: Tx, account: Account, limit: LoadLimit, reading: Reading, site: Site, now_ms: int) -> None:
    before, at_ms = limiter_of(account), reading.answered_ms
    may, draw = allowed_now(tx, account, limit, site, at_ms), draw_now(tx, account, limit, site, at_ms, reading)
    if warns(limit, before, draw, may, at_ms):
        before = replace(before, memory=replace(before.memory, warned_ms=at_ms))
        say(tx, EventKind.LIMIT_WARNED, account, _told(draw, may), now_ms, reading.meter)
    after, action = on_load(limit, before, draw, may, at_ms, site.power_stale_ms)
    if action is LimitAction.NONE:
        keep(tx, account, after)
        if before.state.phase is LimitPhase.WITHIN and after.state.phase is LimitPhase.OVER:
            say(tx, EventKind.LIMIT_EXCEEDED, account, _told(draw, may), now_ms, reading.meter)
        return
    if not trip(tx, account, after.memory.by, site, now_ms):  # it stays over, and was seen so
        keep(tx, account, Limiter(replace(before.state, seen_ms=at_ms), after.memory))
        return
    keep(tx, account, after)
    kind = EventKind.LIMIT_LOCKED if action is LimitAction.LOCK else EventKind.LIMIT_CUT
    say(tx, kind, account, {**_told(draw, may), "by": after.memory.by.value}, now_ms, reading.meter)


def _told(draw: Draw, may: Allowed) -> dict[str, Json]:
    told: dict[str, Json] = {"power_w": draw.power_w, "limit_w": may.power_w}
    return told if may.current_ma is None else {**told, "current_ma": draw.current_ma, "limit_ma": may.current_ma}


def _count_month(tx: Tx, account: Account, limit: LoadLimit, now_ms: int) -> Account:
    """The month's energy is read off the bill: then corrections, rollovers and exchanged meters are counted as they are there."""
    memory, month = account.limit_memory, limit.month
    found = None if month is None else month_use(tx, account, now_ms)
    if month is None or found is None:
        return account
    name, from_ms, to_ms, used_wh = found
    used_up = used_wh > month.energy_wh
    if used_up is (memory.month == name):
        return account
    if used_up:
        memory = replace(memory, month=name, month_from_ms=from_ms, month_to_ms=to_ms)
        told: dict[str, Json] = {"period": name, "used_wh": used_wh, "amount_wh": month.energy_wh, "off": month.off}
        say(tx, EventKind.MONTH_AMOUNT_USED, account, told, now_ms)
    else:
        memory = replace(memory, month="")
    edge_ms = now_ms if month.off else memory.edge_ms
    return keep(tx, account, Limiter(account.limit_state, replace(memory, edge_ms=edge_ms)))


def free_unlimited(tx: Tx, account_id: str, site: Site, now_ms: int) -> None:
    """What a limit held open that is no longer there is freed."""
    account = tx.account(account_id)
    if account is not None and account.limit is None:
        _free(tx, account, site, now_ms)


def _free(tx: Tx, account: Account, site: Site, now_ms: int) -> None:
    """Take off the account's meters what its limiter put there and holds no longer."""
    lift(tx, account, CutCause.SAFETY, site, now_ms)
    if account.limit is None or not _off(tx, account, account.limit, site, now_ms):
        drop_plan(tx, account, site, now_ms)


def drop_plan(tx: Tx, account: Account, site: Site, now_ms: int) -> None:
    """No plan holds the account's supply open any more."""
    for meter in tx.meters_of(account.id):
        if PLAN in meter.cut_reasons:
            drop_reason(tx, meter, PLAN)
            bring(tx, meter.id, site, now_ms)


def _off(tx: Tx, account: Account, limit: LoadLimit, site: Site, now_ms: int) -> bool:
    """Whether a plan wants supply off now, and nobody has excused it."""
    return limit.switches_off and now_ms >= account.limit_memory.excused_ms and allowed_now(tx, account, limit, site, now_ms).off


def _keep_plan(tx: Tx, account: Account, site: Site, now_ms: int) -> None:
    """Hold supply open while the plan says so, close it behind the plan's edge, and know when to look again."""
    limit, memory = account.limit, account.limit_memory
    if limit is None or memory.edge_ms is None or now_ms < memory.edge_ms:
        return
    edge_ms = next_edge_ms(tx, account, limit, site, now_ms)
    if memory.excused_ms > now_ms:
        edge_ms = min(edge_ms, memory.excused_ms)
    if _off(tx, account, limit, site, now_ms):
        lacking = any(meter.cuttable and PLAN not in meter.cut_reasons for meter in tx.meters_of(account.id))
        held = lacking and bool(hold_open(tx, account, CutCause.CONTRACT_TIME_TABLE, PLAN, site, now_ms))
        edge_ms = min(edge_ms + _place(account), now_ms + (HELD_MS if held else LOOK_AGAIN_MS))
    elif not account.limit_state.open:
        drop_plan(tx, account, site, now_ms)
    memory = replace(memory, edge_ms=edge_ms if limit.switches_off else None)
    keep(tx, account, Limiter(account.limit_state, memory))


def _place(account: Account) -> int:
    """The account's own place in the spread of closings, in ms."""
    return int.from_bytes(hashlib.sha256(account.id.encode()).digest()[:4]) % SPREAD_MS
