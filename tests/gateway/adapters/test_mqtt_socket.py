"""Packets that share system calls: whole, in order, also through a full socket and at the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from gateway.adapters.mqtt_socket import MOST, Joined

PACKETS = [bytes((n % 251,)) * (n % 400 + 2) for n in range(3000)]


class Counted(socket.socket):
    """Counts what goes to the system."""

    calls = 0

    def send(self, *args: object) -> int:
        self.calls += 1
        return super().send(*args)  # type: ignore[arg-type]

    def recv(self, *args: object) -> bytes:
        self.calls += 1
        return super().recv(*args)  # type: ignore[arg-type]


@pytest.fixture
def ends() -> Iterator[tuple[Counted, socket.socket]]:
    ours, theirs = socket.socketpair()
    counted = Counted(fileno=ours.detach())
    for sock in (counted, theirs):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST)
    yield counted, theirs
    counted.close()
    theirs.close()


async def all_of(sock: socket.socket, length: int) -> bytes:
    came = bytearray()
    while len(came) < length:
        came += await asyncio.get_running_loop().sock_recv(sock, 1000)
    return bytes(came)


async def give(joined: Joined, packet: bytes) -> None:
    """As the client does it: again, once the socket may take more."""
    while True:
        try:
            assert joined.send(packet) == len(packet)
            return
        except BlockingIOError:
            await asyncio.sleep(0)


async def test_packets_leave_whole_in_order_and_together(ends: tuple[Counted, socket.socket]) -> None:
    ours, theirs = ends
    joined = Joined(ours)
    reading = asyncio.create_task(all_of(theirs, sum(map(len, PACKETS))))
    for packet in PACKETS:
        await give(joined, packet)
    assert await asyncio.wait_for(reading, 60) == b"".join(PACKETS)
    assert ours.calls < len(PACKETS) / 3


async def test_a_full_socket_takes_no_more_and_loses_nothing(ends: tuple[Counted, socket.socket]) -> None:
    ours, theirs = ends
    joined, taken = Joined(ours), 0
    with pytest.raises(BlockingIOError):
        while taken < 100 * MOST:
            taken += joined.send(b"x" * 1000)
    assert len(await asyncio.wait_for(all_of(theirs, taken), 60)) == taken, "also what it kept leaves, without another packet"


async def test_small_reads_share_one_call(ends: tuple[Counted, socket.socket]) -> None:
    ours, theirs = ends
    joined = Joined(ours)
    theirs.send(b"0123456789")
    assert [joined.recv(1), joined.recv(2), joined.recv(100)] == [b"0", b"12", b"3456789"]
    with pytest.raises(BlockingIOError):
        joined.recv(1)
    assert ours.calls == 1
    theirs.send(b"ab")
    assert joined.recv(1) == b"a" and joined.pending() == 1
    assert joined.recv(1) == b"b" and joined.pending() == 0


async def test_the_end_is_seen(ends: tuple[Counted, socket.socket]) -> None:
    ours, theirs = ends
    joined = Joined(ours)
    theirs.send(b"a")
    theirs.close()
    assert joined.recv(10) == b"a"
    with pytest.raises(BlockingIOError):
        joined.recv(10)
    assert joined.recv(10) == b""


async def test_the_last_packet_leaves_before_the_end(ends: tuple[Counted, socket.socket]) -> None:
    ours, theirs = ends
    joined = Joined(ours)
    joined.send(b"goodbye")
    joined.close()
    assert await asyncio.wait_for(all_of(theirs, 7), 60) == b"goodbye"


async def test_a_lost_connection_harms_nobody(ends: tuple[Counted, socket.socket]) -> None:
    ours, theirs = ends
    joined = Joined(ours)
    theirs.close()
    joined.send(b"too late")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    joined.close()
