"""Sparkplug 3.0, statement by statement: each test carries the specification's own id (`tck-id-...`) of what an edge node or its
devices must hold to. What the node says is read off the wire, and decoded by Eclipse Tahu's module where that is installed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from protocols.errors import RequestError
from protocols.uplink.sparkplug import EdgeNode
from protocols.uplink.sparkplug_b_pb2 import Payload
from tests.peers.child import ROOT as REPOSITORY
from tests.peers.child import Peer
from tests.peers.sparkplug_life import CONNECT, DISCONNECT, GROUP, HOST, NODE, SUBSCRIBE, Decode, Life, Message, live, wait_for_host

TOPIC = {"NBIRTH", "NDATA", "NDEATH"}, {"DBIRTH", "DDATA", "DDEATH"}
BIRTHS, DATA, DEVICE = ("NBIRTH", "DBIRTH"), ("NDATA", "DDATA"), ("DBIRTH", "DDATA", "DDEATH")
VALUES = ("int_value", "long_value", "float_value", "double_value", "boolean_value", "string_value")
FIELD = {3: "int_value", 4: "long_value", 10: "double_value", 11: "boolean_value", 12: "string_value", 13: "long_value"}
CLOSE_MS = 5 * 60_000
"""The tests let some minutes pass between readings."""

Check = Callable[["Wire"], None]
CHECKS: dict[str, Check] = {}


class Wire:
    """Both lives with one decoder."""

    def __init__(self, life: Life, waiting: Life, decode: Decode) -> None:
        self.life, self.waiting, self._decode = life, waiting, decode

    def messages(self, *kinds: str) -> list[Message]:
        found = self.life.messages(self._decode, *kinds)
        assert found, f"there is no {kinds}, so nothing is shown"
        return found

    def waited(self, *kinds: str) -> list[Message]:
        return self.waiting.messages(self._decode, *kinds)

    def wills(self) -> list[dict[str, Any]]:
        return [self._decode(connect.payload) for connect in self.life.connects]


def holds(*ids: str) -> Callable[[Check], Check]:
    def keep(check: Check) -> Check:
        assert not {*ids} & CHECKS.keys()
        CHECKS.update(dict.fromkeys(ids, check))
        return check

    return keep


def bd_seq(payload: dict[str, Any]) -> int:
    (metric,) = [metric for metric in payload["metrics"] if metric.get("name") == "bdSeq"]
    assert metric["datatype"] == 4
    return int(metric["long_value"])


def value(metric: dict[str, Any]) -> tuple[str, Any] | None:
    found = [(key, metric[key]) for key in VALUES if key in metric]
    assert len(found) <= 1 and bool(found) is not metric.get("is_null", False), metric
    return found[0] if found else None


# -- names and topics


@holds(
    *("intro-group-id-string", "intro-group-id-chars", "intro-edge-node-id-string", "intro-edge-node-id-chars"),
    *("intro-device-id-string", "intro-device-id-chars", "topic-structure-namespace-valid-group-id"),
    *("topic-structure-namespace-valid-edge-node-id", "topic-structure-namespace-valid-device-id"),
)
def names(wire: Wire) -> None:
    for bad in ("", "a+b", "a#", "a/b", "ä"):
        with pytest.raises(RequestError):
            EdgeNode(bad, NODE)
        with pytest.raises(RequestError):
            EdgeNode(GROUP, bad)
    for message in wire.messages():
        assert not {*"+#"} & {*message.packet.topic}


@holds("topic-structure", "topic-structure-namespace-a", "topic-structure-namespace-device-id-associated-message-types")
def topics(wire: Wire) -> None:
    for message in wire.messages():
        parts = message.packet.topic.split("/")
        assert parts[0] == "spBv1.0" and parts[2] in TOPIC[0] | TOPIC[1]
        assert len(parts) == (5 if parts[2] in TOPIC[1] else 4)


def _topic(kind: str, device: str = "") -> Check:
    def check(wire: Wire) -> None:
        for message in wire.messages(kind):
            assert message.packet.topic == f"spBv1.0/{GROUP}/{kind}/{NODE}" + (f"/{message.device}" if device else "")
            assert message.device in (("m1", "m2") if device else (None,))

    return check


holds("topics-nbirth-topic", "message-flow-edge-node-birth-publish-nbirth-topic")(_topic("NBIRTH"))
holds(
    *("topics-dbirth-topic", "message-flow-device-birth-publish-dbirth-topic"),
    "message-flow-device-birth-publish-dbirth-match-edge-node-topic",
)(_topic("DBIRTH", "a device"))
holds("topics-ddata-topic")(_topic("DDATA", "a device"))
holds("topics-ddeath-topic")(_topic("DDEATH", "a device"))
holds("topics-ndeath-topic")(_topic("NDEATH"))


@holds("topic-structure-namespace-unique-device-id", "topic-structure-namespace-duplicate-device-id-across-edge-node")
def devices(wire: Wire) -> None:
    """A device is a meter, and the archive has each id once; the topic has the node's own name."""
    assert {message.device for message in wire.messages("DBIRTH")} == {"m1", "m2"}


