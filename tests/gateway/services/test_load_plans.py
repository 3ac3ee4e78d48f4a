"""What a signed plan caps and switches off: night mode, holidays, the month's amount, release and protection (prepayment.md d)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from gateway.domain.limits import LoadLimit
from gateway.domain.load_caps import Cap, CapTable, MonthCap
from gateway.domain.meters import Contact
from gateway.domain.no_cut import NoCutCalendar
from gateway.domain.notices import Contact as ReachedBy
from gateway.domain.notices import Reach
from gateway.domain.readings import Item, Reading
from gateway.domain.supply import Verb
from gateway.services.record_reading import record_reading
from gateway.services.release_limit import release
from gateway.services.watch_limits import HELD_MS, LOOK_AGAIN_MS, SPREAD_MS, prime_limits, watch_limit
from gateway.services.write_limits import settings_of
from tests.gateway.services.house import TUESDAY_TEN, House, account, local, meter

CLOSED, OPEN = Contact.CLOSED, Contact.OPEN
NIGHT = CapTable("plan 7", (Cap(360, 2000), Cap(1380, 500)))
LIMIT = LoadLimit(power_w=3000, delay_ms=10_000, pause_ms=30_000, recloses=1, caps=NIGHT)
OFF_AT_NIGHT = LoadLimit(3000, 10_000, 30_000, 1, caps=CapTable("plan 7", (Cap(360), Cap(1380, off=True))))


def tick(house: House) -> None:
    for who in house.do(lambda tx: tx.limits_due(house.now_ms, 100)):
        house.do(lambda tx, who=who: watch_limit(tx, who, house.site, house.now_ms))  # type: ignore[misc]


def prime(house: House) -> None:
    assert house.do(lambda tx: prime_limits(tx, "", 100, house.now_ms)) is None
    tick(house)


def load(house: House, kw: str, s: int) -> list[str]:
    """The house draws this for so long, measured every 5 seconds; what happened meanwhile."""
    for _ in range(s // 5):
        house.later(s=5).read(power=kw, contact=CLOSED)
        tick(house)
    return [kind for kind in house.kinds() if kind.startswith(("limit", "cut", "restore", "month", "malignant"))]


def settled(house: House, limit: LoadLimit, **changes: object) -> House:
    house.settle(accounts=[account(limit=limit, **changes)], balance="100")
    prime(house)
    house.kinds()
    return house


def at(house: House, text: str) -> House:
    house.now_ms = local(text)
    return house


def test_at_night_less_may_be_drawn_than_by_day(house: House) -> None:
    at(settled(house, LIMIT), "2026-11-24 22:59")
    assert load(house, "1.000", 55) == []
    assert load(house, "1.000", 15) == ["limit_exceeded"]  # counted from 23:00:00
    assert load(house, "1.000", 5) == ["cut_ordered", "limit_cut"]


def test_beyond_a_cap_it_is_cut_by_the_contract_and_beyond_the_limit_for_safety(house: House) -> None:
    at(settled(house, LIMIT), "2026-11-24 23:30")
    assert load(house, "1.000", 20) == ["limit_exceeded", "cut_ordered", "limit_cut"]
    assert house.relay() == "open (limit:contract_time_table), seen closed"
    house.carry_out(OPEN)
    house.later(s=30)
    tick(house)
    assert [(c.verb, c.state) for c in house.open()] == [("restore", "queued")]
    house.carry_out(CLOSED)
    assert house.account().limit_state.spent == 1
    house.kinds()
    assert load(house, "4.000", 20) == ["limit_exceeded", "cut_ordered", "limit_locked"]
    assert house.relay() == "open (limit:safety), seen closed"


def test_a_cap_needs_the_clock_and_the_limit_itself_does_not(house: House) -> None:
    at(settled(house, LIMIT), "2026-11-24 23:30").site = replace(house.site, clock_trusted=False)
    assert load(house, "1.000", 60) == ["limit_exceeded", "cut_held"]
    assert load(house, "4.000", 20) == ["cut_ordered", "limit_cut"]
    assert house.relay() == "open (limit:safety), seen closed"


def test_a_protection_against_commercial_cuts_holds_off_the_cap_only(house: House) -> None:
    at(settled(house, LIMIT), "2026-11-24 23:30")
    known = house.account()
    house.change(protect_until_ms=house.now_ms + 3_600_000, protect=replace(known.protect, owner="li", blocks="commercial"))
    assert load(house, "1.000", 30) == ["limit_exceeded", "cut_held"]
    assert load(house, "4.000", 20) == ["cut_ordered", "limit_cut"]


@pytest.mark.parametrize(
    ("changes", "days", "exceeded"),
    [
        ({"rest": ()}, (), True),
        ({"rest": (2,)}, (), False),  # a Tuesday
        ({"rest": (), "days": ("2026-11-24",)}, (), False),
        ({"rest": (), "calendar": "city"}, (), True),
        ({"rest": (), "calendar": "city"}, ("2026-11-24",), False),
        ({"rest": (), "calendar": "elsewhere"}, ("2026-11-24",), True),
    ],
)
def test_holidays_have_caps_of_their_own(house: House, changes: dict[str, object], days: tuple[str, ...], exceeded: bool) -> None:
    table = replace(CapTable("plan 7", (Cap(0, 500),), (Cap(0, 2500),)), **changes)  # type: ignore[arg-type]
    house.do(lambda tx: tx.save_no_cut_calendar(NoCutCalendar("city", "Asia/Shanghai", (), days, "2027-01-01")))
    settled(house, replace(LIMIT, caps=table))
    assert load(house, "1.000", 5) == (["limit_exceeded"] if exceeded else [])


def test_a_warning_is_told_before_and_sent_to_who_can_be_reached(house: House) -> None:
    reach = Reach((ReachedBy("sms", "+8613800000000"),))
    settled(house, replace(LIMIT, warn=900, caps=None), reach=reach)
    assert load(house, "2.700", 5) == []
    assert load(house, "2.701", 30) == ["limit_warned"]
    assert load(house, "2.000", 5) == []
    house.later(minutes=58)
    assert load(house, "2.900", 30) == []
    assert load(house, "2.900", 60) == ["limit_warned"]
    load(house, "5.000", 20)
    told = house.do(lambda tx: [(notice.step, notice.channel) for notice in tx.notices("A-1", 0, 10)])
    assert told == [(step, "sms") for step in ("limit_cut", "limit_exceeded", "limit_warned", "limit_warned")]


def test_a_lock_out_that_the_policy_ends_gives_supply_back_by_itself(house: House) -> None:
    settled(house, replace(LIMIT, recloses=0, lockout_ms=1_800_000, caps=None))
    assert load(house, "5.000", 20) == ["limit_exceeded", "cut_ordered", "limit_locked"]
    house.carry_out(OPEN)
    house.kinds()
    house.later(s=1_799.9)
    tick(house)
    assert house.open() == []
    house.later(s=0.1)
    tick(house)
    assert house.kinds() == ["restore_ordered", "limit_released"]
    assert (house.account().limit_state.phase, house.account().limit_state.spent) == ("within", 0)


def amperes(house: House, s: int, **phases: str) -> list[str]:
    for _ in range(s // 5):
        house.later(s=5)
        items = tuple(Item(name, Decimal(value), "A") for name, value in phases.items())
        reading = Reading("m1", items, house.now_ms - 100, house.now_ms)
        house.do(lambda tx, reading=reading: record_reading(tx, reading, None, house.site, house.now_ms))  # type: ignore[misc]
    return [kind for kind in house.kinds() if kind.startswith(("limit", "cut"))]


def test_the_phase_that_draws_most_is_judged(house: House) -> None:
    settled(house, LoadLimit(0, 10_000, 30_000, 1, current_ma=10_000))
    assert amperes(house, 30, current_a="10.000", current_b="-10.000", current_c="0.100") == []
    assert amperes(house, 5, current_a="3.000", current_b="3.000", current_c="-10.001") == ["limit_exceeded"]
    assert amperes(house, 15, current_a="3.000", current_b="3.000", current_c="-10.001") == ["cut_ordered", "limit_cut"]
    assert house.relay() == "open (limit:safety), seen unknown"


def test_a_current_is_believed_for_two_turns_of_the_power(house: House) -> None:
    house.site = replace(house.site, power_stale_ms=20_000)
    settled(house, LoadLimit(0, 30_000, 30_000, 1, current_ma=10_000))
    for last_s, phase in ((20.1, "within"), (20, "tripped")):
        amperes(house, 5, current_a="11.000")
        house.later(s=20).read(power="0.100", contact=CLOSED)
        assert house.account().limit_state.phase == "over"
        house.later(s=last_s).read(power="0.100", contact=CLOSED)
        assert house.account().limit_state.phase == phase


# what a plan switches off


def place(house: House) -> int:
    """How long behind the edge this account's supply comes back, in ms."""
    due_ms = house.account().limit_memory.edge_ms
    assert due_ms is not None
    return due_ms


