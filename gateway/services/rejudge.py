"""All accounts are judged again, a few at a time: after a change of policy or tariff, and now and then because time passes too."""

from __future__ import annotations

from collections.abc import Callable

from gateway.services.find_unreachable import find_unreachable
from gateway.services.judge_account import judge_account
from gateway.services.ports import Site, Tx

_PLACE = "rejudge"
"""Key in `meta`: behind which account the round goes on, after BEGUN; empty where no round is under way."""

BEGUN = "after:"


def ask(tx: Tx) -> None:
    """A round from the first account on, whatever is under way: it survives a restart."""
    tx.set_meta(_PLACE, BEGUN)


def under_way(tx: Tx) -> bool:
    """Whether there is anything to do."""
    return bool(tx.meta(_PLACE))


def go_on(tx: Tx, site: Site, now_ms: int, limit: int, enough: Callable[[], bool] = lambda: False) -> bool:
    """Judge the next accounts of the round, at most so many; whether more are left. Nobody can pay meanwhile.

    enough: asked after each account; the rest then waits for the next time.
    """
    place = tx.meta(_PLACE)
    if not place:
        return False
    accounts = tx.accounts_after(place.removeprefix(BEGUN), limit)
    more = len(accounts) == limit
    for number, account in enumerate(accounts, 1):
        find_unreachable(tx, judge_account(tx, account.id, site, now_ms), now_ms)
        if number < len(accounts) and enough():
            more = True
            break
    tx.set_meta(_PLACE, BEGUN + account.id if more else "")
    return more
