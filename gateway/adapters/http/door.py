"""Takes calls of a TLS listener, with bounds on handshakes that the event loop's own server knows none of."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from gateway.adapters.http.crowd import Handshakes, TurnedAway

TAKEN_AT_ONCE = 16
"""Calls, before those that were taken get a turn: in a storm what is under way goes on."""

GOODBYE_WITHIN_S = 5.0
"""Of TLS: who does not answer ours by then is hung up on."""

TAKE_AGAIN_S = 1.0
"""After the machine had no room for a connection (no descriptors left)."""


class Door:
    """From the constructor on until `close`, which ends handshakes and leaves the socket. make: of each connection, once its
    handshake is done. within_s: in which that has to be."""

    def __init__(
        self,
        bound: socket.socket,
        context: ssl.SSLContext,
        within_s: float,
        make: Callable[[], asyncio.Protocol],
        turned_away: TurnedAway,
    ) -> None:
        self._bound, self._context, self._within_s, self._make, self._turned_away = bound, context, within_s, make, turned_away
        self._handshakes = Handshakes(lambda peer: turned_away.count("handshakes", peer))
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        self._open()

    def close(self) -> None:
        """No call is taken any more."""
        if self._again is not None:
            self._again.cancel()
        elif self._bound.fileno() != -1:
            self._loop.remove_reader(self._bound)
        self._handshakes.end()

    async def wait_closed(self) -> None:
        """Until the last handshake has ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _open(self) -> None:
        self._again = None
        self._loop.add_reader(self._bound, self._take)

    def _take(self) -> None:
        for _ in range(TAKEN_AT_ONCE):
            try:
                call, address = self._bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._bound)
                self._again = self._loop.call_later(TAKE_AGAIN_S, self._open)
                return
            call.setblocking(False)
            self._handshakes.begin(call, str(address[0]))
            task = self._loop.create_task(self._agree(call, str(address[0])))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _agree(self, call: socket.socket, peer: str) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._make, call, ssl=self._context, ssl_handshake_timeout=self._within_s, ssl_shutdown_timeout=GOODBYE_WITHIN_S
            )
        except OSError:  # an SSLError and a TimeoutError are ones
            call.close()
            if self._handshakes.over(call):
                self._turned_away.count("tls", peer)
        finally:
            self._handshakes.over(call)
