"""The documents under docs/uplink are those of the code, and say what the code takes."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocols.uplink import commands, messages
from protocols.uplink.commands import ARGS, Command
from protocols.uplink.messages import BadMessage
from protocols.uplink.schemas import CHANNELS, VERSION, Channel, asyncapi, documents, schema_of
from protocols.uplink.topics import NATIVE, Down, DownTopic, StatusTopic, Up, UpTopic
from tests.peers.child import ROOT, node_folder
from tests.uplink_schemas import VALIDATORS

FOLDER = ROOT / "docs" / "uplink"
AT, LATER = "2026-11-21T08:00:00.000Z", "2026-11-21T08:10:00Z"
ENVELOPE: dict[str, object] = {"epoch": "e1", "seq": 7, "low": 3, "backlog": False}
ITEM: dict[str, object] = {"quantity": "power", "value": "-0.230", "unit": "kW", "obis": "1-0:16.7.0"}
READING: dict[str, object] = {
    **ENVELOPE,
    **{"point": "P1", "items": [ITEM], "quality": "single", "source": "live"},
    **{"asked": AT, "answered": AT, "stored": AT},
}
ORDER: dict[str, object] = {"id": "c-1", "gateway": "G1", "issued_at": AT, "counter": 1}
GOOD: dict[str, list[dict[str, object]]] = {
    "status": [{"state": "online", "at": AT}],
    "reading": [READING, READING | {"taken": AT, "items": [{**ITEM, "value": None, "obis": None}]}],
    "event": [{**ENVELOPE, "kind": "line_up", "at": AT, "data": {"a": [1, None, {"b": True}]}}],
    "balance": [{**ENVELOPE, "balance": "-1.20", "currency": "CNY", "credit": "low", "at": AT}],
    "anchor": [{**ENVELOPE, "at": AT, "jws": "a.b.c"}],
    "result": [{**ENVELOPE, "command": "c-1", "state": "verified", "final": True, "at": AT, "evidence": ["relay_bit"]}],
    "ack": [{"epoch": "e1", "upto": 0}, {"epoch": "e1", "upto": 5, "also": [[7, 7], [9, 12]]}],
    "resend": [{"epoch": "e1", "ranges": [[1, 2]]}],
    "command": [
        ORDER | {"verb": "cut", "meter": "m1", "expires_at": LATER, "args": {"cause": "emergency"}},
        ORDER | {"verb": "restore", "account": "abc", "expires_at": LATER, "not_before": AT},
        ORDER | {"verb": "stop", "reason": "drill"},
        ORDER
        | {
            "verb": "topup",
            "account": "abc",
            "args": {
                **{"bank": "B1", "serial": "s:1", "amount": "50.00", "currency": "CNY"},
                **{"accounting_date": "2026-11-21", "paid_at": AT},
            },
        },
    ],
}
BAD: dict[str, list[dict[str, object]]] = {
    "status": [{"state": "sleeping", "at": AT}, {"state": "online"}, {"state": "online", "at": AT, "x": 1}],
    "reading": [
        READING | {"seq": 0},
        READING | {"seq": 1.5},
        READING | {"epoch": "e 1"},
        READING | {"epoch": "e1\n"},
        READING | {"quality": "good"},
        READING | {"asked": "yesterday"},
        READING | {"items": [{**ITEM, "value": 1}]},
        READING | {"items": [{**ITEM, "value": "01"}]},
        READING | {"items": [{**ITEM, "value": "1e3"}]},
        READING | {"more": 1},
        {key: value for key, value in READING.items() if key != "low"},
    ],
    "event": [{**ENVELOPE, "kind": "line up", "at": AT}],
    "balance": [{**ENVELOPE, "balance": "1.20", "currency": "cny", "credit": "low", "at": AT}],
    "anchor": [{**ENVELOPE, "at": AT}],
    "result": [{**ENVELOPE, "command": "c/1", "state": "verified", "final": True, "at": AT}],
    "ack": [
        {"epoch": "e1", "upto": -1},
        {"epoch": "e1", "upto": 5, "also": [[7]]},
        {"epoch": "e1", "upto": 5, "also": [[7, 8, 9]]},
        {"epoch": "e1", "upto": 5, "also": [[1, 2]] * 1001},
    ],
    "resend": [{"epoch": "e1"}, {"epoch": "e1", "ranges": [[0, 2]]}],
    "command": [
        ORDER | {"verb": "cut", "meter": "m1", "expires_at": LATER},
        ORDER | {"verb": "cut", "meter": "m1", "args": {"cause": "emergency"}},
        ORDER | {"verb": "cut", "expires_at": LATER, "args": {"cause": "emergency"}},
        ORDER | {"verb": "cut", "meter": "m1", "account": "abc", "expires_at": LATER, "args": {"cause": "emergency"}},
        ORDER | {"verb": "cut", "meter": "m1", "expires_at": LATER, "args": {"cause": "emergency", "force": True}},
        ORDER | {"verb": "stop", "meter": "m1"},
        GOOD["command"][3] | {"expires_at": LATER},
    ],
}


def decode(name: str, payload: bytes) -> object:
    if name in {kind.value for kind in Up}:
        return messages.decode_up(Up(name), payload)
    others = {"ack": messages.decode_ack, "resend": messages.decode_resend, "status": messages.decode_status}
    return others[name](payload) if name in others else commands.decode_command(payload)


def test_the_files_are_up_to_date() -> None:
    made = documents(VERSION)
    assert {file.name for file in FOLDER.iterdir()} == {*made}, "run `wattgate schemas --out docs/uplink`"
    old = [name for name, text in made.items() if (FOLDER / name).read_text() != text]
    assert not old, f"{old} are not those of the code: run `wattgate schemas --out docs/uplink`"


@pytest.mark.parametrize(("name", "message"), [(name, each) for name in GOOD for each in GOOD[name]])
def test_what_the_code_takes_the_schema_takes(name: str, message: dict[str, object]) -> None:
    decode(name, json.dumps(message).encode())
    assert VALIDATORS[name].is_valid(message), list(VALIDATORS[name].iter_errors(message))


@pytest.mark.parametrize(("name", "message"), [(name, each) for name in BAD for each in BAD[name]])
def test_what_the_code_refuses_the_schema_refuses(name: str, message: dict[str, object]) -> None:
    with pytest.raises(BadMessage):
        decode(name, json.dumps(message).encode())
    assert not VALIDATORS[name].is_valid(message)


def test_every_class_of_messages_has_a_good_and_a_bad_example() -> None:
    names = [channel.name for channel in CHANNELS]
    assert {*names} == {*GOOD} == {*BAD} == {"status", *(kind.value for kind in Up), *(kind.value for kind in Down)}


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_addresses_are_the_topics_of_the_code(channel: Channel) -> None:
    address = asyncapi(VERSION)["channels"][channel.name]["address"]  # type: ignore[index]
    assert {*re.findall(r"{(\w+)}", address)} == {*asyncapi(VERSION)["channels"][channel.name]["parameters"]}  # type: ignore[index]
    where = NATIVE.parse(re.sub(r"{\w+}", "x1", address))
    match where:
        case UpTopic("x1", kind, _) | DownTopic("x1", kind):
            assert kind.value == channel.name
        case _:
            assert isinstance(where, StatusTopic) and channel.name == "status"


def test_no_pattern_is_pythons_alone() -> None:
    texts = documents(VERSION)
    patterns = [found for text in texts.values() for found in re.findall(r'"pattern": (".*")', text)]
    assert patterns and all(json.loads(pattern).endswith("$") for pattern in patterns)


def test_every_verb_has_its_arguments() -> None:
    command = schema_of(next(channel for channel in CHANNELS if channel.form is Command))
    verbs = [rule["if"]["properties"]["verb"]["const"] for rule in command["allOf"]]  # type: ignore[attr-defined]
    assert verbs == list(ARGS)
    parts: Any = command["$defs"]
    assert {args.__name__ for args in ARGS.values()} <= {*parts}


def test_a_class_of_something_else_is_no_schema() -> None:
    class Odd(msgspec.Struct):
        at: complex

    with pytest.raises((NotImplementedError, TypeError)):
        schema_of(Channel("odd", Odd, "send", "x"))


def test_asyncapis_own_parser_finds_nothing_wrong() -> None:
    folder = node_folder()
    script = Path(__file__).parents[2] / "peers" / "node" / "asyncapi.cjs"
    run = subprocess.run(
        ["node", str(script)],
        input=(FOLDER / "asyncapi.json").read_bytes(),
        capture_output=True,
        check=True,
        timeout=100,
        env=os.environ | {"NODE_PATH": str(folder / "node_modules")},
    )
    found = json.loads(run.stdout)
    assert [each for each in found["diagnostics"] if each["code"] != "asyncapi-latest-version"] == []
    assert len(found["channels"]) == len(found["operations"]) == len(CHANNELS)
    assert {action for _, action in found["operations"]} == {"send", "receive"}