@holds(
    *("topic-structure-namespace-unique-edge-node-descriptor", "intro-edge-node-id-uniqueness"),
    "payloads-nbirth-edge-node-descriptor",
)
def descriptor(wire: Wire) -> None:
    """The node is the gateway's id, and the broker lets two clients of that name in only one after the other."""
    assert {tuple(message.packet.topic.split("/")[1:4:2]) for message in wire.messages("NBIRTH")} == {(GROUP, NODE)}


@holds("case-sensitivity-sparkplug-ids", "case-sensitivity-metric-names")
def case(wire: Wire) -> None:
    for message in wire.messages(*BIRTHS):
        names = [metric["name"] for metric in message.metrics]
        assert len({name.lower() for name in names}) == len(names)


# -- the session


@holds("principles-persistence-clean-session-311", "principles-persistence-clean-session-50")
def clean(wire: Wire) -> None:
    for connect in wire.life.connects:
        assert connect.clean and connect.version == wire.life.protocol
        assert connect.session_expiry_s == (0 if connect.version == 5 else None)


@holds("message-flow-edge-node-birth-publish-connect", "principles-birth-certificates-order")
def births_first(wire: Wire) -> None:
    """The first that is published on each connection is the birth; before it there is nothing but CONNECT and SUBSCRIBE."""
    first: dict[int, Message] = {}
    for message in wire.messages():
        first.setdefault(message.packet.connection, message)
    assert len(first) == 3 and {message.kind for message in first.values()} == {"NBIRTH"}


@holds("message-flow-edge-node-ncmd-subscribe", "message-flow-device-dcmd-subscribe")
def subscriptions(wire: Wire) -> None:
    for connection in range(3):
        said = [packet for packet in wire.life.said if packet.connection == connection]
        filters = {each for packet in said if packet.kind == SUBSCRIBE for each in packet.filters}
        assert filters == {(f"spBv1.0/{GROUP}/NCMD/{NODE}", 1), (f"spBv1.0/{GROUP}/DCMD/{NODE}/+", 1)}
        births = [at for at, packet in enumerate(said) if "NBIRTH" in packet.topic]
        assert max(at for at, packet in enumerate(said) if packet.kind == SUBSCRIBE) < births[0]


@holds(
    *("message-flow-edge-node-birth-publish-will-message", "message-flow-edge-node-birth-publish-will-message-topic"),
    *("message-flow-edge-node-birth-publish-will-message-qos", "message-flow-edge-node-birth-publish-will-message-will-retained"),
    *("message-flow-edge-node-birth-publish-will-message-payload", "payloads-ndeath-will-message"),
    *("payloads-ndeath-will-message-qos", "payloads-ndeath-will-message-retain"),
)
def will(wire: Wire) -> None:
    for connect, payload in zip(wire.life.connects, wire.wills(), strict=True):
        assert connect.will and connect.topic == f"spBv1.0/{GROUP}/NDEATH/{NODE}"
        assert (connect.qos, connect.retain) == (1, False)
        bd_seq(payload)


