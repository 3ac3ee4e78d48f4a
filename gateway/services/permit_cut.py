"""Permission to cut: what a cut is judged on, and the row that it rests on; without a live one no cut is sent (prepayment.md 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.domain import credit, ledger
from gateway.domain.events import EventKind
from gateway.domain.meters import Account, Meter
from gateway.domain.notices import LOG
from gateway.domain.permissions import CutPermission, Grounds
from gateway.domain.precedence import SENTENCES, Claim, claim_of
from gateway.domain.readings import TOTAL
from gateway.domain.supply import Circumstances, CutCause, missing_for_cut, ruled_by
from gateway.services import announce
from gateway.services.best_balance import still_credit
from gateway.services.climb_ladder import lacking
from gateway.services.money_held import held
from gateway.services.ports import Site, Tx, Unavailable
from gateway.services.spend_budget import RULES, Purse, evidence
from gateway.services.stop_switch import stopped

LOG_FULL = "the audit log cannot be written (F6)"

LOOK_BACK = 20
"""Permissions of an account looked through for those that live: each lives ten minutes, a person's as long as the order."""

WRONG_MS = 5 * 60 * 1000
"""A meter's clock so far off has put energy under a wrong price; less is drift, which is corrected without that."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def circumstances(tx: Tx, account: Account | None, site: Site, now_ms: int) -> Circumstances:
    """What a cut of this account, or of a meter for which nobody pays, is judged on at this moment."""
    local = (_EPOCH + timedelta(milliseconds=now_ms)).astimezone(ZoneInfo(site.zone))
    path_alive = site.path_alive and held(tx) is None
    here = Circumstances(now_ms, local, None, site.clock_trusted, path_alive, site.disk_ok, stopped=stopped(tx))
    if account is None:
        return here
    calendar = account.policy.calendar
    return replace(
        here,
        confirmed_ms=_confirmed_ms(tx, account, now_ms),
        calendar=None if calendar is None else tx.no_cut_calendar(calendar),
        ladder=_ladder(tx, account, now_ms),
        wrong_clock=_wrong_clock(tx, account),
        open_ends=still_credit(tx, account) if credit.may_cut(account) else (),
    )


def _confirmed_ms(tx: Tx, account: Account, now_ms: int) -> int | None:
    oldest = now_ms
    for meter in tx.meters_of(account.id):
        billing = tx.billing(meter.id)
        if billing is None or billing.confirmed is None or billing.held is not None:
            return None
        if billing.confirmed.at_ms > now_ms:  # by a clock that was set back since: nobody knows how old it is
            return None
        oldest = min(oldest, billing.confirmed.at_ms)
    return oldest


def _ladder(tx: Tx, account: Account, now_ms: int) -> tuple[str, ...]:
    """What of the notices given has not arrived anywhere; whether they were given, and when, credit control itself knows.

    What is only logged has arrived at once: whoever was warned before notices were rows has none.
    """
    if account.standing.episode_ms is None:
        return ()
    told = credit.told_of(account)
    policy = credit.in_force(account.policy, account.agreement)
    steps = [step for step in credit.counted(policy, account.credit) if step.name in told and {*step.channels} != {LOG}]
    return lacking(tx, account, steps, now_ms)


def _wrong_clock(tx: Tx, account: Account) -> str | None:
    """A meter whose own clock chooses the registers that price its energy, and is known to be wrong."""
    clocks = [clock for meter in tx.meters_of(account.id) if (clock := tx.clock(meter.id)) is not None]
    off = [clock.meter for clock in clocks if clock.seen is not None and abs(clock.seen.offset_ms) > WRONG_MS]
    tariff = tx.price_list(account.tariff) if off else None
    by_meter = tariff is not None and any(regs != (TOTAL,) for v in tariff.versions for regs in v.registers.values())
    return off[0] if by_meter else None


def judge(tx: Tx, account: Account | None, cause: CutCause, grounds: Grounds, site: Site, now_ms: int) -> tuple[str, ...]:
    """What is missing for this cut now, in sentences."""
    return missing_for_cut(cause, account, circumstances(tx, account, site, now_ms), grounds)


def own_grounds(tx: Tx, account: Account | None, cause: CutCause) -> Grounds:
    """What our own rules bring: the limiter measured it, the plan is that of the account's limit."""
    facts: dict[str, str] = {}
    if account is not None and cause is CutCause.SAFETY:
        facts["measured"] = _measured(tx, account)
    limit = None if account is None else account.limit
    if limit is not None and cause is CutCause.CONTRACT_TIME_TABLE:
        facts["plan"] = next((part.plan for part in (limit.caps, limit.month) if part is not None), "")
    return Grounds(RULES, facts={name: text for name, text in facts.items() if text})


