"""The gateway is killed at bytes of signed cuts on their lines, which came through a real broker; the relays obey at once, late or
never: what is reported at last is where the simulator's relay stands, and no cut is repeated blindly.

The line's side of it alone, byte by byte in virtual time, is tests/simulation/test_supply_restarts.py.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.conftest import Figure
from tests.gateway.brokers import Mosquitto
from tests.gateway.centre_keys import Signer
from tests.system.line_tap import LineTap
from tests.system.processes import until
from tests.system.relay_stand import COMMAND, RelayStand, Watcher, key_table, street
from tests.system.stand import tracebacks

LINES, PROOF_LINES = 6, 20
ROUNDS, PROOF_ROUNDS = 1, 10
"""Each of them one death within so many cuts at once, one on a line: 200 moments as a proof."""

KINDS: tuple[tuple[str, tuple[int, int]], ...] = (("at once", (20, 150)), ("late", (3000, 20_000)), ("never", (20, 150)))
LONGEST = 330
"""Bytes of the longest of these exchanges, as in that simulation; where fewer pass, what is left is a pause."""

PAUSE_S = 8.0
ENDS_S = 400.0
BIT_LATE_US, VERDICT_LATE_US = 4_000_000, 30_000_000
"""From the contact to its bit 3 s, and the way of a look; and from there to the verdict one write, on a machine with other work."""


class Deaths:
    """Rounds of cuts, one on each line at once, in each of which the gateway dies once."""

    def __init__(self, stand: RelayStand, watcher: Watcher, signer: Signer, rng: random.Random) -> None:
        self.stand, self.watcher, self.signer, self.rng = stand, watcher, signer, rng
        self.ends, self.moments, self.orders = Counter[str](), Counter[str](), Counter[int]()
        self.relays = list(stand.relays.values())
        self.kinds = {relay.meter: KINDS[n % len(KINDS)][0] for n, relay in enumerate(self.relays)}
        self.never = [meter for meter, kind in self.kinds.items() if kind == "never"]
        self.lines = {relay.meter: stand.taps[relay.line] for relay in self.relays}

    async def send(self, verb: str, number: int) -> dict[str, str]:
        """An order for each meter; their ids by meter."""
        idents = {}
        for meter in self.lines:
            idents[meter] = f"{verb}-{number}-{meter}"
            args = {"cause": "emergency"} if verb == "cut" else None
            token = self.signer.signed(self.signer.fields(idents[meter], self.stand.now_ms(), meter=meter, verb=verb, args=args))
            await self.watcher.client.publish(COMMAND, token, qos=1)
        return idents

    async def round(self, number: int) -> None:
        """Cut all, die, come back; each report is held against its relay."""
        for meter in self.never:
            await self.stand.fault(meter, "welded")
        orders = {meter: len(tap.orders) for meter, tap in self.lines.items()}
        await self._die(number)
        idents = {meter: f"cut-{number}-{meter}" for meter in self.lines}
        await self.ended(idents)
        truths = await self.stand.truths()
        for meter, ident in idents.items():
            self._true(meter, "open", self.watcher.last(ident), truths[meter])
            self.ends[f"{self.kinds[meter]}: {self.watcher.last(ident)['state']}"] += 1
            self.orders[len(self.lines[meter].orders) - orders[meter]] += 1
        await until(self.seen, "the gateway sees every relay where it stands", ENDS_S)
        assert [order for tap in self.lines.values() for order in tap.blind()] == []

    async def mend(self, number: int) -> None:
        """All are closed again, by signed orders."""
        for meter in self.never:
            await self.stand.fault(meter, "welded", on=False)
        idents = await self.send("restore", number)
        await self.ended(idents)
        truths = await self.stand.truths()
        for meter, ident in idents.items():
            last = self.watcher.last(ident)
            if last["state"] != "superseded":  # what opened after its cut had failed is closed by the gateway itself
                self._true(meter, "closed", last, truths[meter])
        await until(self.lit, "all are closed, the late ones too", ENDS_S)

    async def lit(self) -> bool:
        return all(truth["contact"] == "closed" for truth in (await self.stand.truths()).values())

    async def _die(self, number: int) -> None:
        """At a byte of one line, or in the pause after; the others are wherever they are then."""
        struck, after = self.rng.choice(list(self.lines.values())), self.rng.randrange(1, LONGEST)
        begun = {meter: (len(tap.orders), tap.answers) for meter, tap in self.lines.items()}
        dead: list[float] = []

        def strike() -> None:
            if not dead:
                dead.append(time.monotonic())
                os.kill(self.stand.gateway.pid, signal.SIGKILL)

        await self.send("cut", number)
        struck.arm(after, strike)
        deadline = time.monotonic() + self.rng.uniform(1, PAUSE_S)
        await until(lambda: dead or time.monotonic() > deadline, "the byte has passed, or its time", ENDS_S)
        strike()
        await self.stand.gateway.kill()
        for meter in self.lines:
            self.moments[self._where(meter, number, *begun[meter])] += 1
        struck.mend()
        await self.stand.start(self.watcher)

    def _where(self, meter: str, number: int, orders: int, answers: int) -> str:
        tap: LineTap = self.lines[meter]
        if self.watcher.last(f"cut-{number}-{meter}").get("final"):
            return "after its report"
        if tap.answers > answers:
            return "between acknowledgement and report"
        return "between order and acknowledgement" if len(tap.orders) > orders else "before the order left"

    async def ended(self, idents: Mapping[str, str]) -> None:
        """Until there is a final word about each."""

        def open_ones() -> list[str]:
            return [ident for ident in idents.values() if not self.watcher.last(ident).get("final")]

        await until(lambda: not open_ones(), "every order has its final report", ENDS_S)

    async def seen(self) -> bool:
        shown = {row["meter"]: row["relay"]["observed"] for row in await self.stand.ask("meters")}
        truths = await self.stand.truths()
        return all(_shows(shown[meter], truth) for meter, truth in truths.items())

    def _looked_us(self, meter: str, until_us: int) -> int:
        """When the gateway last saw this relay's bit, up to then; 0: never."""
        since_s, address = time.time() - time.monotonic(), self.stand.relays[meter].address
        looks = [round((at + since_s) * 1_000_000) for at, of in self.lines[meter].looks if of == address]
        return max((at_us for at_us in looks if at_us <= until_us), default=0)

    def _true(self, meter: str, wanted: str, last: Mapping[str, Any], truth: Mapping[str, Any]) -> None:
        """The report in the moment in which it was made."""
        at_us = round(datetime.fromisoformat(last["at"]).timestamp() * 1_000_000)
        moves = [move for move in truth["contact_moves"] if move["at_us"] <= at_us]
        contact = moves[-1]["contact"] if moves else "closed"
        late = bool(moves) and self._looked_us(meter, at_us) - moves[-1]["at_us"] < BIT_LATE_US
        late = late and at_us - moves[-1]["at_us"] < VERDICT_LATE_US
        told = f"{meter} ({self.kinds[meter]}): {last['verb']} {last['state']}, {last['reason']}; the contact is {contact}"
        if last["state"] == "verified":
            assert contact == wanted, told
        else:
            assert last["state"] in ("failed", "expired"), told
            assert contact != wanted or late, told