@holds("message-flow-edge-node-birth-publish-will-message-payload-bdSeq", "topics-nbirth-bdseq-increment")
def bd_seq_counts(wire: Wire) -> None:
    """From 0, by one with every CONNECT, over a restart of the process too."""
    assert [bd_seq(payload) for payload in wire.wills()] == [0, 1, 2]
    edge = EdgeNode(GROUP, NODE)
    assert [bd_seq(wire._decode(edge.death(number, 1))) for number in (255, 256)] == [255, 0]


@holds(
    *("topics-nbirth-bdseq-included", "topics-nbirth-bdseq-matching", "payloads-nbirth-bdseq", "payloads-nbirth-bdseq-repeat"),
    *("message-flow-edge-node-birth-publish-nbirth-payload-bdSeq", "payloads-ndeath-bdseq"),
    "operational-behavior-data-commands-rebirth-action-3",
)
def bd_seq_matches(wire: Wire) -> None:
    wills = [bd_seq(payload) for payload in wire.wills()]
    for message in wire.messages("NBIRTH", "NDEATH"):
        assert bd_seq(message.payload) == wills[message.packet.connection]
    assert [message.packet.connection for message in wire.messages("NBIRTH")] == [0, 0, 1, 2], "one of them is a rebirth"


@holds("topics-ndeath-payload", "topics-ndeath-seq", "payloads-ndeath-seq")
def deaths(wire: Wire) -> None:
    for payload in (*wire.wills(), *(message.payload for message in wire.messages("NDEATH"))):
        assert [metric["name"] for metric in payload["metrics"]] == ["bdSeq"] and payload["seq"] is None


@holds(
    *("operational-behavior-edge-node-intentional-disconnect-ndeath", "payloads-ndeath-will-message-publisher"),
    *("operational-behavior-edge-node-intentional-disconnect-packet", "payloads-ndeath-will-message-publisher-disconnect-mqtt311"),
)
def intentional_end(wire: Wire) -> None:
    for connection in (1, 2):
        *_, death, end = [packet for packet in wire.life.said if packet.connection == connection]
        assert "/NDEATH/" in death.topic and (death.qos, death.retain) == (1, False) and end.kind == DISCONNECT
    assert not [packet for packet in wire.life.said if packet.connection == 0 and packet.kind == DISCONNECT], "its wire was cut"


@holds("payloads-ndeath-will-message-publisher-disconnect-mqtt50")
def disconnect_with_will(wire: Wire) -> None:
    wanted = 4 if wire.life.protocol == 5 else 0
    assert [packet.reason for packet in wire.life.of(DISCONNECT)] == [wanted, wanted]


@holds(
    *("topics-nbirth-mqtt", "message-flow-edge-node-birth-publish-nbirth-qos", "payloads-nbirth-qos", "payloads-nbirth-retain"),
    "message-flow-edge-node-birth-publish-nbirth-retained",
)
def nbirth_flags(wire: Wire) -> None:
    _flags(wire, "NBIRTH")


@holds("topics-dbirth-mqtt", "message-flow-device-birth-publish-dbirth-qos", "message-flow-device-birth-publish-dbirth-retained",
       "payloads-dbirth-qos", "payloads-dbirth-retain")  # fmt: skip
def dbirth_flags(wire: Wire) -> None:
    _flags(wire, "DBIRTH")


@holds("topics-ddata-mqtt", "payloads-ddata-qos", "payloads-ddata-retain")
def ddata_flags(wire: Wire) -> None:
    _flags(wire, "DDATA")


