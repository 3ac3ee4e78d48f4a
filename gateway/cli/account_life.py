"""`wattgate accounts open`, `close`, `move`, `refund`, `import` and `export`: a customer comes, stays and goes."""

from __future__ import annotations

import secrets
from datetime import date
from pathlib import Path
from typing import Annotated, cast

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import ConfigOption, UrlOption, asking
from gateway.cli.questions import ByOption, Questions, ReasonOption, RequestOption, SecondOption, YesOption, post
from gateway.cli.registers import HOW, READ, Device, registers, unreadable
from gateway.cli.supply import follow_left_over
from gateway.cli.tables import SetOption, give_file, table_of, take_file
from gateway.domain.requests import valid_id
from gateway.settings.sheets import Raw

Option = typer.Option
Account = Annotated[str, typer.Argument(metavar="ACCOUNT")]


def open_account(
    account: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="Its id.")] = None,
    holder: Annotated[str | None, Option("--holder", metavar="NAME", help="Who pays.")] = None,
    tariff: Annotated[str | None, Option("--tariff", metavar="ID")] = None,
    currency: Annotated[str | None, Option("--currency", help="By default CNY.")] = None,
    agreement: Annotated[
        str | None, Option("--agreement", metavar="ID", help="What was signed; without one nobody is cut.")
    ] = None,
    signed: Annotated[str | None, Option("--signed", metavar="DATE", help="When; by default today.")] = None,
    version: Annotated[str | None, Option("--version", metavar="TEXT", help="Of the agreement's text; by default 1.")] = None,
    channel: Annotated[list[str] | None, Option("--channel", help="By which notices come, as agreed. Repeatable.")] = None,
    meter: Annotated[str | None, Option("--meter", metavar="ID", help="A meter of the archive, or the id of a new one.")] = None,
    line: Annotated[str | None, Option("--line", metavar="ID", help="Where a new meter is.")] = None,
    address: Annotated[str | None, Option("--address", metavar="A", help="Of a new meter.")] = None,
    profile: Annotated[str | None, Option("--profile", help="Of a new meter.")] = None,
    first: Annotated[
        str | None, Option("--first", metavar="KWH|read", help="What its display shows; left out, the gateway's first reading.")
    ] = None,
    opening: Annotated[
        str | None, Option("--opening", metavar="AMOUNT", help="Paid already; wants --receipt or a second person.")
    ] = None,
    receipt: Annotated[str | None, Option("--receipt", metavar="NUMBER", help="Of the counter.")] = None,
    sets: SetOption = None,
    request: RequestOption = None,
    by: ByOption = None,
    second: SecondOption = None,
    reason: ReasonOption = None,
    yes: YesOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Open an account with its agreement, meter, first register and tariff in one step; what no option says is asked for.

    Example: wattgate accounts open house-17 --holder "Li Wei" --tariff home --agreement P-17 --meter bus-1-17 -c gateway.toml
    """
    questions = Questions(yes)
    table: Raw = {
        "id": questions.ask("ACCOUNT", account, "account id", None, _no_id),
        "holder": questions.ask("--holder", holder, "holder", ""),
        "tariff": questions.ask("--tariff", tariff, "tariff", None, _no_id),
        "currency": questions.ask("--currency", currency, "currency", "CNY"),
    }
    terms = _agreement(questions, agreement, signed, version, channel)
    meters = _meter(questions, Device(meter, line, address, profile), first, config, url)
    paid = questions.ask("--opening", opening, "opening balance", "")
    if paid.strip("0."):
        table["opening"] = paid
        receipt = questions.ask("--receipt", receipt, "counter receipt (Enter: none, a second person answers for it)", "") or None
    table |= table_of(sets)
    named = ", ".join(str(each.get("meter") or cast(Raw, each["table"])["id"]) for each in meters)
    questions.sure(
        f"open {table['id']} for {table['holder'] or 'nobody named'} at {named or 'no meter'}, tariff {table['tariff']}?"
    )
    body: dict[str, object] = {
        "id": request or f"open-{secrets.token_hex(6)}", "reason": reason or "a customer comes", "by": by, "second": second,
        "account": table, "agreement": terms, "meters": meters, "receipt": receipt,
    }  # fmt: skip
    with asking(config, url) as gateway:
        told = post(gateway, "/api/v1/accounts", body)
        print(f"{told['account']}: open, balance {told['balance']} {told['currency']} (request {body['id']})")
        _tell_meters(told["meters"])
        follow_left_over(gateway)


def close_account(
    account: Account,
    final: Annotated[
        list[str] | None,
        Option("--final", metavar="METER=KWH", help="What a display shows, or METER=read. Left out: the gateway's last reading."),
    ] = None,
    supply: Annotated[str | None, Option("--supply", metavar="on|cut", help="The light afterwards; by default on.")] = None,
    on_debt: Annotated[
        str | None,
        Option("--on-debt", metavar="refuse|keep|write_off", help="What becomes of a debt; by default the verb refuses."),
    ] = None,
    refund: Annotated[str | None, Option("--refund", metavar="counter|BANK", help="Who pays the rest out.")] = None,
    request: RequestOption = None,
    by: ByOption = None,
    second: SecondOption = None,
    reason: ReasonOption = None,
    yes: YesOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Bill an account to its end, decide on light and money, and close it for ever.

    Example: wattgate accounts close house-17 --final bus-1-17=1234.56 --refund counter --by "Li Wei" -c gateway.toml
    """
    questions = Questions(yes)
    shown: dict[str, object] = {}
    for each in final or ():
        name, _, text = each.partition("=")
        found = registers(text, Device(name), config, url)
        if found is None:
            raise Failure(f"--final is METER=KWH: {HOW}", 2)
        shown[name] = found
    body: dict[str, object] = {
        "id": request or f"close-{secrets.token_hex(6)}", "reason": reason or "the customer leaves", "by": by, "second": second,
        "final": shown,
        "supply": questions.ask("--supply", supply, "supply afterwards (on, cut)", "on"),
        "on_debt": questions.ask("--on-debt", on_debt, "a debt (refuse, keep, write_off)", "refuse"),
        "refund": questions.ask("--refund", refund, "who pays the rest out (counter, a bank's id, Enter: nobody yet)", "") or None,
    }  # fmt: skip
    questions.sure(f"close {account} for ever?")
    with asking(config, url) as gateway:
        told = post(gateway, f"/api/v1/accounts/{account}/close", body)
        print(f"{account}: closed, balance {told['balance']} {told['currency']} (request {body['id']})")
        _tell_meters(told["meters"])
        if (rest := told["refund"]) is not None:
            _tell_refund(cast("dict[str, object]", rest))
        follow_left_over(gateway)


