"""What each verb of the centre comes to, who may have it done, and what it is answered."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.domain import ledger
from gateway.domain.agreements import Held
from gateway.domain.approvals import ApprovalState
from gateway.domain.events import Json, Topic
from gateway.domain.incoming import IncomingCommand
from gateway.domain.meters import Account, Meter, SwitchKind
from gateway.domain.supply import CommandState, Verb
from gateway.domain.uplink_keys import KeyRole, UplinkKey, Wanted, Why, allows, in_force
from gateway.domain.uplink_orders import LATER, ReplyTo
from gateway.services.approve import approve
from gateway.services.money_held import HELD, save
from gateway.services.ports import Site
from gateway.services.receive_command import receive_command
from gateway.services.stop_switch import stop_cuts, stopped
from gateway.services.two_people import ACTS
from gateway.services.uplink_due import again_of, expire_due
from gateway.services.uplink_keys import ADD_KEY, ask_key, keep_filed, revoke_key
from gateway.services.uplink_verbs import VERBS, finish
from gateway.settings.uplink_keys import VERBS as NAMED
from protocols.uplink.commands import ARGS, EXPIRING, MONEY, TARGETS
from tests.gateway.services.house import FLAT, POLICY
from tests.gateway.services.memory_tx import MemoryTx

T0 = 1_795_262_400_000
SITE = Site("G1", "Asia/Shanghai", clock_trusted=True)
BASE = IncomingCommand("c-1", "G1", "restore", "M1", None, None, T0, T0 + 300_000, "as agreed", 1, kid="centre", digest="d1")
PAID: dict[str, Json] = {
    "bank": "bank-1", "serial": "S-1", "amount": "50.00", "currency": "CNY", "accounting_date": "2026-11-01",
    "paid_at_ms": T0 - 10**9,
}  # fmt: skip


@pytest.fixture
def tx() -> MemoryTx:
    """One account with one meter, and two keys of different people."""
    tx = MemoryTx()
    tx.save_price_list(FLAT)
    tx.save_account(Account("A1", "", "CNY", "flat", POLICY))
    tx.save_meter(Meter("M1", "a", "000000000001", "dlt645-2007", "p", "A1", "P1", SwitchKind.INTERNAL, "a"))
    for kid in ("centre", "watch"):
        tx.save_uplink_key(UplinkKey(kid, f"x-{kid}", verbs=("*",), holder=kid))
    return tx


def command(ident: str, verb: str, counter: int, **change: Any) -> IncomingCommand:
    """One of the key `centre`; the target is what the verb is asked of."""
    target = {"meter": "M1" if "meter" in TARGETS[verb] else None, "account": "A1" if TARGETS[verb] == {"account"} else None}
    expires_ms = T0 + 300_000 if verb in EXPIRING else None
    said = {"verb": verb, "id": ident, "counter": counter, "digest": ident, "expires_ms": expires_ms, **target}
    return replace(BASE, **{**said, **change})


def results(tx: MemoryTx, ident: str) -> list[dict[str, Json]]:
    rows = [row.message for row in tx.outgoing(0, 1000)]
    return [dict(message.body) for message in rows if message.topic is Topic.RESULT and message.subject == ident]


def test_every_verb_of_the_contract_is_known_everywhere() -> None:
    assert set(VERBS) == set(ARGS) == set(TARGETS) == set(NAMED)
    assert set(ARGS) >= EXPIRING | MONEY | LATER and not EXPIRING & MONEY


def test_a_voucher_is_booked_once_whenever_it_comes(tx: MemoryTx) -> None:
    voucher = command("t-1", "topup", 1, args=PAID)
    for _ in range(2):
        assert receive_command(tx, voucher, SITE, T0 + 90 * 24 * 3_600_000).why is None
    other = command("t-2", "topup", 2, args=PAID)
    assert receive_command(tx, other, SITE, T0).why is None
    assert tx.balance(ledger.customer("A1"), "CNY") == 50_000_000
    assert [said["state"] for said in results(tx, "t-1")] == ["done", "done"]
    answer = results(tx, "t-2")[-1]["answer"]
    assert isinstance(answer, dict) and answer["payment"] == "posted"


@pytest.mark.parametrize(
    ("change", "why"),
    (
        ({"args": {**PAID, "amount": "50.000"}}, "exactly 2 decimals"),
        ({"args": {**PAID, "currency": "EUR"}}, "kept in CNY"),
        ({"account": "?0123"}, "not known here"),
    ),
)
def test_a_voucher_that_cannot_be_booked_is_refused(tx: MemoryTx, change: dict[str, Any], why: str) -> None:
    said = receive_command(tx, command("t-1", "topup", 1, **{"args": PAID, **change}), SITE, T0)
    assert said.why is Why.NOT_PERMITTED and why in str(said.refused)
    assert results(tx, "t-1")[-1]["code"] == "not_permitted"


def test_a_voucher_waits_while_no_money_is_taken(tx: MemoryTx) -> None:
    save(tx, Held("e1", T0 - 1, T0, 1, 1))
    assert receive_command(tx, command("t-1", "topup", 1, args=PAID), SITE, T0).later
    order = tx.uplink_order("t-1")
    assert order is not None and order.state == "queued" and not again_of(tx, order, SITE, T0)
    tx.set_meta(HELD, "")
    assert again_of(tx, order, SITE, T0 + 1)
    assert [said["state"] for said in results(tx, "t-1")] == ["queued", "done"]
    assert tx.balance(ledger.customer("A1"), "CNY") == 50_000_000


def test_protection_begins_at_once_and_ends_by_two_keys(tx: MemoryTx) -> None:
    owned: dict[str, Json] = {"owner": "Dr Wang", "until_ms": T0 + 10**9}
    assert receive_command(tx, command("p-1", "protect", 1, args=owned), SITE, T0).why is None
    account = tx.account("A1")
    assert account is not None and account.protected(T0)
    assert receive_command(tx, command("p-2", "unprotect", 2, args={"owner": "Dr Wang"}), SITE, T0).later
    assert [said["state"] for said in results(tx, "p-2")] == ["quarantined"]
    own = command("r-1", "release", 3, args={"id": "p-2"})
    assert receive_command(tx, own, SITE, T0).why is Why.NO_RIGHT
    other = command("r-2", "release", 1, args={"id": "p-2"}, kid="watch")
    assert receive_command(tx, other, SITE, T0).why is None
    account = tx.account("A1")
    assert account is not None and not account.protected(T0)
    assert [said["state"] for said in results(tx, "p-2")] == ["quarantined", "done"]
    assert results(tx, "p-2")[-1]["reason"] == "released by uplink:watch"


@pytest.mark.parametrize("twin", [UplinkKey("twin", "x-other", holder="centre"), UplinkKey("twin", "x-centre", holder="other")])
def test_one_holder_or_one_key_under_two_names_is_no_second_person(tx: MemoryTx, twin: UplinkKey) -> None:
    tx.save_uplink_key(replace(twin, verbs=("*",)))
    owned: dict[str, Json] = {"owner": "Dr Wang", "until_ms": T0 + 10**9}
    assert receive_command(tx, command("p-1", "protect", 1, args=owned), SITE, T0).why is None
    assert receive_command(tx, command("p-2", "unprotect", 2, args={"owner": "Dr Wang"}), SITE, T0).later
    release = command("r-1", "release", 1, args={"id": "p-2"}, kid="twin")
    assert receive_command(tx, release, SITE, T0).why is Why.NO_RIGHT
    account = tx.account("A1")
    assert account is not None and account.protected(T0)


def test_what_waits_for_a_second_person_expires(tx: MemoryTx) -> None:
    receive_command(tx, command("p-1", "protect", 1, args={"owner": "x", "until_ms": T0 + 10**9}), SITE, T0)
    receive_command(tx, command("p-2", "unprotect", 2, args={"owner": "x"}), SITE, T0)
    assert expire_due(tx, T0 + 299_999) == 0 and expire_due(tx, T0 + 300_000) == 1
    approval = tx.approval("p-2")
    assert approval is not None and approval.state is ApprovalState.REFUSED
    assert [said["state"] for said in results(tx, "p-2")] == ["quarantined", "expired"]


def test_a_limit_waits_for_two_people_and_says_what_is_wrong(tx: MemoryTx) -> None:
    said = receive_command(tx, command("l-1", "set_limit", 1, args={"limit": {}, "wrong": "power_w is missing"}), SITE, T0)
    assert said.why is Why.NOT_PERMITTED and said.refused == "power_w is missing"
    assert receive_command(tx, command("l-2", "set_limit", 2, args={"limit": None}), SITE, T0).later
    receive_command(tx, command("r-1", "refuse", 1, args={"id": "l-2"}, kid="watch", reason="not now"), SITE, T0)
    told = [(said["state"], said["reason"]) for said in results(tx, "l-2")]
    assert told == [("quarantined", "it waits for a second person"), ("refused", "not now")]


def test_stop_and_go(tx: MemoryTx) -> None:
    assert receive_command(tx, command("s-1", "stop", 1), SITE, T0).why is None
    assert stopped(tx) == "as agreed (uplink:centre)"
    assert receive_command(tx, command("s-2", "go", 2), SITE, T0).why is None
    assert stopped(tx) is None
    assert "not stopped" in str(receive_command(tx, command("s-3", "go", 3), SITE, T0).refused)


def test_a_go_that_a_later_stop_has_overtaken_does_not_end_it(tx: MemoryTx) -> None:
    assert receive_command(tx, command("s-1", "stop", 4, issued_ms=T0 + 4), SITE, T0 + 9).why is None
    for said in (
        command("s-2", "go", 3, issued_ms=T0 + 5),
        command("s-3", "go", 1, kid="watch", issued_ms=T0 + 3),
    ):
        done = receive_command(tx, said, SITE, T0 + 9)
        assert done.why is Why.SUPERSEDED and "stop" in str(done.refused)
    assert stopped(tx) == "as agreed (uplink:centre)"
    kept = tx.uplink_order("s-2")
    assert kept is not None and kept.state == CommandState.SUPERSEDED.value
    assert receive_command(tx, command("s-4", "stop", 2, kid="watch", issued_ms=T0 + 6), SITE, T0 + 9).why is None
    late = receive_command(tx, command("s-5", "go", 5, issued_ms=T0 + 5), SITE, T0 + 9)
    assert late.refused == "cuts stay stopped: the key watch ordered a stop after it was issued"
    assert receive_command(tx, command("s-6", "go", 6, issued_ms=T0 + 6), SITE, T0 + 9).why is None
    assert stopped(tx) is None


def test_a_late_stop_of_a_lower_counter_stops_and_moves_no_mark_back(tx: MemoryTx) -> None:
    for ident, counter, at_ms in (("s-1", 9, T0 + 9), ("s-2", 3, T0 + 3)):
        assert receive_command(tx, command(ident, "stop", counter, issued_ms=at_ms), SITE, T0 + 9).why is None
    assert receive_command(tx, command("s-3", "go", 5, issued_ms=T0 + 10), SITE, T0 + 9).why is Why.SUPERSEDED
    assert receive_command(tx, command("s-4", "go", 1, kid="watch", issued_ms=T0 + 5), SITE, T0 + 9).why is Why.SUPERSEDED
    assert receive_command(tx, command("s-5", "go", 10, issued_ms=T0 + 9), SITE, T0 + 9).why is None


def test_an_operators_stop_ends_by_a_go_whenever_that_was_issued(tx: MemoryTx) -> None:
    stop_cuts(tx, "operator:ann", "fire", T0 + 9)
    assert receive_command(tx, command("s-1", "go", 1, issued_ms=T0), SITE, T0 + 9).why is None
    assert stopped(tx) is None


def test_an_account_with_one_switch_stands_for_its_meter(tx: MemoryTx) -> None:
    one = command("c-1", "restore", 1, meter=None, account="A1")
    assert receive_command(tx, one, SITE, T0).command is not None
    tx.save_meter(Meter("M2", "a", "000000000002", "dlt645-2007", "p", "A1", "P2", SwitchKind.INTERNAL, "a"))
    two = receive_command(tx, command("c-2", "restore", 2, meter=None, account="A1"), SITE, T0)
    assert two.why is Why.NOT_PERMITTED and "one by one" in str(two.refused)


def test_what_takes_longer_is_kept_and_answered_once(tx: MemoryTx) -> None:
    for number, verb in enumerate(sorted(LATER), 1):
        assert receive_command(tx, command(f"w-{number}", verb, number), SITE, T0).later
        order = tx.uplink_order(f"w-{number}")
        assert order is not None and order.state == "queued"
        finish(tx, order, T0 + 1, "it needs a second person", {}, waits=True)
        finish(tx, order, T0 + 2, None, {"ok": number})
        finish(tx, order, T0 + 3, "too late", {})
        assert [said["state"] for said in results(tx, order.id)] == ["queued", "quarantined", "done"]
        assert results(tx, order.id)[-1]["answer"] == {"ok": number}


def test_cuts_need_a_trusted_clock_and_restores_do_not(tx: MemoryTx) -> None:
    lost = replace(SITE, clock_trusted=False)
    said = receive_command(tx, command("c-1", "cut", 1, cause="emergency"), lost, T0)
    assert said.why is Why.CLOCK
    assert receive_command(tx, command("c-2", "restore", 2), lost, T0).command is not None


def test_an_order_under_way_elsewhere_keeps_its_first_meaning(tx: MemoryTx) -> None:
    receive_command(tx, command("c-1", "restore", 1), SITE, T0)
    changed = replace(command("c-1", "cut", 2, cause="emergency"), digest="another")
    said = receive_command(tx, changed, SITE, T0)
    assert said.why is Why.KNOWN_ID and said.again
    found = tx.command("c-1")
    assert found is not None and found.verb is not Verb.CUT and found.state is CommandState.QUEUED


@pytest.mark.parametrize("correlation", [None, b"", b"\x00\xff 7"])
def test_who_awaits_the_answers_besides_is_kept_with_the_order(tx: MemoryTx, correlation: bytes | None) -> None:
    reply = ReplyTo("desk/7", correlation)
    receive_command(tx, command("l-1", "set_limit", 1, args={"limit": None}, reply=reply), SITE, T0)
    receive_command(tx, command("l-2", "set_limit", 2, args={"limit": None}), SITE, T0)
    kept, other = tx.uplink_order("l-1"), tx.uplink_order("l-2")
    assert kept is not None and other is not None
    assert (kept.reply, kept.arguments, other.reply, other.args) == (reply, {"limit": None}, None, '{"limit": null}')


KEY = UplinkKey(
    "k", "x", verbs=("cut", "topup"), gateways=("G1", "H-*"), meters=("bus-1-*",), causes=("emergency",), most={"topup": 100}
)


@pytest.mark.parametrize(
    ("change", "right"),
    (
        ({}, True),
        ({"verb": "restore"}, False),
        ({"gateway": "G2"}, False),
        ({"gateway": "G11"}, False),
        ({"gateway": "H-7"}, True),
        ({"gateway": "H"}, False),
        ({"meters": ("bus-2-1",)}, False),
        ({"meters": ("bus-1-1", "bus-2-1")}, False),
        ({"cause": "energy_debt"}, False),
        ({"verb": "topup", "cause": None, "micro": 100}, True),
        ({"verb": "topup", "cause": None, "micro": 101}, False),
        ({"meters": ()}, False),
    ),
)
def test_the_scope_of_a_key(change: dict[str, Any], right: bool) -> None:
    wanted = replace(Wanted("cut", "G1", ("bus-1-7",), None, "emergency"), **change)
    assert (allows(KEY, wanted) is None) is right


def test_the_time_of_a_key() -> None:
    key = replace(KEY, from_ms=10, until_ms=20)
    assert [in_force(key, at) is None for at in (9, 10, 19, 20)] == [False, True, True, False]
    assert in_force(replace(key, revoked_ms=1), 15) is not None


def test_a_key_is_added_by_two_people_and_revoked_by_one_for_ever(tx: MemoryTx) -> None:
    key = UplinkKey("new", "x-new", verbs=("restore",))
    asked = ask_key(tx, "k-1", key, "operator:admin", SITE, T0)
    assert asked.approval is not None and asked.approval.act == ADD_KEY and tx.uplink_key("new") is None
    assert approve(tx, "k-1", "operator:admin", SITE, T0, ACTS).refused is not None
    assert approve(tx, "k-1", "operator:other", SITE, T0, ACTS).refused is None
    known = tx.uplink_key("new")
    assert known is not None and (known.role, known.verbs) == (KeyRole.COMMANDS, ("restore",))
    assert revoke_key(tx, "new", "operator:other", T0) is None and revoke_key(tx, "new", "operator:other", T0) is not None
    again = ask_key(tx, "k-2", key, "operator:admin", SITE, T0)
    assert "never given twice" in str(again.refused)
    said = receive_command(tx, command("c-9", "restore", 9, kid="new"), SITE, T0)
    assert said.why is Why.KEY_REVOKED and results(tx, "c-9") == []
    assert [row.act for row in tx.audit_rows(0, 100)] == ["ask_approval", "uplink_key_added", "approved", "uplink_key_revoked"]


def test_the_keys_of_the_file_come_and_go_with_it(tx: MemoryTx) -> None:
    filed = UplinkKey("filed", "x-filed", verbs=("cut",), filed=True)
    keep_filed(tx, [filed], T0)
    keep_filed(tx, [filed], T0 + 1)
    known = tx.uplink_key("filed")
    assert known is not None and known.created_ms == T0 and len(tx.audit_rows(0, 10)) == 1
    keep_filed(tx, [], T0 + 2)
    known = tx.uplink_key("filed")
    assert known is not None and in_force(known, T0 + 2) is not None
    keep_filed(tx, [filed], T0 + 3)
    known = tx.uplink_key("filed")
    assert known is not None and in_force(known, T0 + 3) is None
    revoke_key(tx, "filed", "operator:a", T0 + 4)
    keep_filed(tx, [filed], T0 + 5)
    known = tx.uplink_key("filed")
    assert known is not None and known.revoked_ms == T0 + 4
    json.dumps(tx.audit_rows(0, 10)[-1].data)