@holds("topics-ddeath-mqtt")
def ddeath_flags(wire: Wire) -> None:
    _flags(wire, "DDEATH")


def _flags(wire: Wire, kind: str) -> None:
    assert {(message.packet.qos, message.packet.retain) for message in wire.messages(kind)} == {(0, False)}


# -- payloads


@holds(
    *("message-flow-edge-node-birth-publish-nbirth-payload", "message-flow-device-birth-publish-dbirth-payload"),
    *("payloads-metric-datatype-value-type", "payloads-metric-propertyvalue-type-type"),
)
def encoded(wire: Wire) -> None:
    """The decoder knows every field."""
    for message in wire.messages():
        assert message.payload["unknown"] == 0


@holds(
    *("topics-nbirth-seq-num", "payloads-nbirth-seq", "payloads-sequence-num-zero-nbirth", "payloads-sequence-num-always-included"),
    *("message-flow-edge-node-birth-publish-nbirth-payload-seq", "payloads-sequence-num-incrementing", "topics-dbirth-seq"),
    *("topics-ddata-seq-num", "topics-ddeath-seq-num", "message-flow-device-birth-publish-dbirth-payload-seq"),
    *("payloads-dbirth-seq", "payloads-dbirth-seq-inc", "payloads-ddata-seq", "payloads-ddata-seq-inc", "payloads-ddeath-seq"),
    *("payloads-ddeath-seq-inc", "payloads-ddeath-seq-number"),
)
def sequence(wire: Wire) -> None:
    last, kinds = 0, defaultdict(set)
    for message in wire.messages(*BIRTHS, *DATA, "DDEATH"):
        last = 0 if message.kind == "NBIRTH" else (last + 1) % 256
        assert message.payload["seq"] == last
        kinds[last].add(message.kind)
    assert kinds[0] == {"NBIRTH", "DDATA"}, "it has begun anew by itself too"


@holds(
    *("topics-nbirth-timestamp", "topics-dbirth-timestamp", "topics-ddata-timestamp", "payloads-nbirth-timestamp"),
    *("payloads-dbirth-timestamp", "payloads-ddata-timestamp", "payloads-ddeath-timestamp", "payloads-timestamp-in-UTC"),
)
def sent_at(wire: Wire) -> None:
    for message in wire.messages(*BIRTHS, *DEVICE):
        assert wire.life.began_ms <= message.payload["timestamp"] <= wire.life.ended_ms


@holds("payloads-name-birth-data-requirement", "payloads-metric-timestamp-in-UTC")
def taken_at(wire: Wire) -> None:
    for message in wire.messages(*BIRTHS, *DATA[1:]):
        for metric in message.metrics:
            assert abs(int(metric["timestamp"]) - wire.life.began_ms) < CLOSE_MS


@holds("payloads-name-requirement", "payloads-alias-birth-requirement")
def birth_names(wire: Wire) -> None:
    """`Node Control/Rebirth` must not have an alias, and bdSeq is never sent again."""
    for message in wire.messages(*BIRTHS):
        unnamed = {metric["name"] for metric in message.metrics if "alias" not in metric}
        assert unnamed == ({"bdSeq", "Node Control/Rebirth"} if message.kind == "NBIRTH" else set())


@holds("payloads-alias-uniqueness")
def aliases(wire: Wire) -> None:
    owners: dict[str, tuple[str | None, str]] = {}
    for message in wire.messages(*BIRTHS):
        for metric in message.metrics:
            if "alias" in metric:
                owner = message.device, metric["name"]
                assert owners.setdefault(f"{message.packet.connection < 2} {metric['alias']}", owner) == owner
    assert len(owners) > 20


@holds("payloads-alias-data-cmd-requirement", "payloads-metric-datatype-not-req")
def data_names(wire: Wire) -> None:
    for message in wire.messages("DDATA"):
        for metric in message.metrics:
            assert "alias" in metric and "name" not in metric and "datatype" not in metric


