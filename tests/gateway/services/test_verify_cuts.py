"""No cut command without a live permission: what the verifier of the ledger finds (prepayment.md, "What we decided" 8)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.meters import Contact
from gateway.domain.permissions import CutPermission
from gateway.domain.supply import Verb
from gateway.services.verify_cuts import verify_cuts
from tests.gateway.services.house import House


@pytest.fixture
def cut(house: House) -> House:
    """A debtor cut as it should be, on a gateway that has started."""
    house.restart()
    house.settle(balance="1").exhaust().later(s=1)
    assert house.carry_out(Contact.OPEN).state == "verified"
    return house


def finding(house: House) -> str | None:
    found = house.do(verify_cuts)
    assert house.verified() == found, "it is one of the points of the ledger's verifier"
    return found


def test_a_cut_on_its_permission_is_sound(cut: House) -> None:
    assert finding(cut) is None
    [command] = [c for c in cut.do(lambda tx: tx.commands(9)) if c.verb is Verb.CUT]
    permission = cut.do(lambda tx: tx.permission(command.permission or 0))
    assert permission is not None and (permission.account, permission.cause, permission.origin) == ("A-1", "energy_debt", "credit")
    assert permission.evidence.keys() >= {"reading", "balance", "warned", "calendar", "clock", "budget", "key"}
    assert permission.until_ms == command.expires_ms


def test_a_cut_that_names_no_permission_is_found(cut: House) -> None:
    [command] = cut.do(lambda tx: tx.commands(1))
    cut.do(lambda tx: tx.save_command(replace(command, permission=None)))
    assert finding(cut) == f"cut {command.id} was sent and names no permission"


def test_a_cut_on_anothers_permission_is_found(cut: House) -> None:
    [command] = cut.do(lambda tx: tx.commands(1))
    other = cut.do(lambda tx: tx.add_permission(CutPermission(0, "A-9", "energy_debt", "credit", 0, 2**50, {})))
    cut.do(lambda tx: tx.save_command(replace(command, permission=other.number)))
    assert finding(cut) == f"cut {command.id} was sent on permission {other.number}, which is not for it"


def test_a_cut_that_the_audit_log_does_not_know_is_found(cut: House) -> None:
    [command] = cut.do(lambda tx: tx.commands(1))
    cut.do(lambda tx: tx.add_command(replace(command, id="smuggled")))
    assert finding(cut) == "cut smuggled was sent, and the audit log does not say so"


@pytest.mark.parametrize(("shift_ms", "said"), [(-600_000 * 2, "when that did not live"), (600_000 * 2, "when that did not live")])
def test_a_cut_sent_outside_its_permissions_life_is_found(cut: House, shift_ms: int, said: str) -> None:
    [command] = cut.do(lambda tx: tx.commands(1))
    data = {"command": command.id, "permission": str(command.permission)}
    cut.do(lambda tx: tx.add_audit(cut.now_ms + shift_ms, "rules", "send_cut", "m1", data))
    assert said in str(finding(cut))


def test_a_cut_sent_after_its_permission_was_withdrawn_is_found(cut: House) -> None:
    [command] = cut.do(lambda tx: tx.commands(1))
    permission = cut.do(lambda tx: tx.permission(command.permission or 0))
    assert permission is not None
    cut.do(lambda tx: tx.save_permission(replace(permission, withdrawn_ms=permission.given_ms)))
    assert "after that was withdrawn" in str(finding(cut))


def test_a_cut_on_a_permission_that_there_is_not_is_found(cut: House) -> None:
    [command] = cut.do(lambda tx: tx.commands(1))
    data = {"command": command.id, "permission": "77"}
    cut.do(lambda tx: tx.add_audit(cut.now_ms, "rules", "send_cut", "m1", data))
    assert "was sent on permission 77, which there is not" in str(finding(cut))


def test_what_was_cut_before_there_were_permissions_is_left_alone(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(Contact.OPEN)
    [command] = house.do(lambda tx: tx.commands(1))
    house.do(lambda tx: tx.save_command(replace(command, permission=None)))
    house.later(minutes=1).restart()
    assert finding(house) is None


def test_lifting_a_debt_withdraws_what_permitted_its_cut(house: House) -> None:
    house.restart()
    house.settle(balance="1").exhaust()
    house.topup("20.00")
    [permission] = house.do(lambda tx: tx.permissions(9, "A-1"))
    assert permission.withdrawn_ms == house.now_ms and not permission.live(house.now_ms)
    assert finding(house) is None
