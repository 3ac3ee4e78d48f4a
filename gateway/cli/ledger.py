"""`wattgate ledger`: prove the money from its journal, give it to others to prove, make its balances anew, close old periods."""

from __future__ import annotations

import sys
import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure, settings_of

ledger = typer.Typer(help="Proofs over the ledger.", no_args_is_help=True)

MOST_SHOWN = 20
"""Wrong balances that are told one by one: more are one fault, and its like."""

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="The gateway's TOML file.")]
DataOption = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The gateway's data directory.")]
ZoneOption = Annotated[
    str | None, typer.Option("--zone", metavar="ZONE", help="Of the days; without it the gateway's with -c, UTC with --data.")
]


@ledger.command()
def verify(
    config: ConfigOption = None,
    data: DataOption = None,
    from_closing: Annotated[bool, typer.Option("--from-closing", help="Trust the last closing, and check from there.")] = False,
) -> None:
    """Recompute every balance, the hash chain, payments, transfers and every meter's billed energy; also beside a running gateway.

    Example: wattgate ledger verify --data data
    """
    from gateway.bootstrap import books  # the store is opened only here
    from gateway.bootstrap.examine import CannotStart

    url, _ = _where(config, data)
    try:
        entries, finding = books.verify(url, from_closing=from_closing)
    except CannotStart as problem:
        raise Failure(str(problem)) from None
    if finding is not None:
        raise Failure(f"after {entries} entries: {finding}")
    print(f"{entries} entries: clean")


@ledger.command()
def export(
    kind: Annotated[str, typer.Option("--format", metavar="jsonl|beancount", help="JSON lines, or a beancount file.")],
    config: ConfigOption = None,
    data: DataOption = None,
    first: Annotated[str | None, typer.Option("--from", metavar="DATE", help="First day; without it from the beginning.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last day; without it to the end.")] = None,
    zone: ZoneOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A file that is not there yet; without it standard output.")
    ] = None,
) -> None:
    """Write the journal for others to check: `bean-check FILE` adds it up by itself, and any SHA-256 recomputes the hashes.

    Each line of jsonl without its key "hash" is what that hash is of. Works beside a running gateway.

    Example: wattgate ledger export --data data --format beancount --out books.beancount
    """
    from gateway.bootstrap import books
    from gateway.bootstrap.examine import CannotStart

    if kind not in books.FORMATS:
        raise Failure(f"--format is {' or '.join(books.FORMATS)}", 2)
    url, own = _where(config, data)
    days = (_day("--from", first), _day("--to", last))
    if all(days) and days[0] > days[1]:  # type: ignore[operator]
        raise Failure("--from comes after --to", 2)
    try:
        if out is None:
            books.export(url, kind, _zone(zone or own), sys.stdout.write, *days)
            return
        with out.open("x", encoding="utf-8") as file:
            count = books.export(url, kind, _zone(zone or own), file.write, *days)
        print(f"{out}: {count} entries")
    except CannotStart as problem:
        raise Failure(str(problem)) from None
    except OSError as problem:
        raise Failure(f"{out}: {problem.strerror}") from None


@ledger.command()
def rebuild(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The gateway's data directory; no gateway may run on it.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where a copy with right balances is written.")] = None,
) -> None:
    """Compute the balances anew from the journal, and say which are wrong. With --out a copy of the store gets them right.

    The store itself is never written, and where the journal is not sound there is no copy either.

    Example: wattgate ledger rebuild --data data --out wattgate.db.rebuilt
    """
    from gateway.bootstrap import books
    from gateway.bootstrap.examine import CannotStart

    try:
        rebuilt = books.rebuild(data, out)
    except CannotStart as problem:
        raise Failure(str(problem)) from None
    if rebuilt.finding is not None:
        raise Failure(f"the journal itself is not sound, nothing was written: {rebuilt.finding}")
    wrong = [
        f"{account} shows {shown} micro-{currency}, its entries sum to {right}"
        for (currency, account), (shown, right) in rebuilt.wrong.items()
    ]
    if rebuilt.legs:
        wrong.append(f"{len(rebuilt.legs)} running balances are wrong, first at entry {rebuilt.legs[0][1]}")
    told = [*wrong[:MOST_SHOWN], *([f"and {len(wrong) - MOST_SHOWN} more"] if len(wrong) > MOST_SHOWN else [])]
    if wrong and out is None:
        raise Failure(told)
    for sentence in told:
        print(sentence)
    print(
        f"{rebuilt.entries} entries: {'the balances were wrong' if wrong else 'the balances are right'}"
        + (f"; written to {out}" if out else "")
    )


@ledger.command()
def close(
    before: Annotated[str, typer.Option("--before", metavar="DATE", help="The first day that stays open.")],
    config: ConfigOption = None,
    data: DataOption = None,
    zone: ZoneOption = None,
) -> None:
    """Close what was before a day: an entry fixes all balances of that moment. Nothing is deleted; no gateway may run meanwhile.

    Example: wattgate ledger close --data data --before 2026-01-01 --zone Asia/Shanghai
    """
    from gateway.bootstrap import books
    from gateway.bootstrap.examine import CannotStart

    url, own = _where(config, data)
    if "://" in url:
        raise Failure("only a store in a data directory is closed from outside", 2)
    day = _day("--before", before)
    assert day is not None
    try:
        closing = books.close(Path(url).parent, day, _zone(zone or own), time.time_ns() // 1_000_000)
    except CannotStart as problem:
        raise Failure(str(problem)) from None
    print(f"entry {closing.entry} closes entries up to {closing.upto}" if closing else f"nothing is left to close before {before}")


def _where(config: Path | None, data: Path | None) -> tuple[str, str]:
    """The store, and the zone of its days."""
    if (config is None) == (data is None):
        raise Failure("name either a configuration (-c FILE) or a data directory (--data DIR)", 2)
    from gateway.bootstrap import examine

    if config is None:
        return examine.sqlite_url(data or Path()), "UTC"
    settings = settings_of(config)
    return examine.store_url(settings, config.resolve().parent), settings.gateway.zone


def _day(option: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise Failure(f"{option} is a date like 2026-01-31, not {text!r}", 2) from None


def _zone(name: str) -> str:
    from zoneinfo import available_timezones

    if name not in available_timezones():
        raise Failure(f"--zone is a name like Asia/Shanghai, not {name!r}", 2)
    return name


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(ledger, name="ledger")
