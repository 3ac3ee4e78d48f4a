"""All verbs in one program; errors are one sentence on stderr, never a traceback."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import (
    accounts,
    approve,
    backup,
    bench,
    capture,
    central,
    check,
    decode,
    demo,
    doctor,
    emergency_credit,
    ledger,
    limits,
    lines,
    meters,
    notices,
    protect,
    quarantine,
    read,
    reload,
    reopen,
    run,
    scan,
    sim,
    stop_cuts,
    supply,
    tariffs,
    topup,
    users,
    wallets,
)
from gateway.cli.answers import Failure

app = typer.Typer(
    name="wattgate",
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


for verbs in (
    *(demo, run, reload, check, lines, sim, central, decode, topup),
    *(supply, stop_cuts, quarantine, approve, protect, limits, emergency_credit),
    *(ledger, tariffs, read, scan, doctor, capture, bench, backup, reopen, users, accounts, meters, notices, wallets),
):
    verbs.register(app)


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
