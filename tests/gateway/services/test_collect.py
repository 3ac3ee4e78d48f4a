"""What is missing is asked for, what came is written down once under its own time, and what never comes is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar

import pytest

from gateway.adapters.timetable import next_fire
from gateway.domain.events import Event, EventKind, Topic
from gateway.domain.jobs import Answered, EventRecord, Failed, Fault, HistoryJob, Want
from gateway.domain.meters import SwitchKind
from gateway.domain.readings import Item, Quality, Reading, Source
from gateway.domain.records import StoredReading
from gateway.domain.schemes import Scheme, Slot, SlotState, Tally
from gateway.domain.slots import HOUR_MS, MINUTE_MS
from gateway.services.collect import due_history, miss_live, record_history
from gateway.services.completeness import judge_days
from gateway.services.keep_history import record_past
from gateway.services.open_slots import load_schemes, open_slots, request_history, something_due
from gateway.services.ports import Site, Tx
from gateway.services.record_reading import record_reading
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.services import house
from tests.gateway.services.house import FLAT, account, local
from tests.gateway.services.memory_tx import MemoryStore

T = TypeVar("T")
SITE = Site("gw-1", "Asia/Shanghai", clock_trusted=True)
QUARTER = 15 * MINUTE_MS
DAY = Scheme("day", Want.DAY, "5 0 * * *", 6 * HOUR_MS, 0, 1, 2, 9_950, {"m1": Source.FREEZE, "m2": Source.LIVE})
MONTH = replace(DAY, id="month", want=Want.MONTH, cron="5 0 1 * *", priority=2, meters={"m1": Source.FREEZE})
CURVE = replace(DAY, id="curve", want=Want.CURVE, cron="10 * * * *", window_ms=2 * HOUR_MS, step_ms=QUARTER, priority=4,
                meters={"m1": Source.CURVE})  # fmt: skip
EVENTS = replace(DAY, id="events", want=Want.EVENTS, cron="20 * * * *", priority=3, meters={"m1": Source.FREEZE})
SILENT = Failed(Fault.SILENT, "no answer")
NOTHING = Failed(Fault.REFUSED, "it has nothing")


class Collection:
    """A store with two meters on line "n" and the time of day."""

    def __init__(self, *schemes: Scheme, now: str = "2026-11-24 10:00") -> None:
        self.store, self.now_ms = MemoryStore(), local(now)
        self.write(self._archive)
        self.schemes(*schemes)

    def write(self, usecase: Callable[[Tx], T]) -> T:
        return self.store.write_now(usecase)

    def schemes(self, *schemes: Scheme) -> None:
        self.write(lambda tx: load_schemes(tx, schemes))

    def at(self, text: str) -> None:
        """It is this late, and everything due is open."""
        self.now_ms = local(text)
        while self.write(lambda tx: open_slots(tx, next_fire, SITE, self.now_ms)):
            pass

    def due(self, limit: int = 9) -> list[HistoryJob]:
        return list(self.store.read_now(lambda tx: due_history(tx, "n", self.now_ms, limit)))

    def done(self, job: HistoryJob, outcome: Answered | Failed) -> None:
        self.write(lambda tx: record_history(tx, job, outcome, SITE, self.now_ms))

    def confirmed(self, job: HistoryJob, outcome: Answered) -> None:
        """The same answer twice, as where nothing else speaks for it."""
        self.done(job, outcome)
        self.done(job, outcome)

    def slots(self, want: Want, meter: str = "m1") -> list[Slot]:
        return list(self.store.read_now(lambda tx: tx.slots(meter, want, 0, 1 << 60, 1000)))

    def states(self, want: Want, meter: str = "m1") -> list[str]:
        return [slot.state.value for slot in self.slots(want, meter)]

    def tally(self, day: str, scheme: str) -> Tally:
        found = self.store.read_now(lambda tx: tx.completeness(day, day))
        return next((row.tally for row in found if row.scheme == scheme), Tally())

    def readings(self) -> list[StoredReading]:
        return list(self.store.tx.kept_readings)

    def events(self, kind: EventKind) -> list[Event]:
        return [stored.event for stored in self.store.tx.kept_events if stored.event.kind is kind]

    def sent(self) -> list[int | str | None]:
        """Times that the meter gave of what went up as readings."""
        rows = [row.message for row in self.store.tx.outbox if row.message.topic is Topic.READING]
        return [row.body.get("taken_ms") for row in rows]  # type: ignore[misc]

    def past(self, taken: str, kwh: str = "100.00", source: Source = Source.FREEZE, rates: Sequence[str] = ()) -> Reading:
        names = ["energy_import", *(f"energy_import_t{n}" for n in range(1, len(rates) + 1))]
        items = tuple(Item(name, Decimal(value), "kWh") for name, value in zip(names, (kwh, *rates), strict=True))
        return Reading("m1", items, self.now_ms - 300, self.now_ms - 100, source, local(taken))

    def live(self, kwh: str = "100.00", meter: str = "m2") -> Reading:
        return Reading(meter, (Item("energy_import", Decimal(kwh), "kWh"),), self.now_ms - 300, self.now_ms - 100)

    @staticmethod
    def _archive(tx: Tx) -> None:
        tx.save_price_list(FLAT)
        tx.save_account(account())
        tx.save_meter(house.meter("m1", line="n", switch_line="n"))
        tx.save_meter(house.meter("m2", line="n", switch_line="n", account=None, switch=SwitchKind.NONE))


class TestOpening:
    def test_the_first_time_it_is_todays_curve_and_three_days_of_freezes(self) -> None:
        c = Collection(DAY, CURVE, MONTH)
        c.at("2026-11-24 10:00")
        assert [s.at_ms for s in c.slots(Want.DAY)] == [local(f"2026-11-{n} 00:00") for n in (22, 23, 24)]
        curve = [s.at_ms for s in c.slots(Want.CURVE)]
        assert (curve[0], curve[-1], len(curve)) == (local("2026-11-24 00:00"), local("2026-11-24 09:00"), 37)
        assert [s.at_ms for s in c.slots(Want.MONTH)] == [local("2026-11-01 00:00")]

    def test_pain_24_after_days_without_a_gateway_the_last_three_are_opened(self) -> None:
        c = Collection(DAY, CURVE)
        c.at("2026-11-10 10:00")
        c.at("2026-11-24 10:00")
        assert [s.at_ms for s in c.slots(Want.DAY)][-3:] == [local(f"2026-11-{n} 00:00") for n in (22, 23, 24)]
        assert [s.at_ms for s in c.slots(Want.DAY)][-4] == local("2026-11-10 00:00")
        again = [s.at_ms for s in c.slots(Want.CURVE) if s.at_ms > local("2026-11-11 00:00")]
        assert again[0] == local("2026-11-21 10:15") and len(again) == (72 - 1) * 4

    def test_what_is_open_is_opened_once_and_counted_once(self) -> None:
        c = Collection(replace(DAY, meters={"m1": Source.FREEZE, "m3": Source.FREEZE}))
        c.at("2026-11-24 10:00")
        c.at("2026-11-24 10:30")
        assert not c.store.read_now(lambda tx: something_due(tx, next_fire, SITE, c.now_ms))
        assert c.tally("2026-11-24", "day") == Tally(expected=1), "m3 is in no archive"
        c.now_ms = local("2026-11-25 00:05")
        assert c.store.read_now(lambda tx: something_due(tx, next_fire, SITE, c.now_ms))

    def test_of_events_one_look_serves_for_all_the_time(self) -> None:
        c = Collection(EVENTS, now="2026-11-20 10:00")
        c.at("2026-11-20 10:00")
        c.at("2026-11-24 10:00")
        assert [s.at_ms for s in c.slots(Want.EVENTS)] == [local("2026-11-20 09:20"), local("2026-11-24 09:20")]

    def test_a_meter_that_leaves_a_scheme_is_asked_for_nothing(self) -> None:
        c = Collection(replace(DAY, meters={"m1": Source.FREEZE, "m2": Source.FREEZE}))
        c.at("2026-11-24 10:00")
        c.schemes(replace(DAY, meters={"m2": Source.FREEZE}))
        assert c.slots(Want.DAY) == [] and len(c.slots(Want.DAY, "m2")) == 3
        c.schemes()
        assert c.slots(Want.DAY, "m2") == [] and c.store.tx.kept_schemes == {}

    def test_older_values_are_asked_for_on_request(self) -> None:
        c = Collection(DAY, CURVE)
        c.at("2026-11-24 10:00")

        def wish(want: Want, since: str, until: str, meter: str = "m1") -> int:
            return c.write(lambda tx: request_history(tx, meter, want, local(since), local(until), SITE, c.now_ms))

        assert wish(Want.DAY, "2026-11-01 00:00", "2026-11-24 00:00") == 24
        assert len(c.slots(Want.DAY)) == 24 and c.tally("2026-11-01", "day") == Tally(expected=1)
        assert all(job.backfill for job in c.due() if job.from_ms < local("2026-11-22 00:00"))
        with pytest.raises(ValueError, match="more than 3000"):
            wish(Want.CURVE, "2026-01-01 00:00", "2026-11-01 00:00")
        with pytest.raises(LookupError, match="no scheme collects month"):
            wish(Want.MONTH, "2026-01-01 00:00", "2026-11-01 00:00")
        with pytest.raises(ValueError, match="keeps nothing"):
            wish(Want.DAY, "2026-11-01 00:00", "2026-11-02 00:00", "m2")


class TestAsking:
    def test_freezes_come_first_and_neighbours_of_a_curve_together(self) -> None:
        c = Collection(CURVE, DAY)
        c.at("2026-11-24 03:10")
        jobs = c.due()
        assert [(job.meter, job.want, job.backfill) for job in jobs] == [
            ("m1", Want.DAY, False), ("m2", Want.DAY, False), ("m1", Want.CURVE, False),
            ("m1", Want.DAY, True), ("m1", Want.CURVE, True),
        ]  # fmt: skip
        spans = [(job.from_ms, job.to_ms) for job in jobs if job.want is Want.CURVE]
        assert spans == [
            (local("2026-11-24 00:15"), local("2026-11-24 01:30")),
            (local("2026-11-24 00:00"), local("2026-11-24 00:00")),
        ]
        assert c.due(1) == jobs[:1]

    def test_after_a_question_in_vain_a_shorter_answer_is_asked_for(self) -> None:
        c = Collection(CURVE)
        c.at("2026-11-24 01:10")
        lengths = []
        for _ in range(4):
            [job] = c.due()
            lengths.append((job.to_ms - job.from_ms) // QUARTER + 1)
            c.done(job, SILENT)
            c.now_ms = c.slots(Want.CURVE)[0].next_ms
        assert lengths == [5, 3, 1, 1]

    def test_nothing_is_due_elsewhere_or_before_its_time(self) -> None:
        c = Collection(DAY)
        c.at("2026-11-24 10:00")
        assert c.store.read_now(lambda tx: due_history(tx, "other", c.now_ms, 9)) == []
        assert c.store.read_now(lambda tx: due_history(tx, "n", local("2026-11-21 00:00"), 9)) == []

    def test_pain_24_a_silent_meter_is_asked_again_at_growing_pauses_and_at_once_when_it_is_back(self) -> None:
        c = Collection(replace(DAY, meters={"m1": Source.FREEZE}))
        c.at("2026-11-24 00:05")
        pauses = []
        for _ in range(13):
            newest = c.slots(Want.DAY)[-1]
            c.done(HistoryJob("m1", Want.DAY, newest.at_ms, newest.at_ms), SILENT)
            newest = c.slots(Want.DAY)[-1]
            pauses.append((newest.next_ms - c.now_ms) // MINUTE_MS)
            c.now_ms = newest.next_ms
        assert pauses == [1, 2, 15, 15, 30, 30, 60, 60, 120, 120, 240, 240, 360]
        job = next(job for job in c.due() if job.from_ms == local("2026-11-22 00:00"))
        c.done(job, SILENT)
        c.confirmed(job, Answered(history=(c.past("2026-11-22 00:00"),)))
        assert [slot.next_ms <= c.now_ms for slot in c.slots(Want.DAY) if slot.state is SlotState.EXPECTED] == [True, True]

    @pytest.mark.parametrize(
        "outcome", [Failed(Fault.LINE_DOWN, "down", certain=True), Failed(Fault.LINE_DOWN, "broke"),
                    Failed(Fault.SILENT, "not sent", certain=True)]
    )  # fmt: skip
    def test_what_never_reached_the_meter_is_no_try(self, outcome: Failed) -> None:
        c = Collection(DAY)
        c.at("2026-11-24 00:05")
        for job in c.due():
            c.done(job, outcome)
        assert [slot.tries for slot in c.slots(Want.DAY)] == [0, 0, 0]

    def test_a_step_on_the_way_changes_nothing(self) -> None:
        c = Collection(DAY)
        c.at("2026-11-24 00:05")
        before, jobs = c.slots(Want.DAY), c.due()
        c.done(jobs[0], Answered())
        assert (c.slots(Want.DAY), c.due()) == (before, jobs)


class TestKeeping:
    def test_the_freeze_of_a_month_s_end_puts_the_bill_s_estimate_right(self) -> None:
        c = Collection(DAY)
        for at, kwh in (("2026-11-30 23:00", "200.00"), ("2026-12-01 00:30", "203.00")):
            c.at(at)
            block = replace(c.past(at, kwh, rates=(kwh, "0.00")), source=Source.LIVE, taken_ms=None)
            c.write(lambda tx, block=block: record_reading(tx, block, None, SITE, c.now_ms))  # type: ignore[misc]
        job = HistoryJob("m1", Want.DAY, local("2026-12-01 00:00"), local("2026-12-01 00:00"))
        c.done(job, Answered(history=(c.past("2026-12-01 00:00", "202.50", rates=("202.50", "0.00")),)))
        assert c.readings()[-1].quality is Quality.CONFIRMED
        uses = c.store.tx.period_uses("A-1", "flat")
        assert [(use.period, use.total_wh) for use in uses] == [("2026-11-01T00:00", 2500), ("2026-12-01T00:00", 500)]
        assert [posted.entry.kind for posted in c.store.tx.journal] == ["charge", "reversal", "correction"]
        assert verify_ledger(c.store.tx)[1] is None

    def test_pain_22_a_freeze_bears_its_own_time_and_neither_shows_nor_bills_as_live(self) -> None:
        c = Collection(DAY)
        c.at("2026-11-24 00:05")
        block = replace(c.past("2026-11-24 00:05", "200.00", rates=("110.00", "90.00")), source=Source.LIVE, taken_ms=None)
        c.write(lambda tx: record_reading(tx, block, None, SITE, c.now_ms))
        journal, latest = len(c.store.tx.journal), dict(c.store.tx.latest("m1"))
        billing = c.store.tx.billing("m1")
        job = HistoryJob("m1", Want.DAY, local("2026-11-24 00:00"), local("2026-11-24 00:00"))
        c.done(job, Answered(history=(c.past("2026-11-24 00:00", "190.00", rates=("100.00", "90.00")),)))
        assert c.readings()[-1].quality is Quality.CONFIRMED and c.readings()[-1].reading.taken_ms == local("2026-11-24 00:00")
        assert (len(c.store.tx.journal), c.store.tx.latest("m1"), c.store.tx.billing("m1")) == (journal, latest, billing)
        assert c.sent() == [None, local("2026-11-24 00:00")]
        with pytest.raises(ValueError, match="is not of now"):
            c.write(lambda tx: record_reading(tx, c.past("2026-11-24 00:00"), None, SITE, c.now_ms))
        with pytest.raises(ValueError, match="none of the past"):
            c.write(lambda tx: record_past(tx, c.live("1.00", "m1"), c.now_ms))

    def test_the_same_moment_again_is_no_second_row_but_confirms(self) -> None:
        c = Collection(DAY)
        freeze = c.past("2026-11-24 00:00")

        def keep(reading: Reading) -> Quality:
            return c.write(lambda tx: record_past(tx, reading, c.now_ms))

        assert (keep(freeze), keep(freeze)) == (Quality.SINGLE, Quality.CONFIRMED)
        assert keep(replace(freeze, answered_ms=c.now_ms)) is Quality.CONFIRMED
        assert [r.quality for r in c.readings()] == [Quality.CONFIRMED] and len(c.sent()) == 2
        assert keep(c.past("2026-11-24 00:00", "999.00")) is Quality.SUSPECT
        assert [e.data["doubt"] for e in c.events(EventKind.READING_SUSPECT)] == ["history_differs"]

    def test_a_freeze_that_nothing_speaks_for_is_asked_for_once_more_at_once(self) -> None:
        c = Collection(replace(DAY, meters={"m1": Source.FREEZE}))
        c.at("2026-11-24 00:05")
        job = next(job for job in c.due() if not job.backfill)
        freeze = Answered(history=(c.past("2026-11-24 00:00", "190.00", rates=("100.00", "90.00")),))
        c.done(job, freeze)
        assert (c.states(Want.DAY)[-1], c.slots(Want.DAY)[-1].tries, job in c.due()) == ("expected", 0, True)
        c.done(job, freeze)
        newest = c.slots(Want.DAY)[-1]
        assert (newest.state, newest.quality, newest.tries) == (SlotState.READ, Quality.CONFIRMED, 0)
        assert [r.quality for r in c.readings()] == [Quality.CONFIRMED]

    def test_of_two_freezes_that_differ_neither_stands_until_one_comes_again(self) -> None:
        c = Collection(replace(DAY, meters={"m1": Source.FREEZE}))
        c.at("2026-11-24 00:05")
        job = next(job for job in c.due() if not job.backfill)
        wrong, true = (Answered(history=(c.past("2026-11-24 00:00", kwh),)) for kwh in ("191.00", "190.00"))
        for answer in (wrong, true):
            c.done(job, answer)
        assert [r.quality for r in c.readings()] == [Quality.SUSPECT, Quality.SUSPECT] and c.states(Want.DAY)[-1] == "expected"
        c.done(job, true)
        assert [r.quality for r in c.readings()] == [Quality.SUSPECT, Quality.CONFIRMED] and c.states(Want.DAY)[-1] == "read"
        assert len(c.events(EventKind.READING_SUSPECT)) == 1

    def test_a_freeze_that_the_meter_has_dropped_since_stays_single(self) -> None:
        c = Collection(replace(DAY, meters={"m1": Source.FREEZE}))
        c.at("2026-11-24 00:05")
        old = next(job for job in c.due() if job.backfill)
        c.done(old, Answered(history=(c.past("2026-11-22 00:00", "190.00"),)))
        c.done(old, NOTHING)
        assert (c.slots(Want.DAY)[0].state, c.slots(Want.DAY)[0].quality) == (SlotState.READ, Quality.SINGLE)

    def test_points_of_a_curve_that_contradict_each_other_are_asked_for_again(self) -> None:
        c = Collection(CURVE)
        c.at("2026-11-24 01:10")
        [job] = c.due()
        kwh = ("100.00", "100.20", "9000.40", "100.60", "100.80")
        when = [f"2026-11-24 {hour}" for hour in ("00:00", "00:15", "00:30", "00:45", "01:00")]
        c.done(job, Answered(history=tuple(map(lambda at, value: c.past(at, value, Source.CURVE), when, kwh))))
        assert c.states(Want.CURVE) == ["read", "expected", "expected", "expected", "read"]
        c.now_ms += 2 * MINUTE_MS
        [job] = c.due()
        assert (job.from_ms, job.to_ms) == (local("2026-11-24 00:15"), local("2026-11-24 00:45"))
        c.done(job, Answered(history=tuple(c.past(f"2026-11-24 00:{n}", f"100.{4 * n // 3}", Source.CURVE) for n in (15, 30, 45))))
        assert c.states(Want.CURVE) == ["read"] * 5
        assert [r.quality.value for r in c.readings()] == ["single", "confirmed", "suspect", "confirmed", "single", "single"]

    def test_the_freeze_of_the_first_is_the_months_too(self) -> None:
        c = Collection(DAY, MONTH)
        c.at("2026-12-01 00:05")
        first = local("2026-12-01 00:00")
        c.confirmed(HistoryJob("m1", Want.DAY, first, first), Answered(history=(c.past("2026-12-01 00:00"),)))
        assert (c.states(Want.DAY)[-1], c.states(Want.MONTH)[-1]) == ("read", "read") and len(c.readings()) == 1

    def test_the_day_is_counted_in_time_and_late(self) -> None:
        c = Collection(replace(DAY, meters={"m1": Source.FREEZE}))
        c.at("2026-11-24 00:05")
        for day, now in (("2026-11-23", "2026-11-24 00:06"), ("2026-11-24", "2026-11-24 09:00")):
            c.now_ms = local(now)
            moment = local(f"{day} 00:00")
            c.confirmed(HistoryJob("m1", Want.DAY, moment, moment), Answered(history=(c.past(f"{day} 00:00"),)))
            assert c.tally(day, "day") == Tally(expected=1, read=1, in_time=0)
        c.at("2026-11-25 00:06")
        moment = local("2026-11-25 00:00")
        c.confirmed(HistoryJob("m1", Want.DAY, moment, moment), Answered(history=(c.past("2026-11-25 00:00"),)))
        assert c.tally("2026-11-25", "day") == Tally(expected=1, read=1, in_time=1)

    def test_a_hole_in_a_curve_is_lost_and_what_came_is_kept(self) -> None:
        c = Collection(CURVE)
        c.at("2026-11-24 01:10")
        [job] = c.due()
        came = tuple(c.past(f"2026-11-24 {when}", source=Source.CURVE) for when in ("00:00", "00:45"))
        c.done(job, Answered(history=came))
        assert c.states(Want.CURVE) == ["read", "expected", "expected", "read", "expected"], "a garbled record looks like a hole"
        job = next(job for job in c.due() if job.from_ms == local("2026-11-24 00:15"))
        assert job.to_ms == local("2026-11-24 00:30")
        c.done(job, Answered(history=came[1:]))
        assert c.states(Want.CURVE) == ["read", "unavailable", "unavailable", "read", "expected"]
        [lost] = c.events(EventKind.HISTORY_UNAVAILABLE)
        assert (lost.data["count"], lost.data["from_ms"], lost.meter) == (2, local("2026-11-24 00:15"), "m1")
        assert c.tally("2026-11-24", "curve") == Tally(expected=5, read=2, in_time=2, unavailable=2)

    def test_what_a_meter_has_not_is_asked_until_its_window_is_over(self) -> None:
        c = Collection(CURVE)
        c.at("2026-11-24 01:10")
        for _ in range(3):
            [job] = c.due()
            c.done(job, NOTHING)
            c.now_ms += 10 * MINUTE_MS
        assert c.states(Want.CURVE) == ["expected"] * 5
        c.now_ms = local("2026-11-24 03:11")
        for _ in range(5 * 2):  # a garbled question may be answered so
            job = c.due()[0]
            c.done(job, NOTHING)
        assert c.states(Want.CURVE) == ["unavailable"] * 5
        assert len(c.events(EventKind.HISTORY_UNAVAILABLE)) == 1, "a gap is told when it begins, not for each of its values"

    def test_a_meters_record_is_told_once(self) -> None:
        c = Collection(EVENTS)
        c.at("2026-11-24 10:00")
        [job] = c.due()
        record = EventRecord("m1", "cover_open", local("2026-11-24 08:00"), None, {"energy_import_before": "1.00"})
        c.done(job, Answered(records=(record,)))
        assert c.states(Want.EVENTS) == ["expected"], "the round is not over"
        c.done(job, Answered(reading=c.live("7.00", "m1"), records=(record, replace(record, end_ms=c.now_ms))))
        assert c.states(Want.EVENTS) == ["read"]
        told = c.events(EventKind.METER_RECORD)
        assert [(e.data["record"], e.data["end_ms"]) for e in told] == [("cover_open", None), ("cover_open", c.now_ms)]


class TestWithoutFreezes:
    def test_a_live_reading_within_the_window_stands_in(self) -> None:
        c = Collection(DAY)
        c.at("2026-11-25 00:05")
        [job] = [job for job in c.due() if job.meter == "m2"]
        assert job.from_ms == local("2026-11-25 00:00")
        c.done(job, Answered(reading=c.live()))
        newest = c.slots(Want.DAY, "m2")[-1]
        assert (newest.state, newest.source, newest.read_ms) == (SlotState.READ, Source.LIVE, c.now_ms)
        assert c.readings()[-1].reading.taken_ms is None, "its time is its own"

    def test_a_poll_does_as_well_and_without_any_it_is_lost(self) -> None:
        c = Collection(DAY)
        c.at("2026-11-23 00:06")
        c.now_ms = local("2026-11-24 00:20")
        c.write(lambda tx: record_reading(tx, c.live(), None, SITE, c.now_ms))
        c.at("2026-11-24 07:00")
        assert c.write(lambda tx: miss_live(tx, SITE, c.now_ms, 99)) == 2
        assert c.states(Want.DAY, "m2") == ["unavailable", "read"], "of the days before it was not even wanted"
        [lost] = c.events(EventKind.HISTORY_UNAVAILABLE)
        assert lost.meter == "m2" and lost.data["count"] == 1
        assert c.write(lambda tx: miss_live(tx, SITE, c.now_ms, 99)) == 0


class TestJudging:
    def test_a_missed_target_is_told_once_a_day_after_the_window(self) -> None:
        c = Collection(replace(DAY, meters={"m1": Source.FREEZE}))
        c.at("2026-11-24 00:05")
        moment = local("2026-11-23 00:00")
        c.confirmed(HistoryJob("m1", Want.DAY, moment, moment), Answered(history=(c.past("2026-11-23 00:00"),)))

        def judge(now: str) -> int:
            return c.write(lambda tx: judge_days(tx, SITE, local(now)))

        assert judge("2026-11-24 05:59") == 1, "the 22nd fell short, the 23rd is still within its window"
        assert judge("2026-11-24 06:01") == 0, "the 23rd is complete"
        assert (judge("2026-11-25 05:00"), judge("2026-11-25 06:01"), judge("2026-11-25 06:02")) == (0, 1, 0)
        told = c.events(EventKind.COMPLETENESS_MISSED)
        assert [(e.data["day"], e.data["complete"], e.data["target"]) for e in told] == [
            ("2026-11-22", "0.00", "99.50"),
            ("2026-11-24", "0.00", "99.50"),
        ]
