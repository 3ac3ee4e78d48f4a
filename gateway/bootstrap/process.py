"""One gateway process: store, lines, uplink and listeners, put together and run."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import secrets
import signal
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
from fastapi import FastAPI

from gateway import __version__
from gateway.adapters import event_loop, quiet_log
from gateway.adapters.clock import Clock, steady_ms
from gateway.adapters.http.archive_api import ArchiveApi
from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.bank_gate import BankGate, bank_router
from gateway.adapters.http.completeness import CompletenessApi
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.keys_api import KeysApi
from gateway.adapters.http.life_api import LifeApi
from gateway.adapters.http.limits_api import LimitsApi
from gateway.adapters.http.notices_api import NoticesApi
from gateway.adapters.http.operator import OperatorApi, OperatorUseCases
from gateway.adapters.http.pages import page_router
from gateway.adapters.http.people_api import PeopleApi
from gateway.adapters.http.reload import ReloadApi
from gateway.adapters.http.reopen_api import ReopenApi
from gateway.adapters.http.server import Listener, ListenError
from gateway.adapters.http.sessions import SessionApi, Sessions
from gateway.adapters.http.statements import StatementApi
from gateway.adapters.http.stream import Stream
from gateway.adapters.http.wallets_api import WalletsApi
from gateway.adapters.identity import Identity, identity_of
from gateway.adapters.iso8583_listener import IsoListener
from gateway.adapters.meter_links.dlt645_clock import ClockBroadcast
from gateway.adapters.mqtt_link import MqttLink
from gateway.adapters.store import MIB, Store, StoreError, lock
from gateway.adapters.timetable import next_fire
from gateway.adapters.uplink_keyring import KeyRing
from gateway.bootstrap.archive import archive_of, site_of
from gateway.bootstrap.bank_books import BankBooks
from gateway.bootstrap.banks import bank_listener, bank_tls, gate_of, hang_banks
from gateway.bootstrap.centre import Hands, Keys, Prepare, replies_of
from gateway.bootstrap.counter import hang_counter
from gateway.bootstrap.crew import Crew
from gateway.bootstrap.direct_debit import hang_debit
from gateway.bootstrap.emergency_credit import hang_credit
from gateway.bootstrap.examine import CannotStart, examine, passwords_of, store_url
from gateway.bootstrap.filings import Merged, Stored, merge
from gateway.bootstrap.guests import hang_tools
from gateway.bootstrap.imports import Imports
from gateway.bootstrap.iso8583 import certificate_days as iso8583_days
from gateway.bootstrap.iso8583 import days_of, keys_sent, keys_unsure, listeners
from gateway.bootstrap.life import Life, standing
from gateway.bootstrap.limits import limit_cases
from gateway.bootstrap.lines import BuiltLine, build_lines
from gateway.bootstrap.notices import LivePosts, notice_cases
from gateway.bootstrap.outputs import Outputs
from gateway.bootstrap.own_key import hang_own_key
from gateway.bootstrap.people import People
from gateway.bootstrap.reload import Reloader
from gateway.bootstrap.reopening import reopen_cases
from gateway.bootstrap.schemes import keep_of, wishes
from gateway.bootstrap.statements import stating
from gateway.bootstrap.transport import broker_of, certificate_days, keep_bounds, send_bounds, tls_of
from gateway.bootstrap.trust import Trust
from gateway.bootstrap.two_people import hang_two_people
from gateway.bootstrap.vitals import Vitals
from gateway.bootstrap.wallets import WALLETS, wallet_cases
from gateway.domain.events import EventKind
from gateway.domain.nonces import Claim
from gateway.domain.paths import PathKind
from gateway.domain.requests import SupplyOrder, TopUp
from gateway.entrypoints import (
    anchor_loop,
    certificate_loop,
    cut_loop,
    disk_loop,
    limit_loop,
    sign_loop,
    thin_loop,
    trust_loop,
    wallet_loop,
)
from gateway.entrypoints.credit_loop import rejudge
from gateway.entrypoints.downlink import Downlink
from gateway.entrypoints.ledger_loop import close_months, expire_transfers
from gateway.entrypoints.line_loop import Housekeeping, LineLoop, Wake
from gateway.entrypoints.notice_loop import deliver
from gateway.entrypoints.outbox_loop import OutboxLoop
from gateway.entrypoints.upkeep_loop import keep_up
from gateway.entrypoints.uplink_work import UplinkWork
from gateway.services import announce, collect, keep_clock
from gateway.services.due_settings import due_settings
from gateway.services.load_archive import load_archive
from gateway.services.money_held import why_held
from gateway.services.order_supply import order_supply
from gateway.services.plan import LinePlan
from gateway.services.ports import DiskLow, Essential, Site, SupplyAnswer, TopUpOutcome, Tx, Unavailable
from gateway.services.run_command import recover
from gateway.services.take_topup import taking
from gateway.services.write_limits import record_setting, start_setting
from gateway.settings import Settings

T = TypeVar("T")
log = structlog.get_logger()

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Between a failure of one of our loops and its next start."""

