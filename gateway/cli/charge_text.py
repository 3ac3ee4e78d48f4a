"""A charge as people read it, and as JSON with money and energy as exact decimal strings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple
from zoneinfo import ZoneInfo

from gateway.cli.tariff_prices import EPOCH, MILLI, Priced
from gateway.cli.tariff_text import kwh_text, price_text
from gateway.domain.charge_refs import LINE, lines_of
from gateway.domain.events import Json
from gateway.domain.ledger import PostedEntry
from gateway.domain.readings import TOTAL
from gateway.domain.tariffs import ChargeLine
from gateway.domain.vending import Vended


def priced_text(priced: Priced) -> Iterator[str]:
    """The registers, how their energy was shared out, and each line of the charge."""
    zone = ZoneInfo(priced.tariff.zone)
    for each in priced.series:
        yield f"{_local(each[0].at_ms, zone)} to {_local(each[-1].at_ms, zone)}, {len(each)} values"
        for name in (name for name in each[0].wh if name in each[-1].wh):
            start, end = each[0].wh[name], each[-1].wh[name]
            yield f"  {name}: {kwh_text(start)} to {kwh_text(end)}, {kwh_text(end - start)} kWh"
    if priced.estimated_wh:
        rules = ", ".join(dict.fromkeys(portion.rule for portion in priced.portions if portion.estimated))
        yield f"estimated: {kwh_text(priced.estimated_wh)} kWh ({rules})"
    yield from lines_text(priced.charge.lines)
    yield f"total: {price_text(priced.charge.micro)} {priced.tariff.currency} for {kwh_text(priced.wh)} kWh"


def priced_json(priced: Priced) -> dict[str, Json]:
    """The same."""
    zone = ZoneInfo(priced.tariff.zone)
    return {
        "tariff": priced.tariff.id,
        "currency": priced.tariff.currency,
        "from": _local(priced.series[0][0].at_ms, zone),
        "to": _local(priced.series[-1][-1].at_ms, zone),
        "kwh": kwh_text(priced.wh),
        "estimated_kwh": kwh_text(priced.estimated_wh),
        "lines": [line_json(line) for line in priced.charge.lines],
        "total": price_text(priced.charge.micro),
    }


def entry_text(posted: PostedEntry) -> Iterator[str]:
    """An entry of the journal with what it says of itself. ValueError for lines that are none."""
    entry = posted.entry
    yield f"entry {posted.number}: {entry.kind.value}, posted {_local(entry.at_ms, ZoneInfo('UTC'))}"
    for key, value in entry.ref.items():
        if not key.startswith(LINE):
            yield f"  {key}: {_readable(key, value)}"
    lines = lines_of(entry.ref)
    yield from lines_text(lines)
    for leg in entry.legs:
        yield f"  {leg.account}: {price_text(leg.micro)} {entry.currency}"


def entry_json(posted: PostedEntry) -> dict[str, Json]:
    """The same. ValueError for lines that are none."""
    entry = posted.entry
    return {
        "entry": posted.number,
        "kind": entry.kind.value,
        "currency": entry.currency,
        "posted": _local(entry.at_ms, ZoneInfo("UTC")),
        "ref": {key: value for key, value in entry.ref.items() if not key.startswith(LINE)},
        "lines": [line_json(line) for line in lines_of(entry.ref)],
        "legs": [{"account": leg.account, "amount": price_text(leg.micro)} for leg in entry.legs],
    }


def sold_lines(sold: Vended) -> list[ChargeLine]:
    """The lines of a sale, which belongs to no period."""
    return [ChargeLine("", *astuple(line)) for line in sold.lines]


def lines_text(lines: Sequence[ChargeLine]) -> Iterator[str]:
    """Aligned lines, by period."""
    rows = [_cells(line) for line in lines]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    period = ""
    for line, (what, energy, price, amount) in zip(lines, rows, strict=True):
        if line.period != period:
            period = line.period
            yield f"period {period}"
        yield f"  {what:<{widths[0]}}  {energy:>{widths[1]}}  {price:>{widths[2]}}  {amount:>{widths[3]}}  {line.rule}".rstrip()


def line_json(line: ChargeLine) -> dict[str, Json]:
    """A line of a charge."""
    return {
        "period": line.period,
        "component": line.component,
        "version": line.version,
        "season": line.season,
        "rate": line.rate.value if line.rate else None,
        "step": line.step,
        "name": line.name,
        "kwh": kwh_text(line.wh),
        "price": price_text(line.price_micro),
        "amount": price_text(line.micro),
        "rule": line.rule,
    }


def _cells(line: ChargeLine) -> tuple[str, str, str, str]:
    step = "" if line.step is None else str(line.step) if line.component == "step" else f"step {line.step}"
    what = [line.component, line.rate.value if line.rate else "", step, line.name]
    energy = f"{kwh_text(line.wh)} kWh" if line.wh else ""
    price = f"x {price_text(line.price_micro)}" if line.price_micro not in (0, line.micro) or line.wh else ""
    return " ".join(filter(None, what)), energy, price, price_text(line.micro)


def _readable(key: str, value: str) -> str:
    """Registers in kWh and times of day; anything else as it is."""
    start, dash, end = value.partition("-")
    if key.startswith(TOTAL) and dash and start.isdecimal() and end.isdecimal():
        return f"{kwh_text(int(start))} to {kwh_text(int(end))} kWh"
    if key.endswith("_ms") and value.isdecimal():
        return _local(int(value), ZoneInfo("UTC"))
    return value


def _local(at_ms: int, zone: ZoneInfo) -> str:
    """A moment as ISO local time with its offset."""
    return (EPOCH + at_ms * MILLI).astimezone(zone).isoformat(timespec="seconds")