def move_account(
    account: Account,
    off: Annotated[str | None, Option("--from", metavar="METER", help="The meter that it leaves.")] = None,
    to: Annotated[str | None, Option("--to", metavar="METER", help="The meter that it takes.")] = None,
    final: Annotated[str | None, Option("--final", metavar="KWH|read", help="What the meter that it leaves shows.")] = None,
    first: Annotated[str | None, Option("--first", metavar="KWH|read", help="What the other one shows.")] = None,
    request: RequestOption = None,
    by: ByOption = None,
    second: SecondOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Let an account move to another meter; add one (--to) or take one off (--from) where it has several.

    Example: wattgate accounts move house-17 --from bus-1-17 --to bus-2-4 --final 1234.56 --first 88.00 -c gateway.toml
    """
    steps = [(off, None, final)] * (off is not None) + [(to, account, first)] * (to is not None)
    if not steps:
        raise Failure("say what it leaves (--from METER), what it takes (--to METER), or both", 2)
    meters: list[object] = [
        {"meter": meter, "to": owner, "kwh": registers(text or "", Device(meter), config, url)} for meter, owner, text in steps
    ]
    body: dict[str, object] = {
        "id": request or f"move-{secrets.token_hex(6)}", "reason": reason or "the customer moves", "by": by, "second": second,
        "meters": meters,
    }  # fmt: skip
    with asking(config, url) as gateway:
        told = post(gateway, "/api/v1/moves", body)
        _tell_meters(told["moved"])
        follow_left_over(gateway)


def refund(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT|REFUND", help="With --paid or --void: the refund's id.")],
    amount: Annotated[str | None, Option("--amount", help="By default all there is.")] = None,
    via: Annotated[str, Option("--via", metavar="counter|BANK", help="Who pays it out.")] = "counter",
    paid: Annotated[str | None, Option("--paid", metavar="RECEIPT", help="It was paid out, against this receipt.")] = None,
    void: Annotated[bool, Option("--void", help="It was not paid out, and goes back to the account.")] = False,
    request: RequestOption = None,
    by: ByOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Put money aside that goes back to a customer; another person then pays it out (--paid) or gives it back (--void).

    Example: wattgate accounts refund house-17 --amount 12.34 -c gateway.toml
    """
    if paid is not None and void:
        raise Failure("a refund was either paid out or not: name --paid or --void", 2)
    body: dict[str, object] = {"id": request or f"refund-{secrets.token_hex(6)}", "reason": reason or "refund", "by": by}
    path = f"/api/v1/accounts/{account}/refunds"
    if paid is not None or void:
        path = f"/api/v1/refunds/{account}/{'void' if void else 'paid'}"
        body |= {"receipt": paid}
    else:
        body |= {"amount": amount, "via": via}
    with asking(config, url) as gateway:
        _tell_refund(post(gateway, path, body))


def import_accounts(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".csv or .toml")],
    request: RequestOption = None,
    by: ByOption = None,
    second: SecondOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Take accounts over from a file, all or none; those that are so already are left alone.

    Example: wattgate accounts import accounts.csv -c gateway.toml
    """
    about: dict[str, object] = {"id": request or f"import-{secrets.token_hex(6)}", "reason": reason or "import", "by": by}
    take_file("accounts", file, about | {"second": second}, config, url)


def export_accounts(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".csv or .toml, not there yet")],
    whole: Annotated[bool, Option("--all", help="Those of the configuration file too.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Write the accounts that stand beside the configuration file into a file that `import` takes.

    Example: wattgate accounts export accounts.toml -c gateway.toml
    """
    give_file("accounts", file, config, url, whole=whole)


