"""The uplink's share of the store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.domain.uplink_keys import UplinkKey
from gateway.domain.uplink_orders import SWITCHING, Anchor, UplinkOrder
from gateway.services.ports import Duplicate


@dataclass
class MemoryUplink:
    """`uplink_ports.UplinkTx` on dictionaries."""

    kept_uplink_keys: dict[str, UplinkKey] = field(default_factory=dict)
    kept_uplink_orders: dict[str, UplinkOrder] = field(default_factory=dict)
    kept_anchors: dict[int, Anchor] = field(default_factory=dict)

    def uplink_keys(self) -> Sequence[UplinkKey]:
        return [self.kept_uplink_keys[kid] for kid in sorted(self.kept_uplink_keys)]

    def uplink_key(self, kid: str) -> UplinkKey | None:
        return self.kept_uplink_keys.get(kid)

    def save_uplink_key(self, key: UplinkKey) -> None:
        self.kept_uplink_keys[key.kid] = replace(key, most=dict(key.most or {}))

    def add_uplink_order(self, order: UplinkOrder) -> None:
        if order.id in self.kept_uplink_orders:
            raise Duplicate(f"order {order.id} is there already")
        self.kept_uplink_orders[order.id] = order

    def uplink_order(self, order: str) -> UplinkOrder | None:
        return self.kept_uplink_orders.get(order)

    def save_uplink_order(self, order: UplinkOrder) -> None:
        known = self.kept_uplink_orders.get(order.id)
        if known is None or not known.waits:
            raise LookupError(f"order {order.id} is answered, or was never added")
        self.kept_uplink_orders[order.id] = replace(
            known, state=order.state, changed_ms=order.changed_ms, code=order.code, reason=order.reason, answer=order.answer
        )

    def open_uplink_orders(self, limit: int) -> Sequence[UplinkOrder]:
        return sorted((o for o in self.kept_uplink_orders.values() if o.waits), key=lambda o: o.verb == "topup")[:limit]

    def uplink_orders(self, limit: int) -> Sequence[UplinkOrder]:
        return [*reversed(self.kept_uplink_orders.values())][:limit]

    def order_by_counter(self, kid: str, counter: int) -> str | None:
        return next((o.id for o in self.kept_uplink_orders.values() if (o.kid, o.counter) == (kid, counter)), None)

    def last_counter(self, kid: str, meter: str) -> int | None:
        orders = self.kept_uplink_orders.values()
        found = [o.counter for o in orders if (o.kid, o.meter) == (kid, meter) and o.verb in SWITCHING]
        return max(found, default=None)

    def add_anchor(self, anchor: Anchor) -> None:
        self.kept_anchors[anchor.number] = anchor

    def anchors(self, after: int, limit: int) -> Sequence[Anchor]:
        return [anchor for number, anchor in sorted(self.kept_anchors.items()) if number > after][:limit]

    def last_anchor(self) -> Anchor | None:
        return self.kept_anchors[max(self.kept_anchors)] if self.kept_anchors else None
