"""Thousands of hostile variants of good orders on the gateway's real topic: no relay moves, no control frame leaves, each is
refused with its reason; before and after a death of the gateway and with its clock set; and a good order still works."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.domain.uplink_keys import Why
from tests.conftest import Figure
from tests.gateway.brokers import Mosquitto
from tests.gateway.centre_keys import LIVES_MS
from tests.system.hostile_orders import KINDS, Forger, Hostile, Obeyed
from tests.system.processes import until, wattgate
from tests.system.relay_stand import COMMAND, RelayStand, Watcher, settle, street
from tests.system.stand import tracebacks

VARIANTS, PROOF_VARIANTS = 360, 5600
BATCHES = 4
"""In equal parts: before any good order, after some, after a death of the gateway, and with its clock set and after that."""

HOUR_MS = 3_600_000
BATCH_S = 600.0
HELD = ("contact", "contact_move_count", "command", "latest_order", "allowed", "protect", "alarm")
"""What of a meter an order could change."""


class Siege:
    """Sends what must move nothing, and counts."""

    def __init__(self, stand: RelayStand, watcher: Watcher, forger: Forger) -> None:
        self.stand, self.watcher, self.forger = stand, watcher, forger
        self.kinds, self.reasons, self.barriers, self.left = Counter[str](), Counter[str](), 0, 0

    async def state(self) -> dict[str, Any]:
        """Where all the relays stand, and how many control frames have left."""
        meters = {name: [truth[each] for each in HELD] for name, truth in (await self.stand.truths()).items()}
        return {"orders": self.stand.orders(), **meters}

    async def storm(self, hostile: Sequence[Hostile]) -> None:
        """None of these moves anything, and each is counted and told under its reason."""
        before, counted = await self.state(), Counter(await self.stand.refused())
        for each in hostile:
            await self.watcher.client.publish(each.topic, each.token, qos=1, retain=each.retain)
            self.kinds[each.kind] += 1
        await self.barrier()
        more = Counter(await self.stand.refused())
        more.subtract(counted)
        more["not_permitted"] -= 1  # the barrier's own
        self._reasons(hostile, more)
        refusals = self.watcher.of("command_refused") + self.watcher.of("command_unreadable")
        told = {(event["data"].get("command"), event["data"].get("code")) for event in refusals}
        for each in hostile:
            if each.ident is not None:
                self._told(each, told)
        after = await self.state()
        self.left += after["orders"] - before["orders"]
        assert after == before and not self.stand.strange()

    async def barrier(self) -> None:
        """All that was published before is done with when this is answered."""
        self.barriers += 1
        order = self.forger.fields(id=f"b-{self.barriers}", verb="cancel", meter=None, args={"id": "no"}, expires_at=None)
        await self.watcher.client.publish(COMMAND, self.forger.keys["centre-1"].signed(order), qos=1)
        await until(lambda: self.watcher.last(order["id"]), "the storm is over", BATCH_S)

    def _reasons(self, hostile: Sequence[Hostile], more: Counter[str]) -> None:
        """The counts are those of the reasons; what has several possible ones is somewhere among them."""
        exact = Counter(next(iter(each.whys)).value for each in hostile if len(each.whys) == 1)
        vague = [each for each in hostile if len(each.whys) > 1]
        rest = Counter({why: more[why] - exact[why] for why in {*more, *exact} if more[why] != exact[why]})
        assert all(count > 0 for count in rest.values()) and sum(rest.values()) == len(vague), (rest, exact, len(vague))
        assert set(rest) <= {why.value for each in vague for why in each.whys}
        self.reasons.update({why: count for why, count in more.items() if count})

    def _told(self, each: Hostile, told: set[tuple[object, object]]) -> None:
        last = self.watcher.last(str(each.ident))
        assert (last.get("state"), last.get("final")) == (each.state, True), (each, last)
        for why in each.whys:
            assert (each.ident, why.value) in told, each
            assert why is Why.KNOWN_ID or last["code"] == why, (each, last)

    async def obey(self, *orders: Obeyed) -> None:
        """Good ones: their relays move, and that is verified."""
        for order in orders:
            await self.watcher.client.publish(COMMAND, order.token, qos=1)
        await settle(self.watcher, [order.ident for order in orders], "good orders")
        truths = await self.stand.truths()
        for order in orders:
            last, contact = self.watcher.last(order.ident), truths[order.meter]["contact"]
            assert (last["state"], last["evidence"][:1]) == ("verified", ["relay_bit"]), last
            assert contact == ("open" if order.verb == "cut" else "closed"), order.meter
        self.forger.obeyed += orders


async def test_no_hostile_order_moves_a_relay(tmp_path: Path, mosquitto: str, proof_scale: int, figure: Figure) -> None:
    each = (VARIANTS if proof_scale == 1 else PROOF_VARIANTS) // BATCHES
    relays = street(2, 2)
    stand: RelayStand
    forger = Forger(random.Random(7), lambda: stand.now_ms(), [relay.meter for relay in relays])
    wide = "ordered_per_hour = 1000\nordered_per_day = 1000"
    stand = RelayStand(tmp_path, Mosquitto(tmp_path / "mosquitto", mosquitto), relays, forger.tables(), wide)
    begun = time.monotonic()
    async with stand.running(forger.keys["acks"]) as watcher:
        await stand.start(watcher)
        ran = await wattgate("keys", "revoke", "stolen", "-c", stand.config)
        assert ran.code == 0, ran
        siege = Siege(stand, watcher, forger)
        await siege.storm([forger.any() for _ in range(each)])
        await siege.obey(forger.order("cut", "m0", each), forger.order("cut", "m2", each))
        await siege.storm([forger.any() for _ in range(each)])

        kept = [forger.any() for _ in range(each)]
        await stand.gateway.kill()
        await stand.start(watcher)
        await siege.storm(kept)

        await _clock_is_set(siege, each)
        await siege.obey(forger.order("restore", "m0"), forger.order("cut", "m2"), forger.order("cut", "m3"))
        await siege.storm([forger.any() for _ in range(each // 4)])
        assert await stand.gateway.end() == 0
    assert tracebacks(tmp_path) == []
    sent = siege.kinds.total()
    assert sent > (5000 if proof_scale > 1 else 300) and len(siege.kinds) >= len({*KINDS}) - 1
    figure("hostile orders through Mosquitto", sent)
    figure("by kind", dict(sorted(siege.kinds.items())))
    figure("refused by reason", dict(sorted(siege.reasons.items())))
    figure("control frames on the lines for them", siege.left)
    figure("in all s", round(time.monotonic() - begun, 1))


async def _clock_is_set(siege: Siege, count: int) -> None:
    """Back, and what is good is too early; forward, and it is expired; back to where what was kept back would be good again: a
    later order that was obeyed stands in its way, for ever."""
    stand, forger = siege.stand, siege.forger

    def fresh(kind: str, why: Why, state: str = "refused") -> list[Hostile]:
        return [forger.known(kind, why, state=state) for _ in range(count // 8)]

    soon = fresh("clock set back", Why.EARLY)
    stand.shift(-HOUR_MS)
    await siege.storm(soon)
    stand.shift(0)
    late = fresh("clock set forward", Why.EXPIRED, "expired")
    stand.shift(HOUR_MS)
    await siege.storm([*late, *(forger.any() for _ in range(count // 4))])
    kept_back = fresh("kept back until the clock is set back", Why.EXPIRED, "expired")
    stand.shift(HOUR_MS + 2 * LIVES_MS)
    await siege.obey(forger.order("restore", "m2"), forger.order("cut", "m1"))
    stand.shift(HOUR_MS)
    await siege.storm(kept_back)
    stand.shift(HOUR_MS + 2 * LIVES_MS)
