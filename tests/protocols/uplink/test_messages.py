"""Messages: what is encoded is decoded to the same, and every kind of wrong is refused in one sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.uplink import messages
from protocols.uplink.messages import PAYLOAD_LIMIT, Ack, BadMessage, Item, ReadingMessage, Resend, Status
from protocols.uplink.moments import format_moment
from protocols.uplink.topics import Up

IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
SEQS = st.integers(1, 2**63 - 1)
MOMENTS = st.integers(0, 4_000_000_000_000).map(format_moment)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=50)
NUMBERS = st.decimals(-(10**9), 10**9, places=4).map(lambda d: f"{d:f}")
LEAVES = st.none() | st.booleans() | st.integers() | TEXT
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
DATA = st.dictionaries(TEXT, TREES)
ENVELOPE = {"epoch": IDS, "seq": SEQS, "low": SEQS, "backlog": st.booleans()}
ITEMS = st.fixed_dictionaries(
    {"quantity": st.sampled_from(("energy_import", "voltage_a")), "value": st.none() | NUMBERS, "unit": st.just("kWh")},
    optional={"obis": st.none() | st.just("1-0:1.8.0")},
)
FORMS: dict[Up, st.SearchStrategy[dict[str, Any]]] = {
    Up.READING: st.fixed_dictionaries(
        ENVELOPE
        | {
            "point": TEXT,
            "items": st.lists(ITEMS, max_size=5),
            "quality": st.sampled_from(("single", "confirmed", "suspect", "estimated")),
            "source": st.sampled_from(("live", "freeze", "curve")),
            "asked": MOMENTS,
            "answered": MOMENTS,
            "stored": MOMENTS,
        }
    ),
    Up.EVENT: st.fixed_dictionaries(ENVELOPE | {"kind": IDS, "at": MOMENTS}, optional={"meter": IDS, "account": IDS, "data": DATA}),
    Up.BALANCE: st.fixed_dictionaries(
        ENVELOPE | {"balance": NUMBERS, "currency": st.just("CNY"), "credit": st.just("low"), "at": MOMENTS}
    ),
    Up.RESULT: st.fixed_dictionaries(
        ENVELOPE | {"command": IDS, "state": IDS, "final": st.booleans(), "at": MOMENTS},
        optional={"meter": IDS, "verb": IDS, "reason": TEXT, "evidence": st.lists(IDS, max_size=3)},
    ),
    Up.ANCHOR: st.fixed_dictionaries(ENVELOPE | {"at": MOMENTS, "jws": st.just("a.b.c")}),
}
ANY_UP = st.sampled_from(Up).flatmap(lambda kind: st.tuples(st.just(kind), FORMS[kind]))

NOON = "2026-11-21T12:00:00Z"
EVENT = {"epoch": "e1", "seq": 7, "low": 3, "backlog": False, "kind": "line_up", "at": NOON, "data": {"text": "x"}}


def dump(fields: object) -> bytes:
    return json.dumps(fields).encode()


@given(ANY_UP)
def test_up_messages_come_back(pair: tuple[Up, dict[str, Any]]) -> None:
    kind, fields = pair
    message = messages.decode_up(kind, dump(fields))
    again = messages.decode_up(kind, json.dumps(json.loads(messages.encode(message))).encode()) if _fits(fields) else message
    assert again == message
    assert all(getattr(message, name) == fields[name] for name in ("epoch", "seq", "low", "backlog"))
    assert messages.decode_envelope(dump(fields)).seq == fields["seq"]


def _fits(value: object) -> bool:
    """Whether every integer fits 64 bits: we write no others."""
    if isinstance(value, dict):
        return all(map(_fits, value.values()))
    if isinstance(value, list):
        return all(map(_fits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


@given(IDS, st.integers(0, 2**63 - 1), st.lists(st.tuples(SEQS, SEQS).map(lambda p: (min(p), max(p))), max_size=20))
def test_acks_and_requests_come_back(epoch: str, upto: int, ranges: list[tuple[int, int]]) -> None:
    ack = Ack(epoch=epoch, upto=upto, also=tuple(ranges))
    assert messages.decode_ack(messages.encode(ack)) == ack
    resend = Resend(epoch=epoch, ranges=tuple(ranges))
    assert messages.decode_resend(messages.encode(resend)) == resend


def test_a_reading_looks_as_the_contract_says() -> None:
    item = Item(quantity="energy_import", value="123.45", unit="kWh", obis="1-0:1.8.0")
    reading = ReadingMessage(
        epoch="e1",
        seq=7,
        low=3,
        backlog=True,
        point="P1",
        items=(item,),
        quality="confirmed",
        source="live",
        asked="2026-11-21T08:00:00.000Z",
        answered="2026-11-21T08:00:00.123Z",
        stored="2026-11-21T08:00:00.150Z",
    )
    assert json.loads(messages.encode(reading)) == {
        "epoch": "e1",
        "seq": 7,
        "low": 3,
        "backlog": True,
        "point": "P1",
        "items": [{"quantity": "energy_import", "value": "123.45", "unit": "kWh", "obis": "1-0:1.8.0"}],
        "quality": "confirmed",
        "source": "live",
        "asked": "2026-11-21T08:00:00.000Z",
        "answered": "2026-11-21T08:00:00.123Z",
        "stored": "2026-11-21T08:00:00.150Z",
    }


def test_the_other_directions() -> None:
    assert messages.decode_ack(b'{"epoch":"e1","upto":41,"also":[[43,50],[52,52]]}').also == ((43, 50), (52, 52))
    assert messages.decode_ack(b'{"epoch":"e1","upto":0}') == Ack(epoch="e1", upto=0)
    assert messages.decode_status(b'{"state":"offline","at":"2026-11-21T12:00:00Z"}') == Status(state="offline", at=NOON)


WRONG_PAYLOADS = (
    (b"", "not the JSON"),
    (b"\xff", "not UTF-8"),
    (b"[1]", "not a JSON object"),
    (b'{"epoch":"e1","epoch":"e1","upto":1}', "'epoch' stands there twice"),
    (b'{"epoch":"e1","upto":1}x', "not the JSON"),
    (b'{"epoch":"e1","upto":1.0}', "1.0 is not an integer"),
    (b'{"epoch":"e1","upto":1e2}', "1e2 is not an integer"),
    (b'{"epoch":"e1","upto":NaN}', "NaN is not an integer"),
    (b'{"epoch":"e1","upto":"1"}', "Expected `int`"),
    (b'{"epoch":"e1","upto":true}', "Expected `int`"),
    (b'{"epoch":"e1","upto":-1}', ">= 0"),
    (b'{"epoch":"e1","upto":9223372036854775808}', "<= 9223372036854775807"),
    (b'{"epoch":"e1","upto":' + b"9" * 5000 + b"}", "not the JSON"),
    (b'{"epoch":"e1"}', "missing required field `upto`"),
    (b'{"epoch":"e1","upto":1,"more":1}', "unknown field `more`"),
    (b'{"epoch":"e1","upto":1,"two\\nlines":1}', "unknown field `two lines`"),
    (b'{"epoch":"e 1","upto":1}', "regex"),
    (b'{"epoch":"e1\\n","upto":1}', "regex"),
    (b'{"epoch":"\\ud800","upto":1}', "half a character"),
    (b'{"epoch":"\\u0000","upto":1}', "NUL"),
    (b'{"epoch":"e1","upto":1,"also":[[5,4]]}', "ends before it begins"),
    (b'{"epoch":"e1","upto":1,"also":[[0,4]]}', ">= 1"),
    (b'{"epoch":"e1","upto":1,"also":[[1,2,3]]}', "length 2"),
    (b'{"epoch":"e1","upto":1,"also":' + dump([[1, 1]] * 1001) + b"}", "length <= 1000"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"epoch":"' + b"e" * PAYLOAD_LIMIT + b'"}', "more than the 262144"),
)


@pytest.mark.parametrize(("payload", "why"), WRONG_PAYLOADS, ids=lambda v: str(v)[:40])
def test_refused_in_one_sentence(payload: bytes, why: str) -> None:
    with pytest.raises(BadMessage) as refusal:
        messages.decode_ack(payload)
    text = str(refusal.value)
    assert why in text and "\n" not in text and len(text) < 300


WRONG_FIELDS: tuple[tuple[Up, dict[str, Any], str], ...] = (
    (Up.EVENT, {"at": "yesterday"}, "is not a time"),
    (Up.EVENT, {"seq": 0}, ">= 1"),
    (Up.EVENT, {"backlog": 0}, "Expected `bool`"),
    (Up.EVENT, {"data": []}, "Expected `object`"),
    (Up.EVENT, {"kind": "two words"}, "regex"),
    (Up.EVENT, {"surname": "Li"}, "unknown field `surname`"),
)


@pytest.mark.parametrize(("kind", "change", "why"), WRONG_FIELDS)
def test_up_fields_are_checked(kind: Up, change: dict[str, Any], why: str) -> None:
    assert messages.decode_up(kind, dump(EVENT))
    with pytest.raises(BadMessage, match=why):
        messages.decode_up(kind, dump(EVENT | change))


@pytest.mark.parametrize("value", ("1.", ".5", "01", "1e3", "+1", "NaN", "", "1,5", "１", "-"))
def test_a_value_is_a_plain_decimal(value: str) -> None:
    balance = {"balance": value, "currency": "CNY", "credit": "low", "at": "2026-11-21T08:00:00Z"}
    with pytest.raises(BadMessage, match="balance"):
        messages.decode_up(Up.BALANCE, dump({k: EVENT[k] for k in ("epoch", "seq", "low", "backlog")} | balance))


def test_what_is_too_large_is_not_sent() -> None:
    big = messages.build(Up.EVENT, EVENT | {"data": {"text": "x" * PAYLOAD_LIMIT}})  # type: ignore[arg-type]
    with pytest.raises(BadMessage, match="larger than"):
        messages.encode(big)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(b'{"a":"\\uD83D\\uDE00"}')
def test_any_bytes_are_refused_or_read(payload: bytes) -> None:
    for what in ("ack", "resend", "status", "envelope"):
        try:
            getattr(messages, f"decode_{what}")(payload)
        except BadMessage as refusal:
            assert "\n" not in str(refusal)
