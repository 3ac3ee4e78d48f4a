"""What DL/T 645 costs, alone and beside PyPI's dlt645 3.2.0, in turns on the same machine in the same run.

A frame of 20 bytes takes 92 ms at 2400 baud, so microseconds are enough for a line; a gateway of a thousand meters wants them few.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import uvloop

from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.tcp import TcpTransport
from protocols.dlt645.frames import Deframer, Frame, encode
from protocols.dlt645.identifiers import decode, read_fields
from protocols.dlt645.load_profile import GROUPS, LoadRecord, encode_records
from protocols.dlt645.master import Read
from protocols.exchange import Done

ROUNDS, REPEATS = 300, 60
"""The best of many short repeats: what is above it is the machine's noise."""
TURNS = 6
"""How often we and the other library take turns; the best of each counts, for a busy machine only makes one slower."""
METERS, SECONDS = 64, 1.0
PEER = Path(__file__).parents[2] / ".venv-peers" / "dlt645"
ADDRESS, DI, VALUE = "000006605518", "00010000", Decimal("123456.78")
ASKED = bytes.fromhex(DI)[::-1]
REPLY = encode(Frame(ADDRESS, 0x91, ASKED + bytes.fromhex("78563412")))
Figure = tuple[str, float, str]


def microseconds(work: Callable[[], object]) -> float:
    return min(timeit.repeat(work, number=ROUNDS, repeat=REPEATS)) / ROUNDS * 1e6


def codec() -> Decimal | None:
    """A request encoded, an answer found and decoded to its value."""
    encode(Frame(ADDRESS, 0x11, ASKED))
    (frame,) = Deframer().feed(REPLY)
    return decode(DI, frame.data[4:])[0].value


def exchange() -> Decimal | None:
    """The same by the exchange that the gateway uses: it also checks who answers what, and gathers follow-up frames."""
    read = Read(ADDRESS, DI)
    read.start()
    step = read.feed(REPLY)
    assert isinstance(step, Done)
    return step.result.items[0].value


def feed_bytewise(wire: bytes) -> None:
    deframer = Deframer()
    for value in wire:
        deframer.feed(bytes([value]))


def figures() -> Iterator[Figure]:
    yield from _link_layer()
    yield from _answers()
    assert codec() == exchange() == VALUE
    yield "00010000: encode, decode to a value", microseconds(codec), "us"
    yield "00010000: a whole exchange", microseconds(exchange), "us"
    if not (PEER / "installed").exists():
        print("dlt645 3.2.0 is not installed (scripts/install peers), so nothing is compared with it", file=sys.stderr)
        return
    yield from _beside_dlt645()


def _link_layer() -> Iterator[Figure]:
    request = Frame(ADDRESS, 0x11, ASKED)
    long = encode(Frame(ADDRESS, 0x91, bytes.fromhex("00FF0100") + bytes(range(196))))
    yield "encode a request", microseconds(lambda: encode(request)), "us"
    yield "find a reply of 8 data bytes in one piece", microseconds(lambda: Deframer().feed(REPLY)), "us"
    yield "find it byte by byte", microseconds(lambda: feed_bytewise(REPLY)), "us"
    yield "find a reply of 200 data bytes in one piece", microseconds(lambda: Deframer().feed(long)), "us"
    yield "find a reply behind 200 bytes of noise", microseconds(lambda: Deframer().feed(b"\x68" * 200 + REPLY)), "us"


def _answers() -> Iterator[Figure]:
    """From bytes on the wire to values, the frame found too."""
    energies, powers = bytes.fromhex("78563412"), bytes.fromhex("563412")
    records = encode_records([_record()] * 2)
    answers = {
        "block 0001FF00 of 5 energies": ("0001FF00", energies * 5),
        "block 0203FF00 of 4 powers": ("0203FF00", powers * 4),
        "block 0001FF00 of 49 energies (200 bytes)": ("0001FF00", energies * 49),
        "status words 040005FF": ("040005FF", bytes(14)),
        "event record 03010101 (131 bytes)": ("03010101", bytes(131)),
        "2 load records of all classes (200 bytes)": ("06010002", records),
    }
    for name, (di, payload) in answers.items():
        wire = encode(Frame(ADDRESS, 0x91, bytes.fromhex(di)[::-1] + payload))
        assert read_fields(di, payload)
        yield f"{name} to values", microseconds(lambda di=di, wire=wire: decode(di, Deframer().feed(wire)[0].data[4:])), "us"


