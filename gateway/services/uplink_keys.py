"""Keys of the centre: added by two people or by the configuration, revoked by one, at once and for ever (contract.md 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from gateway.domain.approvals import Approval, Decision
from gateway.domain.events import EventKind, Json
from gateway.domain.requests import valid_id
from gateway.domain.uplink_keys import MOST_KEYS, KeyRole, UplinkKey
from gateway.services import announce
from gateway.services.approve import Act, ask
from gateway.services.ports import Site, Tx

ADD_KEY = "add_uplink_key"

FILE = "rules"
"""Who adds what stands in the configuration file: whoever may write that file may write the store too."""


def ask_key(tx: Tx, ident: str, key: UplinkKey, who: str, site: Site, now_ms: int) -> Decision:
    """Write down that this key waits for its second person: it could order cuts."""
    refused = _unfit(tx, key)
    if refused is not None:
        return Decision(None, refused)
    body: dict[str, Json] = json.loads(json.dumps(asdict(key)))
    return ask(tx, ident, ADD_KEY, key.kid, body, who, site, now_ms)


def revoke_key(tx: Tx, kid: str, who: str, now_ms: int) -> str | None:
    """Nothing that it signs counts from this commit on, also where it stands in the file. Why not, in one sentence."""
    key = tx.uplink_key(kid)
    if key is None:
        return f"there is no key {kid}"
    if key.revoked_ms is not None:
        return f"key {kid} is revoked already"
    tx.save_uplink_key(replace(key, revoked_ms=now_ms))
    _tell(tx, key, "uplink_key_revoked", who, now_ms)
    return None


def keep_filed(tx: Tx, filed: Sequence[UplinkKey], now_ms: int) -> None:
    """The keys of the file, at every start and reload. One that is taken out counts no longer; a revoked one stays so."""
    known = {key.kid: key for key in tx.uplink_keys()}
    for key in filed:
        before = known.get(key.kid)
        wanted = replace(key, filed=True, created_ms=before.created_ms if before else now_ms, most=dict(key.most or {}))
        if before is not None and before.revoked_ms is not None:
            continue
        if before is None or replace(before, most=dict(before.most or {})) != wanted:
            tx.save_uplink_key(wanted)
            _tell(tx, wanted, "uplink_key_filed", FILE, now_ms)
    names = {key.kid for key in filed}
    for key in known.values():
        if key.filed and key.kid not in names and key.revoked_ms is None and (key.until_ms is None or key.until_ms > now_ms):
            tx.save_uplink_key(replace(key, until_ms=now_ms))
            _tell(tx, key, "uplink_key_taken_out", FILE, now_ms)


def _unfit(tx: Tx, key: UplinkKey) -> str | None:
    if not valid_id(key.kid):
        return "a key's id is 1 to 64 letters, digits, _ or -"
    if tx.uplink_key(key.kid) is not None:
        return f"there was a key {key.kid} already: an id is never given twice"
    if len(tx.uplink_keys()) >= MOST_KEYS:
        return f"there are {MOST_KEYS} keys, more than a gateway has"
    if any(each.public == key.public for each in tx.uplink_keys()):
        return "this public key is known under another id"
    if key.role is KeyRole.COMMANDS and not key.verbs:
        return "a key without verbs may order nothing: name them, or *"
    return None


def _run(tx: Tx, approval: Approval, who: str, site: Site, now_ms: int) -> str | None:
    key = _key(json.loads(approval.body))
    refused = _unfit(tx, key)
    if refused is None:
        added = replace(key, created_ms=now_ms)
        tx.save_uplink_key(added)
        _tell(tx, added, "uplink_key_added", who, now_ms)
    return refused


def _key(body: Mapping[str, Json]) -> UplinkKey:
    lists = {name: tuple(body[name]) for name in ("gateways", "verbs", "meters", "accounts", "causes")}  # type: ignore[arg-type]
    return UplinkKey(**{**body, **lists, "role": KeyRole(str(body["role"]))})  # type: ignore[arg-type]


def _tell(tx: Tx, key: UplinkKey, act: str, who: str, now_ms: int) -> None:
    tx.add_audit(now_ms, who, act, key.kid, {"role": key.role.value, "verbs": " ".join(key.verbs), "public": key.public})
    announce.event(tx, EventKind.UPLINK_KEY_CHANGED, now_ms, key=key.kid, act=act, who=who)


ADDING_KEY = Act(_run)
"""What is done once the second person says yes."""
