"""Sparkplug B 3.0, an edge node's half: topics, payloads, births and deaths, sequence, aliases, what a host asks (chapters 4-6).

The clauses named are the specification's own ids without their prefix `tck-id-`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum, StrEnum

from google.protobuf.message import DecodeError

from protocols.errors import ProtocolError, RequestError
from protocols.uplink.messages import PAYLOAD_LIMIT
from protocols.uplink.sparkplug_b_pb2 import Metric, Payload
from protocols.uplink.topics import valid_id

NAMESPACE = "spBv1.0"
BD_SEQ, REBIRTH = "bdSeq", "Node Control/Rebirth"
SEQUENCES = 256
"""seq and bdSeq run from 0 to 255 and begin again."""

Value = None | bool | int | str | Decimal
"""None is sent as `is_null`."""


class BadPayload(ProtocolError):
    """A message that is none of Sparkplug's; the text is one sentence."""


class Kind(StrEnum):
    """Classes of messages between an edge node and a host."""

    NBIRTH = "NBIRTH"
    NDEATH = "NDEATH"
    NDATA = "NDATA"
    NCMD = "NCMD"
    DBIRTH = "DBIRTH"
    DDEATH = "DDEATH"
    DDATA = "DDATA"
    DCMD = "DCMD"


class Type(IntEnum):
    """The data types that we use, by their index."""

    INT32 = 3
    INT64 = 4
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATE_TIME = 13


class Quality(IntEnum):
    """Values of the property `Quality` (payloads-propertyset-quality-value-value)."""

    BAD = 0
    GOOD = 192
    STALE = 500


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a metric. at_ms: when it was acquired, UTC. historical: late news, no present value. unit: told at birth."""

    name: str
    type: Type
    value: Value
    at_ms: int
    quality: Quality = Quality.GOOD
    historical: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be published, with QoS 0 and never retained but for NDEATH (QoS 1)."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Rebirth:
    """A host asks for all births again (operational-behavior-data-commands-rebirth-action-1)."""


@dataclass(frozen=True, slots=True)
class Write:
    """A host asks a device for another value of a metric, by the name that it was born with."""

    device: str
    metric: str
    value: Value


@dataclass(frozen=True, slots=True)
class HostState:
    """Whether a host application is there (payloads-state-birth-payload). at_ms: which of two states is the later one."""

    online: bool
    at_ms: int


def host_topic(host: str) -> str:
    """Where a host application says that it is there, retained (host-topic-phid-birth-topic)."""
    return f"{NAMESPACE}/STATE/{_checked(host)}"


def parse_host(payload: bytes) -> HostState:
    """The state that a host application tells."""
    try:
        told = json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BadPayload("the host's state is not JSON") from None
    match told:
        case {"online": bool(online), "timestamp": int(at_ms)} if at_ms is not True and at_ms is not False:
            return HostState(online, at_ms)
    raise BadPayload("the host's state has no online and timestamp")


class EdgeNode:
    """One edge node on one connection after another: numbers its messages, knows what was born, and reads what a host asks.
    `alive`: from its birth to its death; nothing else may be said before and after.

    Aliases are given once and stay, unique within the node (payloads-alias-uniqueness). typed_data: values name their type after
    the birth too, which they should not (payloads-metric-datatype-not-req), but some hosts cannot read them without.
    """

    def __init__(self, group: str, node: str, *, typed_data: bool = False) -> None:
        self._root = f"{NAMESPACE}/{_checked(group)}", _checked(node)
        self.alive = False
        self._seq, self._typed_data = 0, typed_data
        self._aliases: dict[tuple[str, str], int] = {}
        self._named: dict[int, tuple[str, str]] = {}
        self._born: dict[str, frozenset[str]] = {}

    @property
    def filters(self) -> tuple[str, str]:
        """What the node listens to, with QoS 1 (message-flow-edge-node-ncmd-subscribe, -device-dcmd-subscribe)."""
        return self._topic(Kind.NCMD), self._topic(Kind.DCMD, "+")

    @property
    def death_topic(self) -> str:
        """Of the will."""
        return self._topic(Kind.NDEATH)

    @property
    def devices(self) -> frozenset[str]:
        """Those that were born and have not died since."""
        return frozenset(self._born)

    def death(self, bd_seq: int, at_ms: int) -> bytes:
        """The will: nothing but the bdSeq that the birth of this connection has (payloads-ndeath-bdseq), without a seq. Made for
        a new connection and at the end of one: whatever was born before is dead."""
        self.alive, self._born = False, {}
        payload = Payload(timestamp=at_ms)
        payload.metrics.append(_metric(Sample(BD_SEQ, Type.INT64, bd_seq % SEQUENCES, at_ms), name=BD_SEQ))
        return bytes(payload.SerializeToString())

    def birth(self, bd_seq: int, samples: Sequence[Sample], at_ms: int) -> Message:
        """The node's birth; every device must be born again after it. seq begins anew at 0."""
        self.alive, self._seq, self._born = True, 0, {}
        own = (Sample(BD_SEQ, Type.INT64, bd_seq % SEQUENCES, at_ms), Sample(REBIRTH, Type.BOOLEAN, False, at_ms))
        metrics = [_metric(sample, name=sample.name) for sample in own]  # neither has an alias (...-rebirth-name-aliases)
        metrics += [self._at_birth("", sample) for sample in samples]
        return self._message(Kind.NBIRTH, None, metrics, at_ms)

    def device_birth(self, device: str, samples: Sequence[Sample], at_ms: int) -> Message:
        """A device with all that it will ever tell, and the present values."""
        self._born[device] = frozenset(sample.name for sample in samples)
        return self._message(Kind.DBIRTH, device, [self._at_birth(device, sample) for sample in samples], at_ms)

    def device_death(self, device: str, at_ms: int) -> Message:
        """A device that does not answer any more, or is gone."""
        self._born.pop(device, None)
        return self._message(Kind.DDEATH, device, [], at_ms)

    def data(self, device: str, samples: Sequence[Sample], at_ms: int) -> Message:
        """Values of a device by alias alone (payloads-alias-data-cmd-requirement). RequestError for what was not born."""
        unborn = [sample.name for sample in samples if sample.name not in self._born.get(device, ())]
        if unborn:
            raise RequestError(f"device {device} was not born with {', '.join(unborn)}")
        metrics = [_metric(sample, alias=self._alias(device, sample.name), typed=self._typed_data) for sample in samples]
        return self._message(Kind.DDATA, device, metrics, at_ms)

    def born_with(self, device: str, names: Sequence[str]) -> bool:
        """Whether the device lives and was born with all these."""
        return device in self._born and self._born[device].issuperset(names)

    def read(self, topic: str, payload: bytes) -> Sequence[Rebirth | Write]:
        """What a host asks of this node. BadPayload for what is no command of this node's."""
        group, node = self._root
        match topic.removeprefix(group + "/").split("/"):
            case [Kind.NCMD, name] if name == node:
                device = ""
            case [Kind.DCMD, name, device] if name == node and valid_id(device):
                pass
            case _:
                raise BadPayload(f"nothing is expected on the topic {topic[:200]!r}")
        wishes: list[Rebirth | Write] = []
        for metric in _parsed(payload).metrics:
            name = self._name(device, metric)
            if device:
                wishes.append(Write(device, name, _value(metric)))
            elif name == REBIRTH and _value(metric) is True:
                wishes.append(Rebirth())
        return wishes

    def _name(self, device: str, metric: Metric) -> str:
        if metric.HasField("name"):
            return _utf8(metric.name)
        owner, name = self._named.get(metric.alias, ("", "")) if metric.HasField("alias") else ("", "")
        if not name or owner != device:
            raise BadPayload(f"alias {metric.alias} is of no metric of {device or 'the node'}")
        return name

    def _alias(self, device: str, name: str) -> int:
        key = device, name
        if key not in self._aliases:
            alias = self._aliases[key] = len(self._aliases) + 1
            self._named[alias] = key
        return self._aliases[key]

    def _at_birth(self, device: str, sample: Sample) -> Metric:
        metric = _metric(sample, name=sample.name, alias=self._alias(device, sample.name))
        if sample.unit:
            _describe(metric, "engUnit", Type.STRING, sample.unit)
        return metric

    def _message(self, kind: Kind, device: str | None, metrics: Sequence[Metric], at_ms: int) -> Message:
        payload = Payload(timestamp=at_ms, seq=self._seq)
        payload.metrics.extend(metrics)
        self._seq = (self._seq + 1) % SEQUENCES
        return Message(self._topic(kind, device), bytes(payload.SerializeToString()))

    def _topic(self, kind: Kind, device: str | None = None) -> str:
        group, node = self._root
        return f"{group}/{kind}/{node}" if device is None else f"{group}/{kind}/{node}/{device}"


