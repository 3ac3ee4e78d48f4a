"""Over real sockets: the port is held from the start, what is no HTTP is refused in our words, and stopping is quick."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.adapters.http import server
from gateway.adapters.http.guard import Guard, new_application
from gateway.adapters.http.server import Listener, ListenError, is_loopback
from gateway.adapters.http.stream import Stream
from tests.gateway.adapters.http.street import Street


@pytest.fixture
async def listener(street: Street) -> AsyncIterator[Listener]:
    stream = Stream(street.store.read, street.status, tick_s=0.02)
    listener = Listener(street.operator(stream), "127.0.0.1", 0, before_stop=stream.close)
    serving = asyncio.create_task(listener.serve())
    yield listener
    listener.stop()
    await asyncio.wait_for(serving, 60)


async def talk(listener: Listener, request: bytes) -> tuple[int, dict[str, object]]:
    """Send bytes, read to the end of the connection: status and problem document."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"hello\r\n\r\n", 400, "malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed"),
        (b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 20_000 + b"\r\n\r\n", 431, "too_large"),
        (b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 20_000, 431, "too_large"),
        (b"GET /healthz HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 4_000 + b"\r\n", 431, "too_large"),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 431, "too_large"),
        (b"POST /api/v1/meters HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: -1\r\n\r\n", 400, "malformed"),
        (b"DELETE /api/v1/meters HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 405, "not_allowed"),
    ],
    ids=["words", "tls", "header", "endless header", "headers", "url", "length", "method"],
)
async def test_what_the_wire_brings(listener: Listener, request_bytes: bytes, status: int, code: str) -> None:
    answered, problem = await talk(listener, request_bytes)
    assert (answered, problem["code"]) == (status, code)


async def test_a_large_body_is_refused_before_it_is_read(listener: Listener) -> None:
    head = (
        b"POST /api/v1/meters/bus-1-1/cut HTTP/1.1\r\nhost: a\r\nauthorization: Bearer a-token-of-the-operator\r\n"
        b"content-type: application/json\r\ncontent-length: 1000000000\r\n\r\n"
    )
    assert (await talk(listener, head))[1]["code"] == "too_large"


async def test_a_connection_stays_for_many_requests(listener: Listener) -> None:
    async with httpx2.AsyncClient(base_url=listener.url, timeout=60) as client:
        for _ in range(5):
            assert (await client.get("/healthz")).status_code == 200
        assert len(listener._server.server_state.connections) == 1


async def test_a_head_that_does_not_come_ends_the_connection(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_WITHIN_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(b"GET /healthz HT")
    assert await asyncio.wait_for(reader.read(), 60) == b""
    writer.close()


async def test_connections_are_bounded(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 1)
    head = b"POST /api/v1/meters/bus-1-1/cut HTTP/1.1\r\nhost: a\r\nauthorization: Bearer a-token-of-the-operator\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(head + b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{")
    async with asyncio.timeout(60):
        while not any(each.cycle for each in listener._server.server_state.connections):  # type: ignore[union-attr]  # noqa: ASYNC110
            await asyncio.sleep(0)
    status, problem = await talk(listener, b"")
    assert (status, problem["code"]) == (503, "unavailable"), "no request that is being answered gives way"
    writer.close()


async def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"port {port} on 127.0.0.1 is in use: stop the program"):
            Listener(new_application("x", "0"), "127.0.0.1", port)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
async def test_an_address_that_is_not_ours_is_one_sentence(host: str) -> None:
    with pytest.raises(ListenError, match=f"cannot listen on {host}"):
        Listener(new_application("x", "0"), host, 0)


async def test_two_listeners_never_share_a_port() -> None:
    first = Listener(new_application("x", "0"), "127.0.0.1", 0)
    with pytest.raises(ListenError):
        Listener(new_application("x", "0"), "127.0.0.1", first.port)
    first.close()
    second = Listener(new_application("x", "0"), "127.0.0.1", first.port)
    second.close()


async def test_a_cancelled_listener_gives_its_port_and_connections_back(street: Street) -> None:
    listener = Listener(street.bank(), "127.0.0.1", 0)
    serving = asyncio.create_task(listener.serve())
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 404")
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    await asyncio.wait_for(reader.read(), 60)
    writer.close()
    Listener(street.bank(), "127.0.0.1", listener.port).close()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.7", False), ("bank.example", False)],
)
def test_only_loopback_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


async def test_ticks_come_while_something_changes(listener: Listener, street: Street) -> None:
    ticks = []
    async with httpx2.AsyncClient(base_url=listener.url, timeout=60) as client, client.stream("GET", "/api/v1/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                ticks.append(json.loads(line[6:]))
            if len(ticks) == 3:
                street.read("bus-1-2", energy_import="1.00")
            if len(ticks) >= 6:
                break
    assert ticks[0].keys() <= {"meters", "accounts", "lines", "events"}
    assert ticks[2]["events"] != ticks[-1]["events"], "the warning of the low balance is an event"


async def test_streams_are_bounded_and_give_their_place_back(street: Street) -> None:
    stream = Stream(street.store.read, street.status, tick_s=0.01, most=1)
    first = await stream.enter()
    app = street.operator(stream)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://operator") as client:
        assert (await client.get("/api/v1/stream")).json()["code"] == "unavailable"
    assert b"changed" in await anext(first)
    await first.aclose()  # type: ignore[attr-defined]
    again = await stream.enter()
    stream.close()
    assert [chunk async for chunk in again] in ([], [b"event: changed\ndata: {}\n\n"])


async def test_stopping_ends_open_streams_at_once(street: Street) -> None:
    stream = Stream(street.store.read, street.status, tick_s=0.02)
    listener = Listener(street.operator(stream), "127.0.0.1", 0, before_stop=stream.close)
    serving = asyncio.create_task(listener.serve())
    async with httpx2.AsyncClient(base_url=listener.url, timeout=60) as client, client.stream("GET", "/api/v1/stream") as answer:
        listener._server.config.timeout_graceful_shutdown = 300  # which it must not need
        lines = answer.aiter_lines()
        await anext(lines)
        listener.stop()
        async for _ in lines:
            pass
        await asyncio.wait_for(serving, 60)


async def test_requests_inside_are_bounded() -> None:
    inside, free = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        inside.set()
        await free.wait()
        await Response("done")(scope, receive, send)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(Guard(app, most=1)), base_url="http://x") as client:
        waiting = asyncio.create_task(client.get("/"))
        await inside.wait()
        assert (await client.get("/")).json()["code"] == "unavailable"
        free.set()
        assert (await waiting).text == "done"
        assert (await client.get("/")).text == "done"