def _measured(tx: Tx, account: Account) -> str:
    """The newest powers of its meters, as they were read."""
    shown = []
    for meter in tx.meters_of(account.id):
        newest = tx.latest(meter.id).get("power")
        if newest is not None and newest.item.value is not None:
            shown.append(f"{meter.id} {newest.item.value:f} {newest.item.unit}")
    return ", ".join(shown) or "by the limiter"


def grant(
    tx: Tx,
    account: Account | None,
    cause: CutCause,
    origin: str,
    grounds: Grounds,
    of: Purse,
    until_ms: int,
    now_ms: int,
    meter: Meter | None = None,
) -> CutPermission | None:
    """The row, and its entry in the audit log; None where that cannot be written, which is a reason not to cut (F6).

    origin: `credit`, `limit`, `operator:NAME`, `uplink:KEY`. meter: the one that it is for; without it all of the account.
    """
    kept = {**grounds.evidence(), **evidence(of)}
    if account is not None:
        kept |= _stood(tx, account, cause, now_ms)
    if meter is not None:
        kept["meter"] = meter.id
    subject = meter.id if meter is not None else "" if account is None else account.id
    told = {"cause": cause.value, "until_ms": str(until_ms), **kept}
    if not audited(tx, now_ms, _who(origin, grounds), "permit_cut", subject, told):
        return None
    permission = CutPermission(0, None if account is None else account.id, cause.value, origin, now_ms, until_ms, kept)
    return tx.add_permission(permission)


def _who(origin: str, grounds: Grounds) -> str:
    return RULES if grounds.by == RULES else origin


def _stood(tx: Tx, account: Account, cause: CutCause, given_ms: int) -> Mapping[str, str]:
    """The evidence of a debt, by name; times in UTC ms."""
    if cause is not CutCause.ENERGY_DEBT:
        return {}
    told = credit.told_of(account)
    return {
        "reading": str(_confirmed_ms(tx, account, given_ms)),
        "balance": str(tx.balance(ledger.customer(account.id), account.currency)),
        "warned": ", ".join(f"{name} {at_ms}" for name, at_ms in sorted(told.items())),  # `notices` is what a signer answers for
        "calendar": account.policy.calendar or ("built-in" if account.policy.no_cut_hours else "none"),
        "clock": "trusted",
    }


def audited(tx: Tx, at_ms: int, who: str, act: str, subject: str, data: Mapping[str, str]) -> bool:
    """Whether the audit log took it."""
    try:
        tx.add_audit(at_ms, who, act, subject, data)
    except Unavailable:
        return False
    return True


def withdraw(tx: Tx, account: str, cause: CutCause, now_ms: int) -> None:
    """No cut may rest any more on what was permitted to this account for this cause."""
    for permission in tx.permissions(LOOK_BACK, account):
        if permission.cause == cause and permission.live(now_ms):
            tx.save_permission(replace(permission, withdrawn_ms=now_ms))


def tell_held(tx: Tx, account: Account, cause: CutCause, missing: tuple[str, ...], now_ms: int) -> None:
    """One event when a cut is held, and one more only when the reasons change."""
    key, text = f"held:{cause.value}:{account.id}", "; ".join(missing)
    if (tx.meta(key) or "") == text:
        return
    tx.set_meta(key, text)
    if missing:
        announce.event(tx, EventKind.CUT_HELD, now_ms, account=account.id, cause=cause.value, missing=list(missing))


def overruled(tx: Tx, account: Account | None, cause: CutCause, grounds: Grounds, now_ms: int) -> Claim | None:
    """What stands above this cut (domain/precedence.py)."""
    return ruled_by(claim_of(cause, danger=grounds.danger), account, now_ms)


def tell_overruled(tx: Tx, loser: str, winner: Claim, now_ms: int, *, meter: str | None = None, account: str | None = None) -> str:
    """The loser is told which rule won, by the event and this sentence."""
    said = SENTENCES[winner]
    announce.event(tx, EventKind.ORDER_OVERRULED, now_ms, meter=meter, account=account, order=loser, winner=winner.value, rule=said)
    return said
