"""A partner's port: whoever may not call, dribbles, floods or talks nonsense is let go, and nobody else notices (loopback)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.adapters import iso8583_listener
from gateway.adapters.http.server import ListenError
from gateway.adapters.iso8583_listener import IsoListener, Place
from protocols.bank.iso8583 import LONGEST, Deframer, Message, frame
from tests.gateway.adapters.iso8583_line import Line, network, settle
from tests.gateway.services.memory_tx import MemoryStore
from tests.gateway.uplink_ends import until
from tests.protocols.bank.tables import KEY, packed

PLACE = Place("127.0.0.1", 0, ["127.0.0.0/8"], 4, 30.0)


class Peer:
    """A connection to the listener, and what it was told."""

    def __init__(self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.line, self.reader, self.writer = line, reader, writer
        self.frames = Deframer(line.dialect)

    def send(self, message: Message, key: bytes | None = KEY) -> None:
        self.writer.write(frame(self.line.dialect, self.line.codec.encode(message, key)))

    async def hear(self, count: int = 1) -> list[Message]:
        """So many answers, or fewer where the connection ends."""
        found: list[Message] = []
        async with asyncio.timeout(60):
            while len(found) < count and (data := await self.reader.read(65_536)):
                found += [self.line.codec.decode(each).message for each in self.frames.feed(data)]
        return found

    async def gone(self) -> bool:
        """Whether the other side ends the connection."""
        async with asyncio.timeout(60):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read(1) == b""
        return True


class Port:
    """A listener at work. notes: what it said of connections."""

    def __init__(self, line: Line, place: Place) -> None:
        self.line, self.notes = line, list[str]()
        self.listener = IsoListener(place, line.partner, lambda event, peer: self.notes.append(event))

    async def call(self, source: str = "127.0.0.1") -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port, local_addr=(source, 0))
        return Peer(self.line, reader, writer)


@contextlib.asynccontextmanager
async def port(line: Line | None = None, place: Place = PLACE) -> AsyncIterator[Port]:
    if line is None:
        store = MemoryStore()
        settle(store)
        line = Line(store)
    found = Port(line, place)
    serving = asyncio.ensure_future(found.listener.serve())
    try:
        yield found
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize("other", [False, True], ids=["ascii", "packed"])
async def test_messages_are_answered_however_their_bytes_arrive(other: bool) -> None:
    store = MemoryStore()
    settle(store)
    line = Line(store, dialect=packed()) if other else Line(store)
    header = bytes(line.dialect.header_bytes)
    async with port(line) as here:
        peer = await here.call()
        data = frame(line.dialect, line.codec.encode(replace(line.payment(), header=header), KEY))
        for byte in frame(line.dialect, b"") + data:
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        [answer] = await peer.hear()
        assert (answer.mti, answer.get(39)) == ("0210", "00")


async def test_many_messages_on_one_connection_share_the_time() -> None:
    async with port() as here:
        peer = await here.call()
        sent = [here.line.payment(fen=1) for _ in range(150)]  # more than may be in flight
        for each in sent:
            peer.send(each)
        answers = await peer.hear(150)
        assert {answer.get(11) for answer in answers} == {each.get(11) for each in sent}
        assert {answer.get(39) for answer in answers} == {"00"}


async def test_nonsense_in_a_frame_is_silence_and_the_line_goes_on() -> None:
    async with port() as here:
        peer = await here.call()
        peer.writer.write(frame(here.line.dialect, b"GET / HTTP/1.1\r\n"))
        peer.send(network("301"))
        assert [answer.mti for answer in await peer.hear()] == ["0810"]
        assert here.line.partner.counted.silent == 1


@pytest.mark.parametrize("head", [(LONGEST + 1).to_bytes(2, "big"), b"\xff\xff"])
async def test_a_length_beyond_all_messages_ends_the_connection_after_its_answers(head: bytes) -> None:
    async with port() as here:
        peer = await here.call()
        peer.send(network("301"))
        peer.writer.write(head)
        assert len(await peer.hear(2)) == 1 and await peer.gone()
        again = await here.call()
        again.send(network("301"))
        assert len(await again.hear()) == 1


async def test_strangers_and_one_too_many_are_let_go() -> None:
    async with port(place=replace(PLACE, peers=["10.0.0.0/8", "::1"])) as here:
        assert await (await here.call()).gone() and here.notes == ["iso8583_stranger"]
    async with port(place=replace(PLACE, most=2)) as here:
        first, second = await here.call(), await here.call()
        for peer in (first, second):
            peer.send(network("301"))
            assert len(await peer.hear()) == 1
        assert await (await here.call()).gone() and here.notes == ["iso8583_full"]
        first.writer.close()
        await until(lambda: here.listener.status().sessions == 1, "its place is free")
        third = await here.call()
        third.send(network("301"))
        assert len(await third.hear()) == 1


async def test_whoever_dribbles_or_sleeps_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iso8583_listener, "FRAME_WITHIN_S", 0.1)
    async with port() as here:
        peer = await here.call()
        peer.send(network("301"))
        peer.writer.write(b"\x00")
        assert len(await peer.hear()) == 1 and await peer.gone()
    async with port(place=replace(PLACE, idle_s=0.1)) as here:
        assert await (await here.call()).gone()


async def test_a_payment_goes_on_when_its_sender_hangs_up() -> None:
    async with port() as here:
        peer = await here.call()
        payment = here.line.payment()
        peer.send(payment)
        await peer.writer.drain()
        peer.writer.transport.abort()
        again = await here.call()
        again.send(payment)
        [answer] = await again.hear()
        assert answer.get(39) == "00" and len(here.line.store.read_now(lambda tx: tx.entries(0, 9))) == 3  # two openings before


async def test_a_taken_port_is_said_in_a_sentence() -> None:
    async with port() as here:
        with pytest.raises(ListenError, match=r"^127\.0\.0\.1:[0-9]+ cannot be listened on for ISO 8583: "):
            IsoListener(replace(PLACE, port=here.listener.port), here.line.partner)


async def test_whoever_does_not_take_its_answers_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers as long as they may be, which nobody reads: they are held up to a bound, and then the connection ends."""
    monkeypatch.setattr(iso8583_listener, "WRITE_WITHIN_S", 0.3)
    async with port() as here:
        peer = await here.call()
        echo = network("301")
        long = Message("0800", {**echo.fields, **{number: "x" * 900 for number in (60, 61, 62, 63)}})
        data = frame(here.line.dialect, here.line.codec.encode(long, KEY))
        async with asyncio.timeout(100):
            with contextlib.suppress(ConnectionError):
                while not peer.writer.is_closing():
                    peer.writer.write(data * 16)
                    await peer.writer.drain()
        await until(lambda: here.listener.status().sessions == 0, "it is let go")
        again = await here.call()
        again.send(echo)
        assert len(await again.hear()) == 1


async def test_whoever_sends_more_than_agreed_is_read_more_slowly_and_answered_all_the_same() -> None:
    store = MemoryStore()
    settle(store)
    async with port(Line(store, rate=(10, 6000))) as here:
        loop, peers = asyncio.get_running_loop(), [await here.call(), await here.call()]
        began_s = loop.time()
        for peer in peers:
            for _ in range(8):
                peer.send(here.line.payment(fen=1))
        answers = [answer for peer in peers for answer in await peer.hear(8)]
        assert {answer.get(39) for answer in answers} == {"00"} and len(answers) == 16
        assert 0.4 < loop.time() - began_s < 60, "ten at once, the rest in the time of six"
