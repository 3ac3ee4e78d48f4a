"""Commands to switches as durable records."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Integer, and_, bindparam, func, select, update

from gateway.adapters.store import schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.statements import Part, Row, Statement, Value, once
from gateway.domain.supply import SIGNS, Command, CommandState, Verb
from gateway.services.ports import Duplicate

_c = schema.command.c
_columns = select(*(column for column in _c if column.name not in ("number", "final")))
_open = _columns.where(_c.final.is_(False)).order_by(_c.number)

ADD = once(schema.command, "id", without="number")
SAVE = Statement(
    update(schema.command)
    .where(_c.id == bindparam("command"))
    .values({column.name: bindparam(f"new_{column.name}") for column in _c if column.name not in ("number", "id")})
)
COMMAND = Statement(_columns.where(_c.id == bindparam("command")))
OPEN = Statement(_open)
OPEN_ON_LINE = Statement(_open.where(_c.line == bindparam("line")))
OPEN_OF_METER = Statement(_open.where(_c.meter == bindparam("meter")))
OPEN_OF_BOTH = Statement(_open.where(_c.line == bindparam("line"), _c.meter == bindparam("meter")))
_queued_cut = and_(_c.final.is_(False), _c.state == CommandState.QUEUED.value, _c.verb == Verb.CUT.value, _c.attempts == 0)
QUEUED_CUTS = Statement(_columns.where(_queued_cut))  # in no order: for one SQLite would walk through all commands there ever were
_to_switch = and_(*(_c.verb != verb.value for verb in sorted(SIGNS)))
_newest_of = select(func.max(_c.number)).where(_c.meter == bindparam("meter"), _to_switch).scalar_subquery()
LAST = Statement(_columns.where(_c.number == _newest_of))  # with LIMIT as a parameter SQLite plans anew at every run: 35 us for 5
NEWEST_OF = Statement(
    _columns.where(_c.meter == bindparam("meter")).order_by(_c.number.desc()).limit(bindparam("most", type_=Integer))
)
NEWEST = Statement(_columns.order_by(_c.number.desc()).limit(bindparam("most", type_=Integer)))


class Commands(Part):
    """The commands' share of a transaction."""

    def add_command(self, command: Command) -> None:
        if not self._session.change(ADD, **_values(command)):
            raise Duplicate(f"command {command.id} is there already")

    def command(self, command: str) -> Command | None:
        row = self._session.row(COMMAND, command=command)
        return None if row is None else _command(row)

    def save_command(self, command: Command) -> None:
        """Changes a command that is there; LookupError for one that was never added."""
        values = {f"new_{name}": value for name, value in _values(command).items()}
        if not self._session.change(SAVE, command=command.id, **values):
            raise LookupError(f"command {command.id} was never added")

    def open_commands(self, *, line: str | None = None, meter: str | None = None) -> Sequence[Command]:
        given = {name: value for name, value in (("line", line), ("meter", meter)) if value is not None}
        which = {(): OPEN, ("line",): OPEN_ON_LINE, ("meter",): OPEN_OF_METER, ("line", "meter"): OPEN_OF_BOTH}[tuple(given)]
        return [_command(row) for row in self._session.rows(which, **given)]

    def queued_cuts(self) -> Sequence[Command]:
        return [_command(row) for row in self._session.rows(QUEUED_CUTS)]

    def last_command(self, meter: str) -> Command | None:
        row = self._session.row(LAST, meter=meter)
        return None if row is None else _command(row)

    def commands(self, limit: int) -> Sequence[Command]:
        return [_command(row) for row in self._session.rows(NEWEST, most=limit)]

    def commands_of(self, meter: str, limit: int) -> Sequence[Command]:
        return [_command(row) for row in self._session.rows(NEWEST_OF, meter=meter, most=limit)]


def _values(command: Command) -> dict[str, Value]:
    return {
        "id": command.id,
        "meter": command.meter,
        "line": command.line,
        "account": command.account,
        "verb": command.verb,
        "cause": command.cause,
        "origin": command.origin,
        "state": command.state,
        "created_ms": command.created_ms,
        "expires_ms": command.expires_ms,
        "changed_ms": command.changed_ms,
        "read_at_ms": command.read_at_ms,
        "attempts": command.attempts,
        "readbacks": command.readbacks,
        "evidence": encode(command.evidence),
        "reason": command.reason,
        "final": command.final,
        "permission": command.permission,
    }


def _command(row: Row) -> Command:
    ident, meter, line, account, verb, cause, origin, state, *times, attempts, readbacks, evidence, reason, permission = row
    created_ms, expires_ms, changed_ms, read_at_ms = times
    return Command(
        ident,
        meter,
        line,
        account,
        Verb(verb),
        cause,
        origin,
        CommandState(state),
        created_ms,
        expires_ms,
        changed_ms,
        read_at_ms,
        attempts,
        readbacks,
        decode(evidence, tuple[str, ...]),
        reason,
        permission,
    )
