"""The whole life of a prepaid house: warned, out, cut, seen open, paid, seen closed (prepayment.md "What we decided" 2, 3, 10)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.events import Topic
from gateway.domain.jobs import Answered
from gateway.domain.meters import Contact, SwitchKind
from gateway.domain.supply import SwitchReading, Verb
from tests.gateway.services.house import POLICY, House, account, meter, yuan

CLOSED, OPEN, ALLOWED = Contact.CLOSED, Contact.OPEN, Contact.ALLOWED


def test_the_whole_life(house: House) -> None:
    house.settle(balance="10").block(total="0.00")
    assert house.account().credit == "normal"

    house.later(minutes=1).block(total="10.00")  # 5.00 left: at the threshold
    assert (house.balance(), house.account().credit, house.kinds()) == ("5.000000", "low", ["low_balance_warned"])
    house.later(minutes=1).block(total="15.00")
    assert house.kinds() == []  # warned once

    house.later(minutes=1).block(total="20.00")
    assert (house.balance(), house.account().credit) == ("0.000000", "exhausted")
    assert (house.kinds(), house.orders()) == (["balance_exhausted", "cut_ordered"], ["cut queued"])
    assert house.relay() == "open (credit:energy_debt), seen closed"

    command = house.send()
    assert (command.state, command.attempts, command.read_at_ms) == ("acknowledged", 1, house.now_ms + 4000)
    assert house.account().credit == "exhausted"  # an acknowledgement is not an outcome
    command = house.look(command, OPEN, power_w=0)
    assert (command.state, command.evidence, command.reason) == ("verified", ("relay_bit", "load"), None)
    assert (house.account().credit, house.relay()) == ("cut", "open (credit:energy_debt), seen open")
    assert house.kinds() == ["cut_verified"]

    house.later(minutes=1).block(total="20.00", contact=OPEN)
    assert (house.kinds(), house.orders()) == ([], ["cut verified"])  # nothing more to do while nobody pays

    house.topup("20.00")
    assert (house.balance(), house.account().credit) == ("20.000000", "normal")
    assert house.orders() == ["cut verified", "restore queued"]
    assert house.relay() == "closed, seen open"
    command = house.carry_out(CLOSED, power_w=800)
    assert (command.state, command.evidence) == ("verified", ("relay_bit", "load"))
    assert (house.kinds(), house.relay()) == (["restore_ordered", "topup_posted", "restore_verified"], "closed, seen closed")
    assert house.open() == [] and house.verified() is None


def test_every_change_of_a_command_goes_up_and_the_last_is_final(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(OPEN)
    results = [(m.body["state"], m.body["final"], m.body["evidence"]) for m in house.outgoing(Topic.RESULT)]
    assert results == [
        ("queued", False, []),
        ("sent", False, []),
        ("acknowledged", False, []),
        ("verified", True, ["relay_bit", "load"]),
    ]


def test_allow_close_leaves_the_closing_to_the_customer(house: House) -> None:
    house.settle(accounts=[account(policy=replace(POLICY, reconnect_direct=False))], balance="1").exhaust()
    house.carry_out(OPEN)
    assert '"next":"press_button"' in (house.topup("20.00").payment.receipt or "")
    command = house.send()
    assert command.verb is Verb.ALLOW_CLOSE
    command = house.look(command, ALLOWED, power_w=0)
    assert (command.state, command.evidence, house.relay()) == ("allowed", ("relay_bit",), "closed, seen allowed")
    assert house.kinds()[-1] == "close_allowed"
    for _ in range(3):  # nobody is at home; nothing is sent again
        house.later(minutes=20).block(total="10.00", contact=ALLOWED)
    assert (house.kinds(), house.open()) == ([], [])
    house.later(minutes=1).block(total="10.00", contact=CLOSED)
    assert (house.kinds(), house.relay()) == (["supply_restored"], "closed, seen closed")


def test_the_button_pressed_before_the_read_back_proves_it_too(house: House) -> None:
    house.settle(accounts=[account(policy=replace(POLICY, reconnect_direct=False))], balance="1").exhaust()
    house.carry_out(OPEN)
    house.topup("20.00")
    command = house.carry_out(CLOSED, power_w=300)
    assert (command.verb, command.state, command.evidence) == (Verb.ALLOW_CLOSE, "verified", ("relay_bit", "load"))


def test_a_contactor_has_no_button_and_is_closed_outright(house: House) -> None:
    lent = meter(switch=SwitchKind.CONTACTOR, switch_line="coils")
    house.settle(lent, accounts=[account(policy=replace(POLICY, reconnect_direct=False))], balance="1").exhaust()
    house.carry_out(OPEN, kind="feedback")
    assert '"next":"restored"' in (house.topup("20.00").payment.receipt or "")
    command = house.carry_out(CLOSED, kind="feedback")
    assert (command.verb, command.line, command.state, command.evidence) == (Verb.RESTORE, "coils", "verified", ("feedback",))


def test_a_switch_without_feedback_is_never_called_verified(house: House) -> None:
    house.settle(meter(switch=SwitchKind.EXTERNAL_AUTO, feedback=False), balance="1")
    house.block(total="0.00", contact=None)
    house.later(minutes=1).block(total="10.00", contact=None)
    command = house.carry_out(OPEN, kind="command_only", power_w=None)
    assert (command.state, command.evidence, command.final) == ("command_only", ("command_only",), True)
    assert [m.body["state"] for m in house.outgoing(Topic.RESULT)] == ["queued", "sent", "acknowledged", "acknowledged"]
    assert (house.account().credit, house.relay()) == ("exhausted", "open (credit:energy_debt), seen unknown")
    for _ in range(3):
        house.later(minutes=5).block(total="10.00", contact=None)
    assert house.orders() == ["cut command_only"]  # not sent again and again
    assert '"next":"restored"' in (house.topup("20.00").payment.receipt or "")
    assert house.carry_out(CLOSED, kind="command_only", power_w=None).state == "command_only"
    assert house.orders() == ["cut command_only", "restore command_only"]


def test_a_switch_seen_closed_by_its_load_and_cut_without_proof_comes_back_when_paid(house: House) -> None:
    """Nobody knows whether load flowed right before the cut: it proves nothing, but the house must not stay dark."""
    house.settle(meter(switch=SwitchKind.CONTACTOR, feedback=False), balance="1")
    house.block(total="0.00", contact=None)
    house.read(total="0.00", t1="0.00", t2="0.00", contact=CLOSED, kind="load")
    house.later(minutes=1).block(total="10.00", contact=None)
    assert house.carry_out(OPEN, kind="command_only", power_w=0).state == "command_only"
    assert house.relay() == "open (credit:energy_debt), seen unknown"
    house.topup("20.00")
    assert house.carry_out(CLOSED, kind="load", power_w=900).state == "verified"
    assert (house.orders(), house.relay()) == (["cut command_only", "restore verified"], "closed, seen closed")


@pytest.fixture
def unseen(house: House) -> House:
    """A house without credit whose switch only repeats its order, its cut queued."""
    house.settle(meter(switch=SwitchKind.CONTACTOR, feedback=False), balance="1")
    house.block(total="0.00", contact=None)
    house.later(minutes=1).block(total="10.00", contact=None)
    return house


def _acknowledged(before_w: int | None) -> Answered:
    """What comes of an order in front of which so much load was seen; None where nobody could look."""
    return Answered() if before_w is None else Answered(switch=SwitchReading(CLOSED, "load", 0, before_w))


def test_load_that_flowed_before_a_cut_proves_it_after_a_restart_too(unseen: House) -> None:
    cut = unseen.send(_acknowledged(900))
    unseen.restart()
    cut = unseen.look(cut, OPEN, kind="command_only", power_w=0)
    assert (cut.state, cut.evidence, unseen.account().credit) == ("verified", ("load",), "cut")
    assert unseen.relay() == "open (credit:energy_debt), seen open"


@pytest.mark.parametrize(("before_w", "after_w"), [(None, 0), (5, 0), (900, None)], ids=["unknown", "none", "none-read-back"])
def test_load_on_one_side_of_a_restart_proves_nothing(unseen: House, before_w: int | None, after_w: int | None) -> None:
    cut = unseen.send(_acknowledged(before_w))
    unseen.restart()
    cut = unseen.look(cut, OPEN, kind="command_only", power_w=after_w)
    assert (cut.state, unseen.account().credit) == ("command_only", "exhausted")


def test_load_before_an_earlier_frame_proves_nothing_of_a_later_one(unseen: House) -> None:
    cut = unseen.send(_acknowledged(900))
    unseen.restart()
    for _ in range(2):  # the device was without power meanwhile, and has forgotten its order
        cut = unseen.look(cut, CLOSED, kind="command_only", power_w=0)
    assert cut.state == "queued"
    unseen.start(cut.id)
    unseen.restart()
    assert unseen.look(cut, OPEN, kind="command_only", power_w=0).state == "command_only"


def test_load_before_an_earlier_cut_proves_nothing_of_a_later_one(unseen: House) -> None:
    unseen.look(unseen.send(_acknowledged(900)), OPEN, kind="load", power_w=0)
    unseen.topup("5.00")
    unseen.carry_out(CLOSED, kind="command_only", power_w=0)
    unseen.later(minutes=1).block(total="20.00", contact=None)
    cut = unseen.send(_acknowledged(0))
    unseen.restart()
    assert unseen.look(cut, OPEN, kind="command_only", power_w=0).state == "command_only"


def test_all_meters_of_an_account_are_cut_and_restored_but_the_fire_pump(house: House) -> None:
    house.settle(meter("m1"), meter("m2"), meter("pump", cut_with_account=False), meter("sub", switch=SwitchKind.NONE), balance="8")
    for ident in ("m1", "m2", "pump", "sub"):
        house.block(ident, "0.00", contact=None if ident == "sub" else CLOSED)
    house.later(minutes=1)
    for ident in ("m1", "m2", "pump", "sub"):
        house.block(ident, "4.00", contact=None if ident == "sub" else CLOSED)
    assert (house.balance(), [c.meter for c in house.open()]) == ("0.000000", ["m1", "m2"])
    house.carry_out(OPEN)
    assert house.account().credit == "exhausted"  # the second one is still closed
    house.carry_out(OPEN)
    assert house.account().credit == "cut"
    house.topup("5.01")
    assert [(c.meter, c.verb) for c in house.open()] == [("m1", "restore"), ("m2", "restore")]
    house.carry_out(CLOSED)
    house.carry_out(CLOSED)
    assert [house.relay(i) for i in ("m1", "m2", "pump", "sub")] == ["closed, seen closed"] * 3 + ["closed, seen unknown"]


@pytest.mark.parametrize(
    ("inclusive", "paid", "credit", "next_", "restores"),
    [
        # the account stands at -1.00 and must come to 10.00
        (False, "0.99", "cut", "still_below", 0),
        (False, "1.01", "cut", "still_below", 0),
        (False, "10.99", "cut", "still_below", 0),
        (False, "11.00", "cut", "still_below", 0),
        (False, "11.01", "normal", "restored", 1),
        (True, "10.99", "cut", "still_below", 0),
        (True, "11.00", "normal", "restored", 1),
    ],
)
def test_supply_returns_at_the_close_amount(
    house: House, inclusive: bool, paid: str, credit: str, next_: str, restores: int
) -> None:
    policy = replace(POLICY, close_micro=yuan("10"), close_inclusive=inclusive)
    house.settle(accounts=[account(policy=policy)], balance="4").exhaust(total="10.00")
    house.carry_out(OPEN)
    receipt = house.topup(paid).payment.receipt or ""
    assert f'"next":"{next_}"' in receipt
    assert (house.account().credit, len(house.open())) == (credit, restores)


def test_several_small_payments_add_up_to_the_close_amount(house: House) -> None:
    house.settle(accounts=[account(policy=replace(POLICY, close_micro=yuan("10")))], balance="5").exhaust()
    house.carry_out(OPEN)
    statement = [("S-1", "4.00", "4.000000", 0), ("S-2", "6.00", "10.000000", 0), ("S-3", "0.01", "10.010000", 1)]
    for serial, paid, balance, restores in statement:
        house.topup(paid, serial)
        assert (house.balance(), len(house.open())) == (balance, restores)


def test_an_overdraft_is_used_up_before_the_cut(house: House) -> None:
    policy = replace(POLICY, cut_micro=yuan("-5"))
    house.settle(accounts=[account(policy=policy)], balance="0.01").exhaust(total="10.00")
    assert (house.balance(), house.account().credit, house.orders()) == ("-4.990000", "emergency", [])
    house.later(minutes=1).block(total="10.02")
    assert (house.balance(), house.account().credit, house.orders()) == ("-5.000000", "exhausted", ["cut queued"])


def test_a_cut_supply_seen_closed_again_is_cut_again(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(OPEN)
    house.later(minutes=1).block(total="10.00", contact=CLOSED)  # somebody bridged or pushed it
    assert house.kinds()[-2:] == ["supply_restored", "cut_ordered"]
    house.carry_out(OPEN)
    assert house.orders() == ["cut verified", "cut verified"]
    assert house.account().credit == "cut"


def test_the_second_life_is_warned_anew(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(OPEN)
    house.topup("20.00")
    house.carry_out(CLOSED)
    assert (house.balance(), house.account().credit, house.account().warned_ms) == ("16.000000", "normal", None)
    house.kinds()
    house.later(minutes=5).block(total="42.00")
    assert (house.balance(), house.kinds()) == ("0.000000", ["low_balance_warned", "balance_exhausted", "cut_ordered"])
    assert house.account().warned_ms == house.now_ms


def test_a_supply_open_for_another_reason_counts_as_cut_when_the_credit_is_gone_too(house: House) -> None:
    house.settle(balance="1")
    house.block(total="0.00")
    house.order(Verb.CUT, "emergency")
    house.carry_out(OPEN)
    house.later(minutes=1).block(total="10.00", contact=OPEN)
    assert (house.account().credit, house.relay()) == ("cut", "open (credit:energy_debt, operator:emergency), seen open")
    assert house.orders() == ["cut verified"]  # it stands open already