def _shows(observed: str, truth: Mapping[str, Any]) -> bool:
    return observed == truth["contact"] or (truth["contact"] == "open" and truth["command"] == "closed" and observed == "allowed")


async def test_a_death_within_a_signed_cut_ends_in_a_true_report(
    tmp_path: Path, mosquitto: str, proof_scale: int, figure: Figure
) -> None:
    lines, rounds = (LINES, ROUNDS) if proof_scale == 1 else (PROOF_LINES, PROOF_ROUNDS)
    seed = int(os.environ.get("RELAY_SEED") or 7)
    signer, acks = Signer("centre-1", 1), Signer("acks", 2)
    keys = key_table(signer, verbs=["*"], holder="x") + key_table(acks, role="centre")
    wide = "ordered_per_hour = 10000\nordered_per_day = 10000"
    relays = street(lines, 1, [contact_ms for _, contact_ms in KINDS])
    stand = RelayStand(tmp_path, Mosquitto(tmp_path / "mosquitto", mosquitto), relays, keys, wide)
    begun = time.monotonic()
    async with stand.running(acks) as watcher:
        await stand.start(watcher)
        deaths = Deaths(stand, watcher, signer, random.Random(seed))
        for number in range(rounds):
            if number:
                await deaths.mend(number)
            await deaths.round(number)
        assert not stand.strange()
        assert await stand.gateway.end() == 0
    assert tracebacks(tmp_path) == []
    assert deaths.moments.total() == lines * rounds
    figure("deaths within signed cuts that came through Mosquitto", deaths.moments.total())
    figure("where the exchange was", dict(sorted(deaths.moments.items())))
    figure("how the cuts ended", dict(sorted(deaths.ends.items())))
    figure("control frames on the line, and how often", dict(sorted(deaths.orders.items())))
    figure("in all s", round(time.monotonic() - begun, 1))
