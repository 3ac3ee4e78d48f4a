"""What a meter's memory is asked, step by step, and under which time its answers stand (pains 22, 23, 24)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from gateway.adapters.lines.driver import Timed
from gateway.adapters.meter_links.dlt645_history import Dlt645History
from gateway.adapters.meter_links.dlt645_past import NotThere
from gateway.adapters.profiles import profile
from gateway.domain.jobs import Answered, HistoryJob, Want
from gateway.domain.readings import Item, Reading, Source
from gateway.domain.slots import local_of, midnight, ms_of
from protocols.dlt645.frames import Dialect
from protocols.dlt645.identifiers import measure, write_fields
from protocols.dlt645.load_profile import LoadRecord, encode_records
from protocols.dlt645.master import ReadAnswer
from protocols.dlt645.values import encode_minute
from protocols.errors import Refused, RequestError
from protocols.profile_history import KEPT_1997
from protocols.profiles import MeterHistory, MeterProfile

BERLIN = "Europe/Berlin"
NO_DATA = Refused(b"\x02", ("no requested data",))
SINGLE = profile("dlt645-single")


class Memory:
    """A meter by its answers, and the gateway's clock. asked: the identifiers of all questions, in order."""

    def __init__(self, now: str, zone: str = BERLIN, kept: MeterProfile = SINGLE) -> None:
        self.zone = ZoneInfo(zone)
        self.now = now
        self.answers: dict[str, bytes] = {}
        self.ring: list[tuple[datetime, str]] = []
        self.asked: list[str] = []
        self.history = Dlt645History("m", kept, zone, clock=self, ask=self.ask, live=self.live)

    def now_ms(self) -> int:
        return ms_of(datetime.fromisoformat(self.now).replace(tzinfo=self.zone))

    async def live(self) -> Reading:
        return Reading("m", (Item("energy_import", Decimal(7), "kWh"),), self.now_ms() - 9, self.now_ms())

    async def ask(self, di: str, *, count: int | None = None, when: datetime | None = None) -> Timed[ReadAnswer]:
        self.asked.append(di)
        if di.startswith("06"):
            found = [i for i, (taken, _) in enumerate(self.ring) if taken >= when] if when else []
            records = self.ring[found[0] :][: count or 0] if found else []
            data = encode_records([LoadRecord(t, (None,) * 3 + (_energies(kwh),) + (None,) * 2) for t, kwh in records])
        elif di in self.answers:
            data = self.answers[di]
        else:
            raise NO_DATA
        items = measure(di, data, Dialect.V1997 if len(di) == 4 else Dialect.V2007)
        assert items is not None
        return Timed(ReadAnswer("000000000001", di, data, tuple(items)), self.now_ms() - 60, self.now_ms())

    def freeze(self, days: Sequence[date], rates: int = 2) -> None:
        """Midnights that are kept, the latest first; the register is the day of the month."""
        for n, day in enumerate(days, 1):
            self.answers[f"050600{n:02X}"] = encode_minute(datetime(day.year, day.month, day.day))
            self.answers[f"050601{n:02X}"] = write_fields(f"050601{n:02X}", [day.day, *[Decimal(day.day) / rates] * rates])

    async def steps(self, want: Want, at_ms: int, to_ms: int | None = None, most: int = 20) -> Answered:
        """The same job until it brings something."""
        for _ in range(most):
            before = len(self.asked)
            done = await self.history.perform(HistoryJob("m", want, at_ms, at_ms if to_ms is None else to_ms))
            assert len(self.asked) - before <= 1, "a step is one exchange"
            if done != Answered():
                return done
        raise AssertionError("no end")

    def moment(self, text: str) -> int:
        return ms_of(datetime.fromisoformat(text).replace(tzinfo=self.zone))


def _energies(kwh: str) -> tuple[Decimal | None, ...]:
    return (Decimal(kwh), Decimal(0), Decimal(0), Decimal(0))


def days_back(last: date, count: int, without: Sequence[int] = ()) -> list[date]:
    return [last - timedelta(days=n) for n in range(count) if n not in without]


def only(done: Answered) -> Reading:
    [reading] = done.history
    return reading


