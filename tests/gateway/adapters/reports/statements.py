"""A statement to print, and what stands in a PDF."""

from __future__ import annotations

import re
from datetime import date

from gateway.domain.statement import Energy, Line, Receipt, Section, Statement, sums_of

ROUNDED = 154_250


def statement(lines: tuple[Line, ...], *, holder: str = "王小明", debt: bool = False, opening: int = 3_333) -> Statement:
    """Of October 2026, with these lines."""
    closing = opening + sum(line.micro for line in lines)
    balance = Section("balance", opening, closing, lines, sums_of(lines))
    owed = (Line("2026-10-05", "debt_recovery", "debt_recovery", 12_000_000, 1, 9, 9),)
    others = (Section("debt", -30_000_000, -18_000_000, owed, sums_of(owed)),) if debt else ()
    days = date(2026, 10, 1), date(2026, 10, 31)
    return Statement("gw-1", "A-1", holder, "CNY", "Asia/Shanghai", *days, balance, others, 4711, "ab" * 32, 1_793_400_000_000)


def charge(day: int, wh: int = 250, **changes: object) -> Line:
    """A day's energy."""
    energy = Energy(
        "m1",
        "flat",
        "2024",
        "peak",
        None,
        wh,
        617_000,
        "energy_import_t2",
        1000 * day,
        1000 * day + wh,
        0,
        1,
        True,
        "as priced",
        "",
    )
    values = {"day": f"2026-10-{day:02d}", "kind": "charge", "component": "energy", "micro": -ROUNDED, "entries": 96}
    return Line(**{**values, "first": day, "last": day, "energy": energy, **changes})  # type: ignore[arg-type]


def payment(serial: str = "=S-1") -> Line:
    """50.00, of which a part went to the debt."""
    return Line(
        "2026-10-05", "topup", "topup", 50_000_000, 1, 8, 8, receipt=Receipt("gw-1-0000000008", "icbc", "", serial, 12_000_000)
    )


def texts(pdf: bytes) -> list[list[str]]:
    """The texts of each page of an uncompressed PDF, as they are drawn."""
    return [[_text(found) for found in re.findall(rb"\((.*?)(?<!\\)\) Tj", page, re.DOTALL)] for page in _pages(pdf)]


def _pages(pdf: bytes) -> list[bytes]:
    return re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)


def _text(raw: bytes) -> str:
    plain = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), raw)
    plain = re.sub(rb"\\(.)", rb"\1", plain, flags=re.DOTALL)
    wide = b"\x00" in plain or any(byte > 127 for byte in plain)
    return plain.decode("utf-16-be" if wide and len(plain) % 2 == 0 else "latin-1")
