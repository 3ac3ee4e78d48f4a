"""A person or the centre orders a switch (contract.md 5, prepayment.md "What we decided" 3 and 4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.limits import LimitPhase, LimitState, LoadLimit
from gateway.domain.meters import Contact, SwitchKind
from gateway.domain.supply import CutCause, Verb
from tests.gateway.services.house import NAK, POLICY, SILENT, House, account, meter

CLOSED, OPEN, ALLOWED = Contact.CLOSED, Contact.OPEN, Contact.ALLOWED
OUTSIDE = sorted(set(CutCause) - {CutCause.SAFETY})


@pytest.fixture
def lit(house: House) -> House:
    """A house with credit and light."""
    house.settle(balance="100").block(total="0.00")
    return house


@pytest.mark.parametrize("cause", [c for c in OUTSIDE if c != "energy_debt"])
def test_an_order_is_recorded_sent_and_verified(lit: House, cause: str) -> None:
    answer = lit.order(Verb.CUT, cause)
    assert answer.refused is None and answer.command is not None
    it = answer.command
    assert (it.id, it.verb, it.cause, it.origin, it.state) == ("O-1", "cut", cause, "operator", "queued")
    assert it.expires_ms == lit.now_ms + 600_000
    assert lit.carry_out(OPEN).state == "verified"
    assert (lit.relay(), lit.account().credit) == (f"open (operator:{cause}), seen open", "normal")
    answer = lit.order(Verb.RESTORE, "operator", id="O-2")
    assert answer.command is not None and (answer.command.verb, answer.command.origin) == ("restore", "operator")
    assert lit.carry_out(CLOSED).state == "verified"
    assert lit.relay() == "closed, seen closed"


REFUSED: list[tuple[str, dict[str, object], Verb, str, str]] = [
    ("no such meter", {"ident": "m9"}, Verb.CUT, "emergency", "meter m9 is not in the archive"),
    ("no switch", {"ident": "bare"}, Verb.CUT, "emergency", "meter bare has no switch"),
    ("no cause", {}, Verb.CUT, "", "a cut names its cause"),
    ("another cause", {}, Verb.CUT, "rent", "a cut names its cause"),
    ("not for persons", {}, Verb.CUT, "safety", "a cut names its cause"),
    ("expired", {"lives_s": 0}, Verb.CUT, "emergency", "the order is expired"),
    ("expired restore", {"lives_s": -5}, Verb.RESTORE, "operator", "the order is expired"),
    ("bad id", {"id": "a b"}, Verb.CUT, "emergency", "a command id is"),
    ("long id", {"id": "x" * 65}, Verb.CUT, "emergency", "a command id is"),
    ("credit is left", {}, Verb.CUT, "energy_debt", "there is credit left"),
]


@pytest.mark.parametrize(("name", "changes", "verb", "cause", "why"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_is_refused_moves_nothing(
    house: House, name: str, changes: dict[str, object], verb: Verb, cause: str, why: str
) -> None:
    house.settle(meter(), meter("bare", switch=SwitchKind.NONE), balance="100").block(total="0.00")
    answer = house.order(verb, cause, **changes)  # type: ignore[arg-type]
    assert answer.command is None and why in (answer.refused or "")
    assert (house.orders(), house.relay()) == ([], "closed, seen closed")
    assert house.order(Verb.CUT, "emergency", id="twin").command is not None


@pytest.mark.parametrize("cause", OUTSIDE)
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"never_cut": True}, "never to be cut"),
        ({"protect_until_ms": 10**15}, "supply protect is on"),
    ],
)
def test_no_cause_passes_by_protection(lit: House, cause: str, changes: dict[str, object], why: str) -> None:
    lit.change(**changes)
    answer = lit.order(Verb.CUT, cause)
    assert answer.command is None and why in (answer.refused or "")


@pytest.mark.parametrize("payer", ["A-1", None])
@pytest.mark.parametrize(
    ("cause", "trusted", "why"),
    [
        ("contract_time_table", False, "F3"),
        ("demand_response", False, "F3"),
        ("emergency", False, None),
        ("theft_by_two_people", False, None),
        ("contract_time_table", True, None),
        ("demand_response", True, None),
    ],
)
def test_an_untrusted_clock_holds_what_depends_on_the_time(
    house: House, payer: str | None, cause: str, trusted: bool, why: str | None
) -> None:
    house.settle(meter(account=payer), balance="100").block(total="0.00")
    house.site = replace(house.site, clock_trusted=trusted)
    answer = house.order(Verb.CUT, cause)
    assert (why is None) is (answer.refused is None) and (why or "") in (answer.refused or "")
    assert (house.start() is not None) if why is None else (house.orders() == [])


def test_a_clock_lost_before_the_frame_leaves_cancels_a_timed_cut_without_account(house: House) -> None:
    house.settle(meter(account=None), accounts=[]).block(total="0.00")
    house.order(Verb.CUT, "demand_response")
    house.site = replace(house.site, clock_trusted=False)
    assert house.start() is None
    assert (house.orders(), house.relay()) == (["cut cancelled"], "closed, seen closed")


def test_nobody_owes_where_there_is_no_account(house: House) -> None:
    house.settle(meter(account=None), accounts=[]).block(total="0.00")
    answer = house.order(Verb.CUT, "energy_debt")
    assert answer.refused == "no permission to cut: there is no account whose debt it could be"
    assert (house.orders(), house.relay()) == ([], "closed, seen closed")


def test_a_restore_needs_no_clock(lit: House) -> None:
    lit.order(Verb.CUT)
    lit.carry_out(OPEN)
    lit.site = replace(lit.site, clock_trusted=False, path_alive=False)
    assert lit.order(Verb.RESTORE, id="O-2").command is not None
    assert lit.carry_out(CLOSED).state == "verified"


def test_the_same_id_is_the_same_command(lit: House) -> None:
    first = lit.order(Verb.CUT).command
    assert first is not None
    assert lit.order(Verb.CUT).command == first
    lit.carry_out(OPEN)
    again = lit.order(Verb.CUT, lives_s=-1)  # even when the order would be expired by now
    assert again.command is not None and (again.command.state, again.refused) == ("verified", None)
    other = lit.order(Verb.RESTORE)
    assert other.refused == "command O-1 is known with another content"
    assert lit.orders() == ["cut verified"]


def test_an_order_under_way_is_not_doubled(lit: House) -> None:
    first = lit.order(Verb.CUT).command
    assert lit.order(Verb.CUT, "theft_by_two_people", id="O-2").command == first
    assert lit.orders() == ["cut queued"]
    assert lit.relay() == "open (operator:emergency, operator:theft_by_two_people), seen closed"


def test_the_last_order_wins(lit: House) -> None:
    lit.order(Verb.CUT)
    lit.order(Verb.RESTORE, id="O-2")
    assert lit.orders() == ["cut superseded", "restore queued"]
    lit.order(Verb.CUT, id="O-3")
    assert lit.orders() == ["cut superseded", "restore superseded", "cut queued"]


def test_a_lack_of_credit_is_not_lifted_by_a_restore(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(OPEN)
    answer = house.order(Verb.RESTORE)
    assert answer.command is None and "top it up" in (answer.refused or "")
    assert house.relay() == "open (credit:energy_debt), seen open"
    house.topup("10.00")
    assert house.carry_out(CLOSED).state == "verified"


def test_money_does_not_lift_what_a_person_cut_for_another_cause(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(OPEN)
    house.order(Verb.CUT, "theft_by_two_people")
    house.carry_out(OPEN)
    assert '"next":"none"' in (house.topup("10.00").payment.receipt or "")
    assert (house.relay(), house.open()) == ("open (operator:theft_by_two_people), seen open", [])
    house.order(Verb.RESTORE, id="O-2")
    house.carry_out(CLOSED)
    assert house.relay() == "closed, seen closed"


def test_money_lifts_a_cut_for_debt_whoever_ordered_it(house: House) -> None:
    house.site = replace(house.site, path_alive=False)
    house.settle(balance="1").exhaust()
    house.site = replace(house.site, path_alive=True)
    house.order(Verb.CUT, "energy_debt", origin="uplink")
    house.carry_out(OPEN)
    house.topup("10.00")
    assert house.carry_out(CLOSED).verb == "restore"
    assert house.relay() == "closed, seen closed"


def test_a_cut_for_theft_goes_out_at_night_although_the_debts_cut_may_not(house: House) -> None:
    house.settle(accounts=[account(policy=replace(POLICY, no_cut_hours=True))], balance="1").exhaust()
    house.order(Verb.CUT, "theft_by_two_people", lives_s=9 * 3600)  # the debt's cut is under way already
    house.later(hours=8).block(total="10.00")
    sent = house.send()
    assert (sent.state, sent.cause, sent.origin) == ("acknowledged", "theft_by_two_people", "operator")
    assert house.meter().cut_reasons == ("operator:theft_by_two_people",)


def test_an_expired_order_is_dead_and_does_not_come_back(lit: House) -> None:
    lit.order(Verb.CUT, lives_s=60)
    lit.later(minutes=2)
    assert lit.start("O-1") is None
    assert (lit.orders(), lit.relay()) == (["cut expired"], "closed, seen closed")
    lit.later(minutes=20).block(total="0.00")
    assert lit.orders() == ["cut expired"]


@pytest.mark.parametrize("outcome", [NAK, SILENT])
def test_a_persons_cut_that_failed_is_for_that_person_to_repeat(lit: House, outcome: object) -> None:
    cut = lit.send(outcome) if lit.order(Verb.CUT) else None  # type: ignore[arg-type]
    assert cut is not None
    while not cut.final:
        cut = lit.look(cut, CLOSED) if cut.state == "uncertain" else lit.send(SILENT)
    for _ in range(5):
        lit.later(hours=6).block(total="0.00")
    assert len(lit.orders()) == 1
    assert lit.order(Verb.CUT, id="O-2").command is not None
    assert lit.carry_out(OPEN).state == "verified"


@pytest.mark.parametrize("origin", ["operator", "uplink"])
@pytest.mark.parametrize("outcome", [NAK, SILENT])
def test_a_persons_cut_that_failed_does_not_keep_a_paid_house_dark(house: House, outcome: object, origin: str) -> None:
    house.settle(balance="5").block(total="0.00")
    house.order(Verb.CUT, origin=origin)
    cut = house.send(outcome)  # type: ignore[arg-type]
    while not cut.final:
        cut = house.look(cut, CLOSED) if cut.state == "uncertain" else house.send(SILENT)
    assert (cut.state in ("failed", "refused"), house.relay()) == (True, "closed, seen closed")
    house.later(minutes=11).exhaust()
    house.carry_out(OPEN)
    house.topup("20.00")
    assert house.carry_out(CLOSED).verb == "restore"
    assert house.relay() == "closed, seen closed"


def test_a_persons_cut_that_failed_leaves_the_rules_reason_standing(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.order(Verb.CUT)  # takes the place of the debt's cut
    house.send(NAK)
    assert house.relay() == "open (credit:energy_debt), seen closed"
    house.later(minutes=11).block(total="10.00")
    assert house.orders() == ["cut superseded", "cut refused", "cut queued"]


def test_a_persons_old_cut_does_not_lend_its_permission_to_the_debts_new_one(house: House) -> None:
    house.settle(balance="6").block(total="0.00")
    house.order(Verb.CUT)
    house.carry_out(OPEN)
    house.later(hours=1).block(total="10.00", contact=OPEN)
    house.later(minutes=1).block(total="12.00", contact=CLOSED)  # bridged; by now the credit is gone too
    assert house.orders() == ["cut verified", "cut queued"]
    house.site = replace(house.site, path_alive=False)
    assert house.start() is None
    assert (house.orders(), house.meter().cut_reasons) == (["cut verified", "cut cancelled"], ("operator:emergency",))


def test_an_order_takes_the_place_of_a_rules_cut_that_has_not_been_sent(house: House) -> None:
    house.settle(balance="1").exhaust()
    answer = house.order(Verb.CUT, "theft_by_two_people")
    assert answer.command is not None and answer.command.id == "O-1"
    assert house.orders() == ["cut superseded", "cut queued"]


def test_allow_close_is_never_a_closing(lit: House) -> None:
    """The account's policy closes directly; whoever orders allow-close wants somebody to look first."""
    lit.order(Verb.CUT)
    lit.carry_out(OPEN)
    lit.order(Verb.ALLOW_CLOSE, "operator", id="O-2")
    command = lit.carry_out(ALLOWED)
    assert (command.verb, command.state) == (Verb.ALLOW_CLOSE, "allowed")


