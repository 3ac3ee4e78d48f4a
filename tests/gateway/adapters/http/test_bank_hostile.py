"""Whoever is slow, endless or many has a bound, and the other banks go on being served: the real listener, over loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.responses import Response

from gateway.adapters.http import body as body_module
from gateway.adapters.http import server
from gateway.adapters.http.guard import KEPT_FREE, MOST_AT_ONCE
from gateway.adapters.http.server import MOST_CONNECTIONS, Listener
from gateway.adapters.http.tls import Tls
from tests.gateway.adapters.http.paying import TOPUPS
from tests.gateway.adapters.http.test_bank_wire import Open, opened, pay
from tests.gateway.adapters.http.wire import Heard, Wire, request_of
from tests.gateway.bootstrap.certificates import authority, vouched

NORTH = "127.0.0.2"
"""Where the good bank calls from; whoever is hostile calls from 127.0.0.1."""

WITHIN_S = 100  # some ms; on a machine with other work, far more
"""For what takes milliseconds on a machine that has nothing else to do."""

SHARE = MOST_AT_ONCE - MOST_AT_ONCE // KEPT_FREE
HEAD = f"POST {TOPUPS} HTTP/1.1\r\nhost: bank\r\ncontent-type: application/json\r\n".encode()
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Open]:
    async with opened(tmp_path) as place:
        yield place


async def hostile(place: Open, sent: bytes = b"") -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(sent)
    await writer.drain()
    return reader, writer


async def served(place: Open, serial: str, wire: Wire | None = None) -> None:
    """The good bank pays, on a new connection, quickly."""
    async with asyncio.timeout(WITHIN_S):
        answer = await (wire or Wire(place.port, NORTH)).ask(pay(place.street, {"serial": serial}, serial))
    assert answer.status == 201, answer.body


async def heard(streams: Streams) -> bytes:
    """All that comes until we are hung up on."""
    reader, writer = streams
    async with asyncio.timeout(WITHIN_S):
        try:
            said = await reader.read()
        except ConnectionError:
            said = b""
    writer.close()
    return said


async def test_heads_that_do_not_end(place: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_WITHIN_S", 0.2)
    slow = [await hostile(place, HEAD) for _ in range(100)]
    await served(place, "S-1")
    assert {await heard(each) for each in slow} == {b""}, "each is hung up on, and not one is answered"
    await served(place, "S-2")


async def test_heads_that_are_huge(place: Open) -> None:
    for huge in (b"x: " + b"y" * 20_000, b"x: y\r\n" * 4_000, b"signature-input: " + b"(" * 17_000):
        said = await heard(await hostile(place, HEAD + huge + b"\r\n\r\n"))
        assert said.startswith(b"HTTP/1.1 431 ") and b'"too_large"' in said
    await served(place, "S-1")


async def test_bodies_that_are_huge(place: Open) -> None:
    said = await heard(await hostile(place, HEAD + b"content-length: 1000000000\r\n\r\n" + b" " * 100_000))
    assert said.startswith(b"HTTP/1.1 413 ") and b'"too_large"' in said
    await served(place, "S-1")


@pytest.mark.parametrize("rest", [b"1000\r\n" + b" " * 4096 + b"\r\n", b"0\r\n" + b"x: y\r\n" * 500], ids=["chunks", "trailers"])
async def test_bodies_without_a_length_are_not_waited_for(place: Open, monkeypatch: pytest.MonkeyPatch, rest: bytes) -> None:
    """It is answered at once; what goes on coming is thrown away, and not for long."""
    monkeypatch.setattr(server, "REST_WITHIN_S", 0.3)
    reader, writer = await hostile(place, HEAD + b"transfer-encoding: chunked\r\n\r\n" + rest)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WITHIN_S)
    assert head.startswith(b"HTTP/1.1 411 ")
    [protocol] = [each for each in place.connections if each.client[1] == writer.get_extra_info("sockname")[1]]

    async def endless() -> None:
        while True:
            writer.write(rest if rest[:1] == b"1" else b"x: y\r\n" * 500)
            await writer.drain()
            await asyncio.sleep(0.001)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(endless(), WITHIN_S)
    assert len(protocol.headers) < 20 and len(protocol.cycle.body) < 100_000, "nothing of it is kept"
    writer.close()
    await served(place, "S-1")


async def test_bodies_that_trickle_leave_places_to_others(place: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as one address likes: it has its share of the places (and each of them not for long: test_bank_wire)."""
    monkeypatch.setattr(body_module, "BODY_WITHIN_S", 60)
    slow = [await hostile(place, HEAD + b"content-length: 500\r\n\r\n{") for _ in range(MOST_AT_ONCE + 50)]
    async with asyncio.timeout(WITHIN_S):
        for reader, _ in slow[SHARE:]:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
    await served(place, "S-1")
    for _, writer in slow:
        writer.transport.abort()
    await served(place, "S-2")


