"""From reasons to commands: supply is wanted while no reason holds it open, and every switch is brought there by a command."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.events import EventKind
from gateway.domain.meters import Account, Contact, Meter, SwitchKind
from gateway.domain.permissions import CutPermission, Grounds
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import (
    SIGNS,
    Command,
    CommandEvent,
    CommandState,
    CutCause,
    Verb,
    about_password,
    aside,
    next_state,
)
from gateway.services import announce
from gateway.services.permit_cut import LOG_FULL, audited, grant, judge, own_grounds, withdraw
from gateway.services.permit_cut import circumstances as circumstances
from gateway.services.permit_cut import tell_held as tell_held
from gateway.services.ports import Site, Tx
from gateway.services.spend_budget import DEFERRED, no_longer_waits, purse, room_in, turn

CREDIT = "credit:energy_debt"
"""The reason that lack of credit puts on a meter; only the credit rules put and lift it."""

LIMIT = "limit:safety"
"""The reason that the load limiter puts on a meter."""

PLAN = "limit:contract_time_table"
"""The reason that the limiter puts on it for what a signed plan caps or switches off."""

RULES = frozenset({CREDIT, LIMIT, PLAN})
"""The reasons for which a cut is ordered again; a person's cut that failed is for that person to repeat."""

OF_RULES = frozenset({"credit", "limit", "rules"})
"""The origins of commands that no person ordered."""

CUT_LIVES_MS = 10 * 60 * 1000
"""A cut not sent by then is dead and judged anew: its evidence was at most 15 minutes old when it was ordered."""

LOOK_BACK = 50
"""Commands of a meter looked through for the last one that was sent: no key may have so many in the quarantine of one meter."""

RESTORE_LIVES_MS = 24 * 60 * 60 * 1000
"""A restore not sent within a day is ordered anew as long as the credit stands; the meter's expiry field needs an end."""


NO_ROOM = f"{DEFERRED}: the limiter lets no more cuts go now; it has its turn"
"""What is missing where only the budget is."""


def hold_open(
    tx: Tx,
    account: Account,
    cause: CutCause,
    reason: str,
    site: Site,
    now_ms: int,
    grounds: Grounds | None = None,
    *,
    called: bool = False,
) -> tuple[str, ...]:
    """Put a reason on every meter of the account that a cut reaches and order the cuts; or what is missing, visible as an event.

    Where the limiter has room for some of the meters only, those are cut and the others wait for their turn. called: this is it.
    """
    brought = own_grounds(tx, account, cause) if grounds is None else grounds
    missing, permission = judge(tx, account, cause, brought, site, now_ms), None
    cuttable = [meter for meter in tx.meters_of(account.id) if meter.cuttable]
    fresh = [meter for meter in cuttable if reason not in meter.cut_reasons]
    if not missing:
        of = purse(tx, account, cause, brought, site, now_ms)
        if fresh and cause is CutCause.ENERGY_DEBT:
            fresh = fresh[: turn(tx, account, of, len(fresh), site, now_ms, called=called)]
        elif fresh:
            fresh = fresh[: room_in(tx, of, site, now_ms)]
        if not fresh and any(reason not in meter.cut_reasons for meter in cuttable):
            missing = (NO_ROOM,)
        elif fresh:
            permission = grant(tx, account, cause, reason.partition(":")[0], brought, of, now_ms + CUT_LIVES_MS, now_ms)
            missing = (LOG_FULL,) if permission is None else ()
    tell_held(tx, account, cause, missing, now_ms)
    if missing:
        return missing
    for meter in cuttable:
        if meter in fresh:
            put_reason(tx, meter, reason)
            bring(tx, meter.id, site, now_ms, permission=permission)
        elif reason in meter.cut_reasons:
            bring(tx, meter.id, site, now_ms)
    return ()


def lift(tx: Tx, account: Account, cause: CutCause, site: Site, now_ms: int) -> None:
    """Take this cause off every meter of the account, whoever put it there, and order what follows from it."""
    if cause is CutCause.ENERGY_DEBT:
        no_longer_waits(tx, account.id)
    lifted = False
    for meter in tx.meters_of(account.id):
        gone = [reason for reason in meter.cut_reasons if cause_of(reason) == cause and not is_danger(reason)]
        if gone:
            lifted = True
            drop_reason(tx, meter, *gone)
            bring(tx, meter.id, site, now_ms)
    if lifted:
        withdraw(tx, account.id, cause, now_ms)


DANGER = "danger"
"""The origin of an order for danger to life, in commands and reasons: nothing else lifts it."""


def is_danger(reason: str) -> bool:
    """Whether this reason was put by an order for danger to life."""
    return reason.partition(":")[0] == DANGER


def cause_of(reason: str) -> str:
    """The cause in `origin:cause`."""
    return reason.partition(":")[2]


def put_reason(tx: Tx, meter: Meter, reason: str) -> None:
    """Hold a meter's supply open for this reason."""
    tx.save_meter(replace(meter, cut_reasons=tuple(sorted({*meter.cut_reasons, reason}))))


def drop_reason(tx: Tx, meter: Meter, *reasons: str) -> None:
    """No longer hold a meter's supply open for these reasons."""
    tx.save_meter(replace(meter, cut_reasons=tuple(r for r in meter.cut_reasons if r not in reasons)))


