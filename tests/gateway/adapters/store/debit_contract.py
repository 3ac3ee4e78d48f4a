"""Traces, mandates and debits: part of what every database under the store must do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.adapters.store import Store
from gateway.domain.mandates import Batch, DebitLine, DebitState, Mandate, MandateState
from gateway.domain.traces import Trace
from gateway.services.ports import Duplicate, Tx
from tests.gateway.adapters.iso8583_line import settle

MANDATE = Mandate("M-1", "icbc", "A-1", "6222", "CNY", 10, 20, 30, MandateState.SIGNED, 5)
BATCH = Batch("DD-icbc-20261121", "icbc", "2026-11-21", "CNY", 1, 20, 7)
LINE = DebitLine(BATCH.id, 1, "icbc", "DD-20261121-000001", "M-1", "A-1", "6222", 20, "CNY")
TRACE = Trace("icbc", "000001-1121", "", "S-1", {"37": "26", "41": "T"})


class DebitContract:
    def test_traces_come_back_by_bank_and_original(self, store: Store) -> None:
        early = replace(TRACE, serial="S-2", scope="2026-11-21", parts={}, early=True)

        def add(tx: Tx) -> None:
            for trace in (TRACE, early, replace(TRACE, bank="abc"), replace(TRACE, original="x")):
                tx.add_trace(trace)
            with pytest.raises(Duplicate):
                tx.add_trace(replace(TRACE, parts={}))

        store.write_now(add)
        assert list(store.read_now(lambda tx: tx.traces("icbc", TRACE.original))) == [TRACE, early]
        assert list(store.read_now(lambda tx: tx.traces("icbc", "y"))) == []

    def test_a_mandate_is_signed_once_and_ends_for_ever(self, store: Store) -> None:
        settle(store)
        store.write_now(lambda tx: tx.save_mandate(MANDATE))
        with pytest.raises(Duplicate):
            store.write_now(lambda tx: tx.save_mandate(replace(MANDATE, id="M-2", bank="abc")))
        ended = replace(MANDATE, state=MandateState.ENDED, ended_ms=9)
        store.write_now(lambda tx: tx.save_mandate(replace(ended, payer="other")))
        assert store.read_now(lambda tx: tx.mandate("M-1")) == ended
        second = replace(MANDATE, id="M-2", bank="abc")
        store.write_now(lambda tx: tx.save_mandate(second))
        assert list(store.read_now(lambda tx: tx.mandates(None, "", 9))) == [ended, second]
        assert list(store.read_now(lambda tx: tx.mandates("abc", "", 9))) == [second]
        assert list(store.read_now(lambda tx: tx.mandates(None, "M-1", 9))) == [second]
        assert list(store.read_now(lambda tx: tx.mandates(None, "", 1))) == [ended]

    def test_a_debit_waits_for_one_result(self, store: Store) -> None:
        settle(store)
        later = replace(BATCH, id="DD-icbc-20261122", accounting_date="2026-11-22")

        def ask(tx: Tx) -> None:
            tx.save_mandate(MANDATE)
            tx.add_batch(BATCH, [LINE])

        store.write_now(ask)
        for again in (BATCH, later):
            with pytest.raises(Duplicate):
                store.write_now(lambda tx, again=again: tx.add_batch(again, [replace(LINE, batch=again.id, serial="x")]))  # type: ignore[misc]
        assert store.read_now(lambda tx: tx.open_debit("M-1")) == LINE
        paid = replace(LINE, state=DebitState.PAID, said="0000")
        store.write_now(lambda tx: tx.save_debit_line(paid))
        store.write_now(lambda tx: tx.save_debit_line(replace(LINE, state=DebitState.FAILED, said="51")))
        assert store.read_now(lambda tx: tx.debit_line("icbc", LINE.serial)) == paid
        assert store.read_now(lambda tx: tx.open_debit("M-1")) is None
        next_line = replace(LINE, batch=later.id, serial="DD-20261122-000001")
        store.write_now(lambda tx: tx.add_batch(later, [next_line]))
        assert list(store.read_now(lambda tx: tx.batches(9))) == [later, BATCH]
        assert list(store.read_now(lambda tx: tx.debit_lines(later.id))) == [next_line]
        assert store.read_now(lambda tx: tx.batch("x")) is None
        assert store.read_now(lambda tx: tx.debit_line("abc", LINE.serial)) is None
