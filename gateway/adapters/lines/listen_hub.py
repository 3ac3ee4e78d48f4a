"""One listening port for many lines: who calls is told apart by where it calls from and what it says first."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

from gateway.adapters.lines.tcp import Stream
from gateway.adapters.lines.transport import LineDown, Tell

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

REGISTRATION_S = 20.0
"""A modem has said who it is by then: several times the 3 s that a bad mobile connection takes one way."""

MOST_BEATS = 16
"""Heartbeats in one piece before a registration, many more than modems send; who sends more is kept from taking our time."""

MOST_STRANGERS = 128
"""Connections that have not said who they are, at once. Beyond, the oldest of the address that has most of them goes."""

ACCEPTS_AT_ONCE, ACCEPT_PAUSE_S = 4, 0.02
"""At most 200 connections a second are taken, which costs the other lines 2 % of a core; the rest wait in the kernel."""

BACKLOG = 128
"""Connections that the kernel keeps waiting: what it allows itself by tradition."""

NO_DESCRIPTORS_S = 1.0
"""Pause after the system had no descriptor left for a connection: asking at once again would only burn time."""

TELL_EVERY_S = 60.0
"""One kind of refusal is told so often at most; all are counted."""

SHOWN = 32
"""Bytes of an unknown registration that are shown: enough to write the right one down."""

UNACKNOWLEDGED_MS, KEEPALIVE_S = 15_000, 30
"""As for other connections (tcp.py), but mobile ones lose bytes for seconds, and their idle bytes are paid for."""


@dataclass(frozen=True, slots=True)
class Caller:
    """How the device of a line is known. sources: where it may call from. registration: its first bytes, empty for none.

    heartbeat: what it says so as not to be hung up on, empty for none; answer: what it wants to hear then, empty for nothing.
    """

    sources: tuple[Network, ...]
    registration: bytes = b""
    heartbeat: bytes = b""
    answer: bytes = b""


class Callee(Protocol):
    """A line that waits for its device to call."""

    @property
    def caller(self) -> Caller: ...

    def take(self, stream: Stream, rest: bytes) -> None:
        """Its device has called; rest: what it said behind its registration. From now on the stream is the line's."""


