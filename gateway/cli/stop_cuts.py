"""`wattgate stop-cuts` and `wattgate resume-cuts`: no cut leaves any more, until somebody with the right says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import ConfigOption, UrlOption, asking

ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


def stop_cuts(reason: ReasonOption, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Stop every cut at once, queued ones too, but overloads and danger to life; supply is still given back.

    Example: wattgate stop-cuts --reason "a wrong tariff was loaded" -c gateway.toml
    """
    _act(config, url, "stop-cuts", reason)
    print("cuts are stopped")


def resume_cuts(reason: ReasonOption, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Let cuts go on: each is judged anew. It needs the role approver or admin.

    Example: wattgate resume-cuts --reason "the tariff is right again" -c gateway.toml
    """
    _act(config, url, "resume-cuts", reason)
    print("cuts go on")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command("stop-cuts")(stop_cuts)
    app.command("resume-cuts")(resume_cuts)


def _act(config: Path | None, url: str | None, verb: str, reason: str) -> None:
    with asking(config, url) as gateway:
        status, answer = gateway.call("POST", f"/api/v1/{verb}", {"reason": reason})
        if status != 200:
            raise Failure(str(answer.get("detail") or answer.get("title") or f"the gateway answered {status}"))
