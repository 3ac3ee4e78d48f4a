"""Supply protect of an account: who owns it, when it ends, what it lifts, and that its end cuts nobody (prepayment.md 4)."""

from __future__ import annotations

import pytest

from gateway.domain.credit import CreditState
from gateway.domain.meters import Contact
from gateway.domain.requests import Protection
from gateway.domain.supply import Verb
from gateway.services.protect_account import LONGEST_MS, protect_account
from tests.gateway.services.house import House

HOUR_MS = 3_600_000


def protect(house: House, until_ms: int | None, account: str = "A-1") -> str | None:
    wanted = Protection(account, until_ms, "Li Wei", "oxygen concentrator")
    return house.do(lambda tx: protect_account(tx, wanted, house.site, house.now_ms))


def cut_for_debt(house: House) -> None:
    """10 kWh at 0.50 on an opening of 1.00, and the cut verified."""
    house.settle(balance="1").exhaust()
    house.later(minutes=1).block(total="10.00")
    assert house.carry_out(Contact.OPEN).state == "verified"
    house.block(total="10.00", contact=Contact.OPEN)
    assert house.account().credit is CreditState.CUT


def test_it_lifts_a_cut_for_debt_and_names_its_owner(house: House) -> None:
    cut_for_debt(house)
    house.kinds()
    until_ms = house.now_ms + HOUR_MS
    assert protect(house, until_ms) is None
    assert house.account().protect_until_ms == until_ms and house.meter().cut_reasons == ()
    assert [c.verb for c in house.open()] == [Verb.RESTORE]
    event = house.events()[0]
    assert (event.kind, event.data["owner"], event.data["reason"]) == ("supply_protected", "Li Wei", "oxygen concentrator")
    assert event.data["until_ms"] == until_ms
    assert house.carry_out(Contact.CLOSED).state == "verified"
    house.later(minutes=1).block(total="10.00")
    assert house.open() == [], "while it lasts nobody cuts for debt"
    assert house.order(Verb.CUT).refused == "no permission to cut: supply protect is on"


@pytest.mark.parametrize("by_hand", [True, False])
def test_its_end_cuts_nobody_and_only_a_new_notice_does(house: House, by_hand: bool) -> None:
    cut_for_debt(house)
    assert protect(house, house.now_ms + HOUR_MS) is None
    house.carry_out(Contact.CLOSED)
    house.kinds()
    if by_hand:
        assert protect(house, None) is None
        assert house.kinds() == ["supply_unprotected"] and house.open() == []
    else:
        house.later(hours=1.1)
    house.later(minutes=1).block(total="10.00")
    house.later(minutes=1).block(total="10.00")
    assert house.kinds().index("low_balance_warned") >= 0
    assert house.carry_out(Contact.OPEN).state == "verified", "the twin: after the new notice the debt is cut"


@pytest.mark.parametrize(
    ("offset_ms", "account", "said"),
    [
        (HOUR_MS, "A-9", "account A-9 is not known here"),
        (0, "A-1", "ends in the future"),
        (-HOUR_MS, "A-1", "ends in the future"),
        (LONGEST_MS + 1, "A-1", "at most 366 days"),
        (None, "A-1", "is not protected"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_changes_nothing(house: House, offset_ms: int | None, account: str, said: str) -> None:
    house.settle()
    house.kinds()
    refused = protect(house, None if offset_ms is None else house.now_ms + offset_ms, account)
    assert refused is not None and said in refused
    assert house.account().protect_until_ms is None and house.kinds() == []


def test_it_is_prolonged_and_shortened(house: House) -> None:
    house.settle(balance="10")
    for hours in (1, 24, 2):
        assert protect(house, house.now_ms + hours * HOUR_MS) is None
        assert house.account().protect_until_ms == house.now_ms + hours * HOUR_MS
