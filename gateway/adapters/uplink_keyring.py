"""The public keys of the centre in memory, as signatures are checked by them; the store says who they are and what they may."""

from __future__ import annotations

from collections.abc import Sequence

from joserfc.jwk import OKPKey

from gateway.domain.uplink_keys import KeyRole, Refused, UplinkKey, Why, among, in_force
from protocols.uplink.messages import BadMessage
from protocols.uplink.signing import public_key


class KeyRing:
    """Filled from the store at the start and after every change of keys."""

    def __init__(self, keys: Sequence[UplinkKey] = ()) -> None:
        self._keys: dict[str, tuple[UplinkKey, OKPKey]] = {}
        self.asked = False
        """Whether there is any key, also one that cannot be used: then signatures are asked for."""
        self.fill(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def fill(self, keys: Sequence[UplinkKey]) -> None:
        """From now on these. The revoked ones stay, so that what they sign is called by its name."""
        found = {}
        for key in keys:
            try:
                found[key.kid] = (key, public_key(key.public))
            except BadMessage:
                continue  # it was checked when it was added; a store that was changed by hand gives no right
        self._keys, self.asked = found, len(keys) > 0

    def public(self, kid: str) -> OKPKey | None:
        """By which its signatures are checked; None for a stranger."""
        found = self._keys.get(kid)
        return None if found is None else found[1]

    def trusted(self, kid: str, now_ms: int) -> Refused | None:
        """Why nothing that it signs counts."""
        found = self._keys.get(kid)
        return (Why.UNKNOWN_KEY, f"the key {kid} is not known here") if found is None else in_force(found[0], now_ms)

    def centre(self, kid: str, gateway: str, now_ms: int) -> Refused | None:
        """Why it is not the centre's word what it signs."""
        refused = self.trusted(kid, now_ms)
        if refused is not None:
            return refused
        key = self._keys[kid][0]
        if key.role is not KeyRole.CENTRE or (key.gateways and not among(gateway, key.gateways)):
            return Why.NO_RIGHT, f"the key {kid} is not the centre's: acknowledgements need one with the role centre"
        return None
