"""Whatever a master sends, the meter answers with a good frame of its own or stays silent, and lives on."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bcd import encode_digits
from protocols.dlt645.frames import Deframer, Frame
from tests.firmware_sim.dlt645.bench import ADDRESS, Bench, prepaid

FAMILIES = ["00", "01", "02", "03", "04", "05", "06", "07", "1D", "1E", "FF"]
FROM_REST = r"0[0-9A-F]0[0-9A-F](0[0-9A-F]|FF)"
AUTHORITIES = ["0444444400000000", "0222222200000000", "9800000000000000", ""]
family = st.sampled_from(FAMILIES)
identifiers = st.builds(lambda first, rest: encode_digits(first + rest.hex()), family, st.binary(min_size=3, max_size=3))
small = st.builds(lambda first, rest: encode_digits(first + rest), family, st.from_regex(FROM_REST, fullmatch=True))
authority = st.sampled_from(AUTHORITIES).map(bytes.fromhex)
payloads = st.builds(lambda di, head, data: (di + head + data)[:200], identifiers | small, authority, st.binary(max_size=120))
anything = payloads | st.binary(max_size=200)


def check(s: Bench, control: int, data: bytes) -> None:
    unit = s.street.buses["a"].units[0]
    answer = unit.answer(Frame(unit.address, control, data))
    frames = Deframer().feed(answer)
    assert not answer or (len(frames) == 1 and frames[0].is_response and frames[0].function == control & 0x1F)
    s.wait(1)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 31), anything)
def test_a_prepaid_meter_survives_any_request(control, data):
    check(METER, control, data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 31), st.builds(lambda di, rest: di + rest, st.binary(min_size=2, max_size=2), st.binary(max_size=60)))
def test_a_1997_meter_survives_any_request(control, data):
    check(OLD, control, data)


@settings(max_examples=150, deadline=None)
@given(small | identifiers, st.binary(max_size=80))
def test_a_meter_survives_any_write_with_the_right_password(di, data):
    check(METER, 0x14, di + bytes.fromhex("0444444400000042") + data)


METER = prepaid(balance="10", steps={"thresholds_kwh": [10], "adders": ["0", "0.1"]})
OLD = Bench(model="dlt645-1997", address=ADDRESS)
