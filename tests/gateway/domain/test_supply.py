"""Supply: every state x event pair of a command, what a read-back proves, and what each cause of a cut needs, in exact words."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.domain import supply
from gateway.domain.credit import LOG_STEP, CreditPolicy, CreditState, Standing
from gateway.domain.meters import Account, Authority, Contact, Protect
from gateway.domain.no_cut import NoCutCalendar
from gateway.domain.permissions import NO_GROUNDS, Grounds
from gateway.domain.precedence import Claim
from gateway.domain.supply import (
    FINAL,
    Circumstances,
    Command,
    CommandEvent,
    CommandState,
    CutCause,
    ImpossibleEvent,
    SwitchReading,
    Verb,
    about_password,
    aside,
    missing_for_cut,
    proof,
    ruled_by,
    spends_password,
)

S, E = CommandState, CommandEvent

TABLE = {
    S.QUARANTINED: "released:queued refused:refused expired:expired cancelled:cancelled superseded:superseded",
    S.QUEUED: "sent:sent refused:refused expired:expired cancelled:cancelled superseded:superseded",
    S.SENT: "acknowledged:acknowledged refused:refused no_answer:uncertain not_sent:queued given_up:failed restarted:uncertain"
    " superseded:superseded",
    S.ACKNOWLEDGED: "seen_done:done seen_as_ordered:verified seen_allowed:allowed proves_nothing:command_only"
    " seen_unmoved:acknowledged held_back:delayed given_up:failed restarted:uncertain superseded:superseded",
    S.DELAYED: "seen_as_ordered:verified seen_unmoved:delayed proves_nothing:command_only given_up:failed restarted:delayed"
    " superseded:superseded",
    S.UNCERTAIN: "seen_done:done seen_as_ordered:verified seen_allowed:allowed seen_unmoved:uncertain proves_nothing:command_only"
    " try_again:queued given_up:failed expired:expired restarted:uncertain superseded:superseded",
}
"""The life of a command, as contract.md 5 has it; whatever is not here cannot happen."""


@pytest.mark.parametrize("state", CommandState)
@pytest.mark.parametrize("event", CommandEvent)
def test_every_pair_of_the_command_table(state: CommandState, event: CommandEvent) -> None:
    after = dict(pair.split(":") for pair in TABLE.get(state, "").split()).get(event)
    if after is None:
        with pytest.raises(ImpossibleEvent, match=rf"^a command that is {state} cannot become {event}$"):
            supply.next_state(state, event)
        return
    assert supply.next_state(state, event) == after
    assert state not in FINAL


def test_final_are_the_states_without_a_way_out() -> None:
    assert {state for state in CommandState if state not in TABLE} == FINAL
    assert {state for state in CommandState if _command(state=state).final} == FINAL


OPEN, CLOSED, ALLOWED, UNKNOWN = Contact.OPEN, Contact.CLOSED, Contact.ALLOWED, Contact.UNKNOWN

PROOFS: list[tuple[Verb, Contact, str, int | None, CommandEvent, tuple[str, ...]]] = [
    (Verb.CUT, OPEN, "relay_bit", 0, E.SEEN_AS_ORDERED, ("relay_bit", "load")),
    (Verb.CUT, OPEN, "relay_bit", 5, E.SEEN_AS_ORDERED, ("relay_bit", "load")),
    (Verb.CUT, OPEN, "relay_bit", 6, E.SEEN_UNMOVED, ("current_while_open",)),
    (Verb.CUT, OPEN, "relay_bit", None, E.SEEN_AS_ORDERED, ("relay_bit",)),
    (Verb.CUT, OPEN, "feedback", None, E.SEEN_AS_ORDERED, ("feedback",)),
    (Verb.CUT, OPEN, "load", 0, E.SEEN_AS_ORDERED, ("load",)),
    (Verb.CUT, CLOSED, "relay_bit", 900, E.SEEN_UNMOVED, ()),
    (Verb.CUT, ALLOWED, "relay_bit", 0, E.SEEN_UNMOVED, ()),
    (Verb.CUT, UNKNOWN, "relay_bit", 0, E.SEEN_UNMOVED, ()),
    (Verb.CUT, OPEN, "command_only", 0, E.PROVES_NOTHING, ("command_only",)),
    (Verb.CUT, CLOSED, "command_only", 0, E.SEEN_UNMOVED, ()),
    (Verb.RESTORE, CLOSED, "command_only", 0, E.PROVES_NOTHING, ("command_only",)),
    (Verb.RESTORE, OPEN, "command_only", 0, E.SEEN_UNMOVED, ()),
    (Verb.ALLOW_CLOSE, CLOSED, "command_only", 0, E.PROVES_NOTHING, ("command_only",)),
    (Verb.RESTORE, CLOSED, "feedback", 0, E.SEEN_AS_ORDERED, ("feedback",)),
    (Verb.RESTORE, CLOSED, "feedback", 5, E.SEEN_AS_ORDERED, ("feedback",)),
    (Verb.RESTORE, CLOSED, "feedback", 6, E.SEEN_AS_ORDERED, ("feedback", "load")),
    (Verb.RESTORE, CLOSED, "load", 700, E.SEEN_AS_ORDERED, ("load",)),
    (Verb.RESTORE, CLOSED, "relay_bit", None, E.SEEN_AS_ORDERED, ("relay_bit",)),
    (Verb.RESTORE, ALLOWED, "relay_bit", 0, E.SEEN_UNMOVED, ()),
    (Verb.RESTORE, OPEN, "relay_bit", 0, E.SEEN_UNMOVED, ()),
    (Verb.ALLOW_CLOSE, ALLOWED, "relay_bit", 0, E.SEEN_ALLOWED, ("relay_bit",)),
    (Verb.ALLOW_CLOSE, CLOSED, "relay_bit", 0, E.SEEN_AS_ORDERED, ("relay_bit",)),
    (Verb.ALLOW_CLOSE, OPEN, "relay_bit", 0, E.SEEN_UNMOVED, ()),
]


@pytest.mark.parametrize(("verb", "contact", "kind", "power_w", "event", "evidence"), PROOFS)
def test_what_a_read_back_proves(
    verb: Verb, contact: Contact, kind: str, power_w: int | None, event: CommandEvent, evidence: tuple[str, ...]
) -> None:
    assert proof(verb, SwitchReading(contact, kind, 0, power_w)) == (event, evidence)


# what each cause needs

NOW = 10**12
POLICY = CreditPolicy(low_micro=20, cut_micro=0, close_micro=10)
ACCOUNT = Account("a", "Li", "CNY", "flat", POLICY, agreement="A-1", credit=CreditState.EXHAUSTED, warned_ms=1)
WELL = Circumstances(now_ms=NOW, local=datetime(2026, 11, 24, 12, 0), confirmed_ms=NOW - 60_000, clock_trusted=True)
"""A Tuesday at noon, and everything in order."""
ENOUGH = Grounds(
    "operator:Li", "operator:Wang", facts={"contract": "C", "event": "E", "order": "O", "plan": "P", "measured": "9 kW"}
)

NIGHT, FRIDAY, SUNDAY = datetime(2026, 11, 24, 17, 0), datetime(2026, 11, 27, 12, 0), datetime(2026, 11, 29, 12, 0)
HOURS = "these are no-cut hours (F4)"
F1, F2 = "no confirmed reading of the last 15 minutes (F1)", "no way to top up is alive (F2)"
F3, F6 = "the clock is not trusted (F3)", "what a cut leaves behind cannot be written (F6)"
CALENDAR = NoCutCalendar("own", "Asia/Shanghai", (), ("2026-11-24",), "2030-12-31")
CREDIT_LEFT = "there is credit left (a reminding cut is off)"
LADDER = "the notice ladder is not completed: "

SLOW = replace(POLICY, steps=(replace(LOG_STEP, before_ms=1000),))

LACKING: list[tuple[Account, Circumstances, str]] = [
    (ACCOUNT, replace(WELL, confirmed_ms=None), F1),
    (ACCOUNT, replace(WELL, confirmed_ms=NOW - 15 * 60_000 - 1), F1),
    (ACCOUNT, replace(WELL, confirmed_ms=NOW + 1), F1),
    (ACCOUNT, replace(WELL, path_alive=False), F2),
    (ACCOUNT, replace(WELL, clock_trusted=False), F3),
    (ACCOUNT, replace(WELL, disk_ok=False), F6),
    (ACCOUNT, replace(WELL, local=NIGHT), HOURS),
    (ACCOUNT, replace(WELL, local=NIGHT.replace(hour=8, minute=59)), HOURS),
    (ACCOUNT, replace(WELL, local=FRIDAY), HOURS),
    (ACCOUNT, replace(WELL, local=SUNDAY), HOURS),
    (ACCOUNT, replace(WELL, calendar=CALENDAR), "2026-11-24 is a no-cut day of calendar own (F4)"),
    (replace(ACCOUNT, policy=replace(POLICY, no_cut_hours=False)), replace(WELL, calendar=CALENDAR), "2026-11-24 is a no-cut day"),
    (ACCOUNT, replace(WELL, wrong_clock="m7"), "the clock of meter m7 is wrong and priced its energy (F3)"),
    (ACCOUNT, replace(WELL, stopped="flood (operator:Li)"), "cuts are stopped: flood (operator:Li)"),
    (ACCOUNT, replace(WELL, ladder=("notice x is on its way",)), LADDER + "notice x is on its way"),
    (ACCOUNT, replace(WELL, ladder=("a", "a", "b")), LADDER + "a; b"),
    (replace(ACCOUNT, warned_ms=None), WELL, LADDER + "notice low_balance has not been given"),
    (replace(ACCOUNT, policy=SLOW, warned_ms=NOW - 500), WELL, LADDER + "notice low_balance has not stood for 1 second"),
    (replace(ACCOUNT, authority=Authority.METER), WELL, "the meter holds this account's money and cuts by itself"),
    (ACCOUNT, replace(WELL, open_ends=("a top-up is under way", "a share is open")), "a top-up is under way; a share is open"),
    (replace(ACCOUNT, credit=CreditState.LOW), WELL, CREDIT_LEFT),
    (replace(ACCOUNT, credit=CreditState.NORMAL), WELL, CREDIT_LEFT),
    (replace(ACCOUNT, agreement=None), WELL, "there is no prepayment agreement"),
    (replace(ACCOUNT, never_cut=True), WELL, "the account is flagged never to be cut"),
    (replace(ACCOUNT, protect_until_ms=NOW + 1), WELL, "supply protect is on"),
]


@pytest.mark.parametrize(("account", "here", "said"), LACKING, ids=[f"{n}-{row[2][:30]}" for n, row in enumerate(LACKING)])
def test_a_cut_for_debt_needs_every_part(account: Account, here: Circumstances, said: str) -> None:
    (missing,) = missing_for_cut(CutCause.ENERGY_DEBT, account, here)
    assert missing == said or (said.endswith("day") and missing.startswith(said))


@pytest.mark.parametrize(
    "here",
    [
        WELL,
        replace(WELL, confirmed_ms=NOW),
        replace(WELL, confirmed_ms=NOW - 15 * 60_000),
        replace(WELL, local=NIGHT.replace(hour=16, minute=59)),
        replace(WELL, local=NIGHT.replace(hour=9)),
        replace(WELL, local=FRIDAY.replace(hour=11, minute=59)),
        replace(WELL, calendar=replace(CALENDAR, days=()), local=NIGHT),
    ],
)
@pytest.mark.parametrize("credit", [CreditState.EXHAUSTED, CreditState.CUT])
def test_the_healthy_twin_may_be_cut(here: Circumstances, credit: CreditState) -> None:
    assert missing_for_cut(CutCause.ENERGY_DEBT, replace(ACCOUNT, credit=credit), here) == ()


FRIENDLY = replace(POLICY, friendly="credit", calendar="own")
DAY = replace(WELL, calendar=CALENDAR, local=datetime(2026, 11, 24, 12, 0, tzinfo=ZoneInfo("Asia/Shanghai")))
HALF_A_DAY_MS = 12 * 3600 * 1000


@pytest.mark.parametrize(
    ("owes_ms", "helped"),
    [(None, True), (60_000, True), (HALF_A_DAY_MS, True), (HALF_A_DAY_MS + 60_000, False), (40 * HALF_A_DAY_MS, False)],
)
def test_friendly_hours_help_whom_they_found_with_credit_where_the_policy_says_so(owes_ms: int | None, helped: bool) -> None:
    """The whole 24th is protected; who was out of credit before its midnight is not."""
    standing = Standing(exhausted_ms=None if owes_ms is None else NOW - owes_ms)
    account = replace(ACCOUNT, policy=FRIENDLY, standing=standing)
    said = ("2026-11-24 is a no-cut day of calendar own (F4)",)
    assert missing_for_cut(CutCause.ENERGY_DEBT, account, DAY) == (said if helped else ())
    anybody = replace(account, policy=replace(FRIENDLY, friendly="any"))
    assert missing_for_cut(CutCause.ENERGY_DEBT, anybody, DAY) == said


def test_a_sign_to_a_meter_has_nothing_to_do_with_its_switch() -> None:
    assert aside(_command(verb=Verb.ALARM, attempts=2)) and aside(_command(verb=Verb.PROTECT, state=S.VERIFIED))


def test_without_the_built_in_hours_and_without_a_calendar_any_hour_will_do() -> None:
    awake = replace(ACCOUNT, policy=replace(POLICY, no_cut_hours=False))
    assert missing_for_cut(CutCause.ENERGY_DEBT, awake, replace(WELL, local=SUNDAY)) == ()


def test_whoever_signed_the_order_answers_for_the_ladder() -> None:
    unwarned = replace(ACCOUNT, warned_ms=None)
    assert missing_for_cut(CutCause.ENERGY_DEBT, unwarned, WELL, Grounds("uplink", facts={"notices": "N-1"})) == ()
    assert missing_for_cut(CutCause.ENERGY_DEBT, unwarned, WELL, Grounds("uplink", facts={"notices": ""}))


def test_everything_that_is_missing_is_said_in_one_order() -> None:
    bare = replace(ACCOUNT, never_cut=True, agreement=None, warned_ms=None, credit=CreditState.NORMAL)
    bad = Circumstances(NOW, SUNDAY, None, False, False, False, wrong_clock="m7", stopped="flood")
    found = missing_for_cut(CutCause.ENERGY_DEBT, bare, bad)
    assert found == (
        "the account is flagged never to be cut", F6, "cuts are stopped: flood", F3, CREDIT_LEFT, F1, F2,
        "there is no prepayment agreement", HOURS, "the clock of meter m7 is wrong and priced its energy (F3)",
    )  # fmt: skip


NEEDS: dict[CutCause, dict[str, str]] = {
    CutCause.DEMAND_RESPONSE: {
        "contract": "no contract that allows it is named",
        "event": "no event that calls for it is named",
        "clock": F3,
        "calendar": HOURS,
    },
    CutCause.CONTRACT_TIME_TABLE: {"clock": F3, "plan": "no signed plan is named"},
    CutCause.EMERGENCY: {"order": "no order is named"},
    CutCause.THEFT_BY_TWO_PEOPLE: {"order": "no order is named", "second": "it needs two people"},
    CutCause.SAFETY: {"measured": "no measured value is named"},
}
"""Besides protection, the audit log and the stop switch; energy_debt has its own table above."""

PARTS = ("contract", "event", "plan", "order", "measured", "second", "clock", "calendar", "reading", "path", "notices", "agreement")


def _without(part: str) -> tuple[Account, Circumstances, Grounds]:
    account, here, grounds = replace(ACCOUNT, agreement=None), WELL, ENOUGH
    match part:
        case "second":
            grounds = replace(ENOUGH, second=ENOUGH.by)
        case "clock":
            here = replace(WELL, clock_trusted=False)
        case "calendar":
            here = replace(WELL, local=SUNDAY)
        case "reading":
            here = replace(WELL, confirmed_ms=None)
        case "path":
            here = replace(WELL, path_alive=False)
        case "notices":
            here, account = replace(WELL, ladder=("none",)), replace(account, warned_ms=None)
        case "agreement":
            account = replace(account, agreement=None, credit=CreditState.NORMAL)
        case _:
            grounds = replace(ENOUGH, facts={key: text for key, text in ENOUGH.facts.items() if key != part})
    return account, here, grounds


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("cause", NEEDS)
def test_what_a_permission_needs_depends_on_its_cause(cause: CutCause, part: str) -> None:
    account, here, grounds = _without(part)
    said = NEEDS[cause].get(part)
    assert missing_for_cut(cause, account, here, grounds) == (() if said is None else (said,))


@pytest.mark.parametrize("cause", NEEDS)
def test_with_everything_named_each_cause_may_cut(cause: CutCause) -> None:
    assert missing_for_cut(cause, ACCOUNT, WELL, ENOUGH) == ()
    assert missing_for_cut(cause, None, WELL, ENOUGH) == ()
    assert missing_for_cut(cause, None, replace(WELL, local=SUNDAY), ENOUGH) == ()  # whose night would it be?


def test_the_plan_of_an_account_is_its_agreement_where_none_is_named() -> None:
    assert missing_for_cut(CutCause.CONTRACT_TIME_TABLE, ACCOUNT, WELL) == ()
    assert missing_for_cut(CutCause.CONTRACT_TIME_TABLE, None, WELL) == ("no signed plan is named",)


def test_a_meter_without_an_account_has_no_debt() -> None:
    bad = replace(WELL, clock_trusted=False, disk_ok=False)
    assert missing_for_cut(CutCause.ENERGY_DEBT, None, bad, ENOUGH) == ("there is no account whose debt it could be",)


@pytest.mark.parametrize("cause", CutCause)
def test_F6_holds_every_cause(cause: CutCause) -> None:
    assert missing_for_cut(cause, ACCOUNT, replace(WELL, disk_ok=False), ENOUGH) == (F6,)


@pytest.mark.parametrize("cause", CutCause)
@pytest.mark.parametrize("danger", [False, True])
def test_the_stop_switch_leaves_safety_and_danger_to_life_alone(cause: CutCause, danger: bool) -> None:
    found = missing_for_cut(cause, ACCOUNT, replace(WELL, stopped="flood"), replace(ENOUGH, danger=danger))
    assert found == (() if danger or cause is CutCause.SAFETY else ("cuts are stopped: flood",))


@pytest.mark.parametrize("cause", CutCause)
@pytest.mark.parametrize(
    ("blocks", "spared"), [("all", frozenset(CutCause)), ("commercial", frozenset(CutCause) - {"safety", "emergency"})]
)
def test_protection_blocks_all_cuts_or_the_commercial_ones(cause: CutCause, blocks: str, spared: frozenset[CutCause]) -> None:
    account = replace(ACCOUNT, protect_until_ms=NOW + 1, protect=Protect("Li", "oxygen", blocks))
    assert missing_for_cut(cause, account, WELL, ENOUGH) == (("supply protect is on",) if cause in spared else ())
    assert missing_for_cut(cause, account, replace(WELL, now_ms=NOW + 1), ENOUGH) == (), "it has ended"
    assert missing_for_cut(cause, account, WELL, replace(ENOUGH, danger=True)) == (), "danger to life stands above it"


def test_what_rules_is_the_strongest() -> None:
    both = replace(ACCOUNT, never_cut=True, protect_until_ms=NOW + 1)
    assert ruled_by(Claim.COMMERCIAL, both, NOW) is Claim.NEVER_CUT
    assert ruled_by(Claim.SAFETY, replace(both, never_cut=False), NOW) is Claim.PROTECT
    assert ruled_by(Claim.DANGER_TO_LIFE, both, NOW) is None
    assert ruled_by(Claim.COMMERCIAL, None, NOW) is None


def test_grounds_are_by_two_only_with_two_different_names() -> None:
    assert not NO_GROUNDS.by_two and not Grounds("a", "a").by_two and not Grounds("", "b").by_two
    assert Grounds("a", "b").by_two


# a command


def _command(**changes: object) -> Command:
    made = Command("c", "m", "l", None, Verb.CUT, "emergency", "operator", S.QUEUED, 0, 10, 5)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_command_in_the_quarantine_has_never_touched_the_switch() -> None:
    assert aside(_command(state=S.QUARANTINED, reason="quarantined: the budget is spent"))
    assert aside(_command(state=S.REFUSED, reason="quarantined: refused by operator:Li"))
    assert not aside(_command(reason="released by operator:Wang"))
    assert not aside(_command(reason=None))
    assert not aside(_command(attempts=1, reason="quarantined: x"))


DAY_MS = 24 * 3600 * 1000


@pytest.mark.parametrize(
    ("state", "reason", "age_ms", "about", "spends"),
    [
        (S.REFUSED, "the password is wrong", DAY_MS - 1, True, True),
        (S.REFUSED, "the password is wrong", DAY_MS, True, False),
        (S.REFUSED, "not sent: the meter refused the password twice", 0, True, False),
        (S.REFUSED, "unauthorised", 0, False, False),
        (S.REFUSED, None, 0, False, False),
        (S.FAILED, "the password is wrong", 0, False, False),
    ],
)
def test_what_spends_a_password(state: CommandState, reason: str | None, age_ms: int, about: bool, spends: bool) -> None:
    command = _command(state=state, reason=reason, changed_ms=7)
    assert (about_password(command), spends_password(command, 7 + age_ms)) == (about, spends)


def test_the_named_bounds_are_those_of_the_documents() -> None:
    """prepayment.md 3, 9, 10 and contract.md 5."""
    assert (supply.FRESH_MS, supply.REFUSED_PASSWORDS, supply.LONGEST_DELAY_MS) == (900_000, 2, DAY_MS)
    assert (supply.MAX_ATTEMPTS, supply.MAX_READBACKS, supply.READS_BEFORE_REPEAT) == (3, 5, 2)
    assert (supply.MAX_READBACKS_WITH_CURRENT * supply.READBACK_PAUSE_MS, supply.STARTING_POWER_W) == (60_000, 5)
    assert (supply.SILENT_PAUSE_MS, supply.DELAYED_PAUSE_MS, supply.REFUSED_WITHIN_MS) == (10_000, 60_000, DAY_MS)
