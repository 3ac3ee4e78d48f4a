"""What a signed command costs: its form, signature and scope, which are asked for before anything is written; and the writing."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.adapters.mqtt_down import DownSide
from gateway.adapters.mqtt_link import ABREAST
from gateway.adapters.mqtt_session import Arrival, Demands
from gateway.adapters.store import Store
from gateway.adapters.uplink_keyring import KeyRing
from gateway.domain.meters import Meter, SwitchKind
from gateway.domain.uplink_keys import Wanted, allows, in_force
from gateway.services.ports import Site
from gateway.services.receive_command import receive_command
from protocols.uplink.signing import open_signed, public_key
from tests.gateway.centre_keys import Signer

NOW_MS = 1_795_262_400_000
COMMANDS, WRITTEN = 10_000, 1_000
SITE = Site("G1", "Asia/Shanghai", clock_trusted=True)
Figure = tuple[str, float, str]


def figures() -> Iterator[Figure]:
    """Verified in a second of one thread's own time, the signature alone beside it, and recorded durably a second, one by one."""
    signer = Signer("centre-1", 1)
    meters = tuple(f"M{number}" for number in range(WRITTEN))
    key = signer.key(verbs=("restore", "cut"), gateways=("G1",), meters=("M*",), most={"topup": 10**9})
    down = DownSide("G1", KeyRing([key]), signatures="required", commands=True, on_loopback=False, now_ms=lambda: NOW_MS)
    tokens = [
        signer.signed(signer.fields(f"c-{n}", NOW_MS, verb="restore", args=None, meter=meters[n % WRITTEN]))
        for n in range(COMMANDS)
    ]
    yield "Ed25519 by joserfc alone, one thread", *_alone(signer, tokens)
    yield "command: form, signature, key and scope, one thread", *_verified(down, tokens)
    yield "command: and recorded durably, one after the other", *_recorded(down, signer, tokens[:WRITTEN], meters, 1)
    yield f"command: and recorded durably, {ABREAST} abreast", *_recorded(down, signer, tokens[:WRITTEN], meters, ABREAST)


def _alone(signer: Signer, tokens: list[bytes]) -> tuple[float, str]:
    known = public_key(signer.key().public)
    begun = time.thread_time()
    for token in tokens:
        open_signed(token, lambda kid: known)
    return len(tokens) / (time.thread_time() - begun), "/s"


def _verified(down: DownSide, tokens: list[bytes]) -> tuple[float, str]:
    key = Signer("centre-1", 1).key(verbs=("restore", "cut"), gateways=("G1",), meters=("M*",))
    begun = time.thread_time()
    for token in tokens:
        command = down.command(Arrival("wattgate/v1/G1/down/command", token, False, Demands()))
        assert in_force(key, NOW_MS) is None
        assert allows(key, Wanted(command.verb, command.gateway, (str(command.meter),))) is None
    return len(tokens) / (time.thread_time() - begun), "/s"


def _recorded(
    down: DownSide, signer: Signer, tokens: list[bytes], meters: tuple[str, ...], abreast: int
) -> tuple[float, str]:
    with tempfile.TemporaryDirectory() as folder, Store.open(str(Path(folder, "store.db"))) as store:
        store.write_now(lambda tx: tx.save_uplink_key(signer.key()))
        for number, name in enumerate(meters):
            meter = Meter(name, "a", f"{number:012}", "dlt645-2007", "p", None, name, SwitchKind.INTERNAL, "a")
            store.write_now(lambda tx, meter=meter: tx.save_meter(meter))  # type: ignore[misc]
        return asyncio.run(_written(store, down, tokens, abreast)), "/s"


async def _written(store: Store, down: DownSide, tokens: list[bytes], abreast: int) -> float:
    """Each waits until it is on disk; those that wait together share a commit."""
    room = asyncio.Semaphore(abreast)

    async def one(token: bytes) -> None:
        async with room:
            command = down.command(Arrival("wattgate/v1/G1/down/command", token, False, Demands()))
            answer = await store.write(lambda tx: receive_command(tx, command, SITE, NOW_MS))
            assert answer.command is not None, answer.refused

    begun = time.perf_counter()
    await asyncio.gather(*map(one, tokens))
    return len(tokens) / (time.perf_counter() - begun)
