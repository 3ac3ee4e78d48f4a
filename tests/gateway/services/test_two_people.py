"""Acts that need two people, the quarantine, the stop switch, and conflicting orders (prepayment.md 4 and 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from gateway.domain.approvals import Decision
from gateway.domain.budgets import Budgets, Window
from gateway.domain.events import Json
from gateway.domain.findings import FindingKind
from gateway.domain.limits import LoadLimit
from gateway.domain.meters import Contact
from gateway.domain.requests import Protection
from gateway.domain.supply import Command, Verb
from gateway.services import approve, stop_switch
from gateway.services.protect_account import ask_protection
from gateway.services.two_people import ACTS, BATCH_MOST, BatchOrder, ask_batch
from gateway.services.watch_cuts import watch_cuts
from tests.gateway.services.house import House, account, meter

CLOSED, OPEN = Contact.CLOSED, Contact.OPEN
LI, WANG = "operator:li", "operator:wang"
MINUTE_MS = 60_000
ONE_AN_HOUR = Budgets(ordered=(Window(60 * MINUTE_MS, 1),))


def yes(house: House, ident: str, who: str = WANG) -> Decision:
    return house.do(lambda tx: approve.approve(tx, ident, who, house.site, house.now_ms, ACTS))


def no(house: House, ident: str, who: str = WANG) -> Decision:
    return house.do(lambda tx: approve.refuse(tx, ident, who, "the wrong house", house.now_ms, ACTS))


def ask(house: House, act: str, subject: str, body: Mapping[str, Json], ident: str = "act-1", who: str = LI) -> Decision:
    return house.do(lambda tx: approve.ask(tx, ident, act, subject, body, who, house.site, house.now_ms))


def acts(house: House) -> list[str]:
    """What the audit log says: who did what."""
    return [f"{row.who} {row.act}" for row in house.do(lambda tx: tx.audit_rows(0, 100))]


@pytest.fixture
def lit(house: House) -> House:
    """Two houses with credit and light; one outside cut an hour."""
    house.settle(meter("m1"), meter("m2", account="A-2"), accounts=[account(), account("A-2")], balance="100")
    for ident in ("m1", "m2"):
        house.block(ident, "0.00")
    house.site = replace(house.site, budgets=ONE_AN_HOUR)
    house.kinds()
    return house


# asking and deciding


def test_whoever_asks_cannot_approve_and_another_one_can_once(lit: House) -> None:
    assert ask(lit, "credit", "A-1", {"micro": 5_000_000, "currency": "CNY"}).refused is None
    assert yes(lit, "act-1", LI).refused == f"{LI} asked for it: another person must approve it"
    assert lit.balance() == "100.000000"
    done = yes(lit, "act-1")
    assert done.refused is None and done.approval is not None
    assert (done.approval.state, done.approval.decided_by, lit.balance()) == ("approved", WANG, "105.000000")
    assert yes(lit, "act-1").refused == "it is decided already: approved" == yes(lit, "act-1", "operator:zhao").refused
    assert lit.balance() == "105.000000"
    assert acts(lit) == [f"{LI} ask_approval", f"{WANG} approved"]
    assert [kind for kind in lit.kinds() if kind.startswith("approval")] == ["approval_asked", "approval_decided"]


def test_what_was_refused_or_is_not_there_is_not_done(lit: House) -> None:
    ask(lit, "credit", "A-1", {"micro": 5_000_000, "currency": "CNY"})
    assert no(lit, "act-1").refused is None
    assert yes(lit, "act-1").refused == "it is decided already: refused"
    assert yes(lit, "act-9").refused == "nothing waits under act-9" == no(lit, "act-9").refused
    assert lit.balance() == "100.000000"


def test_the_same_id_asks_once_and_another_content_is_told(lit: House) -> None:
    first = ask(lit, "credit", "A-1", {"micro": 5_000_000, "currency": "CNY"})
    assert ask(lit, "credit", "A-1", {"micro": 5_000_000, "currency": "CNY"}) == first
    assert (
        ask(lit, "credit", "A-1", {"micro": 6_000_000, "currency": "CNY"}).refused == "approval act-1 is known with another content"
    )


def test_what_nobody_decides_in_a_day_expires(lit: House) -> None:
    ask(lit, "credit", "A-1", {"micro": 5_000_000, "currency": "CNY"})
    lit.later(hours=24)
    assert yes(lit, "act-1").refused == "it waited too long and is expired"
    lit.do(lambda tx: watch_cuts(tx, lit.site, lit.now_ms))
    approval = lit.do(lambda tx: tx.approval("act-1"))
    assert approval is not None and approval.state == "expired"


@pytest.mark.parametrize(("minutes", "done"), [(14.99, False), (15, True)])
def test_on_a_one_person_site_the_same_person_confirms_after_a_quarter_of_an_hour(lit: House, minutes: float, done: bool) -> None:
    lit.site = replace(lit.site, one_person=True)
    ask(lit, "credit", "A-1", {"micro": 5_000_000, "currency": "CNY"})
    lit.later(minutes=minutes)
    assert (yes(lit, "act-1", LI).refused is None) is done
    assert lit.balance() == ("105.000000" if done else "100.000000")


def test_an_act_that_cannot_be_done_is_refused_with_its_reason(lit: House) -> None:
    ask(lit, "credit", "A-9", {"micro": 5_000_000, "currency": "CNY"})
    refused = yes(lit, "act-1")
    assert refused.refused and refused.approval is not None
    assert refused.approval.reason == f"it could not be done: {refused.refused}"


# protection and never-cut


def protection(house: House, until_ms: int | None, blocks: str = "all") -> Decision:
    wanted = Protection("A-1", until_ms, "Li Wei", "oxygen", LI, blocks)
    return house.do(lambda tx: ask_protection(tx, "p-1", wanted, house.site, house.now_ms))


@pytest.mark.parametrize("weaker", ["end", "sooner", "blocks"])
def test_protection_begins_at_once_and_is_taken_off_by_two(lit: House, weaker: str) -> None:
    until_ms = lit.now_ms + 600 * MINUTE_MS
    assert protection(lit, until_ms) == Decision(None)
    assert protection(lit, until_ms + 1) == Decision(None), "longer is no weaker"
    asked = protection(
        lit,
        {"end": None, "sooner": until_ms, "blocks": until_ms + 2}[weaker],
        "commercial" if weaker == "blocks" else "all",
    )
    assert asked.refused is None and asked.approval is not None and asked.approval.act == "unprotect"
    assert lit.account().protect_until_ms == until_ms + 1, "nothing has happened yet"
    assert yes(lit, "p-1", LI).refused is not None
    assert yes(lit, "p-1").refused is None
    held = lit.account()
    assert (held.protect_until_ms, held.protect.blocks) == {
        "end": (None, "all"), "sooner": (until_ms, "all"), "blocks": (until_ms + 2, "commercial")
    }[weaker]  # fmt: skip


def test_protection_needs_an_owner_and_a_known_extent(lit: House) -> None:
    until_ms = lit.now_ms + MINUTE_MS
    nobody = Protection("A-1", until_ms, "  ", "oxygen", LI)
    assert lit.do(lambda tx: ask_protection(tx, "p-1", nobody, lit.site, lit.now_ms)).refused == (
        "protection needs an owner, who answers for it"
    )
    assert protection(lit, until_ms, "some").refused == "protection blocks one of all, commercial"


def test_the_never_cut_flag_is_lifted_by_two_where_it_is_not_filed(lit: House) -> None:
    lit.change(never_cut=True)
    ask(lit, "lift_never_cut", "A-1", {}, "n-1")
    assert yes(lit, "n-1").refused == "the flag stands in the configuration file: take it out there"
    lit.change(filed=False)
    ask(lit, "lift_never_cut", "A-1", {}, "n-2")
    assert lit.account().never_cut
    assert yes(lit, "n-2").refused is None
    assert not lit.account().never_cut


# quarantine


def test_over_its_budget_an_order_waits_for_another_person(lit: House) -> None:
    assert lit.order(Verb.CUT, id="O-1", who=LI).command.state == "queued"  # type: ignore[union-attr]
    lit.carry_out(OPEN)
    waits = lit.order(Verb.CUT, id="O-2", ident="m2", who=LI)
    assert waits.refused is None and waits.command is not None
    assert (waits.command.state, waits.command.final) == ("quarantined", False)
    assert waits.command.reason == f"quarantined: {LI}'s budget for cuts is spent"
    assert (lit.start("O-2"), lit.relay("m2")) == (None, "closed, seen closed")
    assert lit.do(lambda tx: tx.finding(FindingKind.QUARANTINED, LI)) is not None
    assert yes(lit, "O-2", LI).refused is not None
    assert yes(lit, "O-2").refused is None
    assert lit.command("O-2").reason == f"released by {WANG}"
    assert lit.do(lambda tx: tx.finding(FindingKind.QUARANTINED, LI)) is None
    assert lit.carry_out(OPEN).state == "verified"
    number = lit.command("O-2").permission
    permission = lit.do(lambda tx: tx.permission(number or 0))
    assert permission is not None and (permission.evidence["by"], permission.evidence["second"]) == (LI, WANG)
    assert lit.verified() is None


def test_another_key_has_its_own_budget(lit: House) -> None:
    lit.order(Verb.CUT, id="O-1", who=LI)
    assert lit.order(Verb.CUT, id="O-2", ident="m2", who="uplink:centre").command.state == "queued"  # type: ignore[union-attr]


def quarantined(house: House) -> None:
    house.order(Verb.CUT, id="O-1", who=LI)
    house.carry_out(OPEN)
    house.order(Verb.CUT, id="O-2", ident="m2", who=LI)


def test_its_expiry_runs_on(lit: House) -> None:
    quarantined(lit)
    lit.later(minutes=10)
    assert yes(lit, "O-2").refused == "it waited too long and is expired"
    lit.do(lambda tx: watch_cuts(tx, lit.site, lit.now_ms))
    ended = lit.command("O-2")
    assert (ended.state, ended.reason) == ("expired", "quarantined: nobody released it before its expiry")
    assert lit.relay("m2") == "closed, seen closed"


def test_refused_it_moves_nothing_and_an_order_of_the_other_way_takes_it_away(lit: House) -> None:
    quarantined(lit)
    assert no(lit, "O-2").refused is None
    assert lit.command("O-2").reason == f"quarantined: refused by {WANG}: the wrong house"
    lit.order(Verb.CUT, id="O-3", ident="m2", who=LI)
    lit.order(Verb.RESTORE, id="O-4", ident="m2", who=LI)
    assert lit.command("O-3").state == "superseded"
    assert yes(lit, "O-3").refused == "the command is not in the quarantine any more"


def test_everything_is_judged_anew_when_it_is_released(lit: House) -> None:
    quarantined(lit)
    lit.change("A-2", never_cut=True)
    assert yes(lit, "O-2").refused == "the account is flagged never to be cut"
    assert lit.command("O-2").state == "refused"


def test_a_quarantined_cut_disturbs_neither_the_rules_nor_a_restart(lit: House) -> None:
    quarantined(lit)
    lit.later(minutes=1).block("m2", "10.00")
    assert lit.restart() == 0
    assert lit.command("O-2").state == "quarantined"
    lit.order(Verb.RESTORE, id="O-5", ident="m1", who=LI)
    assert lit.command("O-2").state == "quarantined", "another meter's"
    assert lit.relay("m2") == "closed, seen closed"


def test_a_cut_for_theft_always_waits_for_its_second_person(house: House) -> None:
    house.settle(balance="100").block(total="0.00")
    waits = house.order(Verb.CUT, "theft_by_two_people", who=LI, second="")
    assert waits.command is not None and waits.command.reason == "quarantined: it needs a second person"
    assert yes(house, "O-1").refused is None
    assert house.carry_out(OPEN).cause == "theft_by_two_people"


# batches and plans


def batch(house: House, count: int) -> dict[str, str] | Decision:
    order = BatchOrder("b-1", tuple(f"m{n}" for n in range(count)), "emergency", {}, "flood", 600_000)
    return house.do(lambda tx: ask_batch(tx, order, LI, house.site, house.now_ms))


@pytest.mark.parametrize(("count", "waits"), [(BATCH_MOST, False), (BATCH_MOST + 1, True)])
def test_a_batch_over_ten_waits_for_a_second_person(house: House, count: int, waits: bool) -> None:
    house.settle(*(meter(f"m{n}", address=str(n)) for n in range(count)), balance="100")
    done = batch(house, count)
    assert isinstance(done, Decision) is waits
    assert len(house.open()) == (0 if waits else count)
    if waits:
        assert yes(house, "b-1").refused is None
        assert {command.id for command in house.open()} == {f"b-1-{n}" for n in range(1, count + 1)}


def test_a_plan_that_two_people_signed_may_switch_its_meters_and_no_others(lit: House) -> None:
    ask(lit, "plan", "gateway", {"meters": ["m1", "m2"], "text": "nights"}, "plan-1")

    def switched(ident: str, meter_id: str) -> Command:
        command = lit.order(Verb.CUT, "contract_time_table", id=ident, ident=meter_id, who=LI, facts={"plan": "plan-1"}).command
        assert command is not None
        return command

    assert switched("O-1", "m1").state == "queued"
    assert switched("O-2", "m2").state == "quarantined", "unsigned it comes out of the operator's own budget"
    yes(lit, "plan-1")
    signed = switched("O-3", "m2")
    assert signed.state == "queued"
    permission = lit.do(lambda tx: tx.permission(signed.permission or 0))
    assert permission is not None and (permission.evidence["budget"], permission.evidence["key"]) == ("plan", "plan-1")


# the stop switch


def stop(house: House) -> None:
    house.do(lambda tx: stop_switch.stop_cuts(tx, LI, "a wrong tariff", house.now_ms))


def test_the_stop_switch_holds_what_is_queued_and_what_would_come(house: House) -> None:
    house.settle(balance="1").exhaust()
    stop(house)
    assert house.start() is None
    assert house.orders() == ["cut cancelled"]
    house.later(minutes=1).block(total="10.00")
    said = "cuts are stopped: a wrong tariff (operator:li)"
    assert [event.data["missing"] for event in house.events() if event.kind == "cut_held"][-1] == [said]
    assert house.order(Verb.CUT, id="O-1").refused == f"no permission to cut: {said}"
    assert house.do(lambda tx: stop_switch.resume_cuts(tx, WANG, "it is right again", house.now_ms)) is None
    assert house.do(lambda tx: stop_switch.resume_cuts(tx, WANG, "again", house.now_ms)) == "cuts are not stopped"
    house.later(minutes=1).block(total="10.00")
    assert house.carry_out(OPEN).state == "verified"
    assert [act for act in acts(house) if "cuts" in act] == [f"{LI} stop_cuts", f"{WANG} resume_cuts"]


def test_the_stop_switch_outlives_a_restart_and_lets_restores_and_overloads_go_on(house: House) -> None:
    house.settle(accounts=[account(limit=LoadLimit(2000, 10_000, 30_000, 1))], balance="1").exhaust()
    house.carry_out(OPEN)
    stop(house)
    house.restart()
    house.topup("20.00")
    assert house.carry_out(CLOSED).state == "verified"
    for _ in range(4):
        house.later(s=5).read(power="2.500", contact=CLOSED)
    assert house.carry_out(OPEN).cause == "safety"


# who wins


def test_danger_to_life_stands_above_never_cut_and_protection(house: House) -> None:
    house.settle(accounts=[account(never_cut=True)], balance="100").block(total="0.00")
    protection(house, house.now_ms + 60 * MINUTE_MS)
    house.kinds()
    plain = house.order(Verb.CUT, id="O-1", who=LI)
    assert plain.refused == "no permission to cut: the account is flagged never to be cut"
    [overruled] = [event for event in house.events() if event.kind == "order_overruled"]
    assert (overruled.data["order"], overruled.data["winner"]) == ("O-1", "never_cut")
    waits = house.order(Verb.CUT, id="O-2", who=LI, danger=True)
    assert waits.command is not None and waits.command.state == "quarantined"
    assert yes(house, "O-2").refused is None
    assert house.carry_out(OPEN).state == "verified"
    assert house.relay() == "open (danger:emergency), seen open"


def test_on_a_one_person_site_danger_to_life_is_cut_at_once(house: House) -> None:
    house.settle(accounts=[account(never_cut=True)], balance="100").block(total="0.00")
    house.site = replace(house.site, one_person=True, budgets=Budgets(ordered=(Window(60 * MINUTE_MS, 0),)))
    assert house.order(Verb.CUT, who=LI, danger=True).command.state == "queued"  # type: ignore[union-attr]
    assert house.carry_out(OPEN).state == "verified"


def test_only_an_order_of_the_same_rank_lifts_danger_to_life(house: House) -> None:
    house.settle(balance="100").block(total="0.00")
    house.order(Verb.CUT, who=LI, danger=True, second=WANG)
    house.carry_out(OPEN)
    assert house.order(Verb.RESTORE, id="O-2", who=LI).refused == "an order for danger to life stands above everything"
    house.topup("20.00")
    protection(house, house.now_ms + 60 * MINUTE_MS)
    assert house.relay() == "open (danger:emergency), seen open"
    assert house.order(Verb.RESTORE, id="O-3", who=LI, danger=True, second=WANG).command is not None
    assert house.carry_out(CLOSED).state == "verified"


def test_only_an_emergency_can_be_a_danger_to_life(house: House) -> None:
    house.settle(balance="100")
    refused = house.order(Verb.CUT, "theft_by_two_people", danger=True, second=WANG).refused
    assert refused == "only an emergency can be a danger to life, not theft_by_two_people"


CUTS = ["emergency", "contract_time_table", "demand_response", "theft_by_two_people"]


@pytest.mark.parametrize("cause", CUTS)
@pytest.mark.parametrize("blocks", ["all", "commercial"])
def test_starting_protection_lifts_commercial_cuts_and_tells_the_loser(house: House, cause: str, blocks: str) -> None:
    house.settle(balance="100").block(total="0.00")
    house.order(Verb.CUT, cause, who=LI)
    house.carry_out(OPEN)
    house.kinds()
    protection(house, house.now_ms + 60 * MINUTE_MS, blocks)
    lifted = cause != "emergency"
    assert (house.meter().cut_reasons == ()) is lifted
    told = [event.data["order"] for event in house.events() if event.kind == "order_overruled"]
    assert told == ([cause] if lifted else [])


@pytest.mark.parametrize(("blocks", "cuts"), [("all", False), ("commercial", True)])
def test_protection_against_commercial_cuts_lets_overloads_trip(house: House, blocks: str, cuts: bool) -> None:
    house.settle(accounts=[account(limit=LoadLimit(2000, 10_000, 30_000, 1))], balance="100").block(total="0.00")
    protection(house, house.now_ms + 60 * MINUTE_MS, blocks)
    for _ in range(4):
        house.later(s=5).read(power="2.500", contact=CLOSED)
    assert bool(house.open()) is cuts
    assert (house.order(Verb.CUT, id="O-9", who=LI).refused is None) is cuts


def test_the_body_of_an_approval_is_what_is_done(lit: House) -> None:
    quarantined(lit)
    approval = lit.do(lambda tx: tx.approval("O-2"))
    assert approval is not None
    body = json.loads(approval.body)
    assert (body["meter"], body["cause"], body["origin"], body["danger"]) == ("m2", "emergency", "operator", False)
