"""Reads for an MQTT client only while there is room for what comes: the broker then waits, whatever it was asked to keep to.

Reason: the client library drops what its queue does not take, unacknowledged; the broker (Mosquitto 2.0 sends more than the receive
maximum) holds that to be under way until the connection ends, and its window fills up for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiomqtt import Client

from gateway.adapters.mqtt_socket import Joined


class Intake:
    """One connection's. room: messages that may wait, here or, by `waiting`, further on; a look at the socket may bring some
    hundreds more."""

    def __init__(self, client: Client, room: int, waiting: Callable[[], int]) -> None:
        self._client, self._room, self._further = client, room, waiting
        self._socket = client._client.socket()
        self._stopped = False
        if isinstance(self._socket, Joined):  # it may be gone already
            asyncio.get_running_loop().add_reader(self._socket, self._read)  # instead of the client library's own

    def go_on(self) -> None:
        """To be called when a message was done with."""
        if not self._stopped or self._waiting() > self._room // 2:
            return
        self._stopped, sock = False, self._client._client.socket()
        if isinstance(sock, Joined) and sock is self._socket:
            asyncio.get_running_loop().add_reader(sock, self._read)
            self._read()  # of what it has taken already no readiness tells

    def _waiting(self) -> int:
        return self._client._queue.qsize() + self._further()

    def _read(self) -> None:
        paho = self._client._client
        try:
            while True:
                paho.loop_read()
                sock = paho.socket()
                if not isinstance(sock, Joined):
                    return
                if self._waiting() >= self._room:
                    self._stopped = True
                    asyncio.get_running_loop().remove_reader(sock)
                    return
                if sock.pending() <= 0:
                    return
        except Exception as failed:
            if not self._client._disconnected.done():
                self._client._disconnected.set_exception(failed)
