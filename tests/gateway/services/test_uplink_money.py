"""A voucher whose payment the gateway's ledger has undone is refused: the centre would else tell its bank that it was credited."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from gateway.domain import ledger
from gateway.domain.agreements import Held
from gateway.domain.bank_acts import Reversal, ReversalVerdict
from gateway.domain.events import Json, Topic
from gateway.domain.meters import Account
from gateway.domain.requests import PaymentIdentity
from gateway.domain.uplink_keys import UplinkKey, Why
from gateway.services.apply_topup import apply_topup
from gateway.services.money_held import HELD, save
from gateway.services.receive_command import receive_command
from gateway.services.reverse_topup import reverse_topup
from gateway.services.uplink_due import again_of
from gateway.services.uplink_money import _topup
from tests.gateway.services.house import FLAT, POLICY
from tests.gateway.services.memory_tx import MemoryTx
from tests.gateway.services.test_uplink_verbs import PAID, SITE, T0, command, results

VOUCHER = command("t-1", "topup", 1, args=PAID)


@pytest.fixture
def tx() -> MemoryTx:
    """One account, and the key of the centre's office."""
    tx = MemoryTx()
    tx.save_price_list(FLAT)
    tx.save_account(Account("A1", "", "CNY", "flat", POLICY))
    tx.save_uplink_key(UplinkKey("centre", "x-centre", verbs=("*",), holder="centre"))
    return tx


def undo(tx: MemoryTx) -> ReversalVerdict:
    """The bank takes it back at the gateway's own door."""
    asked = Reversal(
        PaymentIdentity("bank-1", "", "", "S-1"), "R-1", date(2026, 11, 1), 50_000_000, "CNY", "no answer",
        datetime.fromtimestamp(T0 / 1000, UTC),
    )  # fmt: skip
    return reverse_topup(tx, asked, SITE, T0).verdict


def refused(tx: MemoryTx) -> dict[str, Json]:
    """The voucher's last word; nothing of it is on the account."""
    assert tx.balance(ledger.customer("A1"), "CNY") == 0
    said = results(tx, "t-1")[-1]
    assert (said["state"], said["final"], said["code"]) == ("refused", True, Why.NOT_PERMITTED.value)
    answer = said["answer"]
    assert isinstance(answer, dict)
    return answer


def test_a_voucher_that_comes_behind_its_tombstone_is_refused_as_reversed(tx: MemoryTx) -> None:
    assert undo(tx) is ReversalVerdict.TOMBSTONE
    assert receive_command(tx, VOUCHER, SITE, T0).why is Why.NOT_PERMITTED
    answer = refused(tx)
    assert answer["payment"] == "reversed"
    document = answer["reversal"]
    assert isinstance(document, dict) and (document["reversal_serial"], document["accounting_date"]) == ("R-1", "2026-11-01")
    assert receive_command(tx, VOUCHER, SITE, T0).again and refused(tx) == answer


def test_so_is_one_whose_payment_was_booked_otherwise_and_taken_back(tx: MemoryTx) -> None:
    apply_topup(tx, _topup(VOUCHER), SITE, T0)
    assert undo(tx) is ReversalVerdict.REVERSED
    assert receive_command(tx, VOUCHER, SITE, T0).why is Why.NOT_PERMITTED
    assert refused(tx)["payment"] == "reversed"


def test_so_is_one_that_waited_until_money_was_taken_again(tx: MemoryTx) -> None:
    save(tx, Held("e1", T0 - 1, T0, 1, 1))
    assert receive_command(tx, VOUCHER, SITE, T0).later
    tx.set_meta(HELD, "")
    assert undo(tx) is ReversalVerdict.TOMBSTONE
    order = tx.uplink_order("t-1")
    assert order is not None and again_of(tx, order, SITE, T0 + 1)
    assert refused(tx)["payment"] == "reversed"


def test_another_content_under_its_identity_says_nothing_of_the_voucher(tx: MemoryTx) -> None:
    apply_topup(tx, _topup(command("t-0", "topup", 1, args=PAID | {"amount": "60.00"})), SITE, T0)
    receive_command(tx, VOUCHER, SITE, T0)
    said = results(tx, "t-1")[-1]
    assert (said["state"], said["answer"]) == ("refused", {}) and "another amount" in str(said["reason"])


def test_what_is_undone_after_it_was_credited_is_told_with_its_whole_identity(tx: MemoryTx) -> None:
    assert receive_command(tx, VOUCHER, SITE, T0).why is None
    assert undo(tx) is ReversalVerdict.REVERSED
    bodies = [row.message.body for row in tx.outgoing(0, 1000) if row.message.topic is Topic.EVENT]
    [data] = [body["data"] for body in bodies if body["kind"] == "topup_reversed"]
    named = ("bank", "institution", "scope", "serial", "reversal", "accounting_date")
    assert isinstance(data, dict) and [data[name] for name in named] == ["bank-1", "", "", "S-1", "R-1", "2026-11-01"]
