"""`wattgate users`: who may do what, and the tokens by which they are known."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TextIO, cast

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import ConfigOption, UrlOption, asking
from gateway.domain.people import Role

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user, like li-wei.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the token into this new file (0600), not to the terminal.")
]

users = typer.Typer(help="Persons, their roles and tokens.", no_args_is_help=True)


@users.command()
def add(
    name: NameArgument,
    role: Annotated[list[Role], typer.Option("--role", help="What it may do; may be given several times.")],
    out: OutOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Add a user and show its token, this once; WATTGATE_TOKEN carries it. A revoked user comes back with these roles.

    admin changes users and settings, operator gives orders and takes money at the counter, approver is the second person of what
    needs two, auditor only looks. The gateway keeps no token, only its digest.

    Example: wattgate users add li-wei --role operator -c gateway.toml
    """
    _issue("/api/v1/users", {"name": name, "roles": [each.value for each in role]}, out, config, url)


@users.command()
def token(name: NameArgument, out: OutOption = None, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Give a user another token and show it, this once; the one before opens nothing any more.

    Example: wattgate users token li-wei --out li-wei.token -c gateway.toml
    """
    _issue(f"/api/v1/users/{name}/token", None, out, config, url)


@users.command("list")
def list_(config: ConfigOption = None, url: UrlOption = None) -> None:
    """List all users with their roles, the revoked too.

    Example: wattgate users list -c gateway.toml
    """
    with asking(config, url) as gateway:
        found = _answered(*gateway.call("GET", "/api/v1/users"), 200)
    for user in cast(list[dict[str, object]], found["list"]):
        since = f"revoked {user['revoked']}" if user["revoked"] else f"since {user['created']}"
        print(f"{user['name']}  {', '.join(cast(list[str], user['roles']))}  {since}")


@users.command()
def revoke(name: NameArgument, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Let a user do nothing any more, from this moment on. The last admin cannot be revoked.

    Example: wattgate users revoke li-wei -c gateway.toml
    """
    with asking(config, url) as gateway:
        _answered(*gateway.call("POST", f"/api/v1/users/{name}/revoke"), 200)
    print(f"{name}: revoked")


def register(app: typer.Typer) -> None:
    """Adds the group of verbs."""
    app.add_typer(users, name="users")


def _issue(path: str, body: object, out: Path | None, config: Path | None, url: str | None) -> None:
    """Have a token made, and put it where the person wants it; where that cannot be, nothing is asked."""
    with _written_to(out) as file, asking(config, url) as gateway:
        answer = _answered(*gateway.call("POST", path, body), 201)
        print(answer["token"], file=file, flush=True)
    print(f"this token of {answer['name']} is not shown again: WATTGATE_TOKEN carries it", file=sys.stderr)


@contextlib.contextmanager
def _written_to(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as problem:
        raise Failure(f"the token cannot be written to {out}: {problem.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            yield file
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _answered(status: int, answer: dict[str, object], wanted: int) -> dict[str, object]:
    if status != wanted:
        raise Failure(str(answer.get("detail") or answer.get("title") or f"the gateway answered {status}"))
    return answer
