"""A whole gateway in this process, its lines in memory: the configuration file, the meters behind it, and what the gateway is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.bootstrap.process import Gateway
from gateway.domain.events import EventKind
from gateway.settings import Line, load
from tests.simulation.quick_meters import QuickMeters

LONG_S = 10_000_000
"""Nothing is read a second time within a test."""

WITHIN_S = 100.0
LOOK_S = 0.02


@dataclass
class Plan:
    """What stands in the file. meters: line -> addresses by id. account: the rest of each account's table."""

    meters: dict[str, dict[str, str]]
    gaps: dict[str, int] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=dict)
    account: str = 'policy = {reconnect = "close"}\n'
    tariff: str = "0.617"
    currency: str = "CNY"
    profile: str = "dlt645-single"
    head: str = '[gateway]\nid = "G1"\nzone = "Asia/Shanghai"\npasswords = "passwords.toml"\n'
    store: str = "[store]\nreserve_mib = 0\n"
    http: str = '[http]\nlisten = "127.0.0.1:0"\n'
    scheme: str = f"[[scheme]]\nbilling_s = {LONG_S}\ninstant_s = {LONG_S}\nswitch_s = {LONG_S}\n" + "".join(
        f'[[scheme]]\nid = "{shipped}"\nenabled = false\n' for shipped in ("day", "month", "curve", "events")
    )
    tail: str = (
        "[limits]\nown_per_minute = 1000\nown_per_hour = 10000\nordered_per_hour = 10000\nordered_per_day = 10000\n"
        '[clock]\nsource = "vouched"\nkeep_meters = false\n'
    )

    def text(self) -> str:
        parts = [self.head, self.store, self.http, self.tail, self.scheme]
        parts.append(f'[[tariff]]\nid = "flat"\ncurrency = "{self.currency}"\nkind = "flat"\nprice = "{self.tariff}"\n')
        for id in sorted(set(self.accounts.values())):
            parts.append(
                f'[[account]]\nid = "{id}"\ncurrency = "{self.currency}"\ntariff = "flat"\nopening = "50.00"\n'
                f"{self.account}"
            )
        for number, (line, meters) in enumerate(self.meters.items()):
            gap = f"gap_ms = {self.gaps.get(line, 0)}"
            parts.append(f'[[line]]\nid = "{line}"\nkind = "tcp"\nhost = "memory"\nport = {number + 1}\nbaud = 921600\n{gap}\n')
            for id, address in meters.items():
                account = f'account = "{self.accounts[id]}"\n' if id in self.accounts else ""
                parts.append(
                    f'[[meter]]\nid = "{id}"\nline = "{line}"\naddress = "{address}"\nprofile = "{self.profile}"\n{account}'
                )
        return "\n".join(parts)


def street(lines: int, meters: int, profile: str = "dlt645-single") -> Plan:
    """So many meters on each of so many lines: m0-0 and so on. Those that are not DL/T 645 are units from 1 on."""
    first = 1000 if profile.startswith("dlt645") else 0
    plan = {f"l{n}": {f"m{n}-{k}": f"{n * first + k + 1:012d}" for k in range(meters)} for n in range(lines)}
    return Plan(plan, profile=profile)


class Site:
    """The file, the gateway and its lines in memory, by the order in which they were made for each line."""

    def __init__(self, folder: Path, plan: Plan, make: Callable[[], QuickMeters] = QuickMeters) -> None:
        self.folder, self.plan, self._make = folder, plan, make
        self.file = folder / "gateway.toml"
        self.wires: dict[str, list[QuickMeters]] = {}
        self.gateway: Gateway
        passwords = folder / "passwords.toml"
        passwords.write_text('[control]\npassword = "000000"\n')
        passwords.chmod(0o600)

    def write(self) -> None:
        """The plan as it is now becomes the file."""
        self.file.write_text(self.plan.text())

    def transport(self, line: Line, clock: object) -> QuickMeters:
        """In the place of bootstrap.transports.transport_of."""
        wire = self._make()
        self.wires.setdefault(line.id, []).append(wire)
        return wire

    def asked(self) -> list[str]:
        """The address of every question so far, on all lines."""
        return [address for wires in self.wires.values() for wire in wires for address in wire.asked]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Gateway]:
        """The gateway from its start to its stop."""
        self.write()
        self.gateway, stop = Gateway(load(self.file), self.folder, self.file), asyncio.Event()
        work = asyncio.create_task(self.gateway.run(stop))
        try:
            yield self.gateway
        finally:
            stop.set()
            await work

    async def until(self, look: Callable[[], bool], what: str) -> None:
        """Waits until it is so."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    if look():
                        return
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise AssertionError(f"not within {WITHIN_S} s: {what}") from None

    async def all_read(self) -> None:
        """Everything that is due has been read."""
        loops = self.gateway.crew.loops
        await self.until(lambda: len(loops) == len(self.plan.meters), "all loops run")
        await self.until(lambda: not any(line.waiting for line in self.gateway.vitals.lines()), "everything is read")

    def events(self, kind: EventKind) -> int:
        return sum(e.event.kind is kind for e in self.gateway.store.read_now(lambda tx: tx.events(1000)))