class Listener:
    """A listening port and its lines. turned_away counts the connections that were refused, by reason."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.turned_away: Counter[str] = Counter()
        self._lines: dict[Callee, Tell] = {}
        self._strangers: dict[_Stranger, None] = {}
        self._making: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._told_at: dict[str, float] = {}

    @property
    def name(self) -> str:
        return written(self.host, self.port)

    def join(self, line: Callee, tell: Tell) -> None:
        """Its device may call from now on. Raises LineDown when nobody can call here."""
        if self._socket is None:
            self._socket = self._listen()
            self._resume()
        self._lines.pop(line, None)
        self._lines = {line: tell, **self._lines}  # before one that was changed and is about to leave

    def leave(self, line: Callee) -> None:
        """Its device is turned away from now on; with the last line the port is let go."""
        self._lines.pop(line, None)
        if not self._lines:
            self.close()

    def close(self) -> None:
        """Stop listening."""
        if self._pause is not None:
            self._pause.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        for stranger in list(self._strangers):
            self._forget(stranger)

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listening = socket.create_server(
                (self.host, self.port), family=family, backlog=BACKLOG, dualstack_ipv6=self.host == "::"
            )
        except (OSError, ValueError) as error:
            code = getattr(error, "errno", None)
            raise LineDown(f"{self.name} cannot be listened on: {os.strerror(code) if code else error}.") from error
        listening.setblocking(False)
        self.port = listening.getsockname()[1]
        return listening

    def _resume(self) -> None:
        self._pause = None
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._accept, self._socket)

    def _accept(self, listening: socket.socket) -> None:
        pause_s = ACCEPT_PAUSE_S
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                pause_s = NO_DESCRIPTORS_S
                self._tell("system", f"{self.name} can take no connection: {error.strerror}.")
                break
            self._admit(sock, address[0])
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())
        self._pause = loop.call_later(pause_s, self._resume)

    def _admit(self, sock: socket.socket, address: str) -> None:
        host = ipaddress.ip_address(address)
        host = getattr(host, "ipv4_mapped", None) or host
        lines = [line for line in self._lines if any(host in network for network in line.caller.sources)]
        if not lines:
            sock.close()
            self._refuse("source", str(host), "no line there expects a call from that address")
            return
        loop = asyncio.get_running_loop()
        stranger = _Stranger(self, str(host), lines)
        stranger.alarm = loop.call_later(REGISTRATION_S, self.turn_away, stranger, "silent")
        self._strangers[stranger] = None
        making = loop.create_task(_make(sock, stranger.stream))
        self._making.add(making)
        making.add_done_callback(self._making.discard)
        if len(self._strangers) > MOST_STRANGERS:
            ((crowd, _),) = Counter(other.host for other in self._strangers).most_common(1)
            self.turn_away(next(other for other in self._strangers if other.host == crowd), "crowded")

    def recognised(self, stranger: _Stranger, line: Callee, rest: bytes) -> None:
        """It has said whose device it is."""
        self._strangers.pop(stranger, None)
        if stranger.alarm is not None:
            stranger.alarm.cancel()
        if line in self._lines:
            line.take(stranger.stream, rest)
        else:
            stranger.stream.abort()

    def turn_away(self, stranger: _Stranger, reason: str) -> None:
        """Hang up, count and tell."""
        words = {
            "silent": f"it did not say within {REGISTRATION_S:.0f} s which line's device it is",
            "crowded": f"more than {MOST_STRANGERS} connections had not said who they are",
            "gone": "it hung up before it said who it is",
            "unknown": f"no line there has a registration that begins like {_shown(stranger.said)}",
        }
        self._forget(stranger)
        self._refuse(reason, stranger.host, words[reason])

    def _forget(self, stranger: _Stranger) -> None:
        self._strangers.pop(stranger, None)
        if stranger.alarm is not None:
            stranger.alarm.cancel()
        stranger.stream.abort()

    def _refuse(self, reason: str, host: str, words: str) -> None:
        self.turned_away[reason] += 1
        self._tell(reason, f"{self.name} turned away a call from {host}: {words} ({self.turned_away[reason]} so far).")

    def _tell(self, reason: str, text: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told_at.get(reason, -TELL_EVERY_S) >= TELL_EVERY_S:
            self._told_at[reason] = now
            for tell in list(self._lines.values())[:1]:  # the text names the port; one line's log is enough
                tell(text)


class _Stranger:
    """A connection that has not said who it is."""

    def __init__(self, hub: Listener, host: str, lines: Sequence[Callee]) -> None:
        self.host, self.said = host, b""
        self.alarm: asyncio.TimerHandle | None = None
        self._hub, self._lines = hub, lines
        self.stream = Stream(
            self._hear,
            lambda why: hub.turn_away(self, "gone"),
            self._made,
            unacknowledged_ms=UNACKNOWLEDGED_MS,
            keepalive_s=KEEPALIVE_S,
        )

    def _made(self) -> None:
        if known := next((line for line in self._lines if not line.caller.registration), None):
            self._hub.recognised(self, known, b"")

    def _hear(self, data: bytes) -> None:
        self.said += data
        callers = [line.caller for line in self._lines]
        n, self.said = recognise(self.said, callers)
        if n is not None:
            self._hub.recognised(self, self._lines[n], self.said)
        elif self.said and not any(may_become(self.said, caller) for caller in callers):
            self._hub.turn_away(self, "unknown")


def recognise(said: bytes, callers: Sequence[Caller]) -> tuple[int | None, bytes]:
    """Which caller begins so, None while none does, and what stands behind its registration and heartbeats sent before it."""
    at = 0
    for _ in range(MOST_BEATS):
        for n, caller in enumerate(callers):
            if said.startswith(caller.registration, at):
                return n, said[at + len(caller.registration) :]
        if any(len(said) - at < len(c.registration) and c.registration.startswith(said[at:]) for c in callers):
            break
        beat = next((len(c.heartbeat) for c in callers if c.heartbeat and said.startswith(c.heartbeat, at)), 0)
        if not beat:
            break
        at += beat
    return None, said[at:]


def may_become(said: bytes, caller: Caller) -> bool:
    """Whether more bytes can still make it a registration or a heartbeat of this caller."""
    return caller.registration.startswith(said) or caller.heartbeat.startswith(said)


async def _make(sock: socket.socket, stream: Stream) -> None:
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: stream, sock)
    except OSError:  # it was gone before we looked
        sock.close()


def written(host: str, port: int) -> str:
    """An address as people write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _shown(said: bytes) -> str:
    return said[:SHOWN].hex(" ").upper() + (f" ({said[:SHOWN].decode()!r})" if said[:SHOWN].isascii() else "")


_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], Listener]] = WeakKeyDictionary()


def listener(host: str, port: int) -> Listener:
    """The one listener of this address: a port is the process's, whichever lines use it."""
    addresses = _listeners.setdefault(asyncio.get_running_loop(), {})
    return addresses.setdefault((host, port), Listener(host, port))


def close_listeners() -> None:
    """Stop listening everywhere, when the process ends."""
    for one in _listeners.pop(asyncio.get_running_loop(), {}).values():
        one.close()
