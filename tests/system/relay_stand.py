"""Simulated meters with relays behind a gateway whose orders come signed through a real Mosquitto, and who watches all of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import httpx2

from tests.gateway.brokers import Mosquitto, running
from tests.gateway.centre_keys import Signer
from tests.system.line_tap import LineTap
from tests.system.processes import Process, free_port, until
from tests.system.shifted import set_clock
from tests.system.stand import ANSWERS_S

ROOT = "wattgate/v1/G1"
COMMAND = f"{ROOT}/down/command"
ACK_S = 0.25
UP_S, SEEN_S = 180.0, 180.0
METRIC = "wattgate_commands_refused_total"
READS = frozenset({0x11, 0x12})


@dataclass(frozen=True, slots=True)
class Relay:
    """One meter with its account. contact_ms: how long its contact takes."""

    meter: str
    address: str
    line: str
    contact_ms: tuple[int, int] = (20, 150)

    def sim(self) -> str:
        low, high = self.contact_ms
        return (
            f'[[meter]]\nid = "{self.meter}"\nline = "{self.line}"\naddress = "{self.address}"\nmodel = "dlt645-single"\n'
            f'contact_ms = [{low}, {high}]\ninitial_kwh = 100\nload = {{kind = "constant", power_w = 2000}}\n'
        )

    def gateway(self) -> str:
        return (
            f'[[account]]\nid = "A-{self.meter}"\nholder = "House {self.meter}"\ncurrency = "CNY"\ntariff = "flat"\n'
            f'agreement = "yes"\nopening = "900.00"\n[account.policy]\nreconnect = "close"\nno_cut_hours = false\n'
            f'[[meter]]\nid = "{self.meter}"\nline = "{self.line}"\naddress = "{self.address}"\nprofile = "dlt645-single"\n'
            f'account = "A-{self.meter}"\n'
        )


def street(lines: int, each: int, contact_ms: Sequence[tuple[int, int]] = ((20, 150),)) -> list[Relay]:
    """Meters m0, m1 ... line by line."""
    return [Relay(f"m{n}", f"2019{n:08}", f"line{n // each}", contact_ms[n % len(contact_ms)]) for n in range(lines * each)]


@dataclass
class Watcher:
    """Whoever else has the broker's messages: what the gateway said, once each, and the centre's word that it has arrived."""

    client: aiomqtt.Client
    centre: Signer | None
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    results: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    online: int = 0
    epoch: str = ""
    seqs: set[int] = field(default_factory=set)
    upto: int = 0

    async def watch(self) -> None:
        async for message in self.client.messages:
            topic, body = str(message.topic).removeprefix(f"{ROOT}/"), json.loads(bytes(message.payload))
            if topic == "status":
                self.online = self.online + 1 if body["state"] == "online" else self.online
            elif topic.startswith("up/"):
                self._take(topic.split("/")[1], body)

    def _take(self, kind: str, body: dict[str, Any]) -> None:
        self.epoch = body["epoch"]
        if body["seq"] in self.seqs:
            return
        self.seqs.add(body["seq"])
        while self.upto + 1 in self.seqs:
            self.upto += 1
        if kind == "event":
            self.events.append((time.monotonic(), body))
        elif kind == "result":
            self.results.setdefault(body["command"], []).append(body)

    async def acknowledge(self) -> None:
        said = 0
        while self.centre is not None:
            await asyncio.sleep(ACK_S)
            if self.upto > said:
                said = self.upto
                word = json.dumps({"epoch": self.epoch, "upto": said, "also": []}).encode()
                await self.client.publish(f"{ROOT}/down/ack", self.centre.signed(word), qos=1)

    def last(self, ident: str) -> dict[str, Any]:
        """What was said of a command at last."""
        return self.results.get(ident, [{}])[-1]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Events of a kind."""
        return [event for _, event in self.events if event["kind"] == kind]


