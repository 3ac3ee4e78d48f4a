"""What comes down is written down: commands for certain, noise within bounds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, cast

import pytest

from gateway.domain.events import EventKind, Outgoing, Topic
from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.meters import Meter, SwitchKind
from gateway.domain.uplink_keys import Why
from gateway.entrypoints import downlink
from gateway.entrypoints.downlink import MOST_NOISE, MOST_REPEATS, NOISE_MS, Downlink
from gateway.entrypoints.outbox_loop import OutboxLoop
from gateway.services.acknowledge import EPOCH
from gateway.services.ports import DiskLow, Essential, Site, Tx, Unavailable
from tests.gateway.services.memory_tx import MemoryTx

T = TypeVar("T")
SITE = Site("G1", "Asia/Shanghai", clock_trusted=True)
GONE = IncomingCommand("c-1", "G2", "stop", None, None, None, 0, None, "", 1)


class Store:
    """In memory; fails as often as it is told to. low: only what is essential is written."""

    def __init__(self) -> None:
        self.tx, self.fails, self.low = MemoryTx(), 0, False

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        if self.fails:
            self.fails -= 1
            raise Unavailable("not now")
        if self.low and not isinstance(usecase, Essential):
            raise DiskLow("the disk is full")
        return usecase(self.tx)

    async def read(self, query: Callable[[Tx], T]) -> T:
        return query(self.tx)


class Clock:
    ms = 10**12

    def now_ms(self) -> int:
        return self.ms


async def test_a_flood_of_noise_is_counted_and_a_little_of_it_recorded() -> None:
    store, clock, counted = Store(), Clock(), Counter[str | None]()
    down = Downlink(store, cast(OutboxLoop, None), clock, lambda: SITE, count=lambda verb, why: counted.update([why]))
    for _ in range(10 * MOST_NOISE):
        await down.on_unreadable(UnreadableCommand("this is not signed", None, Why.UNSIGNED))
    assert counted == {Why.UNSIGNED: 10 * MOST_NOISE} and len(store.tx.kept_events) == MOST_NOISE
    await down.on_unreadable(UnreadableCommand("this command is wrong", "c-1"))  # signed well, and named
    assert len(store.tx.kept_events) == MOST_NOISE + 1
    assert f"{9 * MOST_NOISE} more messages" in str(store.tx.kept_events[-1].event.data["reason"])
    clock.ms += NOISE_MS
    await down.on_unreadable(UnreadableCommand("this is not signed", None, Why.UNSIGNED))
    assert len(store.tx.kept_events) == MOST_NOISE + 2


async def test_nobody_gets_more_room_by_naming_commands() -> None:
    store, clock = Store(), Clock()
    down = Downlink(store, cast(OutboxLoop, None), clock, lambda: SITE)
    for number in range(2 * MOST_NOISE):
        await down.on_unreadable(UnreadableCommand("this is not signed", f"c-{number}", Why.UNSIGNED))
    assert len(store.tx.kept_events) == MOST_NOISE
    assert len(store.tx.outgoing(0, 10 * MOST_NOISE)) <= 2 * MOST_NOISE  # each with its answer


class Outbox:
    """What is told of acknowledgements."""

    def __init__(self, sent: int) -> None:
        self.sent, self.told = sent, list[int]()

    def heard(self, upto: int, also: object) -> None:
        self.told.append(upto)


@pytest.mark.parametrize(
    ("epoch", "upto", "also"), [("another", 3, ()), ("", 3, ()), ("ours", 4, ()), ("ours", 1, ((3, 4),)), ("ours", 2**60, ())]
)
async def test_an_ack_of_another_outbox_or_of_what_never_left_takes_nothing_out(
    epoch: str, upto: int, also: tuple[tuple[int, int], ...]
) -> None:
    store, outbox = Store(), Outbox(3)
    store.tx.set_meta(EPOCH, "ours")
    for number in range(5):
        store.tx.add_outgoing(Outgoing(Topic.EVENT, "gateway", number, {}))
    down = Downlink(store, cast(OutboxLoop, outbox), Clock(), lambda: SITE)
    await down.on_ack(epoch, upto, also)
    assert (store.tx.outbox_state().low, outbox.told) == (1, [])
    assert [stored.event.kind for stored in store.tx.events(9)] == [EventKind.ACK_REFUSED]
    await down.on_ack("ours", 2, ((3, 3),))
    assert (store.tx.outbox_state().low, outbox.told) == (4, [2])


async def test_a_command_that_cannot_be_written_stays_with_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downlink, "PAUSE_S", 0.0)
    store, counted = Store(), Counter[str | None]()
    down = Downlink(store, cast(OutboxLoop, None), Clock(), lambda: SITE, count=lambda verb, why: counted.update([why]))
    store.fails = 100
    with pytest.raises(ConnectionError, match="could not be written down"):
        await down.on_command(GONE)
    assert not counted
    store.fails = 2
    await down.on_command(GONE)
    assert counted == {Why.FOREIGN: 1} and store.tx.uplink_order("c-1") is not None


async def test_a_command_that_an_error_of_ours_stops_is_refused_and_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downlink, "PAUSE_S", 0.0)
    store, counted = Store(), Counter[str | None]()

    def prepare(tx: Tx, command: IncomingCommand) -> IncomingCommand:
        if command.id == "c-1":
            raise OverflowError("date value out of range")
        return command

    down = Downlink(
        store, cast(OutboxLoop, None), Clock(), lambda: SITE, prepare=prepare, count=lambda verb, why: counted.update([why])
    )
    await down.on_command(GONE)
    await down.on_command(replace(GONE, id="c-2", counter=2))
    kept = store.tx.uplink_order("c-1")
    assert kept is not None and (kept.state, kept.code) == ("refused", "not_permitted") and "error of this gateway" in kept.reason
    assert counted == {Why.NOT_PERMITTED: 1, Why.FOREIGN: 1}


async def test_one_that_cannot_even_be_refused_stays_with_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downlink, "PAUSE_S", 0.0)
    store = Store()
    with monkeypatch.context() as broken:
        broken.setattr(store.tx, "add_uplink_order", lambda order: 1 // 0)
        with pytest.raises(ConnectionError, match="could not be written down"):
            await Downlink(store, cast(OutboxLoop, None), Clock(), lambda: SITE).on_command(GONE)
    await Downlink(store, cast(OutboxLoop, None), Clock(), lambda: SITE).on_command(GONE)
    assert store.tx.uplink_order("c-1") is not None


async def test_another_content_under_a_known_id_is_counted_and_a_repeat_is_not() -> None:
    store, counted = Store(), Counter[str | None]()
    down = Downlink(store, cast(OutboxLoop, None), Clock(), lambda: SITE, count=lambda verb, why: counted.update([why]))
    for command in (GONE, GONE, replace(GONE, digest="another")):
        await down.on_command(command)
    assert counted == {Why.FOREIGN: 1, Why.KNOWN_ID: 1}


async def test_a_storm_of_repeats_is_answered_a_little_at_a_time() -> None:
    """Whoever overheard a good order may replay it for ever, and answers are kept when readings are thinned."""
    store, clock = Store(), Clock()
    down = Downlink(store, cast(OutboxLoop, None), clock, lambda: SITE)
    for _ in range(1 + 3 * MOST_REPEATS):
        await down.on_command(GONE)
    assert len(store.tx.outgoing(0, 10_000)) == 2 + MOST_REPEATS  # its refusal is an event besides
    await down.on_command(replace(GONE, id="c-2", counter=2))
    assert store.tx.uplink_order("c-2") is not None, "what is new is judged as ever"
    clock.ms += 60_000
    before = len(store.tx.outgoing(0, 10_000))
    await down.on_command(GONE)
    assert len(store.tx.outgoing(0, 10_000)) == before + 1


async def test_a_cut_while_the_disk_is_low_is_refused_and_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downlink, "PAUSE_S", 0.0)
    store, counted = Store(), Counter[str | None]()
    store.tx.save_meter(Meter("M1", "a", "000000000001", "dlt645-2007", "p", None, "P1", SwitchKind.INTERNAL, "a"))
    store.low = True
    site = replace(SITE, disk_ok=False)
    down = Downlink(store, cast(OutboxLoop, None), Clock(), lambda: site, count=lambda verb, why: counted.update([why]))
    await down.on_command(replace(GONE, gateway="G1", verb="cut", meter="M1", cause="emergency", expires_ms=2 * Clock.ms))
    assert counted == {Why.NOT_PERMITTED: 1} and (order := store.tx.uplink_order("c-1")) is not None
    assert order.state == "refused" and "F6" in order.reason


async def test_noise_while_the_disk_is_low_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downlink, "PAUSE_S", 3600.0)
    store, counted = Store(), Counter[str | None]()
    store.low = True
    down = Downlink(store, cast(OutboxLoop, None), Clock(), lambda: SITE, count=lambda verb, why: counted.update([why]))
    async with asyncio.timeout(60):
        await down.on_unreadable(UnreadableCommand("this is not signed", None, Why.UNSIGNED))
    assert counted == {Why.UNSIGNED: 1} and not store.tx.kept_events
