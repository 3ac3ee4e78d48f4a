"""Notices to customers, and findings that wait for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import BigInteger, Integer, bindparam, delete, func, literal_column, select, update

from gateway.adapters.store import schema_supply as schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.statements import Part, Row, Statement, Value, inserting, upsert
from gateway.domain.findings import Finding, FindingKind
from gateway.domain.notices import Notice, NoticeState

_n, _f = schema.notice.c, schema.finding.c
_most = bindparam("most", type_=Integer)
_since = _n.created_ms >= bindparam("since", type_=BigInteger)
_newest = select(schema.notice).where(_since).order_by(_n.created_ms.desc(), _n.number.desc()).limit(_most)
_queued = _n.state == literal_column("'queued'")  # as the partial index says it

ADD = Statement(inserting(schema.notice, "number").returning(_n.number))
ONE = Statement(select(schema.notice).where(_n.number == bindparam("wanted")))
SAVE = Statement(
    update(schema.notice)
    .where(_n.number == bindparam("wanted"))
    .values({column.name: bindparam(f"new_{column.name}") for column in _n if column.name != "number"})
)
_due = select(schema.notice).where(_queued, _n.next_ms <= bindparam("now", type_=BigInteger)).order_by(_n.next_ms, _n.number)
DUE = Statement(_due.limit(_most))
DUE_ON = Statement(_due.where(_n.channel == bindparam("channel")).limit(_most))
NOTICES = Statement(_newest)
NOTICES_OF = Statement(_newest.where(_n.account == bindparam("account")))
NOTICES_IN = Statement(_newest.where(_n.state == bindparam("state")))
NOTICES_OF_IN = Statement(_newest.where(_n.account == bindparam("account"), _n.state == bindparam("state")))
COUNTS = Statement(select(_n.channel, _n.state, func.count()).where(_since).group_by(_n.channel, _n.state))

_this = (_f.kind == bindparam("what"), _f.subject == bindparam("whose"))
FINDING = Statement(select(schema.finding).where(*_this))
FINDINGS = Statement(select(schema.finding).order_by(_f.kind, _f.subject))
SAVE_FINDING = upsert(schema.finding)
DROP_FINDING = Statement(delete(schema.finding).where(*_this))


class Notices(Part):
    """Their share of a transaction."""

    def add_notice(self, notice: Notice) -> Notice:
        [(number,)] = self._session.rows(ADD, **_values(notice))
        return replace(notice, number=int(number))

    def notice(self, number: int) -> Notice | None:
        row = self._session.row(ONE, wanted=number)
        return None if row is None else _notice(row)

    def save_notice(self, notice: Notice) -> None:
        """Changes what is there; LookupError for one that was never added."""
        values = {f"new_{name}": value for name, value in _values(notice).items()}
        if not self._session.change(SAVE, wanted=notice.number, **values):
            raise LookupError(f"notice {notice.number} was never added")

    def due_notices(self, now_ms: int, limit: int, channel: str | None = None) -> Sequence[Notice]:
        if channel is None:
            return [_notice(row) for row in self._session.rows(DUE, now=now_ms, most=limit)]
        return [_notice(row) for row in self._session.rows(DUE_ON, now=now_ms, most=limit, channel=channel)]

    def notices(self, account: str | None, since_ms: int, limit: int, state: NoticeState | None = None) -> Sequence[Notice]:
        picked: dict[str, Value] = {"since": since_ms, "most": limit}
        picked |= {name: value for name, value in (("account", account), ("state", state)) if value is not None}
        wanted = {(False, False): NOTICES, (True, False): NOTICES_OF, (False, True): NOTICES_IN, (True, True): NOTICES_OF_IN}
        return [_notice(row) for row in self._session.rows(wanted["account" in picked, "state" in picked], **picked)]

    def notice_counts(self, since_ms: int) -> Mapping[tuple[str, NoticeState], int]:
        counted = self._session.rows(COUNTS, since=since_ms)
        return {(channel, NoticeState(state)): count for channel, state, count in counted}

    def finding(self, kind: FindingKind, subject: str) -> Finding | None:
        row = self._session.row(FINDING, what=kind, whose=subject)
        return None if row is None else _finding(row)

    def findings(self) -> Sequence[Finding]:
        return [_finding(row) for row in self._session.rows(FINDINGS)]

    def save_finding(self, finding: Finding) -> None:
        self._session.change(
            SAVE_FINDING,
            kind=finding.kind,
            subject=finding.subject,
            since_ms=finding.since_ms,
            text=finding.text,
            data=encode(finding.data),
        )

    def drop_finding(self, kind: FindingKind, subject: str) -> None:
        self._session.change(DROP_FINDING, what=kind, whose=subject)


def _values(notice: Notice) -> dict[str, Value]:
    return {
        "account": notice.account,
        "step": notice.step,
        "channel": notice.channel,
        "to": notice.to,
        "values": encode(notice.values),
        "created_ms": notice.created_ms,
        "state": notice.state,
        "tries": notice.tries,
        "next_ms": notice.next_ms,
        "changed_ms": notice.changed_ms,
        "detail": notice.detail,
    }


def _notice(row: Row) -> Notice:
    number, account, step, channel, to, values, created_ms, state, tries, next_ms, changed_ms, detail = row
    said = decode(values, dict[str, str])
    return Notice(number, account, step, channel, to, said, created_ms, NoticeState(state), tries, next_ms, changed_ms, detail)


def _finding(row: Row) -> Finding:
    kind, subject, since_ms, text, data = row
    return Finding(FindingKind(kind), subject, since_ms, text, decode(data, dict[str, str]))
