"""`wattgate central`: the reference central system, and the commands that it sends."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gateway.cli.answers import Failure

Config = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The central system's TOML file.")]

verbs = typer.Typer(no_args_is_help=False, invoke_without_command=True)


@verbs.callback()
def central(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Its TOML file.")] = None,
    ready: Annotated[bool, typer.Option("--ready", help="Print one JSON line when connected.")] = False,
) -> None:
    """Receive, store and acknowledge what gateways send; logs go to stderr, SIGTERM stops it cleanly.

    Example: wattgate central -c central.toml
    """
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise Failure("name the configuration: wattgate central -c FILE", code=2)
    from gateway.central import service  # everything heavy is loaded only by those who run it
    from gateway.central.config import ConfigError, load
    from gateway.central.store import StoreUnusable

    try:
        service.serve(load(config), config.resolve().parent, say_ready=ready)
    except ConfigError as problem:
        raise Failure(problem.errors) from None
    except StoreUnusable as problem:
        raise Failure(str(problem)) from None


@verbs.command()
def send(
    verb: Annotated[Literal["cut", "restore", "allow_close"], typer.Argument(help="What the meter's switch is to do.")],
    meter: Annotated[str, typer.Argument(help="The meter's id.")],
    config: Config,
    gateway: Annotated[str, typer.Option("--gateway", metavar="ID", help="The gateway that has the meter.")],
    cause: Annotated[str | None, typer.Option("--cause", help="Why, mandatory for a cut, e.g. contract_time_table.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="For the record, in a person's words.")] = "",
    id: Annotated[str | None, typer.Option("--id", help="Of the command; the same id is the same command.")] = None,
    expires: Annotated[int, typer.Option("--expires", min=1, help="Seconds until it may no longer be obeyed.")] = 300,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the final result.")] = 60,
) -> None:
    """Send a command and wait for its outcome; each state is one JSON line.

    Example: wattgate central send cut M7 --gateway G1 --cause contract_time_table -c central.toml
    """
    if verb == "cut" and cause is None:
        raise Failure("a cut names its cause: add --cause, e.g. --cause contract_time_table", code=2)
    from gateway.central import send as sending
    from gateway.central.config import ConfigError, load
    from gateway.central.store import StoreUnusable

    order = sending.Order(verb, meter, gateway, cause, reason, id, expires)
    folder = config.resolve().parent
    try:
        last = sending.send(load(config), folder, order, wait_s=wait, tell=lambda said: print(sending.as_json(said), flush=True))
    except ConfigError as problem:
        raise Failure(problem.errors) from None
    except (sending.NotSent, StoreUnusable) as problem:
        raise Failure(str(problem)) from None
    if last.state not in sending.ACHIEVED:
        raise Failure(f"command {last.command} ended as {last.state}: {last.reason or 'no reason was given'}")
    if "command_only" in last.evidence:
        print("the device acknowledged the order, which proves nothing about its switch", file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(verbs, name="central")
