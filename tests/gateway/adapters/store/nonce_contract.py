"""What every store must do with nonces."""

from __future__ import annotations

import pytest

from gateway.adapters.store import Store
from gateway.domain.nonces import Claim
from gateway.services.ports import Tx


def claim(number: int, key: str = "k") -> Claim:
    return Claim(key, f"n-{number}", 1_000 + number)


class NonceContract:
    def test_a_nonce_is_new_once_for_each_key(self, store: Store) -> None:
        first = store.write_now(lambda tx: [tx.add_nonce(claim(1)), tx.add_nonce(claim(1)), tx.add_nonce(claim(1, "other"))])
        assert first[0] is not None and first[1] is None and first[2] is not None and first[2] > first[0]
        assert store.write_now(lambda tx: tx.add_nonce(claim(1))) is None, "also in a later transaction"

    def test_nonces_are_forgotten_from_the_oldest_on(self, store: Store) -> None:
        store.write_now(lambda tx: [tx.add_nonce(claim(number)) for number in range(5)])
        oldest = store.read_now(lambda tx: list(tx.oldest_nonces(3)))
        assert [found for _, found in oldest] == [claim(0), claim(1), claim(2)]
        store.write_now(lambda tx: tx.drop_nonces(oldest[1][0]))
        assert [found for _, found in store.read_now(lambda tx: tx.oldest_nonces(9))] == [claim(2), claim(3), claim(4)]
        assert store.write_now(lambda tx: tx.add_nonce(claim(0))) is not None

    def test_a_nonce_of_what_failed_is_not_used(self, store: Store) -> None:
        def fails(tx: Tx) -> None:
            tx.add_nonce(claim(1))
            raise ValueError

        with pytest.raises(ValueError, match=r"^$"):
            store.write_now(fails)
        assert store.write_now(lambda tx: tx.add_nonce(claim(1))) is not None
