"""From outbox rows to what goes over the wire."""

from __future__ import annotations

import json

import pytest

from gateway.adapters.uplink_payloads import Payloads, pseudonym
from gateway.domain.events import Json, Outgoing, Topic
from gateway.domain.records import OutboxRow
from protocols.uplink import messages
from protocols.uplink.messages import PAYLOAD_LIMIT
from protocols.uplink.topics import NATIVE, Up, UpTopic

KEY = bytes(range(32))
NOON_MS = 1_795_262_400_000
PAYLOADS = Payloads("G1", KEY)


def sent(topic: Topic, subject: str, body: dict[str, Json]) -> tuple[str, dict[str, Json]]:
    row = OutboxRow(7, Outgoing(topic, subject, NOON_MS, body), None, None)
    where, payload = PAYLOADS.encode(row, epoch="e1", low=3, backlog=True)
    parsed = NATIVE.parse(where)
    assert isinstance(parsed, UpTopic)
    messages.decode_up(parsed.kind, payload)  # the centre can read it
    fields: dict[str, Json] = json.loads(payload)
    assert {k: fields.pop(k) for k in ("epoch", "seq", "low", "backlog")} == {"epoch": "e1", "seq": 7, "low": 3, "backlog": True}
    return where, fields


def test_a_reading() -> None:
    items: list[Json] = [{"quantity": "energy_import", "obis": "1-0:1.8.0", "value": "12.30", "unit": "kWh"}]
    body: dict[str, Json] = {"point": "P1", "items": items, "quality": "single", "source": "live"}
    body |= {"asked_ms": NOON_MS - 500, "answered_ms": NOON_MS - 377, "stored_ms": NOON_MS}
    topic, fields = sent(Topic.READING, "M1", body)
    assert topic == "wattgate/v1/G1/up/reading/M1"
    assert fields == {
        "point": "P1",
        "items": items,
        "quality": "single",
        "source": "live",
        "asked": "2026-11-21T11:59:59.500Z",
        "answered": "2026-11-21T11:59:59.623Z",
        "stored": "2026-11-21T12:00:00.000Z",
    }


def test_pain_22_a_value_of_the_past_leaves_with_its_own_time() -> None:
    body: dict[str, Json] = {"point": "P1", "items": [], "quality": "confirmed", "source": "freeze"}
    body["taken_ms"] = NOON_MS - 43_200_000
    body |= {"asked_ms": NOON_MS - 500, "answered_ms": NOON_MS - 377, "stored_ms": NOON_MS}
    _, fields = sent(Topic.READING, "M1", body)
    assert (fields["taken"], fields["answered"]) == ("2026-11-21T00:00:00.000Z", "2026-11-21T11:59:59.623Z")
    assert "taken_ms" not in fields


def test_accounts_are_pseudonyms_at_every_depth() -> None:
    hidden = pseudonym(KEY, "A-17")
    assert len(hidden) == 16 and hidden != pseudonym(KEY[::-1], "A-17")
    data: dict[str, Json] = {"receipt": {"account": "A-17", "kept": [{"account": "A-17"}]}, "command": "c"}
    topic, fields = sent(Topic.EVENT, "M1", {"kind": "topup_posted", "meter": "M1", "account": "A-17", "data": data})
    assert topic == "wattgate/v1/G1/up/event/M1"
    assert fields["account"] == hidden
    assert fields["data"] == {"receipt": {"account": hidden, "kept": [{"account": hidden}]}, "command": "c"}
    topic, fields = sent(Topic.BALANCE, "A-17", {"balance": "3.00", "currency": "CNY", "credit": "low"})
    assert topic == f"wattgate/v1/G1/up/balance/{hidden}" and "A-17" not in json.dumps(fields)


def test_no_name_leaves_and_no_account_as_the_subject_of_its_own_event() -> None:
    body: dict[str, Json] = {"kind": "approval_asked", "meter": None, "account": "A-17", "data": {"subject": "A-17", "who": "w"}}
    _, fields = sent(Topic.EVENT, "gateway", body)
    assert fields["account"] == pseudonym(KEY, "A-17") and fields["data"] == {"subject": pseudonym(KEY, "A-17"), "who": "w"}
    body = {"kind": "supply_protected", "meter": None, "account": "A-17", "data": {"owner": "Li Wei", "blocks": "all"}}
    _, fields = sent(Topic.EVENT, "gateway", body)
    assert fields["data"] == {"owner": pseudonym(KEY, "Li Wei"), "blocks": "all"}
    body = {"kind": "approval_asked", "meter": None, "account": None, "data": {"subject": "office-2"}}
    assert sent(Topic.EVENT, "gateway", body)[1]["data"] == {"subject": "office-2"}


def test_a_result() -> None:
    body: dict[str, Json] = {
        "command": "c-1",
        "meter": "M1",
        "verb": "cut",
        "cause": "emergency",
        "origin": "uplink",
        "state": "verified",
        "final": True,
        "evidence": ["relay_bit"],
        "reason": None,
    }
    topic, fields = sent(Topic.RESULT, "c-1", body)
    assert topic == "wattgate/v1/G1/up/result/c-1"
    assert fields == body | {"at": "2026-11-21T12:00:00.000Z", "answer": {}, "code": None}


BROKEN: tuple[tuple[Topic, str, dict[str, Json], str], ...] = (
    (Topic.READING, "M1", {"point": "P1"}, "at `$.asked`"),
    (Topic.RESULT, "c 1", {"command": "c-1", "state": "x", "final": True}, "cannot stand in a topic"),
    (Topic.EVENT, "gateway", {"kind": "x", "data": {"text": "x" * PAYLOAD_LIMIT}}, "larger than"),
    (Topic.EVENT, "gateway", {"kind": "x", "data": {"text": "\ud800"}}, "surrogates not allowed"),
)


@pytest.mark.parametrize(("topic", "subject", "body", "why"), BROKEN, ids=[row[3] for row in BROKEN])
def test_a_row_that_makes_no_message_is_an_event(topic: Topic, subject: str, body: dict[str, Json], why: str) -> None:
    where, fields = sent(topic, subject, body)
    assert where == "wattgate/v1/G1/up/event/gateway"
    assert isinstance(fields["data"], dict)
    assert (fields["kind"], fields["data"]["topic"], fields["data"]["subject"]) == ("unsendable", topic.value, subject)
    assert why in str(fields["data"]["reason"])


def test_the_words_of_the_domain_and_of_the_wire_are_the_same() -> None:
    assert {t.value for t in Topic} == {k.value for k in Up}
