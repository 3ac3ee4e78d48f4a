"""`wattgate read`: one meter by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.line_options import (
    BaudOption,
    ConfigOption,
    Dialect,
    JsonOption,
    LineOption,
    ParityOption,
    UrlOption,
    answering,
    chosen,
)

if TYPE_CHECKING:
    from gateway.bootstrap.tools import Value

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[METER] [DI|QUANTITY...]", help="A meter of -c FILE (not with --address), then what to read."),
]


def read(
    words: Words = None,
    line: LineOption = None,
    address: Annotated[str | None, typer.Option("--address", metavar="A", help="1 to 12 digits, or a Modbus unit.")] = None,
    profile: Annotated[str | None, typer.Option("--profile", help="A meter profile; Modbus devices need one.")] = None,
    dialect: Annotated[Dialect, typer.Option("--dialect", help="Whose names of quantities are meant.")] = Dialect.V2007,
    config: ConfigOption = None,
    url: UrlOption = None,
    baud: BaudOption = None,
    parity: ParityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read identifiers or quantities of one meter; without any, what it is billed by.

    Example: wattgate read --line /dev/ttyUSB0 --address 202611210001 energy_import 02010100
    """
    from gateway.bootstrap import tools  # the adapters are loaded only here

    wanted = list(words or [])
    with answering():
        where = chosen(line, config, baud, parity, url)
        if address is not None:
            target = tools.target_of(address, dialect.value, profile)
        elif wanted:
            where, target = tools.meter_of(wanted.pop(0), where)
        else:
            raise tools.WrongUse("name a meter: wattgate read METER -c FILE, or --line LINE --address A")
        got = tools.read(where, target, wanted)
    failed = [each for each in got if isinstance(each, tools.Unread)]
    for each in got:
        if isinstance(each, tools.Value):
            print(_as_json(each) if as_json else _as_text(each), flush=True)
    if failed:
        raise Failure([f"{each.item}: {each.why}" for each in failed])


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(read)


def _as_json(value: Value) -> str:
    fields = {"item": value.item, "quantity": value.quantity, "value": value.value, "unit": value.unit}
    return json.dumps(fields | {name: said for name, said in (("at", value.at), ("text", value.text)) if said is not None})


def _as_text(value: Value) -> str:
    said = "not available" if value.value is None else f"{value.value} {value.unit}".rstrip()
    more = f" ({value.text})" if value.text else ""
    return f"{value.item}  {value.quantity}  {said}{more}" + (f"  at {value.at}" if value.at else "")
