"""The centre of a gateway that may cut: its orders are signed, and its broker delivers them as often as it likes."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.adapters.mqtt_down import DownSide
from gateway.adapters.mqtt_session import Arrival, Demands
from gateway.adapters.uplink_keyring import KeyRing
from gateway.domain.supply import Verb
from gateway.domain.uplink_orders import UplinkOrder
from gateway.services.receive_command import receive_command
from gateway.services.uplink_answers import Received
from tests.gateway.centre_keys import Signer
from tests.simulation.supply_gateway import SupplyGateway


@dataclass
class SignedOrders:
    """One key, which may order everything."""

    gateway: SupplyGateway
    signer: Signer = field(default_factory=lambda: Signer("centre-1", 1))
    sent: dict[str, bytes] = field(default_factory=dict)

    async def begin(self) -> None:
        """The key stands in the gateway's store, and survives with it."""
        key = self.signer.key()
        await self.gateway.act(lambda tx, site, now_ms: tx.save_uplink_key(key))

    async def order(self, house: str, verb: Verb, ident: str) -> Received:
        """A new one; or the same bytes again for an id that was sent."""
        if ident not in self.sent:
            args = {"cause": "emergency"} if verb is Verb.CUT else None
            fields = self.signer.fields(
                ident, self.gateway.now_ms(), gateway=self.gateway.settings.gateway.id, meter=house, verb=verb.value, args=args
            )
            self.sent[ident] = self.signer.signed(fields)
        name, ring = self.gateway.settings.gateway.id, KeyRing(self.gateway.store.read_now(lambda tx: tx.uplink_keys()))
        down = DownSide(name, ring, signatures="required", commands=True, on_loopback=False, now_ms=self.gateway.now_ms)
        command = down.command(Arrival(f"wattgate/v1/{name}/down/command", self.sent[ident], False, Demands()))
        return await self.gateway.act(lambda tx, site, now_ms: receive_command(tx, command, site, now_ms), essential=True)

    def kept(self, ident: str) -> UplinkOrder | None:
        """What the store knows of the order."""
        return self.gateway.store.read_now(lambda tx: tx.uplink_order(ident))
