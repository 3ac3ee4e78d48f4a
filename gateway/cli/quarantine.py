"""`wattgate quarantine`: cuts over somebody's budget, or that need two people, until another person releases or refuses them."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.approve import NO_REASON, ReasonOption, listed
from gateway.cli.gateway_client import Asked, ConfigOption, UrlOption, asking
from gateway.cli.supply import follow

CommandArgument = Annotated[str, typer.Argument(metavar="COMMAND", help="The command, as `quarantine list` names it.")]

quarantine = typer.Typer(help="Cuts that wait for another person.", no_args_is_help=True)


@quarantine.command("list")
def list_(config: ConfigOption = None, url: UrlOption = None) -> None:
    """Show the cuts that wait: command, meter, cause, who ordered it, why it waits, and when it expires.

    Example: wattgate quarantine list -c gateway.toml
    """
    with asking(config, url) as gateway:
        for each in listed(gateway, "/api/v1/quarantine"):
            command = each["command"]
            assert isinstance(command, dict)
            until = f"by {each['by']}, expires {command['expires']}"
            print(f"{command['id']}  {command['meter']} {command['cause']}  {until}: {command['reason']}")


@quarantine.command()
def release(command: CommandArgument, reason: ReasonOption = NO_REASON, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Vouch for another person's cut, and wait until its switch was read back open.

    Example: wattgate quarantine release order-17 -c gateway.toml
    """
    with asking(config, url) as gateway:
        answer = _decided(gateway, command, "release", reason)
        follow(gateway, str(answer["meter"]), "cut", command)


@quarantine.command()
def refuse(command: CommandArgument, reason: ReasonOption, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Have the cut not made.

    Example: wattgate quarantine refuse order-17 --reason "the wrong house" -c gateway.toml
    """
    with asking(config, url) as gateway:
        _decided(gateway, command, "refuse", reason)
        print(f"{command}: refused")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(quarantine, name="quarantine")


def _decided(gateway: Asked, command: str, verb: str, reason: str) -> dict[str, object]:
    status, answer = gateway.call("POST", f"/api/v1/quarantine/{command}/{verb}", {"reason": reason})
    if status != 200:
        raise Failure(str(answer.get("detail") or answer.get("title") or f"the gateway answered {status}"))
    return answer
