"""A partner's port behind TLS: who is let in, whose certificate it shows, and floods and stalled handshakes (loopback)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
from cryptography import x509

from gateway.adapters import iso8583_listener
from gateway.adapters.http.server import ListenError
from gateway.adapters.http.tls import Tls
from gateway.adapters.iso8583_listener import IsoListener, Place
from tests.gateway.adapters.iso8583_line import Line, network, settle
from tests.gateway.adapters.test_iso8583_listener import PLACE, Peer, Port, port
from tests.gateway.bootstrap.certificates import authority, vouched
from tests.gateway.services.memory_tx import MemoryStore


class Files:
    """Certificates of ours, of the bank and of another that the same authority vouches for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ca = folder, authority(folder)
        for name in ("gateway", "icbc", "abc"):
            self.renew(name)

    def renew(self, name: str) -> None:
        vouched(self.folder, name, self.ca)

    def place(self, mutual: bool = True, name: str = "icbc.example") -> Place:
        tls = Tls(self.folder / "gateway.pem", self.folder / "gateway.key", self.folder / "ca.pem" if mutual else None)
        return replace(PLACE, tls=tls, name=name if mutual else "")

    def context(self, name: str = "") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if name:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def serial(self) -> int:
        return x509.load_pem_x509_certificate((self.folder / "gateway.pem").read_bytes()).serial_number


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def call(here: Port, tls: ssl.SSLContext) -> Peer:
    reader, writer = await asyncio.open_connection("127.0.0.1", here.listener.port, ssl=tls)
    return Peer(here.line, reader, writer)


async def echoed(here: Port, tls: ssl.SSLContext) -> bool:
    """Whether an echo is answered on a new connection."""
    try:
        peer = await call(here, tls)
        peer.send(network("301"))
        return [each.get(39) for each in await peer.hear()] == ["00"]
    except OSError:
        return False


async def test_messages_go_through_tls_and_plain_text_does_not(files: Files) -> None:
    async with port(place=files.place(mutual=False)) as here:
        assert await echoed(here, files.context())
        plain = await here.call()
        plain.send(network("301"))
        assert await plain.gone()
        assert not await echoed(here, ssl.create_default_context()), "whoever trusts others hangs up"
        assert here.notes.count("iso8583_tls") <= 1 and here.listener.status().turned_away["tls"] >= 1


async def test_only_the_partner_s_own_certificate_opens_the_line(files: Files) -> None:
    async with port(place=files.place()) as here:
        assert await echoed(here, files.context("icbc"))
        assert not await echoed(here, files.context("abc")), "vouched for, and another's"
        assert not await echoed(here, files.context()), "none"
        assert here.listener.status().turned_away == {"certificate": 1, "tls": 1}
    async with port(place=files.place(name="")) as here:
        assert await echoed(here, files.context("abc")), "without a name whoever is vouched for"


async def test_a_renewed_certificate_is_shown_to_the_next_connection(files: Files) -> None:
    async def shown() -> int:
        peer = await call(here, files.context("icbc"))
        found = peer.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(found).serial_number

    async with port(place=files.place()) as here:
        before, old = await call(here, files.context("icbc")), files.serial()
        assert await shown() == old
        files.renew("gateway")
        assert await shown() == files.serial() != old
        before.send(network("301"))
        assert len(await before.hear()) == 1, "a connection that stands goes on"
        now = files.serial()
        (files.folder / "gateway.key").write_text("half of it")
        assert await shown() == now


async def test_the_same_on_the_loop_of_production(files: Files) -> None:
    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(talk())

    async def talk() -> None:
        async with port(place=files.place()) as here:
            assert await echoed(here, files.context("icbc"))
            assert not await echoed(here, files.context("abc")) and not await echoed(here, files.context())
            files.renew("gateway")
            assert await echoed(here, files.context("icbc"))

    await asyncio.to_thread(run)


async def test_whoever_never_ends_its_handshake_is_let_go(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iso8583_listener, "HANDSHAKE_WITHIN_S", 0.2)
    async with port(place=replace(files.place(), most=1)) as here:
        stalled = await here.call()
        stalled.writer.write(b"\x16\x03\x01")
        assert await stalled.gone() and await echoed(here, files.context("icbc"))


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_storm_of_handshakes_takes_none_of_the_partner_s_places(
    files: Files, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def storm() -> None:
        async with port(place=replace(files.place(), most=2)) as here, flooded(here, 300) as peers:
            assert await echoed(here, files.context("icbc")), "from the same address"
            kept = 300 - iso8583_listener.MOST_HANDSHAKES_OF_ONE + 1
            assert all(await asyncio.gather(*(peer.gone() for peer in peers[:kept])))
            status = here.listener.status()
            assert status.turned_away == {"handshakes": kept} and here.notes == ["iso8583_handshakes"]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(storm())


async def test_places_are_counted_once_the_handshake_is_done(files: Files) -> None:
    async with port(place=replace(files.place(), most=1)) as here:
        first = await call(here, files.context("icbc"))
        first.send(network("301"))
        assert len(await first.hear()) == 1
        assert not await echoed(here, files.context("icbc"))
        assert here.listener.status().turned_away == {"full": 1} and here.listener.status().sessions == 1


async def test_who_says_nothing_gives_way_to_another_address() -> None:
    async with port() as here:
        first = await here.call()
        first.send(network("301"))
        assert len(await first.hear()) == 1
        async with flooded(here, PLACE.most - 1, "127.0.0.2") as peers:
            others = [await here.call(source) for source in ("127.0.0.3", "127.0.0.4")]
            for other in others:
                other.send(network("301"))
                assert len(await other.hear()) == 1
            assert await peers[0].gone() and await peers[1].gone()
            late = await here.call("127.0.0.5")
            assert await late.gone(), "each address has one, and none has been silent for long"


async def test_who_says_nothing_for_long_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iso8583_listener, "UNHEARD_WITHIN_S", 0.0)
    async with port() as here, flooded(here, PLACE.most) as peers:
        again = await here.call()
        again.send(network("301"))
        assert len(await again.hear()) == 1 and await peers[0].gone()


def test_files_that_cannot_be_used_are_said_before_anything_is_answered(files: Files) -> None:
    store = MemoryStore()
    settle(store)
    files.folder.joinpath("gateway.pem").unlink()
    with pytest.raises(ListenError, match=r"cannot be secured by .*gateway\.pem"):
        IsoListener(files.place(), Line(store).partner)


@contextlib.asynccontextmanager
async def flooded(here: Port, count: int, source: str = "127.0.0.1") -> AsyncIterator[list[Peer]]:
    """So many connections from one address."""
    peers: list[Peer] = []
    try:
        for _ in range(count):
            peers.append(await here.call(source))
        yield peers
    finally:
        for peer in peers:
            peer.writer.transport.abort()


async def test_a_thousand_connections_from_one_address_cost_four_places_and_one_line_in_the_log() -> None:
    async with port() as here:
        first = await here.call()
        first.send(network("301"))
        assert len(await first.hear()) == 1
        async with flooded(here, 1000) as peers:
            assert all(await asyncio.gather(*(peer.gone() for peer in peers[3:])))
            first.send(here.line.payment())
            assert [each.get(39) for each in await first.hear()] == ["00"], "who was there is served as before"
            status = here.listener.status()
            assert status.sessions == PLACE.most == 4 and status.turned_away == {"full": 997} and here.notes == ["iso8583_full"]
        for _ in range(6000):
            if here.listener.status().sessions == 1:
                break
            await asyncio.sleep(0.01)
        again = await here.call()
        again.send(network("301"))
        assert len(await again.hear()) == 1
