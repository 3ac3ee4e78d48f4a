"""One act without a running gateway: the data directory's lock, the store, and the lines that the act needs (contract.md 2).

The same use cases, listeners' rules and line loops as in the gateway, only that nobody listens: a thread of its own answers the
verb that asks. What goes up to the centre stays in the outbox for the next run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
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
from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.bank import BankApi, BankTerms, BankUseCases
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.operator import OperatorApi, OperatorUseCases
from gateway.adapters.http.protect_api import ProtectApi
from gateway.adapters.http.reopen_api import ReopenApi
from gateway.adapters.http.stream import Stream
from gateway.adapters.store import Store, StoreError, lock
from gateway.bootstrap.archive import archive_of, site_of
from gateway.bootstrap.crew import Crew
from gateway.bootstrap.examine import CannotStart, passwords_of, store_url
from gateway.bootstrap.lines import build_lines
from gateway.bootstrap.reopening import reopen_cases
from gateway.bootstrap.vitals import Vitals
from gateway.domain.requests import Protection, SupplyOrder, TopUp
from gateway.domain.supply import Command
from gateway.entrypoints.line_loop import LineLoop, Wake
from gateway.services.apply_topup import MOST_BALANCE_MICRO, apply_topup, masked
from gateway.services.load_archive import load_archive
from gateway.services.order_supply import order_supply
from gateway.services.plan import LinePlan
from gateway.services.ports import Site, SupplyAnswer, TopUpOutcome, Tx
from gateway.services.protect_account import protect_account
from gateway.services.run_command import recover
from gateway.settings import Settings

T = TypeVar("T")

ANSWER_WITHIN_S = 30.0
"""For one use case: the store's own bounds are shorter."""

END_WITHIN_S = 10.0
"""For the lines to let go of their devices."""


class Taken(Exception):
    """A gateway, or another act, has the data directory; one sentence."""


class ByHand:
    """One act's own small gateway. Use as a context; `call` is asked as a running gateway's HTTP interface is."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        """Takes the data directory and opens the store. Raises Taken, CannotStart."""
        self._settings, self._folder = settings, folder
        self._open = contextlib.ExitStack()
        self._clock, self._wake = Clock(), Wake()
        self._meters: set[str] = set()
        self._running: dict[str, asyncio.Task[None]] = {}
        try:
            self._open.enter_context(lock(folder / settings.gateway.data))
        except StoreError as taken:
            raise Taken(str(taken)) from None
        try:
            passwords = passwords_of(settings, folder)
            self.store = self._open.enter_context(Store.open(store_url(settings, folder)))
            self._lines = {line.id: line for line in build_lines(settings, passwords, self._clock)}
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
        token = secrets.token_urlsafe(24)
        self._thread.start()
        self._app = self._application(token)
        self._headers = {"authorization": f"Bearer {token}"}
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
        now_ms, site = self._clock.now_ms(), self._site()

        def start(tx: Tx) -> None:
            load_archive(tx, archive_of(self._settings, self._folder), site, now_ms)
            recover(tx, site, now_ms)

        self.store.write_now(start)

    def _site(self) -> Site:
        """Nobody listens to a bank here, so no way to top up is alive (F2)."""
        return replace(site_of(self._settings), path_alive=False)

    def _application(self, token: str) -> FastAPI:
        """The operator's and the bank's interface, for our own verb alone."""
        app, auth, now_ms = new_application("by hand", __version__), OperatorAuth(token), self._clock.now_ms
        crew = Crew(self._lines.values(), lambda line: self._line_loop(line.id))
        vitals = Vitals(self._settings.gateway.id, __version__, crew, self._clock)
        cases = OperatorUseCases(self.store.read, self._order, new_id=lambda: secrets.token_hex(8))
        app.include_router(OperatorApi(cases, vitals, Stream(self.store.read, vitals), auth, now_ms).router())
        app.include_router(ProtectApi(self._protect, self.store.read, auth, now_ms).router())
        reopening = reopen_cases(self.store, self._settings.bank.zone, self._site, now_ms, lambda why: None)
        app.include_router(ReopenApi(reopening, auth).router())
        if self._settings.bank.enabled:
            terms = BankTerms(self._settings.bank.zone, MOST_BALANCE_MICRO, masked)
            app.include_router(BankApi(BankUseCases(self._topup, self.store.read), terms, now_ms).router())
        return app

    async def _order(self, order: SupplyOrder) -> SupplyAnswer:
        site, now_ms = self._site(), self._clock.now_ms()
        return await self._act(lambda tx: order_supply(tx, order, site, now_ms), lambda tx: [order.meter])

    async def _topup(self, topup: TopUp) -> TopUpOutcome:
        site, now_ms = self._site(), self._clock.now_ms()
        return await self._act(lambda tx: apply_topup(tx, topup, site, now_ms), _meters_of(topup.account))

    async def _protect(self, wanted: Protection) -> str | None:
        site, now_ms = self._site(), self._clock.now_ms()
        return await self._act(lambda tx: protect_account(tx, wanted, site, now_ms), _meters_of(wanted.account))

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
        plan = LinePlan(line.id, [], self._clock.now_ms())
        return LineLoop(line.driver, plan, line.reads, line.switches, self, self._site, self._clock, self._wake)

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


def _meters_of(account: str) -> Callable[[Tx], Collection[str]]:
    return lambda tx: [meter.id for meter in tx.meters_of(account)]


def _only_warnings() -> None:
    """A person at a terminal is told by the verb; the log keeps to what is wrong."""
    warnings = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=warnings, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
