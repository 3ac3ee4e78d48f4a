"""A running gateway takes its configuration file over again, by difference: examined whole, then all of it or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from gateway.adapters.clock import Clock
from gateway.adapters.http.reload import Changes, NotReloaded
from gateway.bootstrap.archive import archive_of, site_of
from gateway.bootstrap.calendars import calendars_of
from gateway.bootstrap.crew import Crew, Restless
from gateway.bootstrap.difference import changes, restarts
from gateway.bootstrap.examine import CannotStart, examine, passwords_of
from gateway.bootstrap.filings import NOTHING, Merged, Stored, merge
from gateway.bootstrap.lines import Before, Passwords, build_lines
from gateway.bootstrap.outputs import Outputs
from gateway.bootstrap.tariffs import tariffs_of
from gateway.bootstrap.trust import Trust
from gateway.domain.events import EventKind, Json
from gateway.domain.life import Refusal
from gateway.services import announce
from gateway.services.load_archive import Archive, load_archive
from gateway.services.ports import Site, Tx, Unavailable
from gateway.services.run_command import recover
from gateway.settings import Settings, SettingsError, load

T = TypeVar("T")
log = structlog.get_logger()


class Running(Protocol):
    """The gateway that is changed. `settings` is what it goes by from moment to moment, `archive` what it took over with them;
    filed: what stands in the file, stored: beside it."""

    filed: Settings
    stored: Stored
    settings: Settings
    archive: Archive

    @property
    def crew(self) -> Crew: ...
    @property
    def outputs(self) -> Outputs: ...
    @property
    def passwords(self) -> Passwords: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def trust(self) -> Trust: ...
    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    def wake(self) -> None:
        """Every line looks for commands."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A configuration that may be taken over."""

    filed: Settings
    settings: Settings
    passwords: Passwords
    archive: Archive


class Reloader:
    """Takes `file` over again when asked, one at a time."""

    def __init__(self, gateway: Running, file: Path) -> None:
        self._gateway, self._file = gateway, file
        self.turn = self._busy = asyncio.Lock()

    async def __call__(self, named: str | None = None) -> Changes:
        """What changed. named: the file that the caller means. Raises NotReloaded; then nothing has changed."""
        if self._busy.locked():
            raise NotReloaded(["a configuration is being taken over at this moment; ask again"], valid=True)
        async with self._busy:
            try:
                done = await self._reload(named)
            except NotReloaded as refused:
                log.error("reload_refused", file=str(self._file), errors=refused.errors)
                raise
            log.info("reloaded", file=str(self._file), **_counts(done))
            return done

    async def on(self, asked: asyncio.Event) -> None:
        """Each time this is set (SIGHUP); what came of it stands in the log. Until cancelled."""
        while True:
            await asked.wait()
            asked.clear()
            async with self._busy:
                pass  # what is being taken over now may be older than the file
            try:
                await self()
            except NotReloaded:
                continue

    async def _reload(self, named: str | None) -> Changes:
        gateway, old = self._gateway, self._gateway.settings
        found = await asyncio.to_thread(look, self._file, named, old, gateway.stored)
        new = found.settings
        files = [tariff.id for tariff in found.archive.tariffs if tariff not in gateway.archive.tariffs]
        calendars = found.archive.calendars != gateway.archive.calendars
        outputs, passwords = gateway.outputs.wanted(new), found.passwords != gateway.passwords
        others = gateway.outputs.stale(outputs)
        changed = changes(old, new, passwords=passwords, tariffs=files, calendars=calendars, outputs=others)
        if not changed:
            gateway.filed = found.filed
            return changed
        lines = build_lines(new, gateway.passwords, gateway.clock, Before(old, gateway.crew.lines))

        site = site_of(new, gateway.trust)

        async def commit(ending: Collection[str]) -> None:
            await gateway.write(lambda tx: _take_over(tx, found.archive, site, changed, ending, gateway.clock.now_ms()))
            gateway.filed, gateway.settings, gateway.archive = found.filed, new, found.archive
            gateway.passwords.take(found.passwords)

        try:
            await gateway.crew.change(lines, commit)
        except (Restless, Unavailable, ValueError) as problem:
            raise NotReloaded([str(problem)], valid=True) from None
        gateway.wake()
        await gateway.outputs.change(outputs)
        return changed

    async def take(self, merged: Merged, stored: Stored, meters: Collection[str], commit: Callable[[Tx], T]) -> T:
        """Go on with what stands beside the file now, once `commit` is written; the caller has the turn. Only lines whose meters
        are others come to rest for it. Raises Refusal when one does not, and what `commit` raises; then nothing has changed."""
        gateway, done = self._gateway, list[T]()
        lines = build_lines(merged.settings, gateway.passwords, gateway.clock, Before(gateway.settings, gateway.crew.lines))

        async def write(ending: Collection[str]) -> None:
            done.append(await gateway.write(commit))
            gateway.archive = self._with(merged.settings)
            gateway.settings, gateway.stored = merged.settings, stored

        try:
            await gateway.crew.change(lines, write)
        except Restless as problem:
            raise Refusal(str(problem)) from None
        gateway.wake()
        if meters:
            log.info("archive_changed", meters=len(meters))
        return done[0]

    def _with(self, new: Settings) -> Archive:
        """What the next reload is held against."""
        old, folder, zone = self._gateway.settings, self._file.resolve().parent, new.gateway.zone
        archive = self._gateway.archive
        if new.tariff != old.tariff:
            archive = replace(archive, tariffs=tariffs_of(new.tariff, folder, zone))
        if new.no_cut_calendar != old.no_cut_calendar:
            archive = replace(archive, calendars=calendars_of(new.no_cut_calendar, folder, zone))
        return archive


