"""A small street with simulator, broker, central system and gateway, all real processes on one folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import httpx2

from gateway.adapters.broker import BundledBroker
from tests.system.processes import Process, free_port

PRICE = Decimal("0.617")
SIM_SPEED = 300
ANSWERS_S = 60  # some ms; on a machine with other work, seconds


@dataclass(frozen=True, slots=True)
class House:
    """One meter and its account, which draws `power_w` (times the simulator's speed) all the time."""

    meter: str
    address: str
    power_w: int = 2500
    opening: str = "1.00"
    line: str = "bus"
    model: str = "dlt645-single"
    profile: str = "dlt645-single"
    switch: str = ""
    extra: str = ""

    @property
    def account(self) -> str:
        return f"A-{self.meter}"


class Stand:
    """Writes the three files; what runs is started by the test. store_url: None for SQLite in the data directory."""

    def __init__(self, folder: Path, houses: Sequence[House], *, speed: int = SIM_SPEED, store_url: str | None = None) -> None:
        self.folder, self.houses, self.speed = folder, {house.meter: house for house in houses}, speed
        self.bus_port, self.modbus_port, self.http_port, self.mqtt_port, self.control_port = (free_port() for _ in range(5))
        self.config, self.data = folder / "gateway.toml", folder / "data"
        self.config.write_text("\n".join(self._gateway_toml(store_url)))
        (folder / "sim.toml").write_text("\n".join(self._sim_toml()))
        (folder / "central.toml").write_text(f'[central]\ndata = "central"\n[mqtt]\nport = {self.mqtt_port}\n')
        passwords = folder / "passwords.toml"
        passwords.write_text('[control]\nlevel = 2\npassword = "000000"\n')
        passwords.chmod(0o600)
        control = f"127.0.0.1:{self.control_port}"
        self.sim = Process("simulator", "firmware_sim", folder / "sim.toml", "--control", control, folder=folder)
        self.gateway = Process("gateway", "gateway", "run", "-c", self.config, "--ready", folder=folder)
        self.central = Process("central", "gateway", "central", "-c", folder / "central.toml", "--ready", folder=folder)
        self.broker = BundledBroker(folder / "broker", self.mqtt_port)
        self.url = f"http://127.0.0.1:{self.http_port}"
        self._api = httpx2.AsyncClient(base_url=self.url, timeout=ANSWERS_S, trust_env=False)
        self._handle = httpx2.AsyncClient(base_url=f"http://{control}/sim/v1/", timeout=ANSWERS_S, trust_env=False)

    async def close(self) -> None:
        """Ends what runs and lets go of the connections."""
        for process in (self.gateway, self.central, self.sim):
            await process.kill()
        await self.broker.stop()
        await self._api.aclose()
        await self._handle.aclose()

    async def api(self, path: str, **query: str) -> Any:
        """JSON of the gateway; None while nobody answers."""
        try:
            return (await self._api.get(path, params=query)).json()
        except httpx2.TransportError:
            return None

    async def truth(self, meter: str) -> dict[str, Any]:
        """The simulator's truth about one meter."""
        truth: dict[str, Any] = (await self._handle.get(f"meters/{meter}")).json()
        return truth

    async def truths(self) -> dict[str, dict[str, Any]]:
        """The simulator's truth about all meters."""
        return {truth["id"]: truth for truth in (await self._handle.get("meters")).json()}

    async def act(self, meter: str, act: str, **body: object) -> None:
        """Acts on a simulated meter."""
        answer = await self._handle.post(f"meters/{meter}/{act}", json=body)
        assert answer.status_code == 200, answer.text

    async def account(self, meter: str) -> dict[str, Any]:
        """The gateway's view of a house's account."""
        account = self.houses[meter].account
        return next(a for a in await self.api("/api/v1/accounts") if a["account"] == account)

    async def readings(self, meter: str) -> int:
        """How many billing readings of a meter the gateway has."""
        found = await self.api(f"/api/v1/meters/{meter}/readings", quantity="energy_import", limit="1000")
        return len(found or ())

    async def observed(self, meter: str) -> str:
        """Where the gateway last saw this meter's switch."""
        return str(next(m["relay"]["observed"] for m in await self.api("/api/v1/meters") if m["meter"] == meter))

    async def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Events of these kinds, oldest first."""
        return [event for event in reversed(await self.api("/api/v1/events", limit="1000")) if event["kind"] in kinds]

    def _sim_lines(self) -> Iterator[str]:
        delay = "delay_ms = [20, 80]\ntail_ms = 300"
        yield f'[[line]]\nid = "bus"\nkind = "tcp"\nport = {self.bus_port}\nbaud = 9600\n{delay}\n'
        yield f'[[line]]\nid = "modbus"\nkind = "modbus-tcp"\nport = {self.modbus_port}\n{delay}\n'

    def _sim_toml(self) -> Iterator[str]:
        yield f'[sim]\nseed = 7\nspeed = {self.speed}\nstate = "meters.state"\n'
        yield from self._sim_lines()
        rng = Random(7)
        for house in self.houses.values():
            where = f'address = "{house.address}"' if house.line == "bus" else f"unit = {house.address}"
            switch = f'switch = {{line = "modbus", unit = {house.switch}, coil = 0, input = 0}}\n' if house.switch else ""
            yield (
                f'[[meter]]\nid = "{house.meter}"\nline = "{house.line}"\n{where}\nmodel = "{house.model}"\n'
                f"initial_kwh = {rng.randrange(100, 50_000) / 100}\n{switch}"
                f'load = {{kind = "constant", power_w = {house.power_w}}}\n'
            )

    def _gateway_toml(self, store_url: str | None) -> Iterator[str]:
        yield '[gateway]\nid = "G1"\ndata = "data"\nzone = "Asia/Shanghai"\npasswords = "passwords.toml"\n'
        yield "[store]\nreserve_mib = 8\n"
        if store_url is not None:
            yield f'url = "{store_url}"\n'
        yield f'[http]\nlisten = "127.0.0.1:{self.http_port}"\nopen_get = true\n'
        yield f'[mqtt]\nhost = "127.0.0.1"\nport = {self.mqtt_port}\ncommands = true\n'
        yield "[limits]\nown_per_minute = 1000\nown_per_hour = 10000\nordered_per_hour = 10000\nordered_per_day = 10000\n"
        yield '[clock]\nsource = "vouched"\n\n[[scheme]]\nbilling_s = 2\ninstant_s = 5\nswitch_s = 5\n'
        yield f'[[tariff]]\nid = "flat"\ncurrency = "CNY"\nkind = "flat"\nprice = "{PRICE}"\n'
        yield f'[[line]]\nid = "bus"\nkind = "tcp"\nhost = "127.0.0.1"\nport = {self.bus_port}\nbaud = 9600\n'
        yield f'[[line]]\nid = "modbus"\nkind = "modbus-tcp"\nhost = "127.0.0.1"\nport = {self.modbus_port}\n'
        for house in self.houses.values():
            module = f'{{line = "modbus", address = "{house.switch}", profile = "relay-module-8"}}'
            switch = f"switch = {module}\n" if house.switch else ""
            yield (
                f'[[account]]\nid = "{house.account}"\nholder = "House {house.meter}"\ncurrency = "CNY"\ntariff = "flat"\n'
                f'agreement = "yes"\nopening = "{house.opening}"\n'
                f'[account.policy]\nlow = "0.30"\nreconnect = "close"\nno_cut_hours = false\n{house.extra}\n'
                f'[[meter]]\nid = "{house.meter}"\nline = "{house.line}"\naddress = "{house.address}"\n'
                f'profile = "{house.profile}"\naccount = "{house.account}"\n'
                f"max_power_w = {100_000 * max(1, self.speed)}\n{switch}"
            )


def children(pid: int) -> dict[int, list[str]]:
    """The processes that this one has started and that live, with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_text().split("\0")
    return found


def alive(pid: int) -> bool:
    """Whether there is such a process, a zombie not counted."""
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(") ")[2][0] != "Z"
    return False


def tracebacks(folder: Path) -> list[str]:
    """The logs in a folder that hold a traceback or what asyncio says of an error nobody looked at."""
    words = ("Traceback", "exception was never retrieved", "Exception in callback", "Task was destroyed")
    logs = {log.name: log.read_text(errors="replace") for log in sorted(folder.glob("*.log"))}
    return [f"{name}: {text[-1500:]}" for name, text in logs.items() if any(word in text for word in words)]


def copy_store(data: Path, to: Path) -> Path:
    """The store as it lies on disk now, with its log."""
    to.mkdir(parents=True)
    for name in os.listdir(data):
        if name.startswith("wattgate.db") and not name.endswith("-shm"):
            (to / name).write_bytes((data / name).read_bytes())
    return to / "wattgate.db"