def test_a_meter_without_account_is_switched_too(house: House) -> None:
    house.settle(meter(account=None), accounts=[])
    house.block(total="0.00")
    house.order(Verb.CUT)
    assert house.carry_out(OPEN).state == "verified"
    house.order(Verb.RESTORE, id="O-2")
    assert house.carry_out(ALLOWED).state == "allowed"


def test_a_meter_that_lost_its_account_while_cut_can_be_restored(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(OPEN)
    house.settle(meter(account=None))
    assert house.order(Verb.RESTORE).command is not None


def test_a_restore_releases_the_lock_out_for_all_meters_of_the_account(house: House) -> None:
    limit = LoadLimit(1000, 10_000, 30_000, 0)
    house.settle(meter("m1"), meter("m2"), accounts=[account(limit=limit)], balance="100")
    for _ in range(2):
        for ident in ("m1", "m2"):
            house.read(ident, power="0.600", contact=CLOSED)
        house.later(s=11)
    house.read("m1", power="0.600", contact=CLOSED)
    assert house.account().limit_state.phase is LimitPhase.LOCKED
    house.carry_out(OPEN)
    house.carry_out(OPEN)
    house.kinds()
    house.order(Verb.RESTORE)
    assert house.account().limit_state == LimitState(LimitPhase.WITHIN, house.now_ms)
    assert sorted((c.meter, c.verb) for c in house.open()) == [("m1", "restore"), ("m2", "restore")]
    assert "limit_released" in house.kinds()
