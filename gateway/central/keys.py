"""The centre's private keys: JWK files of mode 0600. One for acks and resends (role `centre`), one for commands (contract.md 5)."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from gateway.central.orders import Signer
from protocols.uplink import signing
from protocols.uplink.messages import BadMessage
from protocols.uplink.topics import valid_id


class BadKey(Exception):
    """A key that cannot be used; the text is one sentence."""


def load(path: Path) -> Signer:
    """The key of a file, with its id. BadKey."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise BadKey(f"{path} holds a private key and can be read by others: chmod 600 it")
        text = path.read_bytes()
    except OSError as problem:
        raise BadKey(f"{path} cannot be read: {problem.strerror}") from None
    try:
        key = signing.private_key(text)
        kid = json.loads(text).get("kid")
    except (BadMessage, ValueError) as wrong:
        raise BadKey(f"{path}: {wrong}") from None
    if not isinstance(kid, str) or not valid_id(kid):
        raise BadKey(f"{path}: the key has no kid of 1 to 64 letters, digits, _ or -")
    return Signer(kid, key)
