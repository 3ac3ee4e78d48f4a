"""SDM630 with its coil module, DDS238 ZN/SR and DDSY1352, asked by the real master over RTU wires in virtual time."""

from __future__ import annotations

import struct

import pytest

from protocols.errors import Refused
from protocols.modbus.frames import rtu_pack
from protocols.modbus.master import ReadBits, ReadRegisters, WriteCoil, WriteRegister, WriteRegisters
from tests.firmware_sim.virtual import NoAnswer, VirtualStreet, one_meter

FIXED = {"contact_ms": [100, 100], "initial_kwh": "1234.56"}


def sdm(**switch: object) -> VirtualStreet:
    return VirtualStreet(one_meter("sdm630", switch={"line": "a", "unit": 10, "coil": 2, "input": 3, **switch}, **FIXED))


def dds(**meter: object) -> VirtualStreet:
    return VirtualStreet(one_meter("dds238", **FIXED, **meter))


def prepaid(**meter: object) -> VirtualStreet:
    return VirtualStreet(one_meter("ddsy1352", **FIXED, **meter))


def floats(s: VirtualStreet, address: int, count: int) -> list[float]:
    words = s.ask("a", ReadRegisters(1, 4, address, count * 2))
    return list(struct.unpack(f">{count}f", struct.pack(f">{count * 2}H", *words)))


def test_sdm630_tells_energy_power_and_phases():
    s = sdm()
    assert floats(s, 0x0048, 1) == [pytest.approx(1234.56, abs=0.001)]
    voltages, currents, powers = (floats(s, address, 3) for address in (0x0000, 0x0006, 0x000C))
    assert sum(powers) == pytest.approx(1000, abs=0.01) and floats(s, 0x0034, 1) == [1000]
    assert all(abs(u * i - p) < 1 for u, i, p in zip(voltages, currents, powers, strict=True))
    assert floats(s, 0x0046, 1)[0] == pytest.approx(50, abs=0.1)


def test_sdm630_reads_gaps_as_zero_and_refuses_odd_and_long_reads():
    s = sdm()
    assert len(floats(s, 0x0000, 40)) == 40
    for address, count, code in [(1, 2, 2), (0, 3, 2), (0, 82, 3), (0x0400, 2, 2)]:
        with pytest.raises(Refused) as refused:
            s.ask("a", ReadRegisters(1, 4, address, count))
        assert refused.value.code == bytes([code])


@pytest.mark.parametrize("inverted", [False, True])
def test_the_coil_really_stops_the_meters_current_and_the_input_shows_the_contact(inverted):
    s = sdm(inverted=inverted)
    assert s.ask("a", ReadBits(10, 1, 0, 8))[2] is not inverted
    assert s.ask("a", ReadBits(10, 2, 0, 8)) == (False, False, False, True, False, False, False, False)
    s.ask("a", WriteCoil(10, 2, inverted))
    s.wait(0.2)
    assert s.ask("a", ReadBits(10, 2, 3, 1)) == (False,)
    assert floats(s, 0x0034, 1) == [0] and floats(s, 0x0006, 3) == [0, 0, 0]
    before = s.meter("m").total_mws
    s.wait(3600)
    assert s.meter("m").total_mws == before
    s.ask("a", WriteCoil(10, 2, not inverted))
    s.wait(0.2)
    assert s.ask("a", ReadBits(10, 2, 3, 1)) == (True,) and floats(s, 0x0034, 1) == [1000]


def test_a_welded_contactor_shows_in_input_and_load_but_not_in_the_coil():
    s = sdm()
    s.station("m").faults.set("welded")
    s.ask("a", WriteCoil(10, 2, False))
    s.wait(5)
    assert s.ask("a", ReadBits(10, 1, 2, 1)) == (False,)
    assert s.ask("a", ReadBits(10, 2, 3, 1)) == (True,) and floats(s, 0x0034, 1) == [1000]


def test_a_free_coil_is_only_a_coil_and_modes_are_normal():
    s = sdm()
    s.ask("a", WriteCoil(10, 7, True))
    assert s.ask("a", ReadBits(10, 1, 0, 8))[7]
    assert s.ask("a", ReadRegisters(10, 3, 0x1000, 8)) == (0,) * 8
    with pytest.raises(Refused):
        s.ask("a", ReadBits(10, 1, 4, 8))


def test_dds238_registers():
    s = dds()
    registers = s.ask("a", ReadRegisters(1, 3, 0, 0x1B))
    assert registers[0x0A] * 0x10000 + registers[0x0B] == 123456
    assert abs(registers[0x0C] - 2200) <= 16 and registers[0x0E] == 1000 and registers[0x10] == 1000
    assert registers[0x15] == 0x0101 and registers[0x1A] == 1


def test_dds238_relay_register_stops_the_current():
    s = dds()
    s.ask("a", WriteRegisters(1, 0x001A, [0]))
    s.wait(0.2)
    assert s.ask("a", ReadRegisters(1, 3, 0x001A, 1)) == (0,)
    assert s.ask("a", ReadRegisters(1, 3, 0x000D, 2)) == (0, 0)
    s.ask("a", WriteRegisters(1, 0x001A, [1]))
    s.wait(0.2)
    assert s.ask("a", ReadRegisters(1, 3, 0x000E, 1)) == (1000,)


def test_dds238_refuses_function_06_other_values_and_other_registers():
    s = dds()
    for exchange, code in [(WriteRegister(1, 0x1A, 0), 1), (WriteRegisters(1, 0x1A, [2]), 3), (WriteRegisters(1, 0, [0, 0]), 2)]:
        with pytest.raises(Refused) as refused:
            s.ask("a", exchange)
        assert refused.value.code == bytes([code])
    s.wait(1)
    assert s.meter("m").relay.contact_closed and s.meter("m").total_count == 123456


