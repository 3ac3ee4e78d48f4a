"""A pulled wire frees nobody for ever: after a day below the lowest possible balance somebody goes there (prepayment.md 5, F1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.findings import Finding, FindingKind
from gateway.domain.meters import Authority
from gateway.services.find_unreachable import UNREAD_MS, find_unreachable
from tests.gateway.services.house import POLICY, House, account, meter

KIND = FindingKind.UNREACHABLE_EXHAUSTED
HOUR = 3_600_000
AGREED = account(policy=replace(POLICY, no_cut_hours=False))


def look(house: House) -> Finding | None:
    """As the round does."""
    house.do(lambda tx: find_unreachable(tx, house._account(tx, "A-1"), house.now_ms))
    return house.do(lambda tx: tx.finding(KIND, "A-1"))


def silent(house: House, balance: str = "15", **changes: object) -> House:
    """2 kW at most and 0.50 a kWh: 15.00 last 15 hours at least."""
    house.settle(meter(max_power_w=2_000), accounts=[replace(AGREED, **changes)], balance=balance)  # type: ignore[arg-type]
    house.block(total="100.00")
    house.kinds()
    return house


def test_it_is_found_a_day_after_the_credit_may_have_ended_and_closed_when_it_is_read(house: House) -> None:
    silent(house)
    house.later(hours=38.9)
    assert look(house) is None
    house.later(hours=0.2)
    finding = look(house)
    assert finding is not None and finding.since_ms == house.now_ms
    assert finding.text == (
        "field order: read meter m1 (line bus-1, address 1) on the spot. Account A-1 has had no confirmed reading since "
        "2026-11-24 02:00:00 UTC and may have used up its credit"
    )
    assert house.kinds() == ["finding_opened"]
    house.later(hours=5)
    assert look(house) == finding and house.kinds() == []
    house.block(total="130.00")
    assert house.do(lambda tx: tx.finding(KIND, "A-1")) is None and not house.account().standing.unreachable
    assert "finding_closed" in house.kinds()


def test_a_debtor_whose_meter_fell_silent_is_found_after_a_day_exactly(house: House) -> None:
    silent(house, "0.01")
    house.later(hours=12)
    house.block(total="100.50")
    assert house.account().credit == "exhausted"
    house.now_ms += UNREAD_MS
    assert look(house) is None
    house.now_ms += 1
    assert look(house) is not None


def test_the_finding_is_closed_by_money_only_when_it_is_read(house: House) -> None:
    silent(house)
    house.later(hours=40)
    assert look(house) is not None
    house.topup("1.00")
    assert house.account().standing.unreachable
    house.block(total="120.00")
    assert not house.account().standing.unreachable


@pytest.mark.parametrize(
    "changes",
    [
        {"never_cut": True},
        {"closed": True},
        {"agreement": None},
        {"authority": Authority.METER},
        {"protect_until_ms": 1 << 60},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_nobody_goes_where_nobody_would_be_cut(house: House, changes: dict[str, object]) -> None:
    silent(house, "15", **changes)
    house.later(hours=24 * 60)
    assert look(house) is None


def test_it_is_closed_where_nothing_hangs_on_it_any_more(house: House) -> None:
    silent(house)
    house.later(hours=40)
    assert look(house) is not None
    house.change(never_cut=True)
    assert house.do(lambda tx: tx.finding(KIND, "A-1")) is None and not house.account().standing.unreachable


def test_a_meter_that_never_answered_counts_from_when_that_was_first_seen(house: House) -> None:
    house.settle(meter(max_power_w=2_000), accounts=[AGREED], balance="0.01")
    assert look(house) is None and house.account().standing.unread_ms == house.now_ms
    house.later(hours=24)
    assert look(house) is None
    house.later(hours=0.1)
    assert look(house) is not None
    house.block(total="1.00")
    look(house)
    assert house.account().standing.unread_ms is None


def test_much_credit_lasts_long_and_a_dearer_tariff_shorter(house: House) -> None:
    silent(house, "480")  # 20 days at the most
    house.later(hours=24 * 20 + 23)
    assert look(house) is None
    house.later(hours=2)
    assert look(house) is not None


def test_the_other_meter_still_speaks_and_only_the_silent_one_is_named(house: House) -> None:
    house.settle(meter("m1", max_power_w=2_000), meter("m2", max_power_w=2_000), accounts=[AGREED], balance="15")
    for ident in ("m1", "m2"):
        house.block(ident, "100.00")
    house.later(hours=20).block("m2", "101.00")
    house.later(hours=19).block("m2", "102.00")
    finding = look(house)
    assert finding is not None and "m1" in finding.text and "m2" not in finding.text
