"""The limiter's clock, kept in the store: no restart, no setting of a clock and no time switched off gives a budget back early."""

from __future__ import annotations

import json

from gateway.domain.budgets import SteadyClock
from gateway.services.ports import Site, Tx

KEY = "steady_clock"

KEPT_MS = 1_000
"""It is written down this often at most: what a power failure then takes off it only makes budgets last longer."""


def steady_now(tx: Tx, site: Site, now_ms: int) -> int:
    """Its reading now, in ms since the store was created. For writing transactions."""
    kept = tx.meta(KEY)
    if kept is None:
        _keep(tx, SteadyClock(0, site.boot, site.steady_ms, now_ms))
        return 0
    at_ms, boot, steady_ms, wall_ms = json.loads(kept)
    known = SteadyClock(at_ms, boot, steady_ms, wall_ms)
    here = known.read(site.boot, site.steady_ms, now_ms)
    moved = here.at_ms - known.at_ms >= KEPT_MS
    if moved or (here.boot, here.steady_ms is None) != (boot, steady_ms is None) or _went_back(known, here):
        _keep(tx, here)
    return here.at_ms


def _went_back(known: SteadyClock, here: SteadyClock) -> bool:
    """The clock it runs by: from here on it counts anew."""
    if here.steady_ms is None or known.steady_ms is None:
        return here.wall_ms < known.wall_ms
    return here.steady_ms < known.steady_ms


def _keep(tx: Tx, clock: SteadyClock) -> None:
    tx.set_meta(KEY, json.dumps([clock.at_ms, clock.boot, clock.steady_ms, clock.wall_ms]))
