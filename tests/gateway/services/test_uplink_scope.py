"""How far a key of the centre reaches: to what is about its own meters and accounts, in its time, and the later order wins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.events import EventKind
from gateway.domain.meters import Account, Meter, SwitchKind
from gateway.domain.supply import Verb
from gateway.domain.uplink_keys import UplinkKey, Why
from gateway.services import announce
from gateway.services.receive_command import receive_command
from tests.gateway.services.house import FLAT, POLICY
from tests.gateway.services.memory_tx import MemoryTx
from tests.gateway.services.test_uplink_verbs import SITE, T0, command


@pytest.fixture
def tx() -> MemoryTx:
    """Two accounts with a meter each, a key for everything and keys for A2 or M2 alone."""
    tx = MemoryTx()
    tx.save_price_list(FLAT)
    for number in ("1", "2"):
        tx.save_account(Account(f"A{number}", "", "CNY", "flat", POLICY))
        address = f"00000000000{number}"
        tx.save_meter(Meter(f"M{number}", "a", address, "dlt645-2007", "p", f"A{number}", f"P{number}", SwitchKind.INTERNAL, "a"))
    tx.save_uplink_key(UplinkKey("centre", "x-centre", verbs=("*",), holder="centre"))
    tx.save_uplink_key(UplinkKey("of-a2", "x-a2", verbs=("*",), accounts=("A2",), holder="a2"))
    tx.save_uplink_key(UplinkKey("of-m2", "x-m2", verbs=("*",), meters=("M2",), holder="m2"))
    return tx


@pytest.mark.parametrize("targets", [("account", "account"), ("account", "meter"), ("meter", "account")])
def test_of_one_meter_the_highest_counter_is_the_last_word_however_it_is_named(tx: MemoryTx, targets: tuple[str, str]) -> None:
    named = {"account": {"meter": None, "account": "A1"}, "meter": {"meter": "M1", "account": None}}
    later = command("c-6", "restore", 6, **named[targets[0]])
    assert receive_command(tx, later, SITE, T0).why is None
    late = command("c-5", "cut", 5, cause="emergency", **named[targets[1]])
    assert receive_command(tx, late, SITE, T0 + 1).why is Why.SUPERSEDED
    assert [each.verb for each in tx.open_commands(meter="M1")] in ([], [Verb.RESTORE])


@pytest.mark.parametrize("kid", ["of-a2", "of-m2"])
@pytest.mark.parametrize("verb", ["cancel", "release", "refuse"])
@pytest.mark.parametrize("what", ["cut", "sync_time", "unprotect", "archive", "nothing"])
def test_a_bound_key_decides_about_nothing_of_others(tx: MemoryTx, kid: str, verb: str, what: str) -> None:
    if what != "nothing":
        args = {"owner": "li"} if what == "unprotect" else {}
        given = command("o-1", what, 1, args=args, cause="emergency" if what == "cut" else None)
        receive_command(tx, given, SITE, T0)
    before = tx.uplink_order("o-1")
    said = receive_command(tx, command("d-1", verb, 1, kid=kid, args={"id": "o-1"}), SITE, T0 + 1)
    assert said.why is Why.NO_RIGHT and tx.uplink_order("o-1") == before


@pytest.mark.parametrize(("kid", "target"), [("of-a2", "A2"), ("of-m2", "M2")])
def test_a_bound_key_takes_back_what_is_about_its_own(tx: MemoryTx, kid: str, target: str) -> None:
    assert receive_command(tx, command("o-1", "sync_time", 1, meter="M2"), SITE, T0).why is None
    assert receive_command(tx, command("d-1", "cancel", 1, kid=kid, args={"id": "o-1"}), SITE, T0 + 1).why is None
    kept = tx.uplink_order("o-1")
    assert kept is not None and kept.state == "cancelled", target


def test_a_clock_that_is_set_back_revives_no_key(tx: MemoryTx) -> None:
    ended = UplinkKey("ended", "x-ended", verbs=("*",), until_ms=T0 + 10_000)
    tx.save_uplink_key(ended)
    later = command("c-1", "restore", 1, issued_ms=T0 + 20_000, expires_ms=T0 + 300_000)
    assert receive_command(tx, later, SITE, T0 + 20_000).why is None
    old = replace(command("c-2", "restore", 1, kid="ended"), expires_ms=T0 + 300_000)
    assert receive_command(tx, old, SITE, T0).why is Why.KEY_OUT_OF_TIME


def test_no_answer_names_an_account(tx: MemoryTx) -> None:
    asked = command("r-1", "refund", 1, account="A1", args={"amount": "5.00"})
    said = receive_command(tx, asked, SITE, T0)
    assert said.refused == "account A1 has 0.00 CNY, less than is to be refunded"  # as persons here read it
    told = [row.message.body for row in tx.outgoing(0, 99)]
    assert told and not [body for body in told if "A1" in str(body)], told
    assert told[0]["reason"] == "account … has 0.00 CNY, less than is to be refunded"


def test_no_event_names_an_account_in_a_list(tx: MemoryTx) -> None:
    announce.event(tx, EventKind.CUT_HELD, T0, account="A1", missing=["account A1 is protected", "account A77 is none of ours"])
    [told] = [row.message.body["data"] for row in tx.outgoing(0, 99)]
    assert told == {"missing": ["account … is protected", "account A77 is none of ours"]}
    assert tx.events(1)[0].event.data["missing"] == ["account A1 is protected", "account A77 is none of ours"]