def register(accounts: typer.Typer) -> None:
    """Adds the verbs."""
    accounts.command("open")(open_account)
    accounts.command("close")(close_account)
    accounts.command("move")(move_account)
    accounts.command()(refund)
    accounts.command("import")(import_accounts)
    accounts.command("export")(export_accounts)


def _no_id(text: str) -> str | None:
    return None if valid_id(text) else "an id is 1 to 64 letters, digits, _ or -"


def _no_date(text: str) -> str | None:
    try:
        date.fromisoformat(text)
    except ValueError:
        return f"a date is like 2026-11-01, not {text!r}"
    return None


def _agreement(
    questions: Questions, ident: str | None, signed: str | None, version: str | None, by: list[str] | None
) -> Raw | None:
    found = questions.ask("--agreement", ident, "agreement (Enter: none, then nobody is cut)", "")
    if not found:
        return None
    return {
        "id": found,
        "date": questions.ask("--signed", signed, "signed on", date.today().isoformat(), _no_date),
        "version": questions.ask("--version", version, "version of its text", "1"),
        "channels": by
        if by is not None
        else [c for c in questions.ask("--channel", None, "notices by (sms,app)", "").split(",") if c],
    }


def _meter(questions: Questions, device: Device, first: str | None, config: Path | None, url: str | None) -> list[Raw]:
    """The meter of the new account, if it has one."""
    name = questions.ask("--meter", device.meter, "meter (Enter: none yet)", "")
    line = (
        device.line if device.line or not name else questions.ask("--line", None, "its line, if it is new (Enter: it is known)", "")
    )
    if not name and not line:
        return []
    each: Raw = {"meter": name}
    reached = Device(name)
    if line:
        address = questions.ask("--address", device.address, "its address")
        profile = questions.ask("--profile", device.profile, "its profile", "dlt645-single")
        id = name or f"{line}-{address}"
        each = {"table": {"id": id, "line": line, "address": address, "profile": profile}}
        reached = Device(None, line, address, profile)
    text = questions.ask(
        "--first", first, f"first register (kWh, {READ}: read it now, Enter: the gateway's first reading)", "", unreadable
    )
    return [each | {"kwh": registers(text, reached, config, url)}]


def _tell_meters(meters: object) -> None:
    for each in cast("list[dict[str, object]]", meters):
        wh = each["wh"]
        where = "from its next reading" if wh is None else f"at {int(cast(int, wh)) / 1000:.3f} kWh"
        print(f"  meter {each['meter']}: {each['from'] or 'nobody'} -> {each['to'] or 'nobody'} {where}")


def _tell_refund(told: dict[str, object]) -> None:
    ends = {"pending": "put aside: another person pays it out", "posted": "paid out", "voided": "back on the account"}
    print(f"refund {told['refund']}: {told['amount']} {told['currency']} of {told['account']}, {ends[str(told['state'])]}")
