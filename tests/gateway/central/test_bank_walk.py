"""Random lives of payments at the centre, through two instances, held against a model that is nothing but a table of states."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.central import schema
from gateway.central.ingest import save
from gateway.central.payments import voucher_of
from gateway.central.store import CentralStore
from gateway.domain.bank_acts import DECIDED_WITHIN_MS
from gateway.domain.requests import PaymentIdentity
from protocols.uplink.topics import Up
from tests.gateway.central.arriving import arrival
from tests.gateway.central.bank_ends import NOW_MS, Front
from tests.gateway.central.conftest import emptied, rows

STEPS = 60
PROOF_WALKS = 25
SERIALS = ("S-1", "S-2", "S-3", "S-4")
AMOUNTS = ("50.00", "50.00", "60.00")


@dataclass
class Life:
    """What must be true of one serial. state: paid, waiting (for a reversal), stands, uncertain, reversed, tomb, refused."""

    state: str = "new"
    amount: str = ""
    reversal: str = ""
    asked_ms: int = 0
    word: str = ""
    receipt: object = None


class Walk:
    """One walk: what is asked, what is answered, and what the table says of it."""

    def __init__(self, fronts: list[Front], rng: random.Random) -> None:
        self.fronts, self.rng, self.now_ms, self.seq = fronts, rng, NOW_MS, 0
        self.lives = {serial: Life() for serial in SERIALS}

    async def step(self) -> None:
        serial = self.rng.choice(SERIALS)
        front = self.rng.choice(self.fronts)
        front.now_ms = self.now_ms
        what = self.rng.choices((self.pay, self.undo, self.word, self.look, self.wait), (4, 3, 2, 3, 1))[0]
        await what(front, serial, self.lives[serial])

    async def pay(self, front: Front, serial: str, life: Life) -> None:
        amount = self.rng.choice(AMOUNTS)
        account = "A-9" if serial == "S-4" else "A-1"
        answer = await front.topup(serial=serial, amount=amount, account=account)
        if life.state == "new":
            life.state, life.amount = ("refused" if account == "A-9" else "paid"), amount
            if life.state == "paid":
                assert answer.status_code == 201
                life.receipt = answer.json()["receipt"]
                return
        if life.state in ("tomb", "refused"):
            assert answer.json()["code"] == ("reversed" if life.state == "tomb" else "unknown_account")
        elif amount != life.amount:
            assert answer.json()["code"] == "serial_conflict"
        elif life.state == "reversed":
            assert (answer.json()["code"], answer.json()["receipt"]) == ("reversed", life.receipt)
        else:
            assert (answer.status_code, answer.json()["receipt"]) == (200, life.receipt)

    async def undo(self, front: Front, serial: str, life: Life) -> None:
        amount, number = self.rng.choice(AMOUNTS), f"R-{self.rng.randrange(3)}"
        answer = await front.reverse(serial, amount=amount, reversal_serial=number)
        if life.state == "new":
            life.state, life.amount, life.reversal = "tomb", amount, number
        if life.state == "refused":
            assert (answer.status_code, answer.json()["payment"]) == (200, "refused")
            return
        if amount != life.amount:
            assert (answer.status_code, answer.json()["field"]) == (422, "amount")
            return
        self._asked(life, number)
        expected = {"waiting": 202, "reversed": 200, "tomb": 200, "stands": 409}[life.state]
        assert answer.status_code == expected, (life, answer.text)
        if expected == 200:
            assert answer.json()["reversal"]["reversal_serial"] == life.reversal

    def _asked(self, life: Life, number: str) -> None:
        """What a reversal that is whole makes of a payment."""
        if life.state == "paid":
            life.state, life.asked_ms = ("stands" if life.word == "done" else "waiting"), self.now_ms
            life.reversal = number if life.state == "waiting" else ""
        elif life.state == "uncertain":
            life.state, life.reversal = "reversed", number
        elif life.state == "waiting" and self.now_ms - life.asked_ms >= DECIDED_WITHIN_MS:
            life.state = "stands"

    async def word(self, front: Front, serial: str, life: Life) -> None:
        """The gateway has its last word, perhaps twice; only the first counts."""
        state = self.rng.choice(("done", "refused"))
        self.seq += 1
        said: dict[str, Any] = {
            "command": voucher_of(PaymentIdentity("demo", "", "", serial)),
            "state": state,
            "final": True,
            "reason": "closed",
        }
        save(front.store, [arrival(self.seq, Up.RESULT, **said)])
        if life.word or life.state not in ("paid", "waiting", "stands"):
            return
        life.word = state
        if state == "done":
            life.state = "stands" if life.state == "waiting" else life.state
        elif life.state != "stands":
            life.state = "reversed" if life.state == "waiting" else "uncertain"

    async def look(self, front: Front, serial: str, life: Life) -> None:
        answer = await front.client.get(f"/bank/v1/topups/{serial}")
        if life.state == "new":
            assert answer.status_code == 404
            return
        found = answer.json()
        payment = {"refused": "refused", "reversed": "reversed", "tomb": "reversed"}.get(life.state, "posted")
        assert (found["payment"], found["receipt"]) == (payment, life.receipt)
        waits = payment == "posted" and not life.word
        delivery = "queued" if waits else "uncertain" if payment == "posted" and life.word == "refused" else "none"
        assert found["delivery"] == delivery, life

    async def wait(self, front: Front, serial: str, life: Life) -> None:
        self.now_ms += self.rng.choice((1000, DECIDED_WITHIN_MS))


async def walked(store: CentralStore, url: str, folder: Path, seed: int) -> None:
    beside = CentralStore.open(url)
    fronts = [Front(store, folder), Front(beside, folder)]
    walk = Walk(fronts, random.Random(seed))
    try:
        for _ in range(STEPS):
            await walk.step()
        paid = {life.amount for life in walk.lives.values() if life.receipt is not None}
        assert {row["id"] for row in rows(store, schema.order)} == {
            voucher_of(PaymentIdentity("demo", "", "", serial)) for serial, life in walk.lives.items() if life.receipt is not None
        }
        acts = [act for _, act in fronts[0].acts()]
        assert acts.count("topup_posted") == sum(life.receipt is not None for life in walk.lives.values()) >= len(paid)
        undone = sum(life.state == "reversed" for life in walk.lives.values())
        assert acts.count("topup_reversed") == undone
        lines = (await fronts[0].client.get("/bank/v1/reconciliations/2026-11-21/statement")).text.splitlines()
        assert len(lines) - 2 == acts.count("topup_posted") + undone
    finally:
        for front in fronts:
            await front.client.aclose()
        beside.close()


@pytest.mark.parametrize("seed", range(3))
async def test_a_random_life_of_payments_is_as_the_table_says(url: str, tmp_path: Path, seed: int) -> None:
    store = CentralStore.open(url)
    try:
        await walked(store, url, tmp_path, seed)
    finally:
        store.close()


@pytest.mark.timeout(3600)
async def test_many_lives(postgres: str, tmp_path: Path, proof_scale: int, figure: Callable[[str, object], None]) -> None:
    walks = 1 if proof_scale == 1 else PROOF_WALKS
    for seed in range(100, 100 + walks):
        for url in (str(tmp_path / f"{seed}.db"), postgres):
            store = CentralStore.open(url)
            try:
                await walked(store, url, tmp_path, seed)
            finally:
                store.close()
        emptied(postgres)
    figure("the centre's front: random lives on SQLite and PostgreSQL through two instances, as a table of states says", 2 * walks)
