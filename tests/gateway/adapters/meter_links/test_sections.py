"""Blocks of registers: every second billing read has another shape, what a device or a bad line does not give is read in parts."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from gateway.adapters.lines.driver import Garbled, NoAnswer, Timed
from gateway.adapters.lines.manner import BACK_TO_BLOCK, Manner
from gateway.adapters.meter_links.sections import Section
from gateway.adapters.profiles import profile
from protocols.errors import Refused
from protocols.modbus.registers import RegisterType
from protocols.profiles import BlockRead, ModbusReads, Register, Span, plan_reads
from protocols.quantities import Measurement

U32 = RegisterType("u32", scale=Decimal("0.01"))


def reads(*addresses: int, max_gap: int = 8, max_words: int = 40, forbidden: tuple[Span, ...] = ()) -> ModbusReads:
    names = ("energy_import", "energy_export", "energy_combined", "power", "voltage_a")
    registers = tuple(Register(name, "kWh", 3, at, U32) for name, at in zip(names, addresses, strict=False))
    return ModbusReads(registers, max_words, max_gap, confirmed=False, forbidden=forbidden)


class Device:
    """Answers every register with its address. errors: by the question's address and count; longest: registers it gives."""

    def __init__(self, longest: int = 125) -> None:
        self.asked: list[tuple[int, int]] = []
        self.errors: dict[tuple[int, int], Exception] = {}
        self.longest = longest

    async def __call__(self, block: BlockRead) -> Timed[Sequence[Measurement]]:
        self.asked.append((block.address, block.count))
        if error := self.errors.get(self.asked[-1]):
            raise error
        if block.count > self.longest:
            raise Garbled("too long for this line")
        return Timed(block.decode(range(block.address, block.address + block.count)), 0, 1)


def section(of: ModbusReads, wanted: int, *, alike: bool = True) -> Section:
    """The first `wanted` registers in one block."""
    chosen = of.registers[:wanted]
    first, end = min(r.address for r in chosen), max(r.end for r in chosen)
    return Section(BlockRead(3, first, end - first, chosen), of, Manner(), alike=alike)


async def values(of: Section, device: Device, *, vary: bool = False) -> dict[str, Decimal | None]:
    return {m.quantity: m.value for answer in await of.read(device, vary=vary) for m in answer.value}


def value(address: int) -> Decimal:
    return Decimal(address << 16 | address + 1) / 100


async def test_every_second_billing_read_has_another_length_and_the_same_meaning() -> None:
    device, billing = Device(), section(reads(10, 14, 20), 2)
    for _ in range(4):
        assert await values(billing, device, vary=True) == {"energy_import": value(10), "energy_export": value(14)}
    assert device.asked == [(10, 6), (10, 12), (10, 6), (10, 12)]


async def test_a_neighbour_in_front_serves_as_well_and_values_stay_in_their_places() -> None:
    device, billing = Device(), section(reads(10, 2), 1)
    assert [await values(billing, device, vary=True) for _ in range(2)] == [{"energy_import": value(10)}] * 2
    assert device.asked == [(10, 2), (2, 10)]


@pytest.mark.parametrize(
    "of",
    [
        reads(10, 14, 40),
        reads(10, 14, 20, max_words=8),
        reads(10, 14, 20, forbidden=(Span(3, 17, 18),)),
    ],
    ids=["too far", "too long", "forbidden between"],
)
async def test_without_a_neighbour_the_second_read_is_made_in_parts(of: ModbusReads) -> None:
    device, billing = Device(), section(of, 2)
    for _ in range(2):
        assert await values(billing, device, vary=True) == {"energy_import": value(10), "energy_export": value(14)}
    assert device.asked == [(10, 6), (10, 2), (14, 2)]


async def test_numbered_answers_need_no_other_shape() -> None:
    device, billing = Device(), section(reads(10, 14, 20), 2, alike=False)
    for _ in range(4):
        await billing.read(device, vary=True)
    assert set(device.asked) == {(10, 6)}


