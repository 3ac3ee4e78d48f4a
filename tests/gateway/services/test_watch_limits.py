"""Load limits: what is measured, what is cut, when it comes back, and when it does not (prepayment.md "What we decided" 5 F9)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.limits import LimitPhase, LoadLimit
from gateway.domain.meters import Contact, SwitchKind
from gateway.domain.supply import Verb
from gateway.services.watch_limits import watch_limit
from tests.gateway.services.house import POLICY, House, account, local, meter

CLOSED, OPEN = Contact.CLOSED, Contact.OPEN
LIMIT = LoadLimit(power_w=2000, delay_ms=10_000, pause_ms=30_000, recloses=1)
LIMITED = account(limit=LIMIT)


def tick(house: House) -> None:
    for who in house.do(lambda tx: tx.limits_due(house.now_ms, 100)):
        house.do(lambda tx, who=who: watch_limit(tx, who, house.site, house.now_ms))  # type: ignore[misc]


def load(house: House, kw: str, s: int, *, contact: Contact = CLOSED) -> list[str]:
    """The house draws this for so long, measured every 5 seconds; what happened meanwhile."""
    for _ in range(s // 5):
        house.later(s=5).read(power=kw, contact=contact)
        tick(house)
    return [kind for kind in house.kinds() if kind.startswith(("limit", "cut", "restore", "low"))]


def test_a_limit_trips_recloses_and_locks_out(house: House) -> None:
    house.settle(accounts=[LIMITED], balance="100")
    statement = [
        # kW, for s, what happens, phase
        ("2.000", 60, [], "within"),
        ("2.001", 10, ["limit_exceeded"], "over"),
        ("1.999", 5, [], "within"),
        ("2.500", 20, ["limit_exceeded", "cut_ordered", "limit_cut"], "tripped"),
    ]
    for kw, s, happened, phase in statement:
        assert load(house, kw, s) == happened
        assert house.account().limit_state.phase == phase
    assert house.relay() == "open (limit:safety), seen closed"
    assert (house.open()[0].cause, house.open()[0].origin) == ("safety", "limit")
    house.carry_out(OPEN)
    seen_ms = house.now_ms
    assert house.account().limit_state.since_ms == seen_ms  # the pause runs from the proof
    house.now_ms = seen_ms + LIMIT.pause_ms - 1
    tick(house)
    assert house.open() == []
    house.later(s=0.001)
    tick(house)
    assert [c.verb for c in house.open()] == ["restore"]
    house.carry_out(CLOSED)
    assert house.account().limit_state.spent == 1
    house.kinds()
    assert load(house, "2.500", 20) == ["limit_exceeded", "cut_ordered", "limit_locked"]
    house.carry_out(OPEN)
    house.later(hours=24)
    tick(house)
    assert (house.relay(), house.open()) == ("open (limit:safety), seen open", [])


def test_the_limit_of_an_account_is_for_all_its_meters_together(house: House) -> None:
    house.settle(meter("m1"), meter("m2"), accounts=[LIMITED], balance="100")
    for _ in range(4):
        house.later(s=5)
        for ident in ("m1", "m2"):
            house.read(ident, power="1.200", contact=CLOSED)
    assert sorted((c.meter, c.verb) for c in house.open()) == [("m1", "cut"), ("m2", "cut")]


@pytest.mark.parametrize(("stale_ms", "phase"), [(180_000, "over"), (60_000, "within")])
def test_a_power_counts_as_long_as_the_site_says(house: House, stale_ms: int, phase: str) -> None:
    house.site = replace(house.site, power_stale_ms=stale_ms)
    house.settle(meter("m1"), meter("m2"), accounts=[LIMITED], balance="100").read("m2", power="1.200", contact=CLOSED)
    house.later(s=61).read("m1", power="1.200", contact=CLOSED)
    assert house.account().limit_state.phase == phase


def test_an_overload_that_nobody_watched_does_not_trip(house: House) -> None:
    house.settle(accounts=[LIMITED], balance="100")
    assert load(house, "5.000", 5) == ["limit_exceeded"]
    house.later(s=181)
    assert load(house, "5.000", 10) == []
    assert load(house, "5.000", 10) == ["cut_ordered", "limit_cut"]


def test_a_trip_whose_cut_lost_its_permission_comes_when_it_may(house: House) -> None:
    for phase, recloses in (("tripped", 1), ("locked", 0)):
        house.settle(accounts=[account(limit=replace(LIMIT, recloses=recloses))], balance="100")
        load(house, "5.000", 20)
        assert house.account().limit_state.phase == phase
        house.change(protect_until_ms=house.now_ms + 600_000)
        assert house.start() is None
        assert (house.account().limit_state.phase, house.account().limit_state.spent) == ("over", 0)
        assert house.relay() == "closed, seen closed"
        assert load(house, "5.000", 595) == ["cut_held"]
        assert load(house, "5.000", 10) == ["cut_ordered", f"limit_{'cut' if recloses else 'locked'}"]
        house.order(Verb.RESTORE, id=f"O-{phase}")
        house.carry_out(CLOSED)
        load(house, "0.100", 5)


def test_a_trip_that_lost_its_permission_frees_what_it_held_already(house: House) -> None:
    house.settle(meter("m1"), meter("m2"), accounts=[LIMITED], balance="100").read("m2", power="0.100", contact=CLOSED)
    load(house, "5.000", 20)
    house.carry_out(OPEN)
    house.change(protect_until_ms=house.now_ms + 600_000)
    assert house.start() is None
    house.carry_out(CLOSED)
    assert [house.relay(ident) for ident in ("m1", "m2")] == ["closed, seen closed"] * 2


def test_an_overload_trips_although_the_clock_is_not_trusted(house: House) -> None:
    house.site = replace(house.site, clock_trusted=False)
    house.settle(accounts=[LIMITED], balance="100")
    assert load(house, "5.000", 20) == ["limit_exceeded", "cut_ordered", "limit_cut"]
    assert house.start() is not None


@pytest.mark.parametrize("bare", [{"switch": SwitchKind.NONE}, {"cut_with_account": False}])
def test_where_nothing_can_be_cut_an_overload_is_only_told(house: House, bare: dict[str, object]) -> None:
    house.settle(meter(**bare), accounts=[LIMITED], balance="100")
    assert load(house, "5.000", 60) == ["limit_exceeded"]
    assert (house.account().limit_state.phase, house.orders()) == ("over", [])
    assert load(house, "0.100", 5) == []
    assert load(house, "5.000", 30) == ["limit_exceeded"]


def test_fed_in_power_counts_against_the_draw(house: House) -> None:
    house.settle(meter("m1"), meter("roof"), accounts=[LIMITED], balance="100")
    for _ in range(6):
        house.later(s=5).read("roof", power="-1.000", contact=CLOSED)
        house.read("m1", power="2.900", contact=CLOSED)
    assert house.account().limit_state.phase == "within"


def test_protect_holds_the_trip_and_its_end_lets_it_go(house: House) -> None:
    house.settle(accounts=[LIMITED], balance="100")
    house.change(protect_until_ms=house.now_ms + 60_000)
    assert load(house, "5.000", 50) == ["limit_exceeded", "cut_held"]
    assert (house.account().limit_state.phase, house.orders()) == ("over", [])
    assert load(house, "5.000", 15) == ["cut_ordered", "limit_cut"]


def test_an_overload_trips_at_night_without_agreement_notice_or_bill(house: House) -> None:
    house.now_ms = local("2026-11-28 03:00")
    loner = replace(LIMITED, agreement=None, policy=replace(POLICY, no_cut_hours=True))
    house.settle(accounts=[loner], balance="100")
    assert load(house, "5.000", 20) == ["limit_exceeded", "cut_ordered", "limit_cut"]
    assert house.start() is not None


def test_an_overload_trips_although_the_debts_cut_lost_its_permission(house: House) -> None:
    house.settle(accounts=[LIMITED], balance="1").exhaust()
    load(house, "5.000", 20)
    assert house.relay() == "open (credit:energy_debt, limit:safety), seen closed"
    house.site = replace(house.site, path_alive=False)
    cut = house.send()
    assert (cut.state, cut.cause, house.meter().cut_reasons) == ("acknowledged", "safety", ("limit:safety",))


def test_an_overloads_cut_that_expired_is_ordered_again_and_not_forgotten(house: House) -> None:
    house.settle(accounts=[replace(LIMITED, limit=replace(LIMIT, pause_ms=10**9))], balance="100")
    load(house, "5.000", 20)
    [cut] = house.open()
    house.now_ms = cut.expires_ms
    assert house.start(cut.id) is None
    assert (house.orders(), house.relay()) == (["cut expired", "cut queued"], "open (limit:safety), seen closed")


def test_a_reclose_waits_for_credit_too(house: House) -> None:
    house.settle(accounts=[LIMITED], balance="1").block(total="0.00")
    load(house, "5.000", 20)
    house.carry_out(OPEN)
    house.block(total="1.90", contact=OPEN)
    house.later(s=5).block(total="2.00", contact=OPEN)
    assert house.relay() == "open (credit:energy_debt, limit:safety), seen open"
    house.later(s=40)
    tick(house)
    assert (house.relay(), house.open()) == ("open (credit:energy_debt), seen open", [])
    house.topup("10.00")
    assert [c.verb for c in house.open()] == ["restore"]


def test_credit_waits_for_the_limiters_pause_too(house: House) -> None:
    house.settle(accounts=[LIMITED], balance="1").exhaust()
    load(house, "5.000", 20)
    house.carry_out(OPEN)
    assert '"next":"none"' in (house.topup("10.00").payment.receipt or "")
    assert house.relay() == "open (limit:safety), seen open"
    house.later(s=30)
    tick(house)
    assert [c.verb for c in house.open()] == ["restore"]


@pytest.mark.parametrize("phase", [LimitPhase.TRIPPED, LimitPhase.LOCKED])
def test_a_limit_that_is_taken_away_frees_the_house(house: House, phase: LimitPhase) -> None:
    limit = replace(LIMIT, recloses=1 if phase is LimitPhase.TRIPPED else 0)
    house.settle(accounts=[account(limit=limit)], balance="100")
    load(house, "5.000", 20)
    house.carry_out(OPEN)
    assert house.account().limit_state.phase is phase
    house.settle(accounts=[account(limit=None)])
    house.carry_out(CLOSED)
    assert (house.relay(), house.account().limit_state.phase) == ("closed, seen closed", "within")


def test_a_limiter_without_power_readings_does_nothing(house: House) -> None:
    house.settle(accounts=[LIMITED], balance="100")
    for _ in range(5):
        house.later(s=10).block(total="0.00")
    assert house.account().limit_state.phase == "within"
