"""Credit, limits and supply: every state x event pair, and the rules that the tables stand for."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import credit, supply
from gateway.domain.credit import CreditEvent, CreditPolicy, CreditState
from gateway.domain.limits import (
    LimitAction,
    LimitPhase,
    LimitState,
    LoadLimit,
    on_cut_seen,
    on_power,
    on_time,
    released,
    withdrawn,
)
from gateway.domain.meters import Account, Contact
from gateway.domain.supply import (
    FINAL,
    Circumstances,
    CommandEvent,
    CommandState,
    CutCause,
    ImpossibleEvent,
    SwitchReading,
    Verb,
    missing_for_cut,
    missing_without_account,
    proof,
)

POLICY = CreditPolicy(low_micro=20, cut_micro=0, close_micro=10)


@pytest.mark.parametrize("state", CreditState)
@pytest.mark.parametrize("event", CreditEvent)
def test_the_credit_table_is_total_and_cut_needs_a_switch_seen_open(state: CreditState, event: CreditEvent) -> None:
    after = credit.next_state(state, event)
    if after is CreditState.CUT and state is not CreditState.CUT:
        assert (state, event) == (CreditState.EXHAUSTED, CreditEvent.CUT_SEEN)
    if event is CreditEvent.BALANCE_OK:
        assert after is CreditState.NORMAL


@pytest.mark.parametrize(
    ("balance", "inclusive", "event"),
    [
        (21, False, CreditEvent.BALANCE_OK),
        (20, False, CreditEvent.BALANCE_LOW),
        (11, False, CreditEvent.BALANCE_LOW),
        (10, False, CreditEvent.BALANCE_BETWEEN),
        (10, True, CreditEvent.BALANCE_LOW),
        (1, True, CreditEvent.BALANCE_BETWEEN),
        (0, False, CreditEvent.BALANCE_OUT),
        (-1, False, CreditEvent.BALANCE_OUT),
    ],
)
def test_what_a_balance_means(balance: int, inclusive: bool, event: CreditEvent) -> None:
    assert CreditPolicy(20, 0, 10, close_inclusive=inclusive).event(balance) is event


LIMIT = LoadLimit(power_w=2000, delay_ms=10_000, pause_ms=30_000, recloses=1)
GAP_MS = 20_000


def test_a_load_limit_cuts_recloses_and_locks() -> None:
    state, action = on_power(LIMIT, LimitState(), 2001, 0, GAP_MS)
    assert (state.phase, action) == (LimitPhase.OVER, LimitAction.NONE)
    state, action = on_power(LIMIT, state, 2001, 10_000, GAP_MS)
    assert action is LimitAction.NONE
    state, action = on_power(LIMIT, state, 2001, 10_001, GAP_MS)
    assert (state.phase, action) == (LimitPhase.TRIPPED, LimitAction.CUT)
    state = on_cut_seen(state, 15_000)
    assert on_time(LIMIT, state, 44_999)[1] is LimitAction.NONE
    state, action = on_time(LIMIT, state, 45_000)
    assert (state.phase, state.spent, action) == (LimitPhase.WITHIN, 1, LimitAction.RECLOSE)
    state, _ = on_power(LIMIT, state, 2500, 50_000, GAP_MS)
    state, action = on_power(LIMIT, state, 2500, 61_000, GAP_MS)
    assert (state.phase, action) == (LimitPhase.LOCKED, LimitAction.LOCK)
    assert on_time(LIMIT, state, 10**9)[1] is LimitAction.NONE
    assert released(10**9).spent == 0


@pytest.mark.parametrize("look_ms", [20_001, -20_001], ids=["a gap", "the clock was set back"])
def test_an_overload_that_was_not_watched_starts_anew(look_ms: int) -> None:
    seen, _ = on_power(LIMIT, LimitState(), 2001, 100_000, GAP_MS)
    state, action = on_power(LIMIT, seen, 2001, 100_000 + look_ms, GAP_MS)
    assert (state.phase, state.since_ms, action) == (LimitPhase.OVER, 100_000 + look_ms, LimitAction.NONE)
    assert on_power(LIMIT, state, 2001, state.since_ms + 10_001, GAP_MS)[1] is LimitAction.CUT
    assert on_power(LIMIT, seen, 2001, 120_000, GAP_MS)[1] is LimitAction.CUT  # the watched twin


@pytest.mark.parametrize("phase", [LimitPhase.TRIPPED, LimitPhase.LOCKED])
def test_a_trip_without_permission_goes_back_to_watching_and_spends_nothing(phase: LimitPhase) -> None:
    assert withdrawn(LimitState(phase, 5, 1), 9) == LimitState(LimitPhase.OVER, 9, 1, 9)
    assert withdrawn(LimitState(LimitPhase.WITHIN, 5, 1), 9) == LimitState(LimitPhase.WITHIN, 5, 1)


def test_the_count_of_recloses_is_forgotten_after_an_hour_within_the_limit() -> None:
    state, _ = on_power(LIMIT, LimitState(LimitPhase.WITHIN, 0, 1), 100, LIMIT.forget_ms, GAP_MS)
    assert state.spent == 0


@given(st.lists(st.tuples(st.integers(1, 20_000), st.integers(0, 4000)), max_size=60))
def test_the_limiter_never_cuts_below_its_limit_or_before_its_delay(steps: list[tuple[int, int]]) -> None:
    state, at, over_since = LimitState(), 0, None
    for gap, power in steps:
        at += gap
        over_since = None if power <= LIMIT.power_w else (at if over_since is None else over_since)
        state, action = on_power(LIMIT, state, power, at, GAP_MS)
        if action in (LimitAction.CUT, LimitAction.LOCK):
            assert over_since is not None and at - over_since > LIMIT.delay_ms
        if state.phase is LimitPhase.TRIPPED:
            state, over_since = on_time(LIMIT, state, at + LIMIT.pause_ms)[0], None
            at += LIMIT.pause_ms
        assert state.spent <= LIMIT.recloses


@pytest.mark.parametrize("state", CommandState)
@pytest.mark.parametrize("event", CommandEvent)
def test_every_pair_of_the_command_table(state: CommandState, event: CommandEvent) -> None:
    if (state, event) not in supply.TRANSITIONS:
        with pytest.raises(ImpossibleEvent):
            supply.next_state(state, event)
        return
    after = supply.next_state(state, event)
    assert state not in FINAL
    if after is CommandState.VERIFIED:
        assert event is CommandEvent.SEEN_AS_ORDERED and state in (CommandState.ACKNOWLEDGED, CommandState.UNCERTAIN)
    if after is CommandState.QUEUED:  # sent again only when nothing left us, or after the switch was read
        assert event in (CommandEvent.NOT_SENT, CommandEvent.TRY_AGAIN)


@pytest.mark.parametrize(
    ("verb", "contact", "kind", "power_w", "event", "evidence"),
    [
        (Verb.CUT, Contact.OPEN, "relay_bit", 0, CommandEvent.SEEN_AS_ORDERED, ("relay_bit", "load")),
        (Verb.CUT, Contact.OPEN, "relay_bit", None, CommandEvent.SEEN_AS_ORDERED, ("relay_bit",)),
        (Verb.CUT, Contact.OPEN, "relay_bit", 900, CommandEvent.SEEN_UNMOVED, ("current_while_open",)),
        (Verb.CUT, Contact.CLOSED, "relay_bit", 900, CommandEvent.SEEN_UNMOVED, ()),
        (Verb.CUT, Contact.ALLOWED, "relay_bit", 0, CommandEvent.SEEN_UNMOVED, ()),
        (Verb.CUT, Contact.OPEN, "command_only", 0, CommandEvent.PROVES_NOTHING, ("command_only",)),
        (Verb.CUT, Contact.CLOSED, "command_only", 0, CommandEvent.SEEN_UNMOVED, ()),
        (Verb.RESTORE, Contact.CLOSED, "feedback", 0, CommandEvent.SEEN_AS_ORDERED, ("feedback",)),
        (Verb.RESTORE, Contact.CLOSED, "feedback", 700, CommandEvent.SEEN_AS_ORDERED, ("feedback", "load")),
        (Verb.RESTORE, Contact.ALLOWED, "relay_bit", 0, CommandEvent.SEEN_UNMOVED, ()),
        (Verb.ALLOW_CLOSE, Contact.ALLOWED, "relay_bit", 0, CommandEvent.SEEN_ALLOWED, ("relay_bit",)),
        (Verb.ALLOW_CLOSE, Contact.CLOSED, "relay_bit", 0, CommandEvent.SEEN_AS_ORDERED, ("relay_bit",)),
        (Verb.ALLOW_CLOSE, Contact.OPEN, "relay_bit", 0, CommandEvent.SEEN_UNMOVED, ()),
    ],
)
def test_what_a_read_back_proves(
    verb: Verb, contact: Contact, kind: str, power_w: int | None, event: CommandEvent, evidence: tuple[str, ...]
) -> None:
    assert proof(verb, SwitchReading(contact, kind, 0, power_w)) == (event, evidence)


NOON = datetime(2026, 11, 24, 12, 0)  # a Tuesday
ACCOUNT = Account("a", "Li", "CNY", "flat", POLICY, agreement="A-1", credit=CreditState.EXHAUSTED, warned_ms=1)
WELL = Circumstances(now_ms=10**9, local=NOON, confirmed_ms=10**9 - 60_000, clock_trusted=True)


def changed(**parts: object) -> Account:
    return Account(**({k: getattr(ACCOUNT, k) for k in ACCOUNT.__slots__} | parts))  # type: ignore[arg-type]


def here(**parts: object) -> Circumstances:
    return Circumstances(**({k: getattr(WELL, k) for k in WELL.__slots__} | parts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("account", "circumstances", "word"),
    [
        (ACCOUNT, here(confirmed_ms=None), "F1"),
        (ACCOUNT, here(confirmed_ms=10**9 - 15 * 60_000 - 1), "F1"),
        (ACCOUNT, here(confirmed_ms=10**9 + 1), "F1"),
        (ACCOUNT, here(path_alive=False), "F2"),
        (ACCOUNT, here(clock_trusted=False), "F3"),
        (ACCOUNT, here(local=datetime(2026, 11, 24, 17, 0)), "F4"),
        (ACCOUNT, here(local=datetime(2026, 11, 24, 8, 59)), "F4"),
        (ACCOUNT, here(local=datetime(2026, 11, 27, 12, 0)), "F4"),
        (ACCOUNT, here(local=datetime(2026, 11, 29, 12, 0)), "F4"),
        (changed(never_cut=True), WELL, "never"),
        (changed(protect_until_ms=10**9 + 1), WELL, "protect"),
        (changed(credit=CreditState.LOW), WELL, "credit left"),
        (changed(agreement=None), WELL, "agreement"),
        (changed(warned_ms=None), WELL, "ladder"),
    ],
)
def test_a_cut_for_debt_needs_every_part(account: Account, circumstances: Circumstances, word: str) -> None:
    (missing,) = missing_for_cut(CutCause.ENERGY_DEBT, account, circumstances)
    assert word in missing
    assert missing_for_cut(CutCause.ENERGY_DEBT, ACCOUNT, WELL) == ()  # the healthy twin


def test_a_safety_trip_asks_for_neither_notice_nor_clock_but_for_protection() -> None:
    bare = changed(agreement=None, warned_ms=None)
    assert (
        missing_for_cut(CutCause.SAFETY, bare, here(confirmed_ms=None, local=datetime(2026, 11, 29, 3, 0), clock_trusted=False))
        == ()
    )
    assert missing_for_cut(CutCause.SAFETY, changed(never_cut=True), WELL)


@pytest.mark.parametrize("cause", CutCause)
def test_the_clock_counts_for_causes_that_depend_on_the_time(cause: CutCause) -> None:
    timed = cause in ("energy_debt", "contract_time_table", "demand_response")
    assert any("F3" in it for it in missing_for_cut(cause, ACCOUNT, here(clock_trusted=False))) is timed
    assert missing_for_cut(cause, ACCOUNT, WELL) == ()


@pytest.mark.parametrize("cause", CutCause)
def test_a_cut_without_an_account_needs_the_same_clock_and_cannot_be_for_debt(cause: CutCause) -> None:
    debt, timed = cause == "energy_debt", cause in ("contract_time_table", "demand_response")
    assert any("no account" in it for it in missing_without_account(cause, True)) is debt
    assert any("F3" in it for it in missing_without_account(cause, False)) is timed
    assert bool(missing_without_account(cause, True)) is debt
