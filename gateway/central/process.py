"""`wattgate central` in the foreground: its parts put together, until SIGTERM."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import structlog

from gateway.adapters import event_loop
from gateway.central.config import CentralConfig, ConfigError
from gateway.central.heads import trust_of
from gateway.central.listening import Listening
from gateway.central.logs import log_to_stderr
from gateway.central.service import Central
from gateway.central.store import CentralStore

log = structlog.get_logger(__name__)


def serve(config: CentralConfig, folder: Path, *, file: Path | None = None, say_ready: bool = False) -> None:
    """Runs until SIGTERM or Ctrl-C. ConfigError and StoreUnusable say what is wrong. file: the configuration's, looked at again."""
    log_to_stderr()
    broker, signer = config.broker(folder), config.signer(folder, "centre")
    if signer is None and not broker.on_loopback:
        raise ConfigError([f"keys.centre: acks are signed where the broker is not on loopback, and {broker} is not: name a key"])
    store = CentralStore.open(config.store_url(folder))
    try:
        central = Central(
            store,
            broker,
            config.topics(),
            identifier=config.central.id,
            signer=signer,
            share=config.central.share,
            anchors=trust_of(config.anchor_keys()),
        )
        listening = Listening.of(config, folder, central, file)
        event_loop.run(_serve(central, listening, say_ready))
    finally:
        store.close()


async def _serve(central: Central, listening: Listening | None, say_ready: bool) -> None:
    running = asyncio.create_task(_run(central, listening))
    ready = asyncio.create_task(_say_ready(central, listening)) if say_ready else None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("the central system was stopped", stored=central.counts.stored)
    finally:
        if ready is not None:
            ready.cancel()


async def _run(central: Central, listening: Listening | None) -> None:
    if listening is None:
        await central.run()
        return
    beside = asyncio.create_task(listening.run())
    try:
        await central.run()
    finally:
        listening.stop()
        beside.cancel()
        await asyncio.wait((beside,))


async def _say_ready(central: Central, listening: Listening | None) -> None:
    await central.session.connected.wait()
    where = {} if listening is None else {"http": listening.url, **({} if listening.bank is None else {"bank": listening.bank})}
    print(json.dumps({"ready": True, **where}), flush=True)
