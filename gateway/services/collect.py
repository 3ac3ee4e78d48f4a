"""What is missing is asked of the meters' own memories, and what came of it is written down.

One HistoryJob is one exchange. An answer that brings nothing at all is a step on the way: the same job is due again at once, and
the link goes on where it was. What a meter says it has not is asked for again until its window is over, and never comes when it
then says so twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from zoneinfo import ZoneInfo

from gateway.domain.events import EventKind, Json
from gateway.domain.jobs import Answered, Failed, Fault, HistoryJob, Outcome, Want
from gateway.domain.readings import TOTAL, Quality, Reading, Source
from gateway.domain.records import StoredReading
from gateway.domain.schemes import Slot, SlotState, Tally
from gateway.domain.slots import DAY_MS, GRAIN_MS, HOUR_MS, PAUSE_MS, day_of, pause_ms, run_from
from gateway.services import announce
from gateway.services.correct_estimate import price_again
from gateway.services.keep_history import doubtful, record_event, record_past
from gateway.services.open_slots import counted
from gateway.services.ports import Site, Tx
from gateway.services.record_reading import record_reading

ORDER = (Want.DAY, Want.MONTH, Want.EVENTS, Want.CURVE)
"""What is asked for first where schemes say nothing else: little that is worth much before much."""

TOGETHER = {Want.DAY: 1, Want.MONTH: 1, Want.CURVE: 6, Want.EVENTS: 1_000}
"""Slots of one job. Six records of a curve's energies fill one frame (dlt645.md 8.7), which bounds how long a cut may wait; one
look at the events serves for all that is owed."""

GAP_MS = {Want.DAY: 0, Want.MONTH: 0, Want.CURVE: HOUR_MS, Want.EVENTS: 1_000 * DAY_MS}
"""Slots farther apart are asked for one by one; what lies between them would be read for nothing."""

NOT_ASKED_MS = PAUSE_MS // 2
"""Until a question that never reached the meter is put again; it counts as no try."""

NEIGHBOUR_MS = {Want.DAY: 2 * DAY_MS, Want.MONTH: 62 * DAY_MS, Want.CURVE: 2 * HOUR_MS, Want.EVENTS: DAY_MS}
"""Where the moments next to another one lie."""

POLLS_LOOKED_AT = 500
"""Readings of a meter looked through for one that stands in for a freeze: six hours of more than a poll a minute."""

MOST_SLOTS = 1_000
"""Of one job, whatever its range."""


def due_history(tx: Tx, line: str, now_ms: int, limit: int) -> Sequence[HistoryJob]:
    """What this line has to fetch now, at most so many jobs, in the order in which it should. Reads only."""
    jobs: list[HistoryJob] = []
    order = _order(tx)
    for late in (False, True):
        for want in order:
            if len(jobs) < limit:
                jobs += _jobs(tx, line, want, now_ms, limit - len(jobs), late=late)
    return jobs


def record_history(tx: Tx, job: HistoryJob, outcome: Outcome, site: Site, now_ms: int) -> None:
    """Write down what a job brought, or plan when it is asked for again."""
    slots = [s for s in tx.slots(job.meter, job.want, job.from_ms, job.to_ms, MOST_SLOTS) if s.state is SlotState.EXPECTED]
    keeper = _Keeper(tx, job, site, now_ms)
    if isinstance(outcome, Failed):
        keeper.failed(slots, outcome)
        return
    for record in outcome.records:
        record_event(tx, record, now_ms)
    if outcome.reading is not None:
        record_reading(tx, outcome.reading, outcome.switch, site, now_ms)
        keeper.live(slots, outcome.reading)
    if outcome.history:
        keeper.past(slots, outcome)
    if any(slot.tries for slot in slots) and (outcome.history or outcome.reading is not None):
        tx.wake_slots(job.meter, now_ms)


def miss_live(tx: Tx, site: Site, now_ms: int, limit: int) -> int:
    """Settle what only a live reading within its window could have brought: by one of the polls, or never; how many."""
    missed = tx.missed_live(now_ms, limit)
    lost: list[Slot] = []
    for slot in sorted(missed, key=lambda slot: (slot.meter, slot.want, slot.at_ms)):
        polled = _polled(tx, slot)
        if polled is None:
            lost.append(slot)
        else:
            keeper = _Keeper(tx, HistoryJob(slot.meter, slot.want, slot.at_ms, slot.at_ms), site, polled.stored_ms)
            keeper.live([slot], polled.reading)
    give_up(tx, lost, "it answered no live reading within the window, and it keeps none itself", site, now_ms)
    return len(missed)


def give_up(tx: Tx, slots: Iterable[Slot], why: str, site: Site, now_ms: int) -> None:
    """These values will never come: one event where a gap of a meter begins. The slots are in the order of meter and want."""
    zone = ZoneInfo(site.meter_zone)
    for (meter, want), group in groupby(slots, key=lambda slot: (slot.meter, slot.want)):
        lost = list(group)
        told = _in_a_gap(tx, lost[0])
        for slot in lost:
            tx.save_slot(replace(slot, state=SlotState.UNAVAILABLE))
            if counted(slot, now_ms):
                tx.add_tally(day_of(slot.at_ms, zone), slot.scheme, slot.line, Tally(unavailable=1))
        if told:
            continue
        known = tx.meter(meter)
        data: dict[str, Json] = {"want": want.value, "from_ms": lost[0].at_ms, "to_ms": lost[-1].at_ms, "count": len(lost)}
        account = known.account if known else None
        announce.event(tx, EventKind.HISTORY_UNAVAILABLE, now_ms, meter=meter, account=account, **data, text=why)


def _in_a_gap(tx: Tx, slot: Slot) -> bool:
    """Whether the moment before this one, or after it, is lost already: a gap is told once, not every hour."""
    reach_ms = NEIGHBOUR_MS[slot.want]
    before = tx.slots(slot.meter, slot.want, slot.at_ms - reach_ms, slot.at_ms - 1, MOST_SLOTS)[-1:]
    after = tx.slots(slot.meter, slot.want, slot.at_ms + 1, slot.at_ms + reach_ms, 1)
    return any(neighbour.state is SlotState.UNAVAILABLE for neighbour in (*before, *after))


def _polled(tx: Tx, slot: Slot) -> StoredReading | None:
    """The first reading of the register that the polls brought in this slot's window."""
    for stored in tx.readings(slot.meter, slot.at_ms, POLLS_LOOKED_AT):
        read = stored.reading
        in_window = read.source is Source.LIVE and read.answered_ms <= slot.late_ms
        if in_window and any(item.quantity == TOTAL and item.value is not None for item in read.items):
            return stored
    return None


