"""`wattgate emergency-credit`: credit that is lent to a customer who asks for it."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import ConfigOption, UrlOption, asking


def emergency_credit(
    account: Annotated[str, typer.Argument(help="The account.")], config: ConfigOption = None, url: UrlOption = None
) -> None:
    """Take the emergency credit that is offered to an account; its next top-ups give it back.

    Example: wattgate emergency-credit A-0001 -c gateway.toml
    """
    with asking(config, url) as gateway:
        status, answer = gateway.call("POST", f"/api/v1/accounts/{account}/emergency-credit", {})
        if status != 200:
            raise Failure(f"emergency credit for {account}: {answer.get('detail') or answer.get('title') or status}")
        print(f"{account}: {answer['lent']} {answer['currency']} lent, balance {answer['balance']}, {answer['state']}")


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(emergency_credit)