def _metric(sample: Sample, *, name: str | None = None, alias: int | None = None, typed: bool = True) -> Metric:
    metric = Metric(name=name, alias=alias, timestamp=sample.at_ms)
    if typed:
        metric.datatype = sample.type
    if sample.historical:
        metric.is_historical = True
    _set(metric, sample.type, sample.value)
    if sample.quality is not Quality.GOOD:
        _describe(metric, "Quality", Type.INT32, int(sample.quality))
    return metric


def _set(metric: Metric, type: Type, value: Value) -> None:
    if value is None:
        metric.is_null = True
    elif type is Type.DOUBLE:
        metric.double_value = float(value)
    elif type is Type.BOOLEAN:
        metric.boolean_value = bool(value)
    elif type is Type.STRING:
        metric.string_value = str(value)
    elif type is Type.INT32:
        metric.int_value = int(value) & 0xFFFFFFFF  # negative ones as two's complement (payloads-metric-datatype-...)
    else:
        metric.long_value = int(value) & 0xFFFFFFFFFFFFFFFF


def _describe(metric: Metric, key: str, type: Type, value: int | str) -> None:
    metric.properties.keys.append(key)
    described = metric.properties.values.add(type=type)
    if isinstance(value, str):
        described.string_value = value
    else:
        described.int_value = value


def _parsed(payload: bytes) -> Payload:
    if len(payload) > PAYLOAD_LIMIT:
        raise BadPayload(f"a command of {len(payload)} bytes is larger than the {PAYLOAD_LIMIT} that are allowed")
    try:
        return Payload.FromString(payload)
    except DecodeError:
        raise BadPayload("the command is no Sparkplug B payload") from None


_READERS: Mapping[str, type[int] | type[bool] | type[Decimal]] = {
    "int_value": int,
    "long_value": int,
    "float_value": Decimal,
    "double_value": Decimal,
    "boolean_value": bool,
}


def _value(metric: Metric) -> Value:
    which = metric.WhichOneof("value")
    if which is None or metric.is_null:
        return None
    told = getattr(metric, which)
    return _READERS[which](told) if which in _READERS else _utf8(told)


def _utf8(text: object) -> str:
    """The library gives bytes where a text is not UTF-8."""
    if not isinstance(text, str):
        raise BadPayload("the command is no Sparkplug B payload: a text is not UTF-8")
    return text


def _checked(name: str) -> str:
    if not valid_id(name):
        raise RequestError(f"{name!r} is no name for a topic: 1 to 64 letters, digits, _ or -")
    return name
