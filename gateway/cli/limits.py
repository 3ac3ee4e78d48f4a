"""`wattgate limits`: where an account's load limit stands, its release, and a change, which needs a second person."""

from __future__ import annotations

import tomllib
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import Asked, ConfigOption, UrlOption, client

verbs = typer.Typer(help="Load limits: show, release, change.", no_args_is_help=True)

AccountArgument = Annotated[str, typer.Argument(help="The account.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


@verbs.command()
def show(account: AccountArgument, config: ConfigOption = None, url: UrlOption = None) -> None:
    """What an account may draw now, what it draws, and where its limiter stands.

    Example: wattgate limits show A-0001 -c gateway.toml
    """
    _print(_asked(client(config, url), "GET", f"/api/v1/accounts/{account}/limit", account))


@verbs.command()
def release(account: AccountArgument, reason: ReasonOption, config: ConfigOption = None, url: UrlOption = None) -> None:
    """End a lock-out, or what a plan switches off until its next change.

    Example: wattgate limits release A-0001 --reason "the oven was taken away" -c gateway.toml
    """
    _print(_asked(client(config, url), "POST", f"/api/v1/accounts/{account}/limit/release", account, {"reason": reason}))


@verbs.command("set")
def set_(
    account: AccountArgument,
    limit: Annotated[str, typer.Argument(help="As in the configuration, like 'power_w = 3000, delay_s = 120'; none: no limit.")],
    reason: ReasonOption,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Ask for another limit; it holds when a second person approves it (wattgate approve).

    Example: wattgate limits set A-0001 'policy = "dormitory"' --reason "new contract" -c gateway.toml
    """
    body = {"limit": _table(limit), "reason": reason}
    asked = _asked(client(config, url), "POST", f"/api/v1/accounts/{account}/limit", account, body)
    print(f"{account}: {asked['approval']} waits for a second person until {asked['expires']}")


@verbs.command("write-again")
def write_again(
    meter: Annotated[str, typer.Argument(help="The meter.")],
    reason: ReasonOption,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """You have looked at a meter that did not take its limits: they are read again, and written where they differ.

    Example: wattgate limits write-again bus-1-1 --reason "password set" -c gateway.toml
    """
    _asked(client(config, url), "POST", f"/api/v1/meters/{meter}/limits/write-again", meter, {"reason": reason})
    print(f"{meter}: its limits are read again, and written where they differ")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(verbs, name="limits")


def _asked(gateway: Asked, method: str, path: str, what: str, body: object = None) -> dict[str, object]:
    status, answer = gateway.call(method, path, body)
    if status not in (200, 202):
        raise Failure(f"{what}: {answer.get('detail') or answer.get('title') or status}")
    return answer


def _table(text: str) -> object:
    if text == "none":
        return None
    try:
        return tomllib.loads(f"limit = {{{text}}}")["limit"]
    except tomllib.TOMLDecodeError as problem:
        raise Failure(f"{text!r} is no limit: {problem}; write it like power_w = 3000, delay_s = 120", 2) from None


def _print(limit: dict[str, object]) -> None:
    drawn = _measure(limit["power_w"], limit["current_ma"])
    may = "nothing: its plan switches it off" if limit["off"] else _measure(limit["allowed_w"], limit["allowed_ma"])
    print(f"{limit['account']}: {limit['phase']} since {limit['since']}, draws {drawn}, may draw {may}")
    if limit["by"] is not None:
        tripped = {"limit": "the limit itself", "cap": "a cap of its contract", "malignant": "malignant load (advisory)"}
        print(f"  tripped by {tripped[str(limit['by'])]}")
    print(f"  recloses spent {limit['spent']}, left {limit['left']}; next {limit['next'] or 'nothing by itself'}")
    if limit["month_wh"] is not None:
        print(f"  this period {_kwh(limit['month_wh'])} of {_kwh(limit['month_amount_wh'])} kWh")
    parameters = limit["parameters"]
    for each in parameters if isinstance(parameters, list) else ():
        said = f" ({each['said']})" if each["said"] else ""
        print(f"  {each['meter']} {each['parameter']} = {each['value']}: {each['state']}{said}")


def _measure(watts: object, milliamperes: object) -> str:
    amperes = f"{milliamperes / 1000:g} A" if isinstance(milliamperes, int) else None
    return ", ".join(part for part in (f"{watts} W" if watts is not None else None, amperes) if part) or "what flows"


def _kwh(wh: object) -> str:
    return f"{wh / 1000:.3f}" if isinstance(wh, int) else "?"