class TestDays:
    async def test_pain_22_a_freeze_is_read_under_its_own_time_and_number(self) -> None:
        meter = Memory("2026-11-24 10:00")
        meter.freeze(days_back(date(2026, 11, 24), 62))
        reading = only(await meter.steps(Want.DAY, meter.moment("2026-11-22 00:00")))
        assert reading.taken_ms == meter.moment("2026-11-22 00:00") and reading.source is Source.FREEZE
        assert [(i.quantity, str(i.value)) for i in reading.items] == [
            ("energy_import", "22.00"), ("energy_import_t1", "11.00"), ("energy_import_t2", "11.00")
        ]  # fmt: skip
        assert meter.asked == ["05060003", "05060103"] and reading.items[0].obis == "1-0:1.8.0"
        await meter.steps(Want.DAY, meter.moment("2026-11-22 00:00"))
        assert meter.asked[2:] == ["05060003", "05060103"], "what is to confirm the first reading looks for itself"

    @pytest.mark.parametrize("dark", [(0,), (1, 2), (3, 4, 5, 6), (0, 2, 4, 6, 8), (10,)])
    async def test_pain_24_midnights_without_power_move_the_numbers(self, dark: tuple[int, ...]) -> None:
        meter = Memory("2026-11-24 10:00")
        kept = days_back(date(2026, 11, 24), 40, dark)
        meter.freeze(kept)
        for day in days_back(date(2026, 11, 24), 12):
            at_ms = midnight(day, meter.zone)
            if day in kept:
                assert only(await meter.steps(Want.DAY, at_ms)).items[0].value == day.day
            else:
                with pytest.raises(NotThere, match="kept no daily freeze of"):
                    await meter.steps(Want.DAY, at_ms)

    async def test_a_freeze_older_than_all_that_is_kept(self) -> None:
        meter = Memory("2026-11-24 10:00")
        meter.freeze(days_back(date(2026, 11, 24), 5))
        with pytest.raises(NotThere):
            await meter.steps(Want.DAY, meter.moment("2026-11-01 00:00"))
        assert len(meter.asked) <= 8, "found by halves of what is left, not one by one"

    async def test_a_refusal_is_believed_the_second_time(self) -> None:
        meter = Memory("2026-11-24 10:00")
        at_ms = meter.moment("2026-11-24 00:00")
        job = HistoryJob("m", Want.DAY, at_ms, at_ms)
        assert await meter.history.perform(job) == Answered()
        with pytest.raises(Refused):
            await meter.history.perform(job)

    async def test_a_garbled_time_loses_no_day(self) -> None:
        meter = Memory("2026-11-24 10:00")
        days = days_back(date(2026, 11, 24), 5)
        meter.freeze(days)
        right, meter.answers["05060001"] = meter.answers["05060001"], encode_minute(datetime(2026, 12, 24))
        at_ms = midnight(days[0], meter.zone)
        await meter.history.perform(HistoryJob("m", Want.DAY, at_ms, at_ms))
        meter.answers["05060001"] = right
        assert only(await meter.steps(Want.DAY, at_ms)).items[0].value == 24

    async def test_who_asks_once_more_for_what_was_not_there_finds_it_by_new_answers(self) -> None:
        meter = Memory("2026-11-24 10:00")
        days = days_back(date(2026, 11, 24), 5)
        meter.freeze(days)
        right, at_ms = dict(meter.answers), midnight(days[1], meter.zone)
        meter.answers["05060002"] = encode_minute(datetime(2026, 1, 23))
        with pytest.raises(NotThere):
            await meter.steps(Want.DAY, at_ms)
        meter.answers = right
        assert only(await meter.steps(Want.DAY, at_ms)).items[0].value == 23

    async def test_a_meter_without_any_freeze_refuses_in_its_own_words(self) -> None:
        with pytest.raises(Refused, match="no requested data"):
            await Memory("2026-11-24 10:00").steps(Want.DAY, ms_of(datetime(2026, 11, 23, 23, tzinfo=UTC)))

    async def test_around_midnight_the_number_is_proved_after_the_values(self) -> None:
        meter = Memory("2026-11-24 00:05")
        meter.freeze(days_back(date(2026, 11, 24), 9))
        assert only(await meter.steps(Want.DAY, meter.moment("2026-11-24 00:00"))).items[0].value == 24
        assert meter.asked == ["05060001", "05060101", "05060001"]

    async def test_pain_22_freezes_that_move_on_between_two_questions_are_never_mixed(self) -> None:
        meter = Memory("2026-11-24 00:05")
        meter.freeze(days_back(date(2026, 11, 23), 9))  # its clock is behind: it has not frozen yet
        at_ms = meter.moment("2026-11-23 00:00")
        assert await meter.history.perform(HistoryJob("m", Want.DAY, at_ms, at_ms)) == Answered()
        while "05060001" not in meter.asked:
            await meter.history.perform(HistoryJob("m", Want.DAY, at_ms, at_ms))
        meter.freeze(days_back(date(2026, 11, 24), 9))
        reading = only(await meter.steps(Want.DAY, at_ms))
        assert reading.taken_ms == at_ms and reading.items[0].value == 23

    async def test_without_freezes_the_present_stands_in(self) -> None:
        old = replace(SINGLE, protocol="dlt645-1997", history=KEPT_1997)
        done = await Memory("2026-11-24 00:05", kept=old).steps(Want.DAY, 0)
        assert done.history == () and done.reading is not None and done.reading.taken_ms is None

    async def test_fillers_are_no_values(self) -> None:
        meter = Memory("2026-11-24 10:00")
        meter.freeze(days_back(date(2026, 11, 24), 3))
        meter.answers["05060101"] = b"\xff" * 12
        with pytest.raises(NotThere, match="fillers"):
            await meter.steps(Want.DAY, meter.moment("2026-11-24 00:00"))


