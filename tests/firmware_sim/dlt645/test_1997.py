"""The same meter in the older dialect."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from protocols.dlt645 import master
from protocols.dlt645.frames import BROADCAST, Dialect
from protocols.dlt645.identifiers import describe, write_fields
from tests.firmware_sim.dlt645.bench import ADDRESS, NOON, Bench
from tests.firmware_sim.virtual import NoAnswer, VirtualStreet, one_meter

ENERGIES = ["9010", "9011", "901F", "9020", "902F", "9110", "9120", "9130", "9140", "9150", "9160", "9410", "981F", "9411"]
DEMANDS = ["A010", "A01F", "A110", "A410", "B010", "B01F", "B411", "B110"]
INSTANTS = ["B611", "B61F", "B621", "B62F", "B630", "B631", "B63F", "B640", "B64F", "B650", "B651", "B634", "B635"]
HAPPENED = ["B210", "B211", "B212", "B213", "B214", "B310", "B311", "B320", "B322", "B330", "B331", "B340"]
PARAMETERS = [
    "C010", "C011", "C020", "C021", "C022", "C030", "C031", "C032", "C033", "C034", "C111", "C112", "C113", "C115", "C116",
    "C117", "C211", "C310", "C311", "C312", "C313", "C314", "C321", "C32E", "C331", "C33A", "C3A1", "C510", "C511",
]  # fmt: skip


def old(**meter: object) -> Bench:
    return Bench(model="dlt645-1997", **meter)


def write(s: Bench, di: str, value: object, level: int = 4, password: str = "444444") -> None:
    data = value if isinstance(value, bytes) else write_fields(di, [value], Dialect.V1997)
    s.ask("a", master.Write97(ADDRESS, di, data, level, password))


@pytest.mark.parametrize("phases", [1, 3])
@pytest.mark.parametrize("di", [*ENERGIES, *DEMANDS, *INSTANTS, *HAPPENED, *PARAMETERS])
def test_every_answer_has_the_layout_of_its_item(phases, di):
    s = old(phases=phases, load={"power_w": 3000, "pf": 0.8})
    item, data = describe(di, Dialect.V1997), s.read(di)
    assert item is not None and item.cut(data) is not None


def test_energies_demands_and_instants():
    s = old(initial_kwh="1234.56", load={"power_w": 3000, "pf": 0.8})
    s.wait(3600)
    assert s.value("9010") == Decimal("1237.56") and s.value("9020") == 0
    assert s.value("9110") == s.value("9130") == Decimal("2.25")
    total, *rates = s.values("901F").values()
    assert len(rates) == 4 and 0 <= total - sum(rates) < Decimal("0.04")
    assert s.value("A010") == 3 and s.value("B010") == "11211215"
    assert s.value("B630") == 3 and s.value("B640") == Decimal("2.25") and s.value("B650") == Decimal("0.800")
    assert abs(s.value("B611") - 220) <= 2 and s.value("B611") == int(s.value("B611"))


def test_absent_phases_and_rates():
    s = old(rates=2, day=[["00:00", 1]])
    assert list(s.values("B61F").values())[1:] == [None, None]
    assert s.refusal(s.read, "9013") == "02" and s.refusal(s.read, "B612") == "02" and s.refusal(s.read, "D110") == "02"
    assert s.value("9410") is None  # no month has ended


def test_last_month_and_the_one_before():
    s = old(set={"04000B01": "2200"}, load={"power_w": 6000, "pf": 1})
    s.wait(12 * 3600)
    assert s.value("9410") == 72 and s.value("A410") == 6 and s.value("9810") is None


def test_a_broadcast_read_is_answered_as_many_1997_meters_do():
    assert old(initial_kwh=5).ask("a", master.Read97(BROADCAST, "9010")).address == ADDRESS


def test_the_last_answer_is_said_again():
    s = old(initial_kwh=5)
    s.read("9010")
    assert s.ask("a", master.Reread97(ADDRESS, "9010")).data.hex() == "00050000"


def test_writes_with_level_and_password():
    s = old()
    write(s, "C112", 2)
    assert s.value("C112") == 2 and s.value("B212") == 1
    assert s.refusal(write, s, "C112", 3, 4, "999999") == "04"
    assert s.refusal(write, s, "C112", b"\x01\x02") == "01"
    assert s.refusal(write, s, "9010", bytes(4)) == "02"
    write(s, "C010", datetime(2026, 12, 24))
    write(s, "B634", "9.50")
    assert s.value("C010").startswith("261224") and s.value("B634") == Decimal("9.50")


def test_what_2007_asks_gets_silence():
    s = old()
    with pytest.raises(NoAnswer):
        s.ask("a", master.Read(ADDRESS, "00010000"))
    with pytest.raises(NoAnswer):
        s.control(master.Action.CUT)
    s.wait(1)
    assert s.supplied


def test_one_makers_relay_is_written_like_a_parameter():
    s = old()
    write(s, "E323", bytes.fromhex("222222"))
    s.wait(1)
    assert not s.supplied
    write(s, "E323", bytes.fromhex("111111"))
    s.wait(1)
    assert s.supplied
    assert s.refusal(write, s, "E323", bytes.fromhex("333333")) == "01"
    standard = old(firmware="standard")
    assert standard.refusal(write, standard, "E323", bytes.fromhex("111111")) == "02"


def test_address_speed_password_reset_and_time():
    s = old(load={"power_w": 3000, "pf": 1}, clock_offset_s=100)
    s.wires["a"].write(master.BroadcastTime(NOON).start(), s.now_us)
    assert s.listen("a") == b"" and abs(s.meter("m").clock_offset_us) < 2_000_000
    s.wait(1800)
    s.ask("a", master.DemandReset97(ADDRESS, 4, "444444"))
    assert s.value("A010") == 0 and s.value("B213") == 1 and s.value("B211").startswith("11211230")
    s.ask("a", master.ChangePassword97(ADDRESS, "444444", "123123", 4, 4))
    write(s, "C112", 3, password="123123")
    assert s.ask("a", master.ChangeSpeed97(ADDRESS, 0x20)) == 0x20
    with pytest.raises(NoAnswer):
        s.read("9010")
    s.handle.act_on_line("a", "baud", {"baud": 4800})
    assert s.ask("a", master.WriteAddress97("000000000009")) == "000000000009"
    assert s.device().address == "000000000009"


def test_both_dialects_live_on_one_line():
    table = one_meter(load={"power_w": 0}, initial_kwh=1)
    table["meter"].append({**table["meter"][0], "id": "n", "address": "000000000077", "model": "dlt645-1997", "initial_kwh": 2})
    s = VirtualStreet(table)
    assert s.ask("a", master.Read(ADDRESS, "00010000")).items[0].value == 1
    assert s.ask("a", master.Read("000000000077", "9010")).items[0].value == 2
    with pytest.raises(NoAnswer):
        s.ask("a", master.Read("000000000077", "00010000"))
    assert s.handle.line("a")["collisions"] == 0
