"""`wattgate run`: the gateway in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure, settings_of

Config = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The gateway's TOML file.")]


def run(
    config: Config, ready: Annotated[bool, typer.Option("--ready", help="Print one JSON line when listening.")] = False
) -> None:
    """Run the gateway in the foreground; logs go to stderr, SIGTERM stops it cleanly, SIGHUP takes FILE over again.

    It runs on uvloop where that is installed; WATTGATE_LOOP=asyncio in the environment turns that off.

    Example: wattgate run -c gateway.toml
    """
    settings = settings_of(config)
    from gateway.bootstrap import examine, process  # everything heavy is loaded only by those who run it

    try:
        process.run(settings, config, say_ready=ready)
    except examine.CannotStart as problem:
        raise Failure(str(problem)) from None


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(run)