class TestMonths:
    async def test_the_freeze_of_the_first_is_the_months(self) -> None:
        meter = Memory("2026-11-24 10:00")
        meter.freeze(days_back(date(2026, 11, 24), 62))
        reading = only(await meter.steps(Want.MONTH, meter.moment("2026-11-01 00:00")))
        assert reading.taken_ms == meter.moment("2026-11-01 00:00") and reading.items[0].value == 1

    async def test_older_ends_of_months_are_settlements_where_the_meter_settles_with_the_month(self) -> None:
        meter = Memory("2026-11-24 10:00")
        meter.answers |= {"04000B01": write_fields("04000B01", ["0100"]), "0001FF08": write_fields("0001FF08", [10, 4, 6])}
        reading = only(await meter.steps(Want.MONTH, meter.moment("2026-04-01 00:00")))
        assert reading.taken_ms == meter.moment("2026-04-01 00:00")
        assert [(i.quantity, str(i.value)) for i in reading.items][1] == ("energy_import_t1", "4.00")
        assert meter.asked == ["04000B01", "0001FF08"]

    async def test_a_meter_that_settles_on_another_day_has_no_end_of_the_month(self) -> None:
        meter = Memory("2026-11-24 10:00")
        meter.answers["04000B01"] = write_fields("04000B01", ["2500"])
        with pytest.raises(NotThere, match="settles on day and hour 2500"):
            await meter.steps(Want.MONTH, meter.moment("2026-04-01 00:00"))
        with pytest.raises(NotThere):
            await meter.steps(Want.MONTH, meter.moment("2025-04-01 00:00"))

    async def test_a_meter_of_1997_has_two_months(self) -> None:
        meter = Memory("2026-11-24 10:00", kept=replace(SINGLE, protocol="dlt645-1997", history=KEPT_1997))
        meter.answers["C117"] = write_fields("C117", ["0100"], Dialect.V1997)
        for di, kwh in (("941F", 20), ("981F", 10)):
            meter.answers[di] = write_fields(di, [kwh, kwh], Dialect.V1997)
        for month, kwh in ((11, 20), (10, 10)):
            reading = only(await meter.steps(Want.MONTH, meter.moment(f"2026-{month}-01 00:00")))
            assert [i.quantity for i in reading.items] == ["energy_import", "energy_import_t1"]
            assert [i.value for i in reading.items] == [Decimal(kwh)] * 2
        with pytest.raises(NotThere, match="keeps 2 settlements"):
            await meter.steps(Want.MONTH, meter.moment("2026-09-01 00:00"))


