"""Price lists, uses, estimates, accruals: part of what every database under the store must do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.adapters.store import Store
from gateway.domain.debt_terms import Accrual
from gateway.domain.estimates import Estimate
from gateway.domain.ledger import post
from gateway.domain.period_use import PeriodUse, Tranche
from gateway.domain.price_list import Rate
from gateway.domain.readings import Registers
from gateway.services.ports import Tx
from tests.gateway.adapters.store import rows
from tests.gateway.adapters.store.rows import NOW_MS, entry

HOUSE, TARIFF = rows.ACCOUNT.id, rows.TARIFF.id
USE = PeriodUse(
    "2026-01-01T00:00", 5, 9, (Tranche("v", "s", 7, {Rate.PEAK: 3, Rate.DEEP_VALLEY: 4}),), 6, 4_000, 2**40, closed=True
)
POINTS = tuple(Registers(at_ms, {"energy_import": at_ms, "energy_import_t1": 2**40}) for at_ms in (100, 200, 300))
ESTIMATE = Estimate(1, "m1", HOUSE, TARIFF, POINTS)
ACCRUAL = Accrual(HOUSE, TARIFF, NOW_MS, NOW_MS + 1, 2**50, {"m1": 5})


def archive(tx: Tx) -> None:
    tx.save_price_list(rows.TARIFF)
    for account in (rows.ACCOUNT, rows.PLAIN_ACCOUNT):
        tx.save_account(account)
    for _ in range(2):
        tx.add_entry(post(entry(5), *tx.journal_end()))


class BillingContract:
    def test_a_use_comes_back_as_it_was_saved_last(self, store: Store) -> None:
        store.write_now(archive)
        later, steps = replace(USE, period="2026-02-01T00:00"), replace(USE, period="2026-01-01T00:00/steps", tranches=())

        def save(tx: Tx) -> None:
            assert (tx.period_use(HOUSE, TARIFF, USE.period), tx.priced(TARIFF)) == (None, False)
            for use in (later, replace(USE, closed=False), USE, steps):
                tx.save_period_use(HOUSE, TARIFF, use)
            tx.save_period_use("house-8", TARIFF, steps)
            assert tx.period_use(HOUSE, TARIFF, USE.period) == USE

        store.write_now(save)
        assert store.read_now(lambda tx: tx.period_use(HOUSE, TARIFF, USE.period)) == USE
        assert store.read_now(lambda tx: tx.period_uses(HOUSE, TARIFF)) == [USE, steps, later]
        assert store.read_now(lambda tx: tx.period_uses(HOUSE, "other")) == []
        assert store.read_now(lambda tx: (tx.priced(TARIFF), tx.priced("other"))) == (True, False)

    def test_a_use_of_a_use_case_that_failed_is_none(self, store: Store) -> None:
        store.write_now(archive)

        def fail(tx: Tx) -> None:
            tx.save_period_use(HOUSE, TARIFF, USE)
            raise KeyError

        with pytest.raises(KeyError):
            store.write_now(fail)
        assert store.write_now(lambda tx: (tx.period_use(HOUSE, TARIFF, USE.period), tx.priced(TARIFF))) == (None, False)

    def test_estimates_are_found_by_a_moment_inside_them(self, store: Store) -> None:
        store.write_now(archive)
        other = replace(ESTIMATE, entry=2, points=POINTS[1:])

        def add(tx: Tx) -> None:
            tx.add_estimate(other)
            tx.add_estimate(ESTIMATE)

        store.write_now(add)
        found = store.read_now(lambda tx: {at_ms: tx.estimates_of("m1", at_ms) for at_ms in (100, 101, 200, 201, 299, 300)})
        assert found == {100: [], 101: [ESTIMATE], 200: [ESTIMATE], 201: [ESTIMATE, other], 299: [ESTIMATE, other], 300: []}
        assert store.read_now(lambda tx: tx.estimates_of("m2", 201)) == []
        assert store.read_now(lambda tx: (tx.open_estimates("m1"), tx.open_estimates("m2"))) == ([ESTIMATE, other], [])

    def test_an_estimate_ends_by_its_entry_or_its_age(self, store: Store) -> None:
        store.write_now(archive)
        short = replace(ESTIMATE, entry=2, points=POINTS[:2])

        def add(tx: Tx) -> None:
            for estimate in (ESTIMATE, short):
                tx.add_estimate(estimate)
            tx.drop_estimates("m2", 1000)
            tx.drop_estimates("m1", 199)

        store.write_now(add)
        assert store.read_now(lambda tx: tx.estimates_of("m1", 150)) == [ESTIMATE, short]
        store.write_now(lambda tx: tx.drop_estimates("m1", 200))
        assert store.read_now(lambda tx: tx.estimates_of("m1", 150)) == [ESTIMATE]
        store.write_now(lambda tx: tx.drop_estimate(1))
        assert store.read_now(lambda tx: tx.estimates_of("m1", 150)) == []

    def test_an_estimate_is_of_an_entry_and_lasts(self, store: Store) -> None:
        store.write_now(archive)
        for wrong in (replace(ESTIMATE, entry=9), replace(ESTIMATE, points=POINTS[:1])):
            with pytest.raises(Exception, match=r"(?i)foreign key|check|estimate"):
                store.write_now(lambda tx, wrong=wrong: tx.add_estimate(wrong))  # type: ignore[misc]
        assert store.read_now(lambda tx: tx.estimates_of("m1", 150)) == []

    def test_an_accrual_comes_back_as_it_was_saved_last(self, store: Store) -> None:
        store.write_now(archive)
        assert store.read_now(lambda tx: tx.accrual(HOUSE)) is None
        for accrual in (Accrual(HOUSE, TARIFF, 1, 2), ACCRUAL):
            store.write_now(lambda tx, accrual=accrual: tx.save_accrual(accrual))  # type: ignore[misc]
        assert store.read_now(lambda tx: (tx.accrual(HOUSE), tx.accrual("house-8"))) == (ACCRUAL, None)
