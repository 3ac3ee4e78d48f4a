"""Cut and restore: the life of a command, what a read-back proves, and what a cut needs (contract.md 5, prepayment.md 3-5, 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from gateway.domain import credit, no_cut
from gateway.domain.meters import Account, Authority, Contact
from gateway.domain.no_cut import NoCutCalendar
from gateway.domain.permissions import NO_GROUNDS, Grounds
from gateway.domain.precedence import SENTENCES, Claim, claim_of, forbids


class Verb(StrEnum):
    """What is asked of a switch. RESTORE closes, ALLOW_CLOSE leaves the closing to the customer's button.

    The others are SIGNS, asked of a meter: its alarm, and the protection by which it refuses every trip.
    """

    CUT = "cut"
    RESTORE = "restore"
    ALLOW_CLOSE = "allow_close"
    ALARM = "alarm"
    ALARM_OFF = "alarm_off"
    PROTECT = "protect"
    UNPROTECT = "unprotect"


SIGNS = frozenset({Verb.ALARM, Verb.ALARM_OFF, Verb.PROTECT, Verb.UNPROTECT})
"""What moves no switch: the meter shows it by a bit of its own (domain/signs.py)."""


class CutCause(StrEnum):
    """The closed list of causes (prepayment.md 3)."""

    ENERGY_DEBT = "energy_debt"
    SAFETY = "safety"
    CONTRACT_TIME_TABLE = "contract_time_table"
    EMERGENCY = "emergency"
    DEMAND_RESPONSE = "demand_response"
    THEFT_BY_TWO_PEOPLE = "theft_by_two_people"


class CommandState(StrEnum):
    """The life of a command (contract.md 5). QUARANTINED: not queued before another person releases it. DELAYED: the meter took
    it and holds it back while much current flows. DONE: seen as ordered, of what moves no switch."""

    QUARANTINED = "quarantined"
    QUEUED = "queued"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    DELAYED = "delayed"
    UNCERTAIN = "uncertain"
    VERIFIED = "verified"
    ALLOWED = "allowed"
    DONE = "done"
    COMMAND_ONLY = "command_only"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    FAILED = "failed"


class CommandEvent(StrEnum):
    """What may happen to a command."""

    RELEASED = "released"
    HELD_BACK = "held_back"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    NO_ANSWER = "no_answer"
    NOT_SENT = "not_sent"
    SEEN_AS_ORDERED = "seen_as_ordered"
    SEEN_ALLOWED = "seen_allowed"
    SEEN_DONE = "seen_done"
    SEEN_UNMOVED = "seen_unmoved"
    PROVES_NOTHING = "proves_nothing"
    GIVEN_UP = "given_up"
    TRY_AGAIN = "try_again"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    RESTARTED = "restarted"


_S, _E = CommandState, CommandEvent

FINAL = frozenset(
    {_S.VERIFIED, _S.ALLOWED, _S.DONE, _S.COMMAND_ONLY, _S.REFUSED, _S.EXPIRED, _S.CANCELLED, _S.SUPERSEDED, _S.FAILED}
)
"""States that never change again. COMMAND_ONLY is shown outside as `acknowledged` with evidence `command_only`."""

TRANSITIONS: dict[tuple[CommandState, CommandEvent], CommandState] = {
    (_S.QUARANTINED, _E.RELEASED): _S.QUEUED,
    (_S.QUARANTINED, _E.REFUSED): _S.REFUSED,
    (_S.QUARANTINED, _E.EXPIRED): _S.EXPIRED,
    (_S.QUARANTINED, _E.CANCELLED): _S.CANCELLED,
    (_S.QUARANTINED, _E.SUPERSEDED): _S.SUPERSEDED,
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
    (_S.ACKNOWLEDGED, _E.SEEN_DONE): _S.DONE,
    (_S.ACKNOWLEDGED, _E.PROVES_NOTHING): _S.COMMAND_ONLY,
    (_S.ACKNOWLEDGED, _E.SEEN_UNMOVED): _S.ACKNOWLEDGED,
    (_S.ACKNOWLEDGED, _E.HELD_BACK): _S.DELAYED,
    (_S.ACKNOWLEDGED, _E.GIVEN_UP): _S.FAILED,
    (_S.ACKNOWLEDGED, _E.RESTARTED): _S.UNCERTAIN,
    (_S.ACKNOWLEDGED, _E.SUPERSEDED): _S.SUPERSEDED,
    (_S.DELAYED, _E.SEEN_AS_ORDERED): _S.VERIFIED,
    (_S.DELAYED, _E.SEEN_UNMOVED): _S.DELAYED,
    (_S.DELAYED, _E.PROVES_NOTHING): _S.COMMAND_ONLY,
    (_S.DELAYED, _E.GIVEN_UP): _S.FAILED,
    (_S.DELAYED, _E.RESTARTED): _S.DELAYED,
    (_S.DELAYED, _E.SUPERSEDED): _S.SUPERSEDED,
    (_S.UNCERTAIN, _E.SEEN_AS_ORDERED): _S.VERIFIED,
    (_S.UNCERTAIN, _E.SEEN_ALLOWED): _S.ALLOWED,
    (_S.UNCERTAIN, _E.SEEN_DONE): _S.DONE,
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
    """One order to one switch, or to one meter, as a durable record.

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

    contact: position by status bit, register or feedback input.
    kind: `relay_bit`, `feedback`, `load` (no contact of its own, but the load tells) or `command_only` (it only repeats its order).
    power_w: load in the same moment, None when unknown.
    held_until_ms: a cut waits in the meter for the current to fall, until then at the latest (UTC); None where it does not.
    """

    contact: Contact
    kind: str
    at_ms: int
    power_w: int | None = None
    held_until_ms: int | None = None


QUARANTINE = "quarantined"
"""How the reason of a command begins that never left the quarantine."""


def aside(command: Command) -> bool:
    """Whether this command stands, or ended, in the quarantine, or asks nothing of the switch: it has never touched it."""
    return command.verb in SIGNS or (command.attempts == 0 and (command.reason or "").startswith(QUARANTINE))


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

DELAYED_PAUSE_MS = 60_000
"""Between two looks at a cut that a high-current guard holds back: it counts in minutes (04001403)."""

LONGEST_DELAY_MS = 24 * 60 * 60 * 1000
"""No guard holds a cut longer (prepayment.md 10); one that says so is believed to be broken after that."""

SILENT_PAUSE_MS = 10_000
"""Between two reads of a switch whose meter does not answer; there is no end to it, the truth must be known."""


CURRENT = "current_while_open"
"""What contradicts a bit that says open (contract.md 5, Verified)."""


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
            return CommandEvent.SEEN_UNMOVED, (CURRENT,)
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
    path_alive: money can be paid in right now (F2). disk_ok: what a cut leaves behind can be written (F6).
    calendar: the account's own, None where there is none. ladder: what its notices are missing.
    wrong_clock: a meter whose clock is off and priced the energy (F3). stopped: who stopped the cuts, and when.
    open_ends: why the posted balance is not the last word (money under way, energy that was only shared out).
    """

    now_ms: int
    local: datetime
    confirmed_ms: int | None
    clock_trusted: bool
    path_alive: bool = True
    disk_ok: bool = True
    calendar: NoCutCalendar | None = None
    ladder: tuple[str, ...] = ()
    wrong_clock: str | None = None
    stopped: str | None = None
    open_ends: tuple[str, ...] = ()


