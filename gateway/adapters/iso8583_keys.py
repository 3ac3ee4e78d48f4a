"""Keys of MACs that a partner sends over its line (0800, key exchange), above those of its file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.domain.bank_keys import KeyVerdict, SentKey, WorkingKeys
from gateway.services.ports import Unavailable
from protocols.bank.iso8583 import Message
from protocols.bank.iso8583_meaning import new_key
from protocols.bank.iso8583_table import Dialect
from protocols.bank.keywrap import check_value, unwrap

CHECK_DIGITS = 6
"""Of the check value that is kept beside a key, by which the key of the zone that opens it is found."""


@dataclass(frozen=True, slots=True)
class KeyUseCases:
    """What is remembered of a partner's keys, durably once they return. Raise Unavailable.

    take: of the file's base, the key, and whether it came under a right MAC. right: one is, the first since a restore. lost: one
    is not, and whether the next key that is sent would be taken.
    """

    take: Callable[[str, SentKey, bool], Awaitable[tuple[KeyVerdict, WorkingKeys]]]
    confirm: Callable[[SentKey], Awaitable[WorkingKeys | None]]
    lost: Callable[[bool], Awaitable[None]]
    right: Callable[[], Awaitable[None]]


class WrongKey(ValueError):
    """A key that cannot be taken, in one sentence."""


class SentKeys:
    """The keys of one partner. of_file, zone: those of its files, asked for anew each time; known: what is remembered.

    rolled_back: by the restore of a backup, perhaps: until a MAC is right. lost: one was wrong meanwhile.
    """

    def __init__(
        self,
        dialect: Dialect,
        of_file: Callable[[], Sequence[bytes]],
        zone: Callable[[], Sequence[bytes]],
        cases: KeyUseCases,
        known: WorkingKeys | None,
        rolled_back: bool = False,
    ) -> None:
        self._rolled_back, self.lost = rolled_back, False
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

    @property
    def forgiving(self) -> bool:
        """Whether a key is taken under a MAC that nobody here can check, because a restore took the partner's key back.

        Until a MAC is right, and where the check value is long enough to show that it comes from who has the zone's key.
        """
        form = self._dialect.key
        return self._rolled_back and form is not None and not form.by_new and form.check >= CHECK_DIGITS

    async def wrong(self) -> None:
        """A MAC was wrong, or missing."""
        if self._rolled_back and not self.lost:
            self.lost = True
            try:
                form = self._dialect.key
                await self._cases.lost(self.forgiving or (form is not None and form.by_new))
            except Unavailable:
                self.lost = False
                raise

    async def take(self, key: SentKey, opened: bytes, sealed: bool = True) -> bool:
        """Whether the key that was brought holds from now on, beside the one in use; False for one of before, or of the file."""
        if opened in self._of_file():
            self.counted[KeyVerdict.REPLAYED.value] += 1
            return False
        verdict, known = await self._cases.take(self._base(), key, sealed)
        self._learn(known)
        self.counted[verdict.value] += 1
        return verdict is not KeyVerdict.REPLAYED

    async def used(self, key: bytes) -> None:
        """Something came that is sealed with this key: once this returns, a new one alone holds."""
        if self._rolled_back:
            await self._cases.right()
            self._rolled_back = self.lost = False
        waits = None if self._known is None else self._known.new
        if waits is not None and self._open(waits) == key:
            known = await self._cases.confirm(waits)
            if known is not None and self._learn(known):  # several messages under it may be on their way at once
                self.counted["confirmed"] += 1

    def _learn(self, known: WorkingKeys) -> bool:
        """Whether it is news. Answers of the store may overtake each other on their way here."""
        if self._known is not None and known.number <= self._known.number:
            return False
        self._known = known
        return True

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
