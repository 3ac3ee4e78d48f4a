"""A new key pair for whoever signs commands."""

from __future__ import annotations

import json
import os
from pathlib import Path

from joserfc.jwk import OKPKey

from gateway.domain.requests import valid_id


def write_new_key(path: Path, kid: str) -> str:
    """The private key as JWK into a new file (0600), durably; its public half. FileExistsError, ValueError for an unfit kid."""
    if not valid_id(kid):
        raise ValueError("a key's id is 1 to 64 letters, digits, _ or -")
    key = OKPKey.generate_key("Ed25519")
    jwk = {**key.as_dict(private=True), "kid": kid}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(jwk, file)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    return str(key.as_dict(private=False)["x"])
