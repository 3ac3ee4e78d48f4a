"""Nonces: used up once, remembered past their time, and not forgotten into being good again (contract.md 3)."""

from __future__ import annotations

import pytest

from gateway.domain.nonces import Claim, NonceUsed
from gateway.services.ports import Unavailable
from gateway.services.spend_nonce import DROP_EVERY, DROP_MOST, FLOOR, KEPT_MS, LATE_MS, first_use, once, spend
from tests.gateway.services.memory_tx import MemoryTx

NOW_MS = 1_795_233_600_000
LIFE_MS = 300_000


def claim(number: int, at_ms: int = NOW_MS, key: str = "k") -> Claim:
    return Claim(key, f"n-{number}", at_ms + LIFE_MS)


def test_once_for_each_key() -> None:
    tx = MemoryTx()
    assert [first_use(tx, claim(1, key=key), NOW_MS) for key in ("a", "b", "a")] == [True, True, False]
    spend(tx, claim(2), NOW_MS)
    with pytest.raises(NonceUsed):
        spend(tx, claim(2), NOW_MS)
    spend(tx, None, NOW_MS)


def test_again_only_what_is_known() -> None:
    tx = MemoryTx()
    assert once(tx, claim(1), NOW_MS, lambda: False, lambda: "done") == "done"
    assert once(tx, claim(1), NOW_MS, lambda: True, lambda: "stored") == "stored"
    with pytest.raises(NonceUsed):
        once(tx, claim(1), NOW_MS, lambda: False, lambda: "again")
    assert once(tx, None, NOW_MS, lambda: False, lambda: "unsigned") == "unsigned"


def test_nothing_begins_long_after_its_signature_expired() -> None:
    tx, last_ms = MemoryTx(), NOW_MS + LIFE_MS + LATE_MS
    assert once(tx, claim(1), last_ms, lambda: False, lambda: "done") == "done"
    with pytest.raises(Unavailable):
        once(tx, claim(2), last_ms + 1, lambda: False, lambda: "late")
    assert [known.nonce for known in tx.kept_nonces.values()] == ["n-1"]


def test_old_ones_are_forgotten_in_bounded_steps_and_never_good_again() -> None:
    tx = MemoryTx()
    for number in range(2 * DROP_EVERY):
        assert first_use(tx, claim(number), NOW_MS)
    later_ms = NOW_MS + LIFE_MS + KEPT_MS
    for number in range(DROP_EVERY):
        assert first_use(tx, claim(1000 + number, later_ms), later_ms)
    assert len(tx.kept_nonces) == 3 * DROP_EVERY, "to the millisecond they are kept"
    later_ms += 1
    for number in range(DROP_EVERY):
        assert first_use(tx, claim(2000 + number, later_ms), later_ms)
    assert len(tx.kept_nonces) == 2 * DROP_EVERY
    assert tx.meta(FLOOR + "k") == str(NOW_MS + LIFE_MS)
    for number in (0, 5, 99_999):
        assert not first_use(tx, claim(number), NOW_MS), "the clock was set back, and what was forgotten may have been used"
    assert first_use(tx, claim(0, NOW_MS + 1), NOW_MS + 1), "what expires later is remembered"
    assert first_use(tx, claim(0, key="other"), NOW_MS), "each key has its own"


def test_a_step_is_bounded_and_still_ahead_of_what_comes() -> None:
    tx = MemoryTx()
    for number in range(1000):
        first_use(tx, claim(number), NOW_MS)
    later_ms = NOW_MS + LIFE_MS + KEPT_MS + 1
    for number in range(DROP_EVERY):
        first_use(tx, claim(5000 + number, later_ms), later_ms)
    assert len(tx.kept_nonces) == 1000 + DROP_EVERY - DROP_MOST
    assert DROP_MOST > DROP_EVERY
