"""What banks have paid in, by span of accounting dates."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, func, select

from gateway.adapters.store import schema
from gateway.adapters.store.statements import Part, Statement
from gateway.domain.records import Taken

_p = schema.payment.c

TAKEN = Statement(
    select(_p.bank, _p.currency, func.count(), func.sum(_p.amount_micro))
    .where(_p.status == "posted", _p.accounting_date.between(bindparam("first"), bindparam("last")))
    .group_by(_p.bank, _p.currency)
    .order_by(_p.bank, _p.currency)
)


class Takings(Part):
    """The share of payments as sums in a transaction."""

    def taken(self, first: str, last: str) -> Sequence[Taken]:
        found = self._session.rows(TAKEN, first=first, last=last)
        return [Taken(bank, currency, count, int(micro)) for bank, currency, count, micro in found]
