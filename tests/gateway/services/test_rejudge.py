"""Everybody is judged again after a change, a share at a time, across a restart (prepayment.md a3)."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.findings import FindingKind
from gateway.services.load_archive import Archive, Opening, load_archive
from gateway.services.rejudge import ask, go_on, under_way
from tests.gateway.price_lists import flat
from tests.gateway.services.house import FLAT, POLICY, TWO_RATE, House, account, meter, yuan

AGREED = replace(POLICY, no_cut_hours=False, cut_micro=yuan("-9"))


def street(house: House, count: int, cut: str = "-9") -> House:
    accounts = [account(f"A-{n}", policy=replace(AGREED, cut_micro=yuan(cut))) for n in range(count)]
    return house.settle(*(meter(f"m{n}", account=f"A-{n}") for n in range(count)), accounts=accounts, balance="1")


def reload(house: House, count: int, cut: str) -> None:
    """The configuration is taken over again; nothing is judged in that transaction."""
    accounts = [account(f"A-{n}", policy=replace(AGREED, cut_micro=yuan(cut))) for n in range(count)]
    meters = [meter(f"m{n}", account=f"A-{n}") for n in range(count)]
    archive = Archive((FLAT, TWO_RATE), [Opening(a) for a in accounts], meters)
    house.do(lambda tx: load_archive(tx, archive, house.site, house.now_ms))


def share(house: House, limit: int) -> bool:
    return house.do(lambda tx: go_on(tx, house.site, house.now_ms, limit))


def states(house: House, count: int) -> list[str]:
    return [house.account(f"A-{n}").credit.value for n in range(count)]


def test_a_lower_overdraft_at_reload_reaches_everybody_in_shares(house: House) -> None:
    street(house, 5)
    for n in range(5):
        house.exhaust(ident=f"m{n}")
    assert states(house, 5) == ["emergency"] * 5 and not house.do(under_way)
    reload(house, 5, "-4")
    assert states(house, 5) == ["emergency"] * 5 and house.do(under_way)
    assert share(house, 2) and states(house, 5) == ["exhausted"] * 2 + ["emergency"] * 3
    assert share(house, 2) and house.do(under_way)
    assert not share(house, 2) and states(house, 5) == ["exhausted"] * 5
    assert not house.do(under_way) and not share(house, 2)
    assert len(house.open()) == 5


def test_a_round_that_ends_with_a_full_share_ends_with_an_empty_one(house: House) -> None:
    street(house, 4)
    house.do(ask)
    assert [share(house, 2) for _ in range(3)] == [True, True, False]


def test_asking_again_begins_again(house: House) -> None:
    street(house, 3)
    house.do(ask)
    share(house, 2)
    house.do(ask)
    assert share(house, 2) and not share(house, 2)


def test_a_reload_that_changes_nothing_asks_for_nothing_and_a_tariff_does(house: House) -> None:
    street(house, 2)
    reload(house, 2, "-9")
    assert not house.do(under_way)
    archive = Archive((flat(600_000), TWO_RATE), [], [])
    house.exhaust(ident="m0")
    house.do(lambda tx: load_archive(tx, archive, house.site, house.now_ms))
    assert house.do(under_way)


def test_a_round_finds_whom_nobody_can_read(house: House) -> None:
    street(house, 1)
    house.block("m0", "1.00")
    house.later(hours=60)
    house.do(ask)
    share(house, 9)
    assert house.do(lambda tx: tx.finding(FindingKind.UNREACHABLE_EXHAUSTED, "A-0")) is not None
