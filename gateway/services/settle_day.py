"""A bank paid over what it took in: its account is cleared (contract.md 3, settlements)."""

from __future__ import annotations

import json

from gateway.domain import ledger
from gateway.domain.bank_acts import BookedSettlement, Settlement
from gateway.domain.events import EventKind
from gateway.domain.units import format_money
from gateway.services import announce
from gateway.services.money_held import SERIES, must_be_open
from gateway.services.ports import InvalidField, Site, Tx
from gateway.services.post_entry import post_entry
from gateway.services.stamp import rfc3339


class OtherSettlement(Exception):
    """This fund batch was booked with another content; names the field."""

    def __init__(self, field: str, fund_batch: str) -> None:
        super().__init__(f"fund batch {fund_batch} was booked before with another {field}")
        self.field = field


def settle_day(tx: Tx, wanted: Settlement, site: Site, now_ms: int) -> tuple[BookedSettlement, bool]:
    """Book it once under its fund batch; whether it was new. OtherSettlement, InvalidField or MoneyHeld: nothing has changed."""
    if wanted.amount_micro <= 0:
        raise InvalidField("amount", "a settlement is greater than zero")
    known, day = tx.settlement(wanted.bank, wanted.fund_batch), wanted.accounting_date.isoformat()
    if known is not None:
        for name, value in (("accounting_date", day), ("amount_micro", wanted.amount_micro), ("currency", wanted.currency)):
            if getattr(known, name) != value:
                raise OtherSettlement(name.removesuffix("_micro"), wanted.fund_batch)
        return known, False
    must_be_open(tx)
    amount = format_money(wanted.amount_micro, wanted.currency)
    ref = {"bank": wanted.bank, "fund_batch": wanted.fund_batch, "accounting_date": day}
    posted = post_entry(tx, ledger.settled(wanted.bank, wanted.currency, wanted.amount_micro, now_ms, ref))
    told = {
        "settlement_no": f"{site.gateway}-{tx.meta(SERIES) or ''}{posted.number:010d}",
        **ref,
        "amount": amount,
        "currency": wanted.currency,
        "outstanding": format_money(-tx.balance(ledger.bank_clearing(wanted.bank), wanted.currency), wanted.currency),
        "outstanding_of_day": format_money(_of_day(tx, wanted, day), wanted.currency),
        "booked_at": rfc3339(now_ms),
        "gateway": site.gateway,
    }
    document = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    booked = BookedSettlement(
        wanted.bank, wanted.fund_batch, day, wanted.amount_micro, wanted.currency, now_ms, posted.number, document
    )
    tx.add_settlement(booked)
    tx.add_audit(now_ms, f"bank:{wanted.bank}", "settle_day", wanted.fund_batch, {"amount": amount, "accounting_date": day})
    announce.event(
        tx, EventKind.BANK_SETTLED, now_ms, bank=wanted.bank, accounting_date=day, amount=amount, currency=wanted.currency,
        fund_batch=wanted.fund_batch,
    )  # fmt: skip
    return booked, True


def _of_day(tx: Tx, wanted: Settlement, day: str) -> int:
    """What of this day's money has not arrived, this settlement counted."""
    _, sums = tx.day_totals(wanted.bank, day)
    paid = sum(each.amount_micro for each in tx.settlements(wanted.bank, day) if each.currency == wanted.currency)
    return sums.get(wanted.currency, 0) - paid - wanted.amount_micro
