"""Statements: whatever happened, opening + lines = closing, exactly and as printed; a day is a line, and so is a correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain import ledger, statement_lines
from gateway.domain.charge_refs import line_refs
from gateway.domain.ledger import GENESIS, Entry, EntryKind, Leg, PostedEntry, post
from gateway.domain.price_list import Rate, Season, Tariff, Version
from gateway.domain.statement import CannotState, Line, Move, Receipt, Section, check_period, period, shown
from gateway.domain.statement_lines import Lines
from gateway.domain.statement_text import line_text
from gateway.domain.tariffs import ChargeLine

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON_MS = 1_790_827_200_000  # 2026-10-01 12:00 in Shanghai
QUARTER_MS, DAY_MS = 900_000, 86_400_000
ME = ledger.customer("A-1")
REGISTERS = {Rate.PEAK: ("energy_import_t2",), Rate.VALLEY: ("energy_import_t3", "energy_import_t4")}
TARIFF = Tariff("tou", "CNY", "Asia/Shanghai", (Version("2024", "2024-01-01", (Season("all", 1, 1, {}),), REGISTERS),))


def line(wh: int = 250, price: int = 617_000, rate: Rate | None = Rate.SINGLE, **changes: object) -> ChargeLine:
    values = {
        "period": "2026-10-01T00:00", "component": "energy", "version": "2024", "season": "all", "rate": rate, "step": None,
        "wh": wh, "price_micro": price, "micro": wh * price // 1000, "rule": "energy at its rate's price", "name": "",
    }  # fmt: skip
    return ChargeLine(**{**values, **changes})  # type: ignore[arg-type]


@dataclass
class Journal:
    """A journal in a list, and what a statement over its end says."""

    posted: list[PostedEntry] = field(default_factory=list)
    wh: int = 0

    def add(self, entry: Entry) -> PostedEntry:
        last = self.posted[-1] if self.posted else None
        self.posted.append(post(entry, *((last.number, last.hash) if last else (0, GENESIS))))
        return self.posted[-1]

    def topup(self, micro: int = 50_000_000, at_ms: int = NOON_MS) -> PostedEntry:
        legs = (Leg(ME, micro), Leg("bank:icbc", -micro))
        return self.add(Entry(EntryKind.TOPUP, "CNY", legs, at_ms, {"bank": "icbc", "serial": f"S{len(self.posted)}"}))

    def charge(self, *lines: ChargeLine, at_ms: int = NOON_MS, first: str | None = None, **ref: str) -> PostedEntry:
        return self.add(
            ledger.charge("A-1", "CNY", parts(lines), at_ms, self.ref(lines, at_ms) | ref | ({"line:0": first} if first else {}))
        )

    def ref(self, lines: Sequence[ChargeLine], at_ms: int) -> dict[str, str]:
        wh, self.wh = self.wh, self.wh + sum(each.wh for each in lines)
        span = {"from_ms": str(at_ms - QUARTER_MS), "to_ms": str(at_ms)}
        return {"meter": "m1", "tariff": "tou", "energy_import": f"{wh}-{self.wh}"} | span | line_refs(lines)

    def correct(self, original: PostedEntry, *lines: ChargeLine, at_ms: int = NOON_MS + DAY_MS) -> None:
        undone = self.add(ledger.reversal(original, at_ms, {"reason": "late freeze"}))
        legs = ledger.charge("A-1", "CNY", parts(lines), at_ms, {"x": "y"}).legs
        span = {key: original.entry.ref[key] for key in ("from_ms", "to_ms", "tariff")}
        self.add(ledger.correction(original, undone.number, legs, at_ms, line_refs(lines) | span, {"reason": "late freeze"}))

    def find(self, number: int) -> PostedEntry | None:
        return self.posted[number - 1] if 0 < number <= len(self.posted) else None

    def balance(self, number: int) -> int:
        return sum(leg.micro for each in self.posted[:number] for leg in each.entry.legs if leg.account == ME)

    def section(self, after: int = 0, *, keep: bool = True, closing: int | None = None) -> Section:
        lines = Lines("balance", "CNY", SHANGHAI, after, self.find, {"tou": TARIFF}.get, receipt, keep=keep)
        lines.take(moves(self.posted[after:]))
        return lines.section(self.balance(after), self.balance(len(self.posted)) if closing is None else closing)


def parts(lines: Sequence[ChargeLine]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in lines:
        found[each.component] = found.get(each.component, 0) + each.micro
    return found


def moves(posted: Sequence[PostedEntry]) -> list[Move]:
    found = []
    for number, entry in ((each.number, each.entry) for each in posted):
        mine = [leg.micro for leg in entry.legs if leg.account == ME]
        if mine:
            found.append(Move(number, entry.kind.value, entry.currency, entry.at_ms, entry.ref, sum(mine)))
    return found


def receipt(ref: object) -> Receipt:
    assert isinstance(ref, dict)
    return Receipt(f"R-{ref['serial']}", ref["bank"], "", ref["serial"])


def told(section: Section) -> list[tuple[str, str, int]]:
    return [(each.day, line_text(each), each.micro) for each in section.lines]


def test_a_day_of_quarter_hours_is_one_line_with_its_registers() -> None:
    journal = Journal()
    midnight_ms = NOON_MS - 12 * 3_600_000
    for quarter in range(1, 97):  # the last one ends the day: midnight belongs to the day before
        journal.charge(line(), at_ms=midnight_ms + quarter * QUARTER_MS)
    journal.charge(line(1000), at_ms=midnight_ms + 97 * QUARTER_MS, estimated="shared by time")
    first, second = journal.section().lines
    assert (first.day, first.entries, first.micro, first.first, first.last) == ("2026-10-01", 96, -96 * 154_250, 1, 96)
    assert first.energy is not None and second.energy is not None
    assert (first.energy.wh, first.energy.price_micro, first.energy.rule) == (24_000, 617_000, "energy at its rate's price")
    assert (first.energy.register, first.energy.first_wh, first.energy.last_wh) == ("energy_import", 0, 24_000)
    assert (first.energy.from_ms, first.energy.to_ms) == (midnight_ms, midnight_ms + DAY_MS)
    assert (second.day, line_text(second), first.energy.estimated) == ("2026-10-02", "Energy, meter m1 (estimated)", False)


def test_rates_steps_and_prices_are_lines_of_their_own() -> None:
    journal = Journal()
    peak, step = line(100, 900_000, Rate.PEAK), line(100, 50_000, None, component="step", step=2)
    valley = line(50, 300_000, Rate.VALLEY)
    for n in range(3):
        journal.charge(peak, step, at_ms=NOON_MS + n * QUARTER_MS, energy_import_t2=f"{n * 100}-{n * 100 + 100}")
    journal.charge(line(100, 950_000, Rate.PEAK), valley, at_ms=NOON_MS + 3 * QUARTER_MS, energy_import_t2="300-400")
    section = journal.section()
    assert told(section) == [
        ("2026-10-01", "Energy, meter m1, peak", -270_000),
        ("2026-10-01", "Step addition, meter m1, step 2", -15_000),
        ("2026-10-01", "Energy, meter m1, peak", -95_000),
        ("2026-10-01", "Energy, meter m1, valley", -15_000),
    ]
    registers = [(each.energy.register, each.energy.first_wh, each.energy.last_wh) for each in section.lines if each.energy]
    assert registers[0] == ("energy_import_t2", 0, 300) and registers[2] == ("energy_import_t2", 300, 400)
    assert registers[1] == ("energy_import", 0, 600) and registers[3] == ("", None, None)  # valley has two registers
    assert [(each.component, each.micro, each.wh) for each in section.sums] == [("energy", -380_000, 450), ("step", -15_000, 300)]


def test_a_correction_within_the_period_leaves_what_is_right() -> None:
    wrong, right = Journal(), Journal()
    for journal in (wrong, right):
        journal.charge(line())
    estimate = wrong.charge(line(1000), at_ms=NOON_MS + QUARTER_MS, estimated="shared by time")
    wrong.correct(estimate, line(600), line(400, 300_000, Rate.VALLEY))
    right.charge(line(600), line(400, 300_000, Rate.VALLEY), at_ms=NOON_MS + QUARTER_MS)
    plain = [replace(each, entries=0, first=0, last=0, corrects=None, energy=None) for each in wrong.section().lines]
    assert plain == [replace(each, entries=0, first=0, last=0, energy=None) for each in right.section().lines]
    assert [text for _, text, _ in told(wrong.section())] == [
        "Energy, meter m1 (corrected)", "Energy, meter m1, valley (corrected)"
    ]  # fmt: skip


def test_a_correction_of_an_earlier_bill_is_one_net_line() -> None:
    journal = Journal()
    first = journal.charge(line(1000), line(10, 1_000, None, component="step", step=1))
    journal.charge(line())
    journal.correct(first, line(900), line(100, 300_000, Rate.VALLEY))
    again = journal.posted[-1]
    journal.correct(again, line(1000, 300_000, Rate.VALLEY))
    section = journal.section(after=2)
    assert told(section) == [("2026-10-02", "Correction of the bill from 2026-10-01, meter m1", 617_010 - 300_000)]
    only: Line = section.lines[0]
    assert (only.entries, only.first, only.last, only.energy and only.energy.wh) == (4, 3, 6, -10)
    assert [each.component for each in section.sums] == ["correction"]


def test_money_given_back_stays_beside_its_payment_and_other_entries_are_netted() -> None:
    journal = Journal()
    paid = journal.topup()
    given = journal.add(ledger.adjustment("A-1", "CNY", 1_000_000, NOON_MS, {"by": "Li", "reason": "goodwill"}))
    journal.add(ledger.reversal(paid, NOON_MS, {"reason": "bank took it back"}))
    journal.add(ledger.reversal(given, NOON_MS, {"reason": "wrong account"}))
    journal.add(ledger.fee("A-1", "CNY", "reconnection", 2_500_000, NOON_MS, {"reason": "cut of May"}))
    journal.add(ledger.late_fee("A-1", "CNY", 12_345, NOON_MS, {"days": "3"}))
    assert told(journal.section()) == [
        ("2026-10-01", "Payment, icbc S0, receipt R-S0", 50_000_000),
        ("2026-10-01", "Payment reversed, icbc S0, receipt R-S0, bank took it back", -50_000_000),
        ("2026-10-01", "Reconnection, cut of May", -2_500_000),
        ("2026-10-01", "Late fee", -12_345),
    ]


def test_lines_in_their_first_form_and_lines_that_lie() -> None:
    journal = Journal()
    old = {"meter": "m1", "energy_import": "1000-1500", "line:energy_import": "1000-1500@617000=308500"}
    journal.add(ledger.charge("A-1", "CNY", {"energy": 308_500}, NOON_MS, old))
    journal.charge(line(), first=line_refs([line(1)])["line:0"])  # says less than was posted
    journal.charge(line(), first="nonsense")
    section = journal.section()
    assert told(section) == [
        ("2026-10-01", "Energy, meter m1", -308_500), ("2026-10-01", "Energy", -154_250), ("2026-10-01", "Energy", -154_250)
    ]  # fmt: skip
    energy = section.lines[0].energy
    assert energy is not None and (energy.first_wh, energy.last_wh, energy.wh) == (1000, 1500, 500)


def test_a_balance_that_the_entries_do_not_explain_is_not_stated() -> None:
    journal = Journal()
    journal.topup()
    with pytest.raises(CannotState, match="do not add up"):
        journal.section(closing=1)


def test_too_many_lines_are_refused_and_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_lines, "MOST_LINES", 3)
    journal = Journal()
    for _ in range(4):
        journal.topup()
    with pytest.raises(CannotState, match="more than 3 lines"):
        journal.section()
    assert [(each.component, each.micro) for each in journal.section(keep=False).sums] == [("topup", 200_000_000)]


@pytest.mark.parametrize(
    ("opening", "micros", "shown_as", "carried"),
    [
        (0, [-154_250] * 4, [-150_000, -150_000, -160_000, -150_000], 0),  # -0.15 -0.30 -0.46 -0.61
        (-5_000, [50_000_000], [50_000_000], -10_000),  # paid as paid; the balance passed zero: 49.99
        (-5_000, [50_000_000, -3_000], [50_000_000, -10_000], 0),
        (1_999, [-2_000], [0], 0),
    ],
)
def test_shown_amounts_add_up_and_whole_ones_are_never_changed(
    opening: int, micros: list[int], shown_as: list[int], carried: int
) -> None:
    seen = shown(_section(opening, micros), "CNY")
    assert ([*seen.amounts], seen.carried) == (shown_as, carried)


def _section(opening: int, micros: Sequence[int]) -> Section:
    lines = tuple(Line("2026-10-01", "charge", "energy", micro, 1, 1, 1) for micro in micros)
    return Section("balance", opening, opening + sum(micros), lines, ())


@given(st.integers(-(10**9), 10**9), st.lists(st.integers(-(10**8), 10**8) | st.integers(-999, 999).map(lambda n: n * 10_000)))
def test_shown_amounts_always_add_up(opening: int, micros: list[int]) -> None:
    section = _section(opening, micros)
    seen = shown(section, "CNY")
    assert seen.opening + sum(seen.amounts) + seen.carried == seen.closing and abs(seen.carried) <= 10_000
    assert seen.opening + sum(seen.sums.values()) + seen.carried == seen.closing
    for each, amount in zip(section.lines, seen.amounts, strict=True):
        assert amount % 10_000 == 0 and abs(amount - each.micro) < 20_000
        assert amount == each.micro or each.micro % 10_000


acts = st.lists(
    st.tuples(st.sampled_from(["topup", "charge", "fee", "correct", "reverse"]), st.integers(0, 9), st.integers(1, 2_000)),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(acts, st.integers(0, 40))
def test_whatever_happens_the_lines_are_what_the_balance_moved_by(steps: list[tuple[str, int, int]], cut: int) -> None:
    journal, undone = Journal(), set()
    for number, (act, which, wh) in enumerate(steps):
        at_ms = NOON_MS + number * 5 * 3_600_000
        open_ones = [p for p in journal.posted if p.entry.kind not in ledger.FINAL and p.number not in undone]
        chosen = open_ones[which % len(open_ones)] if open_ones else None
        rate = [Rate.PEAK, Rate.VALLEY][which % 2]
        if act == "topup" or chosen is None:
            journal.topup(wh * 1_000_000, at_ms)
        elif act == "charge":
            journal.charge(line(wh, 617_123, rate), line(wh, 50_001, None, component="step", step=which), at_ms=at_ms)
        elif act == "fee":
            journal.add(ledger.fee("A-1", "CNY", "reconnection", wh, at_ms, {"reason": "cut"}))
        elif act == "correct" and "from_ms" in chosen.entry.ref:
            undone.add(chosen.number)
            journal.correct(chosen, line(wh, 617_123, rate), at_ms=at_ms)
        else:
            undone.add(chosen.number)
            journal.add(ledger.reversal(chosen, at_ms, {"reason": "wrong"}))
    after = min(cut, len(journal.posted))
    section, summary = journal.section(after), journal.section(after, keep=False)
    assert section.opening_micro + sum(each.micro for each in section.lines) == section.closing_micro
    assert {s.component: (s.micro, s.wh) for s in section.sums if s.micro or s.wh} == {
        s.component: (s.micro, s.wh) for s in summary.sums
    }  # fmt: skip
    assert (summary.lines, len({(each.component, each.first) for each in section.lines}) <= len(journal.posted) * 2) == ((), True)


def test_periods() -> None:
    today = date(2026, 11, 24)
    assert period(None, None, today) == (date(2026, 11, 1), date(2026, 11, 30))
    assert period(date(2024, 2, 5), None, today) == (date(2024, 2, 5), date(2024, 2, 29))
    assert period(None, date(2026, 12, 5), today) == (date(2026, 12, 1), date(2026, 12, 5))
    for first, last, sentence in (
        (date(2026, 2, 2), date(2026, 2, 1), "the first day 2026-02-02 comes after the last day 2026-02-01"),
        (date(2026, 1, 1), date(2027, 2, 5), "at most 400 days, not 401"),
        (date(1, 1, 1), date(1, 1, 2), "between the years 1970 and 9000"),
    ):
        with pytest.raises(CannotState, match=sentence):
            check_period(first, last)
    check_period(date(2026, 1, 1), date(2027, 2, 4))
    check_period(date(1970, 1, 1), date(8999, 1, 1), summary=True)
