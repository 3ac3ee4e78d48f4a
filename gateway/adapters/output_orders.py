"""Whom an output hands over what a foreign system asks of a switch."""

from __future__ import annotations

from typing import Protocol

from gateway.domain.supply import Verb
from gateway.services.ports import SupplyAnswer


class Orders(Protocol):
    """Both answer when all is written down, and never raise."""

    async def order(self, meter: str, verb: Verb) -> SupplyAnswer:
        """Has an order judged; it may be refused."""

    async def refuse(self, why: str) -> SupplyAnswer:
        """Records what asked for nothing that could be ordered. why: one sentence."""


RETAINED = "a retained command moves nothing: it would be obeyed again after every reconnect"
