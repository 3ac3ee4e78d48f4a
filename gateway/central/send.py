"""Orders from a person at the centre, signed, followed to their end (contract.md 5)."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from gateway.adapters.mqtt_session import Broker, MqttSession
from gateway.central import orders
from gateway.central.config import CentralConfig
from gateway.central.logs import log_to_stderr
from gateway.central.orders import Order, Signer, Written
from gateway.central.service import AT_ONCE, wall_ms
from gateway.central.store import CentralStore
from protocols.uplink import messages
from protocols.uplink.messages import BadMessage, ResultMessage
from protocols.uplink.topics import Down, Topics, UpTopic

log = structlog.get_logger(__name__)

CONNECT_S = 5.0
"""For the broker to be there: a person waits, and can call again."""

ACHIEVED = ("verified", "allowed", "done", "acknowledged")
"""Final states that are what was asked for; `acknowledged` is final only with `command_only`, which proves nothing."""

MOST_ORDERS = 10_000
"""Orders of one call: beyond it nobody looks at what becomes of each."""


class NotSent(Exception):
    """The order did not leave, or its end was not seen; the text is one sentence."""


Tell = Callable[[ResultMessage], None]


def send(
    config: CentralConfig, folder: Path, what: Sequence[Order], *, signer: Signer | None, wait_s: float, tell: Tell
) -> dict[str, ResultMessage]:
    """Sends orders and tells every state of them; gives the final ones by id. NotSent, and errors of config and store.

    A known id is the same order: it is sent as it was, and the gateway answers it as before.
    """
    log_to_stderr("warning")
    broker = config.broker(folder)
    if signer is None and not broker.on_loopback:
        raise NotSent(f"unsigned orders go only over a broker on loopback, not over {broker}: name keys.commands or --key")
    store = CentralStore.open(config.store_url(folder))
    try:
        written = _written(store, what, signer)
        return asyncio.run(_follow(store, broker, config.topics(), written, wait_s, tell))
    finally:
        store.close()


def _written(store: CentralStore, what: Sequence[Order], signer: Signer | None) -> list[Written]:
    if len(what) > MOST_ORDERS:
        raise NotSent(f"{len(what)} orders in one call are more than {MOST_ORDERS}")
    try:
        return [one for at in range(0, len(what), orders.AT_ONCE) for one in _part(store, what[at : at + orders.AT_ONCE], signer)]
    except BadMessage as wrong:
        raise NotSent(str(wrong)) from None


def _part(store: CentralStore, what: Sequence[Order], signer: Signer | None) -> list[Written]:
    return orders.write(store, what, signer, wall_ms())


async def _follow(
    store: CentralStore, broker: Broker, topics: Topics, written: Sequence[Written], wait_s: float, tell: Tell
) -> dict[str, ResultMessage]:
    results: asyncio.Queue[ResultMessage] = asyncio.Queue()
    ours = {(one.gateway, one.id) for one in written}

    async def receive(topic: str, body: bytes, _retained: bool) -> None:
        where = topics.parse(topic)
        if not isinstance(where, UpTopic) or (where.gateway, where.subject) not in ours:
            return
        try:
            said = messages.decode_up(where.kind, body)
        except BadMessage as wrong:
            log.warning("a result could not be read", reason=str(wrong))
            return
        if isinstance(said, ResultMessage):
            results.put_nowait(said)

    filters = tuple(f"{topics.root}/{gateway}/up/result/+" for gateway in sorted({one.gateway for one in written}))
    name = f"wattgate-send-{secrets.token_hex(4)}"
    session = MqttSession(broker, name, filters=filters, on_message=receive, rng=random.Random(), lasting=False)
    running = asyncio.create_task(session.run())
    try:
        await _publish(session, broker, topics, written)
        orders.mark_sent(store, [one.id for one in written], wall_ms())
        return await _last(results, {one.id for one in written}, wait_s, tell)
    finally:
        running.cancel()
        await asyncio.wait((running,))


async def _publish(session: MqttSession, broker: Broker, topics: Topics, written: Sequence[Written]) -> None:
    try:
        async with asyncio.timeout(CONNECT_S):
            await session.connected.wait()
        for at in range(0, len(written), AT_ONCE):
            part = written[at : at + AT_ONCE]
            await asyncio.gather(*(session.publish(topics.down(one.gateway, Down.COMMAND), one.token) for one in part))
    except (TimeoutError, ConnectionError):
        why = f"the MQTT broker {broker} cannot be reached: not everything was sent; a running central sends what has not expired"
        raise NotSent(why) from None


async def _last(results: asyncio.Queue[ResultMessage], ids: set[str], wait_s: float, tell: Tell) -> dict[str, ResultMessage]:
    told: set[tuple[str, str, int]] = set()
    final: dict[str, ResultMessage] = {}
    try:
        async with asyncio.timeout(wait_s):
            while len(final) < len(ids):
                said = await results.get()
                if (said.command, said.epoch, said.seq) not in told:
                    told.add((said.command, said.epoch, said.seq))
                    tell(said)
                if said.final:
                    final[said.command] = said
    except TimeoutError:
        open_ids = sorted(ids - final.keys())
        first = f"command {open_ids[0]} was sent, but no final result came within {wait_s:g} s: ask again with --id {open_ids[0]}"
        raise NotSent(first if len(open_ids) == 1 else f"{first}; {len(open_ids) - 1} others are open too") from None
    return final


def orders_of(text: str, gateway: str | None) -> list[Order]:
    """Orders as JSON lines: {"verb", "gateway"?, "meter"?, "account"?, "args"?, "reason"?, "id"?, "expires_s"?}. NotSent."""
    return [_order(number, line, gateway) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


_NAMES = {"verb", "gateway", "meter", "account", "args", "reason", "id", "expires_s"}


def _order(number: int, line: str, gateway: str | None) -> Order:
    try:
        said = messages.parse_object(line.encode(), f"line {number}")
    except BadMessage as wrong:
        raise NotSent(str(wrong)) from None
    if strange := said.keys() - _NAMES:
        raise NotSent(f"line {number}: {sorted(strange)[0][:64]!r} is none of {', '.join(sorted(_NAMES))}")
    texts = {name: said.get(name) for name in ("verb", "meter", "account", "reason", "id")}
    args, lives_s, owner = said.get("args", {}), said.get("expires_s", 300), said.get("gateway", gateway)
    if not all(text is None or isinstance(text, str) for text in texts.values()) or not isinstance(owner, str):
        raise NotSent(f"line {number}: verb, gateway, meter, account, reason and id are texts, and a gateway must be named")
    if not isinstance(args, dict) or not isinstance(lives_s, int) or isinstance(lives_s, bool) or lives_s < 1:
        raise NotSent(f"line {number}: args is an object, expires_s a number of seconds")
    name = {key: str(text) for key, text in texts.items() if text is not None}
    return Order(
        name.get("verb", ""), owner, name.get("meter"), name.get("account"), args, name.get("reason", ""), name.get("id"), lives_s
    )


def as_json(said: ResultMessage) -> str:
    """A state as one line for scripts."""
    fields = {"command": said.command, "meter": said.meter, "state": said.state, "final": said.final, "at": said.at}
    return json.dumps(fields | {"evidence": said.evidence, "reason": said.reason}, ensure_ascii=False)
