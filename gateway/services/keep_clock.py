"""The meters' clocks: looked at once a day, told the time where they are off, and called faulty where that does not help."""

from __future__ import annotations

from gateway.domain.clocks import (
    ClockState,
    MeterClock,
    Remedy,
    blocked,
    calm,
    is_off,
    local_time,
    look_due_ms,
    looked,
    may_write,
    missed,
    refused,
    remedy,
    told,
    we_are_off,
)
from gateway.domain.events import EventKind, Json
from gateway.domain.jobs import Answered, ClockJob, ClockReadJob, ClockSeen, ClockSetJob, Failed, Fault, Outcome
from gateway.services import announce
from gateway.services.ports import Site, Tx
from gateway.services.run_command import refused_passwords

CLOCKED = frozenset({"dlt645-2007"})
"""Protocols whose meters have a clock that we can read and set."""

MOST_LOOKS = 8
MOST_WRITES = 2
"""Jobs of each kind given out at once; the line asks again within a minute, and a thousand meters then take two hours."""

_TO_BE_SET = (ClockState.OFF, ClockState.FAULT)

Work = ClockReadJob | ClockSetJob | ClockJob


def due_clock(tx: Tx, line: str, site: Site, now_ms: int) -> list[Work]:
    """What is to be done now about the clocks of a line's meters, most pressing first; changes nothing.

    Nothing while our own clock is not vouched for (F3), except the looks by which the meters may vouch for it. Nobody is told the
    time near midnight or the full hour, nor while the meters agree that it is ours that is wrong.
    """
    may_tell = site.clock_trusted and site.keep_clocks
    if not may_tell and not site.ask_clocks:
        return []
    zone = site.meter_zone
    clocks = _clocks(tx, line)
    looks = sorted(((look_due_ms(clock, zone), clock) for clock in clocks), key=lambda look: look[0])
    due = [clock for due_ms, clock in looks if due_ms <= now_ms]
    told_ones = [ClockReadJob(c.meter) for c in due if c.state is ClockState.SENT][:MOST_LOOKS]
    daily = [ClockReadJob(c.meter) for c in due if c.state is not ClockState.SENT][:MOST_LOOKS]
    if not may_tell or _we_are_off(clocks):
        return [*told_ones, *daily]
    off = [(clock, remedy(clock, now_ms)) for clock in clocks if clock.state in _TO_BE_SET]
    writes = [ClockSetJob(c.meter) for c, how in off if how is Remedy.WRITE and _may_write(tx, c, zone, now_ms)][:MOST_WRITES]
    wanted = any(how is Remedy.BROADCAST for _, how in off)
    broadcast = [ClockJob(line)] if wanted and _may_broadcast(tx, line, zone, now_ms) else []
    return [*told_ones, *writes, *broadcast, *daily]


def record_clock(tx: Tx, job: Work, outcome: Outcome, site: Site, now_ms: int) -> None:
    """Write down what came of it. A meter that did not answer is only asked again later: housekeeping is no fault of a meter's.

    Events: `clock_off` when a clock is first seen off, `clock_set` when it was told the time and is seen right, `clock_right` when
    it came right by itself, `clock_fault` when nothing helps.
    """
    if isinstance(job, ClockJob):
        _broadcast(tx, job.line, outcome, site, now_ms)
        return
    before = tx.clock(job.meter) or MeterClock(job.meter)
    if isinstance(job, ClockSetJob):
        _written(tx, before, outcome, now_ms)
    elif isinstance(outcome, Answered) and outcome.clock is not None:
        _seen(tx, before, outcome.clock, now_ms)
        _judge_ours(tx, before.meter, now_ms)
    else:
        tx.save_clock(missed(before, now_ms))


def _clocks(tx: Tx, line: str) -> list[MeterClock]:
    known = {clock.meter: clock for clock in tx.clocks(line)}
    return [known.get(m.id) or MeterClock(m.id) for m in tx.meters_on(line) if m.protocol in CLOCKED]


def _may_write(tx: Tx, clock: MeterClock, zone: str, now_ms: int) -> bool:
    """Of the two refused passwords of a day, housekeeping spends none when one is spent already: the last is for the switch."""
    calm_enough = clock.seen is not None and may_write(clock.seen, now_ms, zone)
    return calm_enough and refused_passwords(tx, clock.meter, now_ms) == 0


