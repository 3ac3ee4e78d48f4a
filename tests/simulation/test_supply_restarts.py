"""The gateway dies at a random byte of a signed cut and of a signed restore, and the relay obeys at once, late or never: what is
reported at last is where the relay stands, and no cut is repeated without having looked."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from gateway.domain.meters import Contact
from gateway.domain.supply import Command, CommandState, Verb
from tests.conftest import Figure
from tests.simulation.supply_gateway import SupplyGateway
from tests.simulation.supply_line import Heard, Tap
from tests.simulation.supply_signed import SignedOrders
from tests.simulation.supply_world import House, Plan
from tests.simulation.virtual_loop import run

EVERY_DAY, PROOF = 15, 200
"""Deaths in a cut, and as many in a restore."""

LONGEST = 330
"""Bytes of the longest of these exchanges: clock, order, settled relay and load, with their answers; a death beyond the end is one
that leaves all in order."""

RELAYS: dict[str, dict[str, object]] = {"at once": {"contact_ms": [20, 150]}, "late": {"contact_ms": [3000, 60_000]}, "never": {}}
ENDS_S, QUIET_S = 900.0, 600.0
BIT_LATE_US = 4_000_000
"""From the contact to its bit 3 s, and from there to the verdict one look and one write."""

LOOKS = 2
"""Answered looks at the relay, at least, between two orders to open."""


async def die_at(folder: Path, verb: Verb, relay: str, byte: int, rng: Random) -> tuple[Command, int]:
    """One death. Gives the command as it ended and how many of its frames the meter heard."""
    house = House("h", power_w=2000, opening="900.00", sim={**RELAYS[relay], "contact": "closed"})
    limits = "[limits]\nordered_per_hour = 1000\nordered_per_day = 1000"
    async with SupplyGateway(folder, Plan([house], limits, 3600, 3600, 60)) as gateway:
        station, tap = gateway.world.street.station("h"), gateway.world.taps["rs"]
        centre = SignedOrders(gateway)
        await centre.begin()
        await gateway.run(30)
        if verb is not Verb.CUT:
            await gateway.order("h", Verb.CUT, "before")
            assert await gateway.until(lambda: gateway.last("h").state is CommandState.VERIFIED, 300)
        if relay == "never":
            station.faults.set("welded")
        truths: dict[str, Truth] = {}

        def after() -> None:
            command = gateway.command("it")
            if command is not None and command.final and "it" not in truths:
                truths["it"] = _truth(gateway)

        begun = len(tap.sent)
        said = await centre.order("h", verb, "it")
        assert said.command is not None, said.refused
        gateway.weak.after = after
        tap.arm(byte)
        await gateway.until(lambda: tap.blown.is_set() or "it" in truths, ENDS_S, step_s=0.05)
        if tap.blown.is_set():
            await gateway.die()
            await gateway.run(rng.choice([0.0, 1.0, rng.uniform(0, 120)]))
            tap.mend()
            await gateway.start()
            gateway.weak.after = after
            after()
            assert (await centre.order("h", verb, "it")).again  # the broker delivers it once more, which changes nothing
        assert await gateway.until(lambda: "it" in truths, ENDS_S), f"it does not end: {gateway.command('it')}"
        command, truth = gateway.command("it"), truths["it"]
        assert command is not None and command.origin == "uplink" and (kept := centre.kept("it")) is not None
        assert kept.token.encode() == centre.sent["it"]
        _true(command, truth)
        frames = [heard for heard in tap.sent[begun:] if heard.controls]
        _not_blind(tap, frames)
        await gateway.run(QUIET_S)
        observed, stands = gateway.meter("h").observed, gateway.world.street.station("h").meter.relay
        if stands.contact_closed:
            assert observed is Contact.CLOSED
        else:  # status word 3 has the same bits for an open contact that may be closed and for one that was told to and sticks
            assert observed is (Contact.ALLOWED if stands.order_closed else Contact.OPEN)
        return command, len(frames)


@dataclass(frozen=True, slots=True)
class Truth:
    """Where the contact is; late: it moved there so lately that no bit shows it yet, though the load may."""

    closed: bool
    late: bool


def _truth(gateway: SupplyGateway) -> Truth:
    meter = gateway.world.street.station("h").meter
    late = bool(meter.relay.moves) and meter.now_us - meter.relay.moves[-1].at_us < BIT_LATE_US
    return Truth(meter.relay.contact_closed, late)


def _true(command: Command, truth: Truth) -> None:
    """The report in the moment in which it is made."""
    opened, closed = command.verb is Verb.CUT, truth.closed
    told = f"{command.verb} is called {command.state} ({command.reason}), and the contact is {'closed' if closed else 'open'}"
    if command.state is CommandState.VERIFIED:
        assert closed is not opened, told
    elif command.state in (CommandState.FAILED, CommandState.EXPIRED):
        assert closed is opened or truth.late, told
    else:
        assert command.state in (CommandState.SUPERSEDED, CommandState.CANCELLED), told


def _not_blind(tap: Tap, frames: list[Heard]) -> None:
    """Between two orders to open the relay was looked at, and answered."""
    trips = [frame for frame in frames if frame.trips]
    for first, second in pairwise(trips):
        looks = [heard for heard in tap.answered if heard.shows_relay and first.at < heard.at < second.at]
        assert len(looks) >= LOOKS, f"the cut of {first.at:.1f} s is repeated at {second.at:.1f} s after {len(looks)} looks"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", [Verb.CUT, Verb.RESTORE])
def test_death_at_a_random_byte(
    tmp_path: Path, verb: Verb, figure: Figure, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATTGATE_SMS", "json://localhost")
    one = os.environ.get("SUPPLY_SEED")
    ends, frames = Counter[str](), Counter[int]()
    for seed in [int(one)] if one else range(PROOF if pytestconfig.getoption("proof") else EVERY_DAY):
        rng = Random(f"{verb} {seed}")
        relay, byte = list(RELAYS)[seed % len(RELAYS)], rng.randrange(1, LONGEST)
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            command, sent = run(die_at(folder, verb, relay, byte, rng))
        except AssertionError as wrong:
            replay = f"SUPPLY_SEED={seed} .venv/bin/pytest tests/simulation/test_supply_restarts.py -k {verb.value}"
            raise AssertionError(f"{replay}\nrelay {relay}, byte {byte}: {wrong}") from wrong
        ends[f"{relay}: {command.state}"] += 1
        frames[sent] += 1
    assert sum(frames.values()) >= 1
    figure(f"{verb}: how deaths at random bytes ended", dict(ends))
    figure(f"{verb}: control frames that the meter heard, and how often", dict(sorted(frames.items())))
