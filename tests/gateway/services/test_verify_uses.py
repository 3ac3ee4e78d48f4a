"""The verifier recomputes what accounts used from the journal's lines, and what the lines cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.domain.charge_refs import line_refs, lines_of
from gateway.domain.ledger import post
from gateway.domain.period_use import PeriodUse
from gateway.domain.price_list import Rate, Reset, StepKind, Steps
from gateway.domain.tariffs import ChargeLine
from tests.gateway.price_lists import flat
from tests.gateway.services.house import House, account, local
from tests.gateway.services.memory_tx import MemoryStore, MemoryTx

PLAIN = flat(500_000, "priced")
YEARLY = Steps(StepKind.ADDER, (Reset(1, 0, 1),), (1_000,), (0, 100_000), by_service=False)
STEPPED = replace(PLAIN, versions=(replace(PLAIN.versions[0], steps=YEARLY),))
MONTH, YEAR = "2026-11-01T00:00", "2026-01-01T00:00/steps"


def books() -> tuple[House, MemoryTx]:
    store = MemoryStore()
    house = House(store, local("2026-11-24 10:00"))
    house.settle(accounts=[account(tariff="priced")], tariffs=[STEPPED], balance="100")
    for total in ("100.00", "101.00", "103.00"):
        house.later(minutes=1).block(total=total)
    return house, store.tx


def used(period: str, change: Callable[[PeriodUse], PeriodUse]) -> Callable[[MemoryTx], None]:
    def tamper(tx: MemoryTx) -> None:
        tx.uses["A-1", "priced", period] = change(tx.uses["A-1", "priced", period])

    return tamper


def less(use: PeriodUse) -> PeriodUse:
    tranche = use.tranches[0]
    return replace(use, tranches=(replace(tranche, total_wh=tranche.total_wh - 10, wh={Rate.SINGLE: 2_990} if tranche.wh else {}),))


def lines(change: Callable[[ChargeLine], ChargeLine]) -> Callable[[MemoryTx], None]:
    """The last charge had other lines, and the chain was forged to fit."""

    def tamper(tx: MemoryTx) -> None:
        *before, last = [posted.entry for posted in tx.journal]
        changed = line_refs([change(line) for line in lines_of(last.ref)])
        tx.journal.clear()
        tx.sums.clear()
        for entry in (*before, replace(last, ref={**last.ref, **changed})):
            tx.add_entry(post(entry, *tx.journal_end()))

    return tamper


@pytest.mark.parametrize(
    ("tamper", "finding"),
    [
        (used(MONTH, less), f"A-1, tariff priced, period {MONTH}: 3000 Wh of 1970-01-01 single are charged, and 2990 Wh stand"),
        (used(YEAR, less), f"tariff priced, period {YEAR}: 3000 Wh of 1970-01-01 by steps are charged, and 2990 Wh stand"),
        (lambda tx: tx.uses.pop(("A-1", "priced", MONTH)), "and 0 Wh stand as used"),
        (
            lambda tx: tx.uses.update({("A-1", "priced", "2026-12"): replace(tx.uses["A-1", "priced", MONTH], period="2026-12")}),
            "account A-1, tariff priced: no entry charges the 3000 Wh used in period 2026-12",
        ),
        (lines(lambda line: replace(line, wh=line.wh + 10)), "entry 3 charges 200000 micro for 2010 Wh at 100000 micro per kWh"),
        (lines(lambda line: replace(line, wh=line.wh * 2, price_micro=line.price_micro // 2)), "5000 Wh of 1970-01-01 by steps"),
        (lines(lambda line: replace(line, price_micro="x")), "entry 3: line:0 is no line of a charge"),  # type: ignore[arg-type]
    ],
    ids=["rate", "steps", "gone", "uncharged", "energy", "price", "unreadable"],
)
def test_what_is_wrong_with_the_energy_is_found(tamper: Callable[[MemoryTx], None], finding: str) -> None:
    house, tx = books()
    assert house.verified() is None
    tamper(tx)
    assert finding in (house.verified() or "nothing found")
