"""The driver in virtual time: answers, silence, late answers, noise, echo, gaps and broadcasts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

import pytest

from gateway.adapters.lines.driver import FIRST_BYTE_MS, GAP_MS, LATE_MS, READ_TRIES, Driver, Garbled, NoAnswer
from gateway.adapters.lines.transport import LineDown
from protocols.dlt645.master import BroadcastTime, Read
from protocols.errors import Refused, RequestError
from protocols.modbus.frames import rtu_pack
from protocols.modbus.master import ReadRegisters, WriteCoil
from tests.simulation.memory_line import Answer, MemoryLine
from tests.simulation.virtual_loop import START_MS, VirtualClock, in_virtual_time

CAPTURED = bytes.fromhex("FEFEFEFE6818556006000068910833333433C66335339A16")
"""v009 of the vectors: 230.93 kWh, logged from a meter with address 000006605518."""


def later(*pieces: tuple[float, bytes]) -> Answer:
    """Every question is answered by these pieces after these seconds."""
    return lambda data: pieces


async def make(
    answer: Answer, *, baud: int | None = None, echo: bool | None = None, numbered: bool = False
) -> tuple[Driver, MemoryLine]:
    line = MemoryLine(answer)
    driver = Driver(line, baud=baud, clock=VirtualClock(), echo=echo, numbered=numbered)
    assert await driver.ensure_open() is None
    return driver, line


def now() -> float:
    return asyncio.get_running_loop().time()


def registers(*words: int, unit: int = 1) -> bytes:
    """An RTU answer to function 3."""
    return rtu_pack(unit, bytes([3, 2 * len(words)]) + b"".join(w.to_bytes(2, "big") for w in words))


@in_virtual_time
async def test_an_answer_carries_the_times_of_its_first_and_last_byte() -> None:
    frame = registers(7)
    driver, _ = await make(later((0.1, frame[:3]), (0.4, frame[3:])))
    await asyncio.sleep(5)
    answer = await driver.run(ReadRegisters(1, 3, 0, 1))
    assert answer.value == (7,)
    assert (answer.asked_ms, answer.answered_ms) == (START_MS + 5000, START_MS + 5400)
    assert driver.counters.exchanges == 1 and driver.counters.busy_ms == 400 and not driver.counters.errors


@in_virtual_time
async def test_silence_ends_after_line_time_and_patience() -> None:
    driver, _ = await make(later(), baud=2400)
    question = ReadRegisters(1, 3, 0, 1)
    with pytest.raises(NoAnswer) as silent:
        await driver.run(question)
    assert type(silent.value) is NoAnswer and silent.value.late_ms is None
    assert now() == pytest.approx(8 * 11 / 2400 + (FIRST_BYTE_MS + LATE_MS) / 1000)
    assert driver.counters.errors == {"NoAnswer": 1}


@in_virtual_time
async def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    answers = iter([[(0.9, registers(100))], [(0.1, registers(200))]])
    driver, line = await make(lambda data: next(answers))
    with pytest.raises(NoAnswer) as late:
        await driver.run(ReadRegisters(1, 3, 100, 1))
    assert late.value.late_ms == 900
    answer = await driver.run(ReadRegisters(1, 3, 0, 1))
    assert answer.value == (200,)
    assert line.sent[1][0] >= 0.9


@in_virtual_time
async def test_once_seen_late_the_line_is_waited_for_longer() -> None:
    answers = iter([[(1.05, registers(1))], [(1.3, registers(2))], [(1.5, registers(3))], [(0.1, registers(4))]])
    driver, _ = await make(lambda data: next(answers))
    for _ in range(3):
        with pytest.raises(NoAnswer):
            await driver.run(ReadRegisters(1, 3, 0, 1), first_byte_timeout_ms=1000)
    assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (4,)


@in_virtual_time
async def test_the_slowest_meter_of_a_line_is_reckoned_with_until_it_is_forgotten() -> None:
    answers = iter([[(2.5, registers(1))], *[[]] * 30])
    driver, line = await make(lambda data: next(answers))
    await driver.run(ReadRegisters(1, 3, 0, 1), first_byte_timeout_ms=3000)
    for n in range(30):
        with pytest.raises(NoAnswer):
            await driver.run(ReadRegisters(2, 3, 0, 2 + n))
    times = [at for at, _ in line.sent]
    assert times[2] - times[1] == pytest.approx(2.5) and times[-1] - times[-2] < 1.2


@in_virtual_time
async def test_noise_without_a_frame_is_garbled_and_noise_before_one_is_skipped() -> None:
    driver, _ = await make(later((0.1, b"\x00\xff\x13")))
    with pytest.raises(Garbled):
        await driver.run(ReadRegisters(1, 3, 0, 1))
    driver, _ = await make(later((0.05, b"\x00"), (0.1, registers(7)), (0.11, b"\xff")))
    assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (7,)


@in_virtual_time
async def test_a_babbling_line_cannot_hold_the_driver() -> None:
    driver, _ = await make(lambda data: [(0.01 * n, b"\x01\x03\x02") for n in range(5_000)])
    with pytest.raises(Garbled):
        await driver.run(ReadRegisters(1, 3, 0, 1))
    assert now() < 20


@in_virtual_time
async def test_a_frame_behind_a_false_start_is_found_when_the_line_falls_silent() -> None:
    driver, _ = await make(later((0.1, b"\x68\x01\x02\x03\x04\x05\x06\x68\x91\xff" + CAPTURED)))
    answer = await driver.run(Read("000006605518", "00010000"))
    assert [m.value for m in answer.value.items] == [Decimal("230.93")]
    assert now() == pytest.approx(0.1 + max(FIRST_BYTE_MS - 100, 500) / 1000, abs=0.01)


@in_virtual_time
async def test_the_gap_after_an_answer_is_kept() -> None:
    driver, line = await make(later((0.1, registers(7))))
    await driver.run(ReadRegisters(1, 3, 0, 1), gap_ms=60)
    await driver.run(ReadRegisters(1, 3, 0, 1))
    await driver.run(ReadRegisters(1, 3, 0, 1))
    times = [at for at, _ in line.sent]
    assert times[1] == pytest.approx(0.1 + 0.06) and times[2] == pytest.approx(times[1] + 0.1 + GAP_MS / 1000)


@in_virtual_time
async def test_stray_bytes_are_thrown_away_before_a_question() -> None:
    driver, _ = await make(later((0.1, registers(7)), (5.0, registers(9)), (5.01, b"\x01\x02")))
    await driver.run(ReadRegisters(1, 3, 0, 1))
    await asyncio.sleep(5)
    assert (await driver.run(ReadRegisters(1, 3, 1, 1))).value == (7,)
    assert driver.counters.stray_bytes == len(registers(9)) + 2


@pytest.mark.parametrize("known", [True, None])
@in_virtual_time
async def test_an_echo_is_no_answer_not_even_to_a_coil(known: bool | None) -> None:
    def meter(data: bytes) -> Iterable[tuple[float, bytes]]:
        yield 0.01, data[:5]
        yield 0.02, data[5:]
        if data[1] == 3:
            yield 0.1, registers(7)
        elif data[1] == 5 and data[3] == 1:
            yield 0.1, data

    driver, _ = await make(meter, echo=known)
    assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (7,)
    await driver.run(WriteCoil(1, 1, True))
    assert now() > 0.2
    with pytest.raises(NoAnswer) as deaf:
        await driver.run(WriteCoil(1, 2, True))
    assert type(deaf.value) is NoAnswer


@in_virtual_time
async def test_noise_in_front_hides_no_echo() -> None:
    noise = iter([b"\xff", b"", b""])

    def meter(data: bytes) -> Iterable[tuple[float, bytes]]:
        yield 0.01, next(noise) + data
        if data[1] == 3:
            yield 0.1, registers(7)

    driver, _ = await make(meter)
    for _ in range(2):
        assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (7,)
    with pytest.raises(NoAnswer):
        await driver.run(WriteCoil(1, 1, True))


@in_virtual_time
async def test_without_echo_a_coil_is_answered_by_the_same_bytes() -> None:
    driver, _ = await make(lambda data: [(0.05, registers(7) if data[1] == 3 else data)])
    await driver.run(WriteCoil(1, 1, True))
    await driver.run(ReadRegisters(1, 3, 0, 1))
    await driver.run(WriteCoil(1, 2, True))


@in_virtual_time
async def test_a_broadcast_is_sent_and_not_listened_to() -> None:
    driver, line = await make(later(), baud=2400)
    answer = await driver.run(BroadcastTime(datetime(2026, 1, 1, 12, 0, 0)))
    assert answer.value is None and len(line.sent) == 1
    assert now() == pytest.approx(len(line.sent[0][1]) * 11 / 2400)


@in_virtual_time
async def test_reads_are_tried_three_times_and_no_more() -> None:
    answers = iter([[], [(0.1, b"\x00")], [(0.1, registers(7))]])
    driver, line = await make(lambda data: next(answers))
    assert (await driver.ask(lambda: ReadRegisters(1, 3, 0, 1))).value == (7,)
    driver, line = await make(later())
    with pytest.raises(NoAnswer):
        await driver.ask(lambda: ReadRegisters(1, 3, 0, 1))
    assert len(line.sent) == READ_TRIES == 3


@in_virtual_time
async def test_a_refusal_is_not_asked_again() -> None:
    driver, line = await make(later((0.1, rtu_pack(1, b"\x83\x02"))))
    with pytest.raises(Refused, match="illegal data address"):
        await driver.ask(lambda: ReadRegisters(1, 3, 0, 1))
    assert len(line.sent) == 1 and driver.counters.errors == {"Refused": 1}


@in_virtual_time
async def test_a_protocol_error_never_reopens_the_line() -> None:
    driver, line = await make(later((0.1, b"\x01\x02")))
    for _ in range(5):
        with pytest.raises(Garbled):
            await driver.run(ReadRegisters(1, 3, 0, 1))
        assert await driver.ensure_open() is None
    assert line.opened == 1


@in_virtual_time
async def test_a_bad_question_costs_no_line_time() -> None:
    driver, line = await make(later())
    with pytest.raises(RequestError):
        await driver.run(ReadRegisters(0, 3, 0, 1))
    assert not line.sent and now() == 0


@in_virtual_time
async def test_a_line_that_goes_is_back_within_three_seconds_of_its_return() -> None:
    driver, line = await make(later((0.1, registers(7))))
    asyncio.get_running_loop().call_later(0.05, line.unplug)
    with pytest.raises(LineDown) as down:
        await driver.run(ReadRegisters(1, 3, 0, 1))
    assert down.value.sent
    asyncio.get_running_loop().call_later(60, line.plug)
    attempts = 0
    while await driver.ensure_open() is not None:
        attempts += 1
        with pytest.raises(LineDown) as still:
            await driver.run(ReadRegisters(1, 3, 0, 1))
        assert not still.value.sent
        await asyncio.sleep(driver.reopen_pause_s)
    assert 60 <= now() <= 63 and attempts < 100
    assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (7,)


@in_virtual_time
async def test_numbered_answers_need_no_waiting_after_a_time_out() -> None:
    driver, _ = await make(later(), numbered=True)
    with pytest.raises(NoAnswer):
        await driver.run(ReadRegisters(1, 3, 0, 1, "tcp", 1))
    assert now() == pytest.approx(FIRST_BYTE_MS / 1000)