def test_a_plan_switches_off_and_on_by_the_clock(house: House) -> None:
    at(settled(house, OFF_AT_NIGHT), "2026-11-24 22:59")
    tick(house)
    assert house.relay() == "closed, seen unknown"
    at(house, "2026-11-24 23:00")
    tick(house)
    assert house.relay() == "open (limit:contract_time_table), seen unknown"
    assert (house.open()[0].cause, house.open()[0].origin) == ("contract_time_table", "limit")
    house.carry_out(OPEN)
    at(house, "2026-11-25 05:59")
    tick(house)
    assert house.relay() == "open (limit:contract_time_table), seen open"
    due_ms = place(house)
    assert local("2026-11-25 06:00") <= due_ms < local("2026-11-25 06:00") + SPREAD_MS
    house.now_ms = due_ms - 1
    tick(house)
    assert house.relay() == "open (limit:contract_time_table), seen open"
    house.later(s=0.001)
    tick(house)
    house.carry_out(CLOSED)
    assert house.relay() == "closed, seen closed"
    assert house.account().limit_memory.due_ms == local("2026-11-25 23:00")


def test_closings_at_a_plans_edge_are_spread(house: House) -> None:
    houses = [account(f"A-{n}", limit=OFF_AT_NIGHT) for n in range(40)]
    house.settle(*(meter(f"m{n}", account=f"A-{n}") for n in range(40)), accounts=houses, balance="100")
    at(house, "2026-11-24 23:00")
    for _ in range(30):  # the limiter of cuts lets them go in steps
        prime(house)
        house.later(minutes=2)
    at(house, "2026-11-25 05:58")
    tick(house)
    due = [house.account(f"A-{n}").limit_memory.edge_ms or 0 for n in range(40)]
    assert min(due) >= local("2026-11-25 06:00") and max(due) < local("2026-11-25 06:01")
    assert len({at_ms // 10_000 for at_ms in due}) >= 5


def test_what_had_no_permission_to_go_off_goes_when_it_has(house: House) -> None:
    at(settled(house, OFF_AT_NIGHT), "2026-11-24 23:00").site = replace(house.site, clock_trusted=False)
    tick(house)
    assert (house.relay(), house.kinds()) == ("closed, seen unknown", ["cut_held"])
    assert house.account().limit_memory.due_ms == house.now_ms + HELD_MS
    house.site = replace(house.site, clock_trusted=True)
    house.now_ms += HELD_MS
    tick(house)
    assert house.relay() == "open (limit:contract_time_table), seen unknown"


def test_protected_supply_stays_on_and_goes_off_when_protection_is_over(house: House) -> None:
    at(settled(house, OFF_AT_NIGHT), "2026-11-24 22:59")
    house.change(protect_until_ms=local("2026-11-25 01:00"))
    at(house, "2026-11-24 23:00")
    tick(house)
    assert house.relay() == "closed, seen unknown"
    at(house, "2026-11-25 00:59")
    tick(house)
    assert house.relay() == "closed, seen unknown"
    at(house, "2026-11-25 01:01")
    tick(house)
    assert house.relay() == "open (limit:contract_time_table), seen unknown"


def test_a_never_cut_account_is_not_switched_off(house: House) -> None:
    at(settled(house, OFF_AT_NIGHT, never_cut=True), "2026-11-25 02:00")
    tick(house)
    assert load(house, "9.000", 60) == ["cut_held", "limit_exceeded", "cut_held"]  # its plan, its overload
    assert (house.relay(), house.orders()) == ("closed, seen closed", [])


def test_a_person_may_excuse_a_house_until_the_plans_next_change(house: House) -> None:
    at(settled(house, OFF_AT_NIGHT), "2026-11-24 23:00")
    tick(house)
    house.carry_out(OPEN)
    at(house, "2026-11-25 00:30")
    assert house.do(lambda tx: release(tx, "A-1", "operator:li", "a sick child", house.site, house.now_ms)) is None
    house.carry_out(CLOSED)
    for text in ("2026-11-25 00:40", "2026-11-25 05:00", "2026-11-25 06:01"):
        at(house, text)
        tick(house)
        assert house.relay() == "closed, seen closed"
    at(house, "2026-11-25 23:00")
    tick(house)
    assert house.relay() == "open (limit:contract_time_table), seen closed"
    (row,) = house.do(lambda tx: [row for row in tx.audit_rows(0, 100) if row.act == "release_limit"])
    assert (row.who, row.subject, row.data) == ("operator:li", "A-1", {"reason": "a sick child", "was": "within"})


def test_a_restore_of_one_meter_excuses_the_house(house: House) -> None:
    house.settle(meter("m1"), meter("m2"), accounts=[account(limit=OFF_AT_NIGHT)], balance="100")
    at(house, "2026-11-24 23:00")
    prime(house)
    house.carry_out(OPEN)
    house.carry_out(OPEN)
    house.order(Verb.RESTORE, ident="m2")
    house.carry_out(CLOSED)
    house.carry_out(CLOSED)
    house.later(minutes=11)
    tick(house)
    assert [house.relay(name) for name in ("m1", "m2")] == ["closed, seen closed"] * 2


def test_nothing_to_release_is_said(house: House) -> None:
    settled(house, OFF_AT_NIGHT)

    def let_go(who: str) -> str | None:
        return house.do(lambda tx: release(tx, who, "operator:li", "x", house.site, house.now_ms))

    assert let_go("A-1") == "the load limit of account A-1 holds nothing open"
    house.settle(accounts=[account()])
    assert let_go("A-1") == "account A-1 has no load limit"
    with pytest.raises(LookupError, match="account A-9 is not known here"):
        let_go("A-9")


def test_while_it_is_off_it_is_looked_at_again(house: House) -> None:
    at(settled(house, OFF_AT_NIGHT), "2026-11-24 23:00")
    tick(house)
    assert house.account().limit_memory.due_ms == house.now_ms + LOOK_AGAIN_MS


def test_a_plan_that_goes_frees_what_it_held(house: House) -> None:
    at(settled(house, OFF_AT_NIGHT), "2026-11-24 23:00")
    tick(house)
    house.carry_out(OPEN)
    house.settle(accounts=[account(limit=replace(OFF_AT_NIGHT, caps=None))])
    prime(house)
    tick(house)
    house.later(minutes=11)
    tick(house)
    assert house.relay() == "closed, seen open"
    house.settle(accounts=[account()])
    prime(house)
    assert house.account().limit_memory.due_ms is None


def test_a_limit_that_goes_frees_what_it_held(house: House) -> None:
    at(settled(house, OFF_AT_NIGHT), "2026-11-24 23:00")
    tick(house)
    house.carry_out(OPEN)
    house.settle(accounts=[account()])
    assert house.relay() == "closed, seen open"


# the month's amount

MONTHLY = LoadLimit(3000, 10_000, 30_000, 1, month=MonthCap(10_000, "plan 7", 500))


def use(house: House, *totals: str) -> list[str]:
    for total in totals:
        house.later(minutes=1).block(total=total)
        tick(house)
    return [kind for kind in house.kinds() if kind.startswith(("limit", "cut", "restore", "month"))]


def test_after_the_months_amount_less_may_be_drawn(house: House) -> None:
    settled(house, MONTHLY)
    assert use(house, "0.00", "9.00", "10.00") == []
    assert load(house, "1.000", 30) == []
    assert use(house, "10.01") == ["month_amount_used"]
    assert use(house, "10.02") == []
    assert load(house, "1.000", 20) == ["limit_exceeded", "cut_ordered", "limit_cut"]
    assert house.relay() == "open (limit:contract_time_table), seen closed"


def test_a_new_month_begins_with_its_whole_amount(house: House) -> None:
    settled(house, MONTHLY)
    use(house, "0.00", "11.00")
    at(house, "2026-12-01 00:00")
    assert load(house, "1.000", 60) == []
    assert house.account().limit_state.phase == "within"
    use(house, "22.00")
    assert use(house, "22.01") == []  # half of it lay in November
    at(house, "2026-12-05 00:00")
    assert use(house, "60.00") == ["month_amount_used"]


def test_a_month_whose_amount_is_used_up_may_switch_off(house: House) -> None:
    settled(house, replace(MONTHLY, month=MonthCap(10_000, "plan 7", None, True)))
    assert use(house, "0.00", "10.01") == ["month_amount_used", "cut_ordered"]
    house.carry_out(OPEN)
    at(house, "2026-11-30 23:59")
    tick(house)
    assert house.relay() == "open (limit:contract_time_table), seen open"
    at(house, "2026-12-01 00:01")
    tick(house)
    assert house.relay() == "closed, seen open"


def test_without_a_limit_no_reading_moves_the_account(house: House) -> None:
    house.settle(balance="100")
    before = house.account()
    load(house, "9.000", 60)
    assert house.account() == before
    assert house.now_ms == TUESDAY_TEN + 60_000


def test_when_the_clock_is_set_back_no_house_stays_dark_for_it(house: House) -> None:
    settled(house, replace(LIMIT, caps=None))
    load(house, "5.000", 20)
    house.carry_out(OPEN)
    house.now_ms -= 86_400_000
    prime(house)
    house.later(s=30)
    tick(house)
    assert house.relay() == "closed, seen open"


def test_another_configuration_is_looked_at_at_once(house: House) -> None:
    at(settled(house, LIMIT), "2026-11-24 23:30")
    house.settle(accounts=[account(limit=replace(OFF_AT_NIGHT, written={"trip_delay": 3}))])
    tick(house)
    assert house.relay() == "open (limit:contract_time_table), seen unknown"
    assert house.do(lambda tx: settings_of(tx, "m1")) is not None
    house.settle(accounts=[account(limit=LIMIT)])
    tick(house)
    assert house.relay() == "closed, seen unknown"
    assert house.account().limit_memory.due_ms is None