FRESH_MS = 15 * 60 * 1000
"""A confirmed reading older than this supports no cut (prepayment.md 3)."""

_Check = Callable[[Account | None, Circumstances, Grounds], str | None]


def _our_money(account: Account | None, _here: Circumstances, _grounds: Grounds) -> str | None:
    inside = account is not None and account.authority is Authority.METER
    return "the meter holds this account's money and cuts by itself" if inside else None


def _credit(account: Account | None, _here: Circumstances, _grounds: Grounds) -> str | None:
    lit = account is not None and not credit.may_cut(account)
    return "there is credit left (a reminding cut is off)" if lit else None


def _open_ends(_account: Account | None, here: Circumstances, _grounds: Grounds) -> str | None:
    return "; ".join(here.open_ends) or None


def _fresh(_account: Account | None, here: Circumstances, _grounds: Grounds) -> str | None:
    fresh = here.confirmed_ms is not None and 0 <= here.now_ms - here.confirmed_ms <= FRESH_MS
    return None if fresh else "no confirmed reading of the last 15 minutes (F1)"


def _path(_account: Account | None, here: Circumstances, _grounds: Grounds) -> str | None:
    return None if here.path_alive else "no way to top up is alive (F2)"


def _agreement(account: Account | None, _here: Circumstances, _grounds: Grounds) -> str | None:
    ruled = account is None or credit.has_agreement(account)
    return None if ruled else "there is no prepayment agreement"


def _notices(account: Account | None, here: Circumstances, grounds: Grounds) -> str | None:
    if grounds.facts.get("notices"):  # whoever signed the order answers for the ladder (contract.md 5)
        return None
    waits = () if account is None else credit.not_ready(account, here.now_ms)
    lacking = dict.fromkeys((*waits, *here.ladder))
    return "the notice ladder is not completed: " + "; ".join(lacking) if lacking else None


