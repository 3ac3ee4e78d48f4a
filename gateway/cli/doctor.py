"""`wattgate doctor`: what is wrong with a line, in one sentence."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.line_options import (
    BaudOption,
    ConfigOption,
    DialectOption,
    JsonOption,
    LineArgument,
    ParityOption,
    UrlOption,
    answering,
    chosen,
    tell,
)


def doctor(
    line: LineArgument,
    address: Annotated[str | None, typer.Option("--address", metavar="A", help="Of a meter that should be there.")] = None,
    dialect: DialectOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    baud: BaudOption = None,
    parity: ParityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try speeds, parity, preamble and dialects, and say what is wrong in one sentence; exit code 0 when nothing is.

    Example: wattgate doctor /dev/ttyUSB0 --address 202611210001
    """
    from gateway.bootstrap import tools  # the adapters are loaded only here

    with answering():
        verdict = tools.examine_line(chosen(line, config, baud, parity, url), address, dialect and dialect.value, tell)
    if as_json:
        print(json.dumps({"line": line, "finding": verdict.finding.value, "good": verdict.good, "sentence": verdict.sentence}))
        raise typer.Exit(0 if verdict.good else 1)
    if not verdict.good:
        raise Failure(f"{line}: {verdict.sentence}")
    print(f"{line}: {verdict.sentence}")


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(doctor)
