"""`wattgate debit`: mandates, the file of a day's debits to the bank, and its result file."""

from __future__ import annotations

from collections import Counter
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gateway.bootstrap.direct_debit import debits
from gateway.cli.answers import Failure
from gateway.cli.gateway_client import Asked, ConfigOption, UrlOption, client
from gateway.domain.mandates import batch_of
from gateway.domain.units import DECIMALS, MICRO, format_money, parse_money
from gateway.settings import SettingsError
from protocols.bank.debitfile import Debit, DebitFileError, DebitTable, Result, read_results, write_batch
from protocols.bank.records import BadRecord

verbs = typer.Typer(help="Direct debit: mandates, the day's file to the bank, its result file.", no_args_is_help=True)

TableOption = Annotated[str, typer.Option("--format", help="A shipped table, like debit-pipe or debit-fixed, or a TOML file.")]
CheckOption = Annotated[bool, typer.Option("--check", help="Only say whether it could be done.")]
AT_ONCE, PAGE = 200, 1000
CHUNK = 1 << 16
LOOK = frozenset({"unbooked", "unknown", "amount", "contradicts"})
"""Verdicts that a person must look at."""


@verbs.command()
def sign(
    mandate: Annotated[str, typer.Argument(help="Its id.")],
    bank: Annotated[str, typer.Option("--bank")],
    account: Annotated[str, typer.Option("--account")],
    payer: Annotated[str, typer.Option("--payer", help="The account at the bank.")],
    below: Annotated[str, typer.Option("--below", help="Once less is left, like 10.00.")] = "0.00",
    upto: Annotated[str, typer.Option("--upto", help="So much is to be there again.")] = "0.00",
    most: Annotated[str, typer.Option("--most", help="At most so much at a time.")] = "500.00",
    currency: Annotated[str, typer.Option("--currency")] = "CNY",
    check: CheckOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Sign a mandate; first with --check.

    Example: wattgate debit sign M-7 --bank icbc --account A-0007 --payer 62220202001122 --below 10.00 --upto 100.00
    """
    terms = {"id": mandate, "bank": bank, "account": account, "payer": payer, "currency": currency}
    _act(client(config, url), "/api/v1/mandates", {**terms, "below": below, "upto": upto, "most": most}, mandate, check)


@verbs.command()
def end(
    mandate: Annotated[str, typer.Argument(help="Its id.")],
    check: CheckOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """End a mandate, once its last debit has a result.

    Example: wattgate debit end M-7 -c gateway.toml
    """
    _act(client(config, url), f"/api/v1/mandates/{mandate}/end", {}, mandate, check)


@verbs.command("list")
def list_(config: ConfigOption = None, url: UrlOption = None) -> None:
    """All mandates.

    Example: wattgate debit list -c gateway.toml
    """
    gateway, after = client(config, url), ""
    while rows := _rows(_asked(gateway, "GET", f"/api/v1/mandates?after={after}", "mandates")):
        for row in rows:
            limits = f"below {row['below']} up to {row['upto']}, at most {row['most']} {row['currency']}"
            print(f"{row['id']}: {row['state']}, account {row['account']} from {row['payer']} at {row['bank']}, {limits}")
        after = str(rows[-1]["id"])


@verbs.command()
def batch(
    bank: Annotated[str, typer.Argument(help="The bank.")],
    day: Annotated[str, typer.Argument(help="Its accounting date, like 2026-11-21.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    table: TableOption = "debit-pipe",
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Write the file of a day's debits; the same day again is the same file.

    Example: wattgate debit batch icbc 2026-11-21 --out icbc-20261121.txt -c gateway.toml
    """
    when, layout, gateway = _day(day), _table(table), client(config, url)
    made = _asked(gateway, "POST", f"/api/v1/debits/{bank}/{day}", bank, {})
    debits: list[Debit] = []
    while len(debits) < _number(made["count"]):
        rows = _rows(_asked(gateway, "GET", f"/api/v1/debits/{made['id']}/lines?after={debits[-1].number if debits else 0}", bank))
        if not rows:
            raise Failure(f"batch {made['id']} has fewer lines than it says")
        debits += [_debit(row) for row in rows]
    try:
        out.write_bytes(write_batch(layout, str(made["id"]), when, debits))
    except BadRecord as bad:
        raise Failure(f"{table}: {bad}") from None
    except OSError as problem:
        raise Failure(f"{out} cannot be written: {problem.strerror}") from None
    print(f"{out}: {made['count']} debits of {made['sum']} {made['currency']} in batch {made['id']}")


@verbs.command()
def result(
    bank: Annotated[str, typer.Argument(help="The bank.")],
    file: Annotated[Path, typer.Argument(help="Its result file.")],
    day: Annotated[str, typer.Option("--day", help="The day it was paid, for files whose lines have no date.")],
    table: TableOption = "debit-pipe",
    currency: Annotated[str, typer.Option("--currency")] = "CNY",
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Book what a result file says; the same file again changes nothing. Exit code 1 where a person must look.

    Example: wattgate debit result icbc icbc-20261121-result.txt --day 2026-11-21 -c gateway.toml
    """
    results = _results(file, _table(table), _day(day), bank)
    gateway, counts = client(config, url), Counter[str]()
    for at in range(0, len(results), AT_ONCE):
        part = results[at : at + AT_ONCE]
        body = {"bank": bank, "results": [_told(each, currency) for each in part]}
        try:
            verdicts = _asked(gateway, "POST", "/api/v1/debit-results", bank, body)["list"]
        except Failure as broke:
            done = f"{at} of {len(results)} lines are known to be done: the same file may be read again"
            raise Failure([*broke.sentences, done]) from None
        for each, verdict in zip(part, verdicts if isinstance(verdicts, list) else [], strict=True):
            counts[str(verdict)] += 1
            if verdict in LOOK:
                print(f"{each.serial}: {verdict} ({each.said})")
    print(f"{file}: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    if LOOK & set(counts):
        count = sum(counts[verdict] for verdict in LOOK)
        raise Failure(f"a person must look at {count} of them; `wattgate debit open` says what stays open")


@verbs.command("open")
def open_(config: ConfigOption = None, url: UrlOption = None) -> None:
    """Debits that a person must look at: the bank took money that could not be credited, or contradicts itself.

    Example: wattgate debit open -c gateway.toml
    """
    rows = _rows(_asked(client(config, url), "GET", "/api/v1/findings", "findings"))
    found = [row for row in rows if row["kind"] == "debit_unbooked"]
    for row in found:
        data = row["data"] if isinstance(row["data"], dict) else {}
        why = f" ({data['why']})" if data.get("why") else ""
        print(f"{data.get('bank')} {row['text']}{why}, account {data.get('account')}, since {row['since']}")
    if not found:
        print("no debit waits for a person")


@verbs.command()
def resolve(
    bank: Annotated[str, typer.Argument(help="The bank.")],
    serial: Annotated[str, typer.Argument(help="The debit's serial.")],
    reason: Annotated[str, typer.Option("--reason", help="What was done, like: paid back, transfer 7781.")],
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Say what was done about a debit that waits for a person; it is shown no more. No money moves by this.

    Example: wattgate debit resolve icbc DD-20261121-000001 --reason "paid back, transfer 7781" -c gateway.toml
    """
    _asked(client(config, url), "POST", f"/api/v1/debits/{bank}/{serial}/resolution", serial, {"reason": reason})
    print(f"{serial}: resolved")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(verbs, name="debit")


def _act(gateway: Asked, path: str, body: dict[str, object], mandate: str, check: bool) -> None:
    answer = _asked(gateway, "POST", path, mandate, {**body, "check": check})
    if check and not answer["allowed"]:
        raise Failure(f"{mandate}: {answer['reason']}")
    print(f"{mandate}: this can be done" if check else f"{mandate}: {answer['state']}")


def _asked(gateway: Asked, method: str, path: str, what: str, body: object = None) -> dict[str, object]:
    status, answer = gateway.call(method, path, body)
    if status != 200:
        raise Failure(f"{what}: {answer.get('detail') or answer.get('title') or status}")
    return answer


def _rows(answer: dict[str, object]) -> list[dict[str, object]]:
    rows = answer.get("list")
    return rows if isinstance(rows, list) else []


def _table(name: str) -> DebitTable:
    try:
        return debits(name, Path())
    except SettingsError as problem:
        raise Failure(problem.errors) from None


def _results(file: Path, table: DebitTable, day: date, bank: str) -> list[Result]:
    """All of the file, or nothing of it."""
    try:
        with file.open("rb") as source:
            return list(read_results(table, iter(lambda: source.read(CHUNK), b""), day, partial(batch_of, bank)))
    except OSError as problem:
        raise Failure(f"{file} cannot be read: {problem.strerror}") from None
    except DebitFileError as problem:
        raise Failure(f"{file}: {problem}; nothing of it was booked") from None


def _debit(row: dict[str, object]) -> Debit:
    currency = str(row["currency"])
    fen = parse_money(str(row["amount"]), currency) // _step(currency)
    return Debit(_number(row["number"]), str(row["serial"]), str(row["payer"]), str(row["account"]), fen, currency)


def _told(result: Result, usual: str) -> dict[str, object]:
    currency = result.currency or usual
    amount = format_money(result.fen * _step(currency), currency)
    told = {"serial": result.serial, "amount": amount, "currency": currency, "paid": result.paid, "said": result.said}
    return {**told, "paid_on": result.paid_on.isoformat()}


def _step(currency: str) -> int:
    if currency not in DECIMALS:
        raise Failure(f"currency {currency} is not known here")
    step: int = MICRO // 10 ** DECIMALS[currency]
    return step


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Failure(f"{text!r} is no day; write one like 2026-11-21") from None
