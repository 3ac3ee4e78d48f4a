"""The central store: every message once, and its content where it can be queried; on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import text, update

from gateway.central import audit, ingest, schema, states
from gateway.central.arrivals import Unreadable
from gateway.central.orders import Order, write
from gateway.central.payments import booked
from gateway.central.reversals import reverse
from gateway.central.store import CentralStore, StoreUnusable
from gateway.domain.bank_acts import Reversal, ReversalVerdict
from gateway.domain.requests import PaymentIdentity
from protocols.uplink.messages import BadMessage
from protocols.uplink.topics import Up
from tests.gateway.central.arriving import NOW_MS, arrival
from tests.gateway.central.conftest import count, rows


def test_each_message_is_stored_once_whatever_comes_again(store: CentralStore) -> None:
    batch = [arrival(1), arrival(2), arrival(2, backlog=True), arrival(1, epoch="e2"), arrival(1, gateway="G2")]
    assert ingest.save(store, batch).new == 4
    assert ingest.save(store, [*batch, arrival(3)]).new == 1
    assert (count(store, schema.message), count(store, schema.event)) == (5, 5)
    first = [row for row in rows(store, schema.message) if row["seq"] == 2]
    assert [row["backlog"] for row in first] == [False]


def test_contents_stand_in_their_tables(store: CentralStore) -> None:
    ingest.save(store, [arrival(seq, kind) for seq, kind in enumerate(Up, start=1)])
    [reading] = rows(store, schema.reading)
    assert {k: reading[k] for k in ("gateway", "meter", "point", "quality", "source", "answered_ms")} == {
        "gateway": "G1",
        "meter": "M1",
        "point": "P1",
        "quality": "confirmed",
        "source": "live",
        "answered_ms": NOW_MS + 123,
    }
    assert [(r["quantity"], r["obis"], r["value"], r["unit"]) for r in rows(store, schema.item)] == [
        ("energy_import", "1-0:1.8.0", "123.40", "kWh"),
        ("voltage_a", None, None, "V"),
    ]
    [event] = rows(store, schema.event)
    assert (event["kind"], event["account"], event["at_ms"], event["data"]) == (
        "line_up",
        "00ff",
        NOW_MS,
        '{"line": "a", "text": "灯"}',
    )
    [balance] = rows(store, schema.balance)
    assert (balance["account"], balance["balance"], balance["currency"], balance["credit"]) == ("00ff", "-1.25", "CNY", "exhausted")
    [result] = rows(store, schema.result)
    assert (result["command"], result["state"], result["final"]) == ("c-1", "verified", True)
    assert result["evidence"] == '["relay_bit", "load"]'


def test_pain_22_a_value_of_the_past_keeps_its_own_time(store: CentralStore) -> None:
    old = arrival(2, Up.READING, source="freeze", taken="2026-11-21T00:00:00.000Z")
    ingest.save(store, [arrival(1, Up.READING), old])
    assert {reading["taken_ms"] for reading in rows(store, schema.reading)} == {None, NOW_MS // 86_400_000 * 86_400_000}


OLD = (  # version 1, as it was first published: no taken_ms, no streams, commands under their gateway's counter
    "DROP TABLE central_stream",
    "DROP TABLE central_order",
    "DROP TABLE central_counter",
    "ALTER TABLE central_reading DROP COLUMN taken_ms",
    "CREATE TABLE central_command (id TEXT PRIMARY KEY, gateway TEXT, counter BIGINT, payload TEXT, sent_ms BIGINT)",
    "INSERT INTO central_command VALUES ('c-1', 'G1', 7, '{}', 5)",
)


def test_a_store_of_an_old_version_is_brought_forward(url: str) -> None:
    store = CentralStore.open(url)
    ingest.save(store, [arrival(n) for n in (1, 2, 3, 7, 8, 10)] + [arrival(n, epoch="e2") for n in (2, 3)])
    with store._database.writer.begin() as connection:
        for statement in OLD:
            connection.execute(text(statement))
        connection.execute(update(schema.meta).values(value="1"))
    store.close()
    for _ in range(2):
        again = CentralStore.open(url)
        assert [row["value"] for row in rows(again, schema.meta)] == [schema.VERSION]
        again.close()
    again = CentralStore.open(url)
    assert {row["epoch"]: row["accounted"] for row in rows(again, schema.stream)} == {
        "e1": "[[1,3],[7,8],[10,10]]",
        "e2": "[[2,3]]",
    }
    assert ingest.save(again, [arrival(3), arrival(4, Up.READING)]).new == 1
    assert rows(again, schema.reading)[0]["taken_ms"] is None
    [old] = rows(again, schema.order)
    assert (old["id"], old["kid"], old["counter"], old["final"]) == ("c-1", schema.UNSIGNED, 7, True)
    [written] = write(again, [Order("stop", "G1")], None, NOW_MS)
    assert b'"counter":8' in written.token
    again.close()


WITHOUT_KEYS = (  # version 3: receipts without a signature, and a front for unsigned banks only
    "DROP INDEX central_payment_account",
    "DROP INDEX central_payment_reversed",
    *(f"ALTER TABLE central_payment DROP COLUMN {name}" for name in ("receipt_jws", "reversal_reason", "reversal_requested")),
    *(f"DROP TABLE central_{name}" for name in ("audit", "nonce", "takings", "receipt_key", "day_book", "closed_day")),
    "INSERT INTO central_payment (bank, institution, scope, serial, account, gateway, amount_micro, currency, accounting_date,"
    " paid_at, channel, status, delivery, receipt, reversal_state, reversal_serial, reversal_date, reversal_ms, voucher, at_ms)"
    " VALUES ('demo', '', '', 'S-1', 'A-1', 'G1', 50000000, 'CNY', '2026-11-21', '2026-11-21T04:00:00+00:00', '', 'posted',"
    " 'queued', '{}', '', '', '', 0, 'v-1', 5)",
)


def test_payments_of_version_3_are_kept(url: str) -> None:
    store = CentralStore.open(url)
    with store._database.writer.begin() as connection:
        for statement in WITHOUT_KEYS:
            connection.execute(text(statement))
        connection.execute(update(schema.meta).values(value="3"))
    store.close()
    again = CentralStore.open(url)
    found = again.read(lambda c: booked(c, PaymentIdentity("demo", "", "", "S-1")))
    assert found is not None and (found.payment.receipt, found.payment.receipt_jws, found.delivery) == ("{}", None, "queued")
    asked = Reversal(
        found.payment.identity, "R-1", date(2026, 11, 21), 50_000_000, "CNY", "why", datetime(2026, 11, 21, tzinfo=UTC)
    )
    assert reverse(again, asked, "bank:demo", None, "CENTRE", lambda: 9)[0] is ReversalVerdict.PENDING
    assert audit.walk(again) == (1, None)
    again.close()


def test_a_message_that_is_not_understood_is_kept_as_it_came(store: CentralStore) -> None:
    strange = arrival(5, Up.EVENT, colour="red")
    assert isinstance(strange.content, Unreadable)
    assert ingest.save(store, [strange]).new == 1
    [kept] = rows(store, schema.unreadable)
    assert "unknown field `colour`" in str(kept["why"]) and b'"red"' in bytes(kept["payload"])  # type: ignore[call-overload]
    assert rows(store, schema.stream)[0]["accounted"] == "[[5,5]]"
    with pytest.raises(BadMessage):
        arrival(0)


def test_a_state_is_the_newest(store: CentralStore) -> None:
    states.save(store, "G1", "online", 5)
    states.save(store, "G1", "offline", 6)
    assert rows(store, schema.gateway) == [{"gateway": "G1", "state": "offline", "at_ms": 6}]


def test_a_store_of_a_newer_version_is_left_alone(url: str) -> None:
    store = CentralStore.open(url)
    with store._database.writer.begin() as connection:
        connection.execute(update(schema.meta).values(value="99"))
    store.close()
    with pytest.raises(StoreUnusable, match="schema 99"):
        CentralStore.open(url)


@pytest.mark.parametrize("url", ("/nowhere/at/all.db", "mysql://x/y"))
def test_a_store_that_cannot_be_opened_says_so(url: str) -> None:
    with pytest.raises(StoreUnusable, match=r"cannot be opened|not a database"):
        CentralStore.open(url)
