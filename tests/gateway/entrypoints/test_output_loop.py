"""The loop of an output in virtual time, on a real store and an output that the test holds in its hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

from gateway.adapters.store import Store
from gateway.domain.events import EventKind, Json, Outgoing, Topic
from gateway.domain.outputs import News, OutsideCuts, Portrait
from gateway.domain.supply import Verb
from gateway.entrypoints.line_loop import Wake
from gateway.entrypoints.output_loop import ORDERS_PER_MINUTE, Orders, OutputLoop, Pace
from gateway.entrypoints.output_numbers import Numbers
from gateway.services import announce
from gateway.services.acknowledge import EPOCH, acknowledge
from gateway.services.ports import Site, Tx, Unavailable
from tests.gateway.services.house import House as Street
from tests.gateway.services.house import meter
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time

T = TypeVar("T")
SITE = Site("gw-1", "Asia/Shanghai", clock_trusted=True)


class FakeOutput:
    """A foreign system in memory: takes `delay_s` for everything, raises what `fails` says, once."""

    def __init__(self, *, late_too: bool = True, unsure_s: float = 0.0) -> None:
        self.name, self.late_too, self.unsure_s = "fake", late_too, unsure_s
        self.ready, self.again, self.connections = asyncio.Event(), asyncio.Event(), 0
        self.delay_s = 0.001
        self.fails: list[Exception] = []
        self.begun: list[list[Portrait]] = []
        self.told: list[News] = []
        self.times: list[float] = []
        self.left: list[str] = []

    def connect(self) -> None:
        self.connections += 1
        self.ready.set()

    async def _take(self) -> None:
        await asyncio.sleep(self.delay_s)
        if self.fails:
            self.ready.clear()
            raise self.fails.pop()

    async def begin(self, portraits: Sequence[Portrait]) -> None:
        await self._take()
        self.begun.append(list(portraits))

    async def tell(self, news: News) -> None:
        await self._take()
        self.told.append(news)
        self.times.append(asyncio.get_running_loop().time())

    async def leave(self, meters: Collection[str]) -> None:
        await self._take()
        self.left += meters

    def seqs(self, late: bool) -> list[int]:
        return [row.seq for news in self.told if news.late is late for row in news.rows]


class House:
    """A store with two meters, an output, and the loop between them; `again` starts the loop anew, as after a crash."""

    def __init__(self, path: Path, pace: Pace, **options: bool | float) -> None:
        self.store = Store.open(str(path / "store.db"), inline=True, rng=Random(1))
        self.clock, self.wake, self.pace, self.options = VirtualClock(), Wake(), pace, options
        self.silent: set[str] = set()
        self.present: set[str] = {f"m{n}" for n in range(9)}
        street = Street(self.store, now_ms=self.clock.now_ms())
        street.settle(meter("m1"), meter("m2"), balance="20")
        self.epoch = self.store.read_now(lambda tx: tx.meta(EPOCH)) or ""
        self.output, self.loop = self.anew()

    def anew(self) -> tuple[FakeOutput, OutputLoop]:
        output = FakeOutput(**self.options)  # type: ignore[arg-type]
        loop = OutputLoop(
            *(self, output, self.wake.listener(), self.clock),
            meters=lambda: self.present,
            silent=lambda: set(self.silent),
            pace=self.pace,
        )
        return output, loop

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        result = await self.store.write(usecase)
        self.wake.notify()
        return result

    async def read(self, query: Callable[[Tx], T]) -> T:
        return await self.store.read(query)

    async def add(self, count: int, meter: str = "m1", kind: str = "line_up", at_ms: int | None = None) -> None:
        at = self.clock.now_ms() if at_ms is None else at_ms
        body: dict[str, Json] = {"kind": kind, "meter": meter, "account": None, "data": {}}
        await self.write(lambda tx: [tx.add_outgoing(Outgoing(Topic.EVENT, meter, at, body)) for _ in range(count)])

    def last(self) -> int:
        return self.store.read_now(lambda tx: tx.outbox_state().last)

    def cursor(self) -> str | None:
        return self.store.read_now(lambda tx: tx.meta("output:fake"))


@contextlib.asynccontextmanager
async def running(loop: OutputLoop) -> AsyncIterator[None]:
    task = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


def at(path: Path, scenario: Callable[[House], object], pace: Pace = Pace(), **options: bool | float) -> None:  # noqa: B008
    async def run() -> None:
        house = House(path, pace, **options)
        try:
            await scenario(house)  # type: ignore[misc]
        finally:
            house.store.close()

    in_virtual_time(run)()


def test_first_the_present_then_what_happens_with_the_pictures_of_whom_it_is_about(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async with running(house.loop):
            await asyncio.sleep(5)
            assert house.output.begun == []  # not before it is ready
            house.output.connect()
            await asyncio.sleep(1)
            (begun,) = house.output.begun
            assert [portrait.meter for portrait in begun] == ["m1", "m2"]
            assert house.output.told == []  # what was before is no news for an output that is new here
            first = house.last() + 1
            await house.add(3, "m2")
            await asyncio.sleep(0.1)
            assert house.output.seqs(late=False) == [first, first + 1, first + 2]
            assert {*house.output.told[0].portraits} == {"m2"}

    at(tmp_path, scenario)


def test_the_native_uplink_owes_an_output_nothing(tmp_path: Path) -> None:
    """Rows are told whether or not the centre has them, and telling them acknowledges none."""

    async def scenario(house: House) -> None:
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(1)
            first = house.last() + 1
            house.output.delay_s = 3600  # as stuck as can be
            await house.add(2)
            await asyncio.sleep(1)
            now_ms = house.clock.now_ms()
            await house.write(lambda tx: acknowledge(tx, house.epoch, first, (), now_ms))
            state = house.store.read_now(lambda tx: tx.outbox_state())
            assert (state.low, state.waiting) == (first + 1, 1)
            await house.add(1)
            await asyncio.sleep(3700)
            house.output.delay_s = 0.001
            await asyncio.sleep(3700)
            told = house.output.seqs(late=False) + house.output.seqs(late=True)
            assert sorted(told) == [first, first + 1, first + 2]
            assert house.store.read_now(lambda tx: tx.outbox_state()).waiting == 2

    at(tmp_path, scenario)


def test_the_first_connection_may_be_as_short_as_it_likes(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async with running(house.loop):
            house.output.delay_s = 10
            house.output.connect()
            await asyncio.sleep(1)  # in the middle of its very first beginning
        first = house.last() + 1
        await house.add(3)
        output, loop = house.anew()
        async with running(loop):
            output.connect()
            await asyncio.sleep(5)
            assert output.seqs(late=True) == [first, first + 1, first + 2]

    at(tmp_path, scenario)


def test_what_was_missed_is_told_late_and_never_before_what_is_new(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(10)
        first = house.last() + 1
        await house.add(1000)
        output, loop = house.anew()
        async with running(loop):
            output.connect()
            await asyncio.sleep(0.5)
            await house.add(1)
            await asyncio.sleep(0.05)
            assert output.seqs(late=False) == [first + 1000]
            assert 0 < len(output.seqs(late=True)) < 1000  # they go at their own pace
            await asyncio.sleep(10)
            assert output.seqs(late=True) == list(range(first, first + 1000))
            rate = 1000 / (output.times[-1] - output.times[0])
            assert rate <= 1.3 * house.pace.drain_per_s

    at(tmp_path, scenario, Pace(window=50, drain_per_s=500))


def test_an_output_of_the_present_alone_is_told_nothing_of_the_past(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(10)
        await house.add(100)
        output, loop = house.anew()
        async with running(loop):
            output.connect()
            await asyncio.sleep(10)
            assert (len(output.begun), output.told) == (1, [])
        assert house.cursor() is None

    at(tmp_path, scenario, late_too=False)


def test_what_was_told_shortly_before_the_connection_broke_is_told_again(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(1)
            sure = house.last() + 1
            await house.add(1)
            await asyncio.sleep(100)
            await house.add(5)  # these may not have arrived
            await asyncio.sleep(10)
        output, loop = house.anew()
        async with running(loop):
            output.connect()
            await asyncio.sleep(60)
            assert output.seqs(late=True) == list(range(sure + 1, sure + 6))

    at(tmp_path, scenario, unsure_s=45.0)


def test_a_crash_tells_again_at_most_what_the_cursor_had_not_yet(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        first = house.last() + 1
        async with running(house.loop):
            house.output.connect()
            for _ in range(30):
                await house.add(1)
                await asyncio.sleep(1)
        again = 0
        output, loop = house.anew()
        async with running(loop):
            output.connect()
            await asyncio.sleep(10)
            again = len(output.seqs(late=True))
        everything = house.output.seqs(late=False) + house.output.seqs(late=True) + output.seqs(late=True)
        assert {*everything} == {*range(first, first + 30)}
        assert again <= 6  # save_s, and one

    at(tmp_path, scenario)


def test_a_store_that_was_restored_is_another_one(tmp_path: Path) -> None:
    """Its numbers may mean other rows: nothing is told by the old cursor."""

    async def scenario(house: House) -> None:
        await house.write(lambda tx: tx.set_meta("output:fake", "another 1"))
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(10)
            assert house.output.told == []
            assert house.cursor() == f"{house.epoch} {house.last()}"

    at(tmp_path, scenario)


def test_a_lost_connection_begins_anew_and_loses_no_row(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(1)
            first = house.last() + 1
            house.output.fails = [ConnectionError("lost")]
            await house.add(3)
            await asyncio.sleep(30)
            assert house.output.told == []
            house.output.connect()
            await asyncio.sleep(5)
            assert house.output.seqs(late=True) == [first, first + 1, first + 2]
            assert len(house.output.begun) == 2

    at(tmp_path, scenario)


def test_after_a_pause_old_rows_are_late_and_the_present_is_told_all_the_same(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(1)
            first, now_ms = house.last() + 1, house.clock.now_ms()
            await house.add(1, "m1", at_ms=now_ms - 120_000)
            await asyncio.sleep(0.1)
            assert (house.output.seqs(late=True), house.output.seqs(late=False)) == ([first], [])
            last = house.output.told[-1]
            assert (last.late, last.rows, {*last.portraits}) == (False, [], {"m1"})

    at(tmp_path, scenario)


def test_a_broker_that_takes_nothing_is_not_asked_without_end(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        tries = 0

        async def begin(portraits: Sequence[Portrait]) -> None:
            nonlocal tries
            tries += 1
            raise ConnectionError("not authorized")

        house.output.begin = begin  # type: ignore[method-assign]
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(3600)
            assert 60 <= tries <= 70

    at(tmp_path, scenario)


def test_asked_for_everything_again_it_tells_everything_again(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(1)
            house.output.again.set()
            await asyncio.sleep(2)
            assert len(house.output.begun) == 2 and not house.output.again.is_set()

    at(tmp_path, scenario)


def test_meters_come_and_go(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(1)
            now_ms = house.clock.now_ms()

            def opened(tx: Tx) -> None:
                tx.save_meter(meter("m3"))
                announce.event(tx, EventKind.ARCHIVE_CHANGED, now_ms)

            await house.write(opened)
            await asyncio.sleep(1.5)
            assert [[*news.portraits] for news in house.output.told] == [[], ["m3"]]
            await house.write(lambda tx: tx.save_meter(meter("m2", profile="dlt645-three")))  # and without an event
            await asyncio.sleep(16)
            assert [*house.output.told[-1].portraits] == ["m2"]
            house.present = {"m1", "m2"}  # its past stays in the store
            await asyncio.sleep(16)
            assert house.output.left == ["m3"]
            await house.add(1, "m3")
            await asyncio.sleep(1)
            assert (house.output.told[-1].portraits, len(house.output.told[-1].rows)) == ({}, 1)
            house.present = {"m1"}
            house.output.again.set()
            await asyncio.sleep(2)
            assert house.output.left == ["m3", "m2"]
            assert [each.meter for each in house.output.begun[-1]] == ["m1"]

    at(tmp_path, scenario)


def test_silence_is_known_from_memory_at_first_and_then_from_events(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        house.silent = {"m2"}
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(1)
            assert [(each.meter, each.answering) for each in house.output.begun[0]] == [("m1", True), ("m2", False)]
            await house.add(1, "m2", EventKind.METER_BACK)
            await house.add(1, "m1", EventKind.METER_SILENT)
            await asyncio.sleep(1)
            seen = {name: each.answering for news in house.output.told for name, each in news.portraits.items()}
            assert seen == {"m2": True, "m1": False}

    at(tmp_path, scenario)


def test_a_store_that_cannot_be_written_stops_the_cursor_and_nothing_else(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        write, down = house.write, True

        async def flaky(usecase: Callable[[Tx], T]) -> T:
            if down:
                raise Unavailable("the disk is full")
            return await write(usecase)

        house.write = flaky  # type: ignore[method-assign]
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(20)
            body: dict[str, Json] = {"kind": "line_up", "meter": "m1", "account": None, "data": {}}
            await house.store.write(lambda tx: tx.add_outgoing(Outgoing(Topic.EVENT, "m1", house.clock.now_ms(), body)))
            await asyncio.sleep(20)
            assert (house.cursor(), house.output.connections, len(house.output.begun)) == (None, 1, 1)
            assert house.output.seqs(late=False) == [house.last()]
            down = False
            await asyncio.sleep(10)
            assert house.cursor() == f"{house.epoch} {house.last()}"

    at(tmp_path, scenario)


def orders(house: House, **options: object) -> Orders:
    numbers = iter(range(10_000))
    return Orders(
        *(house, "homeassistant", house.clock, lambda: SITE),
        new_id=lambda: str(next(numbers)),
        woken=house.wake.notify,
        **options,  # type: ignore[arg-type]
    )


def refusals(house: House) -> list[str]:
    found = house.store.read_now(lambda tx: tx.events(1000))
    return [str(each.event.data["reason"]) for each in found if each.event.kind is EventKind.COMMAND_UNREADABLE]


def test_orders_are_taken_only_where_the_configuration_says_so(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        for verb in (Verb.CUT, Verb.RESTORE):
            answer = await orders(house).order("m1", verb)
            assert answer.command is None and "takes no commands" in (answer.refused or "")
        assert len(refusals(house)) == 2
        answer = await orders(house, commands=True).order("m1", Verb.CUT)
        assert "names no cut_cause" in (answer.refused or "")
        answer = await orders(house, commands=True, cuts=OutsideCuts("emergency")).order("m1", Verb.CUT)
        assert answer.command is not None and answer.command.verb is Verb.CUT

    at(tmp_path, scenario)


def test_a_flood_of_orders_fills_no_disk(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        taken = orders(house, commands=True)
        for _ in range(ORDERS_PER_MINUTE // 2):
            await taken.order("m1", Verb.CUT)
            await taken.refuse("nonsense")
        before = house.last()
        for _ in range(500):
            assert "not looked at" in ((await taken.order("m1", Verb.RESTORE)).refused or "")
            await taken.refuse("nonsense")
        assert house.last() == before
        await asyncio.sleep(61)
        assert (await taken.order("m1", Verb.RESTORE)).refused is None

    at(tmp_path, scenario)


def test_a_store_that_is_away_is_an_answer(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async def away(usecase: Callable[[Tx], T]) -> T:
            raise Unavailable("the disk is full")

        house.write = away  # type: ignore[method-assign]
        answer = await orders(house, commands=True).order("m1", Verb.RESTORE)
        assert answer.refused == "the store is unavailable: nothing was done, ask again"

    at(tmp_path, scenario)


def test_what_is_in_the_picture_that_was_told_is_news_of_the_past(tmp_path: Path) -> None:
    """A foreign system asks for everything while rows wait: none of them may pass for newer than the picture."""

    async def scenario(house: House) -> None:
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(1)
            first = house.last() + 1
            house.output.again.set()
            await house.add(3)
            await asyncio.sleep(0.5)
            assert len(house.output.begun) == 2
            assert (house.output.seqs(late=True), house.output.seqs(late=False)) == ([first, first + 1, first + 2], [])
            await house.add(1)
            await asyncio.sleep(0.5)
            assert house.output.seqs(late=False) == [first + 3]

    at(tmp_path, scenario)


def test_nothing_is_told_between_the_wish_for_everything_and_everything(tmp_path: Path) -> None:
    """Rows are found, and before they are told the foreign system asks (rebirth-action-1 of Sparkplug's)."""

    async def scenario(house: House) -> None:
        order: list[str] = []
        begin, tell, read, asked = house.output.begin, house.output.tell, house.read, False

        async def asking_read(query: Callable[[Tx], T]) -> T:
            found = await read(query)
            nonlocal asked
            if isinstance(found, tuple) and len(found) == 2 and found[0] and not asked:  # rows and pictures
                asked = True
                house.output.again.set()
            return found

        async def begun(portraits: Sequence[Portrait]) -> None:
            order.append("all")
            await begin(portraits)

        async def told(news: News) -> None:
            order.append("news" if news.rows else "pictures")
            await tell(news)

        house.output.begin, house.output.tell, house.read = begun, told, asking_read  # type: ignore[method-assign]
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(1)
            order.clear()
            first = house.last() + 1
            await house.add(2)
            await asyncio.sleep(0.5)
            assert asked and order[0] == "all" and house.output.seqs(late=True) == [first, first + 1]

    at(tmp_path, scenario)


def test_how_far_it_is_behind_and_what_it_missed_for_good(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        loop = house.loop
        assert (loop.waiting(house.last()), loop.told_ms) == (0, None)
        async with running(loop):
            await asyncio.sleep(1)
            await house.add(10)
            assert loop.waiting(house.last()) == 10, "it is away"
            house.output.connect()
            await asyncio.sleep(10)
            assert (loop.waiting(house.last()), loop.dropped, loop.told_ms is not None) == (0, 0, True)
        first = house.last() + 1
        await house.add(10)
        gone = range(first + 2, first + 7)
        await house.write(lambda tx: tx.drop_outgoing(list(gone)))
        output, again = house.anew()
        async with running(again):
            output.connect()
            await asyncio.sleep(10)
            assert (again.dropped, again.waiting(house.last())) == (5, 0)
            assert {*output.seqs(late=True)} >= {*range(first, first + 10)} - {*gone}

    at(tmp_path, scenario)


def test_one_that_shows_the_present_alone_misses_nothing_while_it_is_away(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async with running(house.loop):
            await asyncio.sleep(1)
            await house.add(10)
            assert house.loop.waiting(house.last()) == 0

    at(tmp_path, scenario, late_too=False)


def test_orders_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        taken = orders(house, commands=True)
        await taken.order("m1", Verb.RESTORE)
        await taken.order("m9", Verb.RESTORE)
        await taken.refuse("nonsense")
        await orders(house, commands=False).order("m1", Verb.CUT)
        assert taken.counted == {("restore", ""): 1, ("", "refused"): 1, ("", "unreadable"): 1}
        nobody = orders(house, commands=False)
        await nobody.order("m1", Verb.CUT)
        for _ in range(ORDERS_PER_MINUTE):
            await nobody.refuse("nonsense")
        assert nobody.counted == {("", "not_served"): 1, ("", "unreadable"): ORDERS_PER_MINUTE - 1, ("", "too_many"): 1}

        async def away(usecase: Callable[[Tx], T]) -> T:
            raise Unavailable("the disk is full")

        house.write = away  # type: ignore[method-assign]
        await taken.order("m1", Verb.RESTORE)
        assert taken.counted["", "unavailable"] == 1

    at(tmp_path, scenario)


def test_the_number_of_a_birth_outlives_the_process_and_a_full_disk(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        numbers = Numbers(house, "node")
        assert await numbers.last() is None
        await numbers.note(7)
        written = house.store.written
        await numbers.note(7)
        assert house.store.written == written, "a rebirth has the same number"
        assert await Numbers(house, "node").last() == 7 and await Numbers(house, "other").last() is None

        async def away(usecase: Callable[[Tx], T]) -> T:
            raise Unavailable("the disk is full")

        house.write = away  # type: ignore[method-assign]
        await numbers.note(8)
        assert await Numbers(house, "node").last() == 7

    at(tmp_path, scenario)


def test_who_asks_for_everything_without_end_gets_it_once_a_second(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        async with running(house.loop):
            house.output.connect()
            await asyncio.sleep(5)
            for _ in range(1000):
                house.output.again.set()
                await asyncio.sleep(0.01)
            assert 10 <= len(house.output.begun) <= 12

    at(tmp_path, scenario)
