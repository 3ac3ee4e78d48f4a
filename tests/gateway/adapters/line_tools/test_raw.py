"""What a tool may ask through a gateway, and the exchange that asks it."""

from __future__ import annotations

import copy

import pytest

from gateway.adapters.clock import Clock
from gateway.adapters.line_tools.raw import NotARead, RawExchange, RawRead, Wire, raw_read
from gateway.adapters.lines.driver import Driver, NoAnswer
from protocols.dlt645.frames import ANY, BROADCAST, Dialect, Frame, encode
from protocols.dlt645.master import Read, ReadAddress
from protocols.exchange import Done, NeedMore
from protocols.modbus.frames import rtu_pack, tcp_pack
from tests.gateway.adapters.line_tools.meters import Plain, line_of
from tests.simulation.memory_line import MemoryLine
from tests.simulation.virtual_loop import in_virtual_time

METER = "202611210001"
READ = Read(METER, "00010000").start()
PDU = bytes.fromhex("0300000002")


@pytest.mark.parametrize(
    ("data", "wire", "alone"),
    [
        (READ, "dlt645", True),
        (Read(METER, "00010000", 0).start(), "dlt645", True),
        (Read("AAAAAAAAAA01", "00010000").start(), "dlt645", False),
        (Read(BROADCAST, "9010").start(), "dlt645", False),
        (ReadAddress().start(), "dlt645", False),
        (encode(Frame(METER, 0x12, bytes(5))), "dlt645", True),
        (encode(Frame(METER, 0x01, bytes(2))), "dlt645", True),
        (encode(Frame(METER, 0x02, bytes(2))), "dlt645", True),
        *((rtu_pack(7, bytes([function]) + PDU[1:]), "modbus-rtu", True) for function in range(1, 5)),
        (tcp_pack(7, PDU, 5), "modbus-tcp", True),
    ],
)
def test_a_read_may_be_asked(data: bytes, wire: Wire, alone: bool) -> None:
    read = raw_read(data, wire)
    assert (read.data, read.wire, read.alone) == (data, wire, alone)


@pytest.mark.parametrize("control", sorted({*range(0x20)} - {0x11, 0x12, 0x13, 0x01, 0x02} | {0x91, 0x51, 0x31, 0xD1}))
def test_no_other_control_code_may(control: int) -> None:
    with pytest.raises(NotARead, match=f"control {control:02X}"):
        raw_read(encode(Frame(METER, control, bytes(4))), "dlt645")


@pytest.mark.parametrize("function", [5, 6, 7, 8, 15, 16, 22, 23, 0x83])
def test_no_other_modbus_function_may(function: int) -> None:
    pdu = bytes([function]) + PDU[1:]
    with pytest.raises(NotARead, match=f"function {function} may change"):
        raw_read(rtu_pack(1, pdu), "modbus-rtu")
    with pytest.raises(NotARead, match=f"function {function} may change"):
        raw_read(tcp_pack(1, pdu, 1), "modbus-tcp")


@pytest.mark.parametrize(
    ("data", "wire", "said"),
    [
        (b"", "dlt645", "not one DL/T 645 frame"),
        (READ[:-1], "dlt645", "not one DL/T 645 frame"),
        (READ + READ, "dlt645", "not one DL/T 645 frame"),
        (READ + encode(Frame(METER, 0x14, bytes(12))), "dlt645", "not one DL/T 645 frame"),
        (b"\x00" + READ, "dlt645", "not one DL/T 645 frame"),
        (b"\xfe" * 17 + READ.lstrip(b"\xfe"), "dlt645", "not one DL/T 645 frame"),
        (READ[:-2] + b"\x00\x16", "dlt645", "not one DL/T 645 frame"),
        (rtu_pack(1, PDU), "dlt645", "not one DL/T 645 frame"),
        (READ, "modbus-rtu", "not one Modbus RTU read"),
        (rtu_pack(1, PDU)[:-1] + b"\x00", "modbus-rtu", "right CRC"),
        (rtu_pack(1, PDU) + rtu_pack(1, PDU), "modbus-rtu", "not one Modbus RTU read"),
        (rtu_pack(0, PDU), "modbus-rtu", "0 is no Modbus unit"),
        (rtu_pack(248, PDU), "modbus-rtu", "248 is no Modbus unit"),
        (tcp_pack(1, PDU, 1) * 2, "modbus-tcp", "not one Modbus TCP read"),
        (tcp_pack(1, PDU + b"\0", 1), "modbus-tcp", "not one Modbus TCP read"),
        (rtu_pack(1, PDU), "modbus-tcp", "not one Modbus TCP read"),
    ],
)
def test_what_is_no_single_read_is_refused(data: bytes, wire: Wire, said: str) -> None:
    with pytest.raises(NotARead, match=said):
        raw_read(data, wire)


