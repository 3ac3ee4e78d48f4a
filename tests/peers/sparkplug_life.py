"""Lives of our edge node on a real broker, with all that it says on the wire and all that another client there sees."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from gateway.adapters.mqtt_session import Broker
from gateway.adapters.output_sparkplug import Sparkplug
from gateway.domain.events import EventKind
from gateway.domain.meters import Contact
from gateway.entrypoints.output_numbers import Numbers
from gateway.services import announce
from protocols.uplink.sparkplug_b_pb2 import Metric, Payload
from tests.gateway.brokers import Mosquitto, running
from tests.gateway.mqtt_tap import CONNECT, DISCONNECT, PUBLISH, SUBSCRIBE, Packet, Tap, tapping
from tests.gateway.output_ends import House, Seen, Watcher, cut_the_wire, meter, watching
from tests.gateway.sparkplug_host import Host
from tests.gateway.uplink_ends import until

GROUP, NODE, HOST = "street", "gw-1", "SCADA"
ROOT = f"spBv1.0/{GROUP}"
MANY = 300
"""Readings in one go: the sequence begins anew at least once."""

Decode = Callable[[bytes], dict[str, Any]]


@dataclass(frozen=True)
class Message:
    """A Sparkplug message as it left the node, decoded."""

    kind: str
    device: str | None
    packet: Packet
    at: int
    payload: dict[str, Any]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return list(self.payload["metrics"])

    def named(self, name: str) -> dict[str, Any]:
        (found,) = [metric for metric in self.metrics if metric.get("name") == name]
        return found


@dataclass
class Life:
    """said: the node's packets, seen: what another client got, marks: how many packets had been said at a named moment."""

    protocol: int
    said: list[Packet] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    began_ms: int = 0
    ended_ms: int = 0

    def of(self, kind: int) -> list[Packet]:
        return [packet for packet in self.said if packet.kind == kind]

    @property
    def connects(self) -> list[Packet]:
        return self.of(CONNECT)

    def messages(self, decode: Decode, *kinds: str) -> list[Message]:
        """Those of these kinds, all without any."""
        return [message for message in self._messages(decode) if not kinds or message.kind in kinds]

    def _messages(self, decode: Decode) -> Iterator[Message]:
        for at, packet in enumerate(self.said):
            if packet.kind == PUBLISH:
                _, _, kind, _, *device = packet.topic.split("/")
                yield Message(kind, device[0] if device else None, packet, at, decode(packet.payload))


def output(house: House, *, primary_host: str | None = None) -> Sparkplug:
    node = Sparkplug(
        *(house.broker.address, NODE),
        version="0.1.0",
        now_ms=house.clock.now_ms,
        rng=random.Random(1),
        group=GROUP,
        primary_host=primary_host,
    )
    node.unsure_s = 0.0
    node.numbers = Numbers(house, "sparkplug")
    return node


def wish(**metric: Any) -> bytes:
    return bytes(Payload(timestamp=1, metrics=[Metric(**metric)]).SerializeToString())


class _Reach:
    """Where the node thinks that its broker is."""

    def __init__(self, tap: Tap, protocol: int) -> None:
        self.port, self.address = tap.port, Broker(port=tap.port, protocol=protocol)


_HOSTS: WeakKeyDictionary[Watcher, tuple[Host, int]] = WeakKeyDictionary()


def _host(watcher: Watcher) -> Host:
    """What the watcher saw, each message heard once."""
    host, heard = _HOSTS.get(watcher, (Host(), 0))
    host.hear(*watcher.seen[heard:])
    _HOSTS[watcher] = host, len(watcher.seen)
    return host


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def live(folder: Path, binary: str, protocol: int) -> Life:
    """Two processes: births, data over the end of the sequence, a write, a rebirth, a device's death, a cut wire, a clean end, and
    what was missed."""
    life = Life(protocol, began_ms=_now_ms())
    mosquitto = Mosquitto(folder / "mosquitto", binary)
    async with running(mosquitto), tapping(mosquitto.port) as tap, watching(mosquitto.address) as watcher:
        house = House(folder, _Reach(tap, protocol), meter("m1"), meter("m2"))  # type: ignore[arg-type]
        with house.acting() as street:
            street.block("m1", total="100.00")
            street.later(s=1).read("m1", power="0.230", contact=Contact.CLOSED)
        async with house.showing(node := output(house)):
            await _first_process(house, node, watcher, tap, life)
        with house.acting() as street:
            for n in range(3):
                street.later(s=1).read("m1", power=f"77.{n}")
        async with house.showing(output(house)):
            missed = {77.0, 77.1, 77.2}
            await watcher.until(lambda: missed <= {t.value for t in _host(watcher).told["m1"] if t.historical}, "what was missed")
        await watcher.until(lambda: not _host(watcher).alive, "the last death")
        house.store.close()
        life.said, life.seen, life.ended_ms = tap.said, watcher.seen, _now_ms()
    return life


