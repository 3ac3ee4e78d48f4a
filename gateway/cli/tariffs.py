"""`wattgate tariffs`: is a tariff right, what does it say, why does this cost what it costs, and what would another one cost?"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import charge_text as told
from gateway.cli import tariff_prices as prices
from gateway.cli.answers import Failure, settings_of
from gateway.cli.gateway_client import UrlOption
from gateway.cli.questions import ByOption, ReasonOption, RequestOption
from gateway.cli.tables import give_file, take_file
from gateway.cli.tariff_text import kwh_text, price_text, tariff_text
from gateway.domain import vending
from gateway.domain.events import Json
from gateway.domain.price_list import Tariff
from gateway.domain.units import parse_money
from gateway.settings import SettingsError

if TYPE_CHECKING:  # the store is opened only by those who read it
    from gateway.bootstrap.examine_tariffs import Profile

tariffs = typer.Typer(help="Tariffs: checked, shown, explained, and tried on a stored profile.", no_args_is_help=True)

TariffOption = Annotated[
    str, typer.Option("--tariff", metavar="FILE|ID", help="A tariff's file, one that wattgate ships, or with -c one of FILE's.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="The gateway's TOML file.")]
DataOption = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The gateway's data directory.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="DATE", help="When the account came into service.")]
PersonsOption = Annotated[int | None, typer.Option("--persons", min=0, help="How many people live there.")]
KvaOption = Annotated[str | None, typer.Option("--kva", metavar="KVA", help="Of the contract.")]


@tariffs.command()
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="A tariff's TOML file.")]) -> None:
    """Check a tariff's file: every fault at once, with the minute or the day that it is about.

    Example: wattgate tariffs check config/tariffs/beijing-residential-2012.toml
    """
    from gateway.bootstrap.tariffs import load_file

    try:
        tariff = load_file(file)
    except SettingsError as problem:
        raise Failure(problem.errors) from None
    print(f"{file}: good: tariff {tariff.id} in {tariff.currency}, versions from {', '.join(v.from_day for v in tariff.versions)}")


@tariffs.command()
def show(
    name: Annotated[str | None, typer.Argument(metavar="FILE|ID", help="Without it: what there is.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a tariff says: versions, seasons, zones of the year, day tables, steps and fees. Prices are per kWh.

    Example: wattgate tariffs show commercial-five-rates-example
    """
    if name is None:
        from gateway.bootstrap.tariffs import shipped

        known = [*(tariff.id for tariff in settings_of(config).tariff)] if config else list(shipped())
        print(json.dumps(known) if as_json else "\n".join(known))
        return
    tariff = _tariff(name, config)
    print(json.dumps(dataclasses.asdict(tariff)) if as_json else "\n".join(tariff_text(tariff)))


