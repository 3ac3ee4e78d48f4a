"""What banks send after a payment, checked for form: reversals, refunds, settlements, quotes, resolutions (contract.md 3)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from gateway.adapters.http.problems import Problem
from gateway.domain.units import DECIMALS, parse_money

_TOKEN = r"^[A-Za-z0-9._:-]{1,64}$"
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"

Serial = Annotated[str, Path(pattern=_TOKEN, examples=["20261121-000001"])]
Day = Annotated[str, Path(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-11-21"])]
Institution = Annotated[str, Query(pattern=r"^[A-Za-z0-9._:-]{0,64}$")]
Token = Annotated[StrictStr, Field(pattern=_TOKEN, examples=["R-20261121-000001"])]
Amount = Annotated[StrictStr, Field(pattern=r"^(0|[1-9][0-9]{0,8})\.[0-9]{1,6}$", examples=["50.00"])]
CurrencyCode = Annotated[StrictStr, Field(pattern=r"^[A-Z]{3}$", examples=["CNY"])]
DayText = Annotated[StrictStr, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-11-21"])]
Reason = Annotated[StrictStr, Field(min_length=1, max_length=500, examples=["the payer was debited twice"])]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class QuoteForm(_Form):
    """What would be paid."""

    account: StrictStr = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["A-0007"])
    amount: Amount
    currency: CurrencyCode


class ReversalForm(_Form):
    """A payment is to be undone, whole."""

    reversal_serial: Token
    accounting_date: DayText
    amount: Amount
    currency: CurrencyCode
    reason: Reason
    requested_at: StrictStr = Field(pattern=_MOMENT, examples=["2026-11-21T10:20:00+08:00"])


class RefundForm(_Form):
    """Money of a payment is to go back. original_accounting_date: only of banks whose serials are unique within a day."""

    serial: Token
    original_serial: StrictStr = Field(pattern=_TOKEN, examples=["20261121-000001"])
    original_accounting_date: DayText | None = None
    accounting_date: DayText
    amount: Amount
    currency: CurrencyCode
    reason: Reason
    institution: StrictStr = Field("", pattern=r"^[A-Za-z0-9._:-]{0,64}$", examples=["WX-PAY"])


class SettlementForm(_Form):
    """What was paid over for an accounting date."""

    accounting_date: DayText
    amount: StrictStr = Field(pattern=r"^(0|[1-9][0-9]{0,11})\.[0-9]{1,6}$", examples=["125000.00"])
    currency: CurrencyCode
    fund_batch: Token


class ResolutionForm(_Form):
    """What becomes of a difference."""

    action: Literal["book", "reverse", "ignore"] = Field(examples=["book"])
    reason: Reason


def money(amount: str, currency: str, field: str = "amount") -> int:
    """Micro-units, greater than zero, with exactly the currency's decimals. Problem `invalid` names the field."""
    try:
        micro = parse_money(amount, currency)
    except ValueError as error:
        raise Problem("invalid", str(error), field=field if currency in DECIMALS else "currency") from None
    if micro == 0:
        raise Problem("invalid", f"{field} must be greater than zero", field=field)
    return micro


def day_of(text: str, field: str = "accounting_date") -> date:
    """Problem `invalid` for a day that does not exist."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Problem("invalid", f"{field} is not a day that exists", field=field) from None


def moment_of(text: str, field: str) -> datetime:
    """In UTC. Problem `invalid` for a moment that does not exist."""
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem("invalid", f"{field} is not a moment that exists", field=field) from None
