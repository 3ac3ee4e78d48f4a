"""Price lists, and what money by them depends on: use by period, estimates that wait for a freeze, how far fees are booked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import BindParameter, bindparam, delete, select

from gateway.adapters.store import schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.later import Later, Values
from gateway.adapters.store.statements import Part, Row, Rows, Session, Statement, inserting, upsert
from gateway.domain.debt_terms import Accrual
from gateway.domain.estimates import Estimate
from gateway.domain.period_use import PeriodUse
from gateway.domain.price_list import Tariff
from gateway.domain.readings import Registers

_t, _u, _e = schema.tariff.c, schema.period_use.c, schema.estimate.c

PRICE_LIST = Statement(select(_t.body).where(_t.id == bindparam("tariff")))
SAVE_PRICE_LIST = upsert(schema.tariff)

USE = Statement(
    select(_u.body).where(_u.account == bindparam("account"), _u.tariff == bindparam("tariff"), _u.period == bindparam("period"))
)
SAVE_USE = Rows(
    schema.period_use,
    ("account", "tariff", "period", "body"),
    lambda insert: insert.on_conflict_do_update(
        index_elements=["account", "tariff", "period"], set_={"body": insert.excluded.body}
    ),
)
USES = Statement(select(_u.body).where(_u.account == bindparam("account"), _u.tariff == bindparam("tariff")).order_by(_u.period))
PRICED = Statement(select(_u.period).where(_u.tariff == bindparam("tariff")).limit(1))

ADD_ESTIMATE = Statement(inserting(schema.estimate))
_meter: BindParameter[str] = bindparam("meter")
ESTIMATES = Statement(
    select(_e.entry, _e.meter, _e.account, _e.tariff, _e.points)
    .where(_e.meter == _meter, _e.to_ms > bindparam("at_ms"), _e.from_ms < bindparam("at_ms"))
    .order_by(_e.entry)
)
OPEN_ESTIMATES = Statement(
    select(_e.entry, _e.meter, _e.account, _e.tariff, _e.points).where(_e.meter == _meter).order_by(_e.entry)
)
DROP_ESTIMATE = Statement(delete(schema.estimate).where(_e.entry == bindparam("number")))
DROP_ESTIMATES = Statement(delete(schema.estimate).where(_e.meter == _meter, _e.to_ms <= bindparam("before_ms")))

_accruals = schema.accrual.c
ACCRUAL = Statement(select(schema.accrual).where(_accruals.account == bindparam("owner")))
SAVE_ACCRUAL = upsert(schema.accrual)

PARSED = 256
"""Price lists whose values are kept: every reading asks for one, and they seldom change."""


class Tariffs(Part):
    """Their share of a transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._new_uses = Later(lambda rows: session.insert(SAVE_USE, _newest(rows)))

    def price_list(self, tariff: str) -> Tariff | None:
        row = self._session.row(PRICE_LIST, tariff=tariff)
        return None if row is None or row[0] is None else _tariff(row[0])

    def save_price_list(self, tariff: Tariff) -> None:
        self._session.change(SAVE_PRICE_LIST, id=tariff.id, currency=tariff.currency, body=encode(tariff))

    def period_use(self, account: str, tariff: str, period: str) -> PeriodUse | None:
        self._new_uses.flush()
        row = self._session.row(USE, account=account, tariff=tariff, period=period)
        return None if row is None else decode(row[0], PeriodUse)

    def save_period_use(self, account: str, tariff: str, use: PeriodUse) -> None:
        self._new_uses.add(account, tariff, use.period, encode(use))

    def period_uses(self, account: str, tariff: str) -> Sequence[PeriodUse]:
        self._new_uses.flush()
        return [decode(body, PeriodUse) for (body,) in self._session.rows(USES, account=account, tariff=tariff)]

    def priced(self, tariff: str) -> bool:
        self._new_uses.flush()
        return self._session.row(PRICED, tariff=tariff) is not None

    def add_estimate(self, estimate: Estimate) -> None:
        self._session.change(
            ADD_ESTIMATE,
            entry=estimate.entry,
            meter=estimate.meter,
            account=estimate.account,
            tariff=estimate.tariff,
            from_ms=estimate.from_ms,
            to_ms=estimate.to_ms,
            points=encode(estimate.points),
        )

    def estimates_of(self, meter: str, at_ms: int) -> Sequence[Estimate]:
        return [_estimate(row) for row in self._session.rows(ESTIMATES, meter=meter, at_ms=at_ms)]

    def open_estimates(self, meter: str) -> Sequence[Estimate]:
        return [_estimate(row) for row in self._session.rows(OPEN_ESTIMATES, meter=meter)]

    def drop_estimate(self, entry: int) -> None:
        self._session.change(DROP_ESTIMATE, number=entry)

    def drop_estimates(self, meter: str, before_ms: int) -> None:
        self._session.change(DROP_ESTIMATES, meter=meter, before_ms=before_ms)

    def accrual(self, account: str) -> Accrual | None:
        row = self._session.row(ACCRUAL, owner=account)
        if row is None:
            return None
        owner, tariff, until_ms, late_ms, late_per_mille_micro, varh = row
        return Accrual(owner, tariff, until_ms, late_ms, late_per_mille_micro, decode(varh, dict[str, int]))

    def save_accrual(self, accrual: Accrual) -> None:
        self._session.change(
            SAVE_ACCRUAL,
            account=accrual.account,
            tariff=accrual.tariff,
            until_ms=accrual.until_ms,
            late_ms=accrual.late_ms,
            late_per_mille_micro=accrual.late_per_mille_micro,
            varh=encode(accrual.varh),
        )


def _estimate(row: Row) -> Estimate:
    entry, meter, account, tariff, points = row
    return Estimate(entry, meter, account, tariff, decode(points, tuple[Registers, ...]))


def _newest(rows: list[Values]) -> list[Values]:
    """The newest of each use: PostgreSQL refuses to change a row twice in a statement."""
    return [*{row[:3]: row for row in rows}.values()]


@lru_cache(maxsize=PARSED)
def _tariff(text: str) -> Tariff:
    return decode(text, Tariff)