@holds("payloads-metric-datatype-req", "payloads-metric-datatype-value", "topics-nbirth-metrics", "topics-dbirth-metrics",
       "operational-behavior-data-publish-nbirth-values", "operational-behavior-data-publish-dbirth-values")  # fmt: skip
def birth_values(wire: Wire) -> None:
    nulls = 0
    for message in wire.messages(*BIRTHS):
        for metric in message.metrics:
            assert metric["name"] and metric["datatype"] in FIELD
            found = value(metric)
            nulls += found is None
            assert found is None or found[0] == FIELD[metric["datatype"]]
    assert nulls, "there is a metric without a present value"


@holds("topics-nbirth-metric-reqs", "topics-dbirth-metric-reqs", "operational-behavior-data-publish-nbirth",
       "operational-behavior-data-publish-dbirth")  # fmt: skip
def born_with_all(wire: Wire) -> None:
    """No value of a metric that the last birth of its device had not, and none of a device that is dead."""
    born: dict[str | None, set[str]] = {}
    for message in wire.messages(*BIRTHS, "DDATA", "DDEATH"):
        if message.kind == "NBIRTH":
            born = {}
        elif message.kind == "DBIRTH":
            born[message.device] = {metric["alias"] for metric in message.metrics}
        elif message.kind == "DDEATH":
            del born[message.device]
        else:
            assert {metric["alias"] for metric in message.metrics} <= born[message.device]


@holds(
    *("operational-behavior-data-commands-rebirth-name", "operational-behavior-data-commands-rebirth-name-aliases"),
    *("operational-behavior-data-commands-rebirth-datatype", "operational-behavior-data-commands-rebirth-value"),
    *("topics-nbirth-rebirth-metric", "payloads-nbirth-rebirth-req"),
)
def rebirth_metric(wire: Wire) -> None:
    for message in wire.messages("NBIRTH"):
        metric = message.named("Node Control/Rebirth")
        assert (metric["datatype"], value(metric), "alias" in metric) == (11, ("boolean_value", False), False)


@holds("operational-behavior-data-publish-nbirth-order", "operational-behavior-data-publish-dbirth-order")
def in_order(wire: Wire) -> None:
    for message in wire.messages(*BIRTHS, "DDATA"):
        times = [int(metric["timestamp"]) for metric in message.metrics if not metric.get("is_historical")]
        assert times == sorted(times)


@holds("topics-ddata-payload", "operational-behavior-data-publish-dbirth-change", "principles-rbe-recommended")
def by_exception(wire: Wire) -> None:
    """Each value that changes is told at once and in full; what did not change is not told again within a session."""
    known: dict[tuple[str | None, object], object] = {}
    powers = list[float]()
    for message in wire.messages(*BIRTHS, "DDATA"):
        if message.kind == "NBIRTH":
            known.clear()
        for metric in message.metrics:
            if metric.get("is_historical"):
                continue
            key, now = (message.device, metric.get("alias", metric.get("name"))), (value(metric), metric.get("properties"))
            if message.kind == "DDATA":
                was = known.get(key)
                quality = now[1] if now[1] and "Quality" in now[1]["keys"] else None
                assert was != (now[0], quality), f"{key} is told again"
                known[key] = now[0], quality
                powers += [float(metric["double_value"])] if "double_value" in metric and message.device == "m1" else []
            else:
                known[key] = now[0], None
    from_all = [power for power in powers if power % 1 == 0.5 and power < 300]
    assert from_all == [n + 0.5 for n in range(300)]
    said = wire.life.said[wire.life.marks["steady"] : wire.life.marks["changed"]]
    assert sorted(packet.topic.rpartition("/")[2] for packet in said) == ["m1", "m2"], "a balance for both, and no reading"


@holds("payloads-propertyset-keys-array-size", "payloads-propertyset-values-array-size", "payloads-metric-propertyvalue-type-value",
       "payloads-metric-propertyvalue-type-req", "payloads-propertyset-quality-value-type",
       "payloads-propertyset-quality-value-value")  # fmt: skip
