"""Orders of the centre that wait: done again from what is kept, or ended by their own expiry (contract.md 5)."""

from __future__ import annotations

from gateway.domain.approvals import ApprovalState
from gateway.domain.incoming import IncomingCommand
from gateway.domain.supply import CommandState
from gateway.domain.uplink_keys import Why
from gateway.domain.uplink_orders import UplinkOrder
from gateway.services import approve
from gateway.services.ports import Site, Tx
from gateway.services.two_people import ACTS
from gateway.services.uplink_answers import conclude
from gateway.services.uplink_line import clock_right, read_since
from gateway.services.uplink_money import pay_in_again

MOST = 1000
"""Orders ended in one transaction."""


def kept_command(order: UplinkOrder, gateway: str) -> IncomingCommand:
    """The command as it was, from what is kept of it."""
    return IncomingCommand(
        order.id, gateway, order.verb, order.meter, order.account, None, order.issued_ms, order.expires_ms, order.said,
        order.counter, args=order.arguments, kid=order.kid, digest=order.digest, token=order.token,
    )  # fmt: skip


def again_of(tx: Tx, order: UplinkOrder, site: Site, now_ms: int) -> bool:
    """A payment that waited for money to be taken again. False: it still waits."""
    kept = tx.uplink_order(order.id)
    return kept is not None and kept.waits and pay_in_again(tx, kept, kept_command(kept, site.gateway), site, now_ms)


def expire_due(tx: Tx, now_ms: int) -> int:
    """Ends what was not done, or not released, before its expiry; how many."""
    due = [o for o in tx.open_uplink_orders(MOST) if o.expires_ms is not None and o.expires_ms <= now_ms]
    for order in due:
        conclude(tx, order, CommandState.EXPIRED, now_ms, Why.EXPIRED.value, "it was not done before its expiry")
        approval = tx.approval(order.id)
        if approval is not None and approval.state is ApprovalState.ASKED:
            approve.refuse(tx, order.id, "rules", "the order is expired", now_ms, ACTS)
    return len(due)


def reading_of(tx: Tx, order: UplinkOrder) -> dict[str, str] | None:
    """What the meter answered since the order came."""
    return read_since(tx, str(order.meter), order.received_ms)


def clock_of(tx: Tx, order: UplinkOrder) -> int | None:
    """By how much the meter's clock is off, once it was seen right since the order came."""
    return clock_right(tx, str(order.meter), order.received_ms)
