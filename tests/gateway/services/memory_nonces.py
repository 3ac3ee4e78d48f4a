"""The nonces' share of the store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.domain.nonces import Claim


@dataclass
class MemoryNonces:
    """`nonce_ports.NonceTx` on a dictionary."""

    kept_nonces: dict[int, Claim] = field(default_factory=dict)

    def add_nonce(self, claim: Claim) -> int | None:
        if any((kept.key, kept.nonce) == (claim.key, claim.nonce) for kept in self.kept_nonces.values()):
            return None
        number = max(self.kept_nonces, default=0) + 1
        self.kept_nonces[number] = claim
        return number

    def oldest_nonces(self, most: int) -> Sequence[tuple[int, Claim]]:
        return sorted(self.kept_nonces.items())[:most]

    def drop_nonces(self, upto: int) -> None:
        self.kept_nonces = {number: claim for number, claim in self.kept_nonces.items() if number > upto}
