"""`wattgate reload`: have the running gateway take its configuration over again, without a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import ConfigOption, UrlOption, client


def reload(config: ConfigOption = None, url: UrlOption = None) -> None:
    """Apply what has changed in the configuration to the running gateway: all of it, or nothing and why.

    Lines and meters that have not changed are not disturbed. SIGHUP does the same; what came of it is then in the log.

    Example: wattgate reload -c gateway.toml
    """
    meant = {} if config is None else {"file": str(config.resolve())}
    status, answer = client(config, url).call("POST", "/api/v1/reload", meant)
    if status != 200:
        errors = cast(Sequence[str], answer.get("errors") or [answer.get("detail") or f"the gateway answered {status}"])
        raise Failure([*errors, "nothing was changed"])
    told = list(_told(answer))
    print("\n".join(told) if told else "nothing has changed since it was loaded")


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(reload)


def _told(changes: Mapping[str, object]) -> list[str]:
    told = []
    for table, parts in changes.items():
        if isinstance(parts, dict):
            told += [f"{table} {how}: {', '.join(names)}" for how, names in parts.items() if names]
    if changes.get("keys"):
        told.append(f"keys changed: {', '.join(cast(Sequence[str], changes['keys']))}")
    if changes.get("passwords"):
        told.append("the meter passwords were read again")
    return told
