"""Core statements, compiled once and run on the driver's own cursor.

Reason: through Core's execution a statement on SQLite costs 14.5 us, of which SQLite itself takes 2; a top-up runs about 15.
All columns are integers, text and flags, so no result processing is lost. The transaction itself stays SQLAlchemy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Column, Insert, Select, Table, Update, and_, bindparam, or_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import ClauseElement

from gateway.adapters.store.engine import Database, Trouble
from gateway.services.ports import Unavailable

Row = tuple[Any, ...]
Value = str | int | bool | None
Change = Callable[[Any], Mapping[str, Any]]
Condition = Callable[[Any], Any]


class Compiled(NamedTuple):
    """SQL text, the order of its parameters where they go by position, and those that the statement brings itself.

    tables: what it looks at, also for the references of the rows that it writes.
    """

    sql: str
    order: tuple[str, ...] | None
    constants: Mapping[str, Value]
    tables: frozenset[str]

    def arguments(self, values: Mapping[str, Value]) -> Any:
        """The values as the driver takes them."""
        if self.constants:
            values = {**self.constants, **values}
        return values if self.order is None else tuple([values[name] for name in self.order])


class Statement:
    """One statement for both databases. `core` gives it for a dialect's own `insert`, because upserts are written per dialect."""

    __slots__ = ("_compiled", "_core")

    def __init__(self, core: ClauseElement | Mapping[str, ClauseElement]) -> None:
        self._core = core
        self._compiled: dict[str, Compiled] = {}

    def on(self, dialect: Dialect) -> Compiled:
        """The statement as this dialect's driver takes it."""
        known = self._compiled.get(dialect.name)
        if known is None:
            core = self._core[dialect.name] if isinstance(self._core, Mapping) else self._core
            compiled = core.compile(dialect=dialect)
            order = tuple(compiled.positiontup or ()) if compiled.positional else None  # type: ignore[attr-defined]
            constants = {name: value for name, value in compiled.params.items() if value is not None}
            known = self._compiled[dialect.name] = Compiled(str(compiled), order, constants, _tables(core))
        return known


def _tables(core: ClauseElement) -> frozenset[str]:
    found = {str(each.name) for each in visitors.iterate(core) if isinstance(each, Table)}
    if isinstance(core, Insert | Update) and isinstance(core.table, Table):
        found |= {core.table.name, *(key.column.table.name for key in core.table.foreign_keys)}
    return frozenset(found)


def inserting(table: Table, without: str = "") -> Insert:
    """A plain insert that names all columns of the table but that one."""
    return table.insert().values({c.name: bindparam(c.name) for c in table.c if c.name != without})


def once(table: Table, *identity: str, without: str = "", returning: str = "") -> Statement:
    """Insert where no row has the same identity; row count or column tell (an error would end PostgreSQL's transaction)."""
    values: dict[str, BindParameter[Any]] = {c.name: bindparam(c.name) for c in table.c if c.name != without}
    new = {dialect: insert(table).values(values) for dialect, insert in _INSERTS.items()}
    quiet = {dialect: each.on_conflict_do_nothing(index_elements=identity) for dialect, each in new.items()}
    return Statement({dialect: each.returning(table.c[returning]) if returning else each for dialect, each in quiet.items()})


def upsert(table: Table, change: Change | None = None, where: Condition | None = None) -> Statement:
    """Insert, or change the row with the same primary key: all other columns, unless `change` says which from the new row."""
    keys = [c.name for c in table.primary_key]
    written: dict[str, ClauseElement] = {}
    for dialect, insert in _INSERTS.items():
        new = insert(table).values({c.name: bindparam(c.name) for c in table.c})
        changes = change(new.excluded) if change else {c.name: new.excluded[c.name] for c in table.c if c.name not in keys}
        condition = where(new.excluded) if where else None
        written[dialect] = new.on_conflict_do_update(index_elements=keys, set_=changes, where=condition)
    return Statement(written)


_INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

MOST_PARAMETERS = 999
"""Of one statement: what SQLite takes before 3.32; from some hundred on more rows together cost no less each."""