def _order(tx: Tx) -> Sequence[Want]:
    priorities = tx.wanted()
    return sorted((want for want in ORDER if want in priorities), key=lambda want: priorities[want])


def _jobs(tx: Tx, line: str, want: Want, now_ms: int, limit: int, *, late: bool) -> Iterator[HistoryJob]:
    for slot in tx.due_slots(line, want, now_ms, limit, late=late):
        run = _run(tx, slot, now_ms)
        yield HistoryJob(slot.meter, want, run[0].at_ms, run[-1].at_ms, backfill=late)


def _run(tx: Tx, first: Slot, now_ms: int) -> Sequence[Slot]:
    """The slots that one question may bring together with this one."""
    most = TOGETHER[first.want]
    if first.want is Want.CURVE:  # the shorter an answer, the likelier it comes whole
        most = max(most >> first.tries, 1)
    if most == 1:
        return [first]
    found = tx.slots(first.meter, first.want, first.at_ms, first.at_ms + most * GAP_MS[first.want], 2 * most)
    late = first.late_ms < now_ms
    due = {s.at_ms: s for s in found if s.state is SlotState.EXPECTED and s.next_ms <= now_ms and (s.late_ms < now_ms) == late}
    return [due[at_ms] for at_ms in run_from([*due], GAP_MS[first.want], most)]


