"""`wattgate sim FILE`: simulated meters on real endpoints, or a scenario in virtual time."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the verb `sim`."""
    app.command("sim")(sim)


def sim(
    file: Annotated[str, typer.Argument(help="The simulator's TOML file, such as config/examples/sim.toml.")],
    control: Annotated[str | None, typer.Option(metavar="H:P", help="Where the handle listens; port 0 takes a free one.")] = None,
    scenario: Annotated[
        str | None, typer.Option(metavar="FILE", help="Steps to run, as [[step]] rows; without it those of FILE itself.")
    ] = None,
    report: Annotated[str | None, typer.Option(metavar="DIR", help="Write junit.xml and report.json there at the end.")] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the file's banks pay, such as http://127.0.0.1:8080.")
    ] = None,
    virtual: Annotated[bool, typer.Option("--virtual/--realtime", help="Virtual time, no endpoints, or the real clock.")] = False,
) -> None:
    """Simulated meters on pty, serial (8E1), serial server, dial-in and Modbus TCP endpoints, with a handle that tells the truth.

    Example: wattgate sim config/examples/sim.toml --control 127.0.0.1:7070

    A bank that pays and makes trouble, against any gateway: wattgate sim config/examples/sim-bank.toml --url http://127.0.0.1:8080

    In virtual time: wattgate sim config/examples/sim-prepaid.toml --virtual --report report
    """
    from firmware_sim.serve import main  # the simulator is loaded only by those who run it

    raise typer.Exit(main(file, control, scenario, report, virtual, url))
