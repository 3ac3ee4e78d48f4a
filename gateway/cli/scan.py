"""`wattgate scan`: the meters of a line that nobody has written down."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.line_options import (
    BaudOption,
    ConfigOption,
    DialectOption,
    JsonOption,
    LineArgument,
    ParityOption,
    UrlOption,
    answering,
    chosen,
    tell,
)

if TYPE_CHECKING:
    from gateway.bootstrap.tools import Chosen, Scanned


def scan(
    line: LineArgument,
    modbus: Annotated[bool, typer.Option("--modbus", help="Search Modbus units instead.")] = False,
    units: Annotated[str, typer.Option("--units", metavar="A-B", help="Which Modbus units.")] = "1-247",
    thorough: Annotated[bool, typer.Option("--thorough", help="Ask all endings, also where nobody answers to AA.")] = False,
    patience: Annotated[
        int, typer.Option("--patience", metavar="MS", min=50, max=10_000, help="For an answer; meters may take 500 ms.")
    ] = 600,
    dialect: DialectOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    baud: BaudOption = None,
    parity: ParityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find unknown meters on a shared line by abbreviated addresses: address, dialect, speed and parity of each.

    Example: wattgate scan /dev/ttyUSB0
    """
    from gateway.bootstrap import tools  # the adapters are loaded only here

    where = chosen(line, config, baud, parity, url)
    if modbus:
        return _modbus(where, units, as_json)
    with answering():
        scanned = tools.search(where, dialect and dialect.value, thorough, patience, tell)
    heard = [each for each in scanned if each.result.anything]
    for each in heard:
        for row in _rows(each):
            print(json.dumps(row) if as_json else _text(row), flush=True)
    problems = [sentence for each in scanned for sentence in _problems(each)]
    if not any(each.result.found for each in heard):
        problems.append(f"nobody was found on {line}; `wattgate doctor {line}` says more")
    if problems:
        raise Failure(problems)


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(scan)


def _modbus(where: Chosen, units: str, as_json: bool) -> None:
    from gateway.bootstrap import tools

    ends = re.fullmatch(r"([0-9]{1,3})(?:-([0-9]{1,3}))?", units)
    first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (0, 0)
    if not 1 <= first <= last <= 247:
        raise Failure(f"{units!r} are no Modbus units: write them like 1-32; they go from 1 to 247", 2)
    with answering():
        place, found = tools.search_modbus(where, range(first, last + 1), tell)
    for each in found:
        setting = str(place.setting) if place.settable else None
        row = {"unit": each.unit, "protocol": "modbus", "setting": setting, "says": each.says}
        print(json.dumps(row) if as_json else f"unit {each.unit}  modbus  {place.how}  {each.says}", flush=True)
    if not found:
        raise Failure(f"no unit from {first} to {last} answers on {place.name} {place.how}")


def _rows(scanned: Scanned) -> list[dict[str, object]]:
    setting = scanned.setting
    told = {"baud": setting.baud, "parity": setting.parity} if setting else {"baud": None, "parity": None}
    return [
        {"address": found.address, "protocol": str(found.dialect), **told, "delay_ms": found.delay_ms, "confirmed": found.confirmed}
        for found in sorted(scanned.result.found, key=lambda found: found.address)
    ]


def _text(row: dict[str, object]) -> str:
    setting = f"{row['baud']} 8{row['parity']}1" if row["baud"] else "speed not ours to tell"
    rest = f"answers after {row['delay_ms']} ms" if row["confirmed"] else "heard, but not confirmed"
    return f"{row['address']}  {row['protocol']}  {setting}  {rest}"


def _problems(scanned: Scanned) -> list[str]:
    result = scanned.result
    said = [
        f"more answers to *{low} than could be told apart: two meters with one address, or noise"
        for low in dict.fromkeys(result.unresolved)
    ]
    if not result.complete:
        said.append(f"given up after {result.questions} questions: the line is too noisy, or has too many meters that collide")
    return said
