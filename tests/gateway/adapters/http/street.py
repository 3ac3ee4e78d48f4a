"""A small street in a real store, and the listeners over it, for the tests of the HTTP interfaces."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.bank import BankApi, BankTerms, BankUseCases
from gateway.adapters.http.bank_gate import BankGate, Banks, bank_router
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.notices_api import NoticesApi
from gateway.adapters.http.operator import OperatorApi, OperatorUseCases
from gateway.adapters.http.pages import page_router
from gateway.adapters.http.sessions import SessionApi, Sessions
from gateway.adapters.http.statements import StatementApi
from gateway.adapters.http.status import Broker, Counters, Health, LineStatus, MeterStatus, OutputStatus, QueueStatus
from gateway.adapters.http.stream import Stream
from gateway.adapters.identity import Identity, x_of
from gateway.adapters.store import Store
from gateway.bootstrap.bank_books import BankBooks
from gateway.bootstrap.notices import notice_cases
from gateway.bootstrap.statements import stating
from gateway.domain.credit import CreditPolicy
from gateway.domain.jobs import Answered
from gateway.domain.meters import Account, Contact, Meter, SwitchKind
from gateway.domain.nonces import Claim
from gateway.domain.readings import Item, Reading
from gateway.domain.records import Payment
from gateway.domain.requests import SupplyOrder, TopUp
from gateway.domain.supply import SwitchReading
from gateway.domain.units import MICRO
from gateway.services import run_command
from gateway.services.accepted_now import accepted_now
from gateway.services.apply_topup import MOST_BALANCE_MICRO, masked
from gateway.services.load_archive import Archive, Opening, load_archive
from gateway.services.order_supply import order_supply
from gateway.services.ports import Site, SupplyAnswer, TopUpOutcome
from gateway.services.record_reading import record_reading
from gateway.services.seal_receipt import seal_receipt
from gateway.services.spend_nonce import spend
from gateway.services.take_topup import taking
from tests.gateway.price_lists import flat

NOON_MS = 1_795_233_600_000  # 2026-11-21T04:00:00Z, noon in Shanghai
TOKEN = "a-token-of-the-operator"
_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
IDENTITY = Identity("gw-key", _KEY, x_of(_KEY))
SITE = Site("gw-1", "Asia/Shanghai", clock_trusted=True)
BUS = LineStatus(
    "bus-1", "pty, 2400 8E1", "up", 0.42, 1200, {"silent": 3}, 2, 3, 1, 0, 1,
    {"restore": QueueStatus(0, 0), "schedule": QueueStatus(3, 1_500)}, 80, 160, 7, 2, {"unknown": 3},
)  # fmt: skip
WAITS_100_MS = {"timeout_ms": 100, "preamble": 0, "blocks": {"0001FF00": "whole"}}
POLICY = CreditPolicy(low_micro=5 * MICRO, reconnect_direct=True, no_cut_hours=False)


@dataclass
class FakeStatus:
    """What a running process would say of itself; tests change it."""

    gateway: str = "gw-1"
    version: str = "0.1.0"
    now: Health = field(default_factory=Health)
    link: Broker | None = field(default_factory=lambda: Broker("127.0.0.1:1883", True))
    buses: Sequence[LineStatus] = field(default_factory=lambda: (BUS,))
    devices: Sequence[MeterStatus] = (
        MeterStatus("bus-1-1", ("billing", "switch"), "answering", NOON_MS, 0, NOON_MS + 900_000, 80, 160, WAITS_100_MS),
        MeterStatus("bus-1-2", ("billing",), "silent", NOON_MS - 3_600_000, 5, NOON_MS + 10_000, None, None, {}),
    )
    answered: Sequence[int] = (0, 3, 40, 0, 2, 0, 0, 0, 1)
    shown_to: Sequence[OutputStatus] = ()
    counted: Counters = field(default_factory=lambda: Counters(7, {"posted": 2}, 1))

    def health(self) -> Health:
        return self.now

    def lines(self) -> Sequence[LineStatus]:
        return self.buses

    def meters(self, line: str) -> Sequence[MeterStatus] | None:
        return self.devices if line == "bus-1" else None

    def latencies(self) -> Iterable[tuple[str, str, Sequence[int]]]:
        return [("bus-1", "bus-1-1", self.answered), ("bus-1", "bus-1-2", [0] * 9)]

    def broker(self) -> Broker | None:
        return self.link

    def outputs(self, last: int) -> Sequence[OutputStatus]:
        return [replace(each, waiting=last) for each in self.shown_to]

    def counters(self) -> Counters:
        return self.counted


def meter(number: int, **changes: object) -> Meter:
    """Meter bus-1-N of account A-N, with a relay inside."""
    values: dict[str, object] = {
        "id": f"bus-1-{number}",
        "line": "bus-1",
        "address": f"{number:012d}",
        "protocol": "dlt645-2007",
        "profile": "generic-2007",
        "account": f"A-{number}",
        "point": f"point-{number}",
        "switch": SwitchKind.INTERNAL,
        "switch_line": "bus-1",
    }
    return Meter(**{**values, **changes})  # type: ignore[arg-type]


def account(number: int, **changes: object) -> Account:
    """Account A-N with an agreement."""
    values: dict[str, object] = {
        "id": f"A-{number}",
        "holder": f"Holder {number}",
        "currency": "CNY",
        "tariff": "flat",
        "policy": POLICY,
        "agreement": "signed 2026-01-01",
    }
    return Account(**{**values, **changes})  # type: ignore[arg-type]


@dataclass
class Street:
    """The store, the time, and the applications over them. `topups`: what the bank's interface handed over."""

    store: Store
    now_ms: int = NOON_MS
    status: FakeStatus = field(default_factory=FakeStatus)
    open_get: bool = True
    topups: list[TopUp] = field(default_factory=list)
    broken: Exception | None = None
    sessions: Sessions = field(default_factory=lambda: Sessions(time.monotonic))
    banks: Banks = field(default_factory=Banks)
    identity: Identity = IDENTITY
    steady_s: float = 0.0
    site: Site = SITE
    data: Path = Path(tempfile.gettempdir())

    def clock(self) -> int:
        return self.now_ms

    def settle(self, meters: Sequence[Meter], accounts: Sequence[Opening]) -> None:
        """Fill the archive."""
        archive = Archive([flat(617_000)], accounts, meters)
        self.store.write_now(lambda tx: load_archive(tx, archive, SITE, self.now_ms))

    def read(self, meter_id: str, contact: Contact = Contact.CLOSED, **values: str) -> None:
        """A reading of these quantities enters now; the switch is seen where it is."""
        units = {"energy_import": "kWh", "power": "kW", "voltage_a": "V"}
        items = tuple(Item(name, Decimal(value), units[name]) for name, value in values.items())
        reading = Reading(meter_id, items, self.now_ms - 120, self.now_ms)
        seen = SwitchReading(contact, "relay_bit", self.now_ms)
        self.store.write_now(lambda tx: record_reading(tx, reading, seen, SITE, self.now_ms))

    def carry_out(self, contact: Contact) -> None:
        """The line does every open command: sent, acknowledged, read back where it was ordered."""
        for command in self.store.read_now(lambda tx: tx.open_commands()):
            self._do(lambda tx, id=command.id: run_command.start_command(tx, id, SITE, self.now_ms))
            self._do(lambda tx, id=command.id: run_command.finish_switch(tx, id, Answered(), SITE, self.now_ms))
            self.now_ms += 5_000
            seen = Answered(switch=SwitchReading(contact, "relay_bit", self.now_ms))
            self._do(lambda tx, id=command.id, seen=seen: run_command.finish_readback(tx, id, seen, SITE, self.now_ms))

    def _do(self, usecase: Callable[..., object]) -> None:
        self.store.write_now(usecase)

    async def topup(self, topup: TopUp, claim: Claim | None = None) -> TopUpOutcome:
        self.topups.append(topup)
        if self.broken is not None:
            raise self.broken
        site = replace(SITE, banks={id: bank.terms for id, bank in self.banks.banks.items()}, seal=self.identity.seal)
        return await self.store.write(taking(topup, claim, lambda: site, self.clock))

    async def spend(self, claim: Claim) -> None:
        await self.store.write(lambda tx: spend(tx, claim, self.now_ms))

    async def seal(self, payment: Payment) -> Payment:
        return await self.store.write(lambda tx: seal_receipt(tx, payment, replace(SITE, seal=self.identity.seal)))

    async def order(self, order: SupplyOrder) -> SupplyAnswer:
        return await self.store.write(lambda tx: order_supply(tx, order, SITE, self.now_ms))

    def bank(self) -> FastAPI:
        """The bank's listener."""
        gate = BankGate(lambda: self.banks, self.clock, spend=self.spend, identity=self.identity, steady_s=lambda: self.steady_s)
        app = new_application("bank", "0.1.0")
        terms = BankTerms(MOST_BALANCE_MICRO, masked, accepted_now)
        app.include_router(BankApi(BankUseCases(self.topup, self.store.read, seal=self.seal), terms, gate, self.clock).router())
        router = bank_router(gate)
        BankBooks(self.store, lambda: self.site, self.clock, lambda: None, self.data).hang(router)
        app.include_router(router)
        return app

    def auth(self) -> OperatorAuth:
        """The operator's token, as the street has it."""
        return OperatorAuth(TOKEN, open_get=self.open_get, sessions=self.sessions)

    def operator(self, stream: Stream | None = None) -> FastAPI:
        """The operator's listener with the page."""
        cases = OperatorUseCases(self.store.read, self.order, lambda: "fresh-id")
        watching = stream or Stream(self.store.read, self.status)
        api = OperatorApi(cases, self.status, watching, self.auth(), self.clock)
        app = new_application("operator", "0.1.0")
        app.include_router(api.router())
        app.include_router(SessionApi(self.sessions, self.auth()).router())
        app.include_router(StatementApi(stating(self.store.read, SITE.gateway, SITE.zone, self.clock), self.auth()).router())
        notices = notice_cases(self.store.write, self.clock)
        app.include_router(NoticesApi(notices, self.store.read, self.auth(), self.clock).router())
        app.include_router(page_router())
        return app
