"""The acceptance list of prepayment.md a4 on every kind of switch: what is reported is each time what the simulator knows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gateway.domain.events import EventKind
from gateway.domain.meters import Contact
from gateway.domain.requests import Protection
from gateway.domain.supply import Command, CommandState, Verb
from gateway.services.protect_account import protect_account
from tests.conftest import Figure
from tests.simulation.supply_gateway import SupplyGateway
from tests.simulation.supply_world import KINDS, House, Plan
from tests.simulation.virtual_loop import run

MINUTE_S = 60.0
SOON_S, QUIET_S = 30 * MINUTE_S, 15 * MINUTE_S
LIMITS = "[limits]\nown_per_minute = 100\nown_per_hour = 100\nordered_per_hour = 100\nordered_per_day = 100"
EVIDENCE = {
    "internal": {"relay_bit"},
    "external, feedback": {"relay_bit"},
    "external, handle": {"relay_bit"},
    "external, no feedback": {"relay_bit", "load"},
    "contactor": {"feedback"},
    "hiking": {"load"},
    "acrel": {"load"},
}
"""What may prove a cut of each kind; a load that is gone may stand beside it."""


def policy(kind: str, more: str = 'close = "1.00"', *, direct: bool = False) -> str:
    reconnect = "allow" if KINDS[kind].button and not direct else "close"
    return f'low = "0.50"\nreconnect = "{reconnect}"\nno_cut_hours = false\n{more}'


@dataclass
class Bench:
    """One meter of a kind, and what was reported of it against what was true."""

    gateway: SupplyGateway
    kind: str
    checked: int = 0
    reports: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    _settled: set[str] = field(default_factory=set)

    @property
    def truth(self) -> bool:
        return self.gateway.world.street.station("h").meter.relay.contact_closed

    @property
    def power_w(self) -> int:
        return self.gateway.world.street.station("h").meter.flow.power_mw // 1000

    @property
    def moves(self) -> int:
        return self.gateway.world.street.station("h").meter.relay.move_count

    def listen(self) -> None:
        """Every outcome is held against the truth in the moment in which it is written."""
        before = self.gateway.weak.after

        def after() -> None:
            before()
            for command in self.gateway.commands("h"):
                if command.final and command.id not in self._settled:
                    self._settled.add(command.id)
                    self.hold(command)

        self.gateway.weak.after = after

    def hold(self, command: Command) -> None:
        self.checked += 1
        self.reports.append((command.verb.value, command.state.value, command.evidence))
        relay = self.gateway.world.street.station("h").meter.relay
        told = f"{self.kind}: {command.verb} is called {command.state} by {command.evidence}, contact {relay.contact_closed}"
        match command.verb, command.state:
            case Verb.CUT, CommandState.VERIFIED:
                assert not relay.contact_closed and self.power_w == 0, told
                assert {*command.evidence} & EVIDENCE[self.kind] and {*command.evidence} <= EVIDENCE[self.kind] | {"load"}, told
            case ((Verb.RESTORE | Verb.ALLOW_CLOSE), CommandState.VERIFIED):
                assert relay.contact_closed, told
            case Verb.ALLOW_CLOSE, CommandState.ALLOWED:
                assert relay.allowed and not relay.contact_closed, told
            case _, CommandState.COMMAND_ONLY:
                assert command.evidence == ("command_only",), told
            case Verb.CUT, CommandState.FAILED:
                assert relay.contact_closed, told

    def seen(self) -> None:
        """Between orders the switch is never reported where it is not."""
        observed, relay = self.gateway.meter("h").observed, self.gateway.world.street.station("h").meter.relay
        self.checked += 1
        assert observed is not Contact.OPEN or not relay.contact_closed, f"{self.kind}: said to be open, and is closed"
        assert observed is not Contact.CLOSED or relay.contact_closed, f"{self.kind}: said to be closed, and is open"
        for event in self.gateway.events(EventKind.CUT_VERIFIED):
            assert event.data["power_w"] in (0, None)

    async def cut(self, within_s: float = SOON_S) -> None:
        """The debt is cut, and said to be."""
        gateway = self.gateway
        proved = await gateway.until(lambda: not self.truth and gateway.account("h").credit == "cut", within_s)
        last = gateway.last("h")
        assert proved, f"{self.kind}: {gateway.account('h').credit}, {last.verb} {last.state} {last.reason}, {gateway.held('h')}"
        await self.quiet(MINUTE_S)

    async def lit(self, within_s: float = SOON_S) -> None:
        """The light is back: by the customer's button where there is one."""
        relay = self.gateway.world.street.station("h").meter.relay
        if KINDS[self.kind].button and (not self.direct or self.kind == "external, handle"):  # no order moves a handle
            assert await self.gateway.until(lambda: relay.allowed, within_s), f"{self.kind}: nobody may press"
            await self.quiet(MINUTE_S)
            assert not self.truth
            self.press()
        assert await self.gateway.until(lambda: self.truth, within_s), f"{self.kind}: dark"
        await self.quiet(6 * MINUTE_S, moves=False)
        assert self.gateway.meter("h").observed in (Contact.CLOSED, Contact.UNKNOWN)

    direct: bool = False

    def press(self) -> None:
        station = self.gateway.world.street.station("h")
        pressed = station.device.gear.press() if station.device else station.meter.relay.press(station.meter.now_us)
        assert pressed

    async def quiet(self, seconds: float, *, moves: bool = True) -> None:
        """Time passes, the contact stays."""
        before = self.moves
        await self.gateway.run(seconds)
        self.seen()
        assert not moves or self.moves == before

    async def policy(self, more: str, *, direct: bool = False) -> None:
        self.direct = direct
        [house] = self.gateway.plan.houses
        changed = replace(house, policy=policy(self.kind, more, direct=direct))
        await self.gateway.reload(replace(self.gateway.plan, houses=[changed]))


