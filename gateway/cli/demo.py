"""`wattgate demo`: a simulated street, broker, gateway, central system, bank and page in one command."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Annotated, Any

import httpx2
import typer
from rich.console import Console
from rich.live import Live

from firmware_sim.banking.bank import MAX_TRIES, Office
from firmware_sim.banking.line import HttpLine
from gateway.bootstrap.broker import BrokerFailed, BundledBroker
from gateway.cli import demo_street
from gateway.cli.answers import Failure
from gateway.cli.centre_keys import centre_keys
from gateway.cli.demo_children import Child
from gateway.cli.demo_street import Places, Street
from gateway.cli.demo_table import Picture, draw, words
from gateway.cli.demo_witness import Witness

LOOK_S = 0.5
"""Between two looks at the meters: a cut lasts for many of them."""

STORY_S = 5.0
"""Between two looks at the gateway's readings and charges."""

DARK_S = 7.0
"""The household that ran out sits in the dark for this long, so that the cut is verified first (settle_s 4); then it pays."""

OTHERS_PAY_S = 12.0
"""Some other household pays every so often."""

MOST_RESTARTS = 20
"""A gateway that dies is started again, as its supervisor would; one that dies for ever is not."""

DEFAULT_HTTP, DEFAULT_MQTT = "127.0.0.1:8080", "127.0.0.1:1883"

FEWEST_METERS, MOST_METERS = 6, 90
"""Two households play a part, and addresses end in two digits."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line."""

    meters: int
    speed: float
    seconds: float | None
    seed: int
    http: str
    mqtt: str
    data: Path
    as_json: bool


@dataclass(slots=True)
class Story:
    """What happened so far."""

    topups: int = 0
    restarts: int = 0
    problems: list[str] = field(default_factory=list)


def demo(
    meters: Annotated[
        int, typer.Option(min=FEWEST_METERS, max=MOST_METERS, help="DL/T 645 meters; four Modbus meters come on top.")
    ] = 24,
    speed: Annotated[float, typer.Option(min=0, max=1000, help="Times faster the loads draw energy; clocks stay real.")] = 60,
    seconds: Annotated[float | None, typer.Option("--for", metavar="SECONDS", help="End by itself and print a summary.")] = None,
    seed: Annotated[int, typer.Option(help="Of the street and its loads.")] = 1,
    http: Annotated[str | None, typer.Option(metavar="H:P", help=f"Page and API; {DEFAULT_HTTP} or a free port.")] = None,
    mqtt: Annotated[str | None, typer.Option(metavar="H:P", help=f"The broker; {DEFAULT_MQTT} or a free port.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep everything here; a second start goes on from it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object on the last line.")] = False,
) -> None:
    """A simulated street with everything around it: households are warned, run out, are cut, pay, and have light again.

    Example: wattgate demo --for 60 --json
    """
    with contextlib.ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wattgate-", ignore_cleanup_errors=True)))
        stack.enter_context(_taken(folder))
        options = Options(
            meters, speed, seconds, seed, _place(http, DEFAULT_HTTP), _place(mqtt, DEFAULT_MQTT), folder.resolve(), as_json
        )
        if not asyncio.run(Demo(options).run()):
            raise Failure("not everything was seen at the meters; the lines above say what is missing")


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(demo)


