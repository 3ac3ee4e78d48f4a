"""The HTTP listeners of the central system: health and metrics, and the banks' front where one is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from fastapi import FastAPI
from starlette.responses import JSONResponse, PlainTextResponse, Response

from gateway import __version__
from gateway.adapters.http.bank_gate import BankGate
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.server import Listener, ListenError
from gateway.adapters.http.tls import Tls
from gateway.central import receipts, report
from gateway.central.accounts import LOOK_EVERY_S, Accounts, BadTable
from gateway.central.bank_config import BadBanks, BankTable
from gateway.central.bank_front import BankFront
from gateway.central.config import CentralConfig, ConfigError
from gateway.central.doors import Doors
from gateway.central.payments import Desk
from gateway.central.service import Central, wall_ms

log = structlog.get_logger(__name__)

Fresh = Callable[[], bool]


class Listening:
    """The listeners and what keeps their parts fresh. The ports are held from the constructor on. bank: where banks call."""

    def __init__(self, listeners: Sequence[Listener], fresh: Sequence[Fresh], bank: str | None) -> None:
        self._listeners, self._fresh = listeners, fresh
        self.url, self.bank = listeners[0].url, bank

    @classmethod
    def of(cls, config: CentralConfig, folder: Path, central: Central, file: Path | None = None) -> Listening | None:
        """As the configuration has it; ConfigError when it cannot be. file: where it stands, read again for the banks' keys."""
        listeners, fresh = list[Listener](), list[Fresh]()
        app, where = health(central), None
        bank = config.bank if config.bank is not None and config.bank.enabled else None
        if bank is not None:
            front, fresh = _front(config, bank, folder, central, file)
            own = new_application("wattgate central, for banks", __version__) if bank.listen is not None else app
            own.include_router(front.router())
        try:
            if config.http is not None:
                listeners.append(_listener(app, config.http.listen, None, "http.listen"))
                where = listeners[0].url if bank is not None else None
            if bank is not None and bank.listen is not None:
                listeners.append(_listener(own, bank.listen, bank.tls(folder), "bank.listen"))
                where = listeners[-1].url
        except ConfigError:
            for listener in listeners:
                listener.close()
            raise
        return cls(listeners, fresh, where) if listeners else None

    async def run(self) -> None:
        """Answers until stopped."""
        look = asyncio.create_task(keep_fresh(self._fresh))
        try:
            await asyncio.gather(*(listener.serve() for listener in self._listeners))
        finally:
            look.cancel()

    def stop(self) -> None:
        """Ask `run` to end."""
        for listener in self._listeners:
            listener.stop()


def _listener(app: FastAPI, listen: str, tls: Tls | None, key: str) -> Listener:
    host, _, port = listen.rpartition(":")
    try:
        return Listener(app, host.strip("[]"), int(port), tls=tls)
    except ListenError as problem:
        raise ConfigError([f"{key}: {problem}"]) from None


def _front(
    config: CentralConfig, bank: BankTable, folder: Path, central: Central, file: Path | None
) -> tuple[BankFront, list[Fresh]]:
    """The banks' front, and what of it is to be read again from time to time."""
    signer, own = config.signer(folder, "commands"), config.signer(folder, "receipts")
    assert signer is not None  # the configuration's own check
    identity = None if own is None else receipts.identity_of(own)
    accounts = Accounts(folder / bank.accounts)
    try:
        accounts.refresh()
        doors = Doors(bank, folder, file)
        if identity is not None:
            receipts.publish(central.store, identity, wall_ms())
    except BadTable as wrong:
        raise ConfigError([f"bank.accounts: {wrong}"]) from None
    except BadBanks as wrong:
        raise ConfigError(wrong.errors) from None
    except receipts.KeyTaken as wrong:
        raise ConfigError([f"keys.receipts: {wrong}"]) from None
    desk = Desk(signer, config.central.name, None if identity is None else identity.seal)
    front = BankFront(central, accounts, desk, BankGate(doors, wall_ms, spend=lambda claim: front.spend(claim), identity=identity))
    return front, [accounts.refresh, doors.refresh]


async def keep_fresh(parts: Sequence[Fresh]) -> None:
    """Reads tables and keys again whenever they have changed; what is wrong stays as it was."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        for refresh in parts:
            try:
                if await asyncio.to_thread(refresh):
                    log.info("the banks' front was read again", what=refresh.__qualname__.partition(".")[0].lower())
            except (BadTable, BadBanks) as wrong:
                log.error(f"the banks' front stays as it was: {wrong}")


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
