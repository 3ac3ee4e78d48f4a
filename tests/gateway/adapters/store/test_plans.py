"""What is asked within every order or every second looks at what is open, and never walks through all there ever was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite

from gateway.adapters.store import Store
from gateway.adapters.store.commands import QUEUED_CUTS
from gateway.adapters.store.people import ASKED, COUNT_ASKED, COUNT_ASKED_OF
from gateway.adapters.store.statements import Statement


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (QUEUED_CUTS, "ix_command_open"),
        (ASKED, "ix_approval_asked"),
        (COUNT_ASKED, "ix_approval_asked"),
        (COUNT_ASKED_OF, "ix_approval_asked"),
    ],
)
def test_sqlite_goes_by_the_index_of_what_is_open(tmp_path: Path, statement: Statement, index: str) -> None:
    with Store.open(str(tmp_path / "s.db")):
        sql = statement.on(sqlite.dialect()).sql
        with sqlite3.connect(tmp_path / "s.db") as connection:
            plan = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * sql.count("?"))]
    assert any(index in step for step in plan), plan
