"""uvicorn inside our own loop: the port is taken before anything starts, and what uvicorn says by itself is bounded and ours."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.adapters.http.crowd import TurnedAway
from gateway.adapters.http.door import Door
from gateway.adapters.http.problems import Problem, unavailable
from gateway.adapters.http.tls import RenewedContext, Tls

log = structlog.get_logger()

BACKLOG = 256
"""Connections that wait in the kernel; banks come in dozens, not thousands."""

MOST_CONNECTIONS = 512
"""Open connections of one listener; each costs a file descriptor and some kilobytes. One more takes the place of an idle one."""

MOST_OF_ONE = MOST_CONNECTIONS // 2
"""Of them from one address, so that none has them all; a proxy in front of many banks needs no more either."""

MOST_TOLD = 64
"""Of those who found no room, how many are told so at a time; the others are hung up on: a goodbye takes a connection too."""

MOST_HEAD_BYTES = 16 * 1024
"""Request line and headers together; signatures and tokens need about two kilobytes."""

HEAD_WITHIN_S = 10.0
"""A connection that has not sent its whole head by then is closed: it holds a place for nothing."""

REST_WITHIN_S = 10.0
"""For a body that was answered before it was all here: nobody wants the rest, and it must not hold the connection."""

TAKEN_WITHIN_S = 60.0
"""Who does not take what we send holds a request's place: 64 KiB in a minute is slower than any line to a bank."""

HANDSHAKE_WITHIN_S = 10.0
"""Of TLS; until it is done a connection is one of crowd.MOST_HANDSHAKES."""

CLIENT_NAMES = "client_names"
"""In an ASGI scope's `state`: the names in the certificate that the client of a TLS listener has shown."""

KEEP_ALIVE_S = 30
"""An idle connection stays this long, so that a bank that pays every few seconds keeps its own."""


class ListenError(Exception):
    """The address cannot be listened on; one sentence that says what to do."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Listener:
    """One HTTP listener. The port is bound and held from the constructor on; `serve` answers until `stop`.

    app: an ASGI application. port 0 takes a free one, see `port`. before_stop: called first on stop, to end open streams. tls: what
    secures it. name: in log and metrics. Raises ListenError.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        before_stop: Callable[[], None] | None = None,
        tls: Tls | None = None,
        name: str = "http",
    ) -> None:
        context = None if tls is None else _context(tls)
        self.name = name
        self.app, self._socket, self._scheme = app, _bind(host, port), "http" if tls is None else "https"
        self._before_stop = before_stop
        config = uvicorn.Config(
            app,
            loop="none",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
        )
        config.load()
        config.ssl = context
        self._turned_away = TurnedAway(lambda why, peer: log.warning("turned_away", listener=name, why=why, peer=peer))
        self._server = _Server(config, self._turned_away)
        self.host, self.port = host, int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)
        return f"{self._scheme}://{host}:{self.port}"

    @property
    def turned_away(self) -> Mapping[str, int]:
        """Connections since the start by what ended them, of crowd.REASONS."""
        return dict(self._turned_away.counted)

    @property
    def accepting(self) -> bool:
        """Whether calls are taken: the port is ours, and nobody has asked to end."""
        return self._socket.fileno() != -1 and not self._server.should_exit

    async def serve(self) -> None:
        """Answers until `stop` was called or the task is cancelled; open requests get one second to end."""
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self.close()

    def stop(self) -> None:
        """Ask `serve` to end."""
        if self._before_stop is not None:
            self._before_stop()
        self._server.should_exit = True

    def close(self) -> None:
        """Give the port back; for a listener that never served or whose task was cancelled."""
        for server in getattr(self._server, "servers", ()):
            server.close()
        for connection in list(self._server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        self._socket.close()


def _context(tls: Tls) -> RenewedContext:
    try:
        return RenewedContext.of(tls)
    except (OSError, ValueError):  # an SSLError is an OSError
        raise ListenError("; ".join(tls.faults()) or f"TLS with {tls.certificate} cannot be used") from None


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError, OverflowError):
        raise ListenError(f"cannot listen on {host}: this machine knows no such address") from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except (OSError, OverflowError) as error:
        bound.close()
        raise ListenError(_why(host, port, error)) from None
    return bound


