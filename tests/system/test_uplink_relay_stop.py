"""A signed `stop` behind a raid of signed cuts: within a second no order leaves any more; and forged stops hold nobody up."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiomqtt

from tests.conftest import Figure
from tests.gateway.brokers import Mosquitto
from tests.gateway.centre_keys import Signer
from tests.system.processes import until
from tests.system.relay_stand import COMMAND, RelayStand, Watcher, key_table, settle, street
from tests.system.stand import tracebacks
from tests.system.test_uplink_relay_mass import CUTS_PER_S, EACH, LINES, PROOF_LINES, SHARE, TAKEN_S, Raid

STOP_S = 1.0
"""Held in a proof; every day the machine has other work."""

QUIET_S, PROOF_QUIET_S = 3.0, 10.0
"""A line sends an order each half second, so that what was not stopped would have left."""

AT_ONCE = math.inf
FORGED, PROOF_FORGED, GOOD = 200, 1000, 5
FORGED_COSTS_S = 0.005
"""Of a forged stop, sent, passed on and turned away on a machine with other work; its signature is checked twice, 0.1 to 0.3 ms."""


class Behind:
    """Sends over a connection of its own; the broker passes on what came there in its order."""

    def __init__(self, stand: RelayStand, watcher: Watcher, client: aiomqtt.Client) -> None:
        self.stand, self.watcher, self.client = stand, watcher, client
        self.sending: list[asyncio.Task[None]] = []

    def order(self, signer: Signer, ident: str, verb: str, meter: str | None = None) -> bytes:
        """Signed, not yet sent."""
        args = {"on": True} if verb == "alarm" else None
        return signer.signed(signer.fields(ident, self.stand.now_ms(), verb=verb, meter=meter, args=args))

    def send(self, *tokens: bytes) -> float:
        """Begins to publish them in this order. When that was."""
        at = time.monotonic()
        self.sending += [asyncio.ensure_future(self.client.publish(COMMAND, token, qos=1)) for token in tokens]
        return at

    async def answered(self, idents: Sequence[str], what: str) -> float:
        """When the first word about the last of these had come."""
        await until(lambda: all(self.watcher.last(each) for each in idents), what, TAKEN_S)
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Case:
    """How a raid comes, and whose the stop is. quiet_s: for which nothing may leave afterwards."""

    per_s: float
    same_key: bool
    lines: int
    quiet_s: float

    def __str__(self) -> str:
        cuts = self.lines * EACH
        pace = "at once" if self.per_s == AT_ONCE else f"in {cuts / self.per_s:.0f} s"
        return f"{cuts} cuts {pace}, stop by {'the same' if self.same_key else 'another'} key"


EVERY_DAY = (Case(AT_ONCE, True, LINES, QUIET_S),)
PROOF = tuple(Case(per_s, same, PROOF_LINES, PROOF_QUIET_S) for per_s in (CUTS_PER_S, AT_ONCE) for same in (False, True))


async def test_a_signed_stop_overtakes_the_cuts_before_it(
    tmp_path: Path, mosquitto: str, proof_scale: int, figure: Figure
) -> None:
    for number, case in enumerate(EVERY_DAY if proof_scale == 1 else PROOF):
        (folder := tmp_path / str(number)).mkdir()
        left_s, told_s, states = await _raid_and_stop(folder, mosquitto, case)
        assert proof_scale == 1 or (left_s < STOP_S and told_s < STOP_S), case
        assert tracebacks(folder) == []
        figure(f"{case}: last cut left after its publishing, s", round(left_s, 2))
        figure(f"{case}: it was reported after, s", round(told_s, 2))
        figure(f"{case}: the cuts in the end", ", ".join(f"{n} {state}" for state, n in sorted(states.items())))


async def _raid_and_stop(folder: Path, mosquitto: str, case: Case) -> tuple[float, float, Counter[str]]:
    """When the last order left and when the stop was answered, both since it was published; and what became of the cuts."""
    thief, second, centre = Signer("stolen", 1), Signer("second", 2), Signer("acks", 3)
    stopper, keys = thief if case.same_key else second, _keys(thief, second, centre)
    most = f"ordered_percent_per_hour = {SHARE * 100 // (case.lines * EACH)}"
    stand = RelayStand(folder, Mosquitto(folder / "mosquitto", mosquitto), street(case.lines, EACH), keys, most)
    async with stand.running(centre) as watcher, aiomqtt.Client("127.0.0.1", stand.broker.port) as client:
        await stand.start(watcher)
        raid, stop = Raid(stand, watcher), Behind(stand, watcher, client)
        raiding = asyncio.ensure_future(_raid(raid, thief, case.per_s))
        if case.per_s == AT_ONCE:
            await raiding
        await until(lambda: len(raid.sent_at) >= len(stand.relays) // 2, "half of them are on their way", TAKEN_S)
        before, published = list(raid.sent_at), stop.send(stop.order(stopper, "stop-1", "stop"))
        told_s = await stop.answered(["stop-1"], "the stop is answered") - published
        idents = await raiding
        states = await _stopped(raid, stopper, idents, case.quiet_s)
        overtaken = sum(watcher.last(ident)["state"] == "refused" for ident in before)
        if case.per_s == AT_ONCE and case.lines == PROOF_LINES:  # fewer may all be judged before the stop is sent
            assert overtaken > 0, "it overtook some that had come before it"
        assert not stand.strange()
        assert await stand.gateway.end() == 0
    return max(0.0, raid.trips()[-1].at - published), told_s, states


async def _raid(raid: Raid, thief: Signer, per_s: float) -> list[str]:
    """The first cuts have left before the rest comes."""
    meters = list(raid.stand.relays)
    first = await raid.cut(thief, meters[:SHARE], per_s)
    await until(raid.trips, "the raid has begun on the line", TAKEN_S)
    return first + await raid.cut(thief, meters[SHARE:], per_s)


def _keys(*signers: Signer) -> str:
    *ordering, centre = signers
    return "".join(key_table(each, verbs=["*"]) for each in ordering) + key_table(centre, role="centre")


async def _stopped(raid: Raid, stopper: Signer, idents: Sequence[str], quiet_s: float) -> Counter[str]:
    """What became of the cuts, once nothing left for so long: what had left is done, no other contact opened, the rest says why."""
    watcher = raid.watcher
    assert watcher.last("stop-1")["state"] == "done"
    states = await raid.judged(idents)
    assert {*states} <= {"verified", "cancelled", "quarantined", "refused"} and states["verified"] + states["cancelled"] <= SHARE
    seen = raid.trips()
    await asyncio.sleep(quiet_s)
    assert raid.trips() == seen
    assert len(await raid.dark()) == len({order.address for order in seen}) == states["verified"] <= SHARE
    for last in map(watcher.last, idents):
        if last["state"] in ("refused", "cancelled"):
            assert last["reason"].endswith(f"cuts are stopped: fire brigade (uplink:{stopper.kid})")
            assert last["code"] == ("not_permitted" if last["state"] == "refused" else None)
    return states


async def test_a_raid_of_forged_stops_holds_up_neither_orders_nor_the_stop(
    tmp_path: Path, mosquitto: str, proof_scale: int, figure: Figure
) -> None:
    count = FORGED if proof_scale == 1 else PROOF_FORGED
    owner, second, centre = Signer("owner", 1), Signer("second", 2), Signer("acks", 3)
    stand = RelayStand(tmp_path, Mosquitto(tmp_path / "mosquitto", mosquitto), street(1, 2 * GOOD), _keys(owner, second, centre))
    async with stand.running(centre) as watcher, aiomqtt.Client("127.0.0.1", stand.broker.port) as client:
        client.pending_calls_threshold = 2 * count
        await stand.start(watcher)
        behind = Behind(stand, watcher, client)
        good = {f"good-{meter}": behind.order(owner, f"good-{meter}", "alarm", meter) for meter in stand.relays}
        alone, among = list(good)[:GOOD], list(good)[GOOD:]
        begun = behind.send(*(good[ident] for ident in alone))
        alone_s = await behind.answered(alone, "the orders alone are answered") - begun

        forged, stop = _forged(behind, second, count), behind.order(second, "stop-1", "stop")
        begun = behind.send(*forged, *(good[ident] for ident in among), stop)
        await behind.sending[-1]
        published = time.monotonic()
        stop_s = await behind.answered(["stop-1"], "the stop is answered") - published
        among_s = await behind.answered(among, "the orders behind the forged stops are answered") - begun
        assert proof_scale == 1 or stop_s < STOP_S + count * FORGED_COSTS_S
        assert proof_scale == 1 or among_s < alone_s + count * FORGED_COSTS_S
        await settle(watcher, list(good), "the good orders")
        assert {watcher.last(ident)["state"] for ident in good} == {"done"}
        refused = {why: times for why, times in (await stand.refused()).items() if times}
        assert refused == {"bad_signature": count // 2, "unknown_key": count // 2}
        assert len(watcher.of("cuts_stopped")) == 1 and await stand.gateway.end() == 0
    assert tracebacks(tmp_path) == []
    figure("forged stops at once", count)
    figure(f"{GOOD} good orders alone are answered within, s", round(alone_s, 2))
    figure(f"{GOOD} good orders behind the forged stops, s", round(among_s, 2))
    figure("a good stop behind them, s after the broker had it", round(stop_s, 2))


def _forged(behind: Behind, signer: Signer, count: int) -> list[bytes]:
    """Stops in the name of a key that is known, with a signature that is not its own, and of one that is not known."""
    names = Signer("stranger", 9), Signer(signer.kid, 9)
    return [behind.order(names[number % 2], f"forged-{number}", "stop") for number in range(count)]
