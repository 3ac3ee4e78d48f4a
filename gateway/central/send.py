"""A command from the centre to one gateway, followed to its end (contract.md 5). Unsigned: over a broker on loopback only."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.adapters.mqtt_link import Broker, MqttSession
from gateway.central.config import CentralConfig
from gateway.central.logs import log_to_stderr
from gateway.central.store import CentralStore
from protocols.uplink import messages
from protocols.uplink.messages import Args, BadMessage, Command, ResultMessage
from protocols.uplink.moments import format_moment
from protocols.uplink.topics import Down, Topics, Up, UpTopic

log = structlog.get_logger(__name__)

CONNECT_S = 5.0
"""For the broker to be there: a person waits, and can call again."""

ACHIEVED = ("verified", "allowed", "done", "acknowledged")
"""Final states that are what was asked for; `acknowledged` is final only with `command_only`, which proves nothing."""


class NotSent(Exception):
    """The command did not leave, or its end was not seen; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asks for. id: made up when None; the same id again is the same command. lives_s: until it expires."""

    verb: str
    meter: str
    gateway: str
    cause: str | None = None
    reason: str = ""
    id: str | None = None
    lives_s: int = 300


Tell = Callable[[ResultMessage], None]


def send(config: CentralConfig, folder: Path, order: Order, *, wait_s: float, tell: Tell) -> ResultMessage:
    """Sends a command and tells every state of it until the final one, which it gives. NotSent, and errors of config and store."""
    log_to_stderr("warning")
    broker = config.broker(folder)
    if not broker.on_loopback:
        raise NotSent(f"commands are unsigned in this version and go only over a broker on loopback, not over {broker}")
    store = CentralStore.open(config.store_url(folder))
    try:
        command_id, payload = _write_down(store, order, time.time_ns() // 1_000_000)
    finally:
        store.close()
    return asyncio.run(_follow(broker, config.topics(), order.gateway, command_id, payload, wait_s, tell))


def _write_down(store: CentralStore, order: Order, now_ms: int) -> tuple[str, bytes]:
    command_id = order.id or f"c-{secrets.token_hex(8)}"

    def payload(counter: int) -> str:
        command = Command(
            id=command_id,
            gateway=order.gateway,
            verb=order.verb,
            meter=order.meter,
            args=Args(cause=order.cause),
            issued_at=format_moment(now_ms),
            expires_at=format_moment(now_ms + order.lives_s * 1000),
            reason=order.reason,
            counter=counter,
        )
        text = messages.encode(command)
        messages.decode_command(text)  # what a gateway would refuse does not leave
        return text.decode()

    try:
        return command_id, store.add_command(command_id, order.gateway, now_ms, payload).encode()
    except BadMessage as wrong:
        raise NotSent(str(wrong)) from None


async def _follow(
    broker: Broker, topics: Topics, gateway: str, command_id: str, payload: bytes, wait_s: float, tell: Tell
) -> ResultMessage:
    results: asyncio.Queue[ResultMessage] = asyncio.Queue()

    async def receive(topic: str, body: bytes, _retained: bool) -> None:
        where = topics.parse(topic)
        if not isinstance(where, UpTopic):
            return
        try:
            said = messages.decode_up(where.kind, body)
        except BadMessage as wrong:
            log.warning("a result could not be read", reason=str(wrong))
            return
        if isinstance(said, ResultMessage):
            results.put_nowait(said)

    session = MqttSession(
        broker,
        f"wattgate-send-{secrets.token_hex(4)}",
        filters=(topics.up(gateway, Up.RESULT, command_id),),
        on_message=receive,
        rng=random.Random(),
        lasting=False,
    )
    running = asyncio.create_task(session.run())
    try:
        async with asyncio.timeout(CONNECT_S):
            await session.connected.wait()
            await session.publish(topics.down(gateway, Down.COMMAND), payload)
    except (TimeoutError, ConnectionError):
        raise NotSent(f"the MQTT broker {broker} cannot be reached: the command was not sent") from None
    else:
        return await _last(results, command_id, wait_s, tell)
    finally:
        running.cancel()
        await asyncio.wait((running,))


async def _last(results: asyncio.Queue[ResultMessage], command_id: str, wait_s: float, tell: Tell) -> ResultMessage:
    told: set[tuple[str, int]] = set()
    try:
        async with asyncio.timeout(wait_s):
            while True:
                said = await results.get()
                if (said.epoch, said.seq) not in told:
                    told.add((said.epoch, said.seq))
                    tell(said)
                if said.final:
                    return said
    except TimeoutError:
        why = f"command {command_id} was sent, but no final result came within {wait_s:g} s: ask again with --id {command_id}"
        raise NotSent(why) from None


def as_json(said: ResultMessage) -> str:
    """A state as one line for scripts."""
    fields = {"command": said.command, "meter": said.meter, "state": said.state, "final": said.final, "at": said.at}
    return json.dumps(fields | {"evidence": said.evidence, "reason": said.reason}, ensure_ascii=False)
