"""PyPI's python-dlt645 0.1.4 reads our meters, where it can: it knows frames and one register, on any file-like line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.firmware_sim.live import running
from tests.peers.child import Peer
from tests.peers.test_dlt645 import ADDRESS, answered, street


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with Peer("python-dlt645", "drive_python_dlt645.py") as call:
        yield call


async def test_it_finds_and_reads_our_meter_over_tcp(peer: Peer, tmp_path: Path) -> None:
    async with running(street("tcp"), tmp_path) as simulator:
        await asyncio.to_thread(peer, "connect_tcp", simulator.endpoints["a"].port)
        assert await asyncio.to_thread(peer, "address") == ADDRESS
        assert await asyncio.to_thread(peer, "energy", ADDRESS) == 1234.56
        for di in ("00010000", "04000401"):
            told = await asyncio.to_thread(peer, "read", ADDRESS, di)
            assert told == answered(simulator, di)[::-1].hex() + di


async def test_it_reads_our_meter_over_a_pty(peer: Peer, tmp_path: Path) -> None:
    async with running(street("pty", path="line-a"), tmp_path):
        await asyncio.to_thread(peer, "connect_pty", str(tmp_path / "line-a"))
        assert await asyncio.to_thread(peer, "address") == ADDRESS
        assert await asyncio.to_thread(peer, "energy", ADDRESS) == 1234.56
