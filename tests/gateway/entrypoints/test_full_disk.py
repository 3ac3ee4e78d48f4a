"""F6 on a real small file system, in virtual time: with the disk full nothing is cut, and restores are recorded and sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.adapters.store import MIB, reserve
from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.supply import CommandState, Verb
from gateway.entrypoints import disk_loop
from gateway.services.ports import DiskLow
from gateway.services.run_command import recover
from tests.gateway.adapters.store.disks import fill_up, mounted
from tests.gateway.adapters.store.supply_contract import break_log
from tests.gateway.entrypoints.line_bench import Bench, bare
from tests.simulation.virtual_loop import in_virtual_time

WITHIN_S = 300
READ, CONTROL = 0x11, 0x1C


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real file system of 24 MiB; the store believes at once that there is room again."""
    monkeypatch.setattr(reserve, "PAUSE_S", 0.0)
    with mounted(tmp_path / "small", "24m") as place:
        yield place


async def until(so: Callable[[], bool], what: str) -> None:
    for _ in range(WITHIN_S):
        if so():
            return
        await asyncio.sleep(1)
    raise AssertionError(f"not within {WITHIN_S} s: {what}")


def stored(bench: Bench, name: str) -> Callable[[], bool]:
    return lambda: bench.command(name).state is CommandState.VERIFIED


async def watch_disk(bench: Bench) -> None:
    async def look() -> str | None:
        return bench.store.look_at_disk()

    await disk_loop.watch(bench.weak, look, bench.clock)


def finding(bench: Bench) -> str | None:
    known = bench.store.read_now(lambda tx: tx.finding(FindingKind.DISK_LOW, "gateway"))
    return known and known.text


@in_virtual_time
async def test_with_a_full_disk_restores_go_out_and_cuts_do_not(small_disk: Path) -> None:
    async with Bench(small_disk, meters=4, reserve_bytes=6 * MIB) as bench:
        watching = asyncio.create_task(watch_disk(bench))
        for meter in ("m1", "m2"):
            await bench.order(meter, Verb.CUT, f"cut-{meter}")
            await until(stored(bench, f"cut-{meter}"), f"{meter} is cut")
        assert finding(bench) is None
        await bench.order("m1", Verb.RESTORE, "back-1")
        await bench.order("m3", Verb.CUT, "cut-3", lives_s=3600)
        ballast = fill_up(small_disk)
        await until(stored(bench, "back-1"), "what was ordered before is sent and recorded")
        assert bench.contact_closed("m1") and bench.store.low is not None
        await until(lambda: finding(bench) is not None, "a person is told")
        assert finding(bench) == f"{bench.store.low}; no money is taken and nothing is cut"

        refused = await bench.ask("m4", Verb.CUT, "cut-4")
        assert refused.command is None and "(F6)" in (refused.refused or "")
        await bench.order("m2", Verb.RESTORE, "back-2")
        await until(stored(bench, "back-2"), "what is ordered now is sent and recorded")
        readings = bench.readings("m1")
        await asyncio.sleep(120)
        assert bench.contact_closed("m2") and bench.contact_closed("m3") and bench.contact_closed("m4")
        assert not bench.frames(CONTROL, "m3") and not bench.frames(CONTROL, "m4") and bench.readings("m1") == readings
        with pytest.raises(DiskLow):
            await bench.store.write(lambda tx: tx.set_meta("money", "1"))

        ballast.unlink()
        await until(stored(bench, "cut-3"), "the cut goes out when there is room")
        await until(lambda: bench.readings("m1") > readings, "readings are stored again")
        assert finding(bench) is None and bench.store.low is None and (small_disk / reserve.RESERVE).stat().st_size == 6 * MIB
        assert [kind for kind, _ in bench.events(EventKind.FINDING_OPENED, EventKind.FINDING_CLOSED)] == [
            EventKind.FINDING_OPENED.value,
            EventKind.FINDING_CLOSED.value,
        ]
        assert bench.running
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


@in_virtual_time
async def test_with_an_audit_log_that_takes_nothing_restores_go_out_and_cuts_do_not(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=2) as bench:
        await bench.order("m1", Verb.CUT, "cut-1")
        await until(stored(bench, "cut-1"), "m1 is cut")
        mend = break_log(bench.store)
        assert "audit" in ((await bench.ask("m2", Verb.CUT, "cut-2")).refused or "")
        await bench.order("m1", Verb.RESTORE, "back-1")
        await until(stored(bench, "back-1"), "m1 is back")
        await asyncio.sleep(60)
        assert bench.contact_closed("m1") and bench.contact_closed("m2") and not bench.frames(CONTROL, "m2")
        mend()
        await bench.order("m2", Verb.CUT, "cut-3")
        await until(stored(bench, "cut-3"), "m2 is cut when it is written down")


@in_virtual_time
async def test_what_a_failed_disk_left_is_sent_first_by_the_next_process(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=3) as bench:
        await bench.order("m3", Verb.CUT, "cut-3")
        await until(stored(bench, "cut-3"), "m3 is cut")
        await bench.order("m3", Verb.RESTORE, "back-3")  # on disk; and then no line has a turn any more

    bench = Bench(tmp_path, meters=3)
    assert bench.store.write_now(lambda tx: recover(tx, bench.site(), bench.clock.now_ms())) >= 0
    bench.start(*bench.loops)
    await until(stored(bench, "back-3"), "the restore is sent and recorded")
    sent = [(bare(data)[8], bare(data)[1:7]) for _, data in bench.street.lines["rs"].sent[:3]]
    assert [control for control, _ in sent] == [READ, READ, CONTROL] and len({meter for _, meter in sent}) == 1, (
        "the clock of the meter that was cut, its date and its time, and then the restore"
    )
    await bench.__aexit__()


@in_virtual_time
async def test_its_twin_with_room_cuts_and_restores(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=2, reserve_bytes=MIB) as bench:
        assert (await bench.ask("m1", Verb.CUT, "cut-1")).refused is None
        await until(stored(bench, "cut-1"), "m1 is cut")
        await bench.order("m1", Verb.RESTORE, "back-1")
        await until(stored(bench, "back-1"), "m1 is back")
