"""One gateway process: store, lines, uplink and listeners, put together and run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from gateway import __version__
from gateway.adapters.clock import Clock
from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.bank import BankApi, BankTerms, BankUseCases
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.operator import OperatorApi, OperatorUseCases
from gateway.adapters.http.pages import page_router
from gateway.adapters.http.server import Listener, ListenError
from gateway.adapters.http.stream import Stream
from gateway.adapters.mqtt_link import Broker, MqttLink
from gateway.adapters.store import Store, StoreError, lock
from gateway.bootstrap.archive import archive_of, site_of
from gateway.bootstrap.examine import CannotStart, examine, passwords_of, store_url
from gateway.bootstrap.lines import BuiltLine, build_lines
from gateway.bootstrap.vitals import Vitals
from gateway.domain.events import EventKind
from gateway.domain.requests import SupplyOrder, TopUp
from gateway.entrypoints import limit_loop
from gateway.entrypoints.downlink import Downlink
from gateway.entrypoints.line_loop import LineLoop, Wake
from gateway.entrypoints.outbox_loop import OutboxLoop
from gateway.services import announce
from gateway.services.apply_topup import MOST_BALANCE_MICRO, apply_topup, masked
from gateway.services.load_archive import load_archive
from gateway.services.order_supply import order_supply
from gateway.services.plan import LinePlan
from gateway.services.ports import Site, SupplyAnswer, TopUpOutcome, Tx, Unavailable
from gateway.services.run_command import recover
from gateway.settings import Settings, secret_file

T = TypeVar("T")
log = structlog.get_logger()

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Between a failure of one of our loops and its next start."""

STOP_S = 4.0
"""SIGTERM ends us within 5 s (contract.md 2): what has not ended by then is cancelled."""


