"""Cut and restore: the life of a command, what a read-back proves, and what a cut needs (contract.md 5, prepayment.md 3-5, 10)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.domain.credit import CreditState
from gateway.domain.meters import Account, Contact


class Verb(StrEnum):
    """What is asked of a switch. RESTORE closes, ALLOW_CLOSE leaves the closing to the customer's button."""

    CUT = "cut"
    RESTORE = "restore"
    ALLOW_CLOSE = "allow_close"


class CutCause(StrEnum):
    """The closed list of causes (prepayment.md 3)."""

    ENERGY_DEBT = "energy_debt"
    SAFETY = "safety"
    CONTRACT_TIME_TABLE = "contract_time_table"
    EMERGENCY = "emergency"
    DEMAND_RESPONSE = "demand_response"
    THEFT_BY_TWO_PEOPLE = "theft_by_two_people"


class CommandState(StrEnum):
    """The life of a command (contract.md 5)."""

    QUEUED = "queued"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    UNCERTAIN = "uncertain"
    VERIFIED = "verified"
    ALLOWED = "allowed"
    COMMAND_ONLY = "command_only"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    FAILED = "failed"


class CommandEvent(StrEnum):
    """What may happen to a command."""

    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    NO_ANSWER = "no_answer"
    NOT_SENT = "not_sent"
    SEEN_AS_ORDERED = "seen_as_ordered"
    SEEN_ALLOWED = "seen_allowed"
    SEEN_UNMOVED = "seen_unmoved"
    PROVES_NOTHING = "proves_nothing"
    GIVEN_UP = "given_up"
    TRY_AGAIN = "try_again"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    RESTARTED = "restarted"


_S, _E = CommandState, CommandEvent

FINAL = frozenset({_S.VERIFIED, _S.ALLOWED, _S.COMMAND_ONLY, _S.REFUSED, _S.EXPIRED, _S.CANCELLED, _S.SUPERSEDED, _S.FAILED})
"""States that never change again. COMMAND_ONLY is shown outside as `acknowledged` with evidence `command_only`."""

TRANSITIONS: dict[tuple[CommandState, CommandEvent], CommandState] = {
    (_S.QUEUED, _E.SENT): _S.SENT,
    (_S.QUEUED, _E.REFUSED): _S.REFUSED,
    (_S.QUEUED, _E.EXPIRED): _S.EXPIRED,
    (_S.QUEUED, _E.CANCELLED): _S.CANCELLED,
    (_S.QUEUED, _E.SUPERSEDED): _S.SUPERSEDED,
    (_S.SENT, _E.ACKNOWLEDGED): _S.ACKNOWLEDGED,
    (_S.SENT, _E.REFUSED): _S.REFUSED,
    (_S.SENT, _E.NO_ANSWER): _S.UNCERTAIN,
    (_S.SENT, _E.NOT_SENT): _S.QUEUED,
    (_S.SENT, _E.GIVEN_UP): _S.FAILED,
    (_S.SENT, _E.RESTARTED): _S.UNCERTAIN,
    (_S.ACKNOWLEDGED, _E.SEEN_AS_ORDERED): _S.VERIFIED,
    (_S.ACKNOWLEDGED, _E.SEEN_ALLOWED): _S.ALLOWED,
    (_S.ACKNOWLEDGED, _E.PROVES_NOTHING): _S.COMMAND_ONLY,
    (_S.ACKNOWLEDGED, _E.SEEN_UNMOVED): _S.ACKNOWLEDGED,
    (_S.ACKNOWLEDGED, _E.GIVEN_UP): _S.FAILED,
    (_S.ACKNOWLEDGED, _E.RESTARTED): _S.UNCERTAIN,
    (_S.ACKNOWLEDGED, _E.SUPERSEDED): _S.SUPERSEDED,
    (_S.UNCERTAIN, _E.SEEN_AS_ORDERED): _S.VERIFIED,
    (_S.UNCERTAIN, _E.SEEN_ALLOWED): _S.ALLOWED,
    (_S.UNCERTAIN, _E.SEEN_UNMOVED): _S.UNCERTAIN,
    (_S.UNCERTAIN, _E.PROVES_NOTHING): _S.COMMAND_ONLY,
    (_S.UNCERTAIN, _E.TRY_AGAIN): _S.QUEUED,
    (_S.UNCERTAIN, _E.GIVEN_UP): _S.FAILED,
    (_S.UNCERTAIN, _E.EXPIRED): _S.EXPIRED,
    (_S.UNCERTAIN, _E.RESTARTED): _S.UNCERTAIN,
    (_S.UNCERTAIN, _E.SUPERSEDED): _S.SUPERSEDED,
    (_S.SENT, _E.SUPERSEDED): _S.SUPERSEDED,
}


