"""Random schedules of everything that may hold a cut, of payments and of restarts, over houses that use up their credit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from tests.simulation.supply_auditor import Hold
from tests.simulation.supply_world import House

PAIRS = ("a", "b", "c")
LAST_S = 2 * 3600
"""By then the last hold has begun; each lasts an hour at most."""

CALENDARS: dict[str, tuple[str, str, tuple[tuple[int, int], ...]]] = {
    # lines of the policy, of the calendar's file, and the same in minutes of the week for the auditor
    "none": ("no_cut_hours = false", "", ()),
    "built-in": ("no_cut_hours = true", "", (*((d * 1440 + 1020, d * 1440 + 1980) for d in range(4)), (4 * 1440 + 720, 540))),
    "noon": ('calendar = "noon"', 'windows = ["Mon-Sun 12:00-14:00"]', tuple((d * 1440 + 720, d * 1440 + 840) for d in range(7))),
    "two": (
        'calendar = "two"', 'windows = ["Mon-Wed 08:00-09:30", "Mon-Sun 16:00-17:00"]',
        (*((d * 1440 + 480, d * 1440 + 570) for d in range(3)), *((d * 1440 + 960, d * 1440 + 1020) for d in range(7))),
    ),
}  # fmt: skip
SITE = ("path", "broker", "clock", "jump", "disk", "log", "stop", "restart")
OUTSIDE = {"restart", "silent", "wire", "path", "broker", "clock", "jump", "disk"}
"""What happens whether or not the process is there."""

JUMP_MS = 5 * 3600 * 1000
"""So much ahead our clock is set."""

OWN = ("silent", "protect", "never_cut", "phone")


@dataclass(frozen=True)
class Schedule:
    """What one world lives through. pays: when, who, how much."""

    seed: int
    start_s: float
    houses: tuple[House, ...]
    holds: tuple[Hold, ...]
    pays: tuple[tuple[float, str, str], ...]
    calendars: dict[str, str]
    heartbeat: bool


def schedule(seed: int) -> Schedule:
    rng = Random(f"supply {seed}")
    night = rng.random() < 0.12
    start_s = rng.choice([4, 5, 6]) * 86_400 + (6 if night else rng.randrange(-3, 8)) * 3600 + rng.randrange(3600)  # Mon to Wed
    houses, holds, calendars, pays = [], [], {}, []
    heartbeat = rng.random() < 0.5
    for n in range(6):
        name, pair = f"h{n}", PAIRS[n % 3]
        calendars[name] = rng.choice(["built-in", "none"] if night else ["none", "noon", "two"])
        close = rng.random() < 0.5
        policy = f'low = "5.00"\nreconnect = "{"close" if close else "allow"}"\n{CALENDARS[calendars[name]][0]}\n{STEPS}'
        if rng.random() < 0.3:
            policy += f"\ntrip_delay_min = {rng.choice([5, 10])}"
        power_w, opening = rng.choice([2000, 3500, 6000]), rng.choice(["0.05", "0.60", "1.50"])
        houses.append(House(name, power_w=power_w, opening=opening, policy=policy, pair=pair))
        for what in rng.sample(OWN, rng.randrange(3)):
            holds.append(_hold(what, rng, start_s, name, heartbeat))
        for _ in range(rng.randrange(3)):
            pays.append((start_s + rng.uniform(0, LAST_S), name, rng.choice(["0.30", "0.70", "1.10"])))
    for what in rng.sample(SITE, rng.randrange(4)):
        holds.append(_hold(what, rng, start_s, "", heartbeat))
    for pair in PAIRS:
        if rng.random() < 0.25:
            wire = _hold("wire", rng, start_s, "", heartbeat)
            holds += [replace(wire, house=house.id) for house in houses if house.pair == pair]
    houses.append(House("rich", opening="900.00", pair="a"))
    return Schedule(seed, start_s, tuple(houses), tuple(holds), tuple(sorted(pays)), calendars, heartbeat)


STEPS = 'steps = [{name = "low", at = "low", channels = ["sms"]}, {name = "due", at = "exhausted", channels = ["sms"]}]'

SAID: dict[str, dict[str, object]] = {
    "silent": {"said": "(F1)"},
    "wire": {"said": "(F1)"},
    "path": {"said": "(F2)"},
    "broker": {"forbids": False},
    "clock": {"said": "(F3)"},
    "jump": {"said": "(F3)"},
    "disk": {"finding": "disk_low"},
    "log": {"said": "audit log"},
    "stop": {"said": "cuts are stopped"},
    "restart": {},
    "protect": {"said": "supply protect is on"},
    "never_cut": {"said": "flagged never to be cut"},
    "phone": {"said": "notice", "forbids": False},
}


def _hold(what: str, rng: Random, start_s: float, house: str, heartbeat: bool) -> Hold:
    begin = start_s + rng.uniform(0, LAST_S)
    lasts = rng.uniform(20, 300) if what == "restart" else rng.uniform(60, 3600)
    after = 600.0 if what == "path" and heartbeat else 900.0 if what in ("silent", "wire") else 0.0
    return Hold(what, begin, begin + lasts, house, after=after, **SAID[what])  # type: ignore[arg-type]
