"""`wattgate check`: is this configuration right, and how fast are its lines?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure, settings_of


def check(config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The gateway's TOML file.")]) -> None:
    """Check a configuration: every error at once, then each line's round time.

    Example: wattgate check -c gateway.toml
    """
    settings = settings_of(config)
    from gateway.bootstrap import examine  # the profiles are read only here

    report = examine.examine(settings, config.resolve().parent)
    for line in report.lines:
        print(f"line {line.id}: {line.meters} meters, one round takes about {line.round_ms / 1000:.1f} s")
    for notice in report.notices:
        print(f"notice: {notice}")
    if errors := [*report.errors, *report.ended]:
        raise Failure([f"{config}: {error}" for error in errors])
    print(f"{config}: good: {len(settings.line)} lines, {len(settings.meter)} meters, {len(settings.account)} accounts")


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(check)
