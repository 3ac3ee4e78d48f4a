"""A Sparkplug host application for tests: follows births, deaths and numbers as the specification has it, and names breaches."""

from __future__ import annotations

from dataclasses import dataclass, field

from protocols.uplink.sparkplug_b_pb2 import Metric, Payload
from tests.gateway.output_ends import Seen

VALUES = ("int_value", "long_value", "float_value", "double_value", "boolean_value", "string_value")


@dataclass
class Told:
    """A value as it came: name by the birth, its time, whether it is of the past."""

    name: str
    value: object
    at_ms: int
    historical: bool
    quality: int


@dataclass
class Host:
    """Feed it everything that was seen, in order. breaches: what the specification forbids, in words."""

    bd_seq: int | None = None
    seq: int | None = None
    alive: bool = False
    births: int = 0
    deaths: int = 0
    kinds: list[str] = field(default_factory=list)
    devices: dict[str, dict[int, str]] = field(default_factory=dict)
    present: dict[str, dict[str, object]] = field(default_factory=dict)
    told: dict[str, list[Told]] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)

    def hear(self, *seen: Seen) -> Host:
        for each in seen:
            parts = each.topic.split("/")
            if parts[0] != "spBv1.0" or parts[1] == "STATE" or parts[2] in ("NCMD", "DCMD"):
                continue
            self.kinds.append(parts[2])
            if each.retain:
                self._breach(f"{each.topic} is retained")
            if parts[2] != "NDEATH" and each.qos != 0:
                self._breach(f"{each.topic} came with QoS {each.qos}")
            getattr(self, f"_{parts[2].lower()}")(Payload.FromString(each.payload), *parts[4:])
        return self

    def _breach(self, what: str) -> None:
        self.breaches.append(what)

    def _nbirth(self, payload: Payload) -> None:
        metrics = {metric.name: metric for metric in payload.metrics}
        self.births, self.alive, self.devices = self.births + 1, True, {}
        self.bd_seq, self.seq = int(metrics["bdSeq"].long_value), 0
        if payload.seq != 0:
            self._breach(f"NBIRTH has seq {payload.seq}")
        if metrics["Node Control/Rebirth"].datatype != 11:
            self._breach("NBIRTH has no Node Control/Rebirth")

    def _ndeath(self, payload: Payload) -> None:
        (metric,) = payload.metrics
        if payload.HasField("seq"):
            self._breach("NDEATH has a seq")
        if self.alive and int(metric.long_value) == self.bd_seq:  # another one is of a former life, or told by the broker too
            self.alive, self.deaths, self.devices = False, self.deaths + 1, {}

    def _dbirth(self, payload: Payload, device: str) -> None:
        self._next(payload)
        self.devices[device] = {}
        for metric in payload.metrics:
            if not metric.HasField("name") or not metric.HasField("alias") or not metric.datatype:
                self._breach(f"DBIRTH of {device} has a metric without name, alias or type")
            if any(metric.alias in named for named in self.devices.values()):
                self._breach(f"alias {metric.alias} is not unique")
            self.devices[device][metric.alias] = metric.name
            self._keep(device, metric.name, metric)

    def _ddata(self, payload: Payload, device: str) -> None:
        self._next(payload)
        if device not in self.devices:
            self._breach(f"DDATA of {device}, which is not born")
            return
        for metric in payload.metrics:
            if metric.HasField("name") or metric.alias not in self.devices[device]:
                self._breach(f"DDATA of {device} has a metric that is not by a known alias")
            else:
                self._keep(device, self.devices[device][metric.alias], metric)

    def _ddeath(self, payload: Payload, device: str) -> None:
        self._next(payload)
        if self.devices.pop(device, None) is None:
            self._breach(f"DDEATH of {device}, which is not born")

    def _next(self, payload: Payload) -> None:
        if not self.alive or self.seq is None:
            self._breach("a message before NBIRTH or after NDEATH")
            return
        self.seq = (self.seq + 1) % 256
        if payload.seq != self.seq:
            self._breach(f"seq {payload.seq} where {self.seq} was due")

    def _keep(self, device: str, name: str, metric: Metric) -> None:
        which = metric.WhichOneof("value")
        value = None if metric.is_null or which is None else getattr(metric, which)
        properties = dict(zip(metric.properties.keys, metric.properties.values, strict=True))
        quality = properties["Quality"].int_value if "Quality" in properties else 192
        self.told.setdefault(device, []).append(Told(name, value, metric.timestamp, metric.is_historical, quality))
        if not metric.is_historical:
            self.present.setdefault(device, {})[name] = value
