"""What a value of the past is worth, and what a checksum of one byte lets through."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal

import pytest

from gateway.domain.past import contradicted, past_quality
from gateway.domain.readings import (
    TOTAL,
    Billing,
    Bound,
    Item,
    Quality,
    Registers,
    confirms_itself,
    energy_registers,
    in_step,
    judge,
)
from protocols.dlt645.frames import Frame, encode
from protocols.dlt645.master import Read
from protocols.errors import ProtocolError
from protocols.exchange import Done

MINUTE, HOUR = 60_000, 3_600_000
BOUND = Bound(max_power_w=10_000, count_wh=10, capacity_wh=1_000_000_000)
COUNT = BOUND.count_wh


def block(at_ms: int, *rates: int, total: int | None = None) -> Registers:
    named = {f"{TOTAL}_t{n}": wh for n, wh in enumerate(rates, 1)}
    return Registers(at_ms, {TOTAL: sum(rates) if total is None else total} | named)


def total(at_ms: int, wh: int) -> Registers:
    return Registers(at_ms, {TOTAL: wh})


def billed(registers: Registers, renewals: int = 0) -> Billing:
    return Billing("m", registers, renewals=renewals)


@pytest.mark.parametrize(
    ("second", "steps"),
    [
        (block(MINUTE, 1000, 2000, 500), True),
        (block(MINUTE, 1000, 2300, 500), True),
        (block(MINUTE, 1000, 2300, 500, total=3790), True),  # truncated separately
        (block(MINUTE, 1000, 2300, 500, total=3780), False),
        (block(MINUTE, 1000, 2290, 510), False),
        (block(MINUTE, 990, 2310, 500), False),
        (block(MINUTE, 1000, 2000), False),
        (total(MINUTE, 3500), False),
    ],
)
def test_between_two_blocks_the_total_and_one_rate_move(second: Registers, steps: bool) -> None:
    assert in_step(block(0, 1000, 2000, 500), second, COUNT) is steps


def test_totals_alone_are_in_step_with_nothing() -> None:
    assert not in_step(total(0, 1000), total(MINUTE, 1000), COUNT)


@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_freeze_is_confirmed_by_its_sum_and_a_neighbour(minutes: int) -> None:
    freeze, rose = block(HOUR, 6000, 4000), 100 if minutes > 0 else -100
    neighbour = block(HOUR + minutes * MINUTE, 6000, 4000 + rose)
    assert past_quality(freeze, billed(neighbour), BOUND) is Quality.CONFIRMED
    assert past_quality(freeze, billed(neighbour, renewals=1), BOUND) is Quality.CONFIRMED, "it steps on from this one"
    assert past_quality(freeze, None, BOUND) is Quality.SINGLE
    assert past_quality(freeze, Billing("m"), BOUND) is Quality.SINGLE
    assert past_quality(total(HOUR, 10_000), billed(neighbour), BOUND) is Quality.SINGLE
    other = block(HOUR + minutes * MINUTE, 6000 + rose, 4000 + rose)
    assert past_quality(freeze, billed(other), BOUND) is Quality.SINGLE, "over two rates only the same value again speaks for it"


@pytest.mark.parametrize("neighbour", [block(2 * HOUR, 5990, 4110), block(0, 6010, 3900), block(2 * HOUR, 6000, 14_020)])
def test_a_freeze_that_the_billed_registers_contradict_is_suspect(neighbour: Registers) -> None:
    freeze = block(HOUR, 6000, 4000)
    assert past_quality(freeze, billed(neighbour), BOUND) is Quality.SUSPECT
    assert past_quality(freeze, billed(neighbour, renewals=1), BOUND) is Quality.SINGLE, "of another meter, maybe"


def test_a_freeze_before_the_register_went_over_its_top_is_not_judged_by_what_came_after() -> None:
    top = BOUND.capacity_wh
    assert past_quality(total(0, top - 20), billed(total(HOUR, 30)), BOUND) is Quality.SINGLE
    assert contradicted([total(0, top - 20), total(HOUR, 30)], BOUND) == set()


def test_a_block_that_contradicts_itself_is_suspect() -> None:
    assert past_quality(block(0, 600, total=1000), None, BOUND) is Quality.SUSPECT


def test_a_curve_with_fewer_registers_than_the_bill_is_judged_by_those() -> None:
    assert past_quality(total(HOUR, 10_000), billed(block(2 * HOUR, 5000, 4990)), BOUND) is Quality.SUSPECT


def test_points_of_a_curve_that_contradict_each_other_are_found() -> None:
    curve = [total(n * HOUR, 1000 + 100 * n) for n in range(6)]
    assert contradicted(reversed(curve), BOUND) == set()
    assert contradicted([*curve[:2], total(2 * HOUR, 9200), *curve[3:]], BOUND) == {2 * HOUR, 3 * HOUR}
    assert contradicted([*curve[:2], total(2 * HOUR, 99_000), *curve[3:]], BOUND) == {HOUR, 2 * HOUR, 3 * HOUR}
    assert contradicted([], BOUND) == set()


# what two hit bytes can do that the checksum does not see

ADDRESS, DI = "201906040102", "05060101"
TRUE = ("482.37", "121.43", "207.96", "98.02", "54.95")
BEFORE = block(0, 121_430, 207_800, 98_020, 54_950, total=482_210)
AFTER = block(2 * HOUR, 121_430, 208_320, 98_020, 54_950, total=482_730)


def answer() -> bytes:
    data = bytes.fromhex(DI)[::-1] + b"".join(bytes.fromhex(value.replace(".", "").zfill(8))[::-1] for value in TRUE)
    return encode(Frame(ADDRESS, 0x91, data)).lstrip(b"\xfe")


def two_hits() -> Iterator[Registers]:
    """Every block that two hit bytes of the answer can bring past the checksum and the decoder."""
    frame = answer()
    hits = [(at, bit) for at in range(14, len(frame) - 1) for bit in range(8)]
    for pair in itertools.combinations(hits, 2):
        hit = bytearray(frame)
        for at, bit in pair:
            hit[at] ^= 1 << bit
        if sum(hit[:-2]) % 256 != hit[-2]:
            continue
        read = Read(ADDRESS, DI)
        read.start()
        try:
            step = read.feed(bytes(hit))
        except ProtocolError:
            continue
        if isinstance(step, Done):
            items = [Item(m.quantity.removesuffix("_freeze_daily_1"), m.value, m.unit) for m in step.result.items]
            wh = energy_registers(items)
            if isinstance(wh, dict):
                yield Registers(HOUR, wh)


def off(registers: Registers) -> int:
    """How far the worst register is from the truth, in Wh."""
    return max(abs(wh - int(1000 * Decimal(value))) for wh, value in zip(registers.wh.values(), TRUE, strict=True))


def test_no_two_hit_bytes_make_a_wrong_freeze_confirmed_or_a_wrong_bill() -> None:
    """Beyond one count, within which total and rate are truncated: no rule can know of that."""
    wrong = list(two_hits())
    assert len(wrong) > 300 and all(off(registers) for registers in wrong)
    assert sum(confirms_itself(registers.wh, COUNT) for registers in wrong) > 40, "the sum alone does not see them"
    for billing in (billed(BEFORE), billed(AFTER)):
        assert max(off(r) for r in wrong if past_quality(r, billing, BOUND) is Quality.CONFIRMED) == COUNT
    verdicts = [(r, judge(billed(BEFORE), r, BOUND)) for r in wrong]
    assert max(off(r) for r, verdict in verdicts if verdict.billable is not None or verdict.quality is Quality.CONFIRMED) == COUNT
    assert not [r for r in wrong if off(r) > COUNT and judge(Billing("m", BEFORE, BEFORE), r, BOUND).quality is Quality.CONFIRMED]
