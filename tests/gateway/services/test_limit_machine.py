"""Limits against an independent model, which keeps what was read and ordered and works out from all of it who should be dark.

The model knows neither phases nor memory; over, gaps, recloses and lock-outs are found by looking back over the readings.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from math import hypot
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from gateway.domain.limits import LoadLimit
from gateway.domain.load_caps import Cap, CapTable, MonthCap
from gateway.domain.malignant_load import MalignantMode, MalignantRule, Permitted, PowerWindow
from gateway.domain.meters import Contact
from gateway.domain.readings import Item, Reading
from gateway.services.record_reading import record_reading
from gateway.services.release_limit import release
from gateway.services.watch_limits import prime_limits, watch_limit
from tests.gateway.services.house import FLAT, House, account
from tests.gateway.services.memory_tx import MemoryStore

ZONE = "Europe/Berlin"
START_MS = round(datetime(2026, 10, 24, 20, 50, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
"""The evening before the clocks are put back; the month ends a week later."""

STALE_MS, DELAY_MS, PAUSE_MS, RECLOSES, FORGET_MS, LOCKOUT_MS = 180_000, 60_000, 120_000, 2, 3_600_000, 1_800_000
BASE_W, MONTH_KWH, MONTH_W = 3000, 20, 700
DAY_CAPS = {"work": [(0, 600), (2 * 60 + 30, 900), (6 * 60, 2000), (22 * 60, 600)], "rest": [(0, 1000), (9 * 60, 2500)]}
RESTORE_MS, RESTORES = 60_000, 1

CAPS = CapTable("plan 7", *(tuple(Cap(minute, watts) for minute, watts in DAY_CAPS[kind]) for kind in ("work", "rest")), zone=ZONE)
HEATERS = MalignantRule(MalignantMode.TRIP, (PowerWindow(300, 2500),), 950, (Permitted("kettle", 1500, 100),), RESTORE_MS, RESTORES)
LIMIT = LoadLimit(
    *(BASE_W, DELAY_MS, PAUSE_MS, RECLOSES, FORGET_MS),
    lockout_ms=LOCKOUT_MS,
    caps=CAPS,
    month=MonthCap(MONTH_KWH * 1000, "plan 7", MONTH_W),
    malignant=HEATERS,
)


@dataclass
class Model:
    """What happened. looks: (ms, W, allowed W) of every reading since supply was last on; dark: why it is off, since when."""

    looks: list[tuple[int, int, int]] = field(default_factory=list)
    quiet_ms: int = START_MS
    spent: int = 0
    dark: str | None = None
    locked: bool = False
    dark_ms: int = 0
    month_wh: dict[str, int] = field(default_factory=dict)
    powers: tuple[int, int, int] | None = None
    restored: dict[str, int] = field(default_factory=dict)
    trip_day: str = ""
    malignant: bool = False

    def allowed_w(self, at_ms: int) -> int:
        wall = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(ZONE))
        caps = DAY_CAPS["rest" if wall.weekday() >= 5 else "work"]
        watts = next(watts for minute, watts in reversed(caps) if minute <= wall.hour * 60 + wall.minute)
        used = self.month_wh.get(f"{wall:%Y-%m}", 0) > MONTH_KWH * 1000
        return min(BASE_W, watts, MONTH_W if used else BASE_W)

    def over_since(self, at_ms: int, most_w: int | None = None) -> int:
        """Since when every look showed too much, none too far from the next: more than most_w, or than was allowed at its time."""
        begin_ms = after_ms = at_ms
        for then_ms, watts, may_w in reversed(self.looks):
            if watts <= (may_w if most_w is None else most_w) or abs(after_ms - then_ms) > STALE_MS:
                break
            begin_ms = after_ms = then_ms
        return begin_ms

    def permitted(self, cause: str, *, protected: bool, clock: bool) -> bool:
        return not protected and (clock or cause == "safety")

    def look(self, at_ms: int, watts: int, *, protected: bool, clock: bool) -> None:
        if self.dark:
            return
        may_w = self.allowed_w(at_ms)
        before = self.looks[-1] if self.looks else None
        self.looks.append((at_ms, watts, may_w))
        if watts <= may_w:
            if (before is not None and before[1] > before[2]) or (self.spent and at_ms < self.quiet_ms):
                self.quiet_ms = at_ms
            if self.spent and at_ms - self.quiet_ms >= FORGET_MS:
                self.spent, self.quiet_ms = 0, at_ms
            return
        if at_ms - self.over_since(at_ms) <= DELAY_MS:
            return
        cause = "safety" if at_ms - self.over_since(at_ms, BASE_W) > DELAY_MS else "contract_time_table"
        if self.permitted(cause, protected=protected, clock=clock):
            self.dark, self.locked, self.dark_ms = cause, self.spent >= RECLOSES, at_ms
            self.malignant = False

    def step(self, at_ms: int, watts: int, var: int, *, protected: bool) -> None:
        before, self.powers = self.powers, (at_ms, watts, var)
        if self.dark or before is None or not 0 <= at_ms - before[0] <= STALE_MS:
            return
        active, reactive = watts - before[1], var - before[2]
        if not 300 <= active <= 2500 or abs(active - 1500) <= 100 or active / hypot(active, reactive) < 0.95 or protected:
            return
        day = f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(ZONE)):%Y-%m-%d}"
        self.dark, self.dark_ms, self.malignant, self.trip_day = "safety", at_ms, True, day
        self.locked = self.restored.get(day, 0) >= RESTORES

    def time(self, now_ms: int) -> None:
        """The limiter's loop looks at the clock."""
        if self.dark is None or (self.locked and self.malignant):
            return
        if now_ms < self.dark_ms:
            self.dark_ms = now_ms
        wait_ms = LOCKOUT_MS if self.locked else RESTORE_MS if self.malignant else PAUSE_MS
        if now_ms - self.dark_ms < wait_ms:
            return
        if self.malignant:
            self.restored = {self.trip_day: self.restored.get(self.trip_day, 0) + 1}
        else:
            self.spent = 0 if self.locked else self.spent + 1
        self.light(now_ms)

    def light(self, now_ms: int) -> None:
        self.dark, self.locked, self.looks, self.quiet_ms = None, False, [], now_ms

    def withdrawn(self, now_ms: int) -> None:
        """The cut was not sent: an overload goes on from here."""
        cause, malignant = self.dark, self.malignant
        self.light(now_ms)
        if not malignant:
            self.looks = [(now_ms, BASE_W + 1 if cause == "safety" else BASE_W, BASE_W - 1)]