def properties(wire: Wire) -> None:
    seen = set()
    for message in wire.messages(*BIRTHS, "DDATA"):
        for metric in message.metrics:
            if (found := metric.get("properties")) is None:
                continue
            assert len(found["keys"]) == len(found["values"])
            for key, each in zip(found["keys"], found["values"], strict=True):
                assert FIELD[each["type"]] in each
                assert key != "Quality" or (each["type"], each["int_value"] in (0, 192, 500)) == (3, True)
                seen.add(key)
    assert seen == {"engUnit", "Quality"}


# -- births, deaths, commands


@holds("message-flow-device-birth-publish-nbirth-wait", "payloads-dbirth-order", "payloads-ddata-order",
       "operational-behavior-data-commands-rebirth-action-1", "operational-behavior-data-commands-rebirth-action-2")  # fmt: skip
def birth_order(wire: Wire) -> None:
    """Each birth of the node, also the one that was asked for, is followed by those of its devices before any data."""
    messages = wire.messages(*BIRTHS, "DDATA", "DDEATH")
    starts = [n for n, message in enumerate(messages) if message.kind == "NBIRTH"]
    assert len(starts) == 4
    for start in starts:
        assert [(m.kind, m.device) for m in messages[start + 1 : start + 3]] == [("DBIRTH", "m1"), ("DBIRTH", "m2")]
    asked, reborn = wire.life.marks["rebirth"], wire.life.marks["reborn"]
    assert [message.kind for message in wire.messages() if asked <= message.at < reborn][:1] == ["NBIRTH"]


@holds("operational-behavior-device-ddeath")
def device_death(wire: Wire) -> None:
    kinds = [message.kind for message in wire.messages() if message.device == "m2" and message.kind != "DDATA"]
    assert kinds == ["DBIRTH", "DBIRTH", "DDEATH", "DBIRTH", "DBIRTH", "DBIRTH"]


@holds(
    *("topics-dcmd-topic", "topics-dcmd-payload", "operational-behavior-data-commands-dcmd-verb"),
    *("operational-behavior-data-commands-dcmd-metric-name", "operational-behavior-data-commands-dcmd-metric-value"),
)
def device_command(wire: Wire) -> None:
    """A write by the alias that the device was born with becomes an order, whose state is a metric."""
    states = [m.get("string_value") for message in wire.messages("DDATA") if message.device == "m1" for m in message.metrics]
    assert "queued" in states and "cut" in states


@holds(
    *("topics-ncmd-topic", "topics-ncmd-payload", "operational-behavior-data-commands-ncmd-verb"),
    *("operational-behavior-data-commands-ncmd-rebirth-verb", "operational-behavior-data-commands-ncmd-rebirth-name"),
    *("operational-behavior-data-commands-ncmd-rebirth-value", "operational-behavior-data-commands-ncmd-metric-name"),
    "operational-behavior-data-commands-ncmd-metric-value",
)
def node_command(wire: Wire) -> None:
    first, second = [message for message in wire.messages("NBIRTH") if message.packet.connection == 0]
    assert first.at < wire.life.marks["rebirth"] <= second.at < wire.life.marks["reborn"]


# -- the primary host


@holds(
    *("message-flow-edge-node-birth-publish-phid-wait", "message-flow-edge-node-birth-publish-phid-wait-id"),
    *("message-flow-edge-node-birth-publish-phid-wait-online", "message-flow-edge-node-birth-publish-phid-wait-timestamp"),
    *("operational-behavior-edge-node-birth-sequence-wait", "message-flow-edge-node-birth-publish-subscribe"),
    "operational-behavior-primary-application-state-with-multiple-servers-state-subs",
)
def waits_for_the_host(wire: Wire) -> None:
    marks, messages = wire.waiting.marks, wire.waited()
    assert (f"spBv1.0/STATE/{HOST}", 1) in {each for packet in wire.waiting.of(SUBSCRIBE) for each in packet.filters}
    assert not [message for message in messages if message.at < marks["not ours"]], "offline; another host; an older word"
    second = [message.at for message in messages if message.kind == "NBIRTH"][1]
    assert second >= marks["old birth"], "a birth of the host from before its death"


