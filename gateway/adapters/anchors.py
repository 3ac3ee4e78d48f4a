"""Whether an anchor was signed by its gateway, and signs what it is said to."""

from __future__ import annotations

from collections.abc import Mapping

from protocols.uplink.messages import BadMessage
from protocols.uplink.signing import open_signed, public_key


def foul(jws: str, claimed: bytes, keys: Mapping[str, str]) -> str | None:
    """What is wrong with it, in one sentence. keys: `x` of the gateway's public keys by kid."""
    try:
        signed = open_signed(jws.encode("ascii", "replace"), lambda kid: public_key(keys[kid]) if kid in keys else None)
    except BadMessage as wrong:
        return str(wrong)
    return None if signed.payload == claimed else "what it signs is something else"
