"""The world around a gateway that may cut, of which every part can fail: houses with switches of any kind, a phone, a broker, a
bank, clocks and a disk; and the gateway's file that goes with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.domain.notices import Answer, Notice, Verdict
from gateway.domain.records import OutboxRow
from tests.simulation.supply_line import Tap
from tests.simulation.virtual_loop import VirtualClock
from tests.simulation.virtual_street import VirtualStreet

ZONE, OFFSET_MIN = "Asia/Shanghai", 480
PRICE = "0.617"
LOOK_S = 30.0
"""How often loops look for what nothing has told them of: it makes the gateway slower and hours of virtual time cheap."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A switch: how the simulator has it, and how the gateway's file names it. button: the customer closes it when he may."""

    sim: Mapping[str, object]
    profile: str
    line: str = "rs"
    switch: Mapping[str, object] | None = None
    button: bool = False


KINDS = {
    "internal": Kind({"model": "dlt645-single"}, "dlt645-single", button=True),
    "external, feedback": Kind({"model": "dlt645-three", "relay": "external_auto", "feedback": True}, "dlt645-three"),
    "external, no feedback": Kind({"model": "dlt645-three", "relay": "external_auto", "feedback": False}, "dlt645-three"),
    "external, handle": Kind({"model": "dlt645-three", "relay": "external_manual", "feedback": True}, "dlt645-three", button=True),
    "contactor": Kind({"model": "sdm630"}, "eastron-sdm630", "bus", {"line": "bus", "unit": 31, "coil": 2}),
    "hiking": Kind({"model": "dds238"}, "hiking-dds238-zn-sr", "bus"),
    "acrel": Kind({"model": "ddsy1352"}, "acrel-ddsy1352", "bus"),
}


@dataclass(frozen=True, slots=True)
class House:
    """A meter `id` of an account `A-id`. policy: lines of its table in the gateway's file. sim: more of the simulator's meter.
    limit: lines of the load limit's. pair: its own line of that kind."""

    id: str
    kind: str = "internal"
    power_w: int = 4000
    opening: str = "0.50"
    policy: str = 'low = "5.00"\nreconnect = "close"\nno_cut_hours = false'
    sim: Mapping[str, object] = field(default_factory=dict)
    never_cut: bool = False
    limit: str = ""
    pair: str = ""

    @property
    def line(self) -> str:
        return KINDS[self.kind].line + self.pair


@dataclass(frozen=True, slots=True)
class Plan:
    """What the gateway's file says. more: whole tables. Seconds between two reads of each group; look_s: see LOOK_S."""

    houses: Sequence[House]
    more: str = ""
    billing_s: int = 300
    instant_s: int = 600
    switch_s: int = 300
    look_s: float = LOOK_S


class Phone:
    """The one channel that customers have. dead: accounts whose notices get this answer of its provider. taken: when, whose, which
    step."""

    id, per_minute = "sms", 60

    def __init__(self) -> None:
        self.dead: dict[str, Answer] = {}
        self.taken: list[tuple[float, str, str]] = []

    def opens_ms(self, now_ms: int) -> int:
        return now_ms

    async def send(self, notice: Notice, language: str) -> Verdict:
        await asyncio.sleep(0.2)
        if notice.account in self.dead:
            return Verdict(self.dead[notice.account], "nobody answers")
        self.taken.append((asyncio.get_running_loop().time(), notice.account, notice.step))
        return Verdict(Answer.ACCEPTED)


class Broker:
    """Takes rows while it is there."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.connections = 0
        self.taken = 0

    def up(self) -> None:
        self.connections += 1
        self.connected.set()

    def down(self) -> None:
        self.connected.clear()

    async def publish(self, rows: Sequence[OutboxRow], *, epoch: str, low: int, late: bool, live_ms: int) -> list[bool | None]:
        if not self.connected.is_set():
            raise ConnectionError("no connection")
        self.taken += len(rows)
        return [True] * len(rows)


class World:
    """What is outside of the process, and outlives it. steady time is the loop's own."""

    def __init__(self, houses: Sequence[House]) -> None:
        self.clock = VirtualClock()
        self.street = VirtualStreet(street_table(houses))
        self.taps = {name: Tap(line) for name, line in self.street.lines.items()}
        self.phone, self.broker = Phone(), Broker()
        self.synchronised = self.bank_calls = self.bank_listens = True
        self.disk_full = False


RS_ADDRESS, UNIT = 202_600_000_001, 1


def _address(n: int, house: House) -> str:
    return str(RS_ADDRESS + n) if KINDS[house.kind].line == "rs" else str(UNIT + n)


def street_table(houses: Sequence[House]) -> dict[str, object]:
    lines = [{"id": id, "kind": "tcp", "baud": 9600} for id in _lines(houses)]
    meters = []
    for n, house in enumerate(houses):
        kind = KINDS[house.kind]
        named = "address" if kind.line == "rs" else "unit"
        address = _address(n, house)
        meters.append({
            "id": house.id, "line": house.line, named: address if kind.line == "rs" else int(address), "initial_kwh": 100 * (n + 1),
            "load": {"kind": "constant", "power_w": house.power_w}, **kind.sim, **({"switch": kind.switch} if kind.switch else {}),
            **house.sim,
        })  # fmt: skip
    return {"sim": {"utc_offset_min": OFFSET_MIN}, "line": lines, "meter": meters}


def _lines(houses: Sequence[House]) -> list[str]:
    return sorted({house.line for house in houses})


def settings_text(plan: Plan) -> str:
    out = [
        f'[gateway]\nid = "G1"\nzone = "{ZONE}"\npasswords = "passwords.toml"',
        f"[[scheme]]\nbilling_s = {plan.billing_s}\ninstant_s = {plan.instant_s}\nswitch_s = {plan.switch_s}",
        f'[[tariff]]\nid = "flat"\ncurrency = "CNY"\nkind = "flat"\nprice = "{PRICE}"',
        '[[notice_channel]]\nid = "sms"\nurl_env = "WATTGATE_SMS"',
        plan.more,
    ]
    out += [
        f'[[line]]\nid = "{id}"\nkind = "tcp"\nhost = "127.0.0.1"\nport = {n + 1}\nbaud = 9600'
        for n, id in enumerate(_lines(plan.houses))
    ]
    for n, house in enumerate(plan.houses):
        kind = KINDS[house.kind]
        switch = kind.switch
        out += [
            f'[[account]]\nid = "A-{house.id}"\ncurrency = "CNY"\ntariff = "flat"\nagreement = "P-1"\nopening = "{house.opening}"\n'
            f'never_cut = {str(house.never_cut).lower()}\ncontacts = [{{channel = "sms", to = "1"}}]\n'
            f"[account.policy]\n{house.policy}" + (f"\n[account.limit]\n{house.limit}" if house.limit else ""),
            f'[[meter]]\nid = "{house.id}"\nline = "{house.line}"\naddress = "{_address(n, house)}"\nprofile = "{kind.profile}"\n'
            f'account = "A-{house.id}"',
        ]
        if switch is not None:
            at = f'line = "{switch["line"]}", address = "{switch["unit"]}", channel = {switch["coil"]}'
            out.append(f'switch = {{{at}, profile = "relay-module-8"}}')
    return "\n".join(out)
