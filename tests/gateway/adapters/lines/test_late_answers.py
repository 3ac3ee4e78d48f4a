"""Late answers: none is taken for the answer to another question, on a line that DL/T 645 and Modbus RTU meters share."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from gateway.adapters.lines.driver import NoAnswer
from gateway.adapters.meter_links.dlt645_link import Dlt645Link, Password
from gateway.adapters.meter_links.modbus_link import ModbusLink
from gateway.adapters.profiles import profile
from gateway.domain.jobs import Answered, Group, ReadJob
from protocols.dlt645.master import Read, ReadAnswer
from protocols.errors import ProtocolError
from protocols.exchange import Exchange
from protocols.modbus.master import ReadRegisters
from tests.conftest import Figure
from tests.simulation.numbering_line import WIDTHS, NumberingLine
from tests.simulation.virtual_loop import VirtualClock, run

REQUESTS = 1_000
"""Every day; the proof asks PROOF_SCALE times as many."""

ADDRESSES = tuple(f"20190604{n:04}" for n in range(5))
UNITS = (1, 2, 3, 4, 5)


class Book:
    def password(self, name: str) -> Password:
        raise LookupError


async def hurry(line: NumberingLine, requests: int, rng: Random) -> None:
    """With the standard's patience only, so that every late answer comes after its time; the same is asked again at once."""
    while line.asked < requests:
        address, unit, di = rng.choice(ADDRESSES), rng.choice(UNITS), rng.choice(list(WIDTHS))
        start, count = rng.choice([(0, 12), (0, 13), (12, 6), (14, 1)])
        for _ in range(3):
            question: Exchange[ReadAnswer | tuple[int, ...]]
            question = Read(address, di, 0) if unit % 2 else ReadRegisters(unit, 3, start, count)
            with contextlib.suppress(NoAnswer, ProtocolError):
                await line.driver.run(question)
                break


async def learn(line: NumberingLine, requests: int, rng: Random) -> None:
    """As the gateway asks: each meter in the manner that it has shown."""
    clock = VirtualClock()
    links: list[Dlt645Link | ModbusLink] = [
        *(Dlt645Link(line.driver, a, a, profile("dlt645-single"), clock=clock, passwords=Book()) for a in ADDRESSES),
        *(ModbusLink(line.driver, str(u), u, profile("hiking-dds238-zn-sr"), clock=clock) for u in UNITS),
    ]
    while line.asked < requests:
        link, group = rng.choice(links), rng.choice([Group.BILLING, Group.INSTANT])
        for _ in range(3):
            if isinstance(await link.perform(ReadJob("m", group)), Answered):
                break


Master = Callable[[NumberingLine, int, Random], Awaitable[None]]


async def ask(master: Master, requests: int, rng: Random, noise: float, echo: bool) -> NumberingLine:
    """The line afterwards."""
    line = NumberingLine(ADDRESSES, UNITS, rng, noise=noise, echo=echo)
    assert await line.driver.ensure_open() is None
    await master(line, requests, rng)
    return line


@pytest.mark.parametrize(
    ("name", "master", "share", "noise", "echo"),
    [
        ("impatient", hurry, 1.0, 0.0, False),
        ("learning", learn, 1.0, 0.0, False),
        ("impatient, with echo", hurry, 0.3, 0.0, True),
        ("learning, noisy", learn, 0.3, 0.005, False),
    ],
)
def test_pain_of_late_answers_none_is_attributed_wrongly(
    name: str, master: Master, share: float, noise: float, echo: bool, proof_scale: int, figure: Figure
) -> None:
    rng, requests = Random(f"late answers, {name}"), int(REQUESTS * share) * proof_scale
    line = run(ask(master, requests, rng, noise, echo))
    assert not line.driver.wrong, line.driver.wrong[:3]
    assert line.late_answers > requests // 8 and line.driver.right > requests // 2
    figure(f"requests, late answers among them, answers attributed wrongly ({name})", f"{line.asked}, {line.late_answers}, 0")
    figure(f"of these answered in time and attributed rightly ({name})", line.driver.right)
