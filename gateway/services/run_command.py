"""The life of a command on its line: durable before the first byte, proved by read-back, uncertain after a restart."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateway.domain.events import EventKind, Json
from gateway.domain.jobs import Answered, Failed, Fault, Outcome, SwitchJob, order_job
from gateway.domain.meters import Contact, Meter
from gateway.domain.permissions import CutPermission, grounds_of
from gateway.domain.supply import (
    CURRENT,
    DELAYED_PAUSE_MS,
    LONGEST_DELAY_MS,
    MAX_ATTEMPTS,
    MAX_READBACKS,
    MAX_READBACKS_WITH_CURRENT,
    NOT_SENT,
    READBACK_PAUSE_MS,
    READS_BEFORE_REPEAT,
    REFUSED_PASSWORDS,
    REFUSED_WITHIN_MS,
    SIGNS,
    SILENT_PAUSE_MS,
    STARTING_POWER_W,
    Command,
    CommandEvent,
    CommandState,
    CutCause,
    SwitchReading,
    Verb,
    proof,
    spends_password,
)
from gateway.services import announce
from gateway.services.deliveries import recover_deliveries
from gateway.services.judge_account import judge_account
from gateway.services.permit_cut import LOG_FULL, audited, judge, own_grounds
from gateway.services.ports import Site, Tx
from gateway.services.record_reading import observe_switch
from gateway.services.spend_budget import died_unsent, fits, purse_of, spend, unspend
from gateway.services.switching import CREDIT, LIMIT, NO_ROOM, OF_RULES, PLAN, RULES, bring, cause_of, drop_reason, renewed, step
from gateway.services.verify_cuts import SENT, SINCE
from gateway.services.watch_limits import limit_cut_seen, withdraw_trip

LOOK_BACK = 200
"""Commands of a meter looked through for refused passwords: the rules order at most one in ten minutes, 144 a day."""


def start_command(tx: Tx, command_id: str, site: Site, now_ms: int) -> SwitchJob | None:
    """Mark a queued command as sent, before its first byte leaves. None when it is no longer to be sent.

    An expired one is dead; a cut whose permission no longer lives, or to which something is missing by now, is cancelled (F5,
    F7). A meter that refused the password twice within a day is not asked again.
    """
    command = tx.command(command_id)
    if command is None or command.state is not CommandState.QUEUED:
        return None
    meter = _meter(tx, command)
    if now_ms >= command.expires_ms:
        _expire(tx, command, "its expiry passed before it could be sent", site, now_ms)
        return None
    spared = command.verb in SIGNS  # the last of a day's tries is kept for the switch
    if refused_passwords(tx, meter.id, now_ms) >= REFUSED_PASSWORDS - spared:
        why = f"{NOT_SENT}: the meter refused the password {'once' if spared else 'twice'} within a day"
        _fail(tx, command, CommandEvent.REFUSED, why, site, now_ms)
        return None
    if command.verb is Verb.CUT:
        permitted = _permitted(tx, command, meter, site, now_ms)
        if permitted is None:
            return None
        command = permitted
    for seen in (_flowed(meter.id), _flows(meter.id)):
        if command.verb not in SIGNS and tx.meta(seen):
            tx.set_meta(seen, "")
    sent = replace(command, attempts=command.attempts + 1, readbacks=0)
    step(tx, sent, CommandEvent.SENT, now_ms)
    return order_job(sent)


def refused_passwords(tx: Tx, meter_id: str, now_ms: int) -> int:
    """How many passwords this meter has refused within a day, by whatever needed one: its switch, its clock or its wallet."""
    clock, wallet = tx.clock(meter_id), tx.wallet(meter_id)
    of_clock = sum(now_ms - at_ms < REFUSED_WITHIN_MS for at_ms in clock.refused) if clock else 0
    of_wallet = sum(now_ms - at_ms < REFUSED_WITHIN_MS for at_ms in wallet.memory.refused) if wallet else 0
    return of_clock + of_wallet + sum(spends_password(c, now_ms) for c in tx.commands_of(meter_id, LOOK_BACK))


def finish_switch(tx: Tx, command_id: str, outcome: Outcome, site: Site, now_ms: int) -> None:
    """Write down what came of the control frame. An acknowledgement is not an outcome: the switch is read back after it settled."""
    command = tx.command(command_id)
    if command is None or command.state is not CommandState.SENT:
        return
    meter = _meter(tx, command)
    if isinstance(outcome, Answered):
        before = outcome.switch
        if before is not None and before.power_w is not None and before.power_w > STARTING_POWER_W:
            tx.set_meta(_flowed(meter.id), command.id)
        step(tx, command, CommandEvent.ACKNOWLEDGED, now_ms, read_at_ms=now_ms + meter.settle_ms)
    elif outcome.fault is Fault.REFUSED:
        _fail(tx, command, CommandEvent.REFUSED, outcome.text, site, now_ms)
    elif outcome.certain:
        unsent = replace(command, attempts=command.attempts - 1)
        if outcome.fault is Fault.REQUEST:  # we cannot ask for this at all: trying again for ever would hide it
            _fail(tx, unsent, CommandEvent.GIVEN_UP, outcome.text, site, now_ms)
        else:
            step(tx, unsent, CommandEvent.NOT_SENT, now_ms)
        permission = tx.permission(command.permission) if command.permission is not None and unsent.attempts == 0 else None
        if permission is not None:
            unspend(tx, permission, meter.id)
        queued = tx.command(command_id)
        if outcome.fault is Fault.LATE and queued is not None and now_ms >= queued.expires_ms:
            _expire(tx, queued, outcome.text, site, now_ms)
    else:
        step(tx, command, CommandEvent.NO_ANSWER, now_ms, reason=outcome.text, read_at_ms=now_ms + meter.settle_ms)
        announce.event(tx, EventKind.COMMAND_UNCERTAIN, now_ms, meter=meter.id, account=meter.account, command=command.id)


def finish_readback(tx: Tx, command_id: str, outcome: Outcome, site: Site, now_ms: int) -> None:
    """Write down where the switch was seen and what that proves about the command."""
    command = tx.command(command_id)
    if command is None or command.state not in (CommandState.ACKNOWLEDGED, CommandState.DELAYED, CommandState.UNCERTAIN):
        return
    if isinstance(outcome, Failed) or outcome.switch is None:
        tx.save_command(replace(command, read_at_ms=now_ms + SILENT_PAUSE_MS))
        return
    seen = _by_load(tx, command, outcome.switch)
    observe_switch(tx, command.meter, seen, now_ms)
    happened, evidence = proof(command.verb, seen)
    if command.verb is Verb.CUT and _still_flows(tx, command, seen, evidence):
        happened, evidence = CommandEvent.SEEN_UNMOVED, (CURRENT,)
    if happened is CommandEvent.SEEN_UNMOVED:
        _unmoved(tx, command, seen, evidence, site, now_ms)
        return
    done = step(tx, command, happened, now_ms, evidence=evidence)
    if done.state is CommandState.COMMAND_ONLY:  # where it was seen before the order says nothing any more
        tx.save_meter(replace(_meter(tx, done), observed=Contact.UNKNOWN, observed_ms=None))
    _tell(tx, done, seen, now_ms)
    if done.account is not None:
        if done.verb is Verb.CUT and done.state is CommandState.VERIFIED:
            limit_cut_seen(tx, done.account, now_ms)
        judge_account(tx, done.account, site, now_ms)


def recover(tx: Tx, site: Site, now_ms: int, lines: Collection[str] | None = None) -> int:
    """After a start: every command in flight is uncertain, its switch is read before anything is sent (F5). How many were.

    lines: only commands that were in flight on these, whose loops have ended while the others went on.
    """
    if not tx.meta(SINCE):
        tx.set_meta(SINCE, str(now_ms))
    if lines is None:
        recover_deliveries(tx, now_ms)
    here = (c for c in tx.open_commands() if lines is None or c.line in lines)
    in_flight = [c for c in here if c.state not in (CommandState.QUEUED, CommandState.QUARANTINED)]
    for command in in_flight:
        if command.state is CommandState.UNCERTAIN and command.changed_ms <= now_ms:
            continue  # nothing new is unknown about it, and what was read since it was sent still counts
        settled_ms = command.changed_ms + _meter(tx, command).settle_ms
        read_at_ms = settled_ms if command.changed_ms <= now_ms < settled_ms else now_ms
        again = replace(command, readbacks=0)
        if command.state is CommandState.SENT:  # it may never have left: that is no switch's fault, and its expiry bounds it
            again = replace(again, attempts=max(1, command.attempts - 1))
        step(tx, again, CommandEvent.RESTARTED, now_ms, reason="the gateway restarted", read_at_ms=read_at_ms)
    for account in tx.accounts():
        judge_account(tx, account.id, site, now_ms)
    return len(in_flight)


def _meter(tx: Tx, command: Command) -> Meter:
    meter = tx.meter(command.meter)
    if meter is None:
        raise LookupError(f"command {command.id} is for meter {command.meter}, which is not in the archive")
    return meter


def _flowed(meter: str) -> str:
    """Where the store keeps which order of this meter had load in front of it: a link forgets it when the gateway restarts."""
    return f"flowed:{meter}"


def _flows(meter: str) -> str:
    """Where the store keeps which cut of this meter was seen open with load flowing."""
    return f"flows:{meter}"


def _still_flows(tx: Tx, command: Command, seen: SwitchReading, evidence: tuple[str, ...]) -> bool:
    """Whether the bit is contradicted by the load: now, or when it was last told; a bit alone does not outweigh that."""
    if evidence == (CURRENT,) and tx.meta(_flows(command.meter)) != command.id:
        tx.set_meta(_flows(command.meter), command.id)
    untold = seen.contact is Contact.OPEN and seen.power_w is None
    return evidence == (CURRENT,) or (untold and tx.meta(_flows(command.meter)) == command.id)


def _by_load(tx: Tx, command: Command, seen: SwitchReading) -> SwitchReading:
    """A look at a switch that only repeats its order: load that flowed in front of a cut and no longer does proves it open."""
    gone = seen.kind == "command_only" and seen.power_w is not None and seen.power_w <= STARTING_POWER_W
    told = command.verb is Verb.CUT and seen.contact is Contact.OPEN
    return replace(seen, kind="load") if gone and told and tx.meta(_flowed(command.meter)) == command.id else seen


def _permitted(tx: Tx, command: Command, meter: Meter, site: Site, now_ms: int) -> Command | None:
    """The cut with the permission that it may leave on, out of whose budget it is spent; None: it is cancelled."""
    ours = f"{command.origin}:{command.cause}"
    refused = _lacking(tx, command, meter, ours, site, now_ms)
    drop_reason(tx, meter, *refused)
    if {LIMIT, PLAN} & refused.keys():
        withdraw_trip(tx, meter.account, site, now_ms)
    left = _meter(tx, command)
    permission, why = _live(tx, command, now_ms), "; ".join(refused.values())
    if ours not in left.cut_reasons or permission is None:  # a person's permission is not lent to a debt, nor the other way round
        permission = renewed(tx, left, site, now_ms)
        why = why or "nothing asks for this cut any more"
    if permission is not None and command.attempts == 0 and not fits(tx, permission, site, now_ms):
        permission, why = None, NO_ROOM
    if permission is not None:
        who = permission.origin if permission.origin not in OF_RULES else "rules"
        data = {"command": command.id, "permission": str(permission.number), "cause": permission.cause}
        if not audited(tx, now_ms, who, SENT, meter.id, data):
            permission, why = None, LOG_FULL
    if permission is None:
        _cancel(tx, command, why, ours, site, now_ms)
        return None
    if command.attempts == 0:
        spend(tx, permission, meter.id, site, now_ms)
    if permission.number == command.permission:
        return command
    renewed_for = replace(command, origin=permission.origin, cause=permission.cause, account=permission.account)
    return replace(renewed_for, permission=permission.number)


def _live(tx: Tx, command: Command, now_ms: int) -> CutPermission | None:
    """What the cut was ordered on, while it lives."""
    permission = tx.permission(command.permission) if command.permission is not None else None
    return permission if permission is not None and permission.live(now_ms) else None


def _lacking(tx: Tx, command: Command, meter: Meter, ours: str, site: Site, now_ms: int) -> dict[str, str]:
    """What this cut's own reason, and those of the rules, are missing at this moment; other people's are not for us to judge."""
    account, found = tx.account(meter.account) if meter.account else None, {}
    for reason in meter.cut_reasons:
        if reason != ours and reason not in RULES:
            continue
        cause = CutCause(cause_of(reason))
        permission = tx.permission(command.permission) if command.permission is not None and reason == ours else None
        grounds = own_grounds(tx, account, cause) if permission is None else grounds_of(permission)
        missing = judge(tx, account, cause, grounds, site, now_ms)
        if missing:
            found[reason] = "; ".join(missing)
    return found


def _cancel(tx: Tx, command: Command, why: str, ours: str, site: Site, now_ms: int) -> None:
    """The cut is not sent. Its reason goes too, but for what only the budget, the log or another permission can still bring."""
    step(tx, command, CommandEvent.CANCELLED, now_ms, reason=why)
    meter = _meter(tx, command)
    if ours in meter.cut_reasons and ours not in (LIMIT, PLAN):
        drop_reason(tx, meter, ours)
    bring(tx, meter.id, site, now_ms)


def _expire(tx: Tx, command: Command, why: str, site: Site, now_ms: int) -> None:
    """Its time is over. A dead cut takes its reasons along, and debt is judged anew; an overload still wants its trip."""
    step(tx, command, CommandEvent.EXPIRED, now_ms, reason=why)
    meter = _meter(tx, command)
    if command.verb is Verb.CUT:
        ours = {f"{command.origin}:{command.cause}", CREDIT} - {LIMIT, PLAN}
        drop_reason(tx, meter, *ours)
        account = tx.account(meter.account) if meter.account is not None and CREDIT in meter.cut_reasons else None
        permission = tx.permission(command.permission) if command.permission is not None else None
        if account is not None and permission is not None and command.attempts == 0:
            died_unsent(tx, account, ":".join(purse_of(permission)), site, now_ms)
    bring(tx, meter.id, site, now_ms)
    if meter.account is not None:
        judge_account(tx, meter.account, site, now_ms)


def _unmoved(tx: Tx, command: Command, seen: SwitchReading, evidence: tuple[str, ...], site: Site, now_ms: int) -> None:
    """The switch stands where it stood, or nobody can tell: read again, send again where that is safe, or call it failed."""
    if _held_back(tx, command, seen, now_ms):
        return
    looked = replace(command, readbacks=command.readbacks + 1)
    acknowledged = command.state in (CommandState.ACKNOWLEDGED, CommandState.DELAYED)
    untold = seen.contact is Contact.UNKNOWN
    most = MAX_READBACKS_WITH_CURRENT if evidence else MAX_READBACKS
    if looked.readbacks < (most if acknowledged or evidence or untold else READS_BEFORE_REPEAT):
        step(tx, looked, CommandEvent.SEEN_UNMOVED, now_ms, read_at_ms=now_ms + READBACK_PAUSE_MS)
    elif acknowledged or evidence or untold:
        why = "the switch's position could not be told" if untold else "the switch did not move"
        _fail(tx, looked, CommandEvent.GIVEN_UP, evidence[0] if evidence else why, site, now_ms)
    elif now_ms >= command.expires_ms:
        _expire(tx, looked, "its expiry passed while its outcome was unknown, and the switch did not move", site, now_ms)
    elif command.attempts < MAX_ATTEMPTS:
        step(tx, looked, CommandEvent.TRY_AGAIN, now_ms)
    else:
        _fail(tx, looked, CommandEvent.GIVEN_UP, "the switch did not move", site, now_ms)


def _held_back(tx: Tx, command: Command, seen: SwitchReading, now_ms: int) -> bool:
    """Whether the meter says that it holds the cut back while much current flows (prepayment.md 10); it is looked at until then."""
    until_ms, taken_ms = seen.held_until_ms, command.created_ms + LONGEST_DELAY_MS
    may = command.state in (CommandState.ACKNOWLEDGED, CommandState.DELAYED) and command.verb is Verb.CUT
    if not may or until_ms is None or not now_ms < min(until_ms, taken_ms):
        return False
    read_at_ms = min(now_ms + DELAYED_PAUSE_MS, until_ms)
    if command.state is CommandState.DELAYED:
        step(tx, command, CommandEvent.SEEN_UNMOVED, now_ms, read_at_ms=read_at_ms)
        return True
    why = f"delayed until {_utc(min(until_ms, taken_ms))} at the latest: the meter waits for the current to fall"
    step(tx, command, CommandEvent.HELD_BACK, now_ms, reason=why, read_at_ms=read_at_ms)
    told: dict[str, Json] = {"command": command.id, "until_ms": until_ms}
    announce.event(tx, EventKind.CUT_DELAYED, now_ms, meter=command.meter, account=command.account, **told)
    return True


def _utc(at_ms: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _fail(tx: Tx, command: Command, happened: CommandEvent, why: str, site: Site, now_ms: int) -> None:
    """It came to nothing. A person's cut takes its reason along: nobody would lift it, and a paid house would stay dark."""
    failed = step(tx, command, happened, now_ms, reason=why)
    announce.event(
        tx,
        EventKind.COMMAND_FAILED,
        now_ms,
        meter=failed.meter,
        account=failed.account,
        command=failed.id,
        verb=failed.verb.value,
        state=failed.state.value,
        reason=why,
    )
    if failed.verb is Verb.CUT and failed.origin not in OF_RULES:
        drop_reason(tx, _meter(tx, failed), f"{failed.origin}:{failed.cause}")
        bring(tx, failed.meter, site, now_ms)


def _tell(tx: Tx, done: Command, seen: SwitchReading, now_ms: int) -> None:
    if done.state is CommandState.ALLOWED:
        kind = EventKind.CLOSE_ALLOWED
    elif done.state is CommandState.VERIFIED:
        kind = EventKind.CUT_VERIFIED if done.verb is Verb.CUT else EventKind.RESTORE_VERIFIED
    else:
        return
    power_w = seen.power_w
    announce.event(
        tx,
        kind,
        now_ms,
        meter=done.meter,
        account=done.account,
        command=done.id,
        cause=done.cause,
        evidence=list(done.evidence),
        power_w=power_w,
        seen_ms=seen.at_ms,
    )
