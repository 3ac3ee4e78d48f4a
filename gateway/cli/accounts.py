"""`wattgate accounts`: what an account's ledger says, for its customer; the other verbs stand in account_life."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import account_life
from gateway.cli.answers import Failure, settings_of
from gateway.domain.statement import Section, Statement, month_end, shown
from gateway.domain.statement_text import CARRIED, SECTIONS, component_text, kwh_text, line_text, micro_text
from gateway.domain.units import format_money

accounts = typer.Typer(help="Accounts: what was paid and what was charged.", no_args_is_help=True)

FORMATS = ("text", "csv", "json", "pdf")


@accounts.callback()
def _accounts() -> None:
    """Accounts: what was paid and what was charged."""


@accounts.command()
def statement(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT")],
    month: Annotated[str | None, typer.Option("--month", metavar="YYYY-MM", help="Of these days; without any this month.")] = None,
    first: Annotated[str | None, typer.Option("--from", metavar="DATE", help="First day.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last day.")] = None,
    kind: Annotated[str, typer.Option("--format", metavar="text|csv|json|pdf")] = "text",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A file that is not there yet; a PDF needs one.")
    ] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Opening, sums and closing alone, of any period.")] = False,
    config: Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="The gateway's TOML file.")] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The gateway's data directory.")] = None,
    zone: Annotated[
        str | None, typer.Option("--zone", metavar="ZONE", help="Of the days; without it the gateway's with -c, UTC with --data.")
    ] = None,
) -> None:
    """Show what was paid and charged, day by day, from the opening to the closing balance; also beside a running gateway.

    Example: wattgate accounts statement house-7 --month 2026-10 -c gateway.toml --format pdf --out house-7.pdf
    """
    if kind not in FORMATS:
        raise Failure(f"--format is {', '.join(FORMATS[:-1])} or {FORMATS[-1]}", 2)
    if kind == "pdf" and out is None:
        raise Failure("a PDF goes into a file: name it with --out FILE", 2)
    days = _days(month, first, last)
    found = _found(account, config, data, zone, days, summary)
    _write(found, kind, out)


@accounts.command()
def pseudonyms(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The gateway's TOML file.")],
    head: Annotated[bool, typer.Option("--head/--no-head", help="With the line of column names.")] = True,
) -> None:
    """Show under which names the centre knows the accounts, as the CSV table of its banks' front (docs/central.md).

    Example: wattgate accounts pseudonyms -c gateway.toml > accounts.csv
    """
    import csv

    from gateway.bootstrap import examine
    from gateway.bootstrap.pseudonyms import NoNames, account_names

    settings = settings_of(config)
    try:
        names = account_names(examine.store_url(settings, config.resolve().parent))
    except NoNames as problem:
        raise Failure(str(problem)) from None
    rows = csv.writer(sys.stdout, lineterminator="\n")
    if head:
        rows.writerow(("account", "gateway", "pseudonym", "currency", "holder"))
    for account, name, currency, holder in names:
        rows.writerow((account, settings.gateway.id, name, currency, holder))


def _days(month: str | None, first: str | None, last: str | None) -> tuple[date | None, date | None]:
    if month is None:
        return _day("--from", first), _day("--to", last)
    if first is not None or last is not None:
        raise Failure("name either --month or --from and --to", 2)
    try:
        begin = date.fromisoformat(f"{month}-01")
    except ValueError:
        raise Failure(f"--month is a month like 2026-10, not {month!r}", 2) from None
    return begin, month_end(begin)


def _day(option: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise Failure(f"{option} is a date like 2026-01-31, not {text!r}", 2) from None


def _found(
    account: str,
    config: Path | None,
    data: Path | None,
    zone: str | None,
    days: tuple[date | None, date | None],
    summary: bool,
) -> Statement:
    from zoneinfo import available_timezones

    from gateway.bootstrap import examine  # the store is opened only here
    from gateway.bootstrap.statements import stored_statement

    if (config is None) == (data is None):
        raise Failure("name either a configuration (-c FILE) or a data directory (--data DIR)", 2)
    if zone is not None and zone not in available_timezones():
        raise Failure(f"--zone is a name like Asia/Shanghai, not {zone!r}", 2)
    if config is None:
        url, gateway, own = examine.sqlite_url(data or Path()), "", "UTC"
    else:
        settings = settings_of(config)
        url, gateway, own = examine.store_url(settings, config.resolve().parent), settings.gateway.id, settings.gateway.zone
    now_ms = time.time_ns() // 1_000_000
    try:
        return stored_statement(url, account, gateway, zone or own, now_ms, *days, summary=summary)
    except examine.CannotStart as problem:
        raise Failure(str(problem)) from None


def _write(found: Statement, kind: str, out: Path | None) -> None:
    from gateway.bootstrap.statements import WRITERS

    content = WRITERS[kind](found) if kind in WRITERS else "".join(f"{line}\n" for line in _text(found)).encode()
    if out is None:
        sys.stdout.buffer.write(content)
        if kind == "json":
            sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
        return
    try:
        with out.open("xb") as file:
            file.write(content)
    except OSError as problem:
        raise Failure(f"{out}: {problem.strerror}") from None
    print(f"{out}: {len(content)} bytes")


def _text(found: Statement) -> Iterator[str]:
    holder = f", {found.holder}" if found.holder else ""
    yield f"account {found.account}{holder}: {found.from_day} to {found.to_day} ({found.zone}), {found.currency}"
    for section in found.sections:
        yield from _section(section, found.currency)
    yield f"journal entry {found.head}, hash {found.hash[:16]}"


def _section(section: Section, currency: str) -> Iterator[str]:
    seen = shown(section, currency)
    yield ""
    yield _row(SECTIONS[section.name], "opening balance", "", format_money(seen.opening, currency))
    for line, amount in zip(section.lines, seen.amounts, strict=False):  # a summary has none
        energy = line.energy
        used = f"{kwh_text(energy.wh)} kWh" if energy is not None and energy.wh else ""
        used += f" at {micro_text(energy.price_micro)}" if energy is not None and used and energy.price_micro else ""
        yield _row(line.day, line_text(line), used, format_money(amount, currency))
    if seen.carried:
        yield _row("", CARRIED, "", format_money(seen.carried, currency))
    yield _row("", "closing balance", "", format_money(seen.closing, currency))
    for each in section.sums:
        used = f"{kwh_text(each.wh)} kWh" if each.wh else ""
        yield _row("sum", component_text(each.component), used, format_money(seen.sums[each.component], currency))


def _row(day: str, what: str, used: str, amount: str) -> str:
    return f"{day:<10}  {what:<52}  {used:>22}  {amount:>12}"


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    account_life.register(accounts)
    app.add_typer(accounts, name="accounts")
