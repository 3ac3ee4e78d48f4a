"""Providers on loopback: an HTTP interface as text-message gateways have one, and a mail server. Both do what the test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class HttpProvider:
    """statuses: of the next answers, the last for ever. hold: while it is clear, nobody is answered."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [200])
    got: list[tuple[Mapping[str, object], Mapping[str, str]]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)


@contextmanager
def http_provider() -> Iterator[HttpProvider]:
    """An HTTP server in threads of its own."""
    provider = HttpProvider()
    provider.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            provider.got.append((body, dict(self.headers)))
            provider.hold.wait(600)
            status = provider.statuses.pop(0) if len(provider.statuses) > 1 else provider.statuses[0]
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    provider.url = f"json://127.0.0.1:{server.server_address[1]}/sms/?:to={{to}}&:notice={{number}}"
    try:
        yield provider
    finally:
        provider.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class MailServer:
    """to_answer: to RCPT of an address, by default accepted. data_answer: to the text."""

    url: str = ""
    to_answer: dict[str, str] = field(default_factory=dict)
    data_answer: str = "250 OK"
    got: list[tuple[list[str], str]] = field(default_factory=list)

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:
        if answer := self.to_answer.get(address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self.data_answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.got.append((list(envelope.rcpt_tos), envelope.content.decode()))
        return self.data_answer


@contextmanager
def mail_server(port: int) -> Iterator[MailServer]:
    """An SMTP server in a thread of its own."""
    handler = MailServer()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    handler.url = f"mailto://127.0.0.1:{port}?from=power@example.cn&to={{to}}&+X-Wattgate-Notice={{number}}"
    try:
        yield handler
    finally:
        controller.stop()
