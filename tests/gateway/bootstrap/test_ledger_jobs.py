"""The running gateway closes old months and gives back what is due; when it does so is a setting that may change at any time."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.adapters.store import Store, store_file
from gateway.bootstrap.difference import changes, restarts
from gateway.domain import ledger
from gateway.domain.transfers import Transfer, TransferState
from gateway.services import transfer
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from gateway.services.verify_ledger import verify_ledger
from gateway.settings import Settings
from tests.gateway.bootstrap.conftest import MakeSite

LAST_YEAR_MS = 1_735_689_600_000


def settings(**tables: object) -> Settings:
    return Settings.model_validate({"gateway": {"id": "G1"}, **tables})


def test_a_month_is_closed_after_forty_days_unless_the_file_says_otherwise() -> None:
    usual, sooner = settings(), settings(ledger={"close_after_days": 10})
    assert (usual.ledger.close_after_days, sooner.ledger.close_after_days) == (40, 10)
    assert (changes(usual, sooner).keys, restarts(usual, sooner)) == (("ledger.close_after_days",), [])
    with pytest.raises(ValidationError):
        settings(ledger={"close_after_days": 0})


def old_money(tx: Tx) -> None:
    """Of last year: a gift, and a part of it on its way for ten seconds."""
    why = {"by": "test", "reason": "last year's money"}
    post_entry(tx, ledger.adjustment("A-1", "CNY", 5, LAST_YEAR_MS, why))
    due_ms = LAST_YEAR_MS + 10_000
    transfer.begin(tx, Transfer("T-1", "A-1", "CNY", 2, "customer:A-1", "undelivered:A-1", LAST_YEAR_MS, due_ms))


async def test_a_gateway_closes_last_year_and_voids_what_is_due(site_of: MakeSite, tmp_path: Path) -> None:
    site = site_of(1, 1)
    (tmp_path / "data").mkdir()
    with Store.open(str(store_file(tmp_path / "data"))) as store:
        store.write_now(old_money)
    async with site.running() as running:
        await site.until(lambda: bool(running.store.read_now(lambda tx: tx.closings())), "closed")

        def voided() -> bool:
            found = running.store.read_now(lambda tx: tx.transfer("T-1"))
            return found is not None and found.state is TransferState.VOIDED

        await site.until(voided, "voided")
        assert [closing.upto for closing in running.store.read_now(lambda tx: tx.closings())] == [2]
        assert running.store.read_now(verify_ledger)[1] is None
