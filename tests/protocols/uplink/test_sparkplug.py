"""Sparkplug B as a host sees it: what is on the wire, decoded with the generated module and by hand."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from protocols.errors import RequestError
from protocols.uplink import sparkplug_b_pb2
from protocols.uplink.sparkplug import (
    BD_SEQ,
    REBIRTH,
    BadPayload,
    EdgeNode,
    HostState,
    Quality,
    Rebirth,
    Sample,
    Type,
    Value,
    Write,
    host_topic,
    parse_host,
)
from protocols.uplink.sparkplug_b_pb2 import Metric, Payload

PROTO = Path(sparkplug_b_pb2.__file__).with_name("sparkplug_b.proto")
AT = 1_763_700_000_000
POWER = Sample("power", Type.DOUBLE, Decimal("0.230"), AT, unit="kW")
CLOSED = Sample("Supply/Closed", Type.BOOLEAN, True, AT)


def node(**options: bool) -> EdgeNode:
    return EdgeNode("street", "G1", **options)


def born(edge: EdgeNode) -> EdgeNode:
    edge.birth(0, [], AT)
    edge.device_birth("m1", [POWER, CLOSED], AT)
    return edge


def order(*metrics: Metric) -> bytes:
    return bytes(Payload(timestamp=AT, metrics=metrics).SerializeToString())


class TestProto:
    def test_the_generated_module_is_that_of_the_proto_file(self) -> None:
        """Line by line: label, type, name and number of every field of every message."""
        found: dict[str, list[tuple[str, str, int]]] = {}
        name = ""
        for line in PROTO.read_text().splitlines():
            if opened := re.match(r"message (\w+)", line):
                name = opened[1]
                found[name] = []
            elif field := re.match(r"\s+(?:optional |repeated )?(\w+) (\w+) = (\d+);", line):
                found[name].append((field[1], field[2], int(field[3])))
        file = descriptor_pb2.FileDescriptorProto()
        sparkplug_b_pb2.DESCRIPTOR.CopyToProto(file)
        types = {value: key.removeprefix("TYPE_").lower() for key, value in descriptor_pb2.FieldDescriptorProto.Type.items()}
        assert found and found == {
            message.name: [(f.type_name.rpartition(".")[2] or types[f.type], f.name, f.number) for f in message.field]
            for message in file.message_type
        }

    def test_protoc_makes_the_same_of_it(self, tmp_path: Path) -> None:
        protoc = shutil.which("protoc")
        if protoc is None:
            pytest.skip("protoc is not installed: the comparison line by line must do.")
        out = tmp_path / "set"
        subprocess.run([protoc, f"--proto_path={PROTO.parent}", f"--descriptor_set_out={out}", PROTO.name], check=True)
        (made,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
        file = descriptor_pb2.FileDescriptorProto()
        sparkplug_b_pb2.DESCRIPTOR.CopyToProto(file)
        assert made == file

    def test_field_numbers_are_sparkplugs(self) -> None:
        """By hand, byte by byte: timestamp 1, metric 2 with name 1, alias 2, datatype 4, historical 5, double 13, and seq 3."""
        edge = born(node(typed_data=True))
        sample = Sample("power", Type.DOUBLE, "1.5", 5, historical=True)
        metric = b"\x10\x01" + b"\x18\x05" + b"\x20\x0a" + b"\x28\x01" + b"\x69" + struct.pack("<d", 1.5)
        assert edge.data("m1", [sample], 7).payload == b"\x08\x07" + b"\x12" + bytes([len(metric)]) + metric + b"\x18\x02"


class TestBirthsAndDeaths:
    def test_a_node_is_born_with_seq_0_its_bd_seq_and_the_rebirth_control(self) -> None:
        message = node().birth(258, [Sample("Properties/Software", Type.STRING, "wattgate", AT)], AT)
        payload = Payload.FromString(message.payload)
        assert message.topic == "spBv1.0/street/NBIRTH/G1"
        assert (payload.timestamp, payload.seq) == (AT, 0)
        metrics = {metric.name: metric for metric in payload.metrics}
        assert (metrics[BD_SEQ].long_value, metrics[BD_SEQ].datatype) == (2, Type.INT64)
        assert (metrics[REBIRTH].boolean_value, metrics[REBIRTH].datatype) == (False, Type.BOOLEAN)
        assert not metrics[REBIRTH].HasField("alias") and metrics["Properties/Software"].HasField("alias")

    def test_its_death_has_the_bd_seq_and_no_seq(self) -> None:
        edge = node()
        payload = Payload.FromString(edge.death(258, AT))
        assert edge.death_topic == "spBv1.0/street/NDEATH/G1"
        assert [(metric.name, metric.long_value) for metric in payload.metrics] == [(BD_SEQ, 2)]
        assert not payload.HasField("seq")

    def test_a_device_is_born_with_names_aliases_types_units_and_null(self) -> None:
        edge = node()
        edge.birth(0, [], AT)
        message = edge.device_birth("m1", [POWER, Sample("Supply/Closed", Type.BOOLEAN, None, AT)], AT)
        power, closed = Payload.FromString(message.payload).metrics
        assert message.topic == "spBv1.0/street/DBIRTH/G1/m1"
        assert (power.name, power.alias, power.datatype, power.double_value, power.timestamp) == ("power", 1, 10, 0.23, AT)
        assert dict(zip(power.properties.keys, power.properties.values, strict=True))["engUnit"].string_value == "kW"
        assert closed.is_null and closed.WhichOneof("value") is None

    def test_aliases_are_unique_in_the_node_and_stay(self) -> None:
        edge = born(node())
        second = Payload.FromString(edge.device_birth("m2", [POWER], AT).payload)
        again = Payload.FromString(edge.device_birth("m1", [POWER, CLOSED], AT).payload)
        assert [m.alias for m in second.metrics] == [3]
        assert [m.alias for m in again.metrics] == [1, 2]

    def test_a_dead_device_says_nothing_before_it_is_born_again(self) -> None:
        edge = born(node())
        assert edge.device_death("m1", AT).topic == "spBv1.0/street/DDEATH/G1/m1"
        with pytest.raises(RequestError, match="was not born with power"):
            edge.data("m1", [POWER], AT)
        edge.device_birth("m1", [POWER], AT)
        edge.data("m1", [POWER], AT)
        edge.birth(0, [], AT)  # a rebirth takes all devices with it
        with pytest.raises(RequestError):
            edge.data("m1", [POWER], AT)

    def test_all_messages_share_one_sequence_that_begins_anew(self) -> None:
        edge = node()
        messages = [edge.birth(0, [], AT), edge.device_birth("m1", [POWER], AT)]
        messages += [edge.data("m1", [POWER], AT) for _ in range(600)]
        messages.append(edge.device_death("m1", AT))
        assert [Payload.FromString(message.payload).seq for message in messages] == [n % 256 for n in range(603)]
        assert Payload.FromString(edge.birth(1, [], AT).payload).seq == 0


class TestData:
    @pytest.mark.parametrize(
        ("type", "value", "read"),
        [
            (Type.DOUBLE, Decimal("-12.34"), ("double_value", -12.34)),
            (Type.DOUBLE, "0.10", ("double_value", 0.1)),
            (Type.BOOLEAN, False, ("boolean_value", False)),
            (Type.STRING, "allowed", ("string_value", "allowed")),
            (Type.INT32, -1, ("int_value", 0xFFFFFFFF)),
            (Type.INT64, -2, ("long_value", 2**64 - 2)),
            (Type.DATE_TIME, AT, ("long_value", AT)),
        ],
    )
    def test_every_type_on_the_wire(self, type: Type, value: Value, read: tuple[str, object]) -> None:
        edge = node()
        edge.birth(0, [], AT)
        edge.device_birth("m1", [Sample("x", type, None, AT)], AT)
        (metric,) = Payload.FromString(edge.data("m1", [Sample("x", type, value, AT)], AT).payload).metrics
        which = metric.WhichOneof("value")
        assert which is not None and (which, getattr(metric, which)) == read
        assert metric.HasField("alias") and not metric.HasField("name") and not metric.HasField("datatype")

    def test_late_and_doubtful_values_say_so(self) -> None:
        edge = born(node())
        late = Sample("power", Type.DOUBLE, "1", AT - 5, Quality.BAD, historical=True)
        fresh, old = Payload.FromString(edge.data("m1", [POWER, late], AT).payload).metrics
        assert not fresh.is_historical and not fresh.properties.keys
        assert old.is_historical and old.timestamp == AT - 5
        assert (list(old.properties.keys), old.properties.values[0].int_value) == (["Quality"], 0)


class TestWishes:
    def test_a_rebirth_is_asked_by_name(self) -> None:
        wish = order(Metric(name=REBIRTH, datatype=11, boolean_value=True))
        assert node().read("spBv1.0/street/NCMD/G1", wish) == [Rebirth()]
        assert node().read("spBv1.0/street/NCMD/G1", order(Metric(name=REBIRTH, boolean_value=False))) == []

    def test_a_write_by_name_and_by_alias(self) -> None:
        edge = born(node())
        by_name = edge.read("spBv1.0/street/DCMD/G1/m1", order(Metric(name="Supply/Closed", boolean_value=False)))
        by_alias = edge.read("spBv1.0/street/DCMD/G1/m1", order(Metric(alias=2, boolean_value=False)))
        assert by_name == by_alias == [Write("m1", "Supply/Closed", False)]
        assert isinstance(by_alias[0], Write) and by_alias[0].value is False

    @pytest.mark.parametrize(
        "topic",
        [
            "spBv1.0/street/DCMD/G2/m1",
            "spBv1.0/other/DCMD/G1/m1",
            "spBv1.0/street/DCMD/G1",
            "spBv1.0/street/DCMD/G1/m1/x",
            "spBv1.0/street/DCMD/G1/m 1",
            "spBv1.0/street/NDATA/G1",
            "x",
        ],
    )
    def test_what_is_not_for_us(self, topic: str) -> None:
        with pytest.raises(BadPayload, match="nothing is expected"):
            node().read(topic, order(Metric(name="Supply/Closed", boolean_value=False)))

    @pytest.mark.parametrize(
        ("payload", "why"),
        [
            (b"\xff\xff", "no Sparkplug B payload"),
            (b"\x12\x03\x0a\x01\xff", "no Sparkplug B payload"),  # a name that is not UTF-8
            (b"\x08\x01" * 200_000, "larger than"),
            (order(Metric(alias=77, boolean_value=True)), "alias 77 is of no metric of m1"),
            (order(Metric(boolean_value=True)), "of no metric"),
        ],
    )
    def test_what_cannot_be_read(self, payload: bytes, why: str) -> None:
        with pytest.raises(BadPayload, match=why):
            born(node()).read("spBv1.0/street/DCMD/G1/m1", payload)

    def test_an_alias_of_another_device_writes_nothing(self) -> None:
        edge = born(node())
        edge.device_birth("m2", [CLOSED], AT)
        with pytest.raises(BadPayload, match="of no metric of m1"):
            edge.read("spBv1.0/street/DCMD/G1/m1", order(Metric(alias=3, boolean_value=False)))

    def test_random_bytes_never_do_more_than_be_refused(self) -> None:
        import random

        rng, edge = random.Random(7), born(node())
        good = order(Metric(name="Supply/Closed", datatype=11, boolean_value=True))
        for _ in range(2000):
            bent = bytearray(good)
            for _ in range(rng.randrange(1, 4)):
                bent[rng.randrange(len(bent))] = rng.randrange(256)
            try:
                wishes = edge.read("spBv1.0/street/DCMD/G1/m1", bytes(bent))
            except BadPayload:
                continue
            assert all(isinstance(wish, Write) and wish.device == "m1" for wish in wishes)


class TestHost:
    def test_its_state(self) -> None:
        assert host_topic("SCADA") == "spBv1.0/STATE/SCADA"
        assert parse_host(b'{"online": true, "timestamp": 5}') == HostState(True, 5)

    @pytest.mark.parametrize(
        "payload", [b"ONLINE", b"\xff", b"[]", b'{"online": 1, "timestamp": 5}', b'{"online": true, "timestamp": true}']
    )
    def test_what_is_none(self, payload: bytes) -> None:
        with pytest.raises(BadPayload):
            parse_host(payload)

    @pytest.mark.parametrize("name", ["", "a/b", "+", "a b", "x" * 65])
    def test_names_that_make_no_topic(self, name: str) -> None:
        with pytest.raises(RequestError):
            EdgeNode(name, "G1")
        with pytest.raises(RequestError):
            EdgeNode("street", name)
        with pytest.raises(RequestError):
            host_topic(name)
