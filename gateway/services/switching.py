"""From reasons to commands: supply is wanted while no reason holds it open, and every switch is brought there by a command."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.events import EventKind
from gateway.domain.meters import Account, Contact, Meter, SwitchKind
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import (
    Circumstances,
    Command,
    CommandEvent,
    CommandState,
    CutCause,
    Verb,
    about_password,
    missing_for_cut,
    next_state,
)
from gateway.services import announce
from gateway.services.money_held import held
from gateway.services.ports import Site, Tx

CREDIT = "credit:energy_debt"
"""The reason that lack of credit puts on a meter; only the credit rules put and lift it."""

LIMIT = "limit:safety"
"""The reason that the load limiter puts on a meter."""

RULES = frozenset({CREDIT, LIMIT})
"""The reasons for which a cut is ordered again; a person's cut that failed is for that person to repeat."""

OF_RULES = frozenset({"credit", "limit", "rules"})
"""The origins of commands that no person ordered."""

CUT_LIVES_MS = 10 * 60 * 1000
"""A cut not sent by then is dead and judged anew: its evidence was at most 15 minutes old when it was ordered."""

RESTORE_LIVES_MS = 24 * 60 * 60 * 1000
"""A restore not sent within a day is ordered anew as long as the credit stands; the meter's expiry field needs an end."""


def circumstances(tx: Tx, account: Account, site: Site, now_ms: int) -> Circumstances:
    """What a cut of this account is judged on at this moment."""
    oldest: int | None = now_ms
    for meter in tx.meters_of(account.id):
        billing = tx.billing(meter.id)
        if billing is None or billing.confirmed is None or billing.held is not None:
            oldest = None
            break
        oldest = min(oldest or now_ms, billing.confirmed.at_ms)
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now_ms)).astimezone(ZoneInfo(site.zone))
    return Circumstances(now_ms, local, oldest, site.clock_trusted, site.path_alive and held(tx) is None)


def hold_open(tx: Tx, account: Account, cause: CutCause, reason: str, site: Site, now_ms: int) -> tuple[str, ...]:
    """Put a reason on every meter of the account that a cut reaches and order the cuts; or what is missing, visible as an event."""
    missing = missing_for_cut(cause, account, circumstances(tx, account, site, now_ms))
    tell_held(tx, account, cause, missing, now_ms)
    if missing:
        return missing
    for meter in tx.meters_of(account.id):
        if meter.cuttable:
            put_reason(tx, meter, reason)
            bring(tx, meter.id, site, now_ms)
    return ()


def lift(tx: Tx, account: Account, cause: CutCause, site: Site, now_ms: int) -> None:
    """Take this cause off every meter of the account, whoever put it there, and order what follows from it."""
    for meter in tx.meters_of(account.id):
        gone = [reason for reason in meter.cut_reasons if cause_of(reason) == cause]
        if gone:
            drop_reason(tx, meter, *gone)
            bring(tx, meter.id, site, now_ms)


def cause_of(reason: str) -> str:
    """The cause in `origin:cause`."""
    return reason.partition(":")[2]


def put_reason(tx: Tx, meter: Meter, reason: str) -> None:
    """Hold a meter's supply open for this reason."""
    tx.save_meter(replace(meter, cut_reasons=tuple(sorted({*meter.cut_reasons, reason}))))


def drop_reason(tx: Tx, meter: Meter, *reasons: str) -> None:
    """No longer hold a meter's supply open for these reasons."""
    tx.save_meter(replace(meter, cut_reasons=tuple(r for r in meter.cut_reasons if r not in reasons)))


def bring(tx: Tx, meter_id: str, site: Site, now_ms: int, order: SupplyOrder | None = None) -> None:
    """Order what brings a meter's switch to where its reasons want it, unless that is on its way or done.

    An open command of the other direction is superseded. A failed or refused one is ordered again after the site's pause.
    order: what a person asked for; its command is written even where the switch stands right, and takes the place of one of the
    rules that has not been sent.
    """
    meter = _known(tx, meter_id)
    wanted = Contact.OPEN if meter.cut_reasons else Contact.CLOSED
    superseded = _supersede(tx, meter, wanted, now_ms)
    changed = meter.desired is not wanted
    if changed:
        meter = replace(meter, desired=wanted)
        tx.save_meter(meter)
    if any(not (order and _replaced(tx, c, now_ms)) for c in tx.open_commands(meter=meter.id)):
        return
    stands = wanted is Contact.CLOSED and meter.observed is Contact.CLOSED
    if (changed and not stands) or superseded or order is not None or _again(tx, meter, wanted, site, now_ms):
        _order(tx, meter, wanted, order, now_ms)


def _known(tx: Tx, meter_id: str) -> Meter:
    meter = tx.meter(meter_id)
    if meter is None:
        raise LookupError(f"meter {meter_id} is not in the archive")
    return meter


def _direction(verb: Verb) -> Contact:
    return Contact.OPEN if verb is Verb.CUT else Contact.CLOSED


def _supersede(tx: Tx, meter: Meter, wanted: Contact, now_ms: int) -> bool:
    """End open commands of the other direction; whether one of them may have moved the switch."""
    may_have_moved = False
    for command in tx.open_commands(meter=meter.id):
        if _direction(command.verb) is not wanted:
            may_have_moved = may_have_moved or command.state is not CommandState.QUEUED or command.attempts > 0
            step(tx, command, CommandEvent.SUPERSEDED, now_ms, reason="a later order asks for the opposite")
    return may_have_moved


