"""What the use cases need of a store for the uplink: part of `ports.Tx`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.domain.uplink_keys import UplinkKey
from gateway.domain.uplink_orders import Anchor, UplinkOrder


class UplinkTx(Protocol):
    """Keys, signed orders and anchors within one transaction."""

    def uplink_keys(self) -> Sequence[UplinkKey]:
        """By kid, the revoked ones too."""

    def uplink_key(self, kid: str) -> UplinkKey | None: ...
    def save_uplink_key(self, key: UplinkKey) -> None: ...

    def add_uplink_order(self, order: UplinkOrder) -> None:
        """Duplicate if the id is known."""

    def uplink_order(self, order: str) -> UplinkOrder | None: ...
    def save_uplink_order(self, order: UplinkOrder) -> None:
        """State, code, reason and answer of one that waits; LookupError for any other."""

    def open_uplink_orders(self, limit: int) -> Sequence[UplinkOrder]:
        """Those that wait, oldest first; vouchers behind all others, for thousands of them may wait for money to be taken again."""

    def uplink_orders(self, limit: int) -> Sequence[UplinkOrder]:
        """Newest first."""

    def order_by_counter(self, kid: str, counter: int) -> str | None:
        """The id of the first order that came under this counter."""

    def last_counter(self, kid: str, meter: str) -> int | None:
        """The highest counter of this key's switching orders for a meter, whatever came of them."""

    def add_anchor(self, anchor: Anchor) -> None: ...
    def anchors(self, after: int, limit: int) -> Sequence[Anchor]:
        """By number."""

    def last_anchor(self) -> Anchor | None: ...
