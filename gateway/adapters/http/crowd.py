"""Callers of a listener who have not agreed on TLS yet, and those it has turned away: bounded, counted, and said now and then."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable

MOST_HANDSHAKES = 128
"""Under way on one listener: each costs a descriptor and up to 256 KiB, 32 MiB in all. Banks come in dozens, and are done after two
round trips: a handful of honest ones is under way at a time."""

MOST_HANDSHAKES_OF_ONE = 32
"""Of them from one address: four such callers are needed before they touch anybody else's."""

REASONS = ("handshakes", "tls", "idle", "full")
"""Why a connection was turned away: its handshake gave way to another's, or failed; it was idle and gave way, or found no room."""

NOTE_EVERY_S = 60.0
"""The same thing about connections is said once in this time: a flood of them must not become one in the log. All are counted."""


class TurnedAway:
    """Connections that were refused or ended for others, by reason. tell: of each reason (why, peer), once in NOTE_EVERY_S."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell, self._said_s = tell, dict[str, float]()
        self.counted = Counter[str]()

    def count(self, why: str, peer: str) -> None:
        """One more."""
        self.counted[why] += 1
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_s.get(why, -NOTE_EVERY_S) >= NOTE_EVERY_S:
            self._said_s[why] = now_s
            self._tell(why, peer)


class Handshakes:
    """Sockets with a handshake under way. Where there is no room, the oldest of the address that has most gives way to a new one:
    an honest one is done before its turn comes. ended: told of the peer of each that gave way. most, most_of_one: in all, and from
    one address."""

    def __init__(
        self, ended: Callable[[str], None], most: int = MOST_HANDSHAKES, most_of_one: int = MOST_HANDSHAKES_OF_ONE
    ) -> None:
        self._ended, self._most, self._most_of_one = ended, most, most_of_one
        self._open: dict[socket.socket, str] = {}

    def begin(self, call: socket.socket, peer: str) -> None:
        """A handshake begins, whatever else has to end for it."""
        of = Counter(self._open.values())
        if of[peer] >= self._most_of_one:
            self._end(peer)
        elif of.total() >= self._most:
            self._end(max(of, key=lambda each: of[each]))
        self._open[call] = peer

    def over(self, call: socket.socket) -> bool:
        """It has succeeded or failed by itself; False where it had to give way."""
        return self._open.pop(call, None) is not None

    def end(self) -> None:
        """All of them end."""
        while self._open:
            hang_up(self._open.popitem()[0])

    def _end(self, peer: str) -> None:
        oldest = next(call for call, of in self._open.items() if of == peer)
        del self._open[oldest]
        self._ended(peer)
        hang_up(oldest)


def hang_up(call: socket.socket) -> None:
    """End a connection that a transport has: the transport sees it, and closes it."""
    with contextlib.suppress(OSError):
        call.shutdown(socket.SHUT_RDWR)
