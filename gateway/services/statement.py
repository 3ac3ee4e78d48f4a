"""What an account's ledger says of a period: read page by page, so that the lines bound the memory and not the journal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from gateway.domain import ledger
from gateway.domain.ledger import GENESIS
from gateway.domain.meters import Account
from gateway.domain.requests import PaymentIdentity
from gateway.domain.slots import local_of, midnight
from gateway.domain.statement import (
    BALANCE,
    DEBT,
    EMERGENCY,
    UNDELIVERED,
    Receipt,
    Section,
    Statement,
    check_period,
    period,
)
from gateway.domain.statement_lines import Lines
from gateway.domain.units import parse_money
from gateway.services.ports import Tx

PAGE = 2_000
"""Moves that are in memory at once: some megabyte, and a month of quarter-hours in two pages."""

OTHERS = ((DEBT, ledger.debt), (EMERGENCY, ledger.emergency), (UNDELIVERED, ledger.undelivered))


def statement(
    tx: Tx,
    account: str,
    gateway: str,
    zone_name: str,
    now_ms: int,
    from_day: date | None = None,
    to_day: date | None = None,
    *,
    summary: bool = False,
) -> Statement:
    """The statement of these days (of this zone, both included), by default of this month; see `statement.period`.

    summary: opening, sums and closing alone, of any period. LookupError for an unknown account, CannotState for a period that
    no statement is given of. For a read transaction.
    """
    zone = ZoneInfo(zone_name)
    first, last = period(from_day, to_day, local_of(now_ms, zone).date())
    check_period(first, last, summary=summary)
    found = tx.account(account)
    if found is None:
        raise LookupError(f"account {account} is not known here")
    after = tx.entry_before(midnight(first, zone))
    upto = max(after, tx.entry_before(midnight(last + timedelta(days=1), zone)))
    head = tx.entry(upto) if upto else None
    books = _Books(tx, found, zone, after, upto, summary)
    others = (books.section(name, of(found.id)) for name, of in OTHERS)
    return Statement(
        gateway,
        found.id,
        found.holder,
        found.currency,
        zone_name,
        first,
        last,
        books.section(BALANCE, ledger.customer(found.id)),
        tuple(each for each in others if each.opening_micro or each.closing_micro or each.sums),
        upto,
        head.hash if head else GENESIS,
        head.entry.at_ms if head else None,
        summary,
    )


class _Books:
    """One account between two entries of the journal: after the first, up to the second."""

    def __init__(self, tx: Tx, account: Account, zone: ZoneInfo, after: int, upto: int, summary: bool) -> None:
        self._tx, self._account, self._zone = tx, account, zone
        self._after, self._upto, self._summary = after, upto, summary
        self._price = cache(tx.price_list)

    def section(self, name: str, ledger_account: str) -> Section:
        """One of the customer's ledger accounts."""
        tx, currency, after = self._tx, self._account.currency, self._after
        opening, closing = (tx.balance_at(ledger_account, currency, number) for number in (after, self._upto))
        lines = Lines(name, currency, self._zone, after, tx.entry, self._price, self._receipt, keep=not self._summary)
        while page := tx.moves_on(ledger_account, after, self._upto, PAGE):
            lines.take(page)
            after = page[-1].number
        return lines.section(opening, closing)

    def _receipt(self, ref: Mapping[str, str]) -> Receipt:
        """What the payer got: the receipt says it as it was given, whatever the gateway is called now."""
        bank, institution, scope, serial = (ref.get(name, "") for name in ("bank", "institution", "scope", "serial"))
        payment = self._tx.payment(PaymentIdentity(bank, institution, scope, serial))
        given = json.loads(payment.receipt) if payment is not None and payment.receipt else {}
        to_debt = parse_money(given["to_debt"], given["currency"]) if "to_debt" in given else 0
        return Receipt(given.get("receipt_no", ""), bank, institution, serial, to_debt)
