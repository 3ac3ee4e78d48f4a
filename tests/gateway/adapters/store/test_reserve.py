"""A disk without room: what gives supply back is still written, and everything else again when there is room (F6)."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.store import Store
from gateway.adapters.store.reserve import MIB, PAUSE_S, RESERVE, Reserve
from gateway.domain.ledger import Audit
from gateway.services.ports import DiskLow, Essential, Tx, Unavailable
from tests.gateway.adapters.store.disks import fill_up, mounted
from tests.gateway.adapters.store.test_disk import Faulty, batch, failing, faulty_store, top_up


class Disk:
    """How much room a file system says that it has; a reserve takes its share of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, free: int) -> None:
        self.free, self._file = free, folder / RESERVE
        self.now_s = 1000.0
        monkeypatch.setattr(os, "statvfs", self._statvfs)

    def _statvfs(self, _folder: object) -> os.statvfs_result:
        left = self.free - (self._file.stat().st_size if self._file.exists() else 0)
        return os.statvfs_result((4096, 4096, 0, 0, max(left, 0) // 4096, 0, 0, 0, 0, 255))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Disk:
    return Disk(monkeypatch, tmp_path, 100 * MIB)


def reserve(tmp_path: Path, disk: Disk, size: int = MIB) -> Reserve:
    return Reserve(tmp_path, size, monotonic=lambda: disk.now_s)


def test_a_reserve_has_its_blocks_and_is_taken_over_by_the_next_start(tmp_path: Path, disk: Disk) -> None:
    assert reserve(tmp_path, disk).low is None
    seen = (tmp_path / RESERVE).stat()
    assert seen.st_size == MIB and seen.st_blocks * 512 >= MIB and seen.st_mode & 0o777 == 0o600
    disk.free = MIB  # nothing but the reserve is left: it could not be made again, but it stands
    (tmp_path / RESERVE).rename(tmp_path / "aside")
    assert reserve(tmp_path, disk).low is not None
    disk.free = 3 * MIB
    (tmp_path / "aside").rename(tmp_path / RESERVE)
    assert reserve(tmp_path, disk).low is None and (tmp_path / RESERVE).stat().st_ino == seen.st_ino


def test_a_reserve_of_another_size_or_without_blocks_is_made_anew(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / RESERVE).write_bytes(b"x" * 5)
    assert reserve(tmp_path, disk).low is None and (tmp_path / RESERVE).stat().st_size == MIB
    os.truncate(tmp_path / RESERVE, 0)
    os.truncate(tmp_path / RESERVE, MIB)
    assert (tmp_path / RESERVE).stat().st_blocks == 0
    assert reserve(tmp_path, disk).low is None and (tmp_path / RESERVE).stat().st_blocks * 512 >= MIB


def test_it_is_given_up_below_its_size_and_made_anew_well_above_it(tmp_path: Path, disk: Disk) -> None:
    kept = reserve(tmp_path, disk)
    disk.free = 2 * MIB
    assert kept.look() is None
    disk.free = 2 * MIB - 4096
    assert kept.look() == "the disk has only 0 MiB left: only what gives supply back is written down"
    assert not (tmp_path / RESERVE).exists()
    assert kept.look() == "the disk has only 1 MiB left: only what gives supply back is written down" == kept.low
    disk.free = 5 * MIB // 2 - 4096
    assert kept.look() is not None
    disk.free = 5 * MIB // 2
    assert kept.look() is None and kept.low is None and (tmp_path / RESERVE).exists()


def test_after_a_write_without_room_it_waits_before_it_believes_the_figures(tmp_path: Path, disk: Disk) -> None:
    kept = reserve(tmp_path, disk)
    kept.give_up("the disk is full")
    assert kept.low == "the disk is full: only what gives supply back is written down" and not (tmp_path / RESERVE).exists()
    disk.now_s += PAUSE_S - 0.1
    assert kept.look() is not None
    disk.now_s += 0.1
    assert kept.look() is None


def test_a_disk_that_says_nothing_of_its_room_has_none(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> os.statvfs_result:
        raise OSError(errno.EIO, "Input/output error")

    kept = reserve(tmp_path, disk)
    monkeypatch.setattr(os, "statvfs", broken)
    assert (kept.look() or "").startswith("the disk says nothing of its room (Input/output error)")


def test_a_store_without_a_reserve_gives_back_what_an_earlier_one_kept(sqlite_file: Path) -> None:
    Store.open(str(sqlite_file), inline=True, reserve_bytes=MIB).close()
    file = sqlite_file.with_name(RESERVE)
    assert file.exists()
    Store.open(str(sqlite_file), read_only=True).close()
    Store.open(str(sqlite_file), inline=True).close()
    assert file.exists(), "a command line verb leaves the gateway's reserve alone"
    Store.open(str(sqlite_file), inline=True, reserve_bytes=0).close()
    assert not file.exists()


async def test_where_room_is_short_only_what_is_essential_is_written(sqlite_file: Path, disk: Disk) -> None:
    with Store.open(str(sqlite_file), inline=True, reserve_bytes=MIB) as store:
        assert store.low is None and await batch(store, top_up("A")) == ["A"]
        disk.free = MIB
        waiting = [store.write(top_up("B")), store.write(Essential(top_up("C")))]  # in the queue already when room runs out
        first, second = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(first, DiskLow) and "only what gives supply back" in str(first) and second == "C"
        assert store.low is not None
        with pytest.raises(DiskLow):
            await store.write(top_up("D"))
        assert store.write_now(top_up("E")) == "E"
        disk.free = 100 * MIB
        assert store.look_at_disk() is None and await batch(store, top_up("D")) == ["D"]
        assert sound(store) == 4


def sound(store: Store) -> int:
    """How many entries the journal has, after an audit."""
    audit = Audit()

    def look(tx: Tx) -> int:
        audit.take(tx.journal_rows(0, 100_000))
        audit.compare(tx.balances())
        return tx.journal_end()[0]

    end = store.read_now(look)
    assert (audit.finding, audit.number) == (None, end)
    return end


@pytest.mark.parametrize("extended", [13, 10 | 19 << 8], ids=["SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"])
async def test_a_full_disk_at_commit_repeats_the_essential_alone(sqlite_file: Path, extended: int) -> None:
    store = faulty_store(sqlite_file, reserve_bytes=MIB)
    Faulty.fault = failing("database or disk is full", extended)
    first, second, third = await batch(store, top_up("A"), Essential(top_up("B")), top_up("C"))
    assert isinstance(first, DiskLow) and second == "B" and isinstance(third, DiskLow)
    assert store.low == "the disk is full: only what gives supply back is written down" and sound(store) == 1
    assert not sqlite_file.with_name(RESERVE).exists()
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 24 MiB: a log that is folded in every 4 MiB must fit into the reserve."""
    with mounted(tmp_path / "small", "24m") as place:
        yield place


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "thread"])
async def test_on_a_disk_that_is_really_full_the_essential_goes_on_for_thousands_of_rows(
    small_disk: Path, sqlite_file: Path, inline: bool
) -> None:
    file = Path(shutil.copy(sqlite_file, small_disk / "wattgate.db"))
    fatal: list[str] = []
    store = Store.open(str(file), inline=inline, reserve_bytes=6 * MIB, on_fatal=fatal.append)
    assert store.low is None and await batch(store, top_up("A")) == ["A"]
    ballast = fill_up(small_disk)
    told = 0
    for n in range(10):
        answers = await batch(store, top_up(f"n{n}"), Essential(top_up(f"e{n}")))
        assert isinstance(answers[0], Unavailable) and answers[1] == f"e{n}", answers
        told += 1
    for n in range(200):
        assert await batch(store, *(Essential(top_up(f"{n}-{k}")) for k in range(5))) == [f"{n}-{k}" for k in range(5)]
    assert store.low is not None and not (small_disk / RESERVE).exists()
    ballast.unlink()
    assert sound(store) == 1 + told + 1000 and fatal == []
    store.close()
    with Store.open(str(file), inline=inline, reserve_bytes=6 * MIB) as again:  # a start does not wait: it finds room
        assert again.low is None and await batch(again, top_up("Z")) == ["Z"]


async def test_a_start_on_a_full_disk_finds_its_reserve(small_disk: Path, sqlite_file: Path) -> None:
    file = Path(shutil.copy(sqlite_file, small_disk / "wattgate.db"))
    Store.open(str(file), inline=True, reserve_bytes=6 * MIB).close()
    ballast = fill_up(small_disk)
    store = Store.open(str(file), inline=True, reserve_bytes=6 * MIB)
    assert store.low is not None and store.write_now(top_up("A")) == "A"
    with pytest.raises(DiskLow):
        await store.write(top_up("B"))
    assert await batch(store, Essential(top_up("C"))) == ["C"]
    ballast.unlink()
    assert store.look_at_disk() is None and await batch(store, top_up("B")) == ["B"]
    store.close()
