"""An account's balance over time, walked back from the ledger and thinned for a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.adapters.http.views import moved_micro, rfc3339
from gateway.domain import ledger
from gateway.domain.meters import Account
from gateway.domain.units import format_money
from gateway.services.ports import Tx

MOST_ENTRIES = 5_000
"""Ledger entries walked back for one chart: over an hour of a meter billed every second, days at ordinary pace."""

MOST_POINTS = 500
"""Points given to a chart: about one for two pixels of its width."""


@dataclass(frozen=True, slots=True)
class BalancePoint:
    """The balance from this moment on, truncated toward zero."""

    at: str
    balance: str


@dataclass(frozen=True, slots=True)
class BalanceHistory:
    """`complete` is false where the walk ended at MOST_ENTRIES before it reached `since`."""

    account: str
    currency: str
    complete: bool
    points: list[BalancePoint]


def balance_history(tx: Tx, account: Account, since_ms: int, now_ms: int) -> BalanceHistory:
    """The balance at `since` (or from the first entry), after each entry since then, and now; thinned to MOST_POINTS."""
    name = ledger.customer(account.id)
    balance = tx.balance(name, account.currency)
    entries = tx.entries_of(name, MOST_ENTRIES)
    end_ms = max([now_ms, *(posted.entry.at_ms for posted in entries[:1])])  # the clock may have been set back
    walked = [(end_ms, balance)]
    for posted in entries:
        if posted.entry.at_ms < since_ms:
            walked.append((since_ms, balance))
            break
        walked.append((posted.entry.at_ms, balance))
        balance -= moved_micro(posted, name)
    complete = len(entries) < MOST_ENTRIES or walked[-1][0] <= since_ms
    points = [BalancePoint(rfc3339(at), format_money(micro, account.currency)) for at, micro in thinned(walked[::-1])]
    return BalanceHistory(account.id, account.currency, complete, points)


def thinned(points: Sequence[tuple[int, int]], most: int = MOST_POINTS) -> list[tuple[int, int]]:
    """At most `most` of these (time, value) in order of time: first and last, and the last of each equal span between them."""
    if len(points) <= most:
        return list(points)
    start, end = points[0][0], points[-1][0]
    spans = most - 2
    last_of_span = {min((at - start) * spans // max(1, end - start), spans - 1): (at, value) for at, value in points[1:-1]}
    return [points[0], *last_of_span.values(), points[-1]]