class _Keeper:
    """Settles the slots of one job."""

    def __init__(self, tx: Tx, job: HistoryJob, site: Site, now_ms: int) -> None:
        self._tx, self._job, self._site, self._now_ms = tx, job, site, now_ms
        self._zone = ZoneInfo(site.meter_zone)

    def failed(self, slots: Sequence[Slot], failure: Failed) -> None:
        """A meter that has not what was asked for is believed about the first moment; the others are asked for by themselves."""
        if failure.fault is Fault.REQUEST or (failure.fault is Fault.REFUSED and not failure.certain):
            self._not_there(slots[:1], failure.text)
        elif failure.certain or failure.fault is Fault.LINE_DOWN:
            for slot in slots:
                self._tx.save_slot(replace(slot, next_ms=self._now_ms + NOT_ASKED_MS))
        else:
            self._again(slots, heard=failure.fault is Fault.GARBLED)

    def live(self, slots: Sequence[Slot], reading: Reading) -> None:
        """A live reading stands in for a freeze within its window; one at the end of a look at the events closes that look."""
        for slot in slots:
            if slot.want is Want.EVENTS or (slot.source is Source.LIVE and slot.at_ms <= reading.answered_ms <= slot.late_ms):
                self._read(slot, Source.LIVE, Quality.SINGLE)

    def past(self, slots: Sequence[Slot], outcome: Answered) -> None:
        """Values of the past fill the slots of their own moments; a hole between them is a hole in the meter's memory."""
        doubted = doubtful(self._tx, self._job.meter, outcome.history)
        for reading in outcome.history:
            waiting = [slot for slot in self._at(reading.at_ms) if slot.state is SlotState.EXPECTED]
            if waiting:
                quality = record_past(self._tx, reading, self._now_ms, doubted=reading.at_ms in doubted)
                if quality is Quality.CONFIRMED:
                    price_again(self._tx, reading, self._site, self._now_ms)
                self._kept(waiting, reading.source, quality)
        brought = {reading.at_ms for reading in outcome.history}
        missing = [slot for slot in slots if slot.at_ms not in brought]
        self._not_there([slot for slot in missing if slot.at_ms < max(brought)], "its memory has a hole there", sure=True)
        self._again([slot for slot in missing if slot.at_ms > max(brought)], step=True)

    def _kept(self, waiting: Sequence[Slot], source: Source, quality: Quality) -> None:
        """A freeze that nothing else speaks for is asked for once more; a suspect value until another answer agrees with it."""
        for slot in waiting:
            if quality is Quality.SINGLE and source is Source.FREEZE:
                self._tx.save_slot(replace(slot, quality=quality))
            elif quality is Quality.SUSPECT:
                self._again([slot])
            else:
                self._read(slot, source, quality)

    def _at(self, at_ms: int) -> list[Slot]:
        """The freeze of the 1st is the day's and the month's."""
        wants = (self._job.want,) if self._job.want is Want.CURVE else (Want.DAY, Want.MONTH)
        return [slot for want in wants for slot in self._tx.slots(self._job.meter, want, at_ms, at_ms, 1)]

    def _read(self, slot: Slot, source: Source, quality: Quality) -> None:
        done = replace(slot, state=SlotState.READ, source=source, quality=quality, read_ms=self._now_ms)
        self._tx.save_slot(done)
        self._tally(slot, Tally(read=1, in_time=int(self._now_ms <= slot.late_ms)))

    def _not_there(self, slots: Sequence[Slot], why: str, *, sure: bool = False) -> None:
        """Believed the second time, for a garbled question or answer may say so too; the slot is marked meanwhile."""
        over = [slot for slot in slots if sure or self._now_ms > slot.late_ms]
        self._again([slot for slot in slots if slot not in over])
        for slot in over:
            if slot.quality is None:
                self._tx.save_slot(replace(slot, quality=Quality.SUSPECT))
            elif slot.quality is Quality.SINGLE:
                self._read(slot, Source.FREEZE, Quality.SINGLE)
        give_up(self._tx, [slot for slot in over if slot.quality is Quality.SUSPECT], why, self._site, self._now_ms)

    def _again(self, slots: Sequence[Slot], *, step: bool = False, heard: bool = False) -> None:
        """step: something did come, so that what is left is asked for soon and it counts as no try if it is not the newest.
        heard: the line garbled an answer: the meter would give it, so that the pauses begin anew."""
        for slot in slots:
            if step and self._now_ms - slot.at_ms > GRAIN_MS and not slot.tries:
                self._tx.save_slot(replace(slot, tries=1))
                continue
            late, tries = self._now_ms > slot.late_ms, 1 if heard else slot.tries + 1
            next_ms = self._now_ms + pause_ms(tries, slot.retries, late, heard)
            self._tx.save_slot(replace(slot, tries=tries, next_ms=next_ms))

    def _tally(self, slot: Slot, tally: Tally) -> None:
        if counted(slot, self._now_ms):
            self._tx.add_tally(day_of(slot.at_ms, self._zone), slot.scheme, slot.line, tally)
