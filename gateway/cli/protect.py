"""`wattgate protect` and `wattgate unprotect`: an account's supply is not cut, for a time and on somebody's word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import Asked, ConfigOption, UrlOption, asking
from gateway.cli.supply import follow_left_over

AccountArgument = Annotated[str, typer.Argument(help="The account.")]
OwnerOption = Annotated[str, typer.Option("--owner", metavar="NAME", help="Who answers for it.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
SPANS = {"m": "minutes", "h": "hours", "d": "days"}


def protect(
    account: AccountArgument,
    owner: OwnerOption,
    reason: ReasonOption,
    span: Annotated[str | None, typer.Option("--for", metavar="SPAN", help="Like 30m, 12h or 7d.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="MOMENT", help="Like 2026-12-01T08:00:00+08:00.")] = None,
    blocks: Annotated[str, typer.Option(help="all: no cut at all; commercial: overloads and emergencies still cut.")] = "all",
    in_meter: Annotated[bool, typer.Option("--in-meter", help="The meter is told too; it refuses overload trips as well.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Protect an account's supply: it is not cut until then, and a cut for debt is lifted.

    Example: wattgate protect A-0001 --for 7d --owner "Li Wei" --reason "oxygen concentrator" -c gateway.toml
    """
    body = {"until": _until(span, until), "owner": owner, "reason": reason, "blocks": blocks, "in_meter": in_meter}
    with asking(config, url) as gateway:
        answer = _posted(gateway, account, "protect", body)
        print(_waiting(answer) or f"{account}: protected until {answer['protected_until']}", flush=True)
        follow_left_over(gateway)


def unprotect(
    account: AccountArgument, owner: OwnerOption, reason: ReasonOption, config: ConfigOption = None, url: UrlOption = None
) -> None:
    """Ask for the end of the protection of an account's supply, which another person must approve; nobody is cut by that.

    Example: wattgate unprotect A-0001 --owner "Li Wei" --reason "moved away" -c gateway.toml
    """
    with asking(config, url) as gateway:
        print(_waiting(_posted(gateway, account, "unprotect", {"owner": owner, "reason": reason})))


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command()(protect)
    app.command()(unprotect)


def _posted(gateway: Asked, account: str, verb: str, body: Mapping[str, object]) -> dict[str, object]:
    status, answer = gateway.call("POST", f"/api/v1/accounts/{account}/{verb}", body)
    if status not in (200, 202):
        raise Failure(f"{verb} of {account}: {answer.get('detail') or answer.get('title') or status}")
    return answer


def _waiting(answer: dict[str, object]) -> str:
    """What the person is told whose act waits for another one; nothing where it is done."""
    waits = answer.get("approval")
    return f"{answer['account']}: waits for a second person: wattgate approve yes {waits['id']}" if isinstance(waits, dict) else ""


def _until(span: str | None, until: str | None) -> str:
    """The end as RFC 3339. Failure where neither or both are given, or one is not understood."""
    if (span is None) == (until is None):
        raise Failure("say how long: --for 7d, or --until 2026-12-01T08:00:00+08:00", 2)
    if until is not None:
        return until
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", span or "")
    if found is None:
        raise Failure(f"{span!r} is no span: write it like 30m, 12h or 7d", 2)
    return (datetime.now(UTC) + timedelta(**{SPANS[found[2]]: int(found[1])})).isoformat(timespec="seconds")