async def test_a_shape_that_an_unanswered_question_had_is_avoided() -> None:
    device, instant = Device(), section(reads(10, 14, 20), 2)
    await instant.read(device, {(3, 6)})
    await instant.read(device, {(3, 12)})
    assert device.asked == [(10, 12), (10, 6)]


async def test_a_wider_shape_that_is_refused_is_never_asked_again() -> None:
    device, billing = Device(), section(reads(10, 14, 20), 2)
    device.errors[10, 12] = Refused(b"\x02")
    for _ in range(4):
        assert "energy_import" in await values(billing, device, vary=True)
    assert device.asked.count((10, 12)) == 1


async def test_a_merged_read_that_is_refused_is_split_for_good_at_its_widest_gap() -> None:
    device, merged = Device(), section(reads(10, 12, 20), 3, alike=False)
    device.errors[10, 12] = Refused(b"\x02")
    for _ in range(200):
        assert len(await values(merged, device)) == 3
    assert device.asked[:3] == [(10, 12), (10, 4), (20, 2)]
    assert device.asked.count((10, 12)) == 1


async def test_a_register_that_the_device_lacks_is_left_out_of_what_it_has() -> None:
    device, merged = Device(), section(reads(10, 12, 20), 3, alike=False)
    for question in ((10, 12), (20, 2)):
        device.errors[question] = Refused(b"\x02")
    for _ in range(10):
        assert set(await values(merged, device)) == {"energy_import", "energy_export"}
    assert device.asked.count((20, 2)) == 3


async def test_a_device_that_is_busy_is_asked_for_less_and_then_for_all_again() -> None:
    device, merged = Device(), section(reads(10, 12, 20), 3, alike=False)
    device.errors[10, 12] = Refused(b"\x06")
    for _ in range(2):
        with pytest.raises(Refused):
            await merged.read(device)
    del device.errors[10, 12]
    for _ in range(BACK_TO_BLOCK):
        assert len(await values(merged, device)) == 3
    device.asked.clear()
    await merged.read(device)
    assert device.asked == [(10, 12)]


async def test_what_a_bad_line_garbles_is_read_in_parts_and_whole_again_when_it_is_good() -> None:
    device, merged = Device(longest=6), section(reads(10, 12, 20), 3, alike=False)
    got = 0
    for _ in range(30):
        try:
            got += len(await values(merged, device)) == 3
        except Garbled:
            continue
    assert got >= 24
    device.longest = 125
    for _ in range(64):
        await merged.read(device)
    device.asked.clear()
    for _ in range(10):
        await merged.read(device)
    assert set(device.asked) == {(10, 12)}


async def test_a_part_that_fails_does_not_throw_away_the_others_and_comes_first_the_next_time() -> None:
    device, merged = Device(longest=6), section(reads(10, 12, 20), 3, alike=False)
    for _ in range(2):
        with pytest.raises(Garbled):
            await merged.read(device)
    device.errors[20, 2] = NoAnswer("no answer")
    assert set(await values(merged, device)) == {"energy_import", "energy_export"}
    device.asked.clear()
    with pytest.raises(NoAnswer):
        await merged.read(device)
    assert device.asked == [(20, 2)]


@pytest.mark.parametrize("name", ["eastron-sdm630", "hiking-dds238-zn-sr", "eastron-sdm120"])
async def test_every_shipped_profile_is_billed_in_two_ways(name: str) -> None:
    meter = profile(name)
    assert meter.modbus is not None
    energies = [q for q in meter.quantities if q.startswith("energy_")]
    device = Device()
    for block in plan_reads(meter, energies):
        billing = Section(block, meter.modbus, Manner(), alike=True)
        for _ in range(2):
            await billing.read(device, vary=True)
    counts = [count for _, count in device.asked]
    assert len(set(device.asked)) == len(device.asked) and len(set(counts)) > 1
