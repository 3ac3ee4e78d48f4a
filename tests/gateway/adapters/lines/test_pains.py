"""What users of other masters suffered from, by the number in the list of pains; each test is the behaviour that must not be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from random import Random

import pytest

from gateway.adapters.lines.driver import FIRST_BYTE_MS, GAP_MS, LATE_MS, Driver, Garbled, NoAnswer
from gateway.adapters.lines.late import CALM, PROMPT
from gateway.adapters.lines.manner import RECENT, Manner
from gateway.adapters.lines.timing import LATEST_MS
from gateway.adapters.meter_links.outcomes import Asker
from protocols.dlt645.frames import Frame, encode
from protocols.dlt645.master import Read
from protocols.modbus.master import ReadRegisters, WriteCoil
from tests.gateway.adapters.lines.test_driver import later, make, now, registers
from tests.simulation.numbering_line import NumberingLine
from tests.simulation.virtual_loop import in_virtual_time

ADDRESS, DI = "000006605518", "00010000"


def energy(kwh_hundredths: int = 23093) -> bytes:
    """A DL/T 645 answer with one energy, without FE."""
    return encode(Frame(ADDRESS, 0x91, bytes.fromhex(DI)[::-1] + bytes.fromhex(f"{kwh_hundredths:08d}")[::-1]), 0)


class Unready:
    """Units that miss a question which begins sooner than `needs_s` after the last byte on the line."""

    def __init__(self, delays_s: dict[int, float], needs_s: dict[int, float], arrives_s: float = 0.0) -> None:
        self.missed = 0
        self._delays_s, self._needs_s, self._arrives_s = delays_s, needs_s, arrives_s
        self._spoken_s = -1.0

    def __call__(self, data: bytes) -> Iterable[tuple[float, bytes]]:
        ready = now() - self._spoken_s >= self._needs_s.get(data[0], 0.0)
        self._spoken_s = now() + (self._delays_s[data[0]] if ready else 0.0)
        if ready:
            yield self._delays_s[data[0]] + self._arrives_s, registers(7, unit=data[0])
        self.missed += not ready


async def poll(driver: Driver, units: Iterable[int], rounds: int) -> dict[int, Manner]:
    """Each unit in turn, a silent one once more."""
    askers = {unit: Asker(driver) for unit in units}
    for _ in range(rounds):
        for unit, asker in askers.items():
            for _ in range(2):
                try:
                    await asker.poll(lambda _, unit=unit: ReadRegisters(unit, 3, 0, 1), lambda _: 2)  # type: ignore[misc]
                    break
                except NoAnswer:
                    continue
    return {unit: asker.manner for unit, asker in askers.items()}


@in_virtual_time
async def test_pain_05_a_line_learns_the_gap_that_its_slowest_meter_needs() -> None:
    meters = Unready({1: 0.03, 2: 0.05, 3: 0.04}, {2: 0.06})
    driver, _ = await make(meters)
    await poll(driver, (1, 2, 3), 60)
    assert 60 <= driver.gap_ms <= 100 and meters.missed < 30
    before = meters.missed
    await poll(driver, (1, 2, 3), 100)
    assert meters.missed == before and driver.counters.exchanges == before + 480


@in_virtual_time
async def test_pain_05_a_converter_that_hands_answers_over_late_teaches_no_gap() -> None:
    """The line is quiet for longer than we see; and now and then a packet is late beyond every time-out."""
    rng = Random(5)

    def converter(data: bytes) -> Iterable[tuple[float, bytes]]:
        yield rng.uniform(0.7, 3.0) if rng.random() < 0.2 else rng.uniform(0.05, 0.3), registers(7, unit=data[0])

    driver, _ = await make(converter)
    await poll(driver, (1, 2, 3), 200)
    assert driver.gap_ms == GAP_MS


@pytest.mark.parametrize("pause_s", [0.05, 0.2, 0.45])
@in_virtual_time
async def test_pain_06_pauses_within_a_frame_do_not_end_it_and_its_last_byte_does(pause_s: float) -> None:
    frame = registers(1, 2, 3)
    driver, _ = await make(later(*((0.1 + pause_s * n, bytes([b])) for n, b in enumerate(frame))))
    assert (await driver.run(ReadRegisters(1, 3, 0, 3))).value == (1, 2, 3)
    assert now() == pytest.approx(0.1 + pause_s * (len(frame) - 1))


@in_virtual_time
async def test_pain_07_a_time_out_is_in_milliseconds_and_600_of_them_while_a_meter_is_not_known() -> None:
    delays_s = iter([0.59, *[0.04] * RECENT, 0.3])
    driver, _ = await make(lambda data: [(next(delays_s), registers(7))])
    asker = Asker(driver)

    async def ask() -> None:
        await asker.poll(lambda _: ReadRegisters(1, 3, 0, 1), lambda _: 2)

    for _ in range(RECENT + 1):
        await ask()
    timeout_ms = asker.manner.timeout_ms()
    assert 40 < timeout_ms < 150
    with pytest.raises(NoAnswer) as late:
        await ask()
    assert late.value.late_ms == 300 and asker.manner.timeout_ms() >= FIRST_BYTE_MS


@in_virtual_time
async def test_pain_08_a_dead_meter_costs_one_time_out_on_a_line_that_is_known() -> None:
    driver, _ = await make(lambda data: [(0.04, registers(7, unit=data[0]))] if data[0] == 1 else [])
    begun = now()
    with pytest.raises(NoAnswer):
        await driver.run(ReadRegisters(2, 3, 0, 1))
    assert now() - begun == pytest.approx((FIRST_BYTE_MS + LATE_MS) / 1000), "nothing is known yet"
    await asyncio.sleep(LATEST_MS / 500)
    manner = (await poll(driver, (1,), CALM))[1]
    assert manner.known
    begun = now()
    with pytest.raises(NoAnswer):
        await driver.run(ReadRegisters(2, 3, 0, 1))
    cost_s = now() - begun
    await poll(driver, (1,), 1)
    assert cost_s == pytest.approx(FIRST_BYTE_MS / 1000, abs=0.03)


@in_virtual_time
async def test_pain_08_asking_a_dead_meter_again_and_again_costs_no_more_on_a_line_that_was_never_late() -> None:
    driver, line = await make(lambda data: [(0.04, registers(7, unit=data[0]))] if data[0] == 1 else [])
    await poll(driver, (1,), PROMPT)
    begun = now()
    for _ in range(10):
        with pytest.raises(NoAnswer):
            await driver.run(ReadRegisters(2, 3, 0, 1))
    assert now() - begun < 10 * (FIRST_BYTE_MS + GAP_MS) / 1000 and len(line.sent) == PROMPT + 10


@in_virtual_time
async def test_pain_08_a_known_meter_that_dies_costs_less_than_the_standards_time() -> None:
    alive = True
    driver, _ = await make(lambda data: [(0.04, registers(7, unit=data[0]))] if alive else [])
    asker = Asker(driver)
    for _ in range(CALM):
        await asker.poll(lambda _: ReadRegisters(1, 3, 0, 1), lambda _: 2)
    alive, begun = False, now()
    with pytest.raises(NoAnswer):
        await asker.poll(lambda _: ReadRegisters(1, 3, 0, 1), lambda _: 2)
    assert now() - begun < (FIRST_BYTE_MS + GAP_MS) / 1000


def echoing(data: bytes, *answer: tuple[float, bytes], pieces: int = 1) -> Iterable[tuple[float, bytes]]:
    """The question comes back in so many pieces, then the answer."""
    size = -(-len(data) // pieces)
    yield from ((0.01 + 0.01 * n, data[n * size : (n + 1) * size]) for n in range(pieces))
    yield from answer


@pytest.mark.parametrize("pieces", [1, 2, 8])
@in_virtual_time
async def test_pain_11_an_echo_in_pieces_is_removed(pieces: int) -> None:
    def meter(data: bytes) -> Iterable[tuple[float, bytes]]:
        return echoing(data, *([] if data[1] == 5 else [(0.2, registers(7))]), pieces=pieces)

    driver, _ = await make(meter)
    for _ in range(2):
        assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (7,)
    assert driver.echo is True
    with pytest.raises(NoAnswer) as silent:
        await driver.run(WriteCoil(1, 1, True))
    assert type(silent.value) is NoAnswer


@in_virtual_time
async def test_pain_11_an_adapter_that_echoes_only_sometimes_loses_no_answer() -> None:
    """Question and answer begin alike: FE, the address, 68."""
    echo = iter([True, True, False, True, False, False, True, False])
    driver, _ = await make(lambda data: echoing(data, (0.2, b"\xfe" * 4 + energy())) if next(echo) else [(0.2, energy())])
    for _ in range(8):
        answer = await driver.run(Read(ADDRESS, DI))
        assert answer.value.items[0].value == Decimal("230.93")
    assert driver.echo is True


@in_virtual_time
async def test_pain_11_an_adapter_without_echo_takes_the_place_of_one_with() -> None:
    echo = True

    def meter(data: bytes) -> Iterable[tuple[float, bytes]]:
        answer = (0.2, registers(7) if data[1] == 3 else data)
        return echoing(data, answer) if echo else [answer]

    driver, _ = await make(meter)
    await driver.run(ReadRegisters(1, 3, 0, 1))
    echo = False
    for _ in range(3):
        await driver.run(ReadRegisters(1, 3, 0, 1))
    await driver.run(WriteCoil(1, 1, True))
    echo = True
    await driver.run(ReadRegisters(1, 3, 0, 1))
    assert driver.echo is True


@in_virtual_time
async def test_pain_11_a_collision_that_shows_in_the_echo_is_garbage_and_costs_one_exchange() -> None:
    broken = iter([False, True, False])

    def meter(data: bytes) -> Iterable[tuple[float, bytes]]:
        if next(broken):
            yield 0.01, data[:3] + b"\x55\xaa" + data[5:]
        else:
            yield from echoing(data, (0.2, registers(7)))

    driver, line = await make(meter)
    await driver.run(ReadRegisters(1, 3, 0, 1))
    with pytest.raises(Garbled):
        await driver.run(ReadRegisters(1, 3, 0, 1))
    assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (7,)
    assert line.opened == 1


@pytest.mark.parametrize("lost", range(5))
@in_virtual_time
async def test_pain_12_bytes_lost_in_the_turn_around_cost_fe_or_one_exchange(lost: int) -> None:
    """A driver that is switched too late swallows the first bytes of an answer."""
    swallowed = iter([lost, 0])
    driver, line = await make(lambda data: [(0.05, (b"\xfe" * 4 + energy())[next(swallowed) :])])
    try:
        await driver.run(Read(ADDRESS, DI))
    except Garbled:
        assert lost > 4
    begun = now()
    if lost <= 4:
        assert begun < 0.1
    await driver.run(Read(ADDRESS, DI))
    assert line.opened == 1


@in_virtual_time
async def test_pain_12_a_glitch_behind_every_answer_costs_no_time() -> None:
    driver, _ = await make(lambda data: [(0.05, registers(7)), (0.052, b"\xff")])
    for _ in range(50):
        assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (7,)
    assert now() == pytest.approx(49 * (0.052 + GAP_MS / 1000) + 0.05, rel=0.01)
    assert driver.counters.stray_bytes == 49


@in_virtual_time
async def test_pain_14_a_silent_meter_blocks_nobody_for_ever_and_waiting_can_be_stopped() -> None:
    driver, _ = await make(later((0.5, registers(1)), (5.0, registers(2))))
    for _ in range(100):
        with pytest.raises(NoAnswer):
            async with asyncio.timeout(10):
                await driver.run(ReadRegisters(9, 3, 0, 2))
    task = asyncio.create_task(driver.run(ReadRegisters(9, 3, 0, 3)))
    await asyncio.sleep(0.1)
    begun = now()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert now() == begun
    async with asyncio.timeout(20):
        with pytest.raises(NoAnswer):
            await driver.run(ReadRegisters(9, 3, 0, 4))


TRICKY = {
    "16 as a digit of the value": energy(16161616),
    "68 as a digit of the value": energy(35353535),
    "checksum 16": next(frame for n in range(10_000) if (frame := energy(n))[-2] == 0x16),
    "start doubled": b"\x68" + energy(),
    "stray bytes in front": b"\x00\xff\x16\x13" + energy(),
    "no FE": energy(),
    "one FE": b"\xfe" + energy(),
    "seven FE": b"\xfe" * 7 + energy(),
}


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("name", TRICKY)
@in_virtual_time
async def test_pain_19_data_that_looks_like_a_delimiter_breaks_no_frame(name: str, bytewise: bool) -> None:
    data = TRICKY[name]
    pieces = [(0.05 + 0.005 * n, bytes([b])) for n, b in enumerate(data)] if bytewise else [(0.05, data)]
    driver, _ = await make(later(*pieces))
    answer = await driver.run(Read(ADDRESS, DI))
    assert answer.value.items[0].value is not None and answer.value.address == ADDRESS


@pytest.mark.parametrize(("profile_says", "needs"), [(0, 4), (4, 4), (4, 0), (0, 0)])
@in_virtual_time
async def test_pain_19_whether_a_meter_must_be_woken_is_found_out(profile_says: int, needs: int) -> None:
    driver, line = await make(lambda data: [(0.05, energy())] if len(data) - len(data.lstrip(b"\xfe")) >= needs else [])
    asker, failed = Asker(driver, preamble=profile_says), 0
    for _ in range(40):
        try:
            await asker.poll(lambda fe: Read(ADDRESS, DI, fe), lambda answer: len(answer.data))
        except NoAnswer:
            failed += 1
    assert failed <= 3
    assert len(line.sent[-1][1]) == 16 + needs


@in_virtual_time
async def test_trap_1_a_late_reply_is_not_returned_as_another_registers_value() -> None:
    """Register 100 times out; its answer comes while register 0, asked with the same length, is awaited."""
    answers = iter([[(1.3, registers(999, 999))], [(0.3, registers(7, 7))], [(0.1, registers(7, 7))]])
    driver, line = await make(lambda data: next(answers))
    with pytest.raises(NoAnswer):
        await driver.run(ReadRegisters(1, 3, 100, 2))
    assert (await driver.run(ReadRegisters(1, 3, 0, 2))).value == (7, 7)
    assert line.sent[1][0] >= 1.3, "what the same answer would fit waited for it"


@in_virtual_time
async def test_trap_1_a_late_refusal_is_not_taken_for_the_answer_to_another_identifier() -> None:
    """DL/T 645 refusals name no identifier."""
    refusal = encode(Frame(ADDRESS, 0xD1, b"\x02"), 0)
    answers: Iterable[list[tuple[float, bytes]]] = iter([[(1.3, refusal)], [(0.4, energy())], [(0.1, energy())]])
    driver, _ = await make(lambda data: next(iter(answers)))
    with pytest.raises(NoAnswer):
        await driver.run(Read(ADDRESS, "00020000"))
    with pytest.raises(Garbled, match="earlier question"):
        await driver.run(Read(ADDRESS, DI))
    assert (await driver.run(Read(ADDRESS, DI))).value.items[0].value == Decimal("230.93")


@pytest.mark.parametrize("glitch", [b"\x00", b"\xff", b"\x00\x00", b"\xff\x00\xff", b"\x01", b"\x01\x03"])
@in_virtual_time
async def test_trap_2_a_glitch_in_front_of_a_reply_costs_nothing(glitch: bytes) -> None:
    driver, _ = await make(later((0.05, glitch), (0.06, registers(7)), (0.061, glitch)))
    assert (await driver.run(ReadRegisters(1, 3, 0, 1))).value == (7,)
    assert now() == pytest.approx(0.06)


@in_virtual_time
async def test_two_meters_with_different_delays_share_the_worst_known_answer_time() -> None:
    def meter(data: bytes) -> Iterable[tuple[float, bytes]]:
        if data[0] != 9:
            yield {1: 0.05, 2: 2.5}[data[0]], registers(7, unit=data[0])

    driver, line = await make(meter)
    await driver.run(ReadRegisters(2, 3, 0, 1), first_byte_timeout_ms=3_000)
    assert driver.worst_answer_ms == 2_500
    with pytest.raises(NoAnswer):
        await driver.run(ReadRegisters(9, 3, 0, 1))
    await driver.run(ReadRegisters(1, 3, 0, 1))
    assert line.sent[2][0] - line.sent[1][0] == pytest.approx(2.5)


@in_virtual_time
async def test_a_modbus_question_has_its_silence_also_behind_a_dlt645_answer() -> None:
    """3.5 characters are 32 ms at 1200 baud, more than the line's gap."""
    line = NumberingLine((ADDRESS,), (5,), Random(1), baud=1200, late=0.0)
    driver, sent = line.driver, line.transport.sent
    assert await driver.ensure_open() is None
    for lead_chars, least_s in ((0.0, GAP_MS / 1000), (3.5, 3.5 * 11 / 1200)):
        await driver.run(Read(ADDRESS, DI))
        over = now()
        await driver.run(ReadRegisters(5, 3, 0, 2), lead_chars=lead_chars)
        assert sent[-1][0] - over == pytest.approx(least_s, abs=1e-4)


@in_virtual_time
async def test_an_answer_to_a_question_that_was_given_up_is_not_taken_for_the_next_one() -> None:
    """Whoever cancels a read leaves its answer on the way."""
    answers: Iterable[Iterable[tuple[float, bytes]]] = iter([[(0.5, registers(1))], [(0.1, registers(2))]])
    driver, _ = await make(lambda data: next(iter(answers)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await driver.run(ReadRegisters(1, 3, 0, 1))
    assert (await driver.run(ReadRegisters(1, 3, 8, 1))).value == (2,)
