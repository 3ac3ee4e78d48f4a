"""One act without a running gateway: the data directory's lock, the store, and the lines that the act needs (contract.md 2).

The same use cases, listeners' rules and line loops as in the gateway, only that nobody listens: a thread of its own answers the
verb that asks. What goes up to the centre stays in the outbox for the next run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx2
import structlog
from fastapi import FastAPI

from gateway import __version__
from gateway.adapters.clock import Clock
from gateway.adapters.http.archive_api import ArchiveApi
from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.keys_api import KeysApi
from gateway.adapters.http.life_api import LifeApi
from gateway.adapters.http.operator import OperatorApi, OperatorUseCases
from gateway.adapters.http.people_api import PeopleApi
from gateway.adapters.http.reopen_api import ReopenApi
from gateway.adapters.http.stream import Stream
from gateway.adapters.identity import Identity, identity_of
from gateway.adapters.store import Store, StoreError, lock
from gateway.adapters.uplink_keyring import KeyRing
from gateway.bootstrap.archive import archive_of, site_of
from gateway.bootstrap.centre import Keys
from gateway.bootstrap.counter import hang_counter
from gateway.bootstrap.crew import Crew
from gateway.bootstrap.emergency_credit import hang_credit
from gateway.bootstrap.examine import CannotStart, passwords_of, store_url
from gateway.bootstrap.filings import Merged, Stored
from gateway.bootstrap.imports import Imports
from gateway.bootstrap.life import Life, standing
from gateway.bootstrap.lines import Before, build_lines
from gateway.bootstrap.own_key import hang_own_key
from gateway.bootstrap.people import People, random_token
from gateway.bootstrap.reach import TOKEN
from gateway.bootstrap.reopening import reopen_cases
from gateway.bootstrap.trust import Trust
from gateway.bootstrap.two_people import hang_two_people
from gateway.bootstrap.vitals import Vitals
from gateway.domain.people import CONSOLE, Person, Role, hash_of
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import Command
from gateway.entrypoints import trust_loop
from gateway.entrypoints.line_loop import LineLoop, Wake
from gateway.services.load_archive import load_archive
from gateway.services.order_supply import order_supply
from gateway.services.plan import LinePlan
from gateway.services.ports import Site, SupplyAnswer, Tx
from gateway.services.run_command import recover
from gateway.settings import Settings

T = TypeVar("T")

ANSWER_WITHIN_S = 120.0
"""For one act: a file of 10,000 tables takes some 10 s on a quiet machine."""

END_WITHIN_S = 10.0
"""For the lines to let go of their devices."""


class Taken(Exception):
    """A gateway, or another act, has the data directory; one sentence."""


class ByHand:
    """One act's own small gateway. Use as a context; `call` is asked as a running gateway's HTTP interface is."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        """Takes the data directory and opens the store. Raises Taken, CannotStart."""
        self.filed = self.settings = settings
        self.folder, self.turn = folder, asyncio.Lock()
        self._open = contextlib.ExitStack()
        self.clock, self._wake = Clock(), Wake()
        self._trust = Trust(lambda: self.settings, self.clock.now_ms)
        self._meters: set[str] = set()
        self._running: dict[str, asyncio.Task[None]] = {}
        try:
            self._open.enter_context(lock(folder / settings.gateway.data))
        except StoreError as taken:
            raise Taken(str(taken)) from None
        try:
            self._passwords = passwords_of(settings, folder)
            self.identity = identity_of(folder / settings.gateway.data)
            self.store = self._open.enter_context(Store.open(store_url(settings, folder)))
            self._people = People(self.store, folder / settings.gateway.data / settings.http.token_file, self.clock.now_ms)
            self.stored, self._merged = standing(self.store, settings, folder)
            self.settings = self._merged.settings
            self._lines = {line.id: line for line in build_lines(self.settings, self._passwords, self.clock)}
            self._prepare()
        except (StoreError, ValueError) as problem:
            self._open.close()
            raise CannotStart(str(problem)) from None
        except BaseException:
            self._open.close()
            raise
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="by-hand", daemon=True)

    def __enter__(self) -> ByHand:
        _only_warnings()
        token = random_token()
        self._thread.start()
        self._app = self._application(Person(CONSOLE, tuple(Role), hash_of(token), 0))
        self._headers = {"authorization": f"Bearer {os.environ.get(TOKEN) or token}"}
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._within(self._end(), END_WITHIN_S)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(END_WITHIN_S)
            self._open.close()

    def call(
        self, method: str, path: str, json: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, object]]:
        """Status and JSON object of the answer."""
        return self._within(self._call(method, path, json, {**self._headers, **(headers or {})}), ANSWER_WITHIN_S)

    def left_over(self) -> list[tuple[str, str, str]]:
        """Meter, verb and id of this act's commands that are not over yet, oldest first: when we end, nobody goes on."""
        commands = self._within(self.store.read(self._open_commands), ANSWER_WITHIN_S)
        return [(command.meter, command.verb.value, command.id) for command in commands]

    async def _call(self, method: str, path: str, json: object, headers: dict[str, str]) -> tuple[int, dict[str, object]]:
        transport = httpx2.ASGITransport(self._app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://by-hand") as http:
            answer = await http.request(method, path, json=json, headers=headers)
        body = answer.json()
        return answer.status_code, body if isinstance(body, dict) else {"list": body}

    def _within(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def _prepare(self) -> None:
        """What every start does: the archive as configured, and whatever was in flight is uncertain (F5)."""
        self.store.read_now(lambda tx: trust_loop.remember(tx, self._trust))
        self._people.begin(self.store, first=False)
        now_ms, site = self.clock.now_ms(), self._site()

        def start(tx: Tx) -> None:
            load_archive(tx, archive_of(self.settings, self.folder, self._merged), site, now_ms)
            recover(tx, site, now_ms)

        self.store.write_now(start)

    def _site(self) -> Site:
        """Nobody listens to a bank here, so no way to top up is alive (F2)."""
        why = "no gateway runs here that could take money"
        return replace(site_of(self.settings, self._trust), path_alive=False, path_why=why, seal=self.identity.seal)

    def _application(self, console: Person) -> FastAPI:
        """The operator's and the bank's interface, for our own verb alone. console: who acts where no token names a user."""
        app, now_ms = new_application("by hand", __version__), self.clock.now_ms
        auth = OperatorAuth(lambda: [*self._people.known(), console])
        app.include_router(PeopleApi(self._people.cases(), auth).router())
        crew = Crew(self._lines.values(), lambda line: self._line_loop(line.id))
        vitals = Vitals(self.settings.gateway.id, __version__, crew, self.clock)
        cases = OperatorUseCases(self.store.read, self._order, new_id=lambda: secrets.token_hex(8))
        app.include_router(OperatorApi(cases, vitals, Stream(self.store.read, vitals), auth, now_ms).router())
        life = Life(self)
        app.include_router(LifeApi(life, auth).router())
        app.include_router(ArchiveApi(Imports(self, life), auth).router())
        app.include_router(KeysApi(Keys(self, KeyRing()).cases(), auth).router())
        hang_own_key(app, self, self.folder / self.filed.gateway.data, auth)
        hang_two_people(app, self, self.store.read, auth)
        hang_counter(app, self, self.settings.bank.zone, auth)
        hang_credit(app, self, self.store.read, auth)
        reopening = reopen_cases(self.store, self.settings.bank.zone, self._site, now_ms, lambda why: None)
        app.include_router(ReopenApi(reopening, auth).router())
        return app

    async def _order(self, order: SupplyOrder) -> SupplyAnswer:
        site, now_ms = self._site(), self.clock.now_ms()
        return await self._act(lambda tx: order_supply(tx, order, site, now_ms), lambda tx: [order.meter])

    def take_identity(self, identity: Identity) -> None:
        """What signs from now on."""
        self.identity = identity

    def site(self) -> Site:
        """As the acts need it."""
        return self._site()

    async def take(self, merged: Merged, stored: Stored, meters: Collection[str], commit: Callable[[Tx], T]) -> T:
        """Go on with what stands beside the file now, once `commit` is written (bootstrap/life)."""
        lines = build_lines(merged.settings, self._passwords, self.clock, Before(self.settings, self._lines))
        before, self._lines = self._lines, {line.id: line for line in lines}
        try:
            done = await self._act(commit, lambda tx: meters)
        except BaseException:
            self._lines = before
            raise
        self.settings, self.stored = merged.settings, stored
        return done

    async def act(self, usecase: Callable[[Tx], T], meters: Callable[[Tx], Collection[str]]) -> T:
        """A person's act on these meters."""
        return await self._act(usecase, meters)

    async def _act(self, usecase: Callable[[Tx], T], meters: Callable[[Tx], Collection[str]]) -> T:
        """A use case; afterwards the lines carry out what it has ordered, and nothing else."""
        result, touched = await self.store.write(lambda tx: (usecase(tx), meters(tx)))
        self._meters |= set(touched)
        for command in await self.store.read(self._open_commands):
            if command.line in self._lines and command.line not in self._running:
                self._running[command.line] = asyncio.get_running_loop().create_task(self._line_loop(command.line).run())
        self._wake.notify()
        return result

    def _open_commands(self, tx: Tx) -> Sequence[Command]:
        return [command for command in tx.open_commands() if command.meter in self._meters]

    def _line_loop(self, line_id: str) -> LineLoop:
        """A loop that polls nothing: it has only what is ordered."""
        line = self._lines[line_id]
        plan = LinePlan(line.id, [], self.clock.now_ms())
        return LineLoop(line.driver, plan, line.reads, line.switches, self, self._site, self.clock, self._wake)

    @property
    def written(self) -> int:
        """The store's count, for the line loops."""
        return self.store.written

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        """The store's write, for the line loops."""
        return await self.store.write(usecase)

    async def read(self, query: Callable[[Tx], T]) -> T:
        """The store's read, for the line loops: of the commands they see only those of this act's meters."""
        return await self.store.read(lambda tx: query(cast(Tx, _OneAct(tx, self._meters))))

    async def _end(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        for line_id in self._running:
            await self._lines[line_id].driver.close()


class _OneAct:
    """A transaction as one act sees it. meters: whose commands it carries out."""

    def __init__(self, tx: Tx, meters: Collection[str]) -> None:
        self._tx, self._meters = tx, meters

    def __getattr__(self, name: str) -> object:
        return getattr(self._tx, name)

    def open_commands(self, *, line: str | None = None, meter: str | None = None) -> Sequence[Command]:
        """See Tx."""
        return [command for command in self._tx.open_commands(line=line, meter=meter) if command.meter in self._meters]


def _only_warnings() -> None:
    """A person at a terminal is told by the verb; the log keeps to what is wrong."""
    warnings = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=warnings, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
