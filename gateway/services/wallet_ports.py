"""What the use cases need of a store for meters' own money: part of `ports.Tx`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.domain.wallets import Delivery, Wallet


class WalletTx(Protocol):
    """Wallets and deliveries within one transaction."""

    def wallet(self, meter: str) -> Wallet | None: ...
    def save_wallet(self, wallet: Wallet) -> None: ...
    def wallets(self, line: str | None = None) -> Sequence[Wallet]:
        """By meter; line: of the meters read on it."""

    def add_delivery(self, delivery: Delivery) -> None:
        """ports.Duplicate if the id is known."""

    def delivery(self, delivery: str) -> Delivery | None: ...
    def save_delivery(self, delivery: Delivery) -> None:
        """Changes one that is on its way; LookupError for one that has ended."""

    def open_deliveries(self, *, line: str | None = None, meter: str | None = None) -> Sequence[Delivery]:
        """Those still on their way, oldest first; line: to the meters read on it."""

    def deliveries(self, limit: int, account: str | None = None) -> Sequence[Delivery]:
        """Newest first."""
