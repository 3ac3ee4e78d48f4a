"""Group commit: use cases in savepoints of one transaction, one COMMIT, and no answer that the disk does not hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gateway.adapters.store.engine import Database, Trouble
from gateway.adapters.store.kept import Kept, WriterTx
from gateway.adapters.store.statements import Session
from gateway.adapters.store.tx import StoreTx
from gateway.services.ports import Tx, Unavailable

UseCase = Callable[[Tx], object]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one use case gives its caller: a value, or what it raised."""

    value: object = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The answers in the order of the use cases; `fatal` says in one sentence why the process must stop. full: nothing was written,
    for want of room."""

    answers: Sequence[Answer]
    fatal: str | None = None
    full: bool = False


class _Lost(Exception):
    """The transaction cannot be committed, or is gone already: nobody of the batch may be told that it worked."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.sentence)
        self.trouble = trouble


def run_batch(database: Database, usecases: Sequence[UseCase], kept: Kept) -> Batch:
    """Run all, commit once. A use case's own exception undoes it alone; an error of the store makes all of them Unavailable.

    kept: what the batch before left of its rows; one at a time.
    """
    try:
        answers, kept.stamp = _transaction(database, usecases, kept)
        return Batch(answers)
    except _Lost as lost:
        trouble = lost.trouble
    except Exception as error:  # connecting, BEGIN, COMMIT: whatever it is, nothing may be called done, and the writer goes on
        trouble = _trouble(database, error)
    answers = [Answer(error=Unavailable(trouble.sentence)) for _ in usecases]
    return Batch(answers, trouble.sentence if trouble.fatal else None, trouble.full)


def run_query(database: Database, query: UseCase) -> object:
    """Run a query on a connection that cannot write; it sees one moment of the store."""
    try:
        with database.reader.connect() as connection, connection.begin():
            session = Session(database, connection, writing=False)
            try:
                return query(StoreTx(session))
            finally:
                _let_go(session, connection)
    except SQLAlchemyError as error:
        raise Unavailable(_trouble(database, error).sentence) from error


def _transaction(database: Database, usecases: Sequence[UseCase], kept: Kept) -> tuple[list[Answer], object]:
    """The answers, and the store's stamp after it."""
    with database.writer.connect() as connection, connection.begin():
        kept.begin(database.stamp(connection.connection.driver_connection))
        session = Session(database, connection, writing=True)
        try:
            tx = WriterTx(session, kept)
            tx.foresee(usecases)
            answers = [_one(session, tx, usecase, alone=len(usecases) == 1) for usecase in usecases]
            tx.flush()
            _still_there(session)
            stamp = database.stamp(connection.connection.driver_connection)
        finally:
            _let_go(session, connection)
    return answers, stamp  # committed


def _one(session: Session, tx: WriterTx, usecase: UseCase, *, alone: bool) -> Answer:
    """Run one use case in its savepoint; _Lost when the transaction did not survive it."""
    mark = tx.mark()
    session.mark()
    try:
        answer = Answer(usecase(tx))
        _still_there(session)
        tx.settle(alone=alone)
    except (KeyboardInterrupt, _Lost):
        raise
    except BaseException as error:  # SystemExit too: it would end the writer, and with it everybody's answers
        answer = Answer(error=error)
    _still_there(session)  # after success too: the use case may have swallowed the error that ended the transaction
    if answer.error is None and session.trouble is None:
        try:
            session.keep()
            return answer
        except Exception as error:  # PostgreSQL, after a swallowed error of a statement
            answer = Answer(error=error)
    session.undo()
    tx.back(mark)
    return answer if answer.error is not None else Answer(error=Unavailable(session.trouble.sentence if session.trouble else ""))


def _still_there(session: Session) -> None:
    """_Lost unless the driver says that the transaction goes on, and nothing has been seen that ends it."""
    trouble = session.trouble
    if not session.alive() or (trouble is not None and (trouble.fatal or trouble.full)):
        raise _Lost(trouble or Trouble("the database ended the transaction by itself"))


def _trouble(database: Database, error: BaseException) -> Trouble:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error.__cause__ or error
    return database.judge(cause) or database.judge(error) or Trouble(f"the database refused the transaction: {cause}")


def _let_go(session: Session, connection: Connection) -> None:
    """Nothing runs in this session any more; a connection whose transaction vanished is not used again."""
    alive = session.alive()
    session.end()
    if not alive:
        connection.invalidate()