def look(file: Path, named: str | None, old: Settings, stored: Stored = NOTHING) -> _Found:
    """Examine the file as at a start, and whether a running gateway can take it over. Raises NotReloaded with every reason."""
    if named is not None and Path(named).resolve() != file.resolve():
        raise NotReloaded([f"this gateway runs on {file}, not on {named}"], valid=True)
    folder = file.resolve().parent
    try:
        filed = load(file)
        merged = merge(filed, stored)
        new = merged.settings
        report = examine(new, folder)
        alone = stored.calendars.keys() - {each.id for each in filed.no_cut_calendar}
        beside = tuple(f"no_cut_calendar {id}:" for id in alone)  # whoever edits the file cannot mend these
        if errors := [*report.errors, *(ended for ended in report.ended if not ended.startswith(beside))]:
            raise NotReloaded(errors, valid=False)
        passwords, archive = passwords_of(new, folder), archive_of(new, folder, merged)
    except SettingsError as problem:
        raise NotReloaded(problem.errors, valid=False) from None
    except CannotStart as problem:
        raise NotReloaded([str(problem)], valid=False) from None
    if needed := restarts(old, new):
        raise NotReloaded(needed, valid=True)
    for notice in merged.notices:
        log.warning("file_and_store", text=notice)
    return _Found(filed, new, passwords, archive)


def _take_over(tx: Tx, archive: Archive, site: Site, changed: Changes, ending: Collection[str], now_ms: int) -> None:
    """One transaction. What a line that ends here had in flight is uncertain, as after a start."""
    load_archive(tx, archive, site, now_ms)
    recover(tx, site, now_ms, lines=ending)
    announce.event(tx, EventKind.CONFIGURATION_CHANGED, now_ms, meter=None, account=None, **_counts(changed))


def _counts(changed: Changes) -> dict[str, Json]:
    """How many of what came, went or are different."""
    named = {table: getattr(changed, table) for table in ("lines", "meters", "accounts", "tariffs", "schemes", "outputs")}
    counts = {table: len(parts.added) + len(parts.removed) + len(parts.changed) for table, parts in named.items()}
    return {what: n for what, n in {**counts, "keys": len(changed.keys), "passwords": int(changed.passwords)}.items() if n}