@in_virtual_time
async def test_one_meter_is_heard_to_its_end_and_everybody_until_silence() -> None:
    loop_meters = [Plain(METER, delay_s=0.05), Plain("202611210002", delay_s=0.3), Plain("000000000003", Dialect.V1997)]
    driver = Driver(MemoryLine(line_of(*loop_meters)), baud=9600, clock=Clock())
    await driver.ensure_open()
    alone = RawExchange(raw_read(READ, "dlt645"))
    assert (await driver.run(alone)).value == alone.heard != b""
    everybody = RawExchange(raw_read(Read(ANY, "00010000").start(), "dlt645"))
    heard = (await driver.run(everybody)).value
    assert all(bytes.fromhex(meter.address)[::-1] in heard for meter in loop_meters[:2])
    nobody = RawExchange(raw_read(Read("000000000009", "00010000").start(), "dlt645"))
    with pytest.raises(NoAnswer):
        await driver.run(nobody)
    assert nobody.heard == b""


@in_virtual_time
async def test_garbage_is_kept_and_is_still_no_answer() -> None:
    driver = Driver(MemoryLine(lambda data: [(0.1, b"\x68garbage")]), baud=9600, clock=Clock())
    await driver.ensure_open()
    exchange = RawExchange(raw_read(READ, "dlt645"))
    with pytest.raises(NoAnswer):
        await driver.run(exchange)
    assert exchange.heard == b"\x68garbage"


def test_a_modbus_answer_or_refusal_ends_it_and_another_units_does_not() -> None:
    read = raw_read(rtu_pack(7, PDU), "modbus-rtu")
    answer = rtu_pack(7, bytes.fromhex("030400010002"))
    for end in (answer, rtu_pack(7, b"\x83\x02")):
        exchange = RawExchange(read)
        assert exchange.feed(rtu_pack(8, bytes.fromhex("030400010002"))) == NeedMore(begun=True)
        assert isinstance(exchange.feed(end[:3]), NeedMore)
        step = exchange.feed(end[3:])
        assert isinstance(step, Done) and step.result.endswith(end)


def test_modbus_tcp_travels_under_the_gateways_number_and_comes_back_under_the_tools() -> None:
    exchange = RawExchange(raw_read(tcp_pack(7, PDU, 5), "modbus-tcp"), number=900)
    assert exchange.start() == tcp_pack(7, PDU, 900)
    answer = bytes.fromhex("030400010002")
    assert isinstance(exchange.feed(tcp_pack(7, answer, 5)), NeedMore), "a late answer to somebody else"
    step = exchange.feed(tcp_pack(7, answer, 900))
    assert isinstance(step, Done) and step.result == tcp_pack(7, answer, 5)


def test_another_meters_answer_or_another_items_is_heard_and_ends_nothing() -> None:
    exchange = RawExchange(raw_read(READ, "dlt645"))
    di, value = bytes.fromhex("00000100"), b"\x78\x56\x34\x12"
    for foreign in (
        Frame("202611210002", 0x91, di + value),
        Frame(METER, 0x91, bytes.fromhex("00000200") + value),
        Frame(METER, 0x94),
        Frame(METER, 0x11, di),
    ):
        assert exchange.feed(encode(foreign)) == NeedMore(begun=True)
    twin = copy.deepcopy(exchange)
    for heard in (exchange, twin):
        assert isinstance(heard.feed(encode(Frame(METER, 0xD1, b"\x02"))), Done), "a refusal is an answer"


def test_who_babbles_is_cut_off() -> None:
    exchange = RawExchange(RawRead(READ, "dlt645", alone=False))
    step = exchange.feed(b"\xff" * 5_000)
    assert isinstance(step, Done) and len(step.result) == 4_096
