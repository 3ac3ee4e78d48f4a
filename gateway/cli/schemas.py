"""`wattgate schemas`: the uplink's JSON Schemas and AsyncAPI document, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from protocols.uplink.schemas import VERSION, documents


def schemas(out: Annotated[Path, typer.Option(help="Folder for the files; it is made where it is missing.")]) -> None:
    """Write the JSON Schemas of the uplink's messages and its AsyncAPI document.

    Example: wattgate schemas --out docs/uplink
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in documents(VERSION).items():
            (out / name).write_text(text, "utf-8")
            print(out / name)
    except OSError as problem:
        raise Failure(f"{problem.filename or out}: cannot be written: {problem.strerror}") from None


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(schemas)
