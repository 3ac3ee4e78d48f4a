"""`wattgate meters`: the archive of meters, and what happens to one: another device, other transformers, another customer."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import ConfigOption, UrlOption, asking
from gateway.cli.questions import ByOption, Questions, ReasonOption, RequestOption, SecondOption, YesOption, post
from gateway.cli.registers import READ, Device, registers, unreadable
from gateway.cli.supply import follow_left_over
from gateway.cli.tables import SetOption, give_file, table_of, take_file
from gateway.settings.sheets import Raw

meters = typer.Typer(help="Meters: the archive, and what happens to one.", no_args_is_help=True)

Option = typer.Option
Meter = Annotated[str, typer.Argument(metavar="METER")]


@meters.callback()
def _meters() -> None:
    """Meters: the archive, and what happens to one."""


@meters.command()
def change(
    meter: Meter,
    address: Annotated[str | None, Option("--address", metavar="A", help="Of the new device.")] = None,
    profile: Annotated[str | None, Option("--profile", help="Of the new device; by default as before.")] = None,
    line: Annotated[str | None, Option("--line", metavar="ID", help="By default as before.")] = None,
    last: Annotated[str | None, Option("--last", metavar="KWH|read", help="What the old device shows.")] = None,
    first: Annotated[str | None, Option("--first", metavar="KWH|read", help="What the new one shows; by default 0.00.")] = None,
    sets: SetOption = None,
    request: RequestOption = None,
    by: ByOption = None,
    second: SecondOption = None,
    reason: ReasonOption = None,
    yes: YesOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Another device at the same metering point: the old one is billed to its end, account and steps go on.

    Example: wattgate meters change bus-1-17 --address 202611210099 --last 1234.56 --first 0.00 --by "Li Wei" -c gateway.toml
    """
    questions = Questions(yes)
    device: Raw = {"address": questions.ask("--address", address, "address of the new device")}
    if model := questions.ask("--profile", profile, "its profile (Enter: as before)", ""):
        device["profile"] = model
    device |= ({"line": line} if line else {}) | table_of(sets)
    ends = questions.ask("--last", last, f"last register of the old device (kWh, or {READ})", None, unreadable)
    begins = questions.ask("--first", first, f"first register of the new one (kWh, or {READ})", "0.00", unreadable)
    new = Device(None, line, str(device["address"]), model or None)
    if begins == READ and (line is None or not model):
        raise Failure("to read the new device name its --line and --profile too", 2)
    body: dict[str, object] = {
        "id": request or f"change-{secrets.token_hex(6)}", "reason": reason or "the meter was exchanged", "by": by,
        "second": second, "device": device, "last": registers(ends, Device(meter), config, url) or {},
        "first": registers(begins, new, config, url) or {"energy_import": "0.00"},
    }  # fmt: skip
    questions.sure(f"exchange meter {meter}?")
    with asking(config, url) as gateway:
        told = post(gateway, f"/api/v1/meters/{meter}/change", body)
        print(f"{meter}: exchanged, now address {told['address']} at point {told['point']} (request {body['id']})")
        follow_left_over(gateway)


@meters.command("change-ct")
def change_ct(
    meter: Meter,
    at: Annotated[str, Option("--at", metavar="KWH|read", help="What the meter's display shows at that moment.")],
    ct: Annotated[str | None, Option("--ct", metavar="RATIO", help="Like 400/5.")] = None,
    pt: Annotated[str | None, Option("--pt", metavar="RATIO")] = None,
    max_power_w: Annotated[int | None, Option("--max-power", metavar="W", min=1, help="What can flow in front of them.")] = None,
    request: RequestOption = None,
    by: ByOption = None,
    second: SecondOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Other transformers in front of a meter: billed by the old ratio to this register, by the new one from it.

    Example: wattgate meters change-ct shop --ct 400/5 --max-power 300000 --at 1234.56 --by "Li Wei" -c gateway.toml
    """
    if ct is None and pt is None:
        raise Failure("say the new ratio: --ct 400/5, or --pt", 2)
    body: dict[str, object] = {
        "id": request or f"ct-{secrets.token_hex(6)}", "reason": reason or "the transformers were exchanged", "by": by,
        "second": second, "ct": ct, "pt": pt, "max_power_w": max_power_w, "kwh": registers(at, Device(meter), config, url) or {},
    }  # fmt: skip
    with asking(config, url) as gateway:
        told = post(gateway, f"/api/v1/meters/{meter}/change-ct", body)
        print(f"{meter}: ratio {told['was']} until here, {told['ratio']} from now on (request {body['id']})")


@meters.command()
def remove(
    meter: Meter,
    request: RequestOption = None,
    by: ByOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Take a meter for which nobody pays out of the archive; its past stays.

    Example: wattgate meters remove bus-1-17 --by "Li Wei" -c gateway.toml
    """
    about: dict[str, object] = {"id": request or f"remove-{secrets.token_hex(6)}", "reason": reason or "removed", "by": by}
    with asking(config, url) as gateway:
        post(gateway, f"/api/v1/meters/{meter}/remove", about)
        print(f"{meter}: not in the archive any more")


@meters.command("import")
def import_meters(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".csv or .toml")],
    request: RequestOption = None,
    by: ByOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Take meters over from a file, all or none; those that are so already are left alone.

    Example: wattgate meters import meters.csv -c gateway.toml
    """
    about: dict[str, object] = {"id": request or f"import-{secrets.token_hex(6)}", "reason": reason or "import", "by": by}
    take_file("meters", file, about, config, url)


@meters.command("export")
def export_meters(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".csv or .toml, not there yet")],
    whole: Annotated[bool, Option("--all", help="Those of the configuration file too.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Write the meters that stand beside the configuration file into a file that `import` takes.

    Example: wattgate meters export meters.csv -c gateway.toml
    """
    give_file("meters", file, config, url, whole=whole)


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(meters, name="meters")
