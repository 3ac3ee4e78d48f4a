"""Commands of the centre: counted for ever, written before they leave, sent again, followed to their end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.bootstrap.new_keys import write_new_key
from gateway.central import keys, schema
from gateway.central.ingest import save
from gateway.central.keys import BadKey
from gateway.central.orders import AGAIN_S, Order, Signer, due, mark_sent, state, write
from gateway.central.send import NotSent, orders_of
from gateway.central.store import CentralStore
from protocols.uplink import signing
from protocols.uplink.commands import decode_command
from protocols.uplink.messages import BadMessage
from protocols.uplink.topics import Up
from tests.gateway.central.arriving import NOW_MS, arrival
from tests.gateway.central.conftest import rows


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    write_new_key(tmp_path / "office.jwk", "office-1")
    return keys.load(tmp_path / "office.jwk")


def payload(token: bytes, signer: Signer) -> dict[str, object]:
    signed = signing.open_signed(token, {signer.kid: signer.key}.get)
    decode_command(signed.payload)
    found: dict[str, object] = json.loads(signed.payload)
    return found


def result(seq: int, said: str, *, final: bool, command: str = "c-1", gateway: str = "G1", at: str = "12:00:00") -> object:
    change = {"command": command, "state": said, "final": final, "at": f"2026-11-21T{at}Z", "reason": None}
    return arrival(seq, Up.RESULT, gateway=gateway, **change)  # type: ignore[arg-type]


def test_counters_rise_per_key_and_gateway_and_a_known_id_is_the_same_command(store: CentralStore, signer: Signer) -> None:
    wanted = [Order("restore", g, meter="M1", id=i) for i, g in (("a", "G1"), ("b", "G1"), ("c", "G2"), ("a", "G1"))]
    written = write(store, wanted, signer, NOW_MS)
    assert [payload(one.token, signer)["counter"] for one in written] == [1, 2, 1, 1]
    assert written[3] == written[0]
    assert write(store, wanted[:1], signer, NOW_MS + 5) == written[:1]
    other = Signer("office-2", signer.key)
    assert [payload(one.token, other)["counter"] for one in write(store, [Order("stop", "G1")], other, NOW_MS)] == [1]
    again = CentralStore(store._database)
    assert [payload(one.token, signer)["counter"] for one in write(again, [Order("stop", "G1")], signer, NOW_MS)] == [3]


def test_what_expires_says_when_and_money_never_does(store: CentralStore, signer: Signer) -> None:
    args = {
        "bank": "B",
        "serial": "1",
        "amount": "5.00",
        "currency": "CNY",
        "accounting_date": "2026-11-21",
        "paid_at": "2026-11-21T08:00:00Z",
    }
    wanted = [Order("cut", "G1", meter="M1", args={"cause": "emergency"}), Order("topup", "G1", account="00ff", args=args)]
    cut, topup = (payload(one.token, signer) for one in write(store, wanted, signer, NOW_MS))
    assert cut["expires_at"] == "2026-11-21T12:05:00.000Z" and "expires_at" not in topup


@pytest.mark.parametrize(
    "order",
    (
        Order("cut", "G1", meter="M1"),
        Order("cut", "G1", meter="M1", args={"cause": "emergency", "coz": 1}),
        Order("restore", "G1"),
        Order("restore", "G 1", meter="M1"),
        Order("release", "G1", meter="M1", args={"id": "x"}),
    ),
)
def test_what_no_gateway_would_take_is_not_written(store: CentralStore, signer: Signer, order: Order) -> None:
    with pytest.raises(BadMessage):
        write(store, [Order("stop", "G1"), order], signer, NOW_MS)
    assert rows(store, schema.order) == [] == rows(store, schema.counter)


def test_an_order_of_which_nothing_is_heard_is_sent_again_until_it_expires(store: CentralStore, signer: Signer) -> None:
    [one] = write(store, [Order("restore", "G1", meter="M1", id="c-1", lives_s=400)], signer, NOW_MS)
    sent, now_ms = [], NOW_MS
    while now_ms < NOW_MS + 1_000_000:
        if found := store.read(lambda c: due(c, now_ms)):  # noqa: B023
            assert found == [one]
            sent.append((now_ms - NOW_MS) // 1000)
            mark_sent(store, ["c-1"], now_ms)
        now_ms += 10_000
    assert sent == [0, AGAIN_S[0], AGAIN_S[0] + AGAIN_S[1], sum(AGAIN_S[:3])]
    [row] = rows(store, schema.order)
    assert (row["tries"], row["state"]) == (4, "new")


def test_what_was_heard_of_is_not_sent_again(store: CentralStore, signer: Signer) -> None:
    write(store, [Order("restore", "G1", meter="M1", id="c-1")], signer, NOW_MS)
    save(store, [result(1, "queued", final=False)])  # type: ignore[list-item]
    assert store.read(lambda c: due(c, NOW_MS)) == []


def test_an_order_is_followed_to_its_final_state_whatever_the_order_of_results(store: CentralStore, signer: Signer) -> None:
    write(store, [Order("restore", "G1", meter="M1", id="c-1")], signer, NOW_MS)
    save(store, [result(3, "acknowledged", final=False, at="12:00:03"), result(1, "queued", final=False)])  # type: ignore[list-item]
    assert store.read(lambda c: state(c, "c-1")).state == "acknowledged"  # type: ignore[union-attr]
    save(store, [result(9, "refused", final=True, gateway="G2")])  # type: ignore[list-item]  # another gateway has no say
    assert not store.read(lambda c: state(c, "c-1")).final  # type: ignore[union-attr]
    save(store, [result(4, "verified", final=True, at="12:00:04")])  # type: ignore[list-item]
    save(store, [result(2, "sent", final=False, at="12:00:09")])  # type: ignore[list-item]
    found = store.read(lambda c: state(c, "c-1"))
    assert found is not None and (found.state, found.final) == ("verified", True)


def test_keys_are_files_that_only_their_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / "a.jwk"
    public = write_new_key(file, "a")
    assert file.stat().st_mode & 0o777 == 0o600 and signing.x_of(keys.load(file).key) == public
    assert json.loads(file.read_text())["d"] not in repr(keys.load(file))
    file.chmod(0o644)
    with pytest.raises(BadKey, match="chmod 600"):
        keys.load(file)
    for text in ("", "{}", "[]", '{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA","kid":"a"}'):
        bad = tmp_path / "bad.jwk"
        bad.write_text(text)
        bad.chmod(0o600)
        with pytest.raises(BadKey):
            keys.load(bad)


def test_many_orders_are_lines_of_json() -> None:
    second = '{"verb": "cut", "gateway": "G2", "meter": "M2", "args": {"cause": "safety"}, "expires_s": 60}'
    assert orders_of('{"verb": "restore", "meter": "M1"}\n\n' + second, "G1") == [
        Order("restore", "G1", "M1"),
        Order("cut", "G2", "M2", args={"cause": "safety"}, lives_s=60),
    ]
    for line in (
        "[]",
        "{",
        '{"verb": "cut"}',
        '{"verb": "cut", "gateway": "G", "coz": 1}',
        '{"gateway": "G", "verb": "x", "expires_s": 0}',
    ):
        with pytest.raises(NotSent):
            orders_of(line, None)
