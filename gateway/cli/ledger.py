"""`wattgate ledger verify`: recompute the money from its journal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure, settings_of

ledger = typer.Typer(help="Proofs over the ledger.", no_args_is_help=True)


@ledger.command()
def verify(
    config: Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="The gateway's TOML file.")] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The gateway's data directory.")] = None,
) -> None:
    """Recompute every balance, the hash chain and every meter's billed energy; also beside a running gateway.

    Example: wattgate ledger verify --data data
    """
    if (config is None) == (data is None):
        raise Failure("name either a configuration (-c FILE) or a data directory (--data DIR)", 2)
    from gateway.bootstrap import examine  # the store is opened only here

    try:
        url = examine.store_url(settings_of(config), config.resolve().parent) if config else examine.sqlite_url(data or Path())
        entries, finding = examine.verify(url)
    except examine.CannotStart as problem:
        raise Failure(str(problem)) from None
    if finding is not None:
        raise Failure(f"after {entries} entries: {finding}")
    print(f"{entries} entries: clean")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(ledger, name="ledger")
