"""All verbs in one program; errors are one sentence on stderr, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_group

from gateway import __version__
from gateway.cli.answers import Failure

VERBS = (
    *("demo", "init", "run", "reload", "check", "lines", "sim", "decode", "topup", "cut", "restore", "stop-cuts", "resume-cuts"),
    *("protect", "unprotect", "emergency-credit", "read", "scan", "doctor", "capture", "replay", "backup", "restore-backup"),
    *("central", "quarantine", "approve", "limits", "ledger", "tariffs", "bench", "reopen", "users", "accounts", "meters"),
    *("reconcile", "debit", "notices", "wallets", "schemas", "keys", "audit"),
)
"""In the order of --help. A verb stands in the module of its name, but for those of PLACES."""

PLACES = {
    "cut": "supply",
    "restore": "supply",
    "resume-cuts": "stop_cuts",
    "unprotect": "protect",
    "replay": "capture",
    "restore-backup": "backup",
}


@cache
def _registered(module: str) -> Mapping[str, object]:
    part = typer.Typer()
    import_module(f"gateway.cli.{module}").register(part)
    return get_group(part).commands


class Verbs(Mapping[str, object]):
    """Imports a verb's module when it is asked for: a top-up at the counter does not wait for what the demo needs."""

    def __getitem__(self, verb: str) -> object:
        if verb not in VERBS:
            raise KeyError(verb)
        return _registered(PLACES.get(verb, verb.replace("-", "_")))[verb]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class Group(TyperGroup):
    """The program itself."""

    def __init__(self, **options: object) -> None:
        super().__init__(**(options | {"commands": Verbs()}))  # type: ignore[arg-type]


app = typer.Typer(
    name="wattgate",
    cls=Group,
    help="The open gateway for remote prepayment and data acquisition of electricity meters.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"wattgate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Remote prepayment and data acquisition of electricity meters."""


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 refused or not achieved, 2 wrong usage."""
    try:
        app()
    except Failure as failure:
        for sentence in failure.sentences:
            print(sentence, file=sys.stderr)
        sys.exit(failure.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as problem:
        if os.environ.get("WATTGATE_DEBUG"):
            raise
        print(
            f"wattgate met an error that it does not know: {type(problem).__name__}: {problem} (WATTGATE_DEBUG=1 shows where)",
            file=sys.stderr,
        )
        sys.exit(1)
