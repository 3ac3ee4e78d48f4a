"""All that a meter answers is what the protocol's own items say it is, and follows from one physical state."""

from __future__ import annotations

from decimal import Decimal

import pytest

from firmware_sim.dlt645.options import BENCH
from protocols.dlt645 import master
from protocols.dlt645.identifiers import describe, read_fields
from protocols.errors import Refused
from tests.firmware_sim.dlt645.bench import ADDRESS, Bench, prepaid

ENERGIES = [f"00{kind:02X}{rate}00" for kind in range(11) for rate in ("00", "01", "04", "FF")]
OF_PHASES = [f"00{offset + kind:02X}0000" for offset in (0x14, 0x28, 0x3C) for kind in range(1, 11)]
DISTORTED = [f"00{kind:02X}0000" for kind in range(0x80, 0x87)]
DEMANDS = [f"01{kind:02X}{rate}00" for kind in range(1, 11) for rate in ("00", "02", "FF")]
PERIODS = ["00010001", "0001000C", "000100FF", "0001FF02", "01010001", "010100FF"]
INSTANTS = [f"02{family:02X}{which}00" for family in range(1, 10) for which in ("01", "FF")]
TOTALS = [f"02{family:02X}0000" for family in range(3, 7)]
HARMONICS = ["020A0101", "020A03FF", "020B0203", "020B01FF"]
ALONE = [f"028000{n:02X}" for n in range(1, 11)] + ["02800022", "02800023"]
PHASE_EVENTS = (0x01, 0x02, 0x03, 0x04, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F)
WHOLE_EVENTS = (5, 6, 7, 8, 9, 10)
EVENTS = [f"03{kind:02X}{rest}" for kind in PHASE_EVENTS for rest in ("0000", "0101", "030A")]
EVENTS += [f"03{kind:02X}00{n}" for kind in WHOLE_EVENTS for n in ("00", "01")]
EVENTS += ["03110000", "03110001", "03120000", "03120101"]
ACTS = [f"0330{act:02X}{n}" for act in range(15) for n in ("00", "01", "0A")] + ["03350000"]
SWITCHED = [f"{verb}{rest}" for verb in ("1D", "1E") for rest in ("000001", "000101", "00020A", "000301", "00FF01")]
STATUS = [f"0400050{n}" for n in range(1, 8)] + ["040005FF", "04000508"]
PARAMETERS = [
    "04000101", "04000102", "0400010C", "04000103", "04000104", "04000105", "04000106", "04000107", "04000108", "04000109",
    *(f"0400020{n}" for n in range(1, 9)), *(f"0400030{n}" for n in range(1, 8)), *(f"040004{n:02X}" for n in range(1, 15)),
    *(f"0400060{n}" for n in range(1, 4)), *(f"0400070{n}" for n in range(1, 6)), "04000801", "04000802", "04000901", "04000902",
    *(f"04000A0{n}" for n in range(1, 8)), *(f"04000B0{n}" for n in range(1, 4)), *(f"04000D{n:02X}" for n in range(1, 13)),
    *(f"04000E0{n}" for n in range(1, 5)), *(f"04000F0{n}" for n in range(1, 5)), *(f"0400100{n}" for n in range(1, 6)),
    "04001101", "04001104", "04001201", "04001202", "04001203", "04001301", "04001401", "04001402", "04001403", "04001404",
    "04001405", "04001501", "04010000", "04020000", "04010001", "04010008", "04020008", "04030001", "040300FE", "04040101",
    "04040201", "04800001", "04800002", "04800003", "04800004",
]  # fmt: skip
CONSUMED = ["000C0000", "000D0000"]
MONEY = [
    "00900200", "00900201", "000B0000", "0280000B", "02800020", "02800021", "04050101", "040501FF", "040502FF", "04060001",
    "040600FF", "040601FF", "04060302", "040604FF", "040605FF", *(f"0333{n:02X}01" for n in range(1, 7)),
]  # fmt: skip
ALL = [
    *ENERGIES, *DEMANDS, *PERIODS, *INSTANTS, *TOTALS, *HARMONICS, *ALONE, *EVENTS, *ACTS, *SWITCHED, *STATUS, *PARAMETERS,
    *CONSUMED,
]  # fmt: skip
ONLY_MORE_RATES_OR_PHASES = {"020A03FF", "020B0203"} | {di for di in ENERGIES + DEMANDS if di[4:6] in ("02", "01", "04")}


def check(s: Bench, di: str) -> None:
    data, item = s.device().read(di), describe(di)
    assert item is not None and data is not None, di
    assert item.cut(data) is not None, (di, len(data), sum(field.length for field in item.fields))