def bring(
    tx: Tx, meter_id: str, site: Site, now_ms: int, order: SupplyOrder | None = None, permission: CutPermission | None = None
) -> None:
    """Order what brings a meter's switch to where its reasons want it, unless that is on its way or done.

    An open command of the other direction is superseded. A failed or refused one is ordered again after the site's pause.
    order: what a person asked for; its command is written even where the switch stands right, and takes the place of one of the
    rules that has not been sent. permission: what a cut rests on; without it a new one is asked for.
    """
    meter = _known(tx, meter_id)
    wanted = Contact.OPEN if meter.cut_reasons else Contact.CLOSED
    superseded = _supersede(tx, meter, wanted, now_ms, quarantined=order is not None)
    changed = meter.desired is not wanted
    if changed:
        meter = replace(meter, desired=wanted)
        tx.save_meter(meter)
    if any(not (order and make_room(tx, c, now_ms)) for c in tx.open_commands(meter=meter.id) if not aside(c)):
        return
    stands = wanted is Contact.CLOSED and meter.observed is Contact.CLOSED
    if (changed and not stands) or superseded or order is not None or _again(tx, meter, wanted, site, now_ms):
        if wanted is Contact.OPEN and permission is None:
            permission = renewed(tx, meter, site, now_ms)
        if wanted is Contact.CLOSED or permission is not None:
            _order(tx, meter, wanted, order, permission, now_ms)


def _known(tx: Tx, meter_id: str) -> Meter:
    meter = tx.meter(meter_id)
    if meter is None:
        raise LookupError(f"meter {meter_id} is not in the archive")
    return meter


def _direction(verb: Verb) -> Contact:
    return Contact.OPEN if verb is Verb.CUT else Contact.CLOSED


def renewed(tx: Tx, meter: Meter, site: Site, now_ms: int, among: frozenset[str] = RULES) -> CutPermission | None:
    """A new permission for the first of the rules' reasons that has everything and room in its budget; None where none has."""
    account = tx.account(meter.account) if meter.account else None
    for reason in meter.cut_reasons:
        if account is None or reason not in among:
            continue
        cause = CutCause(cause_of(reason))
        grounds = own_grounds(tx, account, cause)
        missing = judge(tx, account, cause, grounds, site, now_ms)
        of = purse(tx, account, cause, grounds, site, now_ms)
        if not missing and room_in(tx, of, site, now_ms) == 0:
            missing = (NO_ROOM,)
        permission = None
        if not missing:
            origin = reason.partition(":")[0]
            permission = grant(tx, account, cause, origin, grounds, of, now_ms + CUT_LIVES_MS, now_ms, meter)
            missing = () if permission is not None else (LOG_FULL,)
        tell_held(tx, account, cause, missing, now_ms)
        if permission is not None:
            return permission
    return None


def _supersede(tx: Tx, meter: Meter, wanted: Contact, now_ms: int, *, quarantined: bool) -> bool:
    """End open commands of the other direction; whether one of them may have moved the switch. quarantined: those too."""
    may_have_moved = False
    for command in tx.open_commands(meter=meter.id):
        if command.verb in SIGNS:
            continue
        if _direction(command.verb) is not wanted and (quarantined or not aside(command)):
            unsent = aside(command) or (command.state is CommandState.QUEUED and command.attempts == 0)
            may_have_moved = may_have_moved or not unsent
            step(tx, command, CommandEvent.SUPERSEDED, now_ms, reason="a later order asks for the opposite")
    return may_have_moved


def make_room(tx: Tx, command: Command, now_ms: int) -> bool:
    """Whether this command made room for a person's order of the same direction, which has its own id, cause and expiry."""
    waits = command.state is CommandState.QUEUED and command.attempts == 0 and command.origin in OF_RULES
    if waits:
        step(tx, command, CommandEvent.SUPERSEDED, now_ms, reason="an order of the same direction takes its place")
    return waits


def _again(tx: Tx, meter: Meter, wanted: Contact, site: Site, now_ms: int) -> bool:
    """Whether the switch stands wrong and may be ordered anew: after a failure with a pause, or a cut supply seen closed."""
    last = last_sent(tx, meter.id)
    if wanted is Contact.OPEN and not RULES & {*meter.cut_reasons}:
        return False
    if last is None:  # its cut had no permission when it was wanted
        return wanted is Contact.OPEN
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


def last_sent(tx: Tx, meter: str) -> Command | None:
    """The newest command of this meter that did not stay in the quarantine."""
    last = tx.last_command(meter)
    if last is None or not aside(last):
        return last
    return next((command for command in tx.commands_of(meter, LOOK_BACK) if not aside(command)), None)


def _order(tx: Tx, meter: Meter, wanted: Contact, order: SupplyOrder | None, permission: CutPermission | None, now_ms: int) -> None:
    verb = Verb.CUT if wanted is Contact.OPEN else restoring(tx, meter, order)
    origin, cause = "rules", "supply_wanted"
    if permission is not None and verb is Verb.CUT:
        origin, cause = permission.origin, permission.cause
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
        permission=permission.number if permission is not None and verb is Verb.CUT else None,
    )
    tx.add_command(command)
    announce.result(tx, command)
    if verb is not Verb.CUT:  # a restore goes out whether or not it can be written down (F6)
        who = order.who or order.origin if order is not None else "rules"
        audited(tx, now_ms, who, "order_restore", meter.id, {"command": command.id, "cause": cause})
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
    as_wanted = state in (CommandState.VERIFIED, CommandState.ALLOWED, CommandState.DONE, CommandState.COMMAND_ONLY)
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
