"""Payments that name beforehand what they look for are booked as if each had come alone: what every database must do."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from gateway.adapters.store import Store
from gateway.domain.bank_terms import Limits, PartnerTerms
from gateway.domain.ledger import bank_clearing, customer
from gateway.domain.nonces import Claim
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.services.ports import Foreseen, Site, TopUpOutcome, Tx
from gateway.services.take_topup import take_topup, taking
from tests.gateway.adapters.store import rows
from tests.gateway.adapters.store.rows import NOW_MS

DAY = date(2026, 11, 21)
TERMS = PartnerTerms("bank", limits=Limits(day_count=60, day_micro=900_000_000))
SITE = Site("G1", "Asia/Shanghai", clock_trusted=True, banks={"bank": TERMS})
SEEDS, ROUNDS = range(6), 5


class Broken(Exception):
    """A use case that fails after its work."""


@dataclass(frozen=True)
class Asked:
    """One request: what it pays, under which nonce, and whether it fails at its end."""

    topup: TopUp
    claim: Claim | None
    fails: bool

    def alone(self, tx: Tx) -> TopUpOutcome:
        found = take_topup(tx, self.topup, self.claim, SITE, NOW_MS)
        if self.fails:
            raise Broken
        return found

    def foreseen(self) -> Foreseen[TopUpOutcome]:
        if self.fails:
            return Foreseen(self.alone, self.topup.identity, self.claim)
        return taking(self.topup, self.claim, lambda: SITE, lambda: NOW_MS)


def request(rng: random.Random, seed: int) -> Asked:
    """Few serials, nonces and amounts, so that they meet."""
    account = rng.choice((rows.ACCOUNT.id, rows.ACCOUNT.id, rows.PLAIN_ACCOUNT.id, "nobody"))
    identity = PaymentIdentity("bank", "", "", f"S-{60 * seed + rng.randrange(60)}")
    topup = TopUp(identity, account, rng.choice((10, 20)) * 1_000_000, "CNY", datetime(2026, 11, 21, tzinfo=UTC), DAY, DAY)
    claim = rng.choice((None, Claim("k", f"n-{90 * seed + rng.randrange(90)}", NOW_MS + 60_000)))
    return Asked(topup, claim, rng.random() < 0.1)


def said(answer: object) -> object:
    return (type(answer), str(answer)) if isinstance(answer, Exception) else answer


def books(store: Store) -> object:
    """Everything that a payment moves; the numbers of nonces may have holes."""

    def look(tx: Tx) -> object:
        ends = tx.journal_end(), tx.outbox_state().last, tx.takings("bank", DAY.isoformat(), "")
        sums = [tx.balance(name, "CNY") for name in (customer(rows.ACCOUNT.id), bank_clearing("bank"))]
        paid = [tx.payment(PaymentIdentity("bank", "", "", f"S-{number}")) for number in range(60 * len(SEEDS))]
        return ends, sums, paid, [claim for _, claim in tx.oldest_nonces(1000)]

    return store.read_now(look)


def prepared(store: Store) -> None:
    def archive(tx: Tx) -> None:
        tx.save_price_list(rows.TARIFF)
        for account in (rows.ACCOUNT, rows.PLAIN_ACCOUNT):
            tx.save_account(account)
        tx.save_meter(rows.METER)

    store.write_now(archive)


class ForeseenContract:
    async def test_a_batch_books_as_one_after_the_other(self, store: Store, tmp_path: Path) -> None:
        prepared(store)
        with Store.open(str(tmp_path / "alone.db"), inline=True) as alone:
            prepared(alone)
            for seed in SEEDS:
                rng = random.Random(seed)
                for _ in range(ROUNDS):
                    asked = [request(rng, seed) for _ in range(rng.randrange(1, 40))]
                    together = await asyncio.gather(*(store.write(each.foreseen()) for each in asked), return_exceptions=True)
                    one_by_one = [await asyncio.gather(alone.write(each.alone), return_exceptions=True) for each in asked]
                    assert [*map(said, together)] == [said(answer) for [answer] in one_by_one]
                    assert books(store) == books(alone)
            assert alone.read_now(lambda tx: tx.journal_end()[0]) > 30, "some were booked"
