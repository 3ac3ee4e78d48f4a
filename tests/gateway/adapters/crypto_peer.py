"""A crypto service on a real port of loopback: the TEST module behind HTTP, and answers that no service should give."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from protocols.dlt645.security import IdentityQuestion, SealQuestion, TestSecurityModule

Answer = Callable[[str, dict[str, str]], tuple[int, bytes]]


class Peer(ThreadingHTTPServer):
    """asked: path and body of every question. answer: gives status and body; by default the TEST module's."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.module = TestSecurityModule(os.urandom)
        self.closing = threading.Event()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.tokens: set[str | None] = set()
        self.answer: Answer = self.right

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/crypto"

    def right(self, path: str, body: dict[str, str]) -> tuple[int, bytes]:
        """What the module says."""
        told: dict[str, str] = {"label": self.module.label}
        match path.removeprefix("/crypto"):
            case "/identify":
                identity = self.module.identify(IdentityQuestion(body["meter"], bytes.fromhex(body["factor"])))
                told = {"cipher": identity.cipher.hex(), "random": identity.random.hex(), "factor": identity.factor.hex()}
            case "/mac":
                told = {"mac": self.module.mac(_question(body)).hex()}
            case "/seal":
                sealed = self.module.seal(_question(body))
                told = {"cipher": sealed.cipher.hex(), "mac": sealed.mac.hex()}
        return 200, json.dumps(told).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _serve(self, body: dict[str, str]) -> None:
        peer = self.server
        assert isinstance(peer, Peer)
        peer.asked.append((self.path, body))
        peer.tokens.add(self.headers["authorization"])
        status, content = peer.answer(self.path, body)
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):  # who had enough hangs up
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@contextlib.contextmanager
def crypto_peer() -> Iterator[Peer]:
    """The service, as long as it is wanted."""
    with Peer() as peer:
        thread = threading.Thread(target=peer.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield peer
        finally:
            peer.shutdown()
            thread.join(5)


def _question(body: dict[str, str]) -> SealQuestion:
    factor, challenge, plain = (bytes.fromhex(body[name]) for name in ("factor", "challenge", "plain"))
    return SealQuestion(body["meter"], factor, challenge, body["purpose"], plain)
