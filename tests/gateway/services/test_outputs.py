"""What foreign systems are shown of meters, and what they may order."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from gateway.domain.budgets import Budgets, Window
from gateway.domain.events import EventKind
from gateway.domain.meters import Contact, SwitchKind
from gateway.domain.outputs import ORDER_LIVES_MS, OutsideCuts, Portrait, supply_order
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import CommandState, Verb
from gateway.services.order_from_output import order_from_output
from gateway.services.portray import concerned, kinds, portray
from gateway.services.ports import SupplyAnswer
from tests.gateway.services.house import House, account, meter

EMERGENCY = OutsideCuts("emergency")


def picture(house: House, ident: str = "m1", *silent: str) -> Portrait:
    return house.do(lambda tx: portray(tx, [ident], silent))[ident]


def ask(house: House, verb: Verb, cuts: OutsideCuts = EMERGENCY, *, id: str = "ha-1", ident: str = "m1") -> SupplyAnswer:
    order = supply_order(id, ident, verb, "homeassistant", cuts, house.now_ms)
    assert isinstance(order, SupplyOrder)
    return house.do(lambda tx: order_from_output(tx, order, house.site, house.now_ms))


def events(house: House, kind: EventKind) -> list[dict[str, object]]:
    return [dict(each.event.data) for each in house.do(lambda tx: tx.events(50)) if each.event.kind is kind]


class TestPortraits:
    def test_a_meter_with_everything_known_of_it(self, house: House) -> None:
        house.settle(meter(ratio=Fraction(40)), balance="20")
        house.read(total="1.00", t1="1.00", t2="0.00", power="-0.1234", contact=Contact.CLOSED)
        seen = picture(house)
        assert (seen.model, seen.serial, seen.line, seen.switch) == ("dlt645-single", "1", "bus-1", True)
        assert seen.energy_wh == {"energy_import": 40_000, "energy_import_t1": 40_000, "energy_import_t2": 0}
        assert seen.power_w == {"power": -4936}
        assert (seen.account, seen.balance, seen.currency, seen.credit) == ("A-1", "20.00", "CNY", "normal")
        assert (seen.observed, seen.observed_ms, seen.answering) == (Contact.CLOSED, house.now_ms, True)
        assert {name: str(latest.item.value) for name, latest in seen.items.items()}["energy_import"] == "1.00"

    def test_pain_21_a_zero_between_two_readings_is_no_energy(self, house: House) -> None:
        house.settle()
        house.block(total="100.00")
        house.later(minutes=1).block(total="0.00")
        seen = picture(house)
        assert seen.items["energy_import"].item.value == 0
        assert seen.energy_wh["energy_import"] == 100_000

    def test_a_meter_of_nobody_that_was_never_read(self, house: House) -> None:
        house.settle(meter(account=None, switch=SwitchKind.NONE), accounts=())
        seen = picture(house)
        assert (seen.energy_wh, seen.power_w) == ({}, {})
        assert (seen.balance, seen.currency, seen.order, seen.switch) == (None, None, None, False)

    def test_the_last_order_and_silence(self, house: House) -> None:
        house.settle()
        ask(house, Verb.CUT)
        house.carry_out(Contact.OPEN)
        seen = picture(house, "m1", "m1")
        assert seen.order is not None and (seen.order.command, seen.order.verb, seen.order.state) == ("ha-1", "cut", "verified")
        assert (seen.observed, seen.answering) == (Contact.OPEN, False)

    def test_meters_that_are_gone_have_no_picture(self, house: House) -> None:
        assert house.settle().do(lambda tx: portray(tx, ["m1", "m9"])).keys() == {"m1"}

    def test_rows_name_the_meters_they_are_about(self, house: House) -> None:
        house.settle(meter("m1"), meter("m2"), meter("m3", account="A-2"), accounts=(account(), account("A-2")), balance="5")
        before = house.do(lambda tx: tx.outbox_state().last)

        def about() -> list[str]:
            return house.do(lambda tx: concerned(tx, tx.news(before, 2**63 - 1, 100)))

        house.read("m3", power="1")
        assert about() == ["m3"]
        house.topup("50")
        assert about() == ["m3", "m1", "m2"]

    def test_another_currency_line_or_model_is_another_kind(self, house: House) -> None:
        house.settle()
        before = house.do(kinds)
        house.do(lambda tx: tx.save_meter(meter(profile="dlt645-three")))
        assert house.do(kinds)["m1"] != before["m1"]
        house.do(lambda tx: tx.save_meter(meter(desired=Contact.OPEN)))
        assert house.do(kinds)["m1"] == before["m1"]


class TestOrders:
    def test_a_cut_is_ordered_under_its_cause_and_the_outputs_name(self, house: House) -> None:
        answer = ask(house.settle(), Verb.CUT)
        assert answer.command is not None and answer.refused is None
        command = house.command("ha-1")
        assert (command.state, command.cause) == (CommandState.QUEUED, "emergency")
        assert command.expires_ms == house.now_ms + ORDER_LIVES_MS
        rows = house.do(lambda tx: tx.audit_rows(0, 100))
        assert [row.who for row in rows if row.act == "permit_cut"] == ["output:homeassistant"]

    def test_what_comes_too_late_is_not_sent(self, house: House) -> None:
        ask(house.settle(), Verb.CUT)
        house.later(s=121)
        assert house.start("ha-1") is None
        assert house.command("ha-1").state is CommandState.EXPIRED

    @pytest.mark.parametrize(
        ("cuts", "why"),
        [
            (OutsideCuts("contract_time_table"), "no signed plan is named"),
            (OutsideCuts("demand_response"), "no contract that allows it is named"),
            (OutsideCuts("energy_debt"), "there is credit left"),
        ],
    )
    def test_what_its_cause_needs_is_asked_for(self, house: House, cuts: OutsideCuts, why: str) -> None:
        house.settle(accounts=(account(agreement=None),), balance="50")
        answer = ask(house, Verb.CUT, cuts)
        assert answer.command is None and why in (answer.refused or "")
        (told,) = events(house, EventKind.COMMAND_UNREADABLE)
        assert told["who"] == "output:homeassistant" and why in str(told["reason"])

    def test_facts_of_the_configuration_make_a_permission(self, house: House) -> None:
        answer = ask(house.settle(), Verb.CUT, OutsideCuts("demand_response", {"contract": "C-7"}))
        assert answer.refused is None
        permission = house.do(lambda tx: tx.permissions(1))[0]
        assert (permission.evidence["contract"], permission.evidence["event"]) == ("C-7", "ha-1")

    def test_over_its_budget_a_cut_waits_for_a_person(self, house: House) -> None:
        house.settle(meter("m1"), meter("m2"))
        house.site = replace(house.site, budgets=Budgets(ordered=(Window(3_600_000, 1),)))
        assert ask(house, Verb.CUT).refused is None
        ask(house, Verb.CUT, id="ha-2", ident="m2")
        assert house.command("ha-2").state is CommandState.QUARANTINED

    def test_protection_wins(self, house: House) -> None:
        house.settle(accounts=(account(never_cut=True),))
        assert ask(house, Verb.CUT, OutsideCuts("contract_time_table", {"plan": "P"})).command is None

    def test_pressed_twice_is_ordered_once(self, house: House) -> None:
        ask(house.settle(), Verb.CUT)
        again = ask(house, Verb.CUT, id="ha-2")
        assert again.command is not None and again.command.id == "ha-1"

    def test_a_restore_lifts_it_again_and_a_debt_stays(self, house: House) -> None:
        house.settle(balance="50")
        ask(house, Verb.CUT)
        house.carry_out(Contact.OPEN)
        assert ask(house, Verb.RESTORE, id="ha-2").refused is None
        assert house.command("ha-2").verb in (Verb.RESTORE, Verb.ALLOW_CLOSE)

    def test_an_unknown_meter_is_refused_and_named_in_the_event(self, house: House) -> None:
        assert "not in the archive" in (ask(house.settle(), Verb.RESTORE, ident="m9").refused or "")
        assert len(events(house, EventKind.COMMAND_UNREADABLE)) == 1

    def test_without_a_cause_there_is_no_cut(self) -> None:
        said = supply_order("x-1", "m1", Verb.CUT, "sparkplug", OutsideCuts(), 0)
        assert said == "output sparkplug may not cut: its configuration names no cut_cause"
