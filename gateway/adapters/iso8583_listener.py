"""TCP listeners for partners that speak ISO 8583: connections, TLS, frames and their bounds; what is said is iso8583_partner's."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.adapters.http.crowd import NOTE_EVERY_S, Handshakes, hang_up
from gateway.adapters.http.server import ListenError, names_in
from gateway.adapters.http.status import PartnerStatus
from gateway.adapters.http.tls import RenewedContext, Tls
from gateway.adapters.iso8583_partner import Partner
from protocols.bank.iso8583 import BadMessage, Deframer, frame

FRAME_WITHIN_S = 10.0
"""A message that has begun is whole by then: a peer that dribbles holds a connection for nothing."""

HANDSHAKE_WITHIN_S = 10.0
"""TLS is agreed on by then, for the same reason."""

MOST_HANDSHAKES, MOST_HANDSHAKES_OF_ONE = 32, 8
"""Of TLS, under way on one port: in all, and from one address. A partner has two connections; the oldest handshake gives way to a
new one, and those who never end theirs take none of the partner's places."""

UNHEARD_WITHIN_S = 10.0
"""Where all places are taken, a connection that has sent no whole message by then gives its own to a new one; at once to one from
an address that has fewer."""

WRITE_WITHIN_S = 10.0
"""A peer that does not take its answers is no partner any more; it will ask again on another connection."""

IN_FLIGHT = 64
"""Messages of one connection that wait for their answers: so many share a commit, and beyond it nothing more is read."""

BACKLOG = 16
"""Connections that wait in the kernel; a partner has two."""

CHUNK = 65_536

SLOWER_S = 0.05
"""Whoever sends more than was agreed is read more slowly, on all its connections: so often it is looked whether there is room.
No message is refused for that, least of all a reversal."""

ACCEPT_AGAIN_S = 1.0
"""After the machine had no room for a connection (no descriptors left)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partner is waited for. peers: networks it may call from. most: connections at once; idle_s: silence that ends one.

    tls: what secures it. name: that a partner's certificate has to show, any that tls.client_ca vouches for where it is empty.
    """

    host: str
    port: int
    peers: Sequence[str]
    most: int
    idle_s: float
    tls: Tls | None = None
    name: str = ""


