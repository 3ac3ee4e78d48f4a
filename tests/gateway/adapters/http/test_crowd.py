"""Storms of connections over real sockets: handshakes without an end, or one address alone, keep no bank out."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from gateway.adapters.http import crowd, server
from gateway.adapters.http.server import Listener
from gateway.adapters.http.tls import Tls
from tests.gateway.bootstrap.certificates import authority, vouched

BANK, STRANGER = "127.0.0.1", "127.0.0.2"
STORM = 1_000
BEGUN = b"\x16\x03\x01"  # of a ClientHello
HELD = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{"  # a request whose end does not come

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Place:
    """A listener that answers once it has the whole body."""

    def __init__(self, folder: Path, secured: bool = True) -> None:
        ca = authority(folder)
        vouched(folder, "gateway", ca)
        self.trust = ssl.create_default_context(cafile=str(folder / "ca.pem")) if secured else None
        tls = Tls(folder / "gateway.pem", folder / "gateway.key") if secured else None
        app = Starlette(routes=[Route("/", self._answer, methods=["GET", "POST"])])
        self.listener = Listener(app, "127.0.0.1", 0, tls=tls, name="bank")

    async def _answer(self, request: Request) -> Response:
        return Response(await request.body() or b"open")

    async def asked(self, source: str) -> bytes:
        """The last word of what a caller from this address is told."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port, ssl=self.trust, local_addr=(source, 0))
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        told = await asyncio.wait_for(reader.read(), 60)
        writer.transport.abort()
        return told.rpartition(b"\r\n")[2]

    async def call(self, source: str, says: bytes) -> Caller:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port, local_addr=(source, 0))
        writer.write(says)
        return Caller(reader, writer)


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.gone = asyncio.ensure_future(self._gone())

    async def _gone(self) -> None:
        with contextlib.suppress(OSError):
            while await self.reader.read(4096):
                pass


@contextlib.asynccontextmanager
async def serving(place: Place) -> AsyncIterator[list[Caller]]:
    """Callers that are put into the list end with it."""
    task, callers = asyncio.create_task(place.listener.serve()), list[Caller]()
    try:
        yield callers
    finally:
        for each in callers:
            each.gone.cancel()
            each.writer.transport.abort()
        place.listener.stop()
        await asyncio.wait_for(task, 60)


async def let_go(callers: list[Caller], count: int) -> None:
    """So many of them were hung up on; not one more."""
    async with asyncio.timeout(60):
        while sum(each.gone.done() for each in callers) < count:
            await asyncio.wait([each.gone for each in callers if not each.gone.done()], return_when=asyncio.FIRST_COMPLETED)
    assert sum(each.gone.done() for each in callers) == count


@pytest.fixture(params=LOOPS)
def on_loop(request: pytest.FixtureRequest) -> Callable[[Coroutine[object, object, None]], None]:
    def run(work: Coroutine[object, object, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(work)

    return run


@pytest.mark.parametrize("says", [b"", BEGUN], ids=["silent", "begun"])
def test_whoever_never_ends_a_handshake_keeps_no_bank_out(
    tmp_path: Path, says: bytes, on_loop: Callable[[Coroutine[object, object, None]], None]
) -> None:
    async def storm() -> None:
        place = Place(tmp_path)
        async with serving(place) as callers:
            with capture_logs() as said:
                for _ in range(STORM):
                    callers.append(await place.call(STRANGER, says))
                await let_go(callers, STORM - crowd.MOST_HANDSHAKES_OF_ONE)
                for source in (BANK, STRANGER):
                    assert await place.asked(source) == b"open", "also from behind the same address"
        assert place.listener.turned_away["handshakes"] == STORM - crowd.MOST_HANDSHAKES_OF_ONE + 1
        assert [(each["event"], each["listener"], each["why"]) for each in said] == [("turned_away", "bank", "handshakes")]

    on_loop(storm())


async def test_a_storm_from_many_addresses_is_bounded_in_all(tmp_path: Path) -> None:
    place, banks = Place(tmp_path), list[bytes]()
    async with serving(place) as callers:
        for number in range(2 * crowd.MOST_HANDSHAKES):
            callers.append(await place.call(f"127.0.1.{number % 250 + 1}", BEGUN))
            if number % 50 == 49:
                banks.append(await place.asked(BANK))
        await let_go(callers, crowd.MOST_HANDSHAKES)
        assert place.listener.turned_away["handshakes"] >= crowd.MOST_HANDSHAKES
    assert banks == [b"open"] * 5


async def test_a_handshake_that_is_not_done_in_time_ends_and_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_WITHIN_S", 0.1)
    place = Place(tmp_path)
    async with serving(place) as callers:
        callers.append(await place.call(BANK, BEGUN))
        callers.append(await place.call(BANK, b"GET / HTTP/1.1\r\n\r\n"))
        await let_go(callers, 2)
        assert place.listener.turned_away == {"tls": 2} and await place.asked(BANK) == b"open"


async def test_one_address_never_has_all_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 6)
    monkeypatch.setattr(server, "MOST_OF_ONE", 4)
    place = Place(tmp_path, secured=False)
    async with serving(place) as callers:
        for _ in range(5):
            callers.append(await place.call(STRANGER, HELD))
        await let_go(callers, 1)
        assert place.listener.turned_away == {"full": 1}, "no request that is being answered gives way"
        assert await place.asked(BANK) == b"open"
        assert b"unavailable" in await place.asked(STRANGER)


def test_whoever_does_not_hear_the_goodbye_holds_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_loop: Callable[[Coroutine[object, object, None]], None]
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 4)
    monkeypatch.setattr(server, "MOST_OF_ONE", 3)
    monkeypatch.setattr(server, "HEAD_WITHIN_S", 0.05)

    async def deaf() -> None:
        place, writers = Place(tmp_path), list[asyncio.StreamWriter]()
        connections = place.listener._server.server_state.connections
        async with serving(place), asyncio.timeout(60):
            for source in (STRANGER, STRANGER, "127.0.0.3", "127.0.0.3"):
                reader, writer = await asyncio.open_connection(BANK, place.listener.port, ssl=place.trust, local_addr=(source, 0))
                writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                await reader.readuntil(b"open")
                writer.write(b"GET")
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                writers.append(writer)
            while sum(each.transport.is_closing() for each in connections) < len(writers):  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert await place.asked(BANK) == b"open" and len(connections) <= 4
            for writer in writers:
                writer.transport.abort()

    on_loop(deaf())


async def test_not_everybody_is_told_that_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(server, "MOST_OF_ONE", 1)
    monkeypatch.setattr(server, "MOST_TOLD", 0)
    place = Place(tmp_path, secured=False)
    async with serving(place) as callers:
        callers.append(await place.call(STRANGER, HELD))
        assert await place.asked(STRANGER) == b"" and place.listener.turned_away == {"full": 1}


async def test_a_listener_that_ends_lets_go_of_handshakes_too(tmp_path: Path) -> None:
    place = Place(tmp_path)
    task = asyncio.create_task(place.listener.serve())
    caller = await place.call(BANK, BEGUN)
    place.listener.stop()
    await asyncio.wait_for(task, 60)
    await asyncio.wait_for(caller.gone, 60)
    caller.writer.transport.abort()
    Listener(Starlette(), "127.0.0.1", place.listener.port).close()
