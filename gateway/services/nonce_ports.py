"""What the use cases need of a store for nonces: part of `ports.Tx`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.domain.nonces import Claim


class NonceTx(Protocol):
    """Nonces of signed requests within one transaction."""

    def add_nonce(self, claim: Claim) -> int | None:
        """Remember it; its number, which rises, or None where this key has said it before."""

    def oldest_nonces(self, most: int) -> Sequence[tuple[int, Claim]]:
        """The first that came and are still there, with their numbers, in order."""

    def drop_nonces(self, upto: int) -> None:
        """Forget those with a number up to this one."""