def _why(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop the program that has it, or choose another port"
    if isinstance(error, PermissionError):
        return f"port {port} on {host} needs more rights: choose a port from 1024 on"
    return f"cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}"


def _head_too_large() -> Problem:
    return Problem("too_large", f"a request line with its headers may have at most {MOST_HEAD_BYTES} bytes", status=431)


class _Server(uvicorn.Server):
    """Signals belong to the program, not to a listener."""

    def __init__(self, config: uvicorn.Config, turned_away: TurnedAway) -> None:
        super().__init__(config)
        self._turned_away = turned_away

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's on a socket that is bound, and with bounds on handshakes, which it knows none for."""
        loop, context = asyncio.get_running_loop(), self.config.ssl
        self.servers = [
            await loop.create_server(self._protocol, sock=each, backlog=BACKLOG)
            if context is None
            else Door(each, context, HANDSHAKE_WITHIN_S, self._protocol, self._turned_away)  # type: ignore[misc]  # is what uvicorn needs
            for each in sockets or ()
        ]
        self.started = True

    def _protocol(self) -> _Protocol:
        made = _Protocol(config=self.config, server_state=self.server_state, app_state={})
        made.turned_away = self._turned_away
        return made


def names_in(certificate: object) -> frozenset[str]:
    """The DNS names and common names of a client's certificate, as the ssl module gives it."""
    if not isinstance(certificate, dict):
        return frozenset()
    names = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    names |= {value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"}
    return frozenset(names)


class _Protocol(HttpToolsProtocol):
    """uvicorn's parser with bounds on connections, heads and patience; what it refuses is a problem document too."""

    turned_away: TurnedAway
    _counted = True
    _head_bytes = 0
    _in_head = True
    _too_large = False
    _patience: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None
    _names: frozenset[str] | None = None
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._names = names_in(transport.get_extra_info("peercert"))
        self._idle_since = self.loop.time()
        if (most := self._crowded()) and not self._make_room(most):
            self._refuse(most)
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        self._taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        if self._patience is None and self._in_head:
            self._expect_head()
        super().data_received(data)
        if self._in_head and self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._answer(_head_too_large())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what comes behind a body in chunks counts as no head, and would have no bound
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._calm()
        self._in_head = False
        self._head_bytes = 0
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MOST_HEAD_BYTES:
            self._too_large = True
            raise ValueError("the head is too large")
        if self._names:
            self.scope.setdefault("state", {})[CLIENT_NAMES] = self._names
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._calm()
        self._in_head = True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._idle_since = self.loop.time()
        if self._idle and not self._in_head:
            self._calm()
            self._patience = self.loop.call_later(REST_WITHIN_S, self.transport.close)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taken()
        self._untaken = self.loop.call_later(TAKEN_WITHIN_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()

    def send_400_response(self, msg: str) -> None:
        large = self._too_large or self._head_bytes > MOST_HEAD_BYTES
        self._answer(_head_too_large() if large else Problem("malformed", "this is not an HTTP request"))

    def _expect_head(self) -> None:
        self._patience = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

    @property
    def _idle(self) -> bool:
        """Whether no request of this connection is being answered, and nothing is left to be sent."""
        answered = (self.cycle is None or self.cycle.response_complete) and not self.pipeline
        return answered and not self.transport.get_write_buffer_size()

    def _crowded(self) -> int:
        """Which bound this connection is beyond, of its address or of all; 0 for none."""
        if len(self.connections) <= min(MOST_OF_ONE, MOST_CONNECTIONS):
            return 0
        others = self._others()
        if sum(each._host == self._host for each in others) >= MOST_OF_ONE:
            return MOST_OF_ONE
        return MOST_CONNECTIONS if len(others) >= MOST_CONNECTIONS else 0

    def _make_room(self, most: int) -> bool:
        """End an idle connection, of this address where it has too many: one that is closing already; else, of the address that has
        most of them, the one that has been idle longest."""
        idle = [each for each in self._others() if each._idle and (most != MOST_OF_ONE or each._host == self._host)]
        of = Counter(each._host for each in idle)
        if not idle:
            return False
        gone = min(idle, key=lambda each: (not each.transport.is_closing(), -of[each._host], each._idle_since))
        gone._counted = False
        self.turned_away.count("idle", gone._host)
        gone.transport.abort()
        return True

    def _refuse(self, most: int) -> None:
        """Say so, unless too many are being told already."""
        self._counted = False
        self.turned_away.count("full", self._host)
        told = sum(isinstance(each, _Protocol) and not each._counted for each in self.connections)
        if told > MOST_TOLD:
            self.transport.abort()
        else:
            self._answer(unavailable(f"{most} connections are open already"))

    def _others(self) -> list[_Protocol]:
        return [each for each in self.connections if isinstance(each, _Protocol) and each._counted and each is not self]

    @property
    def _host(self) -> str:
        return self.client[0] if self.client else ""

    def _taken(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _answer(self, problem: Problem) -> None:
        """Say it without the application, and hang up."""
        response = problem.response()
        status = HTTPStatus(response.status_code)
        head = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), b"connection: close"]
        head += [name + b": " + value for name, value in response.raw_headers]
        self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        self.transport.close()
