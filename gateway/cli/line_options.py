"""What the verbs for one line have in common: how a line is named, and how they end badly."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.answers import Failure, settings_of

if TYPE_CHECKING:  # the adapters are loaded only by those who use a line
    from gateway.bootstrap.tools import Chosen


class Parity(StrEnum):
    """Of a serial line."""

    EVEN = "E"
    NONE = "N"
    ODD = "O"


class Dialect(StrEnum):
    """Of DL/T 645."""

    V2007 = "2007"
    V1997 = "1997"


LINE_HELP = "A device (/dev/ttyUSB0), tcp:HOST:PORT, or with -c FILE a line's id."
LineArgument = Annotated[str, typer.Argument(metavar="LINE", help=LINE_HELP)]
LineOption = Annotated[str | None, typer.Option("--line", metavar="LINE", help=LINE_HELP)]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The gateway's TOML file: where it runs it is asked, else locked out."),
]
BaudOption = Annotated[
    int | None,
    typer.Option("--baud", min=300, max=921_600, help="Speed of the line; behind TCP only told, not set. By default 2400."),
]
ParityOption = Annotated[Parity | None, typer.Option("--parity", case_sensitive=False, help="By default E: 8E1.")]
DialectOption = Annotated[Dialect | None, typer.Option("--dialect", help="Of DL/T 645; by default both are tried.")]
UrlOption = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="A running gateway whose line is asked, like http://127.0.0.1:8080.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")]


def chosen(line: str | None, config: Path | None, baud: int | None, parity: Parity | None, url: str | None = None) -> Chosen:
    """What was named. Raises Failure for a configuration that cannot be read."""
    from gateway.bootstrap.reach import TOKEN, Listener
    from gateway.bootstrap.tools import Chosen

    if config is not None and url is not None:
        raise Failure("name either a configuration (-c FILE) or a gateway (--url URL)", 2)
    if url is not None:
        return Chosen(line, baud=baud, parity=parity and parity.value, gateway=Listener(url, os.environ.get(TOKEN)))
    if config is None:
        return Chosen(line, baud=baud, parity=parity and parity.value)
    return Chosen(line, settings_of(config), config.resolve().parent, baud, parity and parity.value)


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Errors of the tools as failures with their exit codes."""
    from gateway.bootstrap.tools import NotDone, WrongUse

    try:
        yield
    except WrongUse as problem:
        raise Failure(str(problem), 2) from None
    except NotDone as problem:
        raise Failure(str(problem)) from None


def tell(text: str) -> None:
    """What is going on, for people."""
    print(text, file=sys.stderr, flush=True)
