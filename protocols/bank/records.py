"""Lines of banks' files, of fixed length or separated by a character: a layout in data takes them apart and writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from protocols.profile_table import Table

MOST_LINE_BYTES = 1_024
"""A line of the widest layout in use has some 500; a longer one is none of it, and is passed over without being kept."""


class BadRecord(ValueError):
    """A line that its layout does not describe, in one sentence."""


@dataclass(frozen=True, slots=True)
class Column:
    """width: bytes of a fixed layout, 0 where columns are separated. left: text stands at the left, blanks behind it."""

    name: str
    width: int = 0
    left: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """separator: empty for lines of fixed length."""

    charset: str
    separator: str
    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """Bytes of a line of fixed length."""
        return sum(column.width for column in self.columns)

    def read(self, line: bytes) -> dict[str, str]:
        """The columns of a line without its end, without the blanks around them. BadRecord."""
        if self.separator:
            parts = [part.strip(" ") for part in self._text(line).split(self.separator)]
            if len(parts) != len(self.columns):
                raise BadRecord(f"it has {len(parts)} columns, not {len(self.columns)}")
            return {column.name: part for column, part in zip(self.columns, parts, strict=True)}
        if len(line) != self.width:
            raise BadRecord(f"it has {len(line)} bytes, not {self.width}")
        found, at = {}, 0
        for column in self.columns:
            found[column.name] = self._text(line[at : at + column.width]).strip(" ")
            at += column.width
        return found

    def write(self, values: Mapping[str, str]) -> bytes:
        """A line without its end; a column without a value stays empty. BadRecord for what would not be read back as it is."""
        texts = [values.get(column.name, "") for column in self.columns]
        try:
            raw = [text.encode(self.charset) for text in texts]
        except UnicodeEncodeError:
            raise BadRecord(f"{texts} cannot be written in {self.charset}") from None
        if self.separator:
            line = self.separator.encode(self.charset).join(raw)
        else:
            line = b"".join(_padded(column, each) for column, each in zip(self.columns, raw, strict=True))
        if len(line) > MOST_LINE_BYTES or any(byte in line for byte in b"\r\n") or list(self.read(line).values()) != texts:
            raise BadRecord(f"{texts} does not fit into its columns")
        return line

    def _text(self, raw: bytes) -> str:
        try:
            return raw.decode(self.charset)
        except UnicodeDecodeError:
            raise BadRecord(f"it is no {self.charset}") from None


def _padded(column: Column, raw: bytes) -> bytes:
    if len(raw) > column.width:
        raise BadRecord(f"{column.name} has more than {column.width} bytes")
    return raw.ljust(column.width) if column.left else raw.rjust(column.width)


def layout(table: Table, charset: str, separator: str) -> Layout:
    """From the rows `column` of a table. ProfileError."""
    columns: list[Column] = []
    for row in table.tables("column"):
        name = row.take("name", str)
        if any(name == known.name for known in columns):
            raise row.fail("name", f"{name} stands there twice")
        width = 0 if separator else row.whole("width", 1, 500)
        columns.append(Column(name, width, row.choice("align", ("left", "right"), "right") == "left"))
        row.done()
    if not columns:
        raise table.fail("column", "is missing")
    found = Layout(charset, separator, tuple(columns))
    if found.width > MOST_LINE_BYTES:
        raise table.fail("column", f"makes lines of {found.width} bytes; they have at most {MOST_LINE_BYTES}")
    return found


def charset_of(table: Table) -> str:
    """One in which digits, blanks and separators are single bytes. ProfileError."""
    name = table.take("charset", str, "ascii")
    try:
        if len("0 |".encode(name)) == 3:
            return name
    except LookupError:
        pass
    raise table.fail("charset", f"must be a known one, like ascii or gb18030, not {name!r}")


def separator_of(table: Table) -> str:
    """One character, or none for lines of fixed length. ProfileError."""
    text = table.take("separator", str, "")
    if len(text) > 1 or (text and (text.isalnum() or text in " \r\n.-:")):
        raise table.fail("separator", f"must be one character that no value has, like |, not {text!r}")
    return text


def lines(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """The lines of a file without their ends, however it was cut; None for one that is too long. Empty ones are none."""
    rest, lost = b"", False
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if lost or line.strip(b"\r"):
                yield None if lost or len(line) > MOST_LINE_BYTES else line.removesuffix(b"\r")
            lost = False
        if len(rest) > MOST_LINE_BYTES:
            rest, lost = b"", True
    if lost or rest.strip(b"\r"):
        yield None if lost else rest.removesuffix(b"\r")