def test_ddsy1352_registers():
    s = prepaid()
    energies = s.ask("a", ReadRegisters(1, 3, 0, 10))
    total, *rates = [energies[n] * 0x10000 + energies[n + 1] for n in range(0, 10, 2)]
    assert total == 123456 and abs(total - sum(rates)) <= 4
    volts, amps, power = s.ask("a", ReadRegisters(1, 3, 0x0B, 3))
    assert abs(volts - 2200) <= 16 and abs(volts * amps - power * 1000) < 2000 and power == 1000


def test_ddsy1352_is_forced_by_two_words_in_one_write_and_released_follows_its_balance():
    s = prepaid()
    for words, contact in [([1, 1], False), ([1, 0], True), ([1, 1], False), ([0, 0], True)]:
        s.ask("a", WriteRegisters(1, 0x57, words))
        s.wait(0.2)
        block = s.ask("a", ReadRegisters(1, 3, 0x46, 28))
        assert list(block[17:19]) == words and s.meter("m").relay.contact_closed is contact
        assert s.ask("a", ReadRegisters(1, 3, 0x0D, 1)) == (1000 * contact,)
    device = s.street.buses["a"].modbus[1]
    device.balance = 0
    s.ask("a", WriteRegisters(1, 0x57, [0, 0]))
    s.wait(0.2)
    assert not s.meter("m").relay.contact_closed


def test_ddsy1352_refuses_what_no_table_lists():
    s = prepaid()
    refusals = [
        (ReadRegisters(1, 3, 0x0E, 1), 2), (ReadRegisters(1, 3, 0x57, 2), 2), (ReadRegisters(1, 4, 0, 2), 1),
        (WriteRegisters(1, 0x58, [1]), 2), (WriteRegisters(1, 0x57, [2, 0]), 3), (WriteRegister(1, 0x58, 1), 1),
    ]  # fmt: skip
    for exchange, code in refusals:
        with pytest.raises(Refused) as refused:
            s.ask("a", exchange)
        assert refused.value.code == bytes([code])


@pytest.mark.parametrize("inverted", [False, True])
def test_a_module_without_power_is_silent_and_drops_its_coils_for_good(inverted):
    s = sdm(inverted=inverted)
    s.ask("a", WriteCoil(10, 2, not inverted))
    module = s.street.buses["a"].modbus[10]
    module.power(False, s.now_us)
    with pytest.raises(NoAnswer):
        s.ask("a", ReadBits(10, 1, 0, 8))
    assert s.meter("m").relay.contact_closed is inverted, "a normally closed contact keeps the supply"
    module.power(True, s.now_us)
    assert s.ask("a", ReadBits(10, 1, 0, 8)) == (False,) * 8
    assert s.ask("a", ReadBits(10, 2, 3, 1)) == (inverted,)


def test_foreign_units_and_broken_frames_are_met_with_silence_and_broadcasts_are_obeyed_unanswered():
    s = dds()
    with pytest.raises(NoAnswer):
        s.ask("a", ReadRegisters(2, 3, 0, 2))
    broken = bytearray(ReadRegisters(1, 3, 0, 2).start())
    broken[-1] ^= 1
    s.wires["a"].write(bytes(broken), s.now_us)
    assert s.listen("a") == b""
    s.wires["a"].write(rtu_pack(0, bytes.fromhex("10001A0001020000")), s.now_us)
    assert s.listen("a") == b""
    assert not s.meter("m").relay.contact_closed


def test_modbus_and_dlt645_meters_share_one_line():
    from protocols.dlt645.master import Read

    table = one_meter("dds238", **FIXED)
    table["meter"].append({"id": "d", "line": "a", "model": "dlt645-single", "address": "000000000007", "initial_kwh": 7})
    s = VirtualStreet(table)
    assert s.ask("a", ReadRegisters(1, 3, 0x1A, 1)) == (1,)
    assert str(s.ask("a", Read("000000000007", "00010000")).items[0].value) == "7.00"
    assert s.ask("a", ReadRegisters(1, 3, 0x1A, 1)) == (1,)


def test_tampering_shows_in_modbus_meters_too():
    s = sdm()
    s.act("swap", what="leads", phases=["a", "b", "c"])
    assert floats(s, 0x0034, 1) == [-1000] and floats(s, 0x0006, 1)[0] > 0
    s.wait(3600)
    assert floats(s, 0x0048, 2) == [pytest.approx(1234.56, abs=0.01), pytest.approx(1, abs=0.01)]
    s.act("swap", what="leads", on=False)
    s.act("magnet", share=0.5)
    assert floats(s, 0x0034, 1) == [500] and s.act("cover")["cover"] == "open"
    s = dds()
    s.act("swap", what="leads")
    assert s.ask("a", ReadRegisters(1, 3, 0x000E, 1)) == (0x10000 - 1000,)
    s.act("fault", kind="bypass", share=1)
    assert s.ask("a", ReadRegisters(1, 3, 0x000E, 1)) == (0,) and s.truth()["drawn_mws"] >= 0


def test_a_modbus_meter_is_replaced_and_its_contactor_stays():
    s = sdm()
    s.ask("a", WriteCoil(10, 2, False))
    s.wait(1)
    truth = s.act("swap", initial_kwh=3)
    assert truth["registers"]["total"] == "3.00" and truth["contact"] == "open"