async def test_a_body_for_nobody_that_trickles(place: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that takes no body is answered, and what it sends behind that keeps its connection no longer."""
    monkeypatch.setattr(server, "REST_WITHIN_S", 0.2)
    reader, writer = await hostile(place, b"GET /bank/v1/keys HTTP/1.1\r\nhost: bank\r\ncontent-length: 100000\r\n\r\n{")
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WITHIN_S)).startswith(b"HTTP/1.1 200 ")

    async def trickle() -> None:
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(trickle(), WITHIN_S)
    writer.close()
    await served(place, "S-1")


async def test_many_idle_connections_give_way(place: Open) -> None:
    """The newest comes in, the longest idle one of the address that has most goes; the bank keeps the connection that it has."""
    north = Wire(place.port, NORTH)
    await served(place, "S-0", north)
    idle = [await hostile(place) for _ in range(MOST_CONNECTIONS + 30)]
    assert {await heard(each) for each in idle[:20]} == {b""}
    assert len(place.connections) <= MOST_CONNECTIONS + 1
    await served(place, "S-1", north)
    await served(place, "S-2")
    await served(place, "S-3", Wire(place.port, "127.0.0.3"))
    for _, writer in idle:
        writer.transport.abort()


async def test_whoever_does_not_take_the_answers(place: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TAKEN_WITHIN_S", 0.3)
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", place.port))
    _, writer = await asyncio.open_connection(sock=small, limit=1024)
    own = small.getsockname()[1]
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(request_of("GET", "/openapi.json", {}) * 200)
    async with asyncio.timeout(WITHIN_S):
        while any(each.client[1] == own for each in place.connections):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    writer.transport.abort()
    await served(place, "S-1")


async def test_handshakes_that_do_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_WITHIN_S", 0.3)
    vouched(tmp_path, "gateway", authority(tmp_path))
    listener = Listener(Response("here"), "127.0.0.1", 0, tls=Tls(tmp_path / "gateway.pem", tmp_path / "gateway.key"))
    serving = asyncio.create_task(listener.serve())
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
    writer.close()
    tls = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=tls)
    writer.write(request_of("GET", "/", {"connection": "close"}))
    assert (await asyncio.wait_for(reader.read(), WITHIN_S)).endswith(b"here")
    writer.close()
    listener.stop()
    await serving


SECRET = "the password of the database is swordfish"


PATHS = (TOPUPS, f"{TOPUPS}/S-1", "/bank/v1/accounts/A-1", "/bank/v1/reconciliations/2026-11-21/statement")


@pytest.mark.parametrize("path", PATHS)
async def test_an_error_of_ours_says_nothing_of_itself(
    place: Open, path: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever breaks inside: 503, to be asked again, signed; what it was stands in the log."""

    def broken(usecase: object) -> object:
        raise RuntimeError(SECRET)

    await served(place, "S-0")
    posting = path == TOPUPS
    request = pay(place.street, {"serial": "S-1"}, "n") if posting else place.get(path, "n")
    with monkeypatch.context() as patch:
        patch.setattr(place.street.store, "write", broken)
        patch.setattr(place.street.store, "read", broken)
        answer = await Wire(place.port, NORTH).ask(request)
        assert_says_nothing(answer)
    assert SECRET in "".join(capfd.readouterr())
    await served(place, "S-1")


def assert_says_nothing(answer: Heard) -> None:
    problem = json.loads(answer.body)
    assert (answer.status, problem["code"], problem["action"]) == (503, "unavailable", "repeat_same_serial")
    assert b"gateway=:" in answer.head and b"retry-after: " in answer.head
    everything = answer.head + answer.body
    assert not any(word in everything for word in (SECRET.encode(), b"Traceback", b"RuntimeError", b".py"))