class ImpossibleEvent(ValueError):
    """An event that cannot happen in this state: a fault of ours, never of the meter."""


def next_state(state: CommandState, event: CommandEvent) -> CommandState:
    """The state after the event. Raises ImpossibleEvent for a pair the table does not have."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ImpossibleEvent(f"a command that is {state} cannot become {event}") from None


@dataclass(frozen=True, slots=True)
class Command:
    """One order to one switch, as a durable record.

    cause: why, for a cut one of CutCause. origin: who ordered (`credit`, `limit`, `operator`, `uplink`).
    read_at_ms: when the switch is to be read back next. attempts: control frames sent; readbacks: fruitless reads since.
    evidence: what proved the outcome; reason: why it ended otherwise, one sentence.
    permission: number of the one that a cut rests on.
    """

    id: str
    meter: str
    line: str
    account: str | None
    verb: Verb
    cause: str
    origin: str
    state: CommandState
    created_ms: int
    expires_ms: int
    changed_ms: int
    read_at_ms: int | None = None
    attempts: int = 0
    readbacks: int = 0
    evidence: tuple[str, ...] = ()
    reason: str | None = None
    permission: int | None = None

    @property
    def final(self) -> bool:
        """Whether the outcome is known for good."""
        return self.state in FINAL


NOT_SENT = "not sent"
"""How the reason of a refusal begins that is ours: the meter itself was not asked."""

REFUSED_PASSWORDS = 2
REFUSED_WITHIN_MS = 24 * 60 * 60 * 1000
"""At most two refused passwords per meter and day: a third could lock the meter (prepayment.md 9)."""


def about_password(command: Command) -> bool:
    """Whether this command was refused for its password, by the meter or by us to spare it."""
    return command.state is CommandState.REFUSED and "password" in (command.reason or "")


def spends_password(command: Command, now_ms: int) -> bool:
    """Whether the meter itself refused this command's password within the last day."""
    by_meter = about_password(command) and not (command.reason or "").startswith(NOT_SENT)
    return by_meter and now_ms - command.changed_ms < REFUSED_WITHIN_MS


@dataclass(frozen=True, slots=True)
class SwitchReading:
    """A switch as it was read back.

    contact: position by status bit, register or feedback input; `ordered` the command state where the device shows it.
    kind: `relay_bit`, `feedback`, `load` (no contact of its own, but the load tells) or `command_only` (it only repeats its order).
    power_w: load in the same moment, None when unknown.
    """

    contact: Contact
    kind: str
    at_ms: int
    power_w: int | None = None


STARTING_POWER_W = 5
"""Below this a meter counts as without load: starting current 0.4 % of 5 A at 220 V (GB/T 17215.321), rounded up."""

MAX_ATTEMPTS = 3
"""Control frames per command: more would only hide a broken switch from the operator."""

MAX_READBACKS = 5
"""Reads after which an unmoved contact is called failed: the bit settles within 3-4 s, reads are READBACK_PAUSE_MS apart."""

MAX_READBACKS_WITH_CURRENT = 20
"""Open by bit with current flowing is called failed after 60 s (contract.md 5), in reads READBACK_PAUSE_MS apart."""

READS_BEFORE_REPEAT = 2
"""An uncertain command is sent again only after this many reads showed the switch unmoved: one may meet a settling bit."""

READBACK_PAUSE_MS = 3_000
"""Between two reads of an unmoved contact: shorter would read the same settling bit twice."""

SILENT_PAUSE_MS = 10_000
"""Between two reads of a switch whose meter does not answer; there is no end to it, the truth must be known."""


