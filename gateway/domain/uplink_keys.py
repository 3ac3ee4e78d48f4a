"""Who may order what over the uplink: public keys with a role, a scope, a time and an end (contract.md 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

ANY = "*"
"""In a list of verbs: all of them."""

MOST_KEYS = 500
"""Keys of one gateway, the revoked ones included: each is looked for at every command."""


class KeyRole(StrEnum):
    """COMMANDS: signs orders. CENTRE: acknowledges and asks for messages; orders too, where it has verbs."""

    COMMANDS = "commands"
    CENTRE = "centre"


class Why(StrEnum):
    """Why a message from the centre moves nothing: the closed list that events, results and metrics have."""

    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_KEY = "unknown_key"
    KEY_REVOKED = "key_revoked"
    KEY_OUT_OF_TIME = "key_out_of_time"
    NO_RIGHT = "no_right"
    FOREIGN = "foreign"
    EXPIRED = "expired"
    EARLY = "early"
    RETAINED = "retained"
    KNOWN_ID = "known_id"
    KNOWN_COUNTER = "known_counter"
    SUPERSEDED = "superseded"
    CLOCK = "clock"
    NOT_SERVED = "not_served"
    NOT_PERMITTED = "not_permitted"
    SWITCHED_OFF = "switched_off"


@dataclass(frozen=True, slots=True)
class UplinkKey:
    """One public key. public: `x` of its JWK. holder: who has it; two keys of one holder are not two people.

    gateways, meters, accounts: empty for all; a name that ends in `*` is the beginning of names. verbs: which it may order. causes:
    of its cuts, empty for all. most: micro-units by verb, at most so much at once. from_ms, until_ms, revoked_ms: UTC ms.
    filed: it stands in the configuration.
    """

    kid: str
    public: str
    role: KeyRole = KeyRole.COMMANDS
    holder: str = ""
    gateways: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    meters: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    most: Mapping[str, int] | None = None
    created_ms: int = 0
    from_ms: int | None = None
    until_ms: int | None = None
    revoked_ms: int | None = None
    filed: bool = False

    @property
    def who(self) -> str:
        """How the audit log names whoever orders by it."""
        return f"uplink:{self.kid}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command asks for, as a key's scope is held against it. meters: all that it reaches. micro: money of it."""

    verb: str
    gateway: str
    meters: Sequence[str] = ()
    account: str | None = None
    cause: str | None = None
    micro: int | None = None


Refused = tuple[Why, str]


def in_force(key: UplinkKey, now_ms: int) -> Refused | None:
    """Why nothing that it signs counts at this moment."""
    if key.revoked_ms is not None:
        return Why.KEY_REVOKED, f"the key {key.kid} is revoked"
    if key.from_ms is not None and now_ms < key.from_ms:
        return Why.KEY_OUT_OF_TIME, f"the key {key.kid} is not in force yet"
    if key.until_ms is not None and now_ms >= key.until_ms:
        return Why.KEY_OUT_OF_TIME, f"the key {key.kid} is no longer in force"
    return None


def allows(key: UplinkKey, wanted: Wanted) -> Refused | None:
    """Why its scope does not reach so far; None when it does. A key bound to meters or accounts orders nothing of the whole gateway
    but a stop, and decides about nobody else's commands."""
    if ANY not in key.verbs and wanted.verb not in key.verbs:
        return Why.NO_RIGHT, f"the key {key.kid} may not order {wanted.verb}"
    if key.gateways and not among(wanted.gateway, key.gateways):
        return Why.NO_RIGHT, f"the key {key.kid} has no right to gateway {wanted.gateway}"
    bound = bool(key.meters or key.accounts)
    if bound and not wanted.meters and wanted.account is None and wanted.verb not in _OF_EACH:
        what = "of the gateway, or of what is about none of them"
        return Why.NO_RIGHT, f"the key {key.kid} is bound to meters or accounts and may not order {wanted.verb} {what}"
    for meter in wanted.meters if key.meters else ():
        if not among(meter, key.meters):
            return Why.NO_RIGHT, f"the key {key.kid} has no right to meter {meter}"
    if key.accounts and bound and wanted.verb not in _OF_EACH and not (wanted.account and among(wanted.account, key.accounts)):
        return Why.NO_RIGHT, f"the key {key.kid} has no right to this account"
    if wanted.cause is not None and key.causes and wanted.cause not in key.causes:
        return Why.NO_RIGHT, f"the key {key.kid} may not cut for {wanted.cause}"
    most = (key.most or {}).get(wanted.verb)
    if wanted.micro is not None and most is not None and wanted.micro > most:
        return Why.NO_RIGHT, f"the key {key.kid} may not move so much money at once by {wanted.verb}"
    return None


_OF_EACH = frozenset({"stop"})
"""A stop harms nobody. What cancels, releases or refuses is about a command, whose meter and account are asked for."""


def among(name: str, names: Sequence[str]) -> bool:
    """Whether it is one of them; one that ends in `*` is the beginning of names."""
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in names)