class Gateway:
    """One gateway on one data directory. Build it, `run` it once."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        """Opens the store, takes the data directory and the port. Raises CannotStart."""
        self.settings = settings
        self.data = folder / settings.gateway.data
        self._open = contextlib.ExitStack()
        self._clock, self._wake, self._outbox_wake = Clock(), Wake(), Wake()
        self._fatal = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            passwords = passwords_of(settings, folder)
            self._open.enter_context(lock(self.data))
            self.store = self._open.enter_context(Store.open(store_url(settings, folder), on_fatal=self._on_fatal))
            self.lines = build_lines(settings, passwords, self._clock)
            self.vitals = Vitals(settings.gateway.id, __version__, self.lines, self._clock)
            self.vitals.store, self.vitals.site = self.store, self.site()
            self.link = self._mqtt()
            self.listener = self._listen()
            self._open.callback(self.listener.close)
            self._prepare()
        except (StoreError, ListenError, ValueError) as problem:
            self._open.close()
            raise CannotStart(str(problem)) from None
        except BaseException:
            self._open.close()
            raise

    async def run(self, stop: asyncio.Event) -> None:
        """Everything, until `stop` is set or the store fails for good (then CannotStart)."""
        self._loop = asyncio.get_running_loop()
        tasks: list[asyncio.Future[object]] = [asyncio.ensure_future(work) for work in self._work()]
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._fatal.wait())]
        try:
            done, _ = await asyncio.wait([*tasks, *waits], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.listener.stop()
            await self._end([*tasks, *waits])
            self._open.close()
        if self._fatal.is_set():
            raise CannotStart(f"the store failed and the gateway stops at once: {self.vitals.fatal}")

    def _work(self) -> list[Coroutine[object, object, object]]:
        loops = [self._line_loop(line).run() for line in self.lines]
        limits = _again_and_again("limits", lambda: limit_loop.watch(self, self.site, self._clock))
        work: list[Coroutine[object, object, object]] = [*loops, limits, self.listener.serve()]
        if self.link is not None:
            outbox = OutboxLoop(self, self.link, self._outbox_wake.listener(), self._clock, by=self.settings.uplink.acknowledge)
            self.link.listener = Downlink(self, outbox, self._clock, self.site)
            work += [_again_and_again("outbox", outbox.run), _again_and_again("uplink", self.link.run)]
        return work

    async def _end(self, tasks: Sequence[asyncio.Future[object]]) -> None:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*tasks, return_exceptions=True)
        for line in self.lines:
            await line.driver.close()

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        """The store's write; afterwards the outbox and the lines look for rows."""
        try:
            result = await self.store.write(usecase)
        except Unavailable as problem:
            self.vitals.store_trouble = str(problem)
            raise
        self.vitals.store_trouble = None
        self._outbox_wake.notify()
        return result

    async def read(self, query: Callable[[Tx], T]) -> T:
        """The store's read."""
        return await self.store.read(query)

    def site(self) -> Site:
        """The site at this moment."""
        return site_of(self.settings)

    async def topup(self, topup: TopUp) -> TopUpOutcome:
        """A payment; the line looks for its restore before every poll."""
        now_ms = self._clock.now_ms()
        outcome = await self.write(lambda tx: apply_topup(tx, topup, self.site(), now_ms))
        self.vitals.count_topup(outcome.verdict.value)
        self._wake.notify()
        return outcome

    async def order(self, order: SupplyOrder) -> SupplyAnswer:
        """A person's order for a switch."""
        now_ms = self._clock.now_ms()
        answer = await self.write(lambda tx: order_supply(tx, order, self.site(), now_ms))
        self._wake.notify()
        return answer

    def _prepare(self) -> None:
        now_ms, site = self._clock.now_ms(), self.site()

        def start(tx: Tx) -> int:
            load_archive(tx, archive_of(self.settings), site, now_ms)
            in_flight = recover(tx, site, now_ms)
            announce.event(tx, EventKind.GATEWAY_STARTED, now_ms, version=__version__, in_flight=in_flight)
            return in_flight

        in_flight = self.store.write_now(start)
        log.info("started", gateway=self.settings.gateway.id, in_flight=in_flight, notices=list(self.store.notices))

    def _mqtt(self) -> MqttLink | None:
        mqtt = self.settings.mqtt
        if mqtt is None:
            return None
        key = self.store.read_now(lambda tx: tx.meta("pseudonym_key")) or ""
        broker = Broker(mqtt.host, mqtt.port, protocol={"5": 5, "3.1.1": 4, None: None}[mqtt.version])
        link = MqttLink(
            broker,
            self.settings.gateway.id,
            pseudonym_key=bytes.fromhex(key),
            commands=mqtt.commands,
            now_ms=self._clock.now_ms,
            rng=random.SystemRandom(),
        )
        self.vitals.watch_broker(str(broker), link.connected)
        return link

    def _line_loop(self, line: BuiltLine) -> LineLoop:
        plan = LinePlan(line.id, line.polls, self._clock.now_ms())
        loop = LineLoop(line.driver, plan, line.reads, line.switches, self, self.site, self._clock, self._wake)
        self.vitals.watch_loop(line.id, loop)
        return loop

    def _listen(self) -> Listener:
        http, bank = self.settings.http, self.settings.bank
        app = new_application("wattgate", __version__)
        stream = Stream(self.read, self.vitals)
        cases = OperatorUseCases(self.read, self.order, new_id=lambda: secrets.token_hex(8))
        auth = OperatorAuth(operator_token(self.data / http.token_file), open_get=http.open_get)
        app.include_router(OperatorApi(cases, self.vitals, stream, auth, self._clock.now_ms).router())
        if bank.enabled:
            terms = BankTerms(bank.zone, MOST_BALANCE_MICRO, masked)
            app.include_router(BankApi(BankUseCases(self.topup, self.read), terms, self._clock.now_ms).router())
        app.include_router(page_router())
        host, _, port = http.listen.rpartition(":")
        return Listener(app, host.strip("[]"), int(port), before_stop=stream.close)

    def _on_fatal(self, sentence: str) -> None:
        """Called in the writer's thread."""
        self.vitals.fatal = sentence
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._fatal.set)


async def _again_and_again(name: str, work: Callable[[], Coroutine[object, object, object]]) -> None:
    """A loop that must not end: an error of ours is told, and it goes on after a pause that doubles, so that no log is flooded."""
    pause_s = FIRST_PAUSE_S
    while True:
        started = time.monotonic()
        try:
            await work()
        except Exception:
            log.exception("loop_failed", loop=name, pause_s=pause_s)
        await asyncio.sleep(pause_s)
        pause_s = FIRST_PAUSE_S if time.monotonic() - started > LONGEST_PAUSE_S else min(2 * pause_s, LONGEST_PAUSE_S)


def operator_token(path: Path) -> str:
    """The operator's token; made (0600) where there is none yet."""
    if path.exists():
        return secret_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_urlsafe(24)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token


def run(settings: Settings, folder: Path, *, say_ready: bool = False) -> None:
    """The gateway in the foreground until SIGTERM or Ctrl-C. Raises CannotStart."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    errors = examine(settings, folder).errors
    if errors:
        raise CannotStart("\n".join(errors))
    asyncio.run(_run(settings, folder, say_ready))


async def _run(settings: Settings, folder: Path, say_ready: bool) -> None:
    gateway = Gateway(settings, folder)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log.info("listening", url=gateway.listener.url)
    if say_ready:
        print(f'{{"ready": true, "url": "{gateway.listener.url}"}}', flush=True)
    await gateway.run(stop)
