"""A bank's day file of another form is reconciled like one of ours."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from gateway.bootstrap.day_tables import as_csv
from gateway.bootstrap.examine import CannotStart

DAY = date(2026, 11, 21)


def test_a_file_with_separators_becomes_ours(tmp_path: Path) -> None:
    file = tmp_path / "day.txt"
    file.write_bytes(b"1|5000\n20261121|S1|A-1|5000|app|01\n")
    with as_csv(file, "dayfile-pipe", DAY) as readable:
        assert readable.read_text().splitlines()[1:] == ["S1,A-1,50.00,CNY,topup,,2026-11-21T00:00:00+08:00,app,", "#1,50.00"]
    assert not readable.exists()
    with as_csv(file, None, None) as readable:
        assert readable == file


@pytest.mark.parametrize(
    ("table", "day", "says"),
    [
        ("dayfile-pipe", None, "needs --date"), ("dayfile-fixed", DAY, "last line must be that of totals"),
        ("nowhere", DAY, "cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(tmp_path: Path, table: str, day: date | None, says: str) -> None:
    file = tmp_path / "day.txt"
    file.write_bytes(b"1|5000\n20261121|S1|A-1|5000|app|01\n")
    with pytest.raises(CannotStart, match=says), as_csv(file, table, day):
        pass


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="cannot be read"), as_csv(tmp_path / "none", "dayfile-pipe", DAY):
        pass