SITE_S = 1.0
"""Every loop asks for the site at every turn; whether the kernel trusts its clock is asked so often."""

STOP_S = 4.0
"""SIGTERM ends us within 5 s (contract.md 2): what has not ended by then is cancelled."""


GATEWAY = "gateway"
"""Key in `meta`: whose store it is, for its backups."""


class Gateway:
    """One gateway on one data directory. Build it, `run` it once."""

    def __init__(self, settings: Settings, folder: Path, file: Path | None = None) -> None:
        """Opens the store, takes the data directory and the port. file: where the settings come from, taken over again when
        asked, by default gateway.toml in the folder. Raises CannotStart."""
        self.filed = self.settings = settings
        self.data, self.folder = folder / settings.gateway.data, folder
        self._open = contextlib.ExitStack()
        self.clock, self._wake, self._outbox_wake = Clock(), Wake(), Wake()
        self.reload_asked = asyncio.Event()
        self._site: tuple[Settings, float, Site] | None = None
        self.trust = Trust(lambda: self.settings, self.clock.now_ms, lambda: self._listeners()[-1].accepting)
        self.people = People(self, self.data / settings.http.token_file, self.clock.now_ms)
        self._fatal = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.bank_listener: Listener | None = None
        self._gate: BankGate | None = None
        try:
            self.passwords = passwords_of(settings, folder)
            self._open.enter_context(lock(self.data))
            self.identity = identity_of(self.data)
            self.store = self._open.enter_context(self._open_store(folder))
            self.stored, merged = standing(self.store, settings, folder)
            self.settings, self.archive = merged.settings, archive_of(merged.settings, folder, merged)
            self.crew = Crew(build_lines(self.settings, self.passwords, self.clock), self._line_loop)
            self.reload = Reloader(self, file or folder / "gateway.toml")
            self.vitals = Vitals(settings.gateway.id, __version__, self.crew, self.clock)
            self.vitals.store, self.vitals.site = self.store, self.site
            self.outputs = Outputs(self, folder, self.clock, self._outbox_wake.listener, _again_and_again)
            self.vitals.outputs = self.outputs.status
            self.vitals.watch_certificates(self.outputs.certificates)
            self.keys = Keys(self, KeyRing())
            self.link = self._mqtt()
            self._posts = LivePosts(lambda: self.settings, folder)
            self.people.begin(self.store, first=True)
            self.listener = self._listen()
            self._open.callback(self.listener.close)
            self.bank_listener = bank_listener(self.settings, folder, self._bank_application)
            if self.bank_listener is not None:
                self._open.callback(self.bank_listener.close)
            self.vitals.turned_away = lambda: {each.name: each.turned_away for each in self._listeners()}
            if (tls := bank_tls(self.settings, folder)) is not None:
                self.vitals.watch_certificates(lambda: tls.days_left(self.clock.now_ms()))
            self.iso8583 = self._iso8583()
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
            for listener in self._listeners():
                listener.stop()
            await self._end([*tasks, *waits])
            self._open.close()
        if self._fatal.is_set():
            raise CannotStart(f"the store failed and the gateway stops at once: {self.vitals.fatal}")

    def _open_store(self, folder: Path) -> Store:
        reserve_bytes = self.settings.store.reserve_mib * MIB
        return Store.open(store_url(self.settings, folder), on_fatal=self._on_fatal, reserve_bytes=reserve_bytes)

    def _work(self) -> list[Coroutine[object, object, object]]:
        limits = _again_and_again("limits", lambda: limit_loop.watch(self, self.site, self.clock))
        credit = _again_and_again("credit", lambda: rejudge(self, self.site, self.clock, self.wake))
        reloads = _again_and_again("reload", lambda: self.reload.on(self.reload_asked))
        cuts = _again_and_again("cuts", lambda: cut_loop.watch(self, self.site, self.clock, self._cuts_stopped, self._wake.notify))
        upkeep = _again_and_again("upkeep", lambda: keep_up(self, next_fire, lambda: keep_of(self.settings), self.site, self.clock))
        notices = _again_and_again("notices", lambda: deliver(self, self._posts, self.site, self.clock))
        transfers = _again_and_again("transfers", lambda: expire_transfers(self, self.site, self.clock))
        wallets = _again_and_again("wallets", lambda: wallet_loop.expire(self, self.clock, self.site))
        closings = _again_and_again(
            "closings", lambda: close_months(self, lambda: self.settings.ledger.close_after_days, self.site, self.clock)
        )
        signs = _again_and_again("signs", lambda: sign_loop.watch(self, self.site, self.clock, self._wake.notify))
        vitals = _again_and_again("vitals", self.vitals.watch)
        look = partial(asyncio.to_thread, self.store.look_at_disk)
        disk = _again_and_again("disk", lambda: disk_loop.watch(self, look, self.clock))
        anchors = _again_and_again("anchors", lambda: anchor_loop.watch(self, self.settings.gateway.id, self._seal, self.clock))
        trust = _again_and_again("trust", lambda: trust_loop.watch(self, self.trust, self.clock))
        work: list[Coroutine[object, object, object]] = [
            *(self.crew.run(), *(listener.serve() for listener in self._listeners()), *(each.serve() for each in self.iso8583)),
            anchors,
            *(limits, credit, cuts, reloads, upkeep, notices, transfers, wallets, closings, signs, vitals, disk, trust),
        ]
        thinning = _again_and_again(
            "thinning", lambda: thin_loop.watch(self, lambda: keep_bounds(self.settings), self.site, self.clock)
        )
        certificates = _again_and_again("certificates", lambda: certificate_loop.watch(self, self.vitals.certificates, self.clock))
        work += [thinning, certificates]
        if self.link is not None:
            by, bounds = self.settings.uplink.acknowledge, send_bounds(self.settings)
            outbox = OutboxLoop(self, self.link, self._outbox_wake.listener(), self.clock, by=by, bounds=bounds)
            self.vitals.latency = outbox.latency
            self.link.listener = Downlink(
                self, outbox, self.clock, self.site, prepare=self._prepare_command, count=self.vitals.count_command,
                heard=partial(self.trust.hear, PathKind.CENTRE),
            )  # fmt: skip
            orders = UplinkWork(self, Hands(self, self.life, Imports(self, self.life)), self.site, self.clock)
            work += [_again_and_again("orders", orders.run), _again_and_again("keys", self.keys.watch)]
            work += [_again_and_again("outbox", outbox.run), _again_and_again("uplink", self.link.run)]
        return [*work, _again_and_again("outputs", self.outputs.run)]

    def _listeners(self) -> list[Listener]:
        return [self.listener] if self.bank_listener is None else [self.listener, self.bank_listener]

    async def _end(self, tasks: Sequence[asyncio.Future[object]]) -> None:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*tasks, return_exceptions=True)
        await self.crew.close()

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        """The store's write; afterwards the outbox and the lines look for rows."""
        try:
            result = await self.store.write(usecase)
        except DiskLow:  # the store says it by itself
            raise
        except Unavailable as problem:
            self.vitals.store_trouble = str(problem)
            raise
        self.vitals.store_trouble = None
        self._outbox_wake.notify()
        return result

    @property
    def written(self) -> int:
        """The store's count."""
        return self.store.written

    async def read(self, query: Callable[[Tx], T]) -> T:
        """The store's read."""
        return await self.store.read(query)

    async def act(self, usecase: Callable[[Tx], T], meters: Callable[[Tx], Collection[str]]) -> T:
        """A person's act, after which the lines look for commands."""
        result = await self.write(usecase)
        self._wake.notify()
        return result

    def take_identity(self, identity: Identity) -> None:
        """What signs from now on."""
        self.identity = identity
        if self._gate is not None:
            self._gate.identity = identity

    def _seal(self, payload: bytes) -> str:
        return self.identity.seal(payload.decode())

    def wake(self) -> None:
        """Every line looks for commands."""
        self._wake.notify()

    def site(self) -> Site:
        """The site at this moment, give or take SITE_S."""
        now_s = time.monotonic()
        if self._site is None or self._site[0] is not self.settings or now_s >= self._site[1]:
            self._site = (self.settings, now_s + SITE_S, site_of(self.settings, self.trust))
        return replace(self._site[2], steady_ms=steady_ms(), disk_ok=self.store.low is None, seal=self.identity.seal)

    @property
    def turn(self) -> asyncio.Lock:
        """Whoever changes the archive has it."""
        return self.reload.turn

    async def take(self, merged: Merged, stored: Stored, meters: Collection[str], commit: Callable[[Tx], T]) -> T:
        """Go on with what stands beside the file now, once `commit` is written (bootstrap/life)."""
        return await self.reload.take(merged, stored, meters, commit)

    async def topup(self, topup: TopUp, claim: Claim | None = None) -> TopUpOutcome:
        """A payment, under its nonce; the line looks for its restore before every poll."""
        outcome = await self.write(taking(topup, claim, self.site, self.clock.now_ms))
        self.vitals.count_topup(outcome.verdict.value)
        self._wake.notify()
        return outcome

    async def order(self, order: SupplyOrder) -> SupplyAnswer:
        """A person's order for a switch."""
        now_ms = self.clock.now_ms()
        answer = await self.write(Essential(lambda tx: order_supply(tx, order, self.site(), now_ms)))
        self._wake.notify()
        return answer

    def _prepare(self) -> None:
        self.store.read_now(lambda tx: trust_loop.remember(tx, self.trust))
        now_ms, site = self.clock.now_ms(), self.site()

        def start(tx: Tx) -> tuple[int, str | None]:
            if tx.meta(GATEWAY) != site.gateway:
                tx.set_meta(GATEWAY, site.gateway)
            load_archive(tx, self.archive, site, now_ms)
            self.keys.begin(tx)
            in_flight = recover(tx, site, now_ms)
            announce.event(tx, EventKind.GATEWAY_STARTED, now_ms, version=__version__, in_flight=in_flight)
            return in_flight, why_held(tx)

        in_flight, self.vitals.money_held = self.store.write_now(start)
        for notice in merge(self.filed, self.stored).notices:
            log.warning("file_and_store", text=notice)
        log.info("started", gateway=self.settings.gateway.id, in_flight=in_flight, notices=list(self.store.notices))

    def _mqtt(self) -> MqttLink | None:
        mqtt = self.settings.mqtt
        if mqtt is None:
            return None
        key = self.store.read_now(lambda tx: tx.meta("pseudonym_key")) or ""
        self._prepare_command = Prepare(lambda: self.settings, bytes.fromhex(key))
        broker = broker_of(mqtt, self.folder)
        link = MqttLink(
            broker,
            self.settings.gateway.id,
            pseudonym_key=bytes.fromhex(key),
            commands=mqtt.commands,
            signatures=self.settings.uplink.signatures,
            keys=self.keys.ring,
            now_ms=self.clock.now_ms,
            rng=random.SystemRandom(),
        )
        link.kept = partial(replies_of, self)
        tls = tls_of(mqtt, self.folder)
        self.vitals.watch_broker(str(broker), link.connected, certificate_days(tls, self.clock.now_ms) if tls else dict)
        return link

    def _line_loop(self, line: BuiltLine) -> LineLoop:
        plan = LinePlan(line.id, line.polls, self.clock.now_ms())
        broadcast = ClockBroadcast(line.driver, self.settings.meter_zone, clock=self.clock)
        keep_house = Housekeeping(
            *(collect.due_history, collect.record_history, keep_clock.due_clock, keep_clock.record_clock),
            due_wallets=WALLETS.due_wallets,
            start_wallet=WALLETS.start_wallet,
            finish_wallet=WALLETS.finish_wallet,
            record_wallet=WALLETS.record_wallet,
            due_settings=due_settings,
            start_setting=start_setting,
            record_setting=record_setting,
        )
        return LineLoop(
            line.driver, plan, line.reads, line.switches, self, self.site, self.clock, self._wake, broadcast, keep_house
        )

    def _listen(self) -> Listener:
        http, bank = self.settings.http, self.settings.bank
        app = new_application("wattgate", __version__)
        if bank.enabled and bank.listen is None:
            self._hang_banks(app)  # first: a route is found in turn, and behind all the others that takes 0.3 ms
        stream = Stream(self.read, self.vitals)
        cases = OperatorUseCases(self.read, self.order, new_id=lambda: secrets.token_hex(8))
        sessions = Sessions(time.monotonic)
        auth = OperatorAuth(self.people.known, open_get=http.open_get, sessions=sessions)
        app.include_router(SessionApi(sessions, auth).router())
        app.include_router(PeopleApi(self.people.cases(), auth).router())
        app.include_router(OperatorApi(cases, self.vitals, stream, auth, self.clock.now_ms).router())
        state = stating(self.read, self.settings.gateway.id, self.settings.gateway.zone, self.clock.now_ms)
        app.include_router(StatementApi(state, auth).router())
        app.include_router(ReloadApi(self.reload, auth).router())
        reopening = reopen_cases(self, bank.zone, self.site, self.clock.now_ms, self._money_waits)
        app.include_router(ReopenApi(reopening, auth).router())
        wish = wishes(self.write, self.site, self.clock.now_ms)
        app.include_router(CompletenessApi(self.read, wish, auth, self.settings.meter_zone, self.clock.now_ms).router())
        limits = limit_cases(self, lambda: self.settings, self.site, self.clock.now_ms, new_id=lambda: secrets.token_hex(8))
        app.include_router(LimitsApi(limits, auth).router())
        hang_tools(app, self, auth)
        hang_two_people(app, self, self.read, auth)
        hang_credit(app, self, self.read, auth)
        hang_counter(app, self, bank.zone, auth)
        hang_debit(app, self, auth, self.clock.now_ms)
        wallets = wallet_cases(self, self.site, self.clock.now_ms, self.wake, lambda: secrets.token_hex(8))
        app.include_router(WalletsApi(wallets, self.read, auth).router())
        life = self.life = Life(self)
        app.include_router(LifeApi(life, auth).router())
        app.include_router(KeysApi(self.keys.cases(), auth).router())
        hang_own_key(app, self, self.data, auth)
        app.include_router(ArchiveApi(Imports(self, life), auth).router())
        app.include_router(NoticesApi(notice_cases(self.write, self.clock.now_ms), self.read, auth, self.clock.now_ms).router())
        app.include_router(page_router())
        host, _, port = http.listen.rpartition(":")
        return Listener(app, host.strip("[]"), int(port), before_stop=stream.close, name="operator")

    def _bank_application(self) -> FastAPI:
        app = new_application("wattgate for banks", __version__)
        self._hang_banks(app)
        return app

    def _hang_banks(self, app: FastAPI) -> None:
        heard = partial(self.trust.hear, PathKind.BANK)
        gate = self._gate = gate_of(self, self.folder, self.identity, self.clock.now_ms, heard)
        hang_banks(app, self, gate, self.topup, lambda: self.vitals.money_held, self.clock.now_ms)
        router = bank_router(gate)
        BankBooks(self, self.site, self.clock.now_ms, self.wake, self.data).hang(router)
        app.include_router(router)

    def _iso8583(self) -> list[IsoListener]:
        if not self.settings.bank.enabled:
            return []
        days = self.store.read_now(lambda tx: days_of(tx, self.settings))
        keys = self.store.read_now(lambda tx: keys_sent(tx, self.settings))
        heard = partial(self.trust.hear, PathKind.BANK)
        unsure = self.store.read_now(lambda tx: keys_unsure(tx, self.settings))
        found = listeners(self, self.settings, self.folder, self.clock.now_ms, heard, days, keys, unsure)
        self.vitals.partners = lambda: [each.status() for each in found]
        self.vitals.watch_certificates(partial(iso8583_days, self.settings, self.folder, self.clock.now_ms))
        for each in found:
            self._open.callback(each.close)
            log.info("iso8583", partner=each.partner.bank, port=each.port)
        return found

    def _cuts_stopped(self, why: str | None) -> None:
        self.vitals.cuts_stopped = why

    def _money_waits(self, why: str | None) -> None:
        """What health says after an act; the lines look for what was ordered by it."""
        self.vitals.money_held = why
        self._wake.notify()

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


