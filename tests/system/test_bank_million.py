"""A bank's day of a million payments, booked by the use cases, and its file with a thousand differences sent to a gateway."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from firmware_sim.banking.book import PLANTED, Payment
from firmware_sim.banking.control import Desk
from gateway.adapters.identity import identity_of
from gateway.adapters.store import Store
from gateway.domain.bank_acts import Reversal
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.services.ports import Site, Tx
from gateway.services.reverse_topup import reverse_topup
from gateway.services.take_topup import take_topup
from tests.system.proofs import finding
from tests.system.test_bank_lines import BANK, BankStand

PAYMENTS, EACH, PEOPLE = 1_500, 4, 10
PROOF_PAYMENTS, PROOF_EACH, PROOF_PEOPLE = 1_000_000, 125, 1_000
"""EACH: differences of every kind but the line of totals, which is one."""
OTHER_DAY_EVERY = 100
REVERSED_EVERY = 50
BATCH = 64
"""Payments of one commit, about as many as a busy gateway has under way."""
PROOF_WITHIN_S = 60
"""Of the gateway's processor; the wall clock tells of what else the machine does."""


def processor_s(pid: int) -> float:
    """What a process has used."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


def pay(desk: Desk, count: int) -> list[Payment]:
    """Payments as the bank names them, some of yesterday."""
    http, office = desk.http, desk.office
    assert http is not None
    accounts, now = desk.config.accounts[:-1], datetime.now(UTC)
    return [
        http.name(n, accounts[n % len(accounts)], office.rng.randint(1, 20_000), now, -(n % OTHER_DAY_EVERY == 1))
        for n in range(count)
    ]


def book(store: Store, desk: Desk, payments: Sequence[Payment], site: Site) -> None:
    """Every payment by the use case of the interface, so many to a commit; some are taken back."""
    for start in range(0, len(payments), BATCH):
        batch = payments[start : start + BATCH]
        store.write_now(partial(_book, batch, site))
        for paid in batch:
            desk.office.book.believe(paid, "reversed" if paid.number % REVERSED_EVERY == 0 else "posted")


def _book(payments: Sequence[Payment], site: Site, tx: Tx) -> None:
    now = datetime.now(UTC)
    now_ms = int(now.timestamp() * 1000)
    today = site.banks[BANK].today(now_ms)
    for paid in payments:
        who, micro = PaymentIdentity(BANK, "", "", paid.serial), paid.fen * 10_000
        take_topup(tx, TopUp(who, paid.account, micro, paid.currency, now, paid.day, today), None, site, now_ms)
        if paid.number % REVERSED_EVERY == 0:
            reverse_topup(tx, Reversal(who, f"R.{paid.serial}", paid.day, micro, paid.currency, "x", now), site, now_ms)


@pytest.mark.timeout(7200)
async def test_a_day_of_payments_is_reconciled_to_the_last_difference(
    tmp_path: Path, proof_scale: int, figure: Callable[[str, object], None]
) -> None:
    count, each, people = (PAYMENTS, EACH, PEOPLE) if proof_scale == 1 else (PROOF_PAYMENTS, PROOF_EACH, PROOF_PEOPLE)
    stand = BankStand(tmp_path, signed=True, accounts=[f"B-{n}" for n in range(people)])
    desk = stand.desk(11)
    try:
        await stand.gateway.start()
        assert await stand.gateway.end() == 0
        payments = pay(desk, count)
        site = Site("G1", "Asia/Shanghai", clock_trusted=True, banks={BANK: PartnerTerms(BANK)}, seal=identity_of(stand.data).seal)
        begun = time.monotonic()
        with Store.open(str(stand.data / "wattgate.db"), inline=True) as store:
            book(store, desk, payments, site)
        booked_s = time.monotonic() - begun
        await stand.gateway.start()
        begun, used_s = time.monotonic(), processor_s(stand.gateway.pid)
        *_, upload = await desk.reconcile([kind for kind in PLANTED if kind != "totals"] * each + ["totals"])
        took_s, used_s = time.monotonic() - begun, processor_s(stand.gateway.pid) - used_s
        assert desk.why() == []
        told = upload["planted"]
        assert isinstance(told, dict) and told == {**dict.fromkeys(PLANTED, each), "totals": 1}
        assert used_s < PROOF_WITHIN_S
        assert await stand.gateway.end() == 0
        assert finding(stand.data / "wattgate.db") is None
    finally:
        await desk.close()
        await stand.gateway.kill()
    if proof_scale > 1:
        figure("payments booked by the use case, signed receipts and all", count)
        figure("seconds for them", round(booked_s))
        figure("planted differences of nine kinds, all found in a signed upload, none else", sum(told.values()))
        figure("seconds of the gateway's processor for both days' files", round(used_s, 1))
        figure("seconds from making the bank's two files to the results", round(took_s, 1))
