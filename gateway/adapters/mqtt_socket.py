"""A socket under the MQTT client that takes many packets in one system call.

Reason: the client library reads a packet in three calls and writes each in one of its own, and in each the store's threads may take
Python's lock away; a drain is a quarter slower for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client

MOST = 65_536
"""Bytes taken or given at once; one look of the loop brings no more."""

AGAIN_S = 0.005
"""Between two tries to hand on what the full socket did not take; meanwhile nothing more is accepted."""


class Joined:
    """The socket as the client library wants it, for one event loop; what is sent leaves before the loop turns again."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._records = sock.pending if isinstance(sock, ssl.SSLSocket) else None
        self._came, self._at, self._dry = b"", 0, False
        self._leaving = bytearray()
        self._flushing: asyncio.Handle | None = None
        self.fileno: Callable[[], int] = sock.fileno
        self.setblocking: Callable[[bool], None] = sock.setblocking

    def pending(self) -> int:
        """Bytes that are here already; no readiness of the socket tells of them."""
        return len(self._came) - self._at + (self._records() if self._records else 0)

    def recv(self, most: int) -> bytes:
        """At most so many bytes, b"" at the end; BlockingIOError (or SSLWantReadError) where there is nothing now."""
        if self._at == len(self._came):
            if self._dry:  # the last call took all there was: the loop tells of more
                self._dry = False
                raise BlockingIOError
            self._came, self._at = self._sock.recv(MOST), 0
            self._dry = self._records is None and 0 < len(self._came) < MOST
        part = self._came[self._at : self._at + most]
        self._at += len(part)
        return part

    def send(self, packet: bytes) -> int:
        """Takes a whole packet; BlockingIOError while an earlier one could not leave."""
        if len(self._leaving) >= MOST:
            self._push()
            if self._leaving:
                raise BlockingIOError
        self._leaving += packet
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self._flush)
        return len(packet)

    def close(self) -> None:
        """Gives what is left a last chance, as the packet that takes leave."""
        if self._flushing is not None:
            self._flushing.cancel()
        with contextlib.suppress(OSError):  # the other end is gone: the client knows, or need not
            self._push()
        self._sock.close()

    def _flush(self) -> None:
        self._flushing = None
        try:
            self._push()
        except OSError:
            return  # reading tells the client of it
        if self._leaving:
            self._flushing = asyncio.get_running_loop().call_later(AGAIN_S, self._flush)

    def _push(self) -> None:
        """Hands on as much as the socket takes."""
        try:
            while self._leaving:
                del self._leaving[: self._sock.send(self._leaving)]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return


def join(client: Client) -> None:
    """Makes the client use such sockets from its next connection on."""
    opened: Any = client._create_socket  # there is no public way to give it one
    client._create_socket = lambda: Joined(opened())  # type: ignore[method-assign, assignment, return-value]
