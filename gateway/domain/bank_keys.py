"""Keys of a partner's MACs that it has sent us: which one holds, and which one waits to be used for the first time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class KeyVerdict(StrEnum):
    """What became of a key that a partner sent. REPLAYED: it was sent before, and another has been sent since."""

    TAKEN = "taken"
    AGAIN = "again"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class SentKey:
    """wrapped: as it was sent, in hex, under the key of the zone. check: its check value, by which that zone's key is found."""

    wrapped: str
    check: str


@dataclass(frozen=True, slots=True)
class WorkingKeys:
    """What a partner has sent. base: which keys its file held then: once the file says otherwise, nothing here holds any more.

    used: the key that holds; None for those of the file. new: holds beside it until something comes that is sealed with it.
    number: rises with every change.
    """

    base: str
    used: SentKey | None = None
    new: SentKey | None = None
    number: int = 0


def offered(known: WorkingKeys | None, base: str, key: SentKey, seen: bool) -> tuple[KeyVerdict, WorkingKeys]:
    """A partner sends a key. seen: whether it ever sent this one. The key that holds goes on holding until `confirmed`."""
    keys = known if known is not None and known.base == base else WorkingKeys(base, number=known.number if known else 0)
    if key in (keys.used, keys.new):
        return KeyVerdict.AGAIN, keys
    if seen:
        return KeyVerdict.REPLAYED, keys
    return KeyVerdict.TAKEN, replace(keys, new=key, number=keys.number + 1)


def confirmed(keys: WorkingKeys, key: SentKey) -> WorkingKeys:
    """Something came sealed with `key`: if it is the one that waits, it holds from now on, and the one before no more."""
    return replace(keys, used=key, new=None, number=keys.number + 1) if key == keys.new else keys
