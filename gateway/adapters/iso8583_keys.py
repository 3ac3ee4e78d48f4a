"""Keys of MACs that a partner sends over its line (0800, key exchange), above those of its file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.domain.bank_keys import KeyVerdict, SentKey, WorkingKeys
from protocols.bank.iso8583 import Message
from protocols.bank.iso8583_meaning import new_key
from protocols.bank.iso8583_table import Dialect
from protocols.bank.keywrap import check_value, unwrap

CHECK_DIGITS = 6
"""Of the check value that is kept beside a key, by which the key of the zone that opens it is found."""


@dataclass(frozen=True, slots=True)
class KeyUseCases:
    """What is remembered of a partner's keys, durably once they return. take: of the file's base and the key. Raise Unavailable."""

    take: Callable[[str, SentKey], Awaitable[tuple[KeyVerdict, WorkingKeys]]]
    confirm: Callable[[SentKey], Awaitable[WorkingKeys | None]]


class WrongKey(ValueError):
    """A key that cannot be taken, in one sentence."""


class SentKeys:
    """The keys of one partner. of_file, zone: those of its files, asked for anew each time; known: what is remembered."""

    def __init__(
        self,
        dialect: Dialect,
        of_file: Callable[[], Sequence[bytes]],
        zone: Callable[[], Sequence[bytes]],
        cases: KeyUseCases,
        known: WorkingKeys | None,
    ) -> None:
        self._dialect, self._of_file, self._zone, self._cases = dialect, of_file, zone, cases
        self._known = known
        self._based: tuple[tuple[bytes, ...], str] = ((), "")
        self.counted = Counter[str]()

    def valid(self) -> Sequence[bytes]:
        """What a message may be sealed with, the key in use first; none where no zone's key opens it any more."""
        known = self._known
        if known is None or known.base != self._base():
            return self._of_file()
        used = list(self._of_file()) if known.used is None else [self._open(known.used)]
        return [key for key in (*used, None if known.new is None else self._open(known.new)) if key is not None]

    def brought(self, message: Message) -> tuple[SentKey, bytes]:
        """The key in a message, wrapped and open. BadMessage, or WrongKey where its check value is another's."""
        wrapped, check = new_key(self._dialect, message)
        for zone in self._zone() if check else self._zone()[:1]:
            key = self._unwrapped(zone, wrapped)
            found = check_value(self._dialect.mac, key)
            if found.startswith(check):
                return SentKey(wrapped.hex(), found[:CHECK_DIGITS]), key
        raise WrongKey("its check value is not that of the key which our zone's key finds in it")

    async def take(self, key: SentKey, opened: bytes) -> bool:
        """Whether the key that was brought holds from now on, beside the one in use; False for one of before, or of the file."""
        if opened in self._of_file():
            self.counted[KeyVerdict.REPLAYED.value] += 1
            return False
        verdict, known = await self._cases.take(self._base(), key)
        self._learn(known)
        self.counted[verdict.value] += 1
        return verdict is not KeyVerdict.REPLAYED

    async def used(self, key: bytes) -> None:
        """Something came that is sealed with this key: once this returns, a new one alone holds."""
        waits = None if self._known is None else self._known.new
        if waits is not None and self._open(waits) == key:
            known = await self._cases.confirm(waits)
            if known is not None:
                self._learn(known)
                self.counted["confirmed"] += 1

    def _learn(self, known: WorkingKeys) -> None:
        """Answers of the store may overtake each other on their way here."""
        if self._known is None or known.number >= self._known.number:
            self._known = known

    def _open(self, sent: SentKey) -> bytes | None:
        for zone in self._zone():
            key = self._unwrapped(zone, bytes.fromhex(sent.wrapped))
            if check_value(self._dialect.mac, key).startswith(sent.check):
                return key
        return None

    def _unwrapped(self, zone: bytes, wrapped: bytes) -> bytes:
        assert self._dialect.key is not None
        return unwrap(self._dialect.key.wrapped, zone, wrapped)

    def _base(self) -> str:
        """Tells one set of the file's keys from another. Slow to make, so that what is kept of a DES key is no way to it."""
        keys = tuple(self._of_file())
        if keys != self._based[0] or not self._based[1]:
            digest = hashlib.scrypt(b"".join(keys), salt=self._dialect.name.encode(), n=1 << 14, r=8, p=1, dklen=8)
            self._based = keys, digest.hex()
        return self._based[1]
