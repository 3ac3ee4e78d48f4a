"""`wattgate reconcile`: a bank's day file beside the books, line by line."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.ledger import ConfigOption, DataOption, _where
from gateway.domain.differences import Difference
from gateway.domain.units import format_money

MOST_SHOWN = 1_000
"""Differences that are told one by one; the count of each kind is told in any case."""


def reconcile(
    file: Annotated[Path, typer.Argument(help="The bank's file, as CSV.")],
    config: ConfigOption = None,
    data: DataOption = None,
    bank: Annotated[str | None, typer.Option("--bank", metavar="ID", help="Whose file; else it is told by its lines.")] = None,
    day: Annotated[
        str | None, typer.Option("--date", metavar="DATE", help="Accounting date; else it is told by its lines.")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="dayfile-pipe, dayfile-fixed or a TOML file of your own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Compare a bank's day file with the books and tell every difference; nothing is changed. Exit code 1 when there is any.

    Works beside a running gateway. The file is the one of the bank interface: a header, lines, and `#<lines>,<sum>` at the end.

    Example: wattgate reconcile icbc-2026-11-21.csv --data data --bank icbc --date 2026-11-21
    """
    from gateway.bootstrap import day_files, day_tables
    from gateway.bootstrap.examine import CannotStart

    url, _ = _where(config, data)
    try:
        with day_tables.as_csv(file, table, _day(day)) as readable:
            done = day_files.reconcile(url, readable, bank, _day(day))
    except CannotStart as problem:
        raise Failure(str(problem)) from None
    compared = done.compared
    kinds: dict[str, int] = {}
    for each in compared.found:
        kinds[each.kind.value] = kinds.get(each.kind.value, 0) + 1
    sums = {currency: format_money(micro, currency) for currency, micro in compared.matched_micro.items()}
    if as_json:
        told = {
            "bank": done.bank, "accounting_date": done.day.isoformat(), "lines": compared.lines, "statement_lines": compared.ours,
            "matched": compared.matched, "net_sums": sums, "kinds": kinds, "differences": [_told(each) for each in compared.found],
        }  # fmt: skip
        print(json.dumps(told, ensure_ascii=False))
    else:
        shown = ", ".join(f"{text} {currency}" for currency, text in sums.items()) or "0.00"
        print(f"bank {done.bank}, {done.day}: {compared.lines} lines, {compared.ours} here, {compared.matched} match ({shown})")
        for each in compared.found[:MOST_SHOWN]:
            print(f"{each.kind.value}: {_line(each)}{each.detail}")
        if len(compared.found) > MOST_SHOWN:
            print(f"and {len(compared.found) - MOST_SHOWN} more")
    if compared.found:
        text = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        raise Failure(f"{len(compared.found)} differences: {text}")


def _told(each: Difference) -> dict[str, object]:
    sides = {name: None if line is None else line._asdict() for name, line in (("there", each.there), ("here", each.here))}
    return {"kind": each.kind.value, "detail": each.detail, "accounting_date_here": each.date_here or None, **sides}


def _line(each: Difference) -> str:
    line = each.line
    if line is None:
        return ""
    where = f"line {line.number}, " if line.number else ""
    return f"{where}{line.type} {line.serial}, {line.amount} {line.currency} to {line.account}: "


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise Failure(f"--date is a date like 2026-01-31, not {text!r}", 2) from None


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(reconcile)
