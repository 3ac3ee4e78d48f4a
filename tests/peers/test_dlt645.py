"""PyPI's dlt645 3.2.0: its client reads our meters, our master reads its server, where it follows the standard.

It sends addresses as they are read, high pair first; here it is given them turned round, which makes them right on the wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from firmware_sim.serve import Simulator
from protocols.dlt645.frames import Deframer
from protocols.dlt645.identifiers import decode
from protocols.dlt645.master import Read, ReadAddress, Write
from protocols.errors import Refused
from tests.firmware_sim.live import ask_tcp, running
from tests.peers.child import Peer

ADDRESS = "202611210107"
QUICK = {"delay_ms": [0, 1], "tail_ms": 0}
READINGS = ("00010000", "00010100", "00000000", "02010100", "02020100", "02030000", "02060000", "02800002")
DIGITS = ("04000401", "04000204", "04000503")


def turned(address: str) -> str:
    return bytes.fromhex(address)[::-1].hex()


def street(kind: str, **line: object) -> dict[str, object]:
    meter = {"id": "m", "line": "a", "model": "dlt645-three", "address": ADDRESS, "initial_kwh": "1234.56", "load": {"power_w": 0}}
    return {"line": [{"id": "a", "kind": kind, "baud": 115200, **QUICK, **line}], "meter": [meter]}


def answered(simulator: Simulator, di: str) -> bytes:
    """What the meter has just sent behind this identifier."""
    (frame,) = Deframer().feed(simulator.street.stations["m"].frames[-1].data)
    assert frame.control == 0x91 and frame.data[:4] == bytes.fromhex(di)[::-1]
    return frame.data[4:]


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with Peer("dlt645", "drive_dlt645.py") as call:
        yield call


async def test_its_client_reads_our_meter_over_tcp(peer: Peer, tmp_path: Path) -> None:
    async with running(street("tcp"), tmp_path) as simulator:
        port = simulator.endpoints["a"].port
        assert await asyncio.to_thread(peer, "connect_tcp", port, turned(ADDRESS))
        for di in READINGS:
            told = await asyncio.to_thread(peer, "read", di)
            (ours,) = decode(di, answered(simulator, di))
            assert isinstance(told, float) and ours.value == Decimal(str(told)), di
        for di in DIGITS:
            assert await asyncio.to_thread(peer, "read", di) == answered(simulator, di)[::-1].hex(), di
        assert await asyncio.to_thread(peer, "client_do", "read_address") == turned(ADDRESS)
        assert simulator.endpoints["a"].wire.counters.answers == len(READINGS + DIGITS) + 1


async def test_its_client_reads_our_meter_over_a_pty(peer: Peer, tmp_path: Path) -> None:
    async with running(street("pty", path="line-a"), tmp_path):
        assert await asyncio.to_thread(peer, "connect_pty", str(tmp_path / "line-a"), turned(ADDRESS))
        assert await asyncio.to_thread(peer, "read", "00010000") == 1234.56
        assert await asyncio.to_thread(peer, "disconnect")


async def test_a_refusal_of_ours_is_no_value_to_it(peer: Peer, tmp_path: Path) -> None:
    async with running(street("tcp"), tmp_path) as simulator:
        assert await asyncio.to_thread(peer, "connect_tcp", simulator.endpoints["a"].port, turned(ADDRESS))
        assert await asyncio.to_thread(peer, "read", "00013F00") is None  # a rate that this meter lacks
        assert await asyncio.to_thread(peer, "read", "00010000") == 1234.56


async def test_our_master_reads_its_server(peer: Peer) -> None:
    port = peer("serve", turned(ADDRESS))
    assert isinstance(port, int)
    held = {"00": ("00010000", 123456.78), "02": ("02020100", -1.234), "04": ("04000402", "112233445566")}
    for rule, (di, value) in held.items():
        assert peer("hold", rule, di, value)
    assert [item.value for item in (await ask_tcp(port, Read(ADDRESS, "00010000"))).items] == [Decimal("123456.78")]
    assert [item.value for item in (await ask_tcp(port, Read(ADDRESS, "02020100"))).items] == [Decimal("-1.234")]
    assert (await ask_tcp(port, Read(ADDRESS, "04000402"))).fields[0].value == "112233445566"
    assert await ask_tcp(port, ReadAddress()) == ADDRESS
    with pytest.raises(Refused, match="no requested data"):
        await ask_tcp(port, Read(ADDRESS, "00FFFFFF"))


async def test_our_master_writes_to_its_server(peer: Peer) -> None:
    port = peer("serve", turned(ADDRESS))
    assert isinstance(port, int)
    await ask_tcp(port, Write(ADDRESS, "04000103", b"\x30", level=0, password="000000"))
    assert (await ask_tcp(port, Read(ADDRESS, "04000103"))).fields[0].value == 30
    with pytest.raises(Refused, match="password"):
        await ask_tcp(port, Write(ADDRESS, "04000103", b"\x15", level=0, password="123456"))