class IsoListener:
    """One partner's port, bound from the constructor on; `serve` answers until it is cancelled. Raises ListenError."""

    def __init__(self, place: Place, partner: Partner, note: Callable[[str, str], None] = lambda event, peer: None) -> None:
        """note: told what ended or refused a connection, by a word and the peer's address, now and then (NOTE_EVERY_S)."""
        self._place, self.partner, self._tell = place, partner, note
        self._context = None if place.tls is None else _context(place)
        self._peers = [ipaddress.ip_network(each) for each in place.peers]
        self._socket = _bind(place.host, place.port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: list[_Session] = []
        self._handshakes = Handshakes(partial(self._refuse, "handshakes"), MOST_HANDSHAKES, MOST_HANDSHAKES_OF_ONE)
        self._said_s: dict[str, float] = {}
        self._calls, self._turned_away = 0, Counter[str]()
        self.port = int(self._socket.getsockname()[1])

    @property
    def accepting(self) -> bool:
        """Whether calls are taken."""
        return self._socket.fileno() != -1

    def status(self) -> PartnerStatus:
        """What this port has seen since the start."""
        return self.partner.status(len(self._open), self._calls, dict(self._turned_away))

    async def serve(self) -> None:
        """Answers until cancelled; connections end with it."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    call, address = await loop.sock_accept(self._socket)
                except OSError:
                    await asyncio.sleep(ACCEPT_AGAIN_S)
                    continue
                self._take(call, str(address[0]))
                await asyncio.sleep(0)  # in a storm those that were taken get their turn too
        finally:
            for each in list(self._tasks):
                each.cancel()
            self._socket.close()

    def close(self) -> None:
        """Give the port back, of a listener that never served."""
        self._socket.close()

    def _take(self, call: socket.socket, peer: str) -> None:
        """Before a byte is read: whoever may not call, or is one too many, costs nothing but this."""
        session = None
        if not self._known(peer):
            self._refuse("stranger", peer)
            call.close()
            return
        if self._context is not None:
            self._handshakes.begin(call, peer)
        elif (session := self._enter(call, peer)) is None:
            call.close()
            return
        self._calls += 1
        task = asyncio.ensure_future(self._serve(call, peer, session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _enter(self, call: socket.socket, peer: str) -> _Session | None:
        """One of the partner's places; None where all of them are held by others with a right to them."""
        now_s = asyncio.get_running_loop().time()
        if len(self._open) >= self._place.most:
            of = Counter(each.peer for each in self._open)
            unheard = [each for each in self._open if not each.heard]
            late = (each for each in unheard if of[each.peer] > of[peer] + 1 or now_s - each.since_s > UNHEARD_WITHIN_S)
            gone = next(late, None)
            self._refuse("full", peer if gone is None else gone.peer)
            if gone is None:
                return None
            self._open.remove(gone)
            hang_up(gone.call)
        session = _Session(call, peer, now_s)
        self._open.append(session)
        return session

    async def _serve(self, call: socket.socket, peer: str, session: _Session | None) -> None:
        """session: of a connection without TLS; others get theirs once the handshake is done."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=CHUNK)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, call, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_WITHIN_S if self._context else None
            )
        except OSError as problem:  # an SSLError and a TimeoutError are ones
            call.close()
            self._leave(session)
            if self._handshakes.over(call):
                self._refuse("tls", peer, f": {getattr(problem, 'reason', None) or problem}")
            return
        finally:
            self._handshakes.over(call)
        try:
            if self._place.name and self._place.name not in names_in(transport.get_extra_info("peercert")):
                self._refuse("certificate", peer, ": its certificate is another's")
            elif session is not None or (session := self._enter(call, peer)) is not None:
                writer = asyncio.StreamWriter(transport, protocol, reader, loop)
                await _Connection(reader, writer, self.partner, self._place.idle_s, session).run()
        finally:
            self._leave(session)
            transport.abort()

    def _leave(self, session: _Session | None) -> None:
        if session in self._open:
            self._open.remove(session)

    def _refuse(self, why: str, peer: str, more: str = "") -> None:
        self._turned_away[why] += 1
        self._note(f"iso8583_{why}{more}", peer)

    def _note(self, event: str, peer: str) -> None:
        now_s, word = asyncio.get_running_loop().time(), event.partition(":")[0]
        if now_s - self._said_s.get(word, -NOTE_EVERY_S) >= NOTE_EVERY_S:
            self._said_s[word] = now_s
            self._tell(event, peer)

    def _known(self, peer: str) -> bool:
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(peer.partition("%")[0])
            mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
            return any((mapped or address) in network for network in self._peers)
        return False


@dataclass(slots=True, eq=False)
class _Session:
    """A connection that has one of the partner's places. heard: whether it has sent a whole message."""

    call: socket.socket
    peer: str
    since_s: float
    heard: bool = False


class _Connection:
    """Messages are judged side by side, so that many share one commit; answers may overtake each other."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, partner: Partner, idle_s: float, session: _Session
    ) -> None:
        self._session = session
        self._reader, self._writer, self._partner, self._idle_s = reader, writer, partner, idle_s
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._turn = asyncio.Lock()
        self._broken = False

    async def run(self) -> None:
        """Until the peer ends it or breaks its bounds; what was asked before that is still answered."""
        frames = Deframer(self._partner.dialect)
        loop = asyncio.get_running_loop()
        begun_s: float | None = None
        async with asyncio.TaskGroup() as answers:
            while True:
                left_s = self._idle_s if begun_s is None else begun_s + FRAME_WITHIN_S - loop.time()
                try:
                    async with asyncio.timeout(max(0.0, left_s)):
                        data = await self._reader.read(CHUNK)
                except (TimeoutError, OSError):
                    return
                if not data:
                    return
                found = True
                while found and not self._broken:
                    found = await self._take(frames, data, answers)
                    data = b""
                    begun_s = None if found else begun_s
                if self._broken:
                    return
                begun_s = None if not frames.pending else loop.time() if begun_s is None else begun_s

    async def _take(self, frames: Deframer, data: bytes, answers: asyncio.TaskGroup) -> bool:
        """Begin to answer what is whole; whether there was anything. A length that no message has is the end of all."""
        try:
            found = frames.feed(data)
        except BadMessage:
            self._broken = True
            return False
        self._session.heard |= bool(found)
        for message in found:
            await self._at_its_rate()
            await self._room.acquire()
            answers.create_task(self._answer(message))
        return bool(found)

    async def _at_its_rate(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._partner.too_fast(loop.time()):
                return
            await asyncio.sleep(SLOWER_S)

    async def _answer(self, message: bytes) -> None:
        try:
            answer = await self._partner.answer(message)
            if answer is None or self._writer.is_closing():
                return
            async with self._turn, asyncio.timeout(WRITE_WITHIN_S):
                self._writer.write(frame(self._partner.dialect, answer))
                await self._writer.drain()
        except (OSError, TimeoutError):
            self._writer.transport.abort()  # whoever does not take his answer asks again
        finally:
            self._room.release()


def _context(place: Place) -> RenewedContext:
    assert place.tls is not None
    try:
        return RenewedContext.of(place.tls)
    except (OSError, ValueError) as problem:
        raise ListenError(f"{place.host}:{place.port} cannot be secured by {place.tls.certificate}: {problem}") from None


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        taken = socket.socket(family, socket.SOCK_STREAM)
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((host, port))
            taken.listen(BACKLOG)
            taken.setblocking(False)
        except OSError:
            taken.close()
            raise
    except OSError as problem:
        raise ListenError(f"{host}:{port} cannot be listened on for ISO 8583: {problem.strerror or problem}") from None
    return taken
