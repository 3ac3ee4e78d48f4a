"""The doctor before lines that are wrong in every way we know, bit by bit where speed and parity matter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from gateway.adapters.line_tools.diagnosis import Finding, Verdict, within_limits
from gateway.adapters.line_tools.doctor import Doctor
from gateway.adapters.line_tools.place import Place, Setting
from gateway.adapters.line_tools.probe import starts_well
from gateway.adapters.line_tools.relay import Way
from gateway.adapters.lines.transport import LineDown, Transport
from protocols.dlt645.frames import Dialect
from protocols.dlt645.master import Read
from tests.gateway.adapters.line_tools.meters import Plain, line_of
from tests.gateway.adapters.line_tools.uart import UartPlace, levels, received
from tests.simulation.memory_line import MemoryLine
from tests.simulation.virtual_loop import in_virtual_time

METER = Plain("202611210001")
OLD = Plain("000000000197", Dialect.V1997)
E2400, E9600, N2400 = Setting(2400, "E"), Setting(9600, "E"), Setting(2400, "N")
VECTORS = Path(__file__).parents[3] / "vectors" / "dlt645.json"


class Remote(Place):
    """A serial server whose setting is not ours to change."""

    __slots__ = ("line",)

    def __init__(self, answer: Callable[[bytes], Iterable[tuple[float, bytes]]]) -> None:
        super().__init__("tcp:far:1", "tcp", "far:1")
        object.__setattr__(self, "line", MemoryLine(answer))

    def at(self, setting: Setting) -> Place:
        return self

    def transport(self, patience_ms: int = 600, search: bool = False) -> Transport:
        return self.line  # type: ignore[attr-defined,no-any-return]


async def see(place: Place, address: str | None = None, dialect: Dialect | None = None) -> Verdict:
    return await Doctor(place, lambda text: None, address, dialect).examine()


def at(wire: Setting, given: Setting, *meters: Plain, lax: bool = False, echo: bool = False) -> UartPlace:
    return UartPlace(wire, line_of(*meters), given, lax, echo)


@pytest.mark.parametrize(
    ("place", "address", "finding", "words"),
    [
        (at(E2400, E2400, METER), None, Finding.GOOD, ["202611210001", "2400 8E1", "dlt645-2007", "50 ms", "nothing is wrong"]),
        (at(E2400, E2400, METER), METER.address, Finding.GOOD, ["202611210001"]),
        (at(E2400, E2400, OLD), None, Finding.GOOD, ["000000000197", "dlt645-1997"]),
        (at(E2400, E2400, METER, echo=True), None, Finding.GOOD, ["hear our own bytes"]),
        (at(E9600, E2400, METER), None, Finding.OTHER_SETTING, ["at 9600 8E1", "not at 2400 8E1"]),
        (at(E9600, E2400, OLD), OLD.address, Finding.OTHER_SETTING, ["at 9600 8E1"]),
        (at(E2400, N2400, METER), None, Finding.OTHER_SETTING, ["at 2400 8E1", "not at 2400 8N1"]),
        (at(N2400, E2400, METER), None, Finding.OTHER_SETTING, ["at 2400 8N1", "not at 2400 8E1"]),
        (at(E2400, E2400, METER), "999", Finding.OTHER_ADDRESS, ["000000000999", "202611210001"]),
        (at(E2400, E2400, Plain("1" * 12, refuses=True)), None, Finding.REFUSED, ["111111111111", "no requested data"]),
        (at(E2400, E2400, Plain("1" * 12, delay_s=0.9)), None, Finding.LATE, ["900 ms"]),
        (at(E2400, E2400, Plain("1" * 12, preamble=0)), None, Finding.NO_PREAMBLE, ["preamble = 0"]),
        (at(E2400, E2400, Plain("1" * 12, preamble=4)), None, Finding.GOOD, ["needs the preamble"]),
        (at(E2400, E2400, METER, Plain("1" * 12, delay_s=0.2)), None, Finding.SEVERAL, ["scan"]),
        (at(E2400, E2400), None, Finding.SILENCE, ["600, 1200, 2400, 4800, 9600, 19200 baud", "A and B"]),
        (at(E2400, E2400), "5", Finding.SILENCE, ["meter 000000000005 does not answer"]),
        (at(E2400, E2400, echo=True), None, Finding.ECHO, ["hear only ourselves"]),
    ],
    ids=lambda value: value.value if isinstance(value, Finding) else "",
)
@in_virtual_time
async def test_what_is_wrong_is_said_in_one_sentence(place: Place, address: str | None, finding: Finding, words: list[str]) -> None:
    verdict = await see(place, address and address.zfill(12))
    assert verdict.finding is finding, verdict
    assert all(word in verdict.sentence for word in words), verdict.sentence
    assert verdict.sentence.endswith(".") and "\n" not in verdict.sentence


@in_virtual_time
async def test_a_meter_that_is_lax_about_parity_is_heard_as_garbage_and_the_right_parity_is_found() -> None:
    place = at(E2400, N2400, METER, lax=True)
    verdict = await see(place)
    assert verdict.finding is Finding.OTHER_SETTING and "at 2400 8E1, not at 2400 8N1" in verdict.sentence


@in_virtual_time
async def test_behind_a_serial_server_with_the_wrong_parity_the_bytes_themselves_tell() -> None:
    def server(data: bytes) -> Iterable[tuple[float, bytes]]:
        for delay_s, said in line_of(METER)(data):
            yield delay_s, received(levels(said, "E"), 2400, N2400, checks=False)

    verdict = await see(Remote(server))
    assert verdict.finding is Finding.PARITY and "8E1" in verdict.sentence


def test_captured_garbage_of_a_line_without_parity_begins_like_an_answer() -> None:
    vector = next(v for v in json.loads(VECTORS.read_text())["vectors"] if v["id"] == "v155")
    assert starts_well(bytes.fromhex(vector["hex"]))
    assert not starts_well(b"\x98\xe0\x18\x66" * 5)


@in_virtual_time
async def test_garbage_that_differs_is_a_collision_and_the_same_garbage_is_a_setting() -> None:
    turn = iter(range(256))
    verdict = await see(Remote(lambda data: [(0.1, bytes([next(turn)]) * 20)]))
    assert verdict.finding is Finding.SEVERAL and "scan" in verdict.sentence
    verdict = await see(Remote(lambda data: [(0.1, b"\x98\xe0" * 10)]))
    assert verdict.finding is Finding.GARBAGE and "speed or parity" in verdict.sentence
    verdict = await see(Remote(lambda data: [(0.1, bytes([next(turn)]) * 20)]), "000000000005")
    assert verdict.finding is Finding.GARBAGE and "noise" in verdict.sentence


@in_virtual_time
async def test_another_master_and_noise_are_heard_before_the_first_question() -> None:
    class Busy(MemoryLine):
        talk = b""

        async def open(self) -> None:
            await super().open()
            self._inbox.feed(self.talk)

    master, noise = Read("000000000042", "00010000").start(), b"\x00\xff\x00\x12"
    cases = [(master, True, Finding.OTHER_MASTER), (master, False, Finding.OTHER_MASTER)]
    for talk, there, finding in (*cases, (noise, False, Finding.NOISE), (noise, True, Finding.GOOD)):
        place, line = Remote(line_of()), Busy(line_of(*[METER] * there))
        line.talk = talk
        object.__setattr__(place, "line", line)
        verdict = await see(place)
        assert verdict.finding is finding, verdict


@in_virtual_time
async def test_a_radio_concentrator_is_waited_for() -> None:
    verdict = await see(Remote(line_of(Plain("1" * 12, delay_s=5.0))))
    assert verdict.finding is Finding.LATE and "after 50" in verdict.sentence


@in_virtual_time
async def test_a_modbus_device_is_told_from_silence() -> None:
    from protocols.modbus.frames import rtu_pack

    def unit(data: bytes) -> Iterable[tuple[float, bytes]]:
        return [(0.05, rtu_pack(data[0], b"\x83\x02"))] if data[0] == 1 and len(data) == 8 else []

    verdict = await see(Remote(unit))
    assert verdict.finding is Finding.MODBUS and "unit 1" in verdict.sentence and "illegal data address" in verdict.sentence


@in_virtual_time
async def test_a_line_that_cannot_be_opened_says_why() -> None:
    class Gone(MemoryLine):
        async def open(self) -> None:
            raise LineDown("/dev/ttyUSB7 does not exist; is the adapter plugged in?")

    place = Remote(line_of())
    object.__setattr__(place, "line", Gone(line_of()))
    verdict = await see(place)
    assert verdict.finding is Finding.LINE and "plugged in" in verdict.sentence


@in_virtual_time
async def test_another_dialect_than_the_one_named() -> None:
    verdict = await see(at(E2400, E2400, OLD), None, Dialect.V2007)
    assert verdict.finding is Finding.OTHER_DIALECT and "dlt645-1997" in verdict.sentence


def test_where_a_gateway_has_the_line_what_was_not_tried_is_said() -> None:
    place = Place("bus", "tcp", "", through=Way("http://127.0.0.1:8080", "secret", "bus"))
    silence = within_limits(place, Verdict(Finding.SILENCE, "nobody answers."))
    assert silence.sentence.startswith("nobody answers; only the line's own setting was tried")
    assert silence.finding is Finding.SILENCE
    good = Verdict(Finding.GOOD, "nothing is wrong.")
    assert within_limits(place, good) == good and within_limits(Place("bus", "tcp", ""), silence) == silence
    assert "secret" not in repr(place)
