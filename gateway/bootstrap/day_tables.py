"""Day files of other forms, made into the form that reconciliation reads (docs/direct-debit.md)."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from gateway.adapters.bank_tables import DayFileError, ProfileError, day_lines
from gateway.bootstrap.examine import CannotStart

CHUNK = 1 << 16


@contextlib.contextmanager
def as_csv(file: Path, table: str | None, day: date | None) -> Iterator[Path]:
    """The file itself, or, where a table says how it looks, a copy in our form. CannotStart in one sentence."""
    if table is None:
        yield file
        return
    if day is None:
        raise CannotStart(f"{file}: a file of the form {table} needs --date, for lines that have no date of their own")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        try:
            with file.open("rb") as source, copy.open("wb") as target:
                target.writelines(day_lines(table, Path(), iter(lambda: source.read(CHUNK), b""), day.isoformat()))
        except OSError as problem:
            raise CannotStart(f"{file} cannot be read: {problem.strerror}") from None
        except (DayFileError, ProfileError) as problem:
            raise CannotStart(f"{file}: {problem}") from None
        yield copy
