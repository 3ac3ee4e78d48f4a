"""A load limit is changed by two people; the configuration overrules them when it says something new (prepayment.md 6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.approvals import Decision
from gateway.domain.limits import LimitPhase, LoadLimit
from gateway.domain.load_caps import Cap, CapTable
from gateway.domain.meters import Contact
from gateway.services.approve import approve
from gateway.services.set_limit import SET_LIMIT, ask_limit
from gateway.services.show_limit import show_limit
from gateway.services.two_people import ACTS
from gateway.services.watch_limits import watch_limit
from tests.gateway.services.house import House, account, local

OLD = LoadLimit(2000, 10_000, 30_000, 1)
NEW = replace(OLD, power_w=5000, caps=CapTable("plan 7", (Cap(0), Cap(1380, off=True))), written={"trip_delay": 3})


def asked(house: House, limit: LoadLimit | None, ident: str = "L-1", who: str = "operator:li") -> Decision:
    return house.do(lambda tx: ask_limit(tx, ident, "A-1", limit, "new contract", who, house.site, house.now_ms))


def decided(house: House, ident: str = "L-1", who: str = "operator:wang") -> str | None:
    return house.do(lambda tx: approve(tx, ident, who, house.site, house.now_ms, ACTS)).refused


@pytest.fixture
def limited(house: House) -> House:
    house.settle(accounts=[account(limit=OLD)], balance="100")
    house.kinds()
    return house


def test_a_limit_holds_when_a_second_person_says_yes(limited: House) -> None:
    assert asked(limited, NEW).refused is None
    assert limited.account().limit == OLD
    assert decided(limited, who="operator:li") == "operator:li asked for it: another person must approve it"
    assert decided(limited) is None
    after = limited.account()
    assert (after.limit, after.limit_memory.by_people, after.limit_memory.instead_of) == (NEW, True, OLD)
    assert after.limit_memory.changed_ms == limited.now_ms
    assert after.limit_memory.due_ms == limited.now_ms  # its plan is looked at at once
    (row,) = limited.do(lambda tx: [row for row in tx.audit_rows(0, 100) if row.act == SET_LIMIT])
    assert (row.who, row.subject, row.data["second"], row.data["reason"]) == ("operator:li", "A-1", "operator:wang", "new contract")
    assert row.data["was"].startswith("power_w 2000") and row.data["is"].startswith("power_w 5000")
    (told,) = [event for event in limited.events() if event.kind.value == "limit_changed"]
    assert told.data == {"by": "operator:li", "second": "operator:wang"}


def test_the_configuration_overrules_when_it_says_something_new(limited: House) -> None:
    asked(limited, NEW)
    decided(limited)
    limited.settle(accounts=[account(limit=OLD)])
    assert limited.account().limit == NEW
    newest = replace(OLD, power_w=1)
    limited.settle(accounts=[account(limit=newest)])
    assert (limited.account().limit, limited.account().limit_memory.by_people) == (newest, False)


def test_a_limit_that_is_taken_away_frees_what_it_held(limited: House) -> None:
    for _ in range(4):
        limited.later(s=5).read(power="5.000", contact=Contact.CLOSED)
    assert limited.account().limit_state.phase is LimitPhase.TRIPPED
    asked(limited, None)
    decided(limited)
    assert (limited.account().limit, limited.account().limit_state.phase) == (None, LimitPhase.WITHIN)
    assert limited.relay() == "closed, seen closed"
    limited.settle(accounts=[account(limit=OLD)])
    assert limited.account().limit is None
    assert limited.do(lambda tx: show_limit(tx, "A-1", limited.site, limited.now_ms)) is None


def test_who_is_not_there_has_no_limit(limited: House) -> None:
    known = limited.do(lambda tx: ask_limit(tx, "L-1", "A-9", NEW, "x", "operator:li", limited.site, limited.now_ms))
    assert known.refused == "account A-9 is not known here"
    with pytest.raises(LookupError, match="account A-9 is not known here"):
        limited.do(lambda tx: show_limit(tx, "A-9", limited.site, limited.now_ms))


def test_where_a_limit_stands(limited: House) -> None:
    limit = replace(OLD, power_w=5000, caps=CapTable("plan 7", (Cap(0), Cap(1380, 400))), warn=900, policy="p")
    limited.settle(accounts=[account(limit=limit)])
    limited.do(lambda tx: watch_limit(tx, "A-1", limited.site, limited.now_ms))
    limited.now_ms = local("2026-11-24 23:10")
    for _ in range(4):
        limited.later(s=5).read(power="0.500", contact=Contact.CLOSED)
    shown = limited.do(lambda tx: show_limit(tx, "A-1", limited.site, limited.now_ms))
    assert shown is not None
    assert (shown.phase, shown.by, shown.spent, shown.left, shown.policy) == ("tripped", "cap", 0, 1, "p")
    assert (shown.limit_w, shown.allowed_w, shown.power_w, shown.over_itself, shown.off) == (5000, 400, 500, False, False)
    assert shown.next_ms == shown.since_ms + OLD.pause_ms
    assert (shown.month_wh, shown.malignant, shown.advisory, shown.set_by_people) == (None, None, False, False)