async def _first_process(house: House, node: Sparkplug, watcher: Watcher, tap: Tap, life: Life) -> None:
    await watcher.until(lambda: {"m1", "m2"} <= {*_host(watcher).devices}, "births")
    with house.acting() as street:
        for n in range(MANY):
            street.later(s=0.001).read("m1", power=f"{n}.5")
    await watcher.until(lambda: _host(watcher).present["m1"].get("power") == MANY - 0.5, "all data")
    life.marks["steady"] = len(tap.said)
    with house.acting() as street:
        street.read("m1", power=f"{MANY - 1}.5")  # nothing new
        street.topup("5")
    await watcher.until(lambda: _host(watcher).present["m2"].get("Account/Balance") == 25.0, "a balance")
    life.marks["changed"] = len(tap.said)
    with house.acting() as street:
        street.later(minutes=1).block("m1", total="0.00")
    await watcher.until(lambda: any(told.quality == 0 for told in _host(watcher).told["m1"]), "a value of bad quality")
    alias = next(alias for alias, name in _host(watcher).devices["m1"].items() if name == "Supply/Closed")
    await watcher.say(f"{ROOT}/DCMD/{NODE}/m1", wish(alias=alias, boolean_value=False))
    await watcher.until(lambda: _host(watcher).present["m1"].get("Command/State") == "queued", "the write is an order")
    life.marks["rebirth"] = len(tap.said)
    await watcher.say(f"{ROOT}/NCMD/{NODE}", wish(name="Node Control/Rebirth", datatype=11, boolean_value=True))
    await watcher.until(lambda: _host(watcher).births == 2 and {"m1", "m2"} <= {*_host(watcher).devices}, "a rebirth")
    life.marks["reborn"] = len(tap.said)
    now_ms = house.clock.now_ms()
    await house.write(lambda tx: announce.event(tx, EventKind.METER_SILENT, now_ms, meter="m2"))
    await watcher.until(lambda: "m2" not in _host(watcher).devices, "a death")
    await house.write(lambda tx: announce.event(tx, EventKind.METER_BACK, now_ms, meter="m2"))
    await watcher.until(lambda: "m2" in _host(watcher).devices, "a birth")
    cut_the_wire(node)
    await watcher.until(lambda: _host(watcher).births == 3 and {"m1", "m2"} <= {*_host(watcher).devices}, "born again")


def _state(online: bool, at_ms: int) -> bytes:
    return json.dumps({"online": online, "timestamp": at_ms}).encode()


async def wait_for_host(folder: Path, binary: str, protocol: int) -> Life:
    """A node with a primary host: offline, another one online, online, an old death, a death, the same one's old birth, back."""
    life = Life(protocol, began_ms=_now_ms())
    mosquitto = Mosquitto(folder / "mosquitto", binary)
    topic, at_ms = f"spBv1.0/STATE/{HOST}", _now_ms()
    async with running(mosquitto), tapping(mosquitto.port) as tap, watching(mosquitto.address) as watcher:
        house = House(folder, _Reach(tap, protocol), meter("m1"))  # type: ignore[arg-type]
        await watcher.say(topic, _state(False, at_ms), retain=True)
        async with house.showing(output(house, primary_host=HOST)) as node:

            async def mark(name: str) -> None:
                await asyncio.sleep(0.4)
                life.marks[name], life.times[name] = len(tap.said), asyncio.get_running_loop().time()

            await until(lambda: node.connections == 1, "connected")
            await mark("offline")
            await watcher.say("spBv1.0/STATE/OTHER", _state(True, at_ms + 9), retain=True)
            await watcher.say(topic, b"ONLINE", retain=False)  # what version 2.2 said
            await watcher.say(topic, _state(True, at_ms - 1))
            await mark("not ours")
            await watcher.say(topic, _state(True, at_ms + 10), retain=True)
            await watcher.until(lambda: "m1" in _host(watcher).devices, "births")
            await watcher.say(topic, _state(False, at_ms + 9))
            await mark("old death")
            await watcher.say(topic, _state(False, at_ms + 10), retain=True)
            await watcher.until(lambda: not _host(watcher).alive, "our death")
            died = asyncio.get_running_loop().time()
            await until(lambda: node.connections == 2, "connected again")
            life.times["back after"] = asyncio.get_running_loop().time() - died
            await watcher.say(topic, _state(True, at_ms + 5), retain=True)
            with house.acting() as street:
                street.read("m1", power="3.5")
            await mark("old birth")
            await watcher.say(topic, _state(True, at_ms + 20), retain=True)
            await watcher.until(lambda: _host(watcher).births == 2 and "m1" in _host(watcher).devices, "born again")
            await watcher.until(lambda: any(told.historical for told in _host(watcher).told["m1"]), "what was missed")
        house.store.close()
        life.said, life.seen, life.ended_ms = tap.said, watcher.seen, _now_ms()
    return life


__all__ = ["CONNECT", "DISCONNECT", "PUBLISH", "SUBSCRIBE", "Life", "Message", "live", "wait_for_host"]
