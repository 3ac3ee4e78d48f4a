"""From payment to light, as a customer has it: real processes, a saturated 9600-baud line, a payment over HTTP, the contact.

Everybody uses up a small credit, is cut for the debt, and pays while the line is never idle.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.bench_line import BUSY, SETTLE_S, Figure, _first_byte
from tests.bench.street_bench import Street, Wire
from tests.system.processes import until

METERS, PAYMENTS = 10, 30
POWER_W, AMOUNT = 50_000, "0.30"
"""So much is used up within some half a minute, at 0.60 a kWh."""

DARK_WITHIN_S, LIGHT_WITHIN_S = 120.0, 30.0
LOCAL = timezone(timedelta(hours=8))
TERMS = 'opening = "0.20"\nagreement = "yes"\n[account.policy]\nlow = "0.10"\nreconnect = "close"\nno_cut_hours = false\n'
LIMITS = "[limits]\nown_per_minute = 1000\nown_per_hour = 10000\n"


def figures() -> Iterator[Figure]:
    first_ms, seen_s = asyncio.run(payments(Wire("bus", 9600, 50, METERS)))
    yield f"payment to restore on the wire, saturated 9600 baud, p95 of {len(first_ms)} (under 1,000)", _p95(first_ms), "ms"
    yield "payment to switch seen closed, p95 (settle_s 4 + 2)", _p95(seen_s), "s"


class Indebted(Street):
    """Accounts that run out."""

    def _gateway(self, scheme: str) -> str:
        text = super()._gateway(scheme)
        return text.replace('opening = "100000.00"\npolicy = {reconnect = "close"}\n', TERMS) + LIMITS

    def _sim(self) -> str:
        return super()._sim().replace("power_w = 1500", f"power_w = {POWER_W}")

    async def dark(self, account: str) -> bool:
        """Whether it is cut for its debt."""
        accounts = (await self.api.get("/api/v1/accounts")).json()
        return any(each["account"] == account and each["state"] == "cut" for each in accounts)

    async def restored(self, meter: str, since_ms: float) -> bool:
        """Whether a restore that was ordered since then is verified."""
        commands = (await self.api.get("/api/v1/commands", params={"limit": "200"})).json()
        mine = (c for c in commands if c["meter"] == meter and c["verb"] == "restore" and _ms(c["created"]) >= since_ms - 1000)
        return any(c["state"] == "verified" for c in mine)


async def payments(wire: Wire) -> tuple[list[float], list[float]]:
    """ms from the bank's answer to the restore's first byte, and s until it was seen closed."""
    with tempfile.TemporaryDirectory() as name:
        running = Indebted(Path(name), [wire], BUSY)
        try:
            await running.start()
            await asyncio.sleep(SETTLE_S)
            found = await asyncio.gather(*(household(running, f"bus-{n}", PAYMENTS // METERS) for n in range(1, METERS + 1)))
        finally:
            await running.close()
    return [first for each in found for first, _ in each], [seen for each in found for _, seen in each]


async def household(running: Indebted, meter: str, rounds: int) -> list[tuple[float, float]]:
    """Sits in the dark, pays, has light, uses it up, and so on."""
    found = []
    for number in range(rounds):
        await until(partial(running.dark, f"A-{meter}"), f"{meter} is cut", DARK_WITHIN_S)
        now = datetime.now(LOCAL)
        body = {
            "serial": f"{meter}-{number}", "account": f"A-{meter}", "amount": AMOUNT, "currency": "CNY",
            "paid_at": now.isoformat(timespec="seconds"), "accounting_date": now.date().isoformat(),
        }  # fmt: skip
        answer = await running.api.post("/bank/v1/topups", json=body)
        committed = time.time()
        assert answer.status_code == 201 and answer.json()["receipt"]["next"] == "restored", answer.text
        await until(partial(running.restored, meter, committed * 1000), f"{meter} has light", LIGHT_WITHIN_S)
        seen_s = time.time() - committed
        truth: dict[str, Any] = await running.truth(meter)
        assert truth["contact"] == "closed"
        found.append((1000 * (_first_byte(truth["frames"], committed, running.wires["bus"].baud) - committed), seen_s))
    return found


def _ms(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[94]