@holds("message-flow-edge-node-birth-publish-phid-offline", "operational-behavior-edge-node-termination-host-offline",
       "operational-behavior-edge-node-termination-host-offline-timestamp",
       "operational-behavior-primary-application-state-with-multiple-servers-walk")  # fmt: skip
def dies_with_the_host(wire: Wire) -> None:
    """There is one server to walk to: the same."""
    first = [packet for packet in wire.waiting.said if packet.connection == 0]
    assert not [p for p in wire.waiting.said[: wire.waiting.marks["old death"]] if "NDEATH" in p.topic and p.kind != CONNECT]
    *_, death, end = first
    assert "/NDEATH/" in death.topic and end.kind == DISCONNECT


@holds("operational-behavior-edge-node-termination-host-offline-reconnect")
def comes_back(wire: Wire) -> None:
    assert len(wire.waiting.connects) >= 2 and wire.waiting.times["back after"] < 60


@holds("operational-behavior-primary-application-state-with-multiple-servers-single-server")
def one_server(wire: Wire) -> None:
    for life in (wire.life, wire.waiting):
        assert [packet.connection for packet in life.said] == sorted(packet.connection for packet in life.said)


# -- all of them


@pytest.fixture(scope="module", params=[5, 4], ids=["MQTT 5", "MQTT 3.1.1"])
def lives(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mosquitto: str) -> tuple[Life, Life]:
    async def both() -> tuple[Life, Life]:
        folders = [tmp_path_factory.mktemp(name) for name in ("life", "waiting")]
        return await live(folders[0], mosquitto, request.param), await wait_for_host(folders[1], mosquitto, request.param)

    return asyncio.run(both())


@pytest.fixture(scope="module", params=["own", "tahu"])
def wire(request: pytest.FixtureRequest, lives: tuple[Life, Life]) -> Iterator[Wire]:
    if request.param == "own":
        yield Wire(*lives, _own)
        return
    seen: dict[bytes, dict[str, Any]] = {}
    with Peer("tahutils", "drive_tahu.py") as call:

        def decode(payload: bytes) -> dict[str, Any]:
            if payload not in seen:
                found = call("decode", payload.hex())
                assert isinstance(found, dict)
                seen[payload] = found
            return seen[payload]

        yield Wire(*lives, decode)


def _own(payload: bytes) -> dict[str, Any]:
    read = Payload.FromString(payload)
    seq, at = (getattr(read, name) if read.HasField(name) else None for name in ("seq", "timestamp"))
    return {"unknown": 0, "seq": seq, "timestamp": at, **{"metrics": []}, **_metrics(read)}


def _metrics(read: Payload) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(read, preserving_proto_field_name=True)
    return {"metrics": found.get("metrics", [])}


@pytest.mark.parametrize("tck", sorted(CHECKS))
def test_tck_id(wire: Wire, tck: str) -> None:
    CHECKS[tck](wire)


VECTOR = REPOSITORY / "tests" / "vectors" / "sparkplug-3.0-tck-ids.txt"


def test_every_statement_is_held_or_is_about_somebody_else() -> None:
    """The list has a word behind each id that is not checked here: whose it is, or what of it we do not use."""
    rows = [line.split() for line in VECTOR.read_text().splitlines() if line and not line.startswith("#")]
    ours = {row[0] for row in rows if len(row) == 1}
    assert len(rows) > 250 and ours == {*CHECKS}
    assert {row[1] for row in rows if len(row) > 1} <= {"host", "server", "template", "dataset", "ndata"}