def _record() -> LoadRecord:
    return LoadRecord(datetime(2026, 11, 21, 10, 15), tuple((Decimal(1),) * len(group) for group in GROUPS))


def _beside_dlt645() -> Iterator[Figure]:
    with child(str(PEER / "bin" / "python"), str(Path(__file__).parent / "their_dlt645.py")) as ask:
        turns = [(microseconds(codec), microseconds(exchange), *ask("codec")) for _ in range(TURNS)]
        ours, whole, theirs = (min(column) for column in zip(*turns, strict=True))
        yield "00010000: dlt645 3.2.0", theirs, "us"
        yield "00010000: ours in dlt645's time (at most 0.25)", ours / theirs, "times"
        yield "00010000: our whole exchange in dlt645's time", whole / theirs, "times"
        with child(sys.executable, "-m", "tests.bench.responder") as meter:
            port = int(*meter(""))
            rates = [(*_ours(port), *ask(f"tcp {port} {METERS} {SECONDS}")) for _ in range(TURNS)]
    our_rates, plain_rates, our_costs, their_rates, their_costs = zip(*rates, strict=True)
    ours, theirs, our_us, their_us = max(our_rates), max(their_rates), min(our_costs), min(their_costs)
    yield f"TCP loopback, {METERS} meters: the gateway's driver", ours, "reads/s"
    yield f"TCP loopback, {METERS} meters: the same without uvloop", max(plain_rates), "reads/s"
    yield f"TCP loopback, {METERS} meters: dlt645 3.2.0", theirs, "reads/s"
    yield f"TCP loopback, {METERS} meters: our rate by theirs (at least 2)", ours / theirs, "times"
    yield "processor time for one of our reads", our_us, "us"
    yield "processor time for one of theirs", their_us, "us"
    yield "their processor time by ours", their_us / our_us, "times"


def _ours(port: int) -> tuple[float, float, float]:
    """Reads a second on uvloop, as the gateway runs, and on asyncio's own loop; processor microseconds for one on uvloop."""
    rate, cost_us = uvloop.run(_rate(port))
    return rate, asyncio.run(_rate(port))[0], cost_us


async def _rate(port: int) -> tuple[float, float]:
    """Reads a second over METERS lines, each with the gateway's own driver, and processor microseconds for one."""
    loop, clock = asyncio.get_running_loop(), Clock()
    drivers = [Driver(TcpTransport("127.0.0.1", port), baud=None, clock=clock) for _ in range(METERS)]
    for driver in drivers:
        assert await driver.ensure_open() is None
    start, spent = loop.time(), time.process_time()

    async def poll(driver: Driver, address: str) -> int:
        count = 0
        while loop.time() < start + SECONDS:
            answer = await driver.run(Read(address, DI), gap_ms=0)
            assert answer.value.items[0].value == VALUE
            count += 1
        return count

    total = sum(await asyncio.gather(*(poll(driver, f"{n:012d}") for n, driver in enumerate(drivers))))
    rate, cost_us = total / (loop.time() - start), (time.process_time() - spent) / total * 1e6
    for driver in drivers:
        await driver.close()
    return rate, cost_us


@contextmanager
def child(*command: str) -> Iterator[Callable[[str], tuple[float, ...]]]:
    """A process that answers lines with numbers; an empty line only waits for one."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout

    def ask(line: str) -> tuple[float, ...]:
        if line:
            print(line, file=process.stdin, flush=True)
        return tuple(map(float, process.stdout.readline().split()))

    try:
        yield ask
    finally:
        process.kill()
        process.communicate()