def _calendar(account: Account | None, here: Circumstances, _grounds: Grounds) -> str | None:
    named = account is not None and account.policy.calendar is not None  # one that is not here any more: the built-in rule holds
    if account is None or (here.calendar is None and not named and not account.policy.no_cut_hours):
        return None
    return no_cut.forbids(here.calendar, here.local)


def _debt_calendar(account: Account | None, here: Circumstances, grounds: Grounds) -> str | None:
    """As above, but for whom friendly hours do not help: a policy may want credit when they begin (prepayment.md a7)."""
    why = _calendar(account, here, grounds)
    if why is None or account is None:
        return None

    def forbidden(at_ms: int) -> bool:
        earlier = (here.local.astimezone(UTC) - timedelta(milliseconds=here.now_ms - at_ms)).astimezone(here.local.tzinfo)
        return no_cut.forbids(here.calendar, earlier) is not None

    return why if credit.window_helps(account.policy, account.standing, forbidden, here.now_ms) else None


def _our_clock(_account: Account | None, here: Circumstances, _grounds: Grounds) -> str | None:
    return None if here.clock_trusted else "the clock is not trusted (F3)"


def _meter_clock(_account: Account | None, here: Circumstances, _grounds: Grounds) -> str | None:
    return here.wrong_clock and f"the clock of meter {here.wrong_clock} is wrong and priced its energy (F3)"


def _contract(_account: Account | None, _here: Circumstances, grounds: Grounds) -> str | None:
    return None if grounds.facts.get("contract") else "no contract that allows it is named"


def _event(_account: Account | None, _here: Circumstances, grounds: Grounds) -> str | None:
    return None if grounds.facts.get("event") else "no event that calls for it is named"


def _order(_account: Account | None, _here: Circumstances, grounds: Grounds) -> str | None:
    return None if grounds.facts.get("order") else "no order is named"


def _measured(_account: Account | None, _here: Circumstances, grounds: Grounds) -> str | None:
    return None if grounds.facts.get("measured") else "no measured value is named"


def _plan(account: Account | None, _here: Circumstances, grounds: Grounds) -> str | None:
    signed = grounds.facts.get("plan") or (account is not None and account.agreement)
    return None if signed else "no signed plan is named"


def _two_people(_account: Account | None, _here: Circumstances, grounds: Grounds) -> str | None:
    return None if grounds.by_two else "it needs two people"


NEEDS: Mapping[CutCause, tuple[_Check, ...]] = {
    CutCause.ENERGY_DEBT: (
        *(_our_money, _our_clock, _credit, _open_ends, _fresh, _path, _agreement, _notices, _debt_calendar, _meter_clock),
    ),
    CutCause.CONTRACT_TIME_TABLE: (_our_clock, _plan),
    CutCause.DEMAND_RESPONSE: (_our_clock, _contract, _event, _calendar),
    CutCause.EMERGENCY: (_order,),
    CutCause.THEFT_BY_TWO_PEOPLE: (_order, _two_people),
    CutCause.SAFETY: (_measured,),
}
"""What each cause needs (prepayment.md 3). Precedence, the audit log (F6) and the stop switch are asked for besides."""

UNSTOPPED = frozenset({Claim.DANGER_TO_LIFE, Claim.SAFETY})
"""What the stop switch leaves alone (prepayment.md 6)."""


def missing_for_cut(
    cause: CutCause, account: Account | None, here: Circumstances, grounds: Grounds = NO_GROUNDS
) -> tuple[str, ...]:
    """What is missing for this cut, in words; empty means permission. Which parts count depends on the cause.

    account: None for a meter for which nobody pays.
    """
    if account is None and cause is CutCause.ENERGY_DEBT:
        return ("there is no account whose debt it could be",)
    claim = claim_of(cause, danger=grounds.danger)
    winner = ruled_by(claim, account, here.now_ms)
    missing = [] if winner is None else [SENTENCES[winner]]
    if not here.disk_ok:
        missing.append("what a cut leaves behind cannot be written (F6)")
    if here.stopped is not None and claim not in UNSTOPPED:
        missing.append(f"cuts are stopped: {here.stopped}")
    texts = (check(account, here, grounds) for check in NEEDS[cause])
    return (*missing, *(text for text in texts if text))


def ruled_by(claim: Claim, account: Account | None, now_ms: int) -> Claim | None:
    """What of this account keeps supply on against the claim (domain/precedence.py)."""
    if account is None:
        return None
    return forbids(claim, never_cut=account.never_cut, protected=account.protected(now_ms), blocks=account.protect.blocks)
