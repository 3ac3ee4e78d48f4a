"""People, what two of them decide, and the log of what everybody did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import BigInteger, ColumnElement, Integer, Select, bindparam, func, literal_column, select, update

from gateway.adapters.store import schema_supply as schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.heads import AUDIT, Heads
from gateway.adapters.store.statements import Part, Row, Statement, inserting, once, upsert
from gateway.domain.approvals import Approval, ApprovalState, AuditRow
from gateway.domain.audit_chain import chain
from gateway.domain.people import Person, Role
from gateway.services.ports import Duplicate

_a, _p, _l = schema.approval.c, schema.person.c, schema.audit.c
_most = bindparam("most", type_=Integer)
_approvals = select(*(column for column in _a if column.name != "number"))
_newest = _approvals.order_by(_a.number.desc()).limit(_most)
_waiting = _a.state == literal_column("'asked'")  # as the index has it: a parameter would hide the index from the planner
_decision = ("state", "decided_by", "decided_ms", "reason")

ADD_APPROVAL = once(schema.approval, "id", without="number")
APPROVAL = Statement(_approvals.where(_a.id == bindparam("wanted")))
DECIDE = Statement(
    update(schema.approval).where(_a.id == bindparam("wanted")).values({name: bindparam(f"new_{name}") for name in _decision})
)
APPROVALS = Statement(_newest)
ASKED = Statement(_newest.where(_waiting))


def _counted(*where: ColumnElement[bool]) -> Select[int]:
    some = select(_a.number).where(_waiting, *where).limit(_most).subquery()
    return select(func.count()).select_from(some)


COUNT_ASKED = Statement(_counted())
COUNT_ASKED_OF = Statement(_counted(_a.act == bindparam("act"), _a.asked_by == bindparam("by")))

PEOPLE = Statement(select(schema.person).order_by(_p.name))
PERSON = Statement(select(schema.person).where(_p.name == bindparam("wanted")))
PERSON_BY_TOKEN = Statement(select(schema.person).where(_p.token_hash == bindparam("wanted"), _p.token_hash != ""))
SAVE_PERSON = upsert(schema.person)

ADD_AUDIT = Statement(inserting(schema.audit))
AUDIT_ROWS = Statement(
    select(schema.audit).where(_l.number > bindparam("after", type_=BigInteger)).order_by(_l.number).limit(_most)
)


class People(Part):
    """Their share of a transaction."""

    _heads: Heads

    def add_approval(self, approval: Approval) -> None:
        if not self._session.change(
            ADD_APPROVAL,
            id=approval.id,
            act=approval.act,
            subject=approval.subject,
            body=approval.body,
            asked_by=approval.asked_by,
            asked_ms=approval.asked_ms,
            expires_ms=approval.expires_ms,
            state=approval.state,
            decided_by=approval.decided_by,
            decided_ms=approval.decided_ms,
            reason=approval.reason,
        ):
            raise Duplicate(f"approval {approval.id} is there already")

    def approval(self, approval: str) -> Approval | None:
        row = self._session.row(APPROVAL, wanted=approval)
        return None if row is None else _approval(row)

    def save_approval(self, approval: Approval) -> None:
        """Its decision, once; LookupError for one that was never added, ValueError where something else was asked."""
        known = self.approval(approval.id)
        if known is None:
            raise LookupError(f"approval {approval.id} was never added")
        if _asked(known) != _asked(approval):
            raise ValueError("what was asked never changes")
        new = {f"new_{name}": getattr(approval, name) for name in _decision}
        self._session.change(DECIDE, wanted=approval.id, **new)

    def approvals(self, limit: int, *, asked: bool = False) -> Sequence[Approval]:
        return [_approval(row) for row in self._session.rows(ASKED if asked else APPROVALS, most=limit)]

    def count_asked(self, most: int, act: str = "", by: str = "") -> int:
        of = {"act": act, "by": by} if by else {}
        row = self._session.row(COUNT_ASKED_OF if of else COUNT_ASKED, most=most, **of)
        return 0 if row is None else int(row[0])

    def people(self) -> Sequence[Person]:
        return [_person(row) for row in self._session.rows(PEOPLE)]

    def person(self, name: str) -> Person | None:
        row = self._session.row(PERSON, wanted=name)
        return None if row is None else _person(row)

    def person_by_token(self, token_hash: str) -> Person | None:
        row = self._session.row(PERSON_BY_TOKEN, wanted=token_hash)
        return None if row is None else _person(row)

    def save_person(self, person: Person) -> None:
        self._session.change(
            SAVE_PERSON,
            name=person.name,
            roles=encode(person.roles),
            token_hash=person.token_hash,
            created_ms=person.created_ms,
            revoked_ms=person.revoked_ms,
        )

    def add_audit(self, at_ms: int, who: str, act: str, subject: str, data: Mapping[str, str]) -> AuditRow:
        row = chain(self._heads.get(AUDIT), at_ms, who, act, subject, data)
        self._session.attempt(
            ADD_AUDIT,
            number=row.number,
            at_ms=at_ms,
            who=who,
            act=act,
            subject=subject,
            data=encode(row.data),
            previous=row.previous,
            hash=row.hash,
        )
        self._heads.move(AUDIT, row.number, row.hash)
        return row

    def audit_rows(self, after: int, limit: int) -> Sequence[AuditRow]:
        return [_audit(row) for row in self._session.rows(AUDIT_ROWS, after=after, most=limit)]

    def audit_end(self) -> tuple[int, str]:
        return self._heads.get(AUDIT)


def _asked(approval: Approval) -> tuple[str | int, ...]:
    return (
        *(approval.act, approval.subject, approval.body),
        *(approval.asked_by, approval.asked_ms, approval.expires_ms),
    )


def _approval(row: Row) -> Approval:
    ident, act, subject, body, asked_by, asked_ms, expires_ms, state, *decision = row
    return Approval(ident, act, subject, body, asked_by, asked_ms, expires_ms, ApprovalState(state), *decision)


def _person(row: Row) -> Person:
    name, roles, token_hash, created_ms, revoked_ms = row
    return Person(name, decode(roles, tuple[Role, ...]), token_hash, created_ms, revoked_ms)


def _audit(row: Row) -> AuditRow:
    number, at_ms, who, act, subject, data, previous, hash_ = row
    return AuditRow(number, at_ms, who, act, subject, decode(data, dict[str, str]), previous, hash_)
