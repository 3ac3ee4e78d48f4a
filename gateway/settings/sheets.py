"""Tables of many meters or accounts as CSV or TOML: the keys of the configuration file, every error with its line and column.

CSV has a column a key, `switch.line` for a key within one; an empty cell is a key that is not there. A list stands in its cell as
JSON.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Generic, TypeVar

from pydantic import ValidationError

from gateway.settings.words import Table, fault

T = TypeVar("T", bound=Table)
Raw = dict[str, object]
Way = tuple[str, ...]

FORMATS = ("csv", "toml")
MOST_ROWS = 20_000
"""Twice what one gateway is measured with; a file that is longer belongs to another one."""

MOST_ERRORS = 100
"""Sentences of one import: whoever has more reads no further, and mends the cause."""

_HEADER = re.compile(r"\s*\[\[\s*([A-Za-z0-9_-]+)\s*\]\]")
_WITHIN = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=")
_BOOL = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_BY_TYPE: Mapping[str, Callable[[str], object]] = {
    "int_type": int,
    "bool_type": lambda text: _BOOL[text.lower()],
    "list_type": json.loads,
    "tuple_type": json.loads,
}


class BadSheet(ValueError):
    """What is wrong with a file, one sentence each, with line and column."""

    def __init__(self, errors: Sequence[str]) -> None:
        self.errors = list(errors[:MOST_ERRORS])
        super().__init__("\n".join(self.errors))


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Row:
    """One table and where its keys stand."""

    raw: Raw
    line: int
    ways: dict[Way, Place] = field(default_factory=dict)

    def place(self, way: Way) -> Place:
        """Of this key, or of the next one above it."""
        while way and way not in self.ways:
            way = way[:-1]
        return self.ways.get(way) or Place(self.line, 1)


@dataclass(frozen=True, slots=True)
class Checked(Generic[T]):
    """A row and what it means."""

    row: Row
    table: T


def read_rows(text: str, kind: str, table: str, name: str) -> list[Row]:
    """The rows of a CSV or TOML file. table: `meter` or `account`; name: of the file. Raises BadSheet."""
    if kind not in FORMATS:
        raise BadSheet([f"{name}: is neither CSV nor TOML"])
    rows = _csv(text, name) if kind == "csv" else _toml(text, table, name)
    if len(rows) > MOST_ROWS:
        raise BadSheet([f"{name}: has {len(rows)} rows; at most {MOST_ROWS} are taken at once"])
    return rows


def check_rows(rows: Sequence[Row], model: type[T], name: str, *, as_text: bool) -> list[Checked[T]]:
    """What the rows mean. as_text: their values are text and become what the model wants. Raises BadSheet with every error."""
    found: list[Checked[T]] = []
    errors: list[str] = []
    for row in rows:
        try:
            found.append(Checked(row, _checked(row, model, as_text)))
        except ValidationError as problem:
            for error in problem.errors():
                errors.append(said(name, row, tuple(map(str, error["loc"])), fault(error)))
    if errors:
        raise BadSheet(errors)
    return found


def said(name: str, row: Row, way: Way, text: str) -> str:
    """A sentence about a key of a row."""
    at = row.place(way)
    return f"{name}:{at.line}:{at.column}: {text}"


def _checked(row: Row, model: type[T], as_text: bool) -> T:
    for _ in range(2 if as_text else 0):  # the second time for what only then is looked at
        try:
            return model.model_validate(row.raw)
        except ValidationError as problem:
            if not any([_converted(row.raw, error["loc"], error["type"]) for error in problem.errors()]):
                raise
    return model.model_validate(row.raw)


def _converted(raw: Raw, loc: tuple[int | str, ...], kind: str) -> bool:
    """Whether the text at this place has become what is wanted there."""
    *way, key = loc
    table: object = raw
    for step in way:
        table = table.get(step) if isinstance(table, dict) else None
    convert = _BY_TYPE.get(kind)
    text = table.get(key) if isinstance(table, dict) else None
    if convert is None or not isinstance(text, str) or not isinstance(table, dict):
        return False
    try:
        table[key] = convert(text)
    except (ValueError, KeyError):
        return False
    return True


# CSV


def _csv(text: str, name: str) -> list[Row]:
    lines = text.removeprefix("\ufeff")
    first = lines.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(lines, newline=""), delimiter=next((c for c in ",;\t" if c in first), ","), strict=True)
    rows: list[Row] = []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if wrong := _header(header, name):
            raise BadSheet(wrong)
        begins = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(_csv_row(header, cells, begins, name))
            begins = reader.line_num + 1
    except csv.Error as problem:
        raise BadSheet([f"{name}:{reader.line_num}:1: is not CSV: {problem}"]) from None
    return rows


def _header(header: Sequence[str], name: str) -> list[str]:
    if not any(header):
        return [f"{name}:1:1: the first line names the columns, like id,line,address,profile"]
    twice = sorted({key for key in header if key and header.count(key) > 1})
    errors = [f"{name}:1:{header.index(key) + 1}: column {key} is there twice" for key in twice]
    errors += [f"{name}:1:{n + 1}: a column has no name" for n, key in enumerate(header) if not key]
    tables = {key.partition(".")[0] for key in header if "." in key}
    return errors + [f"{name}:1:{header.index(key) + 1}: column {key} is a table and a value" for key in header if key in tables]


def _csv_row(header: Sequence[str], cells: Sequence[str], line: int, name: str) -> Row:
    if len(cells) > len(header):
        raise BadSheet([f"{name}:{line}:{len(header) + 1}: there are more cells than columns"])
    row = Row({}, line)
    for column, (key, cell) in enumerate(zip(header, cells, strict=False), 1):
        way = tuple(key.split("."))
        row.ways[way] = Place(line, column)
        if not (value := cell.strip()):
            continue
        table = row.raw
        for step in way[:-1]:
            inner = table.setdefault(step, {})
            assert isinstance(inner, dict)  # `_header` refuses the other thing
            table = inner
        table[way[-1]] = value
    return row


def write_csv(tables: Sequence[Raw]) -> str:
    """The same tables as CSV, columns in the order of their first use."""
    flat = [dict(_flat(table)) for table in tables]
    header = list(dict.fromkeys(key for table in flat for key in table))
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def _flat(table: Mapping[str, object], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif isinstance(value, bool):
            yield before + key, str(value).lower()
        elif isinstance(value, (list, tuple)):
            yield before + key, json.dumps(value, ensure_ascii=False)
        else:
            yield before + key, str(value)


# TOML


def _toml(text: str, table: str, name: str) -> list[Row]:
    try:
        document = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as problem:
        at = re.search(r"\(at line (\d+), column (\d+)\)", str(problem))
        where = f"{name}:{at[1]}:{at[2]}" if at else name
        raise BadSheet([f"{where}: is not TOML: {str(problem).partition(' (at')[0]}"]) from None
    found = document.pop(table, [])
    if document or not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        what = next(iter(document), table)
        line = next((n for n, each in enumerate(text.split("\n"), 1) if re.match(rf"\s*\[*\s*{re.escape(what)}\b", each)), 1)
        raise BadSheet([f"{name}:{line}:1: {what} does not belong here: such a file has [[{table}]] and nothing else"])
    rows = _places(text, table)
    for row, each in zip(rows, found, strict=False):
        row.raw = _plain(each)
    return rows[: len(found)] + [Row(_plain(each), 1) for each in found[len(rows) :]]


def _places(text: str, table: str) -> list[Row]:
    """Where the tables and their keys stand."""
    rows: list[Row] = []
    within: Way = ()
    for number, line in enumerate(text.split("\n"), 1):
        if (header := _HEADER.match(line)) is not None:
            rows += [Row({}, number)] * (header[1] == table)
            within = ()
        elif (inner := _WITHIN.match(line)) is not None:
            within = tuple(inner[1].split(".")[1:])
            if rows:
                rows[-1].ways[within] = Place(number, inner.start(1) + 1)
        elif rows and (key := _KEY.match(line)) is not None:
            rows[-1].ways[(*within, *key[1].split("."))] = Place(number, key.start(1) + 1)
    return rows


def _plain(value: Mapping[str, object]) -> Raw:
    """Without what JSON has not."""
    return {key: _plain_value(each) for key, each in value.items()}


def _plain_value(value: object) -> object:
    if isinstance(value, dict):
        return _plain(value)
    if isinstance(value, list):
        return [_plain_value(each) for each in value]
    return value.isoformat() if isinstance(value, date) else value


def write_toml(tables: Sequence[Raw], table: str) -> str:
    """The same tables as TOML."""
    blocks = ["\n".join([f"[[{table}]]", *(f"{key} = {_value(value)}" for key, value in each.items())]) for each in tables]
    return "\n\n".join(blocks) + "\n" * bool(blocks)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
