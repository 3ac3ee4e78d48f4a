"""TCP listeners for partners that speak ISO 8583: connections, frames and their bounds; what is said is iso8583_partner's."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.adapters.http.server import ListenError
from gateway.adapters.iso8583_partner import Partner
from protocols.bank.iso8583 import BadMessage, Deframer, frame

FRAME_WITHIN_S = 10.0
"""A message that has begun is whole by then: a peer that dribbles holds a connection for nothing."""

WRITE_WITHIN_S = 10.0
"""A peer that does not take its answers is no partner any more; it will ask again on another connection."""

IN_FLIGHT = 64
"""Messages of one connection that wait for their answers: so many share a commit, and beyond it nothing more is read."""

BACKLOG = 16
"""Connections that wait in the kernel; a partner has two."""

CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partner is waited for. peers: networks it may call from. most: connections at once; idle_s: silence that ends one."""

    host: str
    port: int
    peers: Sequence[str]
    most: int
    idle_s: float


class IsoListener:
    """One partner's port, bound from the constructor on; `serve` answers until it is cancelled. Raises ListenError."""

    def __init__(self, place: Place, partner: Partner, note: Callable[[str, str], None] = lambda event, peer: None) -> None:
        """note: told what ended or refused a connection, by a word and the peer's address."""
        self._place, self.partner, self._note = place, partner, note
        self._peers = [ipaddress.ip_network(each) for each in place.peers]
        self._socket = _bind(place.host, place.port)
        self._open: set[asyncio.Task[None]] = set()
        self.port = int(self._socket.getsockname()[1])

    @property
    def accepting(self) -> bool:
        """Whether calls are taken."""
        return self._socket.fileno() != -1

    async def serve(self) -> None:
        """Answers until cancelled; connections end with it."""
        server = await asyncio.start_server(self._serve, sock=self._socket, backlog=BACKLOG, limit=CHUNK)
        try:
            await server.serve_forever()
        finally:
            server.close()
            for each in list(self._open):
                each.cancel()
            self._socket.close()

    def close(self) -> None:
        """Give the port back, of a listener that never served."""
        self._socket.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = str((writer.get_extra_info("peername") or ("?",))[0])
        try:
            if not self._known(peer):
                self._note("iso8583_stranger", peer)
            elif len(self._open) >= self._place.most:
                self._note("iso8583_full", peer)
            else:
                self._open.add(task)
                await _Connection(reader, writer, self.partner, self._place.idle_s).run()
        except asyncio.CancelledError:
            pass  # the listener ends, and so does this task; asyncio would log a cancelled connection as an error
        finally:
            self._open.discard(task)
            writer.transport.abort()

    def _known(self, peer: str) -> bool:
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(peer.partition("%")[0])
            mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
            return any((mapped or address) in network for network in self._peers)
        return False


class _Connection:
    """Messages are judged side by side, so that many share one commit; answers may overtake each other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, partner: Partner, idle_s: float) -> None:
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
                    data = await asyncio.wait_for(self._reader.read(CHUNK), max(0.0, left_s))
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
        for message in found:
            await self._room.acquire()
            answers.create_task(self._answer(message))
        return bool(found)

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
