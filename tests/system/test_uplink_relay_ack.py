"""Who is not the centre, or speaks of another outbox, takes nothing out of ours: forged acknowledgements over a real broker."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gateway.services.acknowledge import REFUSALS_APART_MS
from tests.gateway.brokers import Mosquitto
from tests.gateway.centre_keys import Signer, b64
from tests.system.processes import until
from tests.system.proofs import rows
from tests.system.relay_stand import ROOT, SEEN_S, RelayStand, Watcher, key_table, street
from tests.system.stand import tracebacks

ACK = f"{ROOT}/down/ack"
CENTRE, ORDERS, ELSEWHERE, STRANGER = Signer("centre", 1), Signer("orders", 2), Signer("elsewhere", 3), Signer("centre", 9)
KEYS = key_table(CENTRE, role="centre") + key_table(ORDERS, verbs=["*"]) + key_table(ELSEWHERE, role="centre", gateways=["G2"])

Forge = Callable[[bytes], bytes]
FORGED: dict[str, tuple[Forge, str]] = {
    "plain JSON": (lambda word: word, "unsigned"),
    "no signature": (lambda word: CENTRE.signed(word).rsplit(b".", 1)[0] + b".", "unsigned"),
    "another word's signature": (lambda word: _swap(word), "bad_signature"),
    "alg none": (lambda word: b64(b'{"alg":"none","kid":"centre"}') + b"." + b64(word) + b".", "bad_signature"),
    "another's key under its name": (STRANGER.signed, "bad_signature"),
    "nobody's key": (Signer("nobody", 8).signed, "unknown_key"),
    "a key that only orders": (ORDERS.signed, "no_right"),
    "another gateway's centre": (ELSEWHERE.signed, "no_right"),
}


def _swap(word: bytes) -> bytes:
    other = CENTRE.signed(word.replace(b'"also"', b'"Also"'))
    return CENTRE.signed(word).rsplit(b".", 1)[0] + b"." + other.rsplit(b".", 1)[1]


def word(watcher: Watcher, upto: int, **change: object) -> bytes:
    return json.dumps({"epoch": watcher.epoch, "upto": upto, "also": [], **change}).encode()


def refusal(watcher: Watcher, word: str) -> bool:
    """Whether the last one is about this."""
    told = watcher.of("ack_refused")
    return bool(told) and word in told[-1]["data"]["reason"]


def acknowledged(stand: RelayStand) -> int:
    [row] = rows(stand.data / "wattgate.db", "SELECT COUNT(*) AS n FROM outbox WHERE acknowledged_ms IS NOT NULL")
    return int(row["n"])


async def heard(stand: RelayStand, watcher: Watcher, name: str) -> None:
    """Until all that was published before is done with: an order that comes after it has its answer."""
    fields = ORDERS.fields(name, stand.now_ms(), verb="cancel", meter=None, args={"id": "nothing"}, expires_at=None)
    await watcher.client.publish(f"{ROOT}/down/command", ORDERS.signed(fields), qos=1)
    await until(lambda: watcher.last(name), f"the answer to {name}", SEEN_S)


async def test_a_forged_acknowledgement_deletes_nothing(tmp_path: Path, mosquitto: str) -> None:
    stand = RelayStand(tmp_path, Mosquitto(tmp_path / "mosquitto", mosquitto), street(1, 2), KEYS)
    async with stand.running(None) as watcher:
        await stand.start(watcher)
        await until(lambda: len(watcher.seqs) > 5, "something is in the outbox", SEEN_S)
        counted = Counter[str]()
        for number, (forge, reason) in enumerate(FORGED.values()):
            await watcher.client.publish(ACK, forge(word(watcher, watcher.upto)), qos=1)
            counted[reason] += 1
            await heard(stand, watcher, f"b-{number}")
            refused = {why: count for why, count in (await stand.refused()).items() if count}
            assert refused == {**counted, "not_permitted": number + 1}, list(FORGED)[number]
        await watcher.client.publish(ACK, CENTRE.signed(word(watcher, watcher.upto)), qos=1, retain=True)
        await heard(stand, watcher, "b-retained")
        assert (await stand.refused())["retained"] == 1
        await watcher.client.publish(ACK, b"", qos=1, retain=True)  # gone from the broker
        for name, bad in _impossible(watcher).items():
            await watcher.client.publish(ACK, CENTRE.signed(bad), qos=1)
            await heard(stand, watcher, f"b-{name}")
            told = partial(refusal, watcher, name)
            await until(told, f"the refusal of {name}", SEEN_S)
            stand.shift(stand.off_ms + REFUSALS_APART_MS)
        assert len(watcher.of("ack_refused")) == 3 and acknowledged(stand) == 0

        upto = watcher.upto
        await watcher.client.publish(ACK, CENTRE.signed(word(watcher, upto)), qos=1)
        await until(lambda: acknowledged(stand) == upto, "a good one takes out all that it names", SEEN_S)
        assert await stand.gateway.end() == 0
    assert tracebacks(tmp_path) == []


def _impossible(watcher: Watcher) -> dict[str, bytes]:
    """Well signed, and about what there is not; by a word of the reason."""
    return {
        "epoch": word(watcher, watcher.upto, epoch="0" * len(watcher.epoch)),
        str(10**6): word(watcher, 10**6),
        str(10**7): word(watcher, watcher.upto, also=[[watcher.upto + 2, 10**7]]),
    }


@pytest.mark.parametrize("name", FORGED)
def test_each_forgery_is_one(name: str) -> None:
    """None of them is, by mistake, the good one."""
    said = b'{"epoch":"e","upto":1,"also":[]}'
    assert FORGED[name][0](said) != CENTRE.signed(said)
