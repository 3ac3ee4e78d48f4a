"""Money on its way into meters, as durable records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Integer, bindparam, literal_column, select, update

from gateway.adapters.store import schema
from gateway.adapters.store.schema_wallets import delivery as table
from gateway.adapters.store.statements import Part, Row, Statement, once
from gateway.domain.wallets import OPEN, Act, Delivery, DeliveryState
from gateway.services.ports import Duplicate

_d = table.c
_columns = select(*(column for column in _d if column.name != "number"))
_is_open = _d.state.in_([literal_column(f"'{state}'") for state in sorted(OPEN)])
_open = _columns.where(_is_open).order_by(_d.number)
_on_line = select(schema.meter.c.id).where(schema.meter.c.line == bindparam("line"))
_newest = _columns.order_by(_d.number.desc()).limit(bindparam("most", type_=Integer))

ADD = once(table, "id", without="number")
SAVE = Statement(
    update(table)
    .where(_d.id == bindparam("delivery"), _is_open)
    .values({column.name: bindparam(f"new_{column.name}") for column in _d if column.name not in ("number", "id")})
)
DELIVERY = Statement(_columns.where(_d.id == bindparam("delivery")))
ALL_OPEN = Statement(_open)
OPEN_ON_LINE = Statement(_open.where(_d.meter.in_(_on_line)))
OPEN_OF_METER = Statement(_open.where(_d.meter == bindparam("meter")))
NEWEST = Statement(_newest)
NEWEST_OF = Statement(_newest.where(_d.account == bindparam("account")))


class Deliveries(Part):
    """Their share of a transaction."""

    def add_delivery(self, delivery: Delivery) -> None:
        if not self._session.change(ADD, **asdict(delivery)):
            raise Duplicate(f"delivery {delivery.id} is there already")

    def delivery(self, delivery: str) -> Delivery | None:
        row = self._session.row(DELIVERY, delivery=delivery)
        return None if row is None else _delivery(row)

    def save_delivery(self, delivery: Delivery) -> None:
        """Changes one that is under way; LookupError for one that has ended, or was never added."""
        values = {f"new_{name}": value for name, value in asdict(delivery).items()}
        if not self._session.change(SAVE, delivery=delivery.id, **values):
            raise LookupError(f"delivery {delivery.id} has ended, or was never added")

    def open_deliveries(self, *, line: str | None = None, meter: str | None = None) -> Sequence[Delivery]:
        if meter is not None:
            return [_delivery(row) for row in self._session.rows(OPEN_OF_METER, meter=meter)]
        if line is not None:
            return [_delivery(row) for row in self._session.rows(OPEN_ON_LINE, line=line)]
        return [_delivery(row) for row in self._session.rows(ALL_OPEN)]

    def deliveries(self, limit: int, account: str | None = None) -> Sequence[Delivery]:
        if account is None:
            return [_delivery(row) for row in self._session.rows(NEWEST, most=limit)]
        return [_delivery(row) for row in self._session.rows(NEWEST_OF, most=limit, account=account)]


def _delivery(row: Row) -> Delivery:
    ident, account, meter, act, micro, currency, created_ms, due_ms, epoch, state, *rest = row
    return Delivery(ident, account, meter, Act(act), micro, currency, created_ms, due_ms, epoch, DeliveryState(state), *rest)
