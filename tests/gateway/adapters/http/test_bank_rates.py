"""How often a bank may ask."""

from __future__ import annotations

from gateway.adapters.http.bank_rates import BankRates


def test_by_second_and_by_minute() -> None:
    rates = BankRates()
    assert [rates.take("a", 3, 5, 0.0) for _ in range(4)] == [0, 0, 0, 1]
    assert [rates.take("a", 3, 5, 1.0) for _ in range(3)] == [0, 0, 11], "the minute's five are used up; one comes back in 12 s"
    assert rates.take("a", 3, 5, 12.9) == 0
    assert rates.take("b", 3, 5, 1.0) == 0, "each bank has its own"


def test_what_was_not_used_does_not_add_up() -> None:
    rates = BankRates()
    assert rates.take("a", 2, 100, 0.0) == 0
    assert [rates.take("a", 2, 100, 3600.0) for _ in range(3)] == [0, 0, 1]


def test_other_terms_begin_anew() -> None:
    rates = BankRates()
    assert [rates.take("a", 1, 1, 0.0) for _ in range(2)] == [0, 60]
    assert [rates.take("a", 2, 2, 0.0) for _ in range(3)] == [0, 0, 30]
