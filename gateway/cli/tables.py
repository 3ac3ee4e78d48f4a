"""Keys of a configuration table on a command line, and the archive's files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, cast

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import asking
from gateway.cli.questions import post
from gateway.settings.sheets import FORMATS, Raw, write_csv, write_toml

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help='Any other key of its table, as in TOML: policy.low="10.00". Repeatable.'),
]
TABLE = {"meters": "meter", "accounts": "account", "tariffs": "tariff"}
_PLACE = {"meters": "archive", "accounts": "archive", "tariffs": "rules"}


def table_of(sets: list[str] | None) -> Raw:
    """The keys that --set gives. Failure for what is no KEY=VALUE."""
    table: Raw = {}
    for each in sets or ():
        key, equals, value = each.partition("=")
        if not equals or not key.strip():
            raise Failure(f"--set is KEY=VALUE, like max_power_w=8000, not {each!r}", 2)
        try:
            found = tomllib.loads(f"{key} = {value}")
        except tomllib.TOMLDecodeError:
            found = _nested(key.strip(), value.strip())  # a word without its quotes
        _merge(table, found)
    return table


def _nested(key: str, value: str) -> Raw:
    first, dot, rest = key.partition(".")
    return {first: _nested(rest, value) if dot else value}


def _merge(table: Raw, more: Raw) -> None:
    for key, value in more.items():
        inner = table.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            _merge(inner, value)
        else:
            table[key] = value


def take_file(what: str, file: Path, about: dict[str, object], config: Path | None, url: str | None) -> None:
    """Have the gateway take this file's tables over, all or nothing, and say how many are new or different."""
    body = about | {"name": file.name, "format": _format(file), "text": _text(file)}
    with asking(config, url) as gateway:
        answer = post(gateway, f"/api/v1/{_PLACE[what]}/{what}", body)
    print(f"{file}: {answer[what]} {what}, {answer['changed']} of them new or different")


def give_file(what: str, file: Path, config: Path | None, url: str | None, *, whole: bool) -> None:
    """Write the tables into a file that is not there yet. whole: with those of the configuration file."""
    kind = _format(file)
    with asking(config, url) as gateway:
        status, answer = gateway.call("GET", f"/api/v1/{_PLACE[what]}/{what}")
    if status != 200:
        raise Failure(str(answer.get("detail") or f"the gateway answered {status}"))
    tables = cast("list[Raw]", answer[what])
    if whole:
        tables = _with_file(tables, config, TABLE[what])
    try:
        with file.open("x", encoding="utf-8", newline="") as out:
            out.write(write_csv(tables) if kind == "csv" else write_toml(tables, TABLE[what]))
    except OSError as problem:
        raise Failure(f"{file}: {problem.strerror}") from None
    print(f"{file}: {len(tables)} {what}")


def _with_file(tables: list[Raw], config: Path | None, table: str) -> list[Raw]:
    """Those of the configuration file first; what the gateway gives of one of them is newer."""
    if config is None:
        raise Failure("--all needs the configuration file: -c FILE", 2)
    filed = cast("list[Raw]", tomllib.loads(config.read_text("utf-8")).get(table, []))
    own = {_name(each) for each in tables}
    return [each for each in filed if _name(each) not in own] + tables


def _name(table: Raw) -> str:
    return str(table.get("id") or f"{table.get('line')}-{table.get('address')}")


def _format(file: Path) -> str:
    kind = file.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise Failure(f"{file}: name it .csv or .toml, so that it is known which it is", 2)
    return kind


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as problem:
        raise Failure(f"{file}: cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise Failure(f"{file}: is not UTF-8 (byte {problem.start + 1}): save it as CSV UTF-8") from None
