"""A statement on A4 pages; the same content gives the same bytes.

reportlab is loaded with the first one: a gateway that prints nothing does not pay for it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.adapters.reports.statement_view import posted_text
from gateway.domain.statement import Line, Section, Statement, shown
from gateway.domain.statement_text import CARRIED, NOTE, SECTIONS, component_text, kwh_text, line_text, micro_text
from gateway.domain.units import format_money

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

WIDTH, HEIGHT = 595.28, 841.89
LEFT, RIGHT, TOP, BOTTOM = 42.0, WIDTH - 42.0, HEIGHT - 48.0, 58.0
"""Of A4, in points."""

ROW, SIZE, SMALL, LARGE = 13.0, 7.5, 6.5, 15.0
HEAD_ROWS = 7
"""Rows that the first page's head takes."""

CHINESE = "STSong-Light"
"""Adobe's own name of a font that viewers bring along: for what Latin letters do not cover."""

COLUMNS = (
    ("Day", LEFT, 48.0, False),
    ("What", LEFT + 50, 187.0, False),
    ("Registers, kWh", LEFT + 315, 76.0, True),
    ("kWh", LEFT + 362, 44.0, True),
    ("Price", LEFT + 405, 40.0, True),
    ("Amount", LEFT + 458, 50.0, True),
    ("Balance", RIGHT, 50.0, True),
)
"""Title, where it begins (ends where it is flush right), width, flush right."""

UNMETERED = 355.0
"""Width of a text whose row has no registers, energy and price."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. weight: 0 ordinary, 1 bold, 2 a heading."""

    cells: tuple[str, ...]
    weight: int = 0


def statement_pdf(statement: Statement, *, compressed: bool = True) -> bytes:
    """The whole statement. compressed: content streams are; without it their text can be searched."""
    from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped]
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont  # type: ignore[import-untyped]
    from reportlab.pdfgen.canvas import Canvas

    if CHINESE not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(WIDTH, HEIGHT), pageCompression=int(compressed), invariant=1)
    canvas.setTitle(f"Statement {statement.account} {statement.from_day} - {statement.to_day}")
    canvas.setAuthor(statement.gateway)
    canvas.setCreator("wattgate")
    _Paper(canvas).draw(statement)
    canvas.save()
    return out.getvalue()


