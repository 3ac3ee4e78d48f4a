"""An order that a foreign system gave through an output: judged as every order from outside, under that output's name."""

from __future__ import annotations

from gateway.domain.events import EventKind
from gateway.domain.requests import SupplyOrder
from gateway.services import announce
from gateway.services.order_supply import order_supply
from gateway.services.ports import Site, SupplyAnswer, Tx


def order_from_output(tx: Tx, order: SupplyOrder, site: Site, now_ms: int) -> SupplyAnswer:
    """Queues its command, or says why not; a refusal is an event with its reason, for whoever asked may not read answers."""
    answer = order_supply(tx, order, site, now_ms)
    if answer.refused is not None:
        refuse_from_output(tx, order.who, answer.refused, now_ms, meter=order.meter if tx.meter(order.meter) else None)
    return answer


def refuse_from_output(tx: Tx, who: str, why: str, now_ms: int, *, meter: str | None = None) -> None:
    """What came through an output and moves nothing."""
    announce.event(tx, EventKind.COMMAND_UNREADABLE, now_ms, meter=meter, command=None, who=who, reason=why)
