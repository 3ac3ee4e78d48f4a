"""Where the dense sequences stand: read (and locked) once in a transaction, counted in memory, written back before its commit."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import bindparam, select, update

from gateway.adapters.store import schema
from gateway.adapters.store.statements import Session, Statement

JOURNAL, OUTBOX, PUBLISHED, ACKNOWLEDGED = "journal", "outbox", "published", "acknowledged"
DROPPED, REMOVED = "dropped", "removed"
AUDIT, PERMISSION = "audit", "permission"

_h = schema.head.c
_one = select(_h.number, _h.hash).where(_h.name == bindparam("which"))
READ = Statement(_one)
READ_LOCKED = Statement(_one.with_for_update())
WRITE = Statement(
    update(schema.head).where(_h.name == bindparam("which")).values(number=bindparam("new_number"), hash=bindparam("new_hash"))
)

HeadsMark = tuple[dict[str, tuple[int, str]], set[str]]


@dataclass(slots=True)
class Heads:
    """The heads that this transaction has touched.

    `mark` and `back` go with savepoints: what a failed use case counted is forgotten, also the lock that PostgreSQL gives up then.
    """

    session: Session
    known: dict[str, tuple[int, str]] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)

    def get(self, name: str) -> tuple[int, str]:
        """Number and hash of the last element; nobody else counts on until the end of a write transaction."""
        head = self.known.get(name)
        if head is None:
            row = self.session.row(READ_LOCKED if self.session.writing else READ, which=name)
            if row is None:
                raise LookupError(f"the store has lost its counter {name}")
            head = self.known[name] = (row[0], row[1])
        return head

    def move(self, name: str, number: int, hash: str = "") -> None:
        """The sequence now ends here."""
        self.known[name] = (number, hash)
        self.moved.add(name)

    def mark(self) -> HeadsMark:
        """What is known now, to come back to."""
        return dict(self.known), set(self.moved)

    def back(self, mark: HeadsMark) -> None:
        """Forget what was learnt and counted since."""
        self.known, self.moved = mark

    def flush(self) -> None:
        """Write the moved heads; the last act before COMMIT."""
        for name in sorted(self.moved):
            number, hash = self.known[name]
            self.session.change(WRITE, which=name, new_number=number, new_hash=hash)
        self.moved = set()
