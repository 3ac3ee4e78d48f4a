"""`wattgate reopen`: from the restore of a backup back to taking money."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import ConfigOption, UrlOption, asking
from gateway.cli.supply import follow_left_over

AT_ONCE = 100
"""Payments in one request, the most that the gateway takes."""

COLUMNS = ("serial", "account", "amount", "currency", "type", "original_serial", "paid_at", "channel", "institution")
"""Of a bank's day file (contract.md 3)."""

BankArgument = Annotated[str, typer.Argument(help="The bank.")]
ByOption = Annotated[str, typer.Option("--by", metavar="NAME", help="Who answers for it, for the record.")]

reopen = typer.Typer(help="After the restore of a backup: what leads back to taking money.", no_args_is_help=True)


@reopen.command()
def status(config: ConfigOption = None, url: UrlOption = None) -> None:
    """Say whether money waits, and what must still be agreed; exit 1 while it waits.

    Example: wattgate reopen status -c gateway.toml
    """
    with asking(config, url) as gateway:
        answer = _answered(gateway.call("GET", "/api/v1/reopen"))
        if answer["held"]:
            raise Failure(_told(answer))
        print("money is taken")


@reopen.command()
def bank(
    bank: BankArgument,
    date: Annotated[str, typer.Option("--date", metavar="DATE", help="The accounting date, like 2026-11-21.")],
    count: Annotated[int, typer.Option("--count", help="How many payments the bank has booked to us.")],
    total: Annotated[str, typer.Option("--total", help="Their sum, like 1250.00.")],
    by: ByOption,
    until: Annotated[str | None, typer.Option("--until", metavar="DATE", help="The figures are of all dates to this one.")] = None,
    currency: Annotated[str, typer.Option(help="The currency.")] = "CNY",
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Compare a bank's figures with the ledger and keep that they agree, or say what is missing.

    Example: wattgate reopen bank demo --date 2026-11-21 --count 12 --total 1250.00 --by "Li Wei" -c gateway.toml
    """
    body = {"bank": bank, "first": date, "last": until or date, "currency": currency, "count": count, "total": total, "by": by}
    _act(config, url, "bank", body)


@reopen.command()
def centre(
    by: ByOption,
    epoch: Annotated[str, typer.Option("--epoch", help="The epoch of the numbers, as the centre has them.")] = "",
    seq: Annotated[int | None, typer.Option("--seq", help="The last number that the centre has received in it.")] = None,
    none: Annotated[str, typer.Option("--none", metavar="REASON", help="There is no centre to ask, and why.")] = "",
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Keep how far the centre has received before the restore, or that there is none.

    Example: wattgate reopen centre --epoch 2f6d1c08ab34e790 --seq 120433 --by "Li Wei" -c gateway.toml
    """
    if (seq is None) == (not none):
        raise Failure("say either --epoch and --seq, or why there is no centre: --none REASON", 2)
    _act(config, url, "centre", {"epoch": epoch, "seq": seq, "reason": none, "by": by})


@reopen.command()
def payments(
    file: Annotated[Path, typer.Argument(help="CSV in the form of a bank's day file.")],
    bank: Annotated[str, typer.Option("--bank", help="The bank.")],
    date: Annotated[str, typer.Option("--date", metavar="DATE", help="The accounting date of all of them.")],
    by: ByOption,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Book the payments of a bank's list that the restored ledger lacks, under the bank's own serials; the others stay as they are.

    Example: wattgate reopen payments demo-2026-11-21.csv --bank demo --date 2026-11-21 --by "Li Wei" -c gateway.toml
    """
    listed = _listed(file, date)
    new = 0
    with asking(config, url) as gateway:
        for first in range(0, len(listed), AT_ONCE):
            body = {"bank": bank, "payments": listed[first : first + AT_ONCE], "by": by}
            try:
                new += int(str(_answered(gateway.call("POST", "/api/v1/reopen/payments", body))["new"]))
            except Failure as refused:
                raise Failure(f"{refused.sentences[0]} (none from line {first + 2} on was booked; {new} before it were)") from None
        print(f"{new} payments booked, {len(listed) - new} were known", flush=True)
        follow_left_over(gateway)


@reopen.command()
def release(by: ByOption, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Take money again, where bank and centre agree; else say what is missing.

    Example: wattgate reopen release --by "Li Wei" -c gateway.toml
    """
    with asking(config, url) as gateway:
        status_, answer = gateway.call("POST", "/api/v1/reopen/release", {"by": by})
        missing = answer.get("missing")
        if status_ != 200 and isinstance(missing, list):
            raise Failure([str(sentence) for sentence in missing])
        _answered((status_, answer))
        print("money is taken again")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(reopen, name="reopen")


def _act(config: Path | None, url: str | None, name: str, body: dict[str, object]) -> None:
    with asking(config, url) as gateway:
        answer = _answered(gateway.call("POST", f"/api/v1/reopen/{name}", body))
        print("\n".join(["they agree", *_told(answer)]))


def _told(answer: dict[str, object]) -> list[str]:
    missing = answer["missing"]
    assert isinstance(missing, list)
    return [f"{answer['reason']} (epoch {answer['epoch_before']})", *(f"missing: {sentence}" for sentence in missing)]


def _answered(answer: tuple[int, dict[str, object]]) -> dict[str, object]:
    status_, body = answer
    if status_ != 200:
        raise Failure(str(body.get("detail") or body.get("title") or f"the gateway answered {status_}"))
    return body


def _listed(file: Path, date: str) -> Sequence[dict[str, str]]:
    """The top-ups of a day file. Failure names the line that is none."""
    try:
        rows = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise Failure(f"{file} cannot be read as CSV in UTF-8: {problem}") from None
    if not rows or tuple(rows[0]) != COLUMNS:
        raise Failure(f"{file}: the first line is {','.join(COLUMNS)}")
    listed = []
    for number, row in enumerate(rows[1:], 2):
        if not row or row[0].startswith("#"):  # the last line of a day file: its totals, which `reopen bank` compares
            continue
        if len(row) != len(COLUMNS):
            raise Failure(f"{file}, line {number}: it has {len(row)} fields instead of {len(COLUMNS)}")
        named = dict(zip(COLUMNS, row, strict=True))
        if named.pop("type") != "topup":
            raise Failure(f"{file}, line {number}: only top-ups are brought in; take out a reversed one with its reversal")
        named.pop("original_serial")
        listed.append({**named, "accounting_date": date})
    return listed
