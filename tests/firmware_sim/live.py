"""Simulators on the real clock: inside this process, or as a child that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import httpx2

from firmware_sim.config import parse
from firmware_sim.serve import Simulator
from protocols.exchange import Done, Exchange, Send

T = TypeVar("T")
PATIENCE_S = 60.0  # some ms; on a machine with other work, far more


@contextlib.asynccontextmanager
async def running(table: dict[str, object], folder: Path) -> AsyncIterator[Simulator]:
    """The street of this table, served by this process, with its handle."""
    simulator = Simulator(parse(table, folder), ("127.0.0.1", 0))
    await simulator.open()
    try:
        yield simulator
    finally:
        simulator.close()


@contextlib.asynccontextmanager
async def child(file: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, object]]]:
    """`python -m firmware_sim FILE` and what it said when it was ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "firmware_sim", str(file), "--control", "127.0.0.1:0",
        cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
        yield process, json.loads(line or b"{}")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def ask_tcp(port: int, exchange: Exchange[T]) -> T:
    """Run an exchange over a new connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(exchange.start())
        async with asyncio.timeout(PATIENCE_S):
            while data := await reader.read(4096):
                step = exchange.feed(data)
                if isinstance(step, Done):
                    return step.result
                if isinstance(step, Send):
                    writer.write(step.data)
        raise ConnectionError("closed")
    finally:
        writer.close()


async def ask_pty(path: str, exchange: Exchange[T]) -> T:
    """Run an exchange over a device file that is opened anew."""
    device = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    loop, heard = asyncio.get_running_loop(), asyncio.Queue[bytes]()
    loop.add_reader(device, lambda: heard.put_nowait(os.read(device, 4096)))
    try:
        os.write(device, exchange.start())
        async with asyncio.timeout(PATIENCE_S):
            while True:
                step = exchange.feed(await heard.get())
                if isinstance(step, Done):
                    return step.result
    finally:
        loop.remove_reader(device)
        os.close(device)


async def handle(url: str, path: str, body: object = None, method: str | None = None) -> tuple[int, object]:
    """(status, JSON) from the control handle."""
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        response = await http.request(method or ("GET" if body is None else "POST"), f"{url}/sim/v1/{path}", json=body)
    return response.status_code, response.json()
