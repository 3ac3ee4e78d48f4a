"""A partner changes the key of its MACs over its line: remembered before it is answered, and never the same key twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from gateway.domain.bank_keys import KeyVerdict, SentKey, WorkingKeys, confirmed, offered
from gateway.services.ports import Tx

KEYS = "iso8583_keys:"
"""In `meta`, by partner: its WorkingKeys. Keys are there only as they were sent, wrapped."""

SEEN = "iso8583_key:"
"""In `meta`, by partner and digest: when a key came first, UTC ms. A row for every key ever sent, some tens of bytes each, as a
payment has one: whoever recorded the message can have it taken at no time."""


def working_keys(tx: Tx, bank: str) -> WorkingKeys | None:
    """What this partner has sent; None for nothing."""
    kept = tx.meta(KEYS + bank)
    if not kept:
        return None
    read = json.loads(kept)
    used, new = (None if read[name] is None else SentKey(**read[name]) for name in ("used", "new"))
    return WorkingKeys(read["base"], used, new, read["number"])


def take_key(tx: Tx, bank: str, base: str, key: SentKey, now_ms: int) -> tuple[KeyVerdict, WorkingKeys]:
    """A new key from this partner, beside the one that holds. base: which keys its file holds now."""
    row = f"{SEEN}{bank}:{hashlib.sha256(bytes.fromhex(key.wrapped)).hexdigest()[:32]}"
    verdict, keys = offered(working_keys(tx, bank), base, key, tx.meta(row) is not None)
    if verdict is KeyVerdict.TAKEN:
        tx.set_meta(row, str(now_ms))
        _save(tx, bank, keys)
        tx.add_audit(now_ms, f"bank:{bank}", "new_mac_key", bank, {"check": key.check})
    return verdict, keys


def confirm_key(tx: Tx, bank: str, key: SentKey, now_ms: int) -> WorkingKeys | None:
    """The partner has used this key: from now on it alone holds. What stands then; None where nothing was ever sent."""
    known = working_keys(tx, bank)
    if known is None:
        return None
    keys = confirmed(known, key)
    if keys != known:
        _save(tx, bank, keys)
        tx.add_audit(now_ms, f"bank:{bank}", "mac_key_in_use", bank, {"check": key.check})
    return keys


def _save(tx: Tx, bank: str, keys: WorkingKeys) -> None:
    tx.set_meta(KEYS + bank, json.dumps(asdict(keys), sort_keys=True))
