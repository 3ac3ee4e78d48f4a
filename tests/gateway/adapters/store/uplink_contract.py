"""Keys, orders of the centre and anchors: part of what every database under the store must do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.adapters.store import Store
from gateway.domain.uplink_keys import KeyRole, UplinkKey
from gateway.domain.uplink_orders import Anchor, UplinkOrder
from gateway.services.ports import Duplicate, Tx
from tests.gateway.adapters.store.rows import NOW_MS

KEY = UplinkKey(
    "k1", "x1", KeyRole.CENTRE, "the centre", ("G1",), ("cut", "restore"), ("M*",), ("A1",), ("emergency",), {"topup": 5}, NOW_MS,
    NOW_MS, NOW_MS + 1, filed=True,
)  # fmt: skip
ORDER = UplinkOrder("o1", "k1", 7, "cut", "M1", None, "d", NOW_MS, NOW_MS + 1, NOW_MS, "{}", "fire", "a.b.c", "queued", NOW_MS)


def keep(tx: Tx, rows: Sequence[UplinkOrder | Anchor]) -> None:
    for row in rows:
        if isinstance(row, Anchor):
            tx.add_anchor(row)
        else:
            tx.add_uplink_order(row)


class UplinkContract:
    def test_keys_come_back_as_they_are_and_change(self, store: Store) -> None:
        store.write_now(lambda tx: tx.save_uplink_key(KEY))
        store.write_now(lambda tx: tx.save_uplink_key(UplinkKey("k0", "x0")))
        assert store.read_now(lambda tx: tx.uplink_key("k1")) == KEY
        store.write_now(lambda tx: tx.save_uplink_key(replace(KEY, revoked_ms=NOW_MS + 5)))
        assert store.read_now(lambda tx: [(key.kid, key.revoked_ms) for key in tx.uplink_keys()]) == [
            ("k0", None),
            ("k1", NOW_MS + 5),
        ]
        assert store.read_now(lambda tx: tx.uplink_key("k2")) is None

    def test_an_order_is_known_once_and_answered_once(self, store: Store) -> None:
        store.write_now(lambda tx: tx.add_uplink_order(ORDER))
        with pytest.raises(Duplicate):
            store.write_now(lambda tx: tx.add_uplink_order(replace(ORDER, counter=8)))
        assert store.read_now(lambda tx: tx.uplink_order("o1")) == ORDER
        assert store.read_now(lambda tx: tx.open_uplink_orders(10)) == [ORDER]
        waits = replace(ORDER, state="quarantined", changed_ms=NOW_MS + 1, reason="by two")
        done = replace(waits, state="done", code="x", answer='{"a":1}')
        store.write_now(lambda tx: tx.save_uplink_order(waits))
        store.write_now(lambda tx: tx.save_uplink_order(done))
        assert store.read_now(lambda tx: tx.uplink_order("o1")) == done
        with pytest.raises(LookupError):
            store.write_now(lambda tx: tx.save_uplink_order(waits))
        assert store.read_now(lambda tx: tx.open_uplink_orders(10)) == []

    def test_vouchers_that_wait_stand_behind_all_other_orders(self, store: Store) -> None:
        verbs = {"a": "topup", "b": "set_limit", "c": "topup", "d": "read"}
        rows = [replace(ORDER, id=ident, counter=n, verb=verb) for n, (ident, verb) in enumerate(verbs.items(), 1)]
        store.write_now(lambda tx: keep(tx, rows))
        assert store.read_now(lambda tx: [order.id for order in tx.open_uplink_orders(3)]) == ["b", "d", "a"]

    def test_counters_are_remembered(self, store: Store) -> None:
        rows = [
            replace(ORDER, id="a", counter=2**62, verb="restore", state="ordered"),
            replace(ORDER, id="b", counter=9, verb="read"),
            replace(ORDER, id="c", counter=9, meter="M2", state="refused"),
            replace(ORDER, id="d", kid="k2", counter=50),
        ]
        store.write_now(lambda tx: keep(tx, rows))
        assert store.read_now(lambda tx: tx.last_counter("k1", "M1")) == 2**62
        assert store.read_now(lambda tx: (tx.last_counter("k2", "M1"), tx.last_counter("k2", "M2"))) == (50, None)
        assert store.read_now(lambda tx: (tx.order_by_counter("k1", 9), tx.order_by_counter("k1", 10))) == ("b", None)
        assert store.read_now(lambda tx: [order.id for order in tx.uplink_orders(2)]) == ["d", "c"]

    def test_anchors_stand_in_their_order(self, store: Store) -> None:
        rows = [Anchor(number, NOW_MS, "e1", (number, "a"), (0, "g"), "a.b.c") for number in (1, 2, 3)]
        store.write_now(lambda tx: keep(tx, rows))
        assert store.read_now(lambda tx: tx.anchors(1, 10)) == rows[1:]
        assert store.read_now(lambda tx: tx.last_anchor()) == rows[2]
