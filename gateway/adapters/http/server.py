"""uvicorn inside our own loop: the port is taken before anything starts, and what uvicorn says by itself is bounded and ours."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.adapters.http.problems import Problem, unavailable

BACKLOG = 256
"""Connections that wait in the kernel; banks come in dozens, not thousands."""

MOST_CONNECTIONS = 512
"""Open connections of one listener; each costs a file descriptor and some kilobytes."""

MOST_HEAD_BYTES = 16 * 1024
"""Request line and headers together; signatures and tokens need about two kilobytes."""

HEAD_WITHIN_S = 10.0
"""A connection that has not sent its whole head by then is closed: it holds a place for nothing."""

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


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM: our certificate and its key, and who vouches for the clients' certificates, which are asked for then."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer. Raises ListenError."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as problem:  # an SSLError is an OSError
            raise ListenError(f"TLS with {self.certificate}, {self.key} and {self.client_ca}: {problem}") from None
        return context


class Listener:
    """One HTTP listener. The port is bound and held from the constructor on; `serve` answers until `stop`.

    app: an ASGI application. port 0 takes a free one, see `port`. before_stop: called first on stop, to end open streams. tls: what
    secures it. Raises ListenError.
    """

    def __init__(
        self, app: ASGIApp, host: str, port: int, *, before_stop: Callable[[], None] | None = None, tls: Tls | None = None
    ) -> None:
        context = None if tls is None else tls.context()
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
        self._server = _Server(config)
        self.host, self.port = host, int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)
        return f"{self._scheme}://{host}:{self.port}"

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

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


def _names_in(certificate: object) -> frozenset[str]:
    """The DNS names and common names of a client's certificate, as the ssl module gives it."""
    if not isinstance(certificate, dict):
        return frozenset()
    names = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    names |= {value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"}
    return frozenset(names)


class _Protocol(HttpToolsProtocol):
    """uvicorn's parser with bounds on connections, heads and patience; what it refuses is a problem document too."""

    _head_bytes = 0
    _in_head = True
    _too_large = False
    _patience: asyncio.TimerHandle | None = None
    _names: frozenset[str] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._names = _names_in(transport.get_extra_info("peercert"))
        if len(self.connections) > MOST_CONNECTIONS:
            self._answer(unavailable(f"{MOST_CONNECTIONS} connections are open already"))
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
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
        self._in_head = True

    def send_400_response(self, msg: str) -> None:
        large = self._too_large or self._head_bytes > MOST_HEAD_BYTES
        self._answer(_head_too_large() if large else Problem("malformed", "this is not an HTTP request"))

    def _expect_head(self) -> None:
        self._patience = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

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
