"""Real processes for the benchmarks of whole lines: simulator, broker, central system and gateway on a temporary folder."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from gateway.adapters.broker import BundledBroker
from tests.system.processes import Process, free_port

GAP_MS = 20
"""The line's gap, as configured: part of the limit (field-lessons.md, "Physical limit")."""

BITS = 11


@dataclass(frozen=True, slots=True)
class Wire:
    """A line of the bench: pty or tcp, its speed, and how long its meters think, always the same."""

    id: str
    baud: int
    delay_ms: int
    meters: int
    kind: str = "tcp"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a line has carried: seconds of the simulator's clock, bytes both ways, answers."""

    seconds: float
    rx_bytes: int
    tx_bytes: int
    answers: int

    def since(self, before: Traffic) -> Traffic:
        """The difference."""
        return Traffic(
            self.seconds - before.seconds,
            self.rx_bytes - before.rx_bytes,
            self.tx_bytes - before.tx_bytes,
            self.answers - before.answers,
        )

    def limit_s(self, wire: Wire) -> float:
        """The least time that this traffic takes: bytes on the wire, the meters' delay, the line's gap."""
        bytes_s = (self.rx_bytes + self.tx_bytes) * BITS / wire.baud
        return bytes_s + self.answers * (wire.delay_ms + GAP_MS) / 1000


class Street:
    """The running processes. Meters are called WIRE-n; each has an account that never runs out."""

    def __init__(self, folder: Path, wires: Sequence[Wire], scheme: str) -> None:
        self.folder, self.wires = folder, {wire.id: wire for wire in wires}
        ports = _free_ports(len(wires) + 3)
        self._ports = {wire.id: ports.pop() for wire in wires}
        self.http_port, self.mqtt_port, self.control_port = ports
        (folder / "sim.toml").write_text(self._sim())
        (folder / "gateway.toml").write_text(self._gateway(scheme))
        (folder / "central.toml").write_text(f'[central]\ndata = "central"\n[mqtt]\nport = {self.mqtt_port}\n')
        passwords = folder / "passwords.toml"
        passwords.write_text('[control]\nlevel = 2\npassword = "000000"\n')
        passwords.chmod(0o600)
        control = f"127.0.0.1:{self.control_port}"
        self.sim = Process("simulator", "firmware_sim", folder / "sim.toml", "--control", control, folder=folder)
        self.gateway = Process("gateway", "gateway", "run", "-c", folder / "gateway.toml", "--ready", folder=folder)
        self.central = Process("central", "gateway", "central", "-c", folder / "central.toml", "--ready", folder=folder)
        self.broker = BundledBroker(folder / "broker", self.mqtt_port)
        self.api = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.http_port}", timeout=30, trust_env=False)
        self._handle = httpx2.AsyncClient(base_url=f"http://{control}/sim/v1/", timeout=30, trust_env=False)

    async def start(self) -> None:
        """Everything up."""
        await self.broker.start()
        await self.sim.start()
        await self.central.start()
        await self.gateway.start()

    async def close(self) -> None:
        """Everything down."""
        for process in (self.gateway, self.central, self.sim):
            await process.kill()
        await self.broker.stop()
        await self.api.aclose()
        await self._handle.aclose()

    async def traffic(self, wire: str) -> Traffic:
        """What a line has carried so far."""
        seen = (await self._handle.get(f"lines/{wire}")).json()
        return Traffic(seen["seconds"], seen["rx_bytes"], seen["tx_bytes"], seen["answers"])

    async def exchanges(self) -> int:
        """Exchanges of all lines, as the gateway counts them."""
        return sum(line["exchanges"] for line in (await self.api.get("/api/v1/lines")).json())

    async def truth(self, meter: str) -> dict[str, Any]:
        """The simulator's truth about one meter."""
        answer: dict[str, Any] = (await self._handle.get(f"meters/{meter}")).json()
        return answer

    async def act(self, meter: str, act: str, **body: object) -> None:
        """Acts on a simulated meter."""
        answer = await self._handle.post(f"meters/{meter}/{act}", json=body)
        assert answer.status_code == 200, answer.text

    async def order(self, meter: str, verb: str, number: str) -> float:
        """A person's cut or restore; the time (s since 1970) of the answer, which follows the commit."""
        token = (self.folder / "data" / "operator.token").read_text().strip()
        body = {"id": number, "cause": "emergency" if verb == "cut" else "operator", "reason": "bench"}
        answer = await self.api.post(f"/api/v1/meters/{meter}/{verb}", json=body, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code in (200, 202), answer.text
        return time.time()

    def _sim(self) -> str:
        out = ["[sim]\nseed = 7\nspeed = 1\n"]
        for wire in self.wires.values():
            where = f"port = {self._ports[wire.id]}" if wire.kind == "tcp" else f'path = "{self.folder / wire.id}"'
            out.append(
                f'[[line]]\nid = "{wire.id}"\nkind = "{wire.kind}"\n{where}\nbaud = {wire.baud}\n'
                f"delay_ms = [{wire.delay_ms}, {wire.delay_ms}]\ntail_ms = 0\n"
            )
            out += [
                f'[[meter]]\nid = "{wire.id}-{n}"\nline = "{wire.id}"\naddress = "{n:012d}"\nmodel = "dlt645-single"\n'
                'load = {kind = "constant", power_w = 1500}\n'
                for n in range(1, wire.meters + 1)
            ]
        return "\n".join(out)

    def _gateway(self, scheme: str) -> str:
        out = [
            '[gateway]\nid = "G1"\ndata = "data"\npasswords = "passwords.toml"\n',
            f'[http]\nlisten = "127.0.0.1:{self.http_port}"\nopen_get = true\n',
            f'[mqtt]\nhost = "127.0.0.1"\nport = {self.mqtt_port}\n',
            f'[clock]\nsource = "vouched"\n{scheme}\n',
            '[[tariff]]\nid = "flat"\ncurrency = "CNY"\nkind = "flat"\nprice = "0.6"\n',
        ]
        for wire in self.wires.values():
            kind, where = "serial", f'device = "{self.folder / wire.id}"'
            if wire.kind == "tcp":
                kind, where = "tcp", f'host = "127.0.0.1"\nport = {self._ports[wire.id]}'
            out.append(f'[[line]]\nid = "{wire.id}"\nkind = "{kind}"\n{where}\nbaud = {wire.baud}\ngap_ms = {GAP_MS}\n')
            for n in range(1, wire.meters + 1):
                out.append(
                    f'[[account]]\nid = "A-{wire.id}-{n}"\ncurrency = "CNY"\ntariff = "flat"\nopening = "100000.00"\n'
                    f'policy = {{reconnect = "close"}}\n'
                    f'[[meter]]\nid = "{wire.id}-{n}"\nline = "{wire.id}"\naddress = "{n:012d}"\nprofile = "dlt645-single"\n'
                    f'account = "A-{wire.id}-{n}"\n'
                )
        return "\n".join(out)


def _free_ports(count: int) -> list[int]:
    """All different: of 131 that are chosen by chance two are alike in two streets of five."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


@contextlib.asynccontextmanager
async def street(wires: Sequence[Wire], scheme: str) -> AsyncIterator[Street]:
    """A running street."""
    with tempfile.TemporaryDirectory() as name:
        running = Street(Path(name), wires, scheme)
        try:
            await running.start()
            yield running
        finally:
            await running.close()
