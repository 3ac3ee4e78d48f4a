"""How fast the outbox drains into a real Mosquitto, beside the client library alone, and how long a live message takes meanwhile.

All in one run, on one machine: gateway, broker, centre and the measuring itself share its processors.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import aiomqtt
import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from gateway.adapters import event_loop
from gateway.adapters.mqtt_link import Broker, MqttLink
from gateway.adapters.store import Store
from gateway.domain.events import Json, Outgoing, Topic
from gateway.entrypoints.line_loop import Wake
from gateway.entrypoints.outbox_loop import DEFAULT_BOUNDS, OutboxLoop
from gateway.services.acknowledge import EPOCH, acknowledge
from gateway.services.ports import Tx
from tests.bench.bench_money import percentile
from tests.gateway.brokers import Mosquitto, running

MESSAGES, WINDOW = 40_000, 100
AT_ONCE = 2_000
LIVE_EVERY_S = 0.01
TURNS = 3
MOSQUITTO = "/usr/sbin/mosquitto"
ACK_EVERY_S = 0.1
NO_RATE = replace(DEFAULT_BOUNDS, drain_per_s=100_000)
"""The most that `uplink.drain_per_s` takes: with its default of 10,000 a second the bound was measured, and not the drain."""


class Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def reading(n: int, at_ms: int) -> Outgoing:
    """A poll of a meter, as record_reading announces it."""
    items: list[Json] = [{"quantity": "energy_import", "obis": "1-0:1.8.0", "value": f"{n / 100:.2f}", "unit": "kWh"}]
    body: dict[str, Json] = {
        "point": f"P{n % 200}", "items": items, "quality": "single", "source": "live", "asked_ms": at_ms, "answered_ms": at_ms,
        "stored_ms": at_ms,
    }  # fmt: skip
    return Outgoing(Topic.READING, f"m{n % 200}", at_ms, body)


def figures() -> Iterator[tuple[str, float, str]]:
    """The median of some turns of the library and ours, one after another."""
    if not Path(MOSQUITTO).exists():
        print("Mosquitto is not installed: no figures of the uplink", file=sys.stderr)
        return
    turns = [measured() for _ in range(TURNS)]
    yield "aiomqtt alone, QoS 1, window of 100", median(t.library for t in turns), "messages/s"
    yield "drain of the outbox, acknowledged by a centre (at least 5,000)", median(t.ours for t in turns), "messages/s"
    yield "our drain in what the library alone reaches (at least 60)", median(100 * t.ours / t.library for t in turns), "%"
    yield "processor time of the library alone", median(t.library_us for t in turns), "us a message"
    yield "processor time of the gateway, store and acknowledgements included", median(t.ours_us for t in turns), "us a message"
    live = sorted(took for t in turns for took in t.live_ms)
    yield "a live message during the drain, store to centre, p50", percentile(live, 50), "ms"
    yield "a live message during the drain, store to centre, p99 (at most 500)", percentile(live, 99), "ms"


@dataclass(frozen=True)
class Turn:
    """One of both: messages a second, us of processor time for one, and how long live messages took."""

    library: float
    library_us: float
    ours: float
    ours_us: float
    live_ms: list[float]


def measured() -> Turn:
    """One turn of each on a broker of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        return event_loop.run(_measure(Path(folder)))


async def _measure(folder: Path) -> Turn:
    broker = Mosquitto(folder / "broker", MOSQUITTO)
    async with running(broker):
        library, library_us = await alone(broker.port)
        ours, ours_us, live_ms = await drain(folder, broker.port)
        return Turn(library, library_us, ours, ours_us, live_ms)


async def alone(port: int) -> tuple[float, float]:
    """What the client library reaches with payloads of this length and nothing else to do: no store, no envelope."""
    payload = b"x" * 420
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, max_inflight_messages=WINDOW) as client:
        client.pending_calls_threshold = WINDOW + 1
        work = iter(range(MESSAGES))

        async def worker() -> None:
            for _ in work:
                await client.publish("wattgate/v1/alone/up/reading/m", payload, qos=1)

        begin, spent = time.perf_counter(), time.process_time()
        await asyncio.gather(*(worker() for _ in range(WINDOW)))
        return MESSAGES / (time.perf_counter() - begin), 1e6 * (time.process_time() - spent) / MESSAGES