class RelayStand:
    """Broker, simulator, taps and gateway. keys: tables [[uplink_key]] as text. limits: the table [limits]."""

    def __init__(self, folder: Path, broker: Mosquitto, relays: Sequence[Relay], keys: str, limits: str = "") -> None:
        self.folder, self.broker, self.relays = folder, broker, {relay.meter: relay for relay in relays}
        self.clock, self.data, self.config = folder / "clock", folder / "data", folder / "gateway.toml"
        set_clock(self.clock, 0)
        self.off_ms = 0
        self._http, control, self._keys, self._limits = free_port(), f"127.0.0.1:{free_port()}", keys, limits
        self.taps = {line: LineTap(free_port()) for line in dict.fromkeys(relay.line for relay in relays)}
        (folder / "sim.toml").write_text("\n".join(self._sim_toml()))
        passwords = folder / "passwords.toml"
        passwords.write_text('[control]\nlevel = 2\npassword = "000000"\n')
        passwords.chmod(0o600)
        self.sim = Process("simulator", "firmware_sim", folder / "sim.toml", "--control", control, folder=folder)
        run = ("tests.system.shifted", self.clock, "run", "-c", self.config, "--ready")
        self.gateway = Process("gateway", *run, folder=folder)
        self._api = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self._http}", timeout=ANSWERS_S, trust_env=False)
        self._handle = httpx2.AsyncClient(base_url=f"http://{control}/sim/v1/", timeout=ANSWERS_S, trust_env=False)

    @contextlib.asynccontextmanager
    async def running(self, centre: Signer | None) -> AsyncIterator[Watcher]:
        """Broker, simulator and taps; the gateway is started by the test. centre: who acknowledges, if anybody."""
        async with running(self.broker), aiomqtt.Client("127.0.0.1", self.broker.port, timeout=ANSWERS_S) as client:
            client.pending_calls_threshold = 1000
            watcher = Watcher(client, centre)
            await client.subscribe(f"{ROOT}/up/#", qos=1)
            await client.subscribe(f"{ROOT}/status", qos=1)
            tasks = [asyncio.ensure_future(work) for work in (watcher.watch(), watcher.acknowledge())]
            try:
                await self.sim.start()
                for tap in self.taps.values():
                    await tap.start()
                self.config.write_text("\n".join(self._gateway_toml()))
                yield watcher
            finally:
                for task in tasks:
                    task.cancel()
                await self.gateway.kill()
                await self.sim.kill()
                for tap in self.taps.values():
                    await tap.stop()
                await self._api.aclose()
                await self._handle.aclose()

    async def start(self, watcher: Watcher) -> None:
        """The gateway, until the broker's commands reach it."""
        seen = watcher.online
        await self.gateway.start()
        await until(lambda: watcher.online > seen, "the gateway is online at the broker", UP_S)

    def shift(self, off_ms: int) -> None:
        """Somebody sets the gateway's clock."""
        self.off_ms = off_ms
        set_clock(self.clock, off_ms)

    def now_ms(self) -> int:
        """By the gateway's clock."""
        return time.time_ns() // 1_000_000 + self.off_ms

    async def truths(self) -> dict[str, dict[str, Any]]:
        """The simulator's truth about all meters."""
        return {truth["id"]: truth for truth in (await self._handle.get("meters")).json()}

    async def fault(self, meter: str, kind: str, on: bool = True) -> None:
        """Breaks or mends something in a meter."""
        answer = await self._handle.post(f"meters/{meter}/fault", json={"kind": kind, "on": on})
        assert answer.status_code == 200, answer.text

    async def refused(self) -> dict[str, int]:
        """By reason: messages that moved nothing since the gateway started, as its metrics have them."""
        answer = await self._api.get("/metrics")
        assert answer.status_code == 200, answer.text
        rows = [line.removeprefix(METRIC) for line in answer.text.splitlines() if line.startswith(METRIC)]
        return {row.split('"')[1]: round(float(row.split()[-1])) for row in rows}

    async def ask(self, path: str) -> Any:
        """GET of the gateway's API."""
        return (await self._api.get(f"/api/v1/{path}")).json()

    async def post(self, path: str, body: Mapping[str, object]) -> int:
        """POST to it, as the operator; the status."""
        token = (self.data / "operator.token").read_text().strip()
        answer = await self._api.post(f"/api/v1/{path}", json=dict(body), headers={"authorization": f"Bearer {token}"})
        return answer.status_code

    def orders(self) -> int:
        """Control frames that went to any line."""
        return sum(len(tap.orders) for tap in self.taps.values())

    def strange(self) -> set[int]:
        """What else but questions went there."""
        return {function for tap in self.taps.values() for function in tap.functions} - READS - {0x1C}

    def _sim_toml(self) -> Iterator[str]:
        yield "[sim]\nseed = 7\n"
        for line, tap in self.taps.items():
            port = f"port = {tap.target}\nbaud = 38400"
            yield f'[[line]]\nid = "{line}"\nkind = "tcp"\n{port}\ndelay_ms = [10, 60]\ntail_ms = 100\n'
        for relay in self.relays.values():
            yield relay.sim()

    def _gateway_toml(self) -> Iterator[str]:
        yield '[gateway]\nid = "G1"\ndata = "data"\nzone = "Asia/Shanghai"\npasswords = "passwords.toml"\n'
        yield f'[store]\nreserve_mib = 8\n[http]\nlisten = "127.0.0.1:{self._http}"\nopen_get = true\n'
        yield f'[mqtt]\nhost = "127.0.0.1"\nport = {self.broker.port}\ncommands = true\n{self._keys}\n'
        yield f'[limits]\n{self._limits}\n[clock]\nsource = "vouched"\nkeep_meters = false\n'
        yield "[[scheme]]\nbilling_s = 600\ninstant_s = 600\nswitch_s = 60\n"
        yield '[[tariff]]\nid = "flat"\ncurrency = "CNY"\nkind = "flat"\nprice = "0.617"\n'
        for line, tap in self.taps.items():
            yield f'[[line]]\nid = "{line}"\nkind = "tcp"\nhost = "127.0.0.1"\nport = {tap.port}\nbaud = 38400\n'
        for relay in self.relays.values():
            yield relay.gateway()


def key_table(signer: Signer, **scope: object) -> str:
    """A table [[uplink_key]] of this key; scope: lists, texts and moments as TOML has them."""
    rows = "\n".join(f"{name} = {value if name in ('from', 'until') else json.dumps(value)}" for name, value in scope.items())
    return f'[[uplink_key]]\nkid = "{signer.kid}"\npublic = "{signer.key().public}"\n{rows}\n'


async def settle(watcher: Watcher, idents: Sequence[str], what: str, within_s: float = SEEN_S) -> None:
    """Until the last word about each of these is said."""

    def final() -> bool:
        return all(watcher.last(ident).get("final") for ident in idents)

    done: Callable[[], bool] = final
    await until(done, f"{what}: {[(each, watcher.last(each).get('state')) for each in idents][:5]}", within_s)
