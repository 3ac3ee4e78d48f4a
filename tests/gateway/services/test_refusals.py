"""Every refusal to cut beside its healthy twin, and the end of each refusal (prepayment.md "What we decided" 3 to 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.domain.jobs import Answered
from gateway.domain.meters import Contact
from gateway.domain.supply import SwitchReading
from gateway.services.judge_account import wants_confirmation
from gateway.services.run_command import finish_readback
from tests.gateway.services.house import BROKE, NAK, OK, POLICY, SILENT, House, account, local, meter

CLOSED, OPEN, ALLOWED = Contact.CLOSED, Contact.OPEN, Contact.ALLOWED
DAYTIME = replace(POLICY, no_cut_hours=True)


def clock_lost(house: House) -> None:
    house.site = replace(house.site, clock_trusted=False)


def clock_found(house: House) -> None:
    house.site = replace(house.site, clock_trusted=True)


def banks_gone(house: House) -> None:
    house.site = replace(house.site, path_alive=False)


def banks_back(house: House) -> None:
    house.site = replace(house.site, path_alive=True)


REFUSALS: list[tuple[str, Callable[[House], object], Callable[[House], object], str]] = [
    ("F2", banks_gone, banks_back, "no way to top up is alive (F2)"),
    ("F3", clock_lost, clock_found, "the clock is not trusted (F3)"),
    (
        "no agreement",
        lambda h: h.change(agreement=None),
        lambda h: h.change(agreement="signed late"),
        "there is no prepayment agreement",
    ),
    (
        "never cut",
        lambda h: h.change(never_cut=True),
        lambda h: h.change(never_cut=False),
        "the account is flagged never to be cut",
    ),
]


@pytest.mark.parametrize(("name", "take", "give", "missing"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_no_cut_without_every_part_and_a_cut_as_soon_as_it_is_there(
    house: House, name: str, take: Callable[[House], object], give: Callable[[House], object], missing: str
) -> None:
    house.settle(balance="1").block(total="0.00")
    take(house)
    house.kinds()
    for _ in range(3):
        house.later(minutes=1).block(total="10.00")
    assert (house.balance(), house.orders(), house.relay()) == ("-4.000000", [], "closed, seen closed")
    held = [e for e in house.events() if e.kind == "cut_held"]
    assert [(e.account, e.data) for e in held] == [("A-1", {"cause": "energy_debt", "missing": [missing]})]  # said once
    give(house)
    house.later(minutes=1).block(total="10.00")
    assert (house.orders(), house.relay()) == (["cut queued"], "open (credit:energy_debt), seen closed")


@pytest.mark.parametrize(("name", "take", "give", "missing"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_what_is_missing_when_the_cut_is_to_be_sent_stops_it(
    house: House, name: str, take: Callable[[House], object], give: Callable[[House], object], missing: str
) -> None:
    house.settle(balance="1").exhaust()
    [ordered] = house.open()
    take(house)
    if house.command(ordered.id).final:  # the flag alone has already ended it
        assert house.command(ordered.id).state == "superseded"
    else:
        assert house.start(ordered.id) is None
        assert (house.command(ordered.id).state, house.command(ordered.id).reason) == ("cancelled", missing)
    assert (house.open(), house.relay()) == ([], "closed, seen closed")  # nothing moved, nothing is to be restored
    give(house)
    house.later(minutes=1).block(total="10.00")
    assert [c.state for c in house.open()] == ["queued"]


@pytest.mark.parametrize(
    ("wall", "cut"),
    [
        ("2026-11-24 08:59", False),
        ("2026-11-24 09:00", True),
        ("2026-11-24 16:59", True),
        ("2026-11-24 17:00", False),
        ("2026-11-27 11:59", True),  # a Friday
        ("2026-11-27 12:00", False),
        ("2026-11-28 10:00", False),
        ("2026-11-30 08:59", False),
        ("2026-11-30 09:00", True),
    ],
)
def test_no_cut_hours_are_of_the_accounts_own_zone(house: House, wall: str, cut: bool) -> None:
    house.now_ms = local(wall) - 60_000
    house.settle(accounts=[account(policy=DAYTIME)], balance="1").block(total="0.00")
    house.now_ms = local(wall)
    house.block(total="10.00")
    assert house.orders() == (["cut queued"] if cut else [])
    house.site = replace(house.site, zone="Europe/London")  # eight hours earlier there
    assert house.account().credit == "exhausted"


def test_a_cut_queued_before_closing_time_waits_for_the_morning(house: House) -> None:
    house.now_ms = local("2026-11-24 16:57")
    house.settle(accounts=[account(policy=DAYTIME)], balance="1").exhaust()
    [ordered] = house.open()
    house.now_ms = local("2026-11-24 17:00")
    assert house.start(ordered.id) is None
    house.later(minutes=5).block(total="10.00")
    assert (house.orders(), house.kinds()[-1]) == (["cut cancelled"], "cut_held")
    house.now_ms = local("2026-11-25 09:00")
    house.block(total="10.00")
    assert house.orders() == ["cut cancelled", "cut queued"]


def test_f1_an_old_reading_supports_no_cut_and_a_fresh_one_does(house: House) -> None:
    house.settle(meter("m1"), meter("m2"), balance="6").block("m2", "0.00")
    house.exhaust()
    house.later(minutes=16).block("m1", "20.00")  # the other meter of the account was read 17 minutes ago
    assert (house.account().credit, house.orders()) == ("exhausted", [])
    assert "no confirmed reading of the last 15 minutes (F1)" in str([e for e in house.events() if e.kind == "cut_held"][-1].data)
    house.block("m2", "0.00")
    assert [c.meter for c in house.open()] == ["m1", "m2"]


@pytest.mark.parametrize(("waited_s", "sent"), [(15 * 60, True), (15 * 60 + 1, False)])
def test_f1_evidence_that_grew_old_in_the_queue_stops_the_cut(house: House, waited_s: int, sent: bool) -> None:
    house.settle(balance="1").exhaust()
    [ordered] = house.open()
    house.do(lambda tx: tx.save_command(replace(ordered, expires_ms=ordered.expires_ms + 10**9)))
    house.later(s=waited_s)
    assert (house.start(ordered.id) is not None) is sent


def test_f1_a_single_reading_supports_no_cut_its_confirmation_does(house: House) -> None:
    house.settle(balance="1")
    for total, orders in [("0.00", []), ("10.00", []), ("10.00", ["cut queued"])]:
        house.later(minutes=1).read(total=total, contact=CLOSED)
        assert house.orders() == orders


def test_f1_a_reading_from_after_our_own_present_is_no_evidence(house: House) -> None:
    house.settle(balance="1").block(total="0.00")
    house.site = replace(house.site, clock_trusted=False)
    house.later(minutes=1).block(total="10.00")
    house.site = replace(house.site, clock_trusted=True)
    house.later(hours=-5)  # the clock was set back: how old the reading is, nobody knows
    house.read(contact=CLOSED)
    assert house.orders() == []
    house.later(hours=5, minutes=1).read(contact=CLOSED)
    assert house.orders() == ["cut queued"]


@pytest.mark.parametrize("total", ["9.99", "500.00"])
def test_f1_a_held_bill_supports_no_cut(house: House, total: str) -> None:
    house.settle(balance="6").exhaust()  # 1.00 left
    house.later(minutes=1).block(total=total)
    house.change(policy=replace(POLICY, cut_micro=10_000_000, low_micro=20_000_000))  # exhausted by the new threshold
    assert (house.account().credit, house.orders()) == ("exhausted", [])
    house.later(minutes=1).block(total="10.01")
    assert house.orders() == ["cut queued"]


def test_protect_lifts_a_cut_and_its_end_cuts_only_with_a_new_notice(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(OPEN)
    house.change(protect_until_ms=house.now_ms + 3_600_000)
    assert house.orders() == ["cut verified", "restore queued"]
    house.carry_out(CLOSED)
    house.later(minutes=1).block(total="12.00")
    assert (house.relay(), house.open()) == ("closed, seen closed", [])
    house.kinds()
    house.later(hours=1).block(total="13.00")
    assert house.kinds() == ["low_balance_warned", "cut_ordered"]
    assert house.account().warned_ms == house.now_ms


def test_protect_that_begins_before_the_cut_is_sent_stops_it(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.change(protect_until_ms=house.now_ms + 3_600_000)
    assert (house.orders(), house.relay()) == (["cut superseded"], "closed, seen closed")


def test_never_cut_given_to_a_dark_house_brings_its_light_back(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(OPEN)
    house.change(never_cut=True)
    assert house.orders() == ["cut verified", "restore queued"]


def test_paid_before_the_cut_is_sent_nothing_is_sent_at_all(house: House) -> None:
    house.settle(balance="1").exhaust()
    [ordered] = house.open()
    assert '"next":"none"' in (house.topup("20.00").payment.receipt or "")
    assert (house.orders(), house.start(ordered.id), house.relay()) == (["cut superseded"], None, "closed, seen closed")


def test_paid_too_little_before_the_cut_is_sent_leaves_the_cut(house: House) -> None:
    house.settle(balance="1").exhaust()
    assert '"next":"still_below"' in (house.topup("1.00").payment.receipt or "")
    assert (house.balance(), house.orders()) == ("-3.000000", ["cut queued"])


def test_paid_while_the_cut_is_on_the_wire_the_restore_overtakes(house: House) -> None:
    house.settle(balance="1").exhaust()
    job = house.start()
    assert '"next":"restored"' in (house.topup("20.00").payment.receipt or "")
    assert house.orders() == ["cut superseded", "restore queued"]
    assert job is not None
    house.finish(job, OK)  # the acknowledgement comes late and changes nothing
    assert house.orders() == ["cut superseded", "restore queued"]
    assert house.carry_out(CLOSED).state == "verified"


@pytest.mark.parametrize("outcome", [OK, SILENT, BROKE])
def test_paid_during_the_read_back(house: House, outcome: object) -> None:
    house.settle(balance="1").exhaust()
    cut = house.send(outcome)  # type: ignore[arg-type]
    house.topup("20.00")
    assert house.orders() == ["cut superseded", "restore queued"]
    seen = Answered(switch=SwitchReading(OPEN, "relay_bit", house.now_ms, 0))
    house.do(lambda tx: finish_readback(tx, cut.id, seen, house.site, house.now_ms))  # its answer comes late
    assert (house.command(cut.id).state, house.account().credit) == ("superseded", "normal")
    assert house.carry_out(CLOSED).state == "verified"


def test_paid_after_a_refused_cut_there_is_nothing_to_restore(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.send(NAK)
    house.topup("20.00")
    assert (house.orders(), house.relay()) == (["cut refused"], "closed, seen closed")


def test_paid_while_a_lost_cut_waits_to_be_sent_again_supply_is_made_sure_of(house: House) -> None:
    """It stood unmoved at two looks; but it was sent once, and may still be obeyed."""
    house.settle(balance="1").exhaust()
    cut = house.send(SILENT)
    for _ in range(2):
        cut = house.look(cut, CLOSED)
    assert (cut.state, cut.attempts) == ("queued", 1)
    house.topup("20.00")
    assert house.orders() == ["cut superseded", "restore queued"]


def test_a_cut_that_took_effect_after_it_was_given_up_is_undone(house: House) -> None:
    """It stood unmoved, was queued again, was then paid away, and moved after all."""
    house.settle(balance="1").exhaust()
    cut = house.send(SILENT)
    for _ in range(2):
        cut = house.look(cut, CLOSED)
    assert cut.state == "queued"
    house.topup("20.00")
    for command in house.open():  # whatever is on its way ends without effect
        job = house.start(command.id)
        house.finish(job, NAK)
    house.later(minutes=1).block(total="10.00", contact=OPEN)
    house.later(hours=13).block(total="10.00", contact=OPEN)
    assert house.open()[-1].verb == "restore"


def test_paid_over_and_over_between_cuts_never_leaves_the_house_dark(house: House) -> None:
    """The first cut is on the wire, paid; the restore waits, spent; the second cut waits, paid: the first one moved the switch."""
    house.settle(balance="1").exhaust()
    house.finish(house.start(), SILENT)
    house.topup("5.00", "S-1")
    house.later(minutes=1).block(total="14.00")  # 2.00 used of 1.00
    house.topup("5.00", "S-2")
    house.later(minutes=1).block(total="14.00", contact=OPEN)
    assert [c.verb for c in house.open()] == ["restore"]


def test_one_extra_read_is_spent_before_a_cut_when_the_evidence_is_a_quarter_of_an_hour_old(house: House) -> None:
    """A meter without rate registers, read every 15 minutes: its own schedule never gives evidence that is fresh (F1)."""

    def wanted() -> bool:
        return house.do(lambda tx: wants_confirmation(tx, "m1", house.now_ms))

    house.settle(balance="1")
    for total in ("0.00", "3.00", "6.00"):
        house.read(total=total, contact=CLOSED)
        house.later(minutes=15, s=1)
    house.read(total="9.00", contact=CLOSED)
    assert (house.relay(), wanted()) == ("closed, seen closed", True)
    house.later(s=1)
    house.read(total="9.00", contact=CLOSED)
    assert (house.relay(), wanted()) == ("open (credit:energy_debt), seen closed", False)
