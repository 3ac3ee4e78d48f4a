"""Anchors of a gateway's books: a book only grows, and nobody rewrites it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.bootstrap.new_keys import write_new_key
from gateway.central import keys, schema
from gateway.central.arrivals import Arrival
from gateway.central.heads import Trust, trust_of
from gateway.central.ingest import save
from gateway.central.orders import Signer
from gateway.central.store import CentralStore
from protocols.uplink import signing
from protocols.uplink.topics import Up
from tests.gateway.central.arriving import arrival
from tests.gateway.central.conftest import count, rows


@pytest.fixture
def own(tmp_path: Path) -> Signer:
    write_new_key(tmp_path / "g1.jwk", "g1")
    return keys.load(tmp_path / "g1.jwk")


def trust(own: Signer) -> Trust:
    return trust_of({"G1": {"g1": signing.public_key(signing.x_of(own.key))}})


def anchor(own: Signer, n: int, audit: tuple[int, str], ledger: tuple[int, str], seq: int = 0, **change: object) -> Arrival:
    heads = {name: {"number": number, "hash": value} for name, (number, value) in (("audit", audit), ("ledger", ledger))}
    claim = {"gateway": "G1", "number": n, "at_ms": 5, "epoch": "e1"} | heads | change
    return arrival(seq or n, Up.ANCHOR, jws=own.sign(json.dumps(claim).encode()).decode())


def found(store: CentralStore, own: Signer, *anchors: Arrival) -> list[tuple[object, object]]:
    for each in anchors:
        save(store, [each], trust(own))
    return [(row["kind"], row["subject"]) for row in rows(store, schema.finding)]


def test_a_growing_book_is_no_finding_in_whatever_order_its_anchors_come(store: CentralStore, own: Signer) -> None:
    anchors = [anchor(own, n, (n * 3, f"a{n}"), (n // 2, f"l{n // 2}")) for n in (3, 1, 2, 5, 4)]
    assert found(store, own, *anchors) == []
    assert count(store, schema.head) == 10


def test_a_rewritten_entry_is_an_alarm_whatever_the_epoch(store: CentralStore, own: Signer) -> None:
    first, later = anchor(own, 1, (7, "aa"), (5, "bb")), anchor(own, 2, (9, "cc"), (5, "XX"), epoch="e2")
    assert found(store, own, first, later) == [("anchor_contradiction", "ledger:5")]


@pytest.mark.parametrize("order", ((0, 1), (1, 0)))
def test_a_shortened_book_is_an_alarm_without_a_restore(store: CentralStore, own: Signer, order: tuple[int, int]) -> None:
    pair = [anchor(own, 1, (7, "aa"), (5, "bb")), anchor(own, 2, (6, "cc"), (5, "bb"))]
    [(kind, subject)] = found(store, own, *(pair[n] for n in order))
    assert kind == "anchor_rewound" and str(subject).startswith("audit:e1:")


def test_a_restored_book_may_be_shorter(store: CentralStore, own: Signer) -> None:
    assert found(store, own, anchor(own, 9, (7, "aa"), (5, "bb")), anchor(own, 4, (6, "cc"), (4, "dd"), epoch="e2", seq=10)) == []


def test_what_nobody_we_know_signed_proves_nothing(store: CentralStore, own: Signer, tmp_path: Path) -> None:
    write_new_key(tmp_path / "x.jwk", "g1")
    thief = keys.load(tmp_path / "x.jwk")
    bad = [
        anchor(thief, 1, (1, "a"), (1, "b")),
        anchor(own, 2, (1, "a"), (1, "b"), gateway="G2"),
        anchor(own, 3, (1, "a"), (1, "b"), extra=1),
        arrival(4, Up.ANCHOR, jws="é.b.c"),
    ]
    assert found(store, own, *bad) == [("anchor_unproved", f"e1:{n}") for n in (1, 2, 3, 4)]
    assert (count(store, schema.head), count(store, schema.anchor)) == (0, 4)


def test_anchors_of_a_gateway_of_which_no_key_is_known_are_kept(store: CentralStore, own: Signer) -> None:
    save(store, [anchor(own, 1, (1, "a"), (1, "b"))])
    assert (count(store, schema.anchor), count(store, schema.finding)) == (1, 0)
