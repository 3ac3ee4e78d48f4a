"""F3 in the store: what speaks for our clock outlives a restart, a jump voids it, and the finding begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.domain.clocks import ClockState, MeterClock
from gateway.domain.findings import FindingKind
from gateway.domain.jobs import ClockReadJob, ClockSeen
from gateway.domain.trusted_time import SETTLE_MS, Look, TimeSource, TimeTerms
from gateway.services.keep_clock import due_clock
from gateway.services.trust_clock import ClockLook, heard_time, look_at_clock, recall, record_clock_look, worth_recording
from tests.gateway.services.house import House, meter

S, HOUR, DAY = 1000, 3_600_000, 86_400_000
STEADY = 40 * HOUR


def terms(*sources: str) -> TimeTerms:
    return TimeTerms(tuple(TimeSource(name) for name in sources))


class Machine:
    """A house on a machine whose clocks can be set."""

    def __init__(self, house: House, *sources: str) -> None:
        self.house, self.terms = house, terms(*sources)
        self.now = Look(house.now_ms, STEADY, "boot-1")

    def later(self, ms: int, *, jump: int = 0, **changes: object) -> Machine:
        self.now = replace(self.now, wall_ms=self.now.wall_ms + ms + jump, steady_ms=(self.now.steady_ms or 0) + ms, **changes)  # type: ignore[arg-type]
        self.house.now_ms = self.now.wall_ms
        return self

    def look(self) -> ClockLook:
        """One look, as the loop takes it; what it leaves behind needs no second one."""
        seen = self.house.do(lambda tx: look_at_clock(tx, self.terms, self.now))
        if self.house.do(lambda tx: worth_recording(tx, seen)):
            self.house.do(lambda tx: record_clock_look(tx, seen, self.house.now_ms))
        again = self.house.do(lambda tx: look_at_clock(tx, self.terms, self.now))
        assert not self.house.do(lambda tx: worth_recording(tx, again))
        return seen

    def by(self) -> str | None:
        source = self.look().verdict.by
        return None if source is None else source.value

    def stands(self) -> bool:
        return self.house.do(lambda tx: tx.finding(FindingKind.CLOCK_NOT_TRUSTED, "gateway")) is not None

    def hear(self, ahead_ms: int = 0) -> bool:
        site = replace(self.house.site, boot=self.now.boot, steady_ms=self.now.steady_ms)
        return self.house.do(lambda tx: heard_time(tx, self.now.wall_ms + ahead_ms, site, self.now.wall_ms))

    def told(self) -> list[str]:
        return [event.kind.value for event in self.house.events() if event.meter is None]


def test_the_finding_begins_and_ends_with_the_kernels_word(house: House) -> None:
    machine = Machine(house, "ntp")
    assert machine.by() is None and machine.stands()
    found = house.do(lambda tx: tx.finding(FindingKind.CLOCK_NOT_TRUSTED, "gateway"))
    assert found is not None and found.text == (
        "nobody vouches for our clock: ntp: the kernel says that no time server keeps the clock"
    )
    assert machine.later(HOUR, synchronised=True).by() == "ntp" and not machine.stands()
    assert machine.told() == ["finding_opened", "finding_closed"]


def test_a_jump_is_told_holds_until_a_source_vouches_anew_and_ends(house: House) -> None:
    machine = Machine(house, "ntp").later(0, synchronised=True)
    assert machine.by() == "ntp"
    assert machine.later(HOUR, jump=-DAY).by() is None and machine.stands()
    assert machine.later(SETTLE_MS - 1).by() is None
    assert machine.later(1).by() == "ntp" and not machine.stands()
    jump, *finding = house.events()
    assert (jump.kind.value, jump.data["text"]) == ("clock_fault", "our clock was set by -86400 s")
    assert [event.kind.value for event in finding] == ["finding_opened", "finding_closed"]


def test_a_jump_while_nobody_looked_is_seen_after_the_restart_and_another_boot_is_none(house: House) -> None:
    machine = Machine(house, "ntp").later(0, synchronised=True)
    assert machine.by() == "ntp"
    other = Machine(house, "ntp")
    other.now = machine.later(HOUR, jump=HOUR).now
    assert other.by() is None, "the process is another one, the machine is not"
    assert other.later(HOUR, boot="boot-2").by() == "ntp"
    assert machine.told().count("clock_fault") == 1


def test_the_centres_time_vouches_for_a_day_across_a_restart_but_not_across_a_boot(house: House) -> None:
    machine = Machine(house, "uplink")
    assert machine.by() is None
    assert machine.hear(ahead_ms=900) and machine.by() == "uplink"
    assert machine.later(DAY).by() == "uplink"
    assert machine.later(1).by() is None
    assert machine.hear() and machine.by() == "uplink"
    assert machine.later(HOUR, boot="boot-2").by() is None


@pytest.mark.parametrize(("ahead_ms", "after"), [(-61 * S, "uplink"), (61 * S, None), (10 * DAY, None)])
def test_an_old_message_proves_nothing_and_one_from_the_future_that_we_are_behind(
    house: House, ahead_ms: int, after: str | None
) -> None:
    machine = Machine(house, "uplink")
    assert machine.hear() and machine.by() == "uplink"
    assert not machine.hear(ahead_ms) and machine.by() == after


def test_without_a_steady_clock_the_centres_time_has_no_age(house: House) -> None:
    machine = Machine(house, "uplink")
    machine.now = replace(machine.now, steady_ms=None)
    assert not machine.hear() and machine.by() is None


def crowd(house: House, offsets_ms: Sequence[int]) -> None:
    house.settle(*(meter(f"m{n}") for n in range(len(offsets_ms))))
    for n, offset_ms in enumerate(offsets_ms):
        seen = ClockSeen(offset_ms, 500, house.now_ms)
        house.do(lambda tx, n=n, seen=seen: tx.save_clock(MeterClock(f"m{n}", ClockState.RIGHT, seen)))  # type: ignore[misc]


def test_five_meters_vouch_until_our_clock_is_set_and_are_then_looked_at_anew(house: House) -> None:
    machine = Machine(house, "meters")
    assert machine.by() is None and machine.stands()
    crowd(house, [0, 200, -300, 100, 0])
    assert machine.by() == "meters" and not machine.stands()
    assert machine.later(30 * HOUR).by() == "meters", "one look a day, and one may fail"
    assert machine.later(7 * HOUR).by() is None
    crowd(house, [0, 200, -300, 100, 0])
    assert machine.by() == "meters"
    assert machine.later(HOUR, jump=3 * HOUR).by() is None
    assert machine.later(HOUR, jump=-3 * HOUR).by() is None, "what was measured before is forgotten, also when it is set back"
    assert house.do(lambda tx: [clock.seen for clock in tx.clocks("bus-1")]) == [None] * 5
    site = replace(house.site, clock_trusted=False, ask_clocks=True)
    jobs = house.do(lambda tx: due_clock(tx, "bus-1", site, house.now_ms))
    assert sorted(job.meter for job in jobs if isinstance(job, ClockReadJob)) == ["m0", "m1", "m2", "m3", "m4"]
    crowd(house, [0, 200, -300, 100, 0])
    assert machine.by() == "meters"


def test_meters_that_vouch_are_looked_at_and_never_set(house: House) -> None:
    """Else they would take over our drift, and agree with it."""
    crowd(house, [0, 0, 0, 0, 0, 40_000])
    off = MeterClock("m5", ClockState.OFF, ClockSeen(40_000, 500, house.now_ms))
    house.do(lambda tx: tx.save_clock(off))
    house.later(hours=30, minutes=7)
    told = {job.__class__.__name__ for job in house.do(lambda tx: due_clock(tx, "bus-1", house.site, house.now_ms))}
    assert told - {"ClockReadJob"}, "a clock that is trusted by others tells the time"
    site = replace(house.site, keep_clocks=False, ask_clocks=True)
    looks = house.do(lambda tx: due_clock(tx, "bus-1", site, house.now_ms))
    assert looks and {job.__class__.__name__ for job in looks} == {"ClockReadJob"}
    assert house.do(lambda tx: due_clock(tx, "bus-1", replace(site, ask_clocks=False), house.now_ms)) == []


def test_the_meters_are_only_looked_up_where_they_are_asked(house: House) -> None:
    crowd(house, [0, 0, 0, 0, 0])
    assert house.do(lambda tx: recall(tx, terms("ntp"))).meters == ()
    assert len(house.do(lambda tx: recall(tx, terms("ntp", "meters"))).meters) == 5
    machine = Machine(house, "ntp")
    machine.look()
    machine.later(HOUR, boot="boot-2").look()
    assert len(house.do(lambda tx: recall(tx, terms("meters"))).meters) == 5, "a start alone costs no look where nobody asks them"


def test_a_hardware_clock_is_proved_by_a_time_server_and_carries_on_alone(house: House) -> None:
    machine = Machine(house, "ntp", "rtc")
    machine.now = replace(machine.now, synchronised=True, rtc_ms=machine.now.wall_ms)
    assert machine.by() == "ntp"
    rebooted = machine.later(HOUR, synchronised=False, boot="boot-2")
    rebooted.now = replace(rebooted.now, rtc_ms=rebooted.now.wall_ms)
    assert rebooted.by() == "rtc"
    rebooted.later(40 * DAY)
    rebooted.now = replace(rebooted.now, rtc_ms=rebooted.now.wall_ms)
    assert rebooted.by() is None, "beyond its drift"