def _may_broadcast(tx: Tx, line: str, zone: str, now_ms: int) -> bool:
    """Once a day: a meter obeys no second one."""
    local, last = local_time(now_ms, zone), tx.meta(_last_broadcast(line))
    return calm(local) and (last is None or local_time(int(last), zone).date() != local.date())


def _last_broadcast(line: str) -> str:
    return f"clock_broadcast:{line}"


def _broadcast(tx: Tx, line: str, outcome: Outcome, site: Site, now_ms: int) -> None:
    if isinstance(outcome, Failed) and outcome.certain:
        return
    tx.set_meta(_last_broadcast(line), str(now_ms))
    for clock in _clocks(tx, line):
        if clock.state in _TO_BE_SET and remedy(clock, now_ms) is Remedy.BROADCAST:
            tx.save_clock(told(clock, Remedy.BROADCAST, now_ms))


def _written(tx: Tx, before: MeterClock, outcome: Outcome, now_ms: int) -> None:
    """An answer proves neither yes nor no (prepayment.md c2): the clock is read again. Only what was never sent is known."""
    if isinstance(outcome, Answered) and outcome.clock is not None:  # it was looked at first, and found right
        _seen(tx, before, outcome.clock, now_ms)
        return
    if isinstance(outcome, Failed) and outcome.certain:
        if outcome.fault is Fault.REFUSED:
            tx.save_clock(blocked(before, now_ms))
            _fault(tx, before, outcome.text, now_ms)
        else:
            tx.save_clock(missed(before, now_ms))
        return
    after = told(before, Remedy.WRITE, now_ms)
    if isinstance(outcome, Failed) and outcome.fault is Fault.REFUSED:
        after = blocked(refused(after, now_ms) if "password" in outcome.text else after, now_ms)
        _fault(tx, before, f"it refused to be set: {outcome.text}", now_ms)
    tx.save_clock(after)


def _seen(tx: Tx, before: MeterClock, seen: ClockSeen, now_ms: int) -> None:
    after = looked(before, seen)
    tx.save_clock(after)
    if after.state is before.state:
        return
    meter = before.meter
    if after.state is ClockState.FAULT:
        _fault(tx, before, "it is off again after what may be done in a month", now_ms, seen)
    elif after.state is ClockState.OFF and before.state is not ClockState.SENT:
        _tell(tx, EventKind.CLOCK_OFF, meter, seen, now_ms, {"remedy": remedy(after, now_ms).value})
    elif after.state is ClockState.RIGHT and before.sent is not None:
        _tell(tx, EventKind.CLOCK_SET, meter, seen, now_ms, {"was_ms": before.off_ms, "by": before.sent.value})
    elif after.state is ClockState.RIGHT and before.state is not ClockState.UNSEEN:
        _tell(tx, EventKind.CLOCK_RIGHT, meter, seen, now_ms, {})


def _fault(tx: Tx, before: MeterClock, text: str, now_ms: int, seen: ClockSeen | None = None) -> None:
    if before.state is not ClockState.FAULT:
        _tell(tx, EventKind.CLOCK_FAULT, before.meter, seen or before.seen, now_ms, {"text": text})


def _tell(tx: Tx, kind: EventKind, meter: str, seen: ClockSeen | None, now_ms: int, more: dict[str, Json]) -> None:
    """seen: how far off the clock was at the last look."""
    account = found.account if (found := tx.meter(meter)) else None
    if seen is not None:
        more = {"offset_ms": seen.offset_ms, "within_ms": seen.within_ms, **more}
    announce.event(tx, kind, now_ms, meter=meter, account=account, **more)


def _we_are_off(clocks: list[MeterClock]) -> bool:
    return we_are_off([clock.seen for clock in clocks if clock.seen is not None])


def _judge_ours(tx: Tx, meter_id: str, now_ms: int) -> None:
    """One event when the meters of a line begin to agree that our time or zone is wrong."""
    meter = tx.meter(meter_id)
    if meter is None:
        return
    clocks, key = _clocks(tx, meter.line), f"clock_outvoted:{meter.line}"
    outvoted, known = _we_are_off(clocks), tx.meta(key) == "yes"
    if outvoted is known:
        return
    tx.set_meta(key, "yes" if outvoted else "no")
    if outvoted:
        off = sum(clock.seen is not None and is_off(clock.seen) for clock in clocks)
        text = f"{off} meters of line {meter.line} agree on another time: ours or our zone is wrong, and none of them is set"
        announce.event(tx, EventKind.CLOCK_FAULT, now_ms, line=meter.line, text=text)
