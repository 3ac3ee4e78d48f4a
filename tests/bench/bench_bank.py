"""What a signed payment costs over HTTP: durable acknowledgements a second, how late they come, and a server without a store.

The server is the banks' listener over a store whose commits reach the disk, in a process of its own; every request carries its own
Ed25519 signature, is checked, and is answered with a signed receipt in a signed answer. Requests are signed before the clock runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocols.bank.signatures import Algorithm, BankKey, Fields, Request, check_request, sign_request

CONNECTIONS = 64
PAYMENTS, TURNS = 3_000, 3
"""Of one turn as fast as it goes; turns with and without a store change off, and the middle one counts."""

PACED_S, PACE = 10, 500
ACCOUNTS = 1_000
URL = "https://pay.example.org"
PATH = "/bank/v1/topups"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW_S = 1_795_233_600
"""2026-11-21T04:00:00Z, the server's whole day."""


def figures() -> Iterator[tuple[str, float, str]]:
    yield "a signature checked by itself", 1e6 * _check_alone(), "us"
    with _server("store") as (paid, at_work), _server("nothing") as (bare, _):
        _turn(paid, 500), _turn(bare, 500)
        used_s = _processor_s(at_work)
        turns = [(_turn(paid, PAYMENTS), _turn(bare, PAYMENTS)) for _ in range(TURNS)]
        used_s = _processor_s(at_work) - used_s
        durable, answered = (median(PAYMENTS / spent_s for spent_s in each) for each in zip(*turns, strict=True))
        yield f"signed payments, durable, {CONNECTIONS} connections (at least 1,000)", durable, "/s"
        yield "the same server without a store, signatures checked in both", answered, "/s"
        yield "durable against without a store (at least 40)", 100 * durable / answered, "%"
        yield "processor time of a payment, all told", 1e3 * used_s / (PAYMENTS * TURNS), "ms"
        late_ms = sorted(asyncio.run(_paced(paid, _requests(PACED_S * PACE))))
        yield f"{PACE} a second: median", late_ms[len(late_ms) // 2], "ms"
        yield f"{PACE} a second: p99 (below 50)", late_ms[len(late_ms) * 99 // 100], "ms"
        yield f"{PACE} a second: longest", late_ms[-1], "ms"


def _check_alone() -> float:
    """Seconds for one, parsed key, body and all."""
    body = _body(1)
    headers = sign_request("POST", URL + PATH, body, "k", KEY, created_s=1000, nonce="n")
    request = Request("POST", URL + PATH, Fields([("content-type", "application/json"), *headers.items()]))
    key = BankKey("k", Algorithm.ED25519, KEY.public_key())
    took = []
    for _ in range(500):
        begun = time.perf_counter()
        check_request(request, body, lambda kid: key, 1000)
        took.append(time.perf_counter() - begun)
    return median(took)


def _body(number: int) -> bytes:
    paid = {"serial": f"S-{secrets.token_hex(8)}", "account": f"A-{number % ACCOUNTS}", "amount": "10.00", "currency": "CNY"}
    return json.dumps({**paid, "paid_at": "2026-11-21T10:00:00+08:00", "accounting_date": "2026-11-21"}).encode()


def _requests(count: int) -> list[bytes]:
    """Signed now."""
    found = []
    for number in range(count):
        body = _body(number)
        signed = sign_request("POST", URL + PATH, body, "k", KEY, created_s=NOW_S, nonce=secrets.token_hex(16))
        lines = {"host": "pay.example.org", "content-type": "application/json", "content-length": str(len(body)), **signed}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        found.append(f"POST {PATH} HTTP/1.1\r\n{head}\r\n".encode() + body)
    return found


def _turn(port: int, count: int) -> float:
    """Seconds for so many payments as fast as they go."""
    return asyncio.run(_flood(port, _requests(count)))


class _Line(asyncio.Protocol):
    """One connection: a request out, its answer in, and no more of HTTP than that."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[None] | None = None
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, request: bytes) -> asyncio.Future[None]:
        assert self.transport is not None
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answered

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, blank, body = self._seen.partition(b"\r\n\r\n")
        if not blank:
            return
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) < length or self.answered is None:
            return
        self._seen = b""
        if head.startswith((b"HTTP/1.1 201", b"HTTP/1.1 200")):
            self.answered.set_result(None)
        else:
            self.answered.set_exception(AssertionError(head + body))


async def _lines(port: int) -> list[_Line]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Line, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]


async def _flood(port: int, requests: list[bytes]) -> float:
    lines = await _lines(port)

    async def send(line: _Line, mine: list[bytes]) -> None:
        for request in mine:
            await line.ask(request)

    begun = time.perf_counter()
    await asyncio.gather(*(send(line, requests[number::CONNECTIONS]) for number, line in enumerate(lines)))
    spent_s = time.perf_counter() - begun
    for line in lines:
        assert line.transport is not None
        line.transport.close()
    return spent_s


async def _paced(port: int, requests: list[bytes]) -> list[float]:
    """Milliseconds from when each was due to its answer: one that waits for a free connection waits in the figure."""
    lines: asyncio.Queue[_Line] = asyncio.Queue()
    for line in await _lines(port):
        lines.put_nowait(line)
    late_ms: list[float] = []
    begun = asyncio.get_running_loop().time()

    async def send(request: bytes, due: float) -> None:
        line = await lines.get()
        await line.ask(request)
        late_ms.append(1000 * (asyncio.get_running_loop().time() - due))
        lines.put_nowait(line)

    tasks, jitter = [], random.Random(7)
    for number, request in enumerate(requests):
        due = begun + (number + jitter.random()) / PACE
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        tasks.append(asyncio.ensure_future(send(request, due)))
    await asyncio.gather(*tasks)
    return late_ms


def _processor_s(pid: int) -> float:
    """What a process has used: also where others take their turns, it is its own."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _server(what: str) -> Iterator[tuple[int, int]]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        command = [sys.executable, "-m", "tests.bench.bench_bank", what, folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield int(process.stdout.readline()), process.pid
            finally:
                process.kill()


async def _serve(what: str, folder: Path) -> None:
    from tests.bench.bank_server import serve

    await serve(what, folder, NOW_S * 1000, URL, {"k": BankKey("k", Algorithm.ED25519, KEY.public_key())}, ACCOUNTS)


if __name__ == "__main__":
    from gateway.adapters import event_loop

    event_loop.run(_serve(sys.argv[1], Path(sys.argv[2])))