class Demo:
    """One run."""

    def __init__(self, options: Options) -> None:
        self.options = options
        rng = Random(options.seed)
        self.street: Street = demo_street.street(options.meters, rng)
        sim = f"127.0.0.1:{free_port()}"
        self.places = Places(str(options.data / "rs485-slow"), free_port(), free_port(), options.http, options.mqtt)
        self._write_files(rng)
        folder = options.data
        self.sim = Child("simulator", ["firmware_sim", str(folder / "sim.toml"), "--control", sim], folder)
        self.gateway = Child("gateway", ["gateway", "run", "-c", str(folder / "gateway.toml"), "--ready"], folder)
        self.central = Child("central", ["gateway", "central", "-c", str(folder / "central.toml"), "--ready"], folder)
        host, _, port = options.mqtt.rpartition(":")
        self.broker = BundledBroker(folder / "broker", int(port), host)
        self.url = f"http://{options.http}"
        self._api = httpx2.AsyncClient(base_url=self.url, timeout=5, trust_env=False)
        self._sim = httpx2.AsyncClient(base_url=f"http://{sim}", timeout=5, trust_env=False)
        now, serials = (lambda: datetime.now(UTC)), Random(secrets.randbits(64))
        self._line = HttpLine(self.url, now, serials, currency=demo_street.CURRENCY)
        self._bank = Office([self._line], (), now, serials, patience=MAX_TRIES)
        self.witness, self.story, self.picture = Witness(), Story(), Picture()
        self._told = 0
        self._started = time.time()

    def _write_files(self, rng: Random) -> None:
        folder, options = self.options.data, self.options
        (folder / "sim.toml").write_text(demo_street.sim_toml(self.street, self.places, options.speed, options.seed, rng))
        gateway = demo_street.gateway_toml(self.street, self.places, options.speed)
        (folder / "gateway.toml").write_text(f"{gateway}\n{centre_keys(folder)}")
        (folder / "central.toml").write_text(demo_street.central_toml(self.places))
        secret(folder / "passwords.toml", demo_street.PASSWORDS_TOML)
        if not (folder / "operator.token").exists():
            secret(folder / "operator.token", secrets.token_urlsafe(24) + "\n")

    async def run(self) -> bool:
        """The whole run; whether all that was asked for was seen (always, without an end)."""
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            await self._start()
            self._greet()
            await self._watch(stop)
            return await self._end() if self.options.seconds is not None else True
        finally:
            await asyncio.gather(self.gateway.stop(), self.central.stop())
            await asyncio.gather(self.sim.stop(), self.broker.stop(), self._api.aclose(), self._sim.aclose(), self._line.close())

    async def _start(self) -> None:
        try:
            await self.broker.start()  # up in milliseconds; where its port is taken, nothing else is loaded in vain
            async with asyncio.TaskGroup() as group:
                for part in (self.sim, self.gateway, self.central):
                    group.create_task(part.start())
        except BrokerFailed as failed:
            raise Failure(str(failed)) from None
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    def _greet(self) -> None:
        token = (self.options.data / "operator.token").read_text().strip()
        print(f"page: {self.url}/", file=sys.stderr)
        print(f"operator's token: {token}", file=sys.stderr)
        print(f"files and logs: {self.options.data}", file=sys.stderr, flush=True)

    async def _watch(self, stop: asyncio.Event) -> None:
        """Everything that goes on while the demo runs, until its time is over or somebody stops it."""
        work = [self._meters(), self._story(), self._pay_for_debtor(), self._others_pay(), self._keep_gateway(), self._show()]
        tasks = [asyncio.ensure_future(part) for part in work]
        waiting = asyncio.ensure_future(stop.wait())
        try:
            done, _ = await asyncio.wait([*tasks, waiting], timeout=self.options.seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*tasks, waiting):
                task.cancel()
            await asyncio.gather(*tasks, waiting, return_exceptions=True)
        await self._look_at_gateway()
        await self._look_at_meters()

    async def _meters(self) -> None:
        while True:
            await self._look_at_meters()
            await asyncio.sleep(LOOK_S)

    async def _look_at_meters(self) -> None:
        answer = await self._sim.get("/sim/v1/meters")
        self.witness.look(answer.json())

    async def _story(self) -> None:
        while True:
            await self._look_at_gateway()
            await asyncio.sleep(STORY_S)

    async def _look_at_gateway(self) -> None:
        """Readings and charges, to be held against the meters."""
        with contextlib.suppress(httpx2.HTTPError):
            for house in self.street.houses:
                since = self.witness.heard.get(house.meter) or _rfc3339(self._started)
                query = {"quantity": "energy_import", "since": since, "limit": "100"}
                for reading in await self._get(f"/api/v1/meters/{house.meter}/readings", **query):
                    for item in reading["items"]:
                        self.witness.hear_reading(house.meter, reading["answered"], item["value"])
                for line in await self._get(f"/api/v1/accounts/{house.account}/entries", limit="50"):
                    if line["kind"] == "charge" and line["at"] >= _rfc3339(self._started):
                        self.witness.hear_charge(line["number"], line["ref"], -Decimal(line["amount"]))

    async def _get(self, path: str, **query: str) -> Any:
        """JSON of the gateway's API; its shapes are contract.md's and are checked where they are used."""
        answer = await self._api.get(path, params=query)
        answer.raise_for_status()
        return answer.json()

    async def _pay_for_debtor(self) -> None:
        """The bank pays for the household that ran out, once its meter was seen dark for a while."""
        debtor = self.street.debtor
        while True:
            await asyncio.sleep(LOOK_S)
            seen = self.witness.meters.get(debtor.meter)
            if seen is None or not seen.dark or seen.truth["contact"] != "open":
                continue
            dark_since = max((us for us, (contact, _) in seen.moves.items() if contact == "open"), default=seen.dark[0])
            if seen.dark[-1] - dark_since >= DARK_S * 1_000_000:
                await self._pay(debtor.account, demo_street.TOPUP_FEN)
                await asyncio.sleep(2 * DARK_S)

    async def _others_pay(self) -> None:
        rng = Random(self.options.seed)
        others = [house for house in self.street.houses if house not in (self.street.debtor, self.street.greedy)]
        while True:
            await asyncio.sleep(OTHERS_PAY_S)
            await self._pay(rng.choice(others).account, 100 * rng.randrange(5, 50))

    async def _pay(self, account: str, fen: int) -> None:
        paid = await self._bank.pay(self._line, account, fen)
        if paid.state == "posted":
            self.story.topups += 1
        else:
            self.story.problems.append(f"a top-up of {paid.payment.amount} for {account} ended as {paid.state}")

    async def _keep_gateway(self) -> None:
        """Start the gateway again when it dies: what was answered must survive it."""
        while self.story.restarts < MOST_RESTARTS:
            code = await self.gateway.wait()
            self.story.restarts += 1
            self.picture.notes.append(f"the gateway ended with code {code} and is started again")
            await self.gateway.start()
        raise Failure("the gateway dies again and again; see gateway.log")

    async def _show(self) -> None:
        console = Console()
        live = Live(console=console, auto_refresh=False, screen=True) if console.is_terminal and not self.options.as_json else None
        with live or contextlib.nullcontext():
            while True:
                with contextlib.suppress(httpx2.HTTPError):
                    await self._refresh()
                if live is not None:
                    live.update(draw(self.picture, self.url), refresh=True)
                elif not self.options.as_json:
                    self._tell()
                await asyncio.sleep(1)

    async def _refresh(self) -> None:
        picture = self.picture
        picture.meters = await self._get("/api/v1/meters")
        picture.accounts = {str(a["account"]): a for a in await self._get("/api/v1/accounts")}
        picture.lines = await self._get("/api/v1/lines")
        picture.events = await self._get("/api/v1/events", limit="50")
        picture.outbox = await self._get("/api/v1/outbox")

    def _tell(self) -> None:
        """Without a terminal: one line an event."""
        for event in reversed(self.picture.events):
            if int(str(event["id"])) > self._told:
                self._told = int(str(event["id"]))
                print(words(event), flush=True)

    async def _end(self) -> bool:
        """Print the summary; whether everything was seen at the meters."""
        commands = [c for c in await self._get("/api/v1/commands", limit="1000") if str(c["created"]) >= _rfc3339(self._started)]
        verified = [c for c in commands if c["state"] == "verified"]
        cuts = [c for c in verified if c["verb"] == "cut"]
        restores = [c for c in verified if c["verb"] != "cut"]
        seen_cuts = [c for c in cuts if self.witness.cut(str(c["meter"]), c)]
        seen_restores = [c for c in restores if self.witness.restored(str(c["meter"]), c)]
        outbox = await self._get("/api/v1/outbox")
        charged = sum((charge.amount for charge in self.witness.charges.values()), Decimal(0))
        summary = {
            "meters": len(self.witness.meters),
            "readings": self.witness.true_readings,
            "charged": f"{charged:.6f}",
            "currency": demo_street.CURRENCY,
            "cuts_verified": len(seen_cuts),
            "topups": self.story.topups,
            "restores_verified": len(seen_restores),
            "published": outbox["published"],
            "acknowledged": outbox["acknowledged"],
            "seconds": round(time.time() - self._started, 1),
        }
        unseen = [c for c in verified if c not in seen_cuts and c not in seen_restores]
        missing = self._missing(summary, unseen) + self._debtor_missing(seen_cuts, seen_restores)
        for sentence in missing:
            print(sentence, file=sys.stderr)
        summary["ok"] = not missing
        print(json.dumps(summary) if self.options.as_json else _words(summary), flush=True)
        return not missing

    def _debtor_missing(self, cuts: Sequence[Mapping[str, object]], restores: Sequence[Mapping[str, object]]) -> list[str]:
        """The story that this is all about: cut for no credit, paid, restored."""
        debtor = self.street.debtor.meter
        missing = []
        if not any(c["meter"] == debtor and c["cause"] == "energy_debt" for c in cuts):
            missing.append(f"{debtor} was not seen cut for lack of credit")
        if not any(c["meter"] == debtor for c in restores):
            missing.append(f"{debtor} was not seen restored after its top-up")
        return missing

    def _missing(self, summary: Mapping[str, object], unseen: Sequence[Mapping[str, object]]) -> list[str]:
        """What was not seen, or not true, in sentences."""
        counted = ("readings", "cuts_verified", "topups", "restores_verified", "published", "acknowledged")
        missing = [f"no {name.replace('_', ' ')} in this run" for name in counted if not summary[name]]
        if Decimal(str(summary["charged"])) <= 0:
            missing.append("nothing was charged in this run")
        for command in unseen:
            missing.append(f"{command['meter']} did not do what command {command['id']} is said to have done")
        missing += [f"a reading was never held by its meter: {text}" for text in self.witness.false_readings]
        missing += [f"a charge is not true: {text}" for text in self.witness.false_charges()]
        return missing + self.story.problems


@contextlib.contextmanager
def _taken(folder: Path) -> Iterator[None]:
    """The folder, for this demo alone. Failure when it cannot be used."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as problem:
        raise Failure(f"the demo cannot use the folder {folder}: {problem.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"another demo runs in the folder {folder}: stop it, or choose another folder") from None
        yield


def secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def free_port() -> int:
    """A port on loopback that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _place(wanted: str | None, default: str) -> str:
    """The address that was asked for; otherwise the default one, or a free port where that is taken."""
    if wanted is not None:
        host, _, port = wanted.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise Failure(f"{wanted!r} is no address; write HOST:PORT like {default}", 2)
        return wanted
    host, _, port = default.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return f"{host}:{free_port()}"
    return default


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _words(summary: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in summary.items())
