"""The banks' front of a centre on a real store, and a bank that calls it without a network."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from gateway.adapters.http.bank_gate import BankGate, Banks
from gateway.adapters.http.guard import new_application
from gateway.adapters.identity import Identity
from gateway.bootstrap.new_keys import write_new_key
from gateway.central import audit, keys
from gateway.central.accounts import COLUMNS, Accounts
from gateway.central.bank_front import BankFront
from gateway.central.ingest import save
from gateway.central.orders import Written
from gateway.central.payments import Desk
from gateway.central.store import CentralStore
from protocols.uplink.topics import Up
from tests.gateway.central.arriving import arrival

NOW_MS = int(datetime(2026, 11, 21, 4, tzinfo=UTC).timestamp() * 1000)
TABLE = f"{','.join(COLUMNS)}\nA-1,G1,00ff,CNY,Z**\nA-2,G2,00fe,CNY,L*\n"
FORM = {
    "serial": "S-1",
    "account": "A-1",
    "amount": "50.00",
    "currency": "CNY",
    "paid_at": "2026-11-21T12:00:00+08:00",
    "accounting_date": "2026-11-21",
}
REVERSAL = {
    "reversal_serial": "R-1",
    "accounting_date": "2026-11-21",
    "amount": "50.00",
    "currency": "CNY",
    "reason": "no answer",
    "requested_at": "2026-11-21T12:01:00+08:00",
}
UNSIGNED = Banks()


class Relay:
    """As much of a central system as the front needs; it keeps what it is told to send."""

    def __init__(self, store: CentralStore) -> None:
        self.store = store
        self.sent: list[Written] = []

    async def in_store(self, work: Any, *args: Any) -> Any:
        return await asyncio.to_thread(work, *args)

    async def beside(self, work: Any) -> Any:
        return await asyncio.to_thread(work)

    def send_soon(self, written: list[Written]) -> None:
        self.sent += written


class Front:
    """A front and a bank that calls it. banks: who may; identity: signs."""

    def __init__(self, store: CentralStore, folder: Path, banks: Banks = UNSIGNED, identity: Identity | None = None) -> None:
        (folder / "accounts.csv").write_text(TABLE)
        if not (folder / "office.jwk").exists():
            write_new_key(folder / "office.jwk", "office-1")
        self.accounts, self.signer = Accounts(folder / "accounts.csv"), keys.load(folder / "office.jwk")
        self.accounts.refresh()
        self.relay, self.now_ms, self.store, self.banks = Relay(store), NOW_MS, store, banks
        self.steady_s = 0.0
        gate = BankGate(
            lambda: self.banks,
            lambda: self.now_ms,
            spend=lambda claim: front.spend(claim),
            identity=identity,
            steady_s=lambda: self.steady_s,
        )
        self.app = new_application("central", "1")
        desk = Desk(self.signer, "CENTRE", None if identity is None else identity.seal)
        front = BankFront(self.relay, self.accounts, desk, gate, lambda: self.now_ms)  # type: ignore[arg-type]
        self.app.include_router(front.router())
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url="http://centre")

    async def topup(self, **change: str) -> httpx2.Response:
        return await self.client.post("/bank/v1/topups", json=FORM | change)

    async def query(self, serial: str = "S-1") -> dict[str, Any]:
        answer = await self.client.get(f"/bank/v1/topups/{serial}")
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    async def reverse(self, serial: str = "S-1", **change: str) -> httpx2.Response:
        return await self.client.post(f"/bank/v1/topups/{serial}/reversal", json=REVERSAL | change)

    def gateway_says(self, seq: int, state: str, reason: str | None = None, *, final: bool = True) -> None:
        said: dict[str, Any] = {"command": self.relay.sent[0].id, "state": state, "final": final, "reason": reason}
        save(self.store, [arrival(seq, Up.RESULT, **said)])

    def acts(self) -> list[tuple[str, str]]:
        """Who did what, by the audit log, whose chain holds."""
        found: list[tuple[str, str]] = []
        count, finding = audit.walk(self.store, lambda row: found.append((row.who, row.act)))
        assert (count, finding) == (len(found), None), finding
        return found