def _replaced(tx: Tx, command: Command, now_ms: int) -> bool:
    """Whether this command made room for a person's order of the same direction, which has its own id, cause and expiry."""
    waits = command.state is CommandState.QUEUED and command.attempts == 0 and command.origin in OF_RULES
    if waits:
        step(tx, command, CommandEvent.SUPERSEDED, now_ms, reason="an order of the same direction takes its place")
    return waits


def _again(tx: Tx, meter: Meter, wanted: Contact, site: Site, now_ms: int) -> bool:
    """Whether the switch stands wrong and may be ordered anew: after a failure with a pause, or a cut supply seen closed."""
    last = tx.last_command(meter.id)
    if last is None or (wanted is Contact.OPEN and not RULES & {*meter.cut_reasons}):
        return False
    if _direction(last.verb) is not wanted:  # a cut that was called off took effect after all
        return wanted is Contact.CLOSED and meter.observed is Contact.OPEN
    if wanted is Contact.CLOSED and meter.observed in (Contact.CLOSED, Contact.ALLOWED):
        return False
    waited_ms = now_ms - last.changed_ms
    match last.state:  # an open switch proves no failed cut wrong: a welded relay says that it is open
        case CommandState.EXPIRED:
            return True
        case CommandState.FAILED:
            return waited_ms >= site.retry_failed_ms
        case CommandState.REFUSED:  # neither a paid house nor an overload waits half a day: start_command spares the password
            spare = wanted is Contact.OPEN and LIMIT not in meter.cut_reasons and about_password(last)
            return waited_ms >= (site.retry_refused_ms if spare else site.retry_failed_ms)
        case CommandState.COMMAND_ONLY:
            return meter.observed not in (wanted, Contact.UNKNOWN) and waited_ms >= site.retry_refused_ms
    return wanted is Contact.OPEN and meter.observed in (Contact.CLOSED, Contact.ALLOWED) and waited_ms > meter.settle_ms


def _order(tx: Tx, meter: Meter, wanted: Contact, order: SupplyOrder | None, now_ms: int) -> None:
    verb = Verb.CUT if wanted is Contact.OPEN else restoring(tx, meter, order)
    origin, _, cause = meter.cut_reasons[0].partition(":") if meter.cut_reasons else ("rules", "", "supply_wanted")
    if order is not None:
        origin, cause = order.origin, order.cause
    lives = CUT_LIVES_MS if verb is Verb.CUT else RESTORE_LIVES_MS
    command = Command(
        id=order.id if order is not None else _fresh_id(tx, f"{meter.id[:36]}-{verb.value}-{now_ms}"),
        meter=meter.id,
        line=meter.switch_line,
        account=meter.account,
        verb=verb,
        cause=cause,
        origin=origin,
        state=CommandState.QUEUED,
        created_ms=now_ms,
        expires_ms=order.expires_ms if order is not None else now_ms + lives,
        changed_ms=now_ms,
    )
    tx.add_command(command)
    announce.result(tx, command)
    kind = EventKind.CUT_ORDERED if verb is Verb.CUT else EventKind.RESTORE_ORDERED
    announce.event(tx, kind, now_ms, meter=meter.id, account=meter.account, command=command.id, cause=cause, verb=verb.value)


def restoring(tx: Tx, meter: Meter, order: SupplyOrder | None = None) -> Verb:
    """How supply comes back to this meter: closed by agreement or where nobody could press a button, else allowed."""
    if order is not None and order.verb is Verb.ALLOW_CLOSE:
        return Verb.ALLOW_CLOSE
    account = tx.account(meter.account) if meter.account else None
    direct = meter.switch is SwitchKind.CONTACTOR or (account is not None and account.policy.reconnect_direct)
    return Verb.RESTORE if direct else Verb.ALLOW_CLOSE


def _fresh_id(tx: Tx, stem: str) -> str:
    """The stem, or the stem with a number where several orders fall into one millisecond."""
    candidate, n = stem, 1
    while tx.command(candidate) is not None:
        n += 1
        candidate = f"{stem}-{n}"
    return candidate


def tell_held(tx: Tx, account: Account, cause: CutCause, missing: tuple[str, ...], now_ms: int) -> None:
    """One event when a cut is held, and one more only when the reasons change."""
    key, text = f"held:{cause.value}:{account.id}", "; ".join(missing)
    if (tx.meta(key) or "") == text:
        return
    tx.set_meta(key, text)
    if missing:
        announce.event(tx, EventKind.CUT_HELD, now_ms, account=account.id, cause=cause.value, missing=list(missing))


def step(
    tx: Tx,
    command: Command,
    happened: CommandEvent,
    now_ms: int,
    *,
    reason: str | None = None,
    evidence: tuple[str, ...] = (),
    read_at_ms: int | None = None,
) -> Command:
    """Move a command by its table, store it and send the result up. Gives the command as it now is."""
    state = next_state(command.state, happened)
    as_wanted = state in (CommandState.VERIFIED, CommandState.ALLOWED, CommandState.COMMAND_ONLY)
    moved = replace(
        command,
        state=state,
        changed_ms=now_ms,
        reason=None if as_wanted else reason or command.reason,
        evidence=evidence or command.evidence,
        read_at_ms=read_at_ms,
    )
    tx.save_command(moved)
    if state is not command.state:
        announce.result(tx, moved)
    return moved
