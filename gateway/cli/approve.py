"""`wattgate approve`: what waits for a second person, and the second person's word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import Asked, ConfigOption, UrlOption, asking
from gateway.cli.supply import follow_left_over

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="What waits, as `approve list` names it.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
NO_REASON = "decided on the command line"

approve = typer.Typer(help="Acts that need two people: one has asked, another decides.", no_args_is_help=True)


@approve.command("list")
def list_(config: ConfigOption = None, url: UrlOption = None) -> None:
    """Show what waits: its id, what would be done to what, who asked, and until when it waits.

    Example: wattgate approve list -c gateway.toml
    """
    with asking(config, url) as gateway:
        for each in listed(gateway, "/api/v1/approvals"):
            print(f"{each['id']}  {each['act']} {each['subject']}  by {each['asked_by']}, until {each['expires']}")
            print(f"    {json.dumps(each['body'], ensure_ascii=False)}")


@approve.command()
def yes(ident: IdArgument, reason: ReasonOption = NO_REASON, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Have it done. Another person than the one who asked; on a one-person site the same, a quarter of an hour later.

    Example: wattgate approve yes 4f1c22a09be1d301 -c gateway.toml
    """
    _decide(config, url, ident, "approve", reason)
    print(f"{ident}: done")


@approve.command()
def no(ident: IdArgument, reason: ReasonOption, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Have it not done.

    Example: wattgate approve no 4f1c22a09be1d301 --reason "the wrong account" -c gateway.toml
    """
    _decide(config, url, ident, "refuse", reason)
    print(f"{ident}: refused")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(approve, name="approve")


def listed(gateway: Asked, path: str) -> list[dict[str, object]]:
    """A list that the gateway answers. Failure for anything else."""
    status, answer = gateway.call("GET", path)
    found = answer.get("list")
    if status != 200 or not isinstance(found, list):
        raise Failure(str(answer.get("detail") or f"the gateway answered {status}"))
    return found


def _decide(config: Path | None, url: str | None, ident: str, verb: str, reason: str) -> None:
    with asking(config, url) as gateway:
        status, answer = gateway.call("POST", f"/api/v1/approvals/{ident}/{verb}", {"reason": reason})
        if status != 200:
            raise Failure(str(answer.get("detail") or answer.get("title") or f"the gateway answered {status}"))
        follow_left_over(gateway)
