"""A stolen key signs a cut for every meter of a street: the limiter's share reaches the lines, the rest waits for another person,
also when the gateway dies in between; and the stop switch stops what has not left."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.conftest import Figure
from tests.gateway.brokers import Mosquitto
from tests.gateway.centre_keys import Signer
from tests.system.processes import until
from tests.system.relay_stand import COMMAND, RelayStand, Watcher, key_table, settle, street
from tests.system.stand import tracebacks

LINES, PROOF_LINES, EACH = 4, 20, 50
SHARE = 20
"""Cuts that one key may order within an hour: 2 % of 1,000 meters, which is what holds without a word in the configuration."""

CUTS_PER_S = 100.0
ALARM_S, STOP_S = 5.0, 1.0
QUIET_S = 6.0
"""A line sends an order a second or two apart, so that what was not stopped would have left."""

LEFT_BEFORE_DEATH, LEFT_BEFORE_STOP = 2, 3
TAKEN_S = 240.0


class Raid:
    """Signed cuts as fast as a thief sends them."""

    def __init__(self, stand: RelayStand, watcher: Watcher) -> None:
        self.stand, self.watcher = stand, watcher
        self.sent_at: dict[str, float] = {}

    async def cut(self, signer: Signer, meters: Sequence[str], per_s: float = CUTS_PER_S) -> list[str]:
        """One for each meter, spread evenly, without waiting for the broker; their ids."""
        begun, idents, sent = time.monotonic(), list[str](), list[asyncio.Future[None]]()
        for number, meter in enumerate(meters):
            await asyncio.sleep(begun + number / per_s - time.monotonic())
            ident = f"{signer.kid}-{meter}"
            token = signer.signed(signer.fields(ident, self.stand.now_ms(), meter=meter))
            self.sent_at[ident] = time.monotonic()
            sent.append(asyncio.ensure_future(self.watcher.client.publish(COMMAND, token, qos=1)))
            idents.append(ident)
        await asyncio.gather(*sent)
        return idents

    async def judged(self, idents: Sequence[str]) -> Counter[str]:
        """In which states they are, once there was a word about each and none is on its way to its switch."""
        still = ("quarantined", "verified", "cancelled", "refused")
        await until(lambda: all(self.watcher.last(each).get("state") in still for each in idents), "each cut is judged", TAKEN_S)
        return Counter(self.watcher.last(each)["state"] for each in idents)

    async def dark(self) -> set[str]:
        """Meters whose contact is open, by the simulator."""
        return {name for name, truth in (await self.stand.truths()).items() if truth["contact"] == "open"}

    def trips(self) -> list[Any]:
        """Frames that order a contact open, on any line, in their order."""
        return sorted((order for tap in self.stand.taps.values() for order in tap.orders if order.trips), key=lambda each: each.at)

    def alarm_s(self, idents: Sequence[str]) -> tuple[float, float]:
        """From the first cut over the budget to the alarm about it at the broker: since it was sent, and since it was judged."""
        first = next(each for each in idents if self.watcher.last(each)["state"] == "quarantined")
        alarm = next(at for at, event in self.watcher.events if event["data"].get("finding") == "quarantined")
        judged = datetime.fromisoformat(self.watcher.results[first][0]["at"]).timestamp() - time.time() + time.monotonic()
        return alarm - self.sent_at[first], alarm - judged


async def test_a_thousand_signed_cuts_reach_the_lines_by_the_configured_rate(
    tmp_path: Path, mosquitto: str, proof_scale: int, figure: Figure
) -> None:
    lines = LINES if proof_scale == 1 else PROOF_LINES
    limits = f"ordered_percent_per_hour = {SHARE * 100 // (lines * EACH)}" if proof_scale == 1 else ""
    thief, second, centre = Signer("stolen", 1), Signer("second", 2), Signer("acks", 3)
    keys = key_table(thief, verbs=["*"]) + key_table(second, verbs=["*"]) + key_table(centre, role="centre")
    stand = RelayStand(tmp_path, Mosquitto(tmp_path / "mosquitto", mosquitto), street(lines, EACH), keys, limits)
    async with stand.running(centre) as watcher:
        await stand.start(watcher)
        raid = Raid(stand, watcher)
        raiding = asyncio.ensure_future(raid.cut(thief, list(stand.relays)))
        await asyncio.sleep(len(stand.relays) / CUTS_PER_S / 2)
        await until(lambda: len(raid.trips()) >= LEFT_BEFORE_DEATH, "the raid has begun on the line", TAKEN_S)
        await stand.gateway.kill()
        left = len(raid.trips())
        await stand.start(watcher)
        idents = await raiding
        sent_s = max(raid.sent_at.values()) - min(raid.sent_at.values())
        states = await raid.judged(idents)
        assert states == {"verified": SHARE, "quarantined": len(idents) - SHARE}
        assert len(await raid.dark()) == SHARE == len({order.address for order in raid.trips()})
        since_sent_s, since_judged_s = raid.alarm_s(idents)
        assert proof_scale == 1 or max(since_judged_s, since_sent_s) < ALARM_S, "every day the gateway dies within those seconds"

        stop_s, cancelled = await _stopped(raid, second)
        assert proof_scale == 1 or stop_s < STOP_S
        assert Counter(watcher.last(each)["state"] for each in idents) == states, "the quarantine stays as it is"
        assert not stand.strange()
        assert await stand.gateway.end() == 0
    assert tracebacks(tmp_path) == []
    figure("signed cuts", len(idents))
    figure("sent within s", round(sent_s, 1))
    figure("contacts that opened", SHARE)
    figure("orders that had left when the gateway died", left)
    figure("quarantined", states["quarantined"])
    figure("alarm at the broker, s after the first cut over the budget was sent", round(since_sent_s, 2))
    figure("and after it was judged, s", round(since_judged_s, 2))
    figure("last cut left after the stop switch, s", round(stop_s, 2))
    figure("queued cuts that the stop switch cancelled", cancelled)


async def _stopped(raid: Raid, second: Signer) -> tuple[float, int]:
    """Another key's cuts queue up on one line, and somebody presses the switch: how long after that a cut still left, and how many
    were called off."""
    stand, watcher = raid.stand, raid.watcher
    before = len(raid.trips())
    idents = await raid.cut(second, [f"m{EACH + number}" for number in range(SHARE)])
    await until(lambda: len(raid.trips()) >= before + LEFT_BEFORE_STOP, "some of them have left", TAKEN_S)
    pressed = time.monotonic()
    assert await stand.post("stop-cuts", {"reason": "this is a raid"}) == 200
    print(f"the switch answered after {time.monotonic() - pressed:.2f} s")
    await settle(watcher, idents, "the stopped cuts")
    await asyncio.sleep(QUIET_S)
    left = raid.trips()[before:]
    states = Counter(watcher.last(each)["state"] for each in idents)
    assert LEFT_BEFORE_STOP <= len({order.address for order in left}) == states["verified"] < SHARE
    assert states["cancelled"] == SHARE - states["verified"], states
    late = await raid.cut(second, [f"m{2 * EACH}"])
    await settle(watcher, late, "a cut after the stop")
    assert (watcher.last(late[0])["state"], watcher.last(late[0])["code"]) == ("refused", "not_permitted")
    assert raid.trips()[before:] == left
    return max(0.0, left[-1].at - pressed), states["cancelled"]
