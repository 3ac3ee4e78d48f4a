"""The loop that judges everybody again: at once when asked, in shares that fit, every half hour by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from gateway.domain.meters import Account
from gateway.entrypoints import credit_loop
from gateway.entrypoints.credit_loop import ROUND_S, SHARE, SHARE_S, rejudge, share
from gateway.services import rejudge as rejudging
from gateway.services.ports import Tx, Unavailable
from gateway.services.rejudge import ask, under_way
from tests.gateway.services.house import POLICY, House, account, meter, yuan
from tests.gateway.services.memory_tx import MemoryStore
from tests.simulation.virtual_loop import in_virtual_time

T = TypeVar("T")
COUNT = 60


class Counting:
    """A store that counts its writes; the first one may be refused."""

    def __init__(self, store: MemoryStore, refuse: int = 0) -> None:
        self.store, self.writes, self.refuse = store, 0, refuse

    async def read(self, query: Callable[[Tx], T]) -> T:
        return await self.store.read(query)

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        self.writes += 1
        if self.writes <= self.refuse:
            raise Unavailable("busy")
        return await self.store.write(usecase)


class Still:
    """The house's own clock."""

    def __init__(self, house: House) -> None:
        self.house = house

    def now_ms(self) -> int:
        return self.house.now_ms


def street() -> House:
    """Everybody owes 4.00 and may owe 9.00; then 4.00 is the limit."""
    policy = replace(POLICY, no_cut_hours=False, cut_micro=yuan("-9"))
    house = House(MemoryStore())
    accounts = [account(f"A-{n:02d}", policy=policy) for n in range(COUNT)]
    house.settle(*(meter(f"m{n:02d}", account=f"A-{n:02d}") for n in range(COUNT)), accounts=accounts, balance="1")
    for n in range(COUNT):
        house.exhaust(ident=f"m{n:02d}")
    return house


def lower(house: House) -> None:
    def usecase(tx: Tx) -> None:
        for each in tx.accounts():
            tx.save_account(replace(each, policy=replace(each.policy, cut_micro=yuan("-4"))))
        ask(tx)

    house.do(usecase)


@in_virtual_time
async def test_everybody_is_judged_within_moments_and_the_lines_are_woken() -> None:
    house, woken = street(), []
    store = Counting(house.store, refuse=1)  # type: ignore[arg-type]
    task = asyncio.create_task(rejudge(store, lambda: house.site, Still(house), lambda: woken.append(1)))
    await asyncio.sleep(0.5)
    lower(house)
    await asyncio.sleep(3.5)
    assert {each.credit for each in house.do(lambda tx: tx.accounts())} == {"exhausted"}
    assert not house.do(under_way) and len(woken) == store.writes - 1 > 1
    before = store.writes
    await asyncio.sleep(ROUND_S + 5)
    assert store.writes > before + 1, "and by itself, because time passes too"
    task.cancel()


@in_virtual_time
async def test_a_share_ends_in_time_whatever_its_accounts_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    house, now = street(), [0.0]

    def costly(tx: Tx, account: Account, now_ms: int) -> Account:
        now[0] += SHARE_S / 4
        return account

    monkeypatch.setattr(rejudging, "find_unreachable", costly)
    monkeypatch.setattr(credit_loop, "perf_counter", lambda: now[0])
    lower(house)
    judged, before = [], 0
    while await share(Counting(house.store), house.site, house.now_ms):  # type: ignore[arg-type]
        now_out = sum(each.credit == "exhausted" for each in house.do(lambda tx: tx.accounts()))
        judged.append(now_out - before)
        before = now_out
    assert set(judged) <= {4, 5} and sum(judged) >= COUNT - 5 and SHARE > 5