class Rows:
    """An insert of several rows of these columns by one statement; `finish` adds what happens to rows that are there.

    Reason: each run of a statement gives Python's lock away and must get it back from the lines: 6 times for a reading of 5 items.
    """

    __slots__ = ("_finish", "_statements", "columns", "most", "table")

    def __init__(
        self, table: Table, columns: Sequence[str], finish: Callable[[Any], ClauseElement] = lambda insert: insert
    ) -> None:
        self.table, self.columns, self._finish = table, tuple(columns), finish
        self.most = 1 << ((MOST_PARAMETERS // len(columns)).bit_length() - 1)
        self._statements: dict[int, tuple[Statement, tuple[str, ...]]] = {}

    def of(self, count: int) -> tuple[Statement, tuple[str, ...]]:
        """The statement for so many rows, and the names of its parameters row by row."""
        known = self._statements.get(count)
        if known is None:
            each: list[dict[str, BindParameter[Any]]]
            each = [{name: bindparam(f"{name}_{n}") for name in self.columns} for n in range(count)]
            core = {dialect: self._finish(insert(self.table).values(each)) for dialect, insert in _INSERTS.items()}
            names = tuple(f"{name}_{n}" for n in range(count) for name in self.columns)
            known = self._statements[count] = (Statement(core), names)
        return known


class Lookup:
    """A query for the rows of several identities by one statement: those of these columns have the values of one of them.

    Reason: as for Rows; a payment alone would look for its serial and for its nonce.
    """

    __slots__ = ("_columns", "_query", "_statements", "most")

    def __init__(self, query: Select[Any], columns: Sequence[Column[Any]]) -> None:
        self._query, self._columns = query, tuple(columns)
        self.most = 1 << ((MOST_PARAMETERS // len(columns) // 2).bit_length() - 1)
        self._statements: dict[int, tuple[Statement, tuple[str, ...]]] = {}

    def of(self, count: int) -> tuple[Statement, tuple[str, ...]]:
        """The statement for so many identities, and the names of its parameters one identity after the other."""
        known = self._statements.get(count)
        if known is None:
            names = tuple(tuple(f"{column.name}_{n}" for column in self._columns) for n in range(count))
            same = (
                and_(*(column == bindparam(name) for column, name in zip(self._columns, each, strict=True))) for each in names
            )
            known = self._statements[count] = (Statement(self._query.where(or_(*same))), tuple(chain(*names)))
        return known


class Session:
    """A transaction seen from its statements: runs them, and knows when the database has ended it by itself.

    Errors that are the database's own come out as Unavailable and stay in `trouble`; wrong statements as the driver's exception.
    """

    def __init__(self, database: Database, connection: Connection, *, writing: bool) -> None:
        self.writing = writing
        self.trouble: Trouble | None = None
        self._database = database
        self._dialect = connection.dialect
        self._raw = connection.connection.driver_connection
        self._cursor = self._raw.cursor()  # type: ignore[union-attr]
        self._ended = False
        self._asked = False
        self._unmarked = False
        self._late: frozenset[str] = frozenset()
        self._write_late: Callable[[], None] | None = None

    def late(self, tables: frozenset[str], write: Callable[[], None]) -> None:
        """Rows of these tables wait to be written: `write` is called before anybody looks at one of them."""
        self._late, self._write_late = tables, write

    def rows(self, statement: Statement, **values: Value) -> list[Row]:
        """All rows of a query, or what an insert returns."""
        self._run(statement, values)
        found: list[Row] = self._cursor.fetchall()
        return found

    def beside(self, statement: Statement, **values: Value) -> Row | None:
        """Like `row`, of rows that surely do not wait."""
        compiled = statement.on(self._dialect)
        self._guard(self._cursor.execute, compiled.sql, compiled.arguments(values))
        found: Row | None = self._cursor.fetchone()
        return found

    def row(self, statement: Statement, **values: Value) -> Row | None:
        """The first row of a query, None without one."""
        found = self.rows(statement, **values)
        return found[0] if found else None

    def change(self, statement: Statement, **values: Value) -> int:
        """Run a statement that writes; how many rows it touched."""
        self._run(statement, values)
        count: int = self._cursor.rowcount
        return count

    def attempt(self, statement: Statement, **values: Value) -> None:
        """Run a statement that may fail alone: Unavailable then, and what was done before it stays and goes on."""
        before, self.trouble = self.trouble, None
        aside = self._dialect.name != "sqlite"  # there a failed statement has done nothing; PostgreSQL would run no other
        if aside:
            self._guard(self._cursor.execute, "SAVEPOINT aside", ())
        try:
            self._run(statement, values)
        except Exception as error:
            if not self.alive() or (self.trouble is not None and (self.trouble.fatal or self.trouble.full)):
                raise
            if aside:
                self._guard(self._cursor.execute, "ROLLBACK TO SAVEPOINT aside", ())
            self.trouble = before
            raise Unavailable(f"it cannot be written: {error}") from error
        if aside:
            self._guard(self._cursor.execute, "RELEASE SAVEPOINT aside", ())
        self.trouble = before

    def change_each(self, statement: Statement, rows: Sequence[Mapping[str, Value]]) -> None:
        """Run a statement once for each of the rows."""
        compiled = statement.on(self._dialect)
        self._guard(self._cursor.executemany, compiled.sql, [compiled.arguments(row) for row in rows])

    def insert(self, rows: Rows, values: Sequence[tuple[Value, ...]]) -> None:
        """Insert these rows in their order, by as few statements as powers of two allow (so that few are ever compiled)."""
        start = 0
        while left := len(values) - start:
            count = min(1 << (left.bit_length() - 1), rows.most)
            statement, names = rows.of(count)
            flat = tuple([value for row in values[start : start + count] for value in row])
            compiled = statement.on(self._dialect)
            in_order = compiled.order == names  # as SQLite takes them; PostgreSQL's driver by their names
            self._guard(self._cursor.execute, compiled.sql, flat if in_order else dict(zip(names, flat, strict=True)))
            start += count

    def look_up(self, lookup: Lookup, identities: Sequence[tuple[Value, ...]]) -> list[Row]:
        """The rows of these identities, which surely do not wait; by few forms of the statement: some are asked for twice."""
        found: list[Row] = []
        for start in range(0, len(identities), lookup.most):
            asked = [*identities[start : start + lookup.most]]
            count = 1 << (len(asked) - 1).bit_length()
            statement, names = lookup.of(count)
            flat = chain(*asked, *[asked[-1]] * (count - len(asked)))
            compiled = statement.on(self._dialect)
            self._guard(self._cursor.execute, compiled.sql, compiled.arguments(dict(zip(names, flat, strict=True))))
            found += self._cursor.fetchall()
        return found

    def mark(self) -> None:
        """What follows can be undone by itself. The savepoint is set at the first statement: a reading often needs none."""
        self.trouble, self._unmarked = None, True

    def keep(self) -> None:
        """What was done since the mark stays."""
        if not self._unmarked:
            self._guard(self._cursor.execute, "RELEASE SAVEPOINT one", ())
        self._unmarked = False

    def undo(self) -> None:
        """What was done since the mark is undone."""
        if not self._unmarked:
            self._guard(self._cursor.execute, "ROLLBACK TO SAVEPOINT one", ())
            self._guard(self._cursor.execute, "RELEASE SAVEPOINT one", ())
        self._unmarked = False

    def alive(self) -> bool:
        """Whether the transaction that this session began is still there, by the driver's word; PostgreSQL's begins with the first
        statement."""
        self._ended = self._ended or (self._asked and not self._database.in_transaction(self._raw))
        return not self._ended

    def end(self) -> None:
        """Nothing runs after the transaction, whoever still holds it."""
        self._ended = True
        self._cursor.close()

    def _run(self, statement: Statement, values: Mapping[str, Value]) -> None:
        compiled = statement.on(self._dialect)
        if self._write_late is not None and not compiled.tables.isdisjoint(self._late):
            write, self._write_late = self._write_late, None
            write()
        self._guard(self._cursor.execute, compiled.sql, compiled.arguments(values))

    def _guard(self, execute: Callable[[str, Any], object], sql: str, values: object) -> None:
        if self._ended:  # outside its transaction a statement would commit alone
            raise Unavailable(self.trouble.sentence if self.trouble else "the transaction is over")
        self._asked = True
        try:
            if self._unmarked:
                self._cursor.execute("SAVEPOINT one")
                self._unmarked = False
            execute(sql, values)
        except Exception as error:
            self.alive()
            trouble = self._database.judge(error)
            if trouble is None:
                raise
            self.trouble = trouble
            raise Unavailable(trouble.sentence) from error


class Part:
    """What the parts of a transaction share: the session their statements run in."""

    def __init__(self, session: Session) -> None:
        self._session = session
