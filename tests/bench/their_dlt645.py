"""Runs in the venv of PyPI's dlt645: what its codec and its asyncio client take. Answers a line for each line on standard input.

codec: microseconds for a request of 00010000 and its answer to a value. tcp PORT METERS SECONDS: reads a second, and processor
microseconds for one.
"""

from __future__ import annotations

import asyncio
import copy
import struct
import sys
import time
import timeit

from dlt645 import CtrlCode, DLT645Protocol
from dlt645.aio import AsyncMeterClientService, AsyncTcpClient

ADDRESS, DI, VALUE = bytes.fromhex("185560060000"), 0x00010000, 123456.78
ROUNDS, REPEATS = 300, 60
client = AsyncMeterClientService(AsyncTcpClient("127.0.0.1", 1))
client.address = bytearray(ADDRESS)
reply = bytes(DLT645Protocol.build_frame(ADDRESS, 0x91, bytes.fromhex("0000010078563412")))


def once() -> float:
    DLT645Protocol.build_frame(client.address, CtrlCode.ReadData, struct.pack("<I", DI))
    return client.handle_response(DLT645Protocol.deserialize(reply)).value


def codec() -> float:
    assert once() == VALUE
    return min(timeit.repeat(once, number=ROUNDS, repeat=REPEATS)) / ROUNDS * 1e6


async def tcp(port: int, meters: int, seconds: float) -> str:
    loop = asyncio.get_running_loop()
    clients = []
    for n in range(meters):
        each = copy.copy(client)  # they share the table of items: a copy each would take a second and megabytes
        each.address, each.client = bytearray(n.to_bytes(6, "little")), AsyncTcpClient("127.0.0.1", port)
        assert await each.connect()
        clients.append(each)
    start, spent = loop.time(), time.process_time()

    async def poll(each: AsyncMeterClientService) -> int:
        count = 0
        while loop.time() < start + seconds:
            assert (await each.read_00(DI)).value == VALUE
            count += 1
        return count

    total = sum(await asyncio.gather(*map(poll, clients)))
    told = f"{total / (loop.time() - start)} {(time.process_time() - spent) / total * 1e6}"
    for each in clients:
        await each.disconnect()
    return told


for line in sys.stdin:
    name, *arguments = line.split()
    print(asyncio.run(tcp(int(arguments[0]), int(arguments[1]), float(arguments[2]))) if name == "tcp" else codec(), flush=True)