async def accept(folder: Path, kind: str, power_w: int, contact_ms: tuple[int, int]) -> Bench:
    house = House("h", kind, power_w, "0.40", policy(kind), {"contact_ms": list(contact_ms)})
    async with SupplyGateway(folder, Plan([house], LIMITS, billing_s=120, instant_s=600, switch_s=180)) as gateway:
        bench = Bench(gateway, kind)
        bench.listen()
        station = gateway.world.street.station("h")

        in_meter = KINDS[kind].line == "rs"
        wanted = Protection("A-h", gateway.now_ms() + 40 * 60_000, "Li Wei", "ill", "operator:li", in_meter=in_meter)
        assert await gateway.act(lambda tx, site, now_ms: protect_account(tx, wanted, site, now_ms)) is None
        await bench.quiet(30 * MINUTE_S)  # 1: the balance is used up meanwhile
        assert gateway.account("h").credit == "exhausted" and "protect" in gateway.held("h")
        assert gateway.world.street.station("h").meter.protect is in_meter

        assert await gateway.pay("h", "0.20")  # 2: which is less than what is owed
        await bench.cut()
        assert not station.meter.protect

        await allowance(bench)  # 3 and 4
        await bench.cut(90 * MINUTE_S)

        await bench.policy('overdraft = "0.50"\nclose = "-0.45"', direct=True)  # 5: the customer is given an overdraft
        assert await gateway.pay("h", f"{-balance(gateway):.2f}")
        await bench.lit()
        assert balance(gateway) > -0.5
        await bench.cut(60 * MINUTE_S)
        assert balance(gateway) <= -0.5

        await bench.policy('close = "1.00"')  # 6: the button
        assert await gateway.pay("h", f"{1.2 - balance(gateway):.2f}")
        await bench.lit()

        station.faults.set("welded")  # 7: it is said that it cannot open, and nothing else
        failed = len(gateway.events(EventKind.COMMAND_FAILED))
        assert await gateway.until(lambda: len(gateway.events(EventKind.COMMAND_FAILED)) > failed, 90 * MINUTE_S), gateway.last("h")
        assert bench.truth and gateway.account("h").credit == "exhausted"
        await gateway.run(MINUTE_S)
        station.faults.clear("welded")
        await bench.cut(60 * MINUTE_S)
        await allowance(bench)  # 8 and 9
        assert gateway.events(EventKind.METER_SILENT) == []
        return bench


async def allowance(bench: Bench) -> None:
    """Below the amount for closing the light stays off, above it it returns."""
    gateway, before = bench.gateway, bench.moves
    assert await gateway.pay("h", f"{0.30 - balance(gateway):.2f}")
    await bench.quiet(QUIET_S)
    assert bench.moves == before and gateway.account("h").credit == "cut"
    assert await gateway.pay("h", "1.10")
    await bench.lit()
    assert gateway.account("h").credit in ("normal", "low")


def balance(gateway: SupplyGateway) -> float:
    return gateway.store.read_now(lambda tx: tx.balance("customer:A-h", "CNY")) / 1e6


SPEEDS = [(4000, (50, 200))]
PROOF_SPEEDS = [*SPEEDS, (2500, (0, 0)), (6000, (2000, 3000)), (3000, (800, 1500))]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_the_acceptance_list(
    tmp_path: Path, kind: str, figure: Figure, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATTGATE_SMS", "json://localhost")
    checked = 0
    for n, (power_w, contact_ms) in enumerate(PROOF_SPEEDS if pytestconfig.getoption("proof") else SPEEDS):
        folder = tmp_path / str(n)
        folder.mkdir()
        bench = run(accept(folder, kind, power_w, contact_ms))
        checked += bench.checked
        assert bench.reports
    figure(f"{kind}: reports held against the simulator's truth", checked)
