"""Commands from the centre: judged once, answered each time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.domain.events import EventKind, Json, Topic
from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.meters import Meter, SwitchKind
from gateway.domain.supply import CommandState, Verb
from gateway.services.ports import Site
from gateway.services.receive_command import receive_command, receive_unreadable
from tests.gateway.services.memory_tx import MemoryTx

T0 = 1_767_225_600_000
SITE = Site("G1", "Asia/Shanghai", clock_trusted=True)
CUT = IncomingCommand(
    id="c-1",
    gateway="G1",
    verb="cut",
    meter="M1",
    account=None,
    cause="emergency",
    issued_ms=T0,
    expires_ms=T0 + 300_000,
    reason="fire",
    counter=1,
)


@pytest.fixture
def tx() -> MemoryTx:
    """One meter with a switch, nobody's account."""
    tx = MemoryTx()
    tx.save_meter(Meter("M1", "a", "000000000001", "dlt645-2007", "p", None, "P1", SwitchKind.INTERNAL, "a"))
    return tx


def results(tx: MemoryTx, command: str = "c-1") -> list[dict[str, Json]]:
    """What is on its way up about a command."""
    rows = [row.message for row in tx.outgoing(0, 1000)]
    return [dict(m.body) for m in rows if m.topic is Topic.RESULT and m.subject == command]


def test_a_cut_is_ordered_and_its_result_is_on_its_way(tx: MemoryTx) -> None:
    answer = receive_command(tx, CUT, SITE, T0)
    assert answer.command is not None and answer.refused is None
    command = tx.command("c-1")
    assert command is not None and (command.verb, command.state, command.origin) == (Verb.CUT, CommandState.QUEUED, "uplink")
    assert command.expires_ms == T0 + 300_000
    assert [(r["state"], r["final"]) for r in results(tx)] == [("queued", False)]


def test_the_same_id_gives_the_same_answer_and_moves_nothing(tx: MemoryTx) -> None:
    receive_command(tx, CUT, SITE, T0)
    moved = tx.command("c-1")
    assert moved is not None
    tx.save_command(replace(moved, state=CommandState.VERIFIED, evidence=("relay_bit",)))
    for again in (CUT, replace(CUT, verb="restore", cause=None), replace(CUT, gateway="G2")):
        receive_command(tx, again, SITE, T0 + 10**9)
    assert [r["state"] for r in results(tx)] == ["queued", "verified", "verified", "verified"]
    assert len(tx.commands(100)) == 1


NO: tuple[tuple[str, IncomingCommand, str, str], ...] = (
    ("expired", replace(CUT, expires_ms=T0), "expired", "after its expiry"),
    ("foreign", replace(CUT, gateway="G2"), "refused", "is for gateway G2"),
    ("other verb", replace(CUT, verb="explode"), "refused", "explode is not served"),
    ("account", replace(CUT, meter=None, account="0123456789abcdef"), "refused", "name its meters"),
    ("no meter", replace(CUT, meter="M9"), "refused", "M9 is not in the archive"),
    ("no cause", replace(CUT, cause=None), "refused", "names its cause"),
    ("cause of ours", replace(CUT, cause="safety"), "refused", "names its cause"),
)


@pytest.mark.parametrize(("command", "state", "why"), [row[1:] for row in NO], ids=[row[0] for row in NO])
def test_refused_with_a_reason_and_for_ever(tx: MemoryTx, command: IncomingCommand, state: str, why: str) -> None:
    answer = receive_command(tx, command, SITE, T0)
    assert answer.command is None and answer.refused is not None and why in answer.refused
    receive_command(tx, command, SITE, T0 + 1000)
    receive_command(tx, CUT, SITE, T0)  # now in good form, but the id is spent
    assert [(r["state"], r["final"]) for r in results(tx)] == [(state, True)] * 3
    assert all(why in str(r["reason"]) for r in results(tx))
    assert not tx.commands(100)
    json.dumps(results(tx))


@pytest.mark.parametrize("change", ({"gateway": "G2"}, {"expires_ms": T0}))
def test_a_foreign_or_late_command_is_an_event(tx: MemoryTx, change: dict[str, Any]) -> None:
    receive_command(tx, replace(CUT, **change), SITE, T0)
    assert [stored.event.kind for stored in tx.events(10)] == [EventKind.COMMAND_REFUSED]


def test_an_order_under_way_is_not_doubled(tx: MemoryTx) -> None:
    receive_command(tx, CUT, SITE, T0)
    answer = receive_command(tx, replace(CUT, id="c-2"), SITE, T0 + 1)
    assert answer.command is None and "c-1 is already doing this" in str(answer.refused)
    assert [r["state"] for r in results(tx, "c-2")] == ["superseded"]
    assert len(tx.commands(100)) == 1


def test_what_cannot_be_read_is_an_event_and_answered_where_it_names_an_id(tx: MemoryTx) -> None:
    receive_unreadable(tx, UnreadableCommand("this command is not UTF-8"), T0)
    receive_unreadable(tx, UnreadableCommand("a retained command moves nothing", "c-7"), T0)
    assert [stored.event.kind for stored in tx.events(10)] == [EventKind.COMMAND_UNREADABLE] * 2
    [said] = results(tx, "c-7")
    assert (said["state"], said["verb"], said["reason"]) == ("refused", None, "a retained command moves nothing")


def test_a_retained_copy_does_not_touch_the_answer_of_the_real_command(tx: MemoryTx) -> None:
    receive_command(tx, CUT, SITE, T0)
    receive_unreadable(tx, UnreadableCommand("a retained command moves nothing", "c-1"), T0)
    assert [r["state"] for r in results(tx)] == ["queued", "queued"]
    assert len(tx.commands(100)) == 1
