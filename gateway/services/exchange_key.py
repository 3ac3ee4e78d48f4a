"""A partner changes the key of its MACs over its line: remembered before it is answered, and never the same key twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from gateway.domain.bank_keys import KeyVerdict, SentKey, WorkingKeys, confirmed, offered
from gateway.domain.findings import FindingKind
from gateway.services import findings
from gateway.services.acknowledge import EPOCH
from gateway.services.money_held import SERIES
from gateway.services.ports import Tx

KEYS = "iso8583_keys:"
"""In `meta`, by partner: its WorkingKeys. Keys are there only as they were sent, wrapped."""

SEEN = "iso8583_key:"
"""In `meta`, by partner and digest: when a key came first, UTC ms. A row for every key ever sent, some tens of bytes each, as a
payment has one: whoever recorded the message can have it taken at no time."""


HEARD = "iso8583_heard:"
"""In `meta`, by partner: the store's epoch in which it last was heard for the first time with a right MAC."""

TAKEN_BACK = "a key that the restore took back"


def rolled_back(tx: Tx, bank: str) -> bool:
    """Whether a backup was restored and no right MAC of this partner was seen since: its key may be newer than what is here."""
    return bool(tx.meta(SERIES)) and tx.meta(HEARD + bank) != tx.meta(EPOCH)


def right_again(tx: Tx, bank: str, now_ms: int) -> None:
    """A right MAC since the restore: the keys that are remembered are the partner's."""
    tx.set_meta(HEARD + bank, tx.meta(EPOCH) or "")
    findings.over(tx, FindingKind.MAC_KEYS_LOST, bank, now_ms)


def keys_lost(tx: Tx, bank: str, next_is_taken: bool, now_ms: int) -> str:
    """Nothing but wrong MACs since the restore, which needs a person; what to do, in one sentence.

    next_is_taken: whether a key that it sends now is taken, whatever seals it.
    """
    anew = "have it send a new one (0800, key exchange), which is taken now, or " if next_is_taken else ""
    by_hand = f"{anew}write another key into key_file on both sides"
    text = f"MACs of partner {bank} fail since the restore, its key is newer than the backup: {by_hand}"
    return findings.found(tx, FindingKind.MAC_KEYS_LOST, bank, text, now_ms).text


def working_keys(tx: Tx, bank: str) -> WorkingKeys | None:
    """What this partner has sent; None for nothing."""
    kept = tx.meta(KEYS + bank)
    if not kept:
        return None
    read = json.loads(kept)
    used, new = (None if read[name] is None else SentKey(**read[name]) for name in ("used", "new"))
    return WorkingKeys(read["base"], used, new, read["number"])


def take_key(tx: Tx, bank: str, base: str, key: SentKey, now_ms: int, *, sealed: bool = True) -> tuple[KeyVerdict, WorkingKeys]:
    """A new key from this partner, beside the one that holds. base: which keys its file holds now. sealed: by a right MAC."""
    row = f"{SEEN}{bank}:{hashlib.sha256(bytes.fromhex(key.wrapped)).hexdigest()[:32]}"
    verdict, keys = offered(working_keys(tx, bank), base, key, tx.meta(row) is not None)
    if verdict is KeyVerdict.TAKEN:
        tx.set_meta(row, str(now_ms))
        _save(tx, bank, keys)
        told = {"check": key.check} if sealed else {"check": key.check, "sealed_by": TAKEN_BACK}
        tx.add_audit(now_ms, f"bank:{bank}", "new_mac_key", bank, told)
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
