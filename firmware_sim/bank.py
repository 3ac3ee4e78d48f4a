"""A bank that pays: it repeats the same serial until it knows, asks when it cannot know, and keeps its own book (contract 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from types import TracebackType
from typing import Self

import httpx2

TIMEOUT_S = 30.0  # the gateway answers within 5 s; a bank waits 30
MAX_TRIES = 6  # with the back-off below about three minutes, then a person looks
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)
MAX_QUERIES = 3
MAX_BOOK = 100_000  # payments of one run
REPEATABLE = frozenset({429, 500, 502, 503, 504})

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Booked:
    """A payment that was answered 2xx: the gateway owes this credit, whatever happens to it afterwards."""

    serial: str
    account: str
    amount: str
    status: int
    receipt_no: str


class Bank:
    """One paying partner.

    base_url: where /bank/v1 lives. clock: aware wall clock. rng: serials and jitter. transport, sleep: for tests in virtual time.
    book: by serial, what was answered 2xx to a top-up, or found posted by a query.
    """

    def __init__(
        self,
        base_url: str,
        clock: Callable[[], datetime],
        rng: Random,
        *,
        bank: str = "demo",
        currency: str = "CNY",
        utc_offset_min: int = 480,
        timeout_s: float = TIMEOUT_S,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._currency = currency
        self._zone = timezone(timedelta(minutes=utc_offset_min))
        self._sleep = sleep
        self._http = httpx2.AsyncClient(
            base_url=base_url, headers={"x-bank": bank}, timeout=timeout_s, transport=transport, trust_env=False
        )
        self.book: dict[str, Booked] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def topup(self, account: str, amount: str, serial: str | None = None) -> dict[str, object]:
        """Pay `amount` (a decimal string) and find out what became of it.

        Gives {"serial", "outcome": "posted" | "reversed" | "refused" | "unknown", "status", "tries", "queries", "envelope"}: status
        and envelope are those of the last answer (0 and {} when there was none). The serial is the same in every try.
        """
        serial = serial or f"S{self._clock():%Y%m%d%H%M%S}-{self._rng.getrandbits(64):016x}"
        now = self._clock().astimezone(self._zone)
        body = {
            "serial": serial,
            "account": account,
            "amount": amount,
            "currency": self._currency,
            "paid_at": now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "accounting_date": now.date().isoformat(),
        }
        tries, status = 0, 0
        envelope: dict[str, object] = {}
        while tries < MAX_TRIES:
            if tries:
                await self._sleep(BACKOFF_S[min(tries, len(BACKOFF_S)) - 1] * self._rng.uniform(0.8, 1.2))
            tries += 1
            status, envelope = await self._ask("POST", "/bank/v1/topups", body)
            if status and status not in REPEATABLE:
                break
        queries = 0
        while (status == 0 or status in REPEATABLE) and queries < MAX_QUERIES:
            if queries:
                await self._sleep(BACKOFF_S[queries])
            queries += 1
            status, envelope = await self._ask("GET", f"/bank/v1/topups/{serial}")
        outcome = self._judge(serial, account, amount, status, envelope)
        return {
            "serial": serial,
            "outcome": outcome,
            "status": status,
            "tries": tries,
            "queries": queries,
            "envelope": envelope,
        }

    async def query(self, serial: str) -> dict[str, object]:
        """What the gateway has booked under this serial: {"status", "envelope"}; status 0 without an answer."""
        status, envelope = await self._ask("GET", f"/bank/v1/topups/{serial}")
        return {"status": status, "envelope": envelope}

    async def account(self, account: str) -> dict[str, object]:
        """The account query: {"status", "envelope"}; status 0 without an answer."""
        status, envelope = await self._ask("GET", f"/bank/v1/accounts/{account}")
        return {"status": status, "envelope": envelope}

    async def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> tuple[int, dict[str, object]]:
        """(status, JSON object); (0, {}) when nothing came back: a time-out is never "failed"."""
        try:
            response = await self._http.request(method, path, json=body)
        except httpx2.TransportError:
            return 0, {}
        try:
            envelope = response.json()
        except ValueError:
            envelope = {}
        return response.status_code, envelope if isinstance(envelope, dict) else {}

    def _judge(self, serial: str, account: str, amount: str, status: int, envelope: dict[str, object]) -> str:
        """Book what is posted. A query's 404 and a 5xx leave it unknown: the payment may still arrive."""
        if status in (200, 201):
            payment = str(envelope.get("payment", ""))
            receipt = envelope.get("receipt")
            if payment == "posted" and isinstance(receipt, dict) and len(self.book) < MAX_BOOK:
                self.book[serial] = Booked(serial, account, amount, status, str(receipt.get("receipt_no", "")))
            return payment if payment in ("posted", "reversed", "refused") else "unknown"
        if status == 0 or status in REPEATABLE or (status == 404 and envelope.get("code") != "unknown_account"):
            return "unknown"
        return "refused"
