"""`wattgate bench meter`: an acceptance list against one meter, and a report that a laboratory can sign."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.line_options import (
    BaudOption,
    ConfigOption,
    Dialect,
    JsonOption,
    LineArgument,
    ParityOption,
    answering,
    chosen,
    tell,
)

if TYPE_CHECKING:
    from gateway.bootstrap.meter_bench import Outcome

verbs = typer.Typer(help="Acceptance on the bench.", no_args_is_help=True)


@verbs.callback()
def _bench() -> None:
    """Acceptance on the bench."""


@verbs.command()
def meter(
    line: LineArgument,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="1 to 12 digits.")],
    report: Annotated[Path | None, typer.Option("--report", metavar="DIR", help="Write report.json and report.html here.")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="ID", help="Only these cases, like link or time.td.")] = None,
    passwords: Annotated[
        Path | None, typer.Option("--passwords", metavar="FILE", help="Mode 0600: [control] password, level. Without it no 1C.")
    ] = None,
    password_class: Annotated[str, typer.Option("--password-class", metavar="NAME", help="Which class of it.")] = "control",
    operator: Annotated[str, typer.Option("--operator", metavar="CODE", help="8 digits of the operator code.")] = "00000000",
    lockout: Annotated[bool, typer.Option("--lockout", help="Also lock the meter for a day by wrong passwords.")] = False,
    wallet: Annotated[bool, typer.Option("--wallet", help="Also put 1.00 into its wallet; MACs by --crypto, else TEST.")] = False,
    crypto: Annotated[
        str | None, typer.Option("--crypto", metavar="URL", help="The service that makes MACs: https, or http on loopback.")
    ] = None,
    crypto_token: Annotated[
        Path | None, typer.Option("--crypto-token", metavar="FILE", help="Its bearer token, in a file of mode 0600.")
    ] = None,
    customer: Annotated[str | None, typer.Option("--customer", metavar="N", help="12 digits, for a wallet without one.")] = None,
    long: Annotated[bool, typer.Option("--long", help="Also what takes minutes: delays and timed cuts.")] = False,
    uncertainty: Annotated[
        float | None, typer.Option("--uncertainty", metavar="MS", min=0, help="Of times, stated by the laboratory.")
    ] = None,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who tests.")] = "",
    laboratory: Annotated[str, typer.Option("--laboratory", metavar="NAME", help="Where.")] = "",
    order: Annotated[str, typer.Option("--order", metavar="NUMBER", help="For whom.")] = "",
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Anything else for the report.")] = "",
    dialect: Annotated[Dialect, typer.Option("--dialect", help="1997 meters are held to fewer cases.")] = Dialect.V2007,
    config: ConfigOption = None,
    baud: BaudOption = None,
    parity: ParityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the acceptance list on one meter and write the report; exit code 0 when no case failed.

    With a password the meter's supply is cut and given back. Wrong passwords are at most two a day without --lockout.

    Example: wattgate bench meter /dev/ttyUSB0 202611210001 --passwords bench.toml --report meter-1 --by "Li Wei"
    """
    from gateway.bootstrap import meter_bench, tools  # the adapters are loaded only here

    for what, text, length in (("operator", operator, 8), ("customer", customer, 12)):
        if text is not None and not re.fullmatch(rf"[0-9]{{{length}}}", text):
            raise Failure(f"--{what} takes {length} digits, not {text!r}", 2)
    wanted = meter_bench.BenchOrder(
        meter_bench.Options(lockout, wallet, long, customer, operator), tuple(only or ()), report, passwords, password_class,
        crypto, crypto_token, uncertainty, by, laboratory, order, note,
    )  # fmt: skip
    with answering():
        target = tools.target_of(address, dialect.value, None)
        where = chosen(line, config, baud, parity)
        outcomes = meter_bench.accept_meter(where, target, wanted, lambda outcome: _say(outcome, as_json))
    failed = [outcome for outcome in outcomes if outcome.verdict is meter_bench.Verdict.FAIL]
    done = sum(outcome.verdict is meter_bench.Verdict.PASS for outcome in outcomes)
    tell(f"{done} passed, {len(failed)} failed, {len(outcomes) - done - len(failed)} not run")
    if report is not None:
        tell(f"the report is in {report}")
    if failed:
        raise Failure(f"meter {target.address} failed {', '.join(outcome.case.id for outcome in failed)}")
    if not done:
        raise Failure(f"no case could be judged; `wattgate doctor {line} --address {address}` says more")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(verbs, name="bench")


def _say(outcome: Outcome, as_json: bool) -> None:
    case = outcome.case
    if as_json:
        row = {"id": case.id, "verdict": outcome.verdict.value, "expected": case.expected, "observed": outcome.observed}
        print(json.dumps(row), flush=True)
    else:
        print(f"{outcome.verdict.value:8} {case.id:22} {outcome.observed}", flush=True)
