"""A statement as JSON: amounts exact to the micro-unit, and beside them as they are shown (contract.md 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import msgspec

from gateway.domain.slots import local_of
from gateway.domain.statement import Energy, Receipt, Section, Statement, shown
from gateway.domain.statement_text import NOTE, SECTIONS, component_text, exact_text, kwh_text, line_text, micro_text
from gateway.domain.units import format_money


@dataclass(frozen=True, slots=True)
class EnergyView:
    """What a line is charged for. register: with its first and last value in kWh, null where they tell nothing."""

    meter: str
    tariff: str
    version: str
    rate: str | None
    step: int | None
    kwh: str
    price: str
    register: str | None
    first_kwh: str | None
    last_kwh: str | None
    estimated: bool
    rule: str


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """A payment's receipt. to_debt: how much of it went to the debt, by a line of its own."""

    number: str
    bank: str
    institution: str
    serial: str
    to_debt: str


@dataclass(frozen=True, slots=True)
class LineView:
    """amount: exact; shown: in whole coins, so that opening + lines + carried = closing as shown. corrected: corrections are in it.

    entries: how many of the journal are in it, first and last their numbers.
    """

    day: str
    kind: str
    component: str
    text: str
    amount: str
    shown: str
    corrected: bool
    bill: str
    entries: int
    first: int
    last: int
    energy: EnergyView | None
    receipt: ReceiptView | None


@dataclass(frozen=True, slots=True)
class SumView:
    """All lines of a component."""

    component: str
    text: str
    amount: str
    shown: str
    kwh: str


@dataclass(frozen=True, slots=True)
class AmountView:
    """A balance: exact, and as it is shown."""

    amount: str
    shown: str


@dataclass(frozen=True, slots=True)
class SectionView:
    """One of the account's books: balance | debt | emergency | undelivered. carried: fractions, shown as a line of their own."""

    section: str
    text: str
    opening: AmountView
    lines: list[LineView]
    carried: str
    closing: AmountView
    sums: list[SumView]


@dataclass(frozen=True, slots=True)
class HeadView:
    """The journal's last entry of the period, and its hash: they prove all before it."""

    entry: int
    hash: str
    posted: str | None


@dataclass(frozen=True, slots=True)
class StatementView:
    """GET /api/v1/accounts/{account}/statement: local days, both included; the balance is the first section.

    note: how it adds up, for people.
    """

    gateway: str
    account: str
    holder: str
    currency: str
    zone: str
    from_day: str
    to_day: str
    sections: list[SectionView]
    head: HeadView
    note: str


def statement_view(statement: Statement) -> StatementView:
    """The whole of it."""
    return StatementView(
        statement.gateway,
        statement.account,
        statement.holder,
        statement.currency,
        statement.zone,
        statement.from_day.isoformat(),
        statement.to_day.isoformat(),
        [_section(section, statement.currency) for section in statement.sections],
        HeadView(statement.head, statement.hash, posted_text(statement)),
        NOTE,
    )


def statement_json(statement: Statement) -> bytes:
    """The whole of it as bytes."""
    return msgspec.json.encode(statement_view(statement))


def posted_text(statement: Statement) -> str | None:
    """When the head was posted: local time with its offset (RFC 3339)."""
    if statement.posted_ms is None:
        return None
    return local_of(statement.posted_ms, ZoneInfo(statement.zone)).isoformat()


def _section(section: Section, currency: str) -> SectionView:
    seen = shown(section, currency)
    lines = [
        LineView(
            line.day,
            line.kind,
            line.component,
            line_text(line),
            exact_text(line.micro),
            format_money(amount, currency),
            line.corrects is not None,
            line.period,
            line.entries,
            line.first,
            line.last,
            _energy(line.energy) if line.energy is not None else None,
            _receipt(line.receipt) if line.receipt is not None else None,
        )
        for line, amount in zip(section.lines, seen.amounts, strict=False)  # a summary has none
    ]
    sums = [
        SumView(
            each.component,
            component_text(each.component),
            exact_text(each.micro),
            format_money(seen.sums[each.component], currency),
            kwh_text(each.wh),
        )
        for each in section.sums
    ]
    opening, closing = (
        AmountView(exact_text(micro), format_money(coins, currency))
        for micro, coins in ((section.opening_micro, seen.opening), (section.closing_micro, seen.closing))
    )
    return SectionView(section.name, SECTIONS[section.name], opening, lines, format_money(seen.carried, currency), closing, sums)


def _energy(energy: Energy) -> EnergyView:
    first, last = (None if wh is None else kwh_text(wh) for wh in (energy.first_wh, energy.last_wh))
    return EnergyView(
        energy.meter,
        energy.tariff,
        energy.version,
        energy.rate,
        energy.step,
        kwh_text(energy.wh),
        micro_text(energy.price_micro),
        energy.register or None,
        first,
        last,
        energy.estimated,
        energy.rule,
    )


def _receipt(receipt: Receipt) -> ReceiptView:
    return ReceiptView(receipt.number, receipt.bank, receipt.institution, receipt.serial, exact_text(receipt.to_debt_micro))
