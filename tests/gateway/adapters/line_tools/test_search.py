"""Unknown meters on a shared line: one, many that collide, both dialects, strange answers, none; in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import pytest

from gateway.adapters.line_tools.modbus_search import search_units
from gateway.adapters.line_tools.place import Place, Setting
from gateway.adapters.line_tools.probe import Probe
from gateway.adapters.line_tools.scan import scan, settings_to_try
from gateway.adapters.line_tools.search import MOST_QUESTIONS, Result, Search
from gateway.adapters.lines.driver import Driver
from protocols.dlt645.frames import Dialect, Frame, encode
from protocols.modbus.frames import rtu_pack
from tests.gateway.adapters.line_tools.meters import Answers, Plain, colliding, line_of
from tests.gateway.adapters.line_tools.uart import UartPlace
from tests.simulation.memory_line import MemoryLine
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time
from tests.simulation.virtual_street import VirtualStreet


async def search(answer: Callable[[bytes], Iterable[tuple[float, bytes]]], *, thorough: bool = False) -> Result:
    probe = Probe(MemoryLine(answer), 9600)
    await probe.open()
    result = await Search(probe, thorough=thorough).run()
    await probe.close()
    return result


def addresses(result: Result) -> list[str]:
    assert all(found.confirmed for found in result.found) and result.complete
    return sorted(found.address for found in result.found)


@in_virtual_time
async def test_a_single_meter_is_found_at_once() -> None:
    result = await search(line_of(Plain("202611210001")))
    (found,) = result.found
    assert (found.address, found.dialect, found.confirmed) == ("202611210001", Dialect.V2007, True)
    assert result.questions < 10 and not result.unresolved


@pytest.mark.parametrize("seed", range(5))
@in_virtual_time
async def test_all_meters_of_a_shared_line_are_found_however_they_collide(seed: int) -> None:
    rng = Random(seed)
    meters = [Plain(f"{rng.randrange(10**12):012d}") for _ in range(12)]
    meters += [Plain("202611210001"), Plain("202611220001"), Plain("202711220001")]  # alike in many low pairs
    result = await search(colliding(meters, rng))
    assert addresses(result) == sorted(meter.address for meter in meters)
    assert result.unresolved == []


@in_virtual_time
async def test_both_dialects_on_one_line() -> None:
    old = [Plain("000000000197", Dialect.V1997), Plain("000000000297", Dialect.V1997)]
    meters = [Plain("202611210001"), Plain("202611210002"), *old]
    result = await search(colliding(meters, Random(7)))
    assert {(found.address, found.dialect) for found in result.found} == {(meter.address, meter.dialect) for meter in meters}


@in_virtual_time
async def test_two_meters_with_one_address_are_told_as_what_cannot_be_resolved() -> None:
    twins = [Plain("202611210001"), Plain("202611210001")]
    for seed in range(5):
        result = await search(colliding(twins, Random(seed)))
        assert result.unresolved and all("202611210001".endswith(low) for low in result.unresolved), result


@in_virtual_time
async def test_a_meter_that_answers_with_the_wildcard_tells_its_address_in_the_payload() -> None:
    meter = Plain("202611210001")

    def answer(data: bytes) -> Answers:
        for delay_s, said in line_of(meter)(data):
            wild = b"\xaa" * 6 in data
            own = bytes.fromhex(meter.address)[::-1]
            told = encode(Frame("A" * 12, 0x91, bytes.fromhex("01040004") + own)) if wild else said
            yield delay_s, told

    assert addresses(await search(answer)) == [meter.address]


@in_virtual_time
async def test_a_meter_that_knows_no_wildcard_is_found_by_13_or_by_all_endings() -> None:
    meter = Plain("202611210001")

    def without(control: bytes) -> Callable[[bytes], Answers]:
        return lambda data: [] if b"\xaa" * 6 in data and control in data else line_of(meter)(data)

    assert addresses(await search(without(b"\x68\x11"))) == [meter.address], "13 is still obeyed"
    assert not (await search(without(b"\x68"))).anything
    assert addresses(await search(without(b"\x68"), thorough=True)) == [meter.address]


@in_virtual_time
async def test_nobody_and_glitches_are_nobody() -> None:
    result = await search(lambda data: [(0.05, b"\x00")])
    assert not result.anything and result.questions == 8


@in_virtual_time
async def test_noise_ends_and_is_named() -> None:
    rng = Random(3)
    result = await search(lambda data: [(0.05, rng.randbytes(12))])
    assert not result.complete and result.questions <= MOST_QUESTIONS + 10 and not result.found


@in_virtual_time
async def test_a_meter_that_was_heard_only_once_is_not_confirmed() -> None:
    meter, times = Plain("202611210001"), iter(range(100))
    result = await search(lambda data: line_of(meter)(data) if next(times) == 0 else [])
    assert [(found.address, found.confirmed) for found in result.found] == [(meter.address, False)]


@in_virtual_time
async def test_speed_and_parity_are_told() -> None:
    wire = Setting(9600, "E")
    place = UartPlace(wire, line_of(Plain("202611210001"), Plain("000000000197", Dialect.V1997)), Setting())
    heard = [(each.setting, addresses(each.result)) for each in await scan(place, lambda text: None) if each.result.anything]
    assert heard == [(wire, ["000000000197", "202611210001"])]
    only = UartPlace(Setting(4800, "N"), line_of(Plain("202611210001")), Setting())
    heard = [(each.setting, addresses(each.result)) for each in await scan(only, lambda text: None) if each.result.anything]
    assert heard == [(Setting(4800, "N"), ["202611210001"])]
    nobody = await scan(only, lambda text: None, fixed=True)
    assert len(nobody) == 1 and not nobody[0].result.anything


def test_what_cannot_be_set_is_not_tried() -> None:
    assert settings_to_try(Place("tcp:h:1", "tcp", "h:1"), False) == [[Setting(2400, "E")]]
    assert settings_to_try(Place("/dev/x", "serial", "/dev/x"), True) == [[Setting(2400, "E")]]
    tried = settings_to_try(Place("/dev/x", "serial", "/dev/x", Setting(9600, "E")), False)
    assert tried[0][0] == Setting(9600, "E") and len(tried) == 2 and all(len(group) == 6 for group in tried)


@in_virtual_time
async def test_modbus_units_are_found_by_any_answer() -> None:
    def line(data: bytes) -> Answers:
        says = {3: b"\x03\x02\x00\x2a", 9: b"\x83\x02"}.get(data[0])
        return [(0.02, rtu_pack(data[0], says))] if says else [(0.02, b"\x01\x02\x03\x04")] if data[0] == 12 else []

    driver = Driver(MemoryLine(line), baud=9600, clock=VirtualClock())
    assert await driver.ensure_open() is None
    found = await search_units(driver, "rtu", range(1, 20))
    assert [(each.unit, each.says.split()[0]) for each in found] == [(3, "holding"), (9, "refused"), (12, "garbled:")]
    await driver.close()


@in_virtual_time
async def test_simulated_meters_that_collide_on_a_simulated_pair_are_all_found() -> None:
    addresses_there = ["202611210001", "202611210002", "202611220002", "202712220002"]
    meters = [{"id": f"m{n}", "line": "bus", "model": "dlt645-single", "address": a} for n, a in enumerate(addresses_there)]
    old = {"id": "old", "line": "bus", "model": "dlt645-1997", "address": "000000000197"}
    street = VirtualStreet({"line": [{"id": "bus", "kind": "tcp", "baud": 9600}], "meter": [*meters, old]})
    probe = Probe(street.lines["bus"], 9600)
    await probe.open()
    result = await Search(probe).run()
    await probe.close()
    assert addresses(result) == sorted([*addresses_there, "000000000197"]) and not result.unresolved