@pytest.fixture(scope="module")
def three() -> Bench:
    s = Bench(model="dlt645-three", initial_kwh="1234.56", load={"power_w": 9000, "pf": 0.8})
    s.wait(3600)
    return s


@pytest.mark.parametrize("di", [*ALL, *OF_PHASES, *DISTORTED, "02020300", "02030300"])
def test_a_three_phase_meter_answers_in_the_layout_of_the_item(three: Bench, di: str):
    check(three, di)


@pytest.mark.parametrize("di", [*(di for di in ALL if di not in ONLY_MORE_RATES_OR_PHASES), *MONEY])
def test_a_single_phase_prepaid_meter_answers_in_the_layout_of_the_item(di: str):
    s = prepaid(balance="10", steps={"thresholds_kwh": [100], "adders": ["0", "0.1"]})
    check(s, di)


@pytest.mark.parametrize(
    "di", ["00900200", "040501FF", "02800020", "03330101", "00010500", "00150100", "04000C01", "05060001", "FFFFFFFF"]
)
def test_what_a_meter_has_not_got_is_refused(di: str):
    s = Bench()
    with pytest.raises(Refused) as refused:
        s.read(di)
    assert refused.value.code == b"\x02"


def test_everything_goes_over_the_wire_also_in_follow_up_frames(three: Bench):
    assert len(three.read("03300201")) == 202  # demand reset: time, operator, 24 maxima with their times
    assert len(three.read("03300501")) == 682
    assert len(three.read("03300801")) == 1026
    assert len(three.read("0001FF00")) == 20


def test_the_parts_of_a_long_answer_are_of_one_moment():
    s = Bench(load={"power_w": 60_000}, speed=100_000)  # some kWh while the frames are on the line
    s.ask("a", master.DemandReset(ADDRESS, 4, "444444"))
    s.wait(1800)
    s.ask("a", master.DemandReset(ADDRESS, 4, "444444"))
    first = s.read("03300201")
    assert len(first) == 202 and first == s.read("03300201")


def test_energies_of_every_kind_follow_from_one_flow():
    s = Bench(model="dlt645-three", initial_kwh="1234.56", load={"power_w": 9000, "pf": 0.8})
    s.wait(3600)

    def v(di: str) -> dict[str, Decimal]:
        return {value.field.quantity: value.value for value in read_fields(di, s.device().read(di))}

    (imported,), (exported,) = v("00010000").values(), v("00020000").values()
    (q1,), (apparent,) = v("00050000").values(), v("00090000").values()
    assert imported - Decimal("1234.56") == 9 and exported == 0
    assert q1 == Decimal("6.75") and apparent == Decimal("11.25")  # pf 0.8: 3-4-5
    assert v("00030000") == {"reactive_energy_combined_1": q1} and v("00000000") == {"energy_combined": imported}
    of_phases = [v(f"00{di2}0000").popitem()[1] for di2 in ("15", "29", "3D")]
    assert 0 <= imported - sum(of_phases) <= Decimal("0.02")
    assert v("00810000").popitem()[1] + v("00830000").popitem()[1] <= imported


def test_the_maximum_demand_is_the_power_and_tells_its_time(three: Bench):
    data = three.read("01010000")
    assert data[:3] == bytes.fromhex("000009")  # 9.0000 kW
    assert data[3:].hex() == "1512211126"  # 12:15 is the end of the first whole quarter
    assert three.value("02800004") == three.value("02800003") == Decimal("9.0000")


def test_instants_of_a_three_phase_meter(three: Bench):
    v = three.values
    powers = list(v("0203FF00").values())
    assert powers[0] == 9 and abs(sum(powers[1:]) - 9) < Decimal("0.001")
    assert v("02040000") == {"reactive_power": Decimal("6.7500")} and v("02050000") == {"apparent_power": Decimal("11.2500")}
    assert set(v("0206FF00").values()) == {Decimal("0.800")}
    assert v("02070100") == {"phase_angle_a": Decimal("36.9")}
    assert v("02800002")["frequency"] > 49


def test_the_present_rate_segment_table_and_zone():
    s = Bench()
    assert s.device().read("02810001").hex() == "03040101"  # at noon the fourth segment of table 1 runs, rate 3


def test_a_meter_of_the_base_standard_has_no_supplements():
    s = Bench(firmware="standard")
    assert s.value("00010000") == 0
    for di in ("00900200", "04001401", "02800020"):
        assert s.refusal(s.read, di) == "02"
    assert BENCH.describe("04001402") is not None
