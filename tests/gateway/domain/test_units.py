"""Money and energy at the edges."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.units import MICRO, format_money, kwh_to_wh, parse_money, parse_price, parse_signed_money


@pytest.mark.parametrize(("text", "micro"), [("50.00", 50 * MICRO), ("0.01", 10_000), ("999999999.99", 999_999_999_990_000)])
def test_money_is_read_exactly(text: str, micro: int) -> None:
    assert parse_money(text, "CNY") == micro


@pytest.mark.parametrize(
    "text", ["50", "50.0", "50.000", "050.00", " 50.00", "50.00 ", "+50.00", "-50.00", "5e1.00", "١٢.00", "1234567890.00", "", "."]
)
def test_other_forms_of_money_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="decimals"):
        parse_money(text, "CNY")


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(ValueError, match="not known"):
        parse_money("1.00", "XXX")


@given(st.integers(min_value=0, max_value=99_999_999_999))
def test_money_survives_the_round_trip(fen: int) -> None:
    micro = fen * 10_000
    assert parse_money(format_money(micro, "CNY"), "CNY") == micro


@pytest.mark.parametrize(("micro", "shown"), [(-1, "0.00"), (-10_000, "-0.01"), (-19_999, "-0.01"), (19_999, "0.01"), (0, "0.00")])
def test_a_shown_balance_is_truncated_toward_zero(micro: int, shown: str) -> None:
    assert format_money(micro, "CNY") == shown


def test_a_threshold_may_be_negative() -> None:
    assert parse_signed_money("-5.00", "CNY") == -5 * MICRO


@pytest.mark.parametrize(("text", "micro"), [("0.617", 617_000), ("1", MICRO), ("0.000001", 1)])
def test_prices(text: str, micro: int) -> None:
    assert parse_price(text) == micro


@pytest.mark.parametrize("text", ["", ".5", "0.1234567", "-1", "1e3", "1,5"])
def test_bad_prices_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="price"):
        parse_price(text)


def test_a_register_finer_than_a_watt_hour_is_refused() -> None:
    assert kwh_to_wh(Decimal("230.93")) == 230_930
    with pytest.raises(ValueError, match="finer"):
        kwh_to_wh(Decimal("0.0001"))