class TestCurves:
    async def test_records_bear_their_own_time(self) -> None:
        meter = Memory("2026-11-24 10:00")
        meter.ring = [(datetime(2026, 11, 24, 8, 15 * n), f"{n}.00") for n in range(4)]
        done = await meter.steps(Want.CURVE, meter.moment("2026-11-24 08:15"), meter.moment("2026-11-24 08:45"))
        assert [local_of(r.at_ms, meter.zone).minute for r in done.history] == [15, 30, 45]
        assert [str(r.items[0].value) for r in done.history] == ["1.00", "2.00", "3.00"]
        assert {r.source for r in done.history} == {Source.CURVE} and done.history[0].items[0].quantity == "energy_import"

    async def test_nothing_from_there_on(self) -> None:
        with pytest.raises(NotThere, match="has nothing from 2026-11-24 08:15 on"):
            meter = Memory("2026-11-24 10:00")
            await meter.steps(Want.CURVE, meter.moment("2026-11-24 08:15"))

    async def test_pain_23_both_passages_of_the_repeated_hour(self) -> None:
        """A ring whose clock goes back at three: the same local times twice, each of its own moment."""
        meter = Memory("2026-10-25 12:00")
        start = ms_of(datetime(2026, 10, 24, 23, 0, tzinfo=UTC))
        at = [start + n * 900_000 for n in range(16)]
        meter.ring = [(local_of(ms, meter.zone).replace(tzinfo=None, fold=0), f"{n}.00") for n, ms in enumerate(at)]
        for first in range(0, 16, 3):
            to = min(first + 2, 15)
            done = await meter.steps(Want.CURVE, at[first], at[to])
            found = {r.at_ms: str(r.items[0].value) for r in done.history if r.at_ms <= at[to]}
            assert found == {at[n]: f"{n}.00" for n in range(first, to + 1)}, first

    async def test_a_curve_of_one_quantity(self) -> None:
        kept = MeterHistory(62, 12, "06100601", 15, ())
        meter = Memory("2026-11-24 10:00", kept=replace(SINGLE, history=kept))
        data = write_fields("06100601", [datetime(2026, 11, 24, 8, 15), Decimal("1.00"), Decimal("2.00")])

        async def ask(di: str, *, count: int | None = None, when: datetime | None = None) -> Timed[ReadAnswer]:
            assert (di, count, when) == ("06100601", 2, datetime(2026, 11, 24, 8, 15))
            return Timed(ReadAnswer("1", di, data, tuple(measure(di, data) or ())), 1, 2)

        history = Dlt645History("m", replace(SINGLE, history=kept), BERLIN, clock=meter, ask=ask, live=meter.live)
        job = HistoryJob("m", Want.CURVE, meter.moment("2026-11-24 08:15"), meter.moment("2026-11-24 08:30"))
        found = (await history.perform(job)).history
        assert [(r.at_ms, r.items[0].quantity, str(r.items[0].value)) for r in found] == [
            (meter.moment("2026-11-24 08:15"), "energy_import", "1.00"),
            (meter.moment("2026-11-24 08:30"), "energy_import", "2.00"),
        ]

    async def test_a_meter_without_a_memory_cannot_be_asked(self) -> None:
        meter = Memory("2026-11-24 10:00", kept=replace(SINGLE, history=MeterHistory(0, 0, "", 15, ())))
        for want in (Want.CURVE, Want.EVENTS):
            with pytest.raises(RequestError, match="keeps no"):
                await meter.steps(want, 0)


class TestEvents:
    COUNTERS = ("03300D00", "1D000001")

    def meter(self) -> Memory:
        meter = Memory("2026-11-24 10:00", kept=replace(SINGLE, history=MeterHistory(0, 0, "", 15, self.COUNTERS)))
        meter.answers |= {"03300D00": write_fields("03300D00", [0]), "1D000001": write_fields("1D000001", [0])}
        return meter

    async def round(self, meter: Memory) -> tuple[list[str], Reading]:
        """The kinds of the records that came, and the counters."""
        kinds: list[str] = []
        for _ in range(40):
            done = await meter.history.perform(HistoryJob("m", Want.EVENTS, 0, 0))
            kinds += [record.kind for record in done.records]
            if done.reading is not None:
                return kinds, done.reading
        raise AssertionError("no end")

    async def test_counters_alone_while_nothing_moves(self) -> None:
        meter = self.meter()
        for _ in range(2):
            kinds, counters = await self.round(meter)
            assert kinds == [] and [i.quantity for i in counters.items] == ["cover_open_count", "trip_count"]
        assert meter.asked == [*self.COUNTERS] * 2

    async def test_records_are_read_where_a_counter_moved_oldest_first(self) -> None:
        meter = self.meter()
        await self.round(meter)
        meter.answers["1D000001"] = write_fields("1D000001", [2])
        for n, second in ((1, "31"), (2, "30")):
            meter.answers[f"1D0001{n:02X}"] = write_fields(f"1D0001{n:02X}", [f"2611240959{second}"])
        meter.asked.clear()
        kinds, _ = await self.round(meter)
        assert kinds == ["trip", "trip"] and meter.asked == ["03300D00", "1D000001", "1D000102", "1D000101"]
        assert (await self.round(meter))[0] == []

    async def test_a_record_tells_its_times_and_values(self) -> None:
        meter = self.meter()
        meter.answers["03300D00"] = write_fields("03300D00", [1])
        values = ["261124080000", None, *[Decimal("1.50")] * 12]
        meter.answers["03300D01"] = write_fields("03300D01", values)
        job = HistoryJob("m", Want.EVENTS, 0, 0)
        assert await meter.history.perform(job) == Answered()
        [record] = (await meter.history.perform(job)).records
        assert (record.kind, record.start_ms, record.end_ms) == ("cover_open", meter.moment("2026-11-24 08:00"), None)
        assert record.detail["energy_import_before"] == "1.50" and len(record.detail) == 12

    async def test_a_counter_that_the_meter_has_not_is_dropped_and_without_any_there_is_nothing(self) -> None:
        meter = self.meter()
        del meter.answers["03300D00"]
        await self.round(meter)
        meter.asked.clear()
        await self.round(meter)
        assert meter.asked == ["1D000001"]
        bare = Memory("2026-11-24 10:00", kept=replace(SINGLE, history=MeterHistory(0, 0, "", 15, self.COUNTERS)))
        with pytest.raises(NotThere, match="none of the counters"):
            await self.round(bare)