def run(settings: Settings, file: Path, *, say_ready: bool = False) -> None:
    """The gateway in the foreground until SIGTERM or Ctrl-C; SIGHUP takes `file` over again. Raises CannotStart."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something that can take the file over
    quiet = quiet_log.configure()
    folder = file.resolve().parent
    errors = examine(settings, folder).errors
    if errors:
        raise CannotStart("\n".join(errors))
    try:
        event_loop.run(_run(lambda: Gateway(settings, folder, file), quiet, say_ready))
    except event_loop.UnknownLoop as problem:
        raise CannotStart(str(problem)) from None
    finally:
        quiet.tell(everything=True)


async def _run(make: Callable[[], Gateway], quiet: quiet_log.Quiet, say_ready: bool) -> None:
    gateway = make()
    spare_the_collector()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, gateway.reload_asked.set)
    telling = asyncio.create_task(_again_and_again("log", lambda: _tell_left_out(quiet)))
    log.info("listening", url=gateway.listener.url)
    if say_ready:
        print(f'{{"ready": true, "url": "{gateway.listener.url}"}}', flush=True)
    try:
        await gateway.run(stop)
    finally:
        telling.cancel()


def spare_the_collector() -> None:
    """What stands now stays as long as the process: with 1,000 meters each look through it stopped everything for 0.15 s."""
    gc.collect()
    gc.freeze()


async def _tell_left_out(quiet: quiet_log.Quiet) -> None:
    """A flood of one kind may end in silence: what was left out of it is told all the same."""
    while True:
        await asyncio.sleep(quiet_log.WINDOW_S)
        quiet.tell()