async def drain(folder: Path, port: int) -> tuple[float, float, list[float]]:
    """The gateway's outbox as its process has it, until the centre has acknowledged the whole backlog."""
    clock, wake = Clock(), Wake()
    with Store.open(str(folder / "gateway.db")) as store:
        old = clock.now_ms() - 3_600_000
        for first in range(0, MESSAGES, AT_ONCE):
            store.write_now(lambda tx, first=first: _fill(tx, first, old))  # type: ignore[misc]
        epoch = store.read_now(lambda tx: tx.meta(EPOCH)) or ""
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        centre = multiprocessing.get_context("spawn").Process(target=centre_process, args=(port, epoch, theirs), daemon=True)
        centre.start()
        assert await asyncio.to_thread(ours.recv) == "ready"
        link = MqttLink(
            Broker(port=port, protocol=5), "G1", pseudonym_key=b"k" * 32, commands=False, now_ms=clock.now_ms, rng=random.Random(1),
            window=WINDOW,
        )  # fmt: skip
        outbox = OutboxLoop(store, link, wake.listener(), clock, bounds=NO_RATE)
        link.listener = Acks(store, outbox, wake, clock)
        tasks = [asyncio.create_task(work) for work in (link.run(), outbox.run())]
        await link.connected.wait()
        begin, spent = time.perf_counter(), time.process_time()
        live = asyncio.create_task(live_rows(store, wake, clock))
        while store.read_now(lambda tx: tx.outbox_state().low) <= MESSAGES:  # noqa: ASYNC110 - the loops tell nobody
            await asyncio.sleep(0.02)
        took, spent = time.perf_counter() - begin, time.process_time() - spent
        live.cancel()
        await asyncio.sleep(0.5)
        ours.send("end")
        seen, late = await asyncio.to_thread(ours.recv)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.to_thread(centre.join)
        assert seen >= MESSAGES, "nothing was left out"
        return MESSAGES / took, 1e6 * spent / MESSAGES, late


def _fill(tx: Tx, first: int, at_ms: int) -> None:
    for n in range(first, first + AT_ONCE):
        tx.add_outgoing(reading(n, at_ms))


async def live_rows(store: Store, wake: Wake, clock: Clock) -> None:
    """A meter's poll every now and then, as long as the drain lasts."""
    n = MESSAGES
    while True:
        n += 1
        await store.write(lambda tx, n=n: tx.add_outgoing(reading(n, clock.now_ms())))  # type: ignore[misc]
        wake.notify()
        await asyncio.sleep(LIVE_EVERY_S)


class Acks:
    """The gateway's end of the centre's acknowledgements."""

    def __init__(self, store: Store, outbox: OutboxLoop, wake: Wake, clock: Clock) -> None:
        self._store, self._outbox, self._wake, self._clock = store, outbox, wake, clock

    async def on_ack(self, epoch: str, upto: int, also: tuple[tuple[int, int], ...]) -> None:
        def write(tx: Tx) -> int:
            return acknowledge(tx, epoch, upto, also, self._clock.now_ms(), self._outbox.sent)

        await self._store.write(write)
        self._outbox.heard(upto, also)
        self._wake.notify()

    async def on_resend(self, *_: object) -> None: ...
    async def on_command(self, *_: object) -> None: ...
    async def on_unreadable(self, what: object) -> None:
        raise AssertionError(what)


class Seen(msgspec.Struct):
    """What the centre here looks at."""

    seq: int
    stored: str


def centre_process(port: int, epoch: str, pipe: Connection) -> None:
    """A centre that only counts, with as little work as that takes: the reference centre's own speed is measured elsewhere."""
    here: set[int] = set()
    late: list[float] = []
    parse = msgspec.json.Decoder(Seen).decode

    def hear(_client: Client, _userdata: object, message: MQTTMessage) -> None:
        found = parse(message.payload)
        here.add(found.seq)
        if found.seq > MESSAGES:
            late.append(time.time() * 1000 - datetime.fromisoformat(found.stored).timestamp() * 1000)

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = hear
    client.on_subscribe = lambda *_: pipe.send("ready")
    client.connect("127.0.0.1", port)
    client.subscribe("wattgate/v1/G1/up/#", qos=1)
    upto, due = 0, 0.0
    while not pipe.poll():
        client.loop(ACK_EVERY_S)
        if time.monotonic() < due:
            continue
        due = time.monotonic() + ACK_EVERY_S
        while upto + 1 in here:
            upto += 1
        newest = max(here, default=0)
        ack = {"epoch": epoch, "upto": upto, "also": [[newest, newest]] if newest > upto else []}
        client.publish("wattgate/v1/G1/down/ack", json.dumps(ack), qos=1)
    client.disconnect()
    pipe.send((len(here), late))
