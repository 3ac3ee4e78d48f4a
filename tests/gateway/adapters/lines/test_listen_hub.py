"""Who calls: registrations in pieces and behind heartbeats, sources, and bounds for those who do not say who they are."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from gateway.adapters.lines import listen_hub
from gateway.adapters.lines.listen_hub import Caller, Listener, close_listeners, listener, recognise
from gateway.adapters.lines.tcp import Stream
from gateway.adapters.lines.transport import LineDown

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
ELSEWHERE = (ipaddress.ip_network("10.0.0.0/8"),)


@dataclass(eq=False)
class Line:
    """A line that notes who has called."""

    caller: Caller
    calls: list[tuple[Stream, bytes]] = field(default_factory=list)

    def take(self, stream: Stream, rest: bytes) -> None:
        self.calls.append((stream, rest))


@dataclass
class Port:
    hub: Listener
    told: list[str]

    def join(self, registration: bytes = b"", sources: tuple[listen_hub.Network, ...] = LOOPBACK, beat: bytes = b"") -> Line:
        line = Line(Caller(sources, registration, beat))
        self.hub.join(line, self.told.append)
        return line

    def call(self, *pieces: bytes, source: str = "127.0.0.1") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.hub.port), source_address=(source, 0))
        sock.setblocking(False)
        for piece in pieces:
            sock.sendall(piece)
        return sock


@pytest.fixture
async def port() -> Port:
    return Port(listener("127.0.0.1", 0), [])


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    close_listeners()


async def until(done: Callable[[], object]) -> None:
    for _ in range(6000):
        if done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to be within 60 s")


@pytest.mark.parametrize(
    ("said", "n", "rest"),
    [
        (b"FAR-1", 0, b""),
        (b"FAR-2\r\n", 1, b"\r\n"),
        (b"FAR-", None, b"FAR-"),
        (b"\xfe\xfe\xfeFAR-2", 1, b""),
        (b"\xfe\xfe\xfe\xfe", None, b"\xfe\xfe"),  # more may come
        (b"beatbeatFAR-1x", 0, b"x"),
        (b"beatbe", None, b"be"),
        (b"garbageFAR-1", None, b"garbageFAR-1"),
        (b"\xfe\xfe\xfe\xfe\x01", 2, b""),
    ],
)
def test_a_registration_is_found_behind_heartbeats_only(said: bytes, n: int | None, rest: bytes) -> None:
    callers = [Caller(LOOPBACK, b"FAR-1", b"\xfe"), Caller(LOOPBACK, b"FAR-2", b"beat"), Caller(LOOPBACK, b"\xfe\xfe\x01")]
    assert recognise(said, callers) == (n, rest)


async def test_lines_on_one_port_are_told_apart_by_registration_in_pieces(port: Port) -> None:
    one, two = port.join(b"FAR-1"), port.join(b"\x01\x02", beat=b"\xfe")
    with port.call(b"FAR-1\x68") as first, port.call(b"\xfe", b"\x01") as second:
        await until(lambda: one.calls)
        assert one.calls[0][1] == b"\x68" and not two.calls
        second.sendall(b"\x02")
        await until(lambda: two.calls)
        assert first.fileno() > 0 and not port.hub.turned_away


async def test_lines_on_one_port_are_told_apart_by_source(port: Port) -> None:
    one, two = port.join(sources=(ipaddress.ip_network("127.0.0.2"),)), port.join(sources=(ipaddress.ip_network("127.0.0.3/32"),))
    with port.call(source="127.0.0.3"), port.call(source="127.0.0.2"):
        await until(lambda: one.calls and two.calls)
        assert (len(one.calls), len(two.calls)) == (1, 1)


async def test_who_may_not_call_from_there_is_turned_away_at_once(port: Port) -> None:
    line = port.join(sources=ELSEWHERE)
    with port.call(b"FAR-1") as sock:
        await until(lambda: port.hub.turned_away["source"] == 1)
        assert not line.calls and await ended(sock)
    assert port.told == [
        f"{port.hub.name} turned away a call from 127.0.0.1: no line there expects a call from that address (1 so far)."
    ]


async def test_an_unknown_registration_is_shown_and_told_once_a_while(port: Port) -> None:
    port.join(b"FAR-1")
    for _ in range(3):
        with port.call(b"FAX-7") as sock:
            assert await ended(sock)
    assert port.hub.turned_away == {"unknown": 3}
    (told,) = port.told
    assert "no line there has a registration that begins like 46 41 58 2D 37 ('FAX-7') (1 so far)" in told


async def test_who_says_nothing_or_only_heartbeats_is_dropped_after_a_while(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen_hub, "REGISTRATION_S", 0.2)
    port.join(b"FAR-1", beat=b"\xfe")
    with port.call() as silent, port.call(b"\xfe" * 10) as beating, port.call(b"FAR") as half:
        assert await ended(silent) and await ended(beating) and await ended(half)
    assert port.hub.turned_away == {"silent": 3}


async def test_who_floods_with_heartbeats_is_hung_up_on_at_once(port: Port) -> None:
    port.join(b"FAR-1", beat=b"\xfe")
    with port.call(b"\xfe" * 1000) as sock:
        assert await ended(sock)


async def test_a_crowd_from_one_address_pushes_out_only_itself(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen_hub, "MOST_STRANGERS", 8)
    line = port.join(b"FAR-1")
    ours = port.call(b"FAR", source="127.0.0.9")
    crowd = [port.call() for _ in range(20)]
    await until(lambda: port.hub.turned_away["crowded"] == 13)
    ours.sendall(b"-1")
    await until(lambda: line.calls)
    assert len(line.calls) == 1
    for sock in (*crowd, ours):
        sock.close()


async def test_a_port_for_both_kinds_of_addresses_knows_the_old_ones(port: Port) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this system has no IPv6")
    port.hub = listener("::", 0)
    line = port.join()
    with port.call():
        await until(lambda: line.calls)


async def test_a_port_that_is_taken_says_so_and_a_left_one_is_free_again(port: Port) -> None:
    line = port.join()
    other = Listener("127.0.0.1", port.hub.port)
    with pytest.raises(LineDown, match=r"cannot be listened on: Address already in use\.$"):
        other.join(line, port.told.append)
    port.hub.leave(line)
    other.join(line, port.told.append)
    other.close()


async def ended(sock: socket.socket) -> bool:
    async with asyncio.timeout(60):
        try:
            return await asyncio.get_running_loop().sock_recv(sock, 1) == b""
        except ConnectionResetError:
            return True
