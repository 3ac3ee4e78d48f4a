"""However readings and freezes come, late and in any order, the account ends where pricing the whole with exact points puts it."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.domain import ledger, tariffs
from gateway.domain.estimates import boundaries, portions_by
from gateway.domain.price_list import Band, Rate, Reset, Season, StepKind, Steps, Switch, Tariff, TimeOfUse, Version, Zone
from gateway.domain.readings import TOTAL, Item, Quality, Reading, Registers, Source
from gateway.services.charge_energy import charge_energy
from gateway.services.correct_estimate import price_again
from gateway.services.ports import Tx
from tests.gateway.price_lists import ZONE
from tests.gateway.services.house import House, account, local, meter
from tests.gateway.services.memory_tx import MemoryStore

TOU = TimeOfUse((Zone(1, 1, "day"),), {"day": (Switch(0, Rate.VALLEY), Switch(6 * 60, Rate.PEAK), Switch(22 * 60, Rate.VALLEY))})
YEARLY = Steps(StepKind.ADDER, (Reset(1, 0, 1),), (4_000, 9_000), (0, 111_111, 333_333), by_service=False)
PRICES = ({Rate.PEAK: 612_345, Rate.VALLEY: 298_765}, {Rate.PEAK: 777_777, Rate.VALLEY: 123_457})
TARIFF = Tariff(
    "priced",
    "CNY",
    ZONE,
    tuple(
        Version(day, day, (Season("year", 1, 1, prices),), {}, TOU, steps=YEARLY, bands=(Band(0), Band(5_000, 50, 2_000_000)))
        for day, prices in zip(("2026-01-01", "2027-01-03"), PRICES, strict=True)
    ),
)
BEGIN, GRID_MS, STEPS = local("2026-12-30 12:00"), 60 * 60_000, 120
TIMES = [BEGIN + n * GRID_MS for n in range(STEPS + 1)]
METERS = ("m1", "m2")


@st.composite
def histories(draw: st.DrawFn) -> dict[str, list[Registers]]:
    """The true registers of each meter, hour by hour."""
    found = {}
    for name in METERS:
        wh, points = 1_000_000, []
        rises = draw(st.lists(st.integers(0, 300), min_size=STEPS, max_size=STEPS))
        for at_ms, rise in zip(TIMES, [0, *rises], strict=True):
            wh += rise
            points.append(Registers(at_ms, {TOTAL: wh}))
        found[name] = points
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(), st.data())
def test_any_order_ends_in_the_same_balance(true: dict[str, list[Registers]], data: st.DataObject) -> None:
    house = House(MemoryStore(), now_ms=BEGIN)
    house.settle(*(meter(name) for name in METERS), accounts=[account(tariff="priced")], tariffs=[TARIFF], balance="1000")
    kept = set(boundaries(TARIFF, TIMES[0], TIMES[-1]))
    coming: list[tuple[int, int, str, int]] = []  # when, kind, meter, which hour
    exact: dict[str, list[Registers]] = {}
    for name in METERS:
        read = sorted({0, STEPS, *data.draw(st.sets(st.integers(1, STEPS - 1), max_size=12))})
        frozen = [n for n in range(STEPS) if TIMES[n] in kept and data.draw(st.booleans())]
        coming += [(TIMES[n], 0, name, n) for n in read]
        coming += [(TIMES[n] + data.draw(st.integers(0, STEPS)) * GRID_MS, 1, name, n) for n in frozen]
        exact[name] = [true[name][n] for n in sorted({*read, *frozen})]
    billed: dict[str, Registers] = {}
    for when, kind, name, n in sorted(coming):
        house.now_ms = when
        if kind:
            house.do(partial(_freeze, name=name, registers=true[name][n], house=house))
            continue
        if name in billed:
            house.do(partial(_charge, name=name, start=billed[name], end=true[name][n], now_ms=when))
        billed[name] = true[name][n]
    portions = [portion for name in METERS for portion in portions_by(TARIFF, exact[name])]
    whole = tariffs.charge(TARIFF, house.account().terms_for("priced"), {}, portions)
    assert house.do(lambda tx: tx.balance(ledger.customer("A-1"), "CNY")) == 1_000_000_000 - whole.micro
    assert house.verified() is None
    uses = {use.period: use for use in house.do(lambda tx: tx.period_uses("A-1", "priced")) if use.total_wh}
    assert uses == {name: use for name, use in whole.uses.items() if use.total_wh}


def _charge(tx: Tx, name: str, start: Registers, end: Registers, now_ms: int) -> None:
    charge_energy(tx, meter(name), start, end, now_ms)


def _freeze(tx: Tx, name: str, registers: Registers, house: House) -> None:
    items = (Item(TOTAL, Decimal(registers.wh[TOTAL]) / 1000, "kWh"),)
    reading = Reading(name, items, house.now_ms, house.now_ms, Source.FREEZE, registers.at_ms)
    tx.add_reading(reading, "p", Quality.CONFIRMED, house.now_ms)
    price_again(tx, reading, house.site, house.now_ms)