class Limits(RuleBasedStateMachine):
    """One house, its model, and the line that carries out what is ordered, sooner or later."""

    def __init__(self) -> None:
        super().__init__()
        self.house, self.model = House(MemoryStore(), START_MS), Model()
        self.house.site = replace(self.house.site, zone=ZONE, power_stale_ms=STALE_MS)
        tariff = replace(FLAT, id="berlin", zone=ZONE)
        self.house.settle(accounts=[account(limit=LIMIT, tariff="berlin")], balance="10000", tariffs=[tariff])
        self.house.block(total="0.00")
        self.kwh, self.last_ms = 0, START_MS

    @property
    def protected(self) -> bool:
        return self.house.account().protected(self.house.now_ms)

    def shows(self, **items: str) -> None:
        units = {"power": "kW", "reactive_power": "kvar"}
        found = tuple(Item(name, Decimal(value), units[name]) for name, value in items.items())
        reading = Reading("m1", found, self.house.now_ms - 100, self.house.now_ms)
        self.house.do(lambda tx: record_reading(tx, reading, None, self.house.site, self.house.now_ms))

    @rule(
        watts=st.sampled_from([100, 550, 650, 800, 950, 1500, 2100, 2900, 3100, 5000]), s=st.sampled_from([1, 20, 59, 61, 179, 181])
    )
    def reads(self, watts: int, s: int) -> None:
        self.house.later(s=s)
        self.shows(power=f"{watts / 1000:.3f}")
        self.model.look(self.house.now_ms, watts, protected=self.protected, clock=self.house.site.clock_trusted)

    @rule(watts=st.sampled_from([650, 2100, 3100, 5000]), times=st.integers(2, 12))
    def overloads(self, watts: int, times: int) -> None:
        for _ in range(times):
            self.reads(watts, 20)

    @rule(
        watts=st.sampled_from([100, 400, 900]),
        step_w=st.sampled_from([200, 310, 900, 1350, 1500, 1650, 2450, 2600]),
        var=st.sampled_from([0, 50, 400, -400, 1600]),
        s=st.sampled_from([1, 60, 200]),
    )
    def switches_on(self, watts: int, step_w: int, var: int, s: int) -> None:
        for at_w, at_var in ((watts, 20), (watts + step_w, 20 + var)):
            self.house.later(s=s)
            self.shows(power=f"{at_w / 1000:.3f}", reactive_power=f"{at_var / 1000:.3f}")
            protected, clock = self.protected, self.house.site.clock_trusted
            self.model.step(self.house.now_ms, at_w, at_var, protected=protected)
            self.model.look(self.house.now_ms, at_w, protected=protected, clock=clock)

    @rule(s=st.sampled_from([5, 60, 121, 600, 1801, 3601, 4 * 3600]))
    def waits(self, s: int) -> None:
        self.house.later(s=s)
        self.ticks()

    @rule(days=st.integers(1, 4))
    def days_go_by(self, days: int) -> None:
        self.house.later(hours=24 * days)
        self.ticks()

    @rule(s=st.sampled_from([3, 120, 7200, 86_400]))
    def clock_goes_back(self, s: int) -> None:
        self.house.later(s=-s)
        assert self.house.do(lambda tx: prime_limits(tx, "", 9, self.house.now_ms)) is None
        self.model.time(self.house.now_ms) if self.model.dark and self.house.now_ms < self.model.dark_ms else None
        self.ticks()

    @rule()
    def ticks(self) -> None:
        for who in self.house.do(lambda tx: tx.limits_due(self.house.now_ms, 9)):
            self.house.do(lambda tx, who=who: watch_limit(tx, who, self.house.site, self.house.now_ms))  # type: ignore[misc]
        self.model.time(self.house.now_ms)

    @rule(s=st.sampled_from([1, 30, 300]))
    def line_works(self, s: int) -> None:
        """What is ordered goes out and is read back; a cut may have lost its permission meanwhile."""
        for _ in range(4):
            waiting = [command for command in self.house.open() if command.state == "queued"]
            if not waiting:
                return
            self.house.later(s=s)
            cut = waiting[0].verb == "cut"
            job = self.house.start(waiting[0].id)
            if job is None:
                dead = waiting[0].expires_ms <= self.house.now_ms  # ordered anew as soon as it may be
                cause, protected, clock = self.model.dark, self.protected, self.house.site.clock_trusted
                if cut and not dead and cause and not self.model.permitted(cause, protected=protected, clock=clock):
                    self.model.withdrawn(self.house.now_ms)
                continue
            done = self.house.look(self.house.finish(job), Contact.OPEN if cut else Contact.CLOSED, power_w=0)
            if cut and done.state == "verified" and self.model.dark:
                self.model.dark_ms = self.house.now_ms

    @rule(on=st.booleans())
    def protect(self, on: bool) -> None:
        self.house.change(protect_until_ms=self.house.now_ms + 10**10 if on else None)

    @rule(trusted=st.booleans())
    def clock_source(self, trusted: bool) -> None:
        self.house.site = replace(self.house.site, clock_trusted=trusted)

    @precondition(lambda self: self.model.dark)
    @rule()
    def person_releases(self) -> None:
        why = self.house.do(lambda tx: release(tx, "A-1", "operator:li", "x", self.house.site, self.house.now_ms))
        assert why is None
        self.model.spent, self.model.restored = 0, {}
        self.model.light(self.house.now_ms)

    @rule(kwh=st.integers(1, 15))
    def uses(self, kwh: int) -> None:
        """A block at the register as it was, so that no energy lies across the month's end, and one behind it."""
        wall = datetime.fromtimestamp(self.house.now_ms / 1000, UTC).astimezone(ZoneInfo(ZONE))
        if self.house.now_ms <= self.last_ms or f"{wall:%d %H}" in ("31 23", "30 23"):
            return
        self.house.block(total=f"{self.kwh}.00", contact=None)
        if self.house.do(lambda tx: tx.billing("m1")).held is not None:  # it stood still below all that power
            return
        self.house.later(minutes=2)
        self.kwh += kwh
        self.house.block(total=f"{self.kwh}.00", contact=None)
        self.last_ms = self.house.now_ms
        month = f"{wall:%Y-%m}"
        self.model.month_wh[month] = self.model.month_wh.get(month, 0) + 1000 * kwh

    @invariant()
    def the_same_houses_are_dark(self) -> None:
        held = {reason for reason in self.house.meter().cut_reasons if reason.startswith("limit:")}
        wanted = {f"limit:{self.model.dark}"} if self.model.dark else set()
        state = self.house.account().limit_state
        assert (held, state.spent, state.phase == "locked") == (
            wanted,
            self.model.spent,
            bool(self.model.dark and self.model.locked),
        )


@pytest.mark.filterwarnings("ignore")
def test_the_limiter_does_what_the_model_says(proof_scale: int) -> None:
    run_state_machine_as_test(
        Limits,
        settings=settings(
            max_examples=40 * proof_scale,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