class _Paper:
    """Draws rows from page to page."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas

    def draw(self, statement: Statement) -> None:
        pages = [*_pages([row for section in statement.sections for row in _rows(section, statement.currency)])]
        for number, rows in enumerate(pages, 1):
            y = self._head(statement) if number == 1 else TOP
            self._titles(y)
            for row in rows:
                y -= ROW
                self._row(row, y)
            self._foot(statement, number, len(pages))
            self._canvas.showPage()

    def _head(self, statement: Statement) -> float:
        self._text(LEFT, TOP - 4, "Statement of account", LARGE, bold=True)
        self._text(RIGHT, TOP - 4, statement.gateway, SIZE + 2, right=True)
        about = (
            ("Account", statement.account),
            ("Holder", statement.holder),
            ("Period", f"{statement.from_day} to {statement.to_day}, days of {statement.zone}"),
            ("Currency", statement.currency),
        )
        y = TOP - 12
        for name, value in about:
            y -= ROW
            self._text(LEFT, y, name, SIZE + 1)
            self._text(LEFT + 60, y, _fitted(self._canvas, value, SIZE + 1, RIGHT - LEFT - 60), SIZE + 1, bold=True)
        return TOP - HEAD_ROWS * ROW

    def _titles(self, y: float) -> None:
        for title, x, _, right in COLUMNS:
            self._text(x, y, title, SMALL, right=right)
        self._canvas.setLineWidth(0.6)
        self._canvas.setStrokeGray(0)
        self._canvas.line(LEFT, y - 3, RIGHT, y - 3)

    def _row(self, row: Row, y: float) -> None:
        for cell, (_, x, width, right) in zip(row.cells, COLUMNS, strict=True):
            room = RIGHT - LEFT if row.weight == 2 else width if any(row.cells[2:5]) or right else UNMETERED
            self._text(x, y, _fitted(self._canvas, cell, SIZE, room, bold=row.weight > 0), SIZE, right=right, bold=row.weight > 0)
        self._canvas.setLineWidth(0.2)
        self._canvas.setStrokeGray(0.7)
        self._canvas.line(LEFT, y - 3, RIGHT, y - 3)

    def _foot(self, statement: Statement, number: int, pages: int) -> None:
        posted = posted_text(statement)
        at = f" of {posted}" if posted else ""
        proof = f"Journal entry {statement.head}{at}, hash {statement.hash[:16]}, proves what is before it."
        self._text(LEFT, BOTTOM - 18, f"{NOTE} Prices are per kWh.", SMALL)
        self._text(LEFT, BOTTOM - 28, proof, SMALL)
        self._text(RIGHT, BOTTOM - 28, f"{statement.account} - page {number} of {pages}", SMALL, right=True)

    def _text(self, x: float, y: float, text: str, size: float, *, right: bool = False, bold: bool = False) -> None:
        self._canvas.setFont(_font(text, bold), size)
        (self._canvas.drawRightString if right else self._canvas.drawString)(x, y, text)


def _font(text: str, bold: bool) -> str:
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return CHINESE
    return "Helvetica-Bold" if bold else "Helvetica"


def _fitted(canvas: Canvas, text: str, size: float, width: float, *, bold: bool = False) -> str:
    """The text, its end left out where it is wider than its place; no control characters."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    font = _font(text, bold)
    if canvas.stringWidth(text, font, size) <= width:
        return text
    while text and canvas.stringWidth(text + "...", font, size) > width:
        text = text[:-1]
    return text + "..."


def _pages(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """What fits, page by page; at least one page, no heading at the end of one."""
    begin, room = 0, int((TOP - BOTTOM) / ROW) - HEAD_ROWS
    while True:
        end = min(begin + room, len(rows))
        while end < len(rows) and end > begin + 1 and rows[end - 1].weight == 2:
            end -= 1
        yield rows[begin:end]
        if end == len(rows):
            return
        begin, room = end, int((TOP - BOTTOM) / ROW)


def _rows(section: Section, currency: str) -> Iterator[Row]:
    seen = shown(section, currency)
    balance = seen.opening
    yield Row((SECTIONS[section.name], *[""] * 6), 2)
    yield _total("Opening balance", "", format_money(balance, currency))
    for line, amount in zip(section.lines, seen.amounts, strict=False):  # a summary has none
        balance += amount
        yield Row((*_line(line), format_money(amount, currency), format_money(balance, currency)))
    if seen.carried:
        yield _total(CARRIED, format_money(seen.carried, currency), format_money(balance + seen.carried, currency))
    yield _total("Closing balance", "", format_money(seen.closing, currency))
    for each in section.sums:
        kwh = kwh_text(each.wh) if each.wh else ""
        text = f"Sum: {component_text(each.component)}"
        yield Row(("", text, "", kwh, "", format_money(seen.sums[each.component], currency), ""))


def _total(text: str, amount: str, balance: str) -> Row:
    return Row(("", text, "", "", "", amount, balance), 1)


def _line(line: Line) -> tuple[str, str, str, str, str]:
    """Day, what, registers, energy and price."""
    energy = line.energy
    if energy is None or not energy.wh:
        return line.day, line_text(line), "", "", ""
    told = energy.first_wh is not None and energy.last_wh is not None
    registers = f"{kwh_text(energy.first_wh or 0)} - {kwh_text(energy.last_wh or 0)}" if told else ""
    price = micro_text(energy.price_micro) if energy.price_micro else ""
    return line.day, line_text(line), registers, kwh_text(energy.wh), price
