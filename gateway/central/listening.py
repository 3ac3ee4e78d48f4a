"""The small HTTP listener of the central system: health and metrics, and the banks' front where one is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog
from fastapi import FastAPI
from starlette.responses import JSONResponse, PlainTextResponse, Response

from gateway import __version__
from gateway.adapters.http.bank_gate import BankGate, Banks
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.server import Listener, ListenError
from gateway.central import report
from gateway.central.accounts import LOOK_EVERY_S, Accounts, BadTable
from gateway.central.bank_front import BankFront
from gateway.central.config import CentralConfig, ConfigError
from gateway.central.service import Central, wall_ms

log = structlog.get_logger(__name__)


class Listening:
    """The listener and what keeps its parts fresh. The port is held from the constructor on."""

    def __init__(self, listener: Listener, accounts: Accounts | None) -> None:
        self._listener, self._accounts = listener, accounts
        self.url, self.stop = listener.url, listener.stop

    @classmethod
    def of(cls, config: CentralConfig, folder: Path, central: Central) -> Listening | None:
        """As the configuration has it; ConfigError when it cannot be."""
        if config.http is None:
            return None
        app, accounts = health(central), None
        if config.bank is not None:
            signer = config.signer(folder, "commands")
            assert signer is not None  # the configuration's own check
            accounts = Accounts(folder / config.bank.accounts)
            try:
                accounts.refresh()
            except BadTable as wrong:
                raise ConfigError([f"bank.accounts: {wrong}"]) from None
            banks = Banks(config.bank.zone)
            gate = BankGate(lambda: banks, wall_ms)
            app.include_router(BankFront(central, accounts, signer, config.central.name, gate).router())
        host, _, port = config.http.listen.rpartition(":")
        try:
            return cls(Listener(app, host.strip("[]"), int(port)), accounts)
        except ListenError as problem:
            raise ConfigError([f"http.listen: {problem}"]) from None

    async def run(self) -> None:
        """Answers until stopped."""
        look = None if self._accounts is None else asyncio.create_task(keep_fresh(self._accounts))
        try:
            await self._listener.serve()
        finally:
            if look is not None:
                look.cancel()


async def keep_fresh(accounts: Accounts) -> None:
    """Reads the table again whenever it has changed."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            if await asyncio.to_thread(accounts.refresh):
                log.info("the table of accounts was read", accounts=len(accounts))
        except BadTable as wrong:
            log.error(f"the table of accounts stays as it was: {wrong}")


def health(central: Central) -> FastAPI:
    """An application with /healthz and /metrics."""
    app = new_application("wattgate central", __version__)

    async def healthz() -> Response:
        reasons = report.reasons(central.counts.failing, central.session.connected.is_set())
        return JSONResponse({"ok": not reasons, "reasons": reasons}, 503 if reasons else 200, {"cache-control": "no-store"})

    async def metrics() -> Response:
        text = await central.in_store(central.store.read, report.figures)
        return PlainTextResponse(report.metrics(central.counts, central.session.connected.is_set(), text))

    handlers: dict[str, Callable[[], object]] = {"/healthz": healthz, "/metrics": metrics}
    for path, handler in handlers.items():
        app.add_api_route(path, handler, methods=["GET"], response_class=Response)
    return app
