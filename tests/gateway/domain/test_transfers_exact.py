"""What a transfer's refusals say."""

from __future__ import annotations

import pytest

from gateway.domain.transfers import Transfer, TransferEvent, TransferRefused, after


def test_a_transfer_that_is_not_due_says_when() -> None:
    with pytest.raises(TransferRefused, match=r"^transfer t1 is not due before 200$"):
        after(Transfer("t1", "a", "CNY", 5, "customer:a", "undelivered:a", 100, 200), TransferEvent.EXPIRE, 199)
