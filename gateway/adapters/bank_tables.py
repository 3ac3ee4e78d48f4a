"""Tables of banks' lines and files, shipped or an operator's own, and whether a key is one for a table's MACs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.adapters.profiles import ProfileError, config_folder
from protocols.bank.dayfile import DayFileError, day_table, parse_dayfile
from protocols.bank.debitfile import DebitTable, debit_table
from protocols.bank.iso8583_table import NO_MAC, Dialect, dialect
from protocols.bank.keywrap import unwrap
from protocols.bank.mac import mac

__all__ = [
    "DayFileError", "DebitTable", "Dialect", "ProfileError", "day_lines", "debits_of", "dialect_of", "fits", "opens",
    "sealed",
]  # fmt: skip

MOST_TABLE_BYTES = 256 * 1024
"""Of a table: the shipped ones have three thousand."""


def dialect_of(name: str, folder: Path) -> Dialect:
    """A partner's ISO 8583, by a shipped name or of a file in `folder`. ProfileError in one sentence."""
    path = _path(name, folder)
    return dialect(_document(path), path.name)


def debits_of(name: str, folder: Path) -> DebitTable:
    """The files of direct debits, likewise."""
    path = _path(name, folder)
    return debit_table(_document(path), path.name)


def day_lines(name: str, folder: Path, chunks: Iterable[bytes], day: str) -> Iterator[bytes]:
    """A day file of this form as reconciliation reads it. day: ISO, for lines without a date. ProfileError, DayFileError."""
    path = _path(name, folder)
    return parse_dayfile(chunks, day_table(_document(path), path.name), day)


def sealed(table: Dialect) -> bool:
    """Whether its messages have MACs."""
    return table.mac != NO_MAC


def fits(table: Dialect, key: bytes) -> str | None:
    """Why this is no key for the table's MACs, without the key; None when it is."""
    try:
        mac(table.mac, key, b"")
    except ValueError as problem:
        return str(problem)
    return None


def opens(table: Dialect, key: bytes) -> str | None:
    """Why this is no zone's key, under which new keys of the table's MACs come; None when it is."""
    try:
        unwrap(table.key.wrapped if table.key is not None else "", key, bytes(16))
    except ValueError as problem:
        return str(problem)
    return None


def _path(name: str, folder: Path) -> Path:
    shipped = config_folder() / "banks" / f"{name}.toml"
    return shipped if "/" not in name and shipped.is_file() else folder / name


def _document(path: Path) -> dict[str, object]:
    try:
        if path.stat().st_size > MOST_TABLE_BYTES:
            raise ProfileError(f"{path}: is no table of a partner, it has more than {MOST_TABLE_BYTES} bytes")
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as problem:
        raise ProfileError(f"{path}: cannot be read: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ProfileError(f"{path}: {problem}") from None
