"""`wattgate sim FILE`: simulated meters on real endpoints."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the verb `sim`."""
    app.command("sim")(sim)


def sim(
    file: Annotated[str, typer.Argument(help="The simulator's TOML file, such as config/examples/sim.toml.")],
    control: Annotated[str | None, typer.Option(metavar="H:P", help="Where the handle listens; port 0 takes a free one.")] = None,
    virtual: Annotated[bool, typer.Option("--virtual/--realtime", help="Virtual time, or the real clock.")] = False,
) -> None:
    """Simulated meters on pty, serial server (8E1) and Modbus TCP endpoints, with a handle that tells the truth.

    Example: wattgate sim config/examples/sim.toml --control 127.0.0.1:7070
    """
    if virtual:
        typer.echo("Virtual time comes with a later version; run without --virtual.", err=True)
        raise typer.Exit(2)
    from firmware_sim.serve import main  # the simulator is loaded only by those who run it

    raise typer.Exit(main(file, control))