def proof(verb: Verb, seen: SwitchReading) -> tuple[CommandEvent, tuple[str, ...]]:
    """What a read-back says about a command, and the evidence it rests on (contract.md 5, Verified)."""
    if seen.kind == "command_only":
        wanted = Contact.OPEN if verb is Verb.CUT else Contact.CLOSED
        return (CommandEvent.PROVES_NOTHING, ("command_only",)) if seen.contact is wanted else (CommandEvent.SEEN_UNMOVED, ())
    load = () if seen.power_w is None or seen.kind == "load" else ("load",)
    if verb is Verb.CUT:
        if seen.contact is not Contact.OPEN:
            return CommandEvent.SEEN_UNMOVED, ()
        if seen.power_w is not None and seen.power_w > STARTING_POWER_W:
            return CommandEvent.SEEN_UNMOVED, ("current_while_open",)
        return CommandEvent.SEEN_AS_ORDERED, (seen.kind, *load)
    if seen.contact is Contact.CLOSED:
        flows = seen.power_w is not None and seen.power_w > STARTING_POWER_W
        return CommandEvent.SEEN_AS_ORDERED, (seen.kind, *load) if flows else (seen.kind,)
    if verb is Verb.ALLOW_CLOSE and seen.contact is Contact.ALLOWED:
        return CommandEvent.SEEN_ALLOWED, (seen.kind,)
    return CommandEvent.SEEN_UNMOVED, ()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a cut is judged on besides the account (prepayment.md 3 and 5).

    confirmed_ms: time of the last confirmed reading of every meter concerned, the oldest of them; None if one has none.
    clock_trusted: a configured source vouches for our clock (F3). local: the account's own wall clock for the calendar.
    path_alive: money can be paid in right now (F2).
    """

    now_ms: int
    local: datetime
    confirmed_ms: int | None
    clock_trusted: bool
    path_alive: bool = True


FRESH_MS = 15 * 60 * 1000
"""A confirmed reading older than this supports no cut (prepayment.md 3)."""


NEED_CLOCK = frozenset({CutCause.ENERGY_DEBT, CutCause.CONTRACT_TIME_TABLE, CutCause.DEMAND_RESPONSE})
"""Causes that depend on what time it is; danger, theft and overload do not (prepayment.md 3)."""


def missing_for_cut(cause: CutCause, account: Account, here: Circumstances) -> tuple[str, ...]:
    """What is missing for this cut, in words; empty means permission. Which parts count depends on the cause."""
    missing = []
    if account.never_cut:
        missing.append("the account is flagged never to be cut")
    if account.protected(here.now_ms):
        missing.append("supply protect is on")
    missing += _clock(cause, here.clock_trusted)
    if cause is CutCause.ENERGY_DEBT:
        missing += _missing_for_debt(account, here)
    return tuple(missing)


def missing_without_account(cause: CutCause, clock_trusted: bool) -> tuple[str, ...]:
    """The same for a meter for which nobody pays."""
    if cause is CutCause.ENERGY_DEBT:
        return ("there is no account whose debt it could be",)
    return tuple(_clock(cause, clock_trusted))


def _clock(cause: CutCause, trusted: bool) -> list[str]:
    return [] if trusted or cause not in NEED_CLOCK else ["the clock is not trusted (F3)"]


def _missing_for_debt(account: Account, here: Circumstances) -> list[str]:
    missing = []
    if account.credit not in (CreditState.EXHAUSTED, CreditState.CUT):
        missing.append("there is credit left (a reminding cut is off)")
    if here.confirmed_ms is None or not 0 <= here.now_ms - here.confirmed_ms <= FRESH_MS:
        missing.append("no confirmed reading of the last 15 minutes (F1)")
    if not here.path_alive:
        missing.append("no way to top up is alive (F2)")
    if account.agreement is None:
        missing.append("there is no prepayment agreement")
    if account.warned_ms is None:
        missing.append("the notice ladder is not completed")
    if account.policy.no_cut_hours and in_no_cut_hours(here.local):
        missing.append("these are no-cut hours (F4)")
    return missing


def in_no_cut_hours(local: datetime) -> bool:
    """The built-in rule of F4: no cut 17:00-09:00, and from Friday 12:00 to Monday 09:00."""
    weekday, hour = local.weekday(), local.hour
    if hour >= 17 or hour < 9 or weekday in (5, 6):
        return True
    return weekday == 4 and hour >= 12