@tariffs.command()
def explain(
    tariff: Annotated[str | None, typer.Option("--tariff", metavar="FILE|ID", help="Prices the registers given.")] = None,
    start: Annotated[
        tuple[str, str] | None,
        typer.Option("--from", metavar="TIME KWH", help="Registers: 100, or 100,t1=60,t2=40 where the meter has rates."),
    ] = None,
    end: Annotated[tuple[str, str] | None, typer.Option("--to", metavar="TIME KWH", help="Likewise, later.")] = None,
    used: Annotated[str | None, typer.Option("--used", metavar="KWH", help="Used in the steps' period before --from.")] = None,
    demand: Annotated[str | None, typer.Option("--demand", metavar="KW", help="The highest demand of each period.")] = None,
    reactive: Annotated[str | None, typer.Option("--reactive", metavar="KVARH", help="Reactive energy of each period.")] = None,
    since: SinceOption = None,
    persons: PersonsOption = None,
    kva: KvaOption = None,
    entry: Annotated[int | None, typer.Option("--entry", metavar="N", min=1, help="A charge of the ledger.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a charge: registers, energy, price, step and rule of each line; one of the ledger, or what registers would cost.

    Example: wattgate tariffs explain --tariff beijing-residential-2012 --from 2026-01-01T00:00 0 --to 2026-02-01T00:00 1000
    """
    if entry is not None:
        if tariff is not None or start is not None or end is not None:
            raise Failure("--entry explains what is in the ledger; leave out --tariff, --from and --to", 2)
        _explain_entry(entry, _url(config, data), as_json)
        return
    if tariff is None or start is None or end is None:
        raise Failure("name --entry N with -c FILE or --data DIR, or --tariff with --from TIME KWH and --to TIME KWH", 2)
    found = _tariff(tariff, config)
    registers = prices.registers(start, found.zone), prices.registers(end, found.zone)
    with prices.answering():
        priced = prices.price(found, prices.terms(since, persons, kva), [registers], prices.before(used, demand, reactive))
    print(json.dumps(told.priced_json(priced)) if as_json else "\n".join(told.priced_text(priced)))


@tariffs.command()
def simulate(
    tariff: TariffOption,
    meter: Annotated[str | None, typer.Option("--meter", metavar="M", help="Whose stored profile, with -c or --data.")] = None,
    profile: Annotated[Path | None, typer.Option("--profile", metavar="CSV", help="Columns time,kwh or time,register.")] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="TIME", help="By default the first stored value.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="By default the last one.")] = None,
    since: SinceOption = None,
    persons: PersonsOption = None,
    kva: KvaOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Price a stored profile under another tariff, beside what was charged for it; nothing is changed.

    Example: wattgate tariffs simulate --tariff zhejiang-residential-tou --meter m1 --data data
    """
    if (meter is None) == (profile is None):
        raise Failure("name either a meter (--meter M, with -c FILE or --data DIR) or a file (--profile CSV)", 2)
    found = _tariff(tariff, config)
    if profile is not None:
        with prices.answering():
            priced = prices.price(found, prices.terms(since, persons, kva), [prices.csv_profile(profile, found.zone)])
        print(json.dumps(told.priced_json(priced)) if as_json else "\n".join(told.priced_text(priced)))
        return
    from gateway.bootstrap.examine import CannotStart
    from gateway.bootstrap.examine_tariffs import stored_profile

    span = [None if each is None else prices.moment(each, found.zone) for each in (start, end)]
    try:
        stored = stored_profile(_url(config, data), meter or "", *span)
    except CannotStart as problem:
        raise Failure(str(problem)) from None
    with prices.answering():
        priced = prices.price(found, prices.terms(since, persons, kva, stored.terms), stored.series)
    print(json.dumps(told.priced_json(priced) | _beside(priced, stored)) if as_json else "\n".join(_compared(priced, stored)))


@tariffs.command()
def vend(
    tariff: TariffOption,
    amount: Annotated[str, typer.Option("--amount", metavar="MONEY", help="What is paid, like 50.00.")],
    bought: Annotated[str | None, typer.Option("--bought", metavar="KWH", help="Bought in this period already.")] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="By default as the newest version begins.")] = None,
    since: SinceOption = None,
    persons: PersonsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Quote how much energy an amount buys, step by step, for tariffs that are paid ahead.

    Example: wattgate tariffs vend --tariff johannesburg-prepaid-2018 --amount 2000.00
    """
    found = _tariff(tariff, config)
    with prices.answering():
        micro = parse_money(amount, found.currency)
        at_ms = None if at is None else prices.moment(at, found.zone)
        sold = vending.vend(found, prices.terms(since, persons, None), prices.thousandths("--bought", bought), micro, at_ms=at_ms)
    lines = told.sold_lines(sold)
    if as_json:
        quote = {"tariff": found.id, "currency": found.currency, "amount": amount, "kwh": kwh_text(sold.energy_wh)}
        print(json.dumps(quote | {"lines": [told.line_json(line) for line in lines], "rest": price_text(sold.rest_micro)}))
        return
    print("\n".join(told.lines_text(lines)))
    rest = f"; {price_text(sold.rest_micro)} {found.currency} are left over" if sold.rest_micro else ""
    print(f"{amount} {found.currency} buy {kwh_text(sold.energy_wh)} kWh{rest}")


@tariffs.command("import")
def import_tariffs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".csv or .toml, with [[tariff]]")],
    request: RequestOption = None,
    by: ByOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Take tariffs over from a file, all or none. What customers were priced by stays: another price begins tomorrow.

    Example: wattgate tariffs import tariffs.toml -c gateway.toml
    """
    about: dict[str, object] = {"id": request or f"import-{secrets.token_hex(6)}", "reason": reason or "import", "by": by}
    take_file("tariffs", file, about, config, url)


@tariffs.command("export")
def export_tariffs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".csv or .toml, not there yet")],
    whole: Annotated[bool, typer.Option("--all", help="Those of the configuration file too.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Write the tariffs that stand beside the configuration file into a file that `import` takes.

    Example: wattgate tariffs export tariffs.toml -c gateway.toml
    """
    give_file("tariffs", file, config, url, whole=whole)


def _explain_entry(number: int, url: str, as_json: bool) -> None:
    from gateway.bootstrap.examine import CannotStart
    from gateway.bootstrap.examine_tariffs import ledger_entry

    try:
        posted = ledger_entry(url, number)
    except CannotStart as problem:
        raise Failure(str(problem)) from None
    with prices.answering():
        print(json.dumps(told.entry_json(posted)) if as_json else "\n".join(told.entry_text(posted)))


def _beside(priced: prices.Priced, stored: Profile) -> dict[str, Json]:
    charged = stored.charged
    return {
        "meter": stored.meter,
        "account": stored.account,
        "left_out": stored.left_out,
        "charged": {
            "entries": charged.entries,
            "kwh": kwh_text(charged.wh),
            "amount": price_text(charged.micro),
            "currency": stored.currency,
        },
        "difference": _difference(priced, stored),
    }


def _compared(priced: prices.Priced, stored: Profile) -> Iterator[str]:
    yield f"meter {stored.meter}" + (f" of account {stored.account}" if stored.account else "")
    yield from told.priced_text(priced)
    charged = stored.charged
    if stored.left_out:
        yield f"left out: {stored.left_out} stored values that nothing confirms or that contradict their neighbours"
    yield f"charged: {price_text(charged.micro)} {stored.currency} for {kwh_text(charged.wh)} kWh, in {charged.entries} entries"
    difference = _difference(priced, stored)
    if difference is not None:
        yield f"difference: {difference} {stored.currency}"


def _difference(priced: prices.Priced, stored: Profile) -> str | None:
    """Of this tariff to what was charged; None where they are not of one currency."""
    return price_text(priced.charge.micro - stored.charged.micro) if stored.currency == priced.tariff.currency else None


def _tariff(name: str, config: Path | None) -> Tariff:
    """A file, a shipped tariff, or one of a configuration. Raises Failure."""
    from gateway.bootstrap.tariffs import find, load_file, tariffs_of
    from gateway.settings.tariffs import Tariff as Entry

    try:
        if config is not None:
            settings = settings_of(config)
            for each in settings.tariff:
                if each.id == name:
                    entry = each if isinstance(each, Entry) else Entry.model_validate(each.model_dump(exclude_unset=True))
                    return tariffs_of([entry], config.resolve().parent, settings.gateway.zone)[0]
        return load_file(find(name, Path()))
    except SettingsError as problem:
        raise Failure(problem.errors) from None


def _url(config: Path | None, data: Path | None) -> str:
    if (config is None) == (data is None):
        raise Failure("name either a configuration (-c FILE) or a data directory (--data DIR)", 2)
    from gateway.bootstrap import examine

    return examine.store_url(settings_of(config), config.resolve().parent) if config else examine.sqlite_url(data or Path())


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(tariffs, name="tariffs")
