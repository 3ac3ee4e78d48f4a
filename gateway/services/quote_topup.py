"""What a top-up would do now, by doing it and undoing it again (contract.md 3): nothing of it stays."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import NoReturn

from gateway.domain.bank_acts import Quote
from gateway.domain.requests import TopUp
from gateway.domain.units import parse_money, parse_signed_money
from gateway.services.apply_topup import apply_topup
from gateway.services.ports import Site, TopUpVerdict, Tx

SERIAL = "a quote"
"""No bank's serial has a blank: what is quoted can never be taken for a payment."""


class Quoted(Exception):
    """The way out of a use case that must leave nothing behind: the store undoes whatever ends with an exception."""

    def __init__(self, quote: Quote) -> None:
        super().__init__("quoted")
        self.quote = quote


class NotAccepted(Exception):
    """The payment would be refused: with this code, in this sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


def quote(tx: Tx, topup: TopUp, site: Site, now_ms: int) -> NoReturn:
    """Raises Quoted, or NotAccepted where it would be refused on the merits; InvalidField, NotOpen and MoneyHeld as apply_topup."""
    tried = replace(topup, identity=replace(topup.identity, serial=SERIAL))
    outcome = apply_topup(tx, tried, replace(site, seal=None), now_ms)
    payment = outcome.payment
    if outcome.verdict is not TopUpVerdict.POSTED or payment.receipt is None:
        raise NotAccepted(payment.problem or "unavailable", payment.detail or "it would not be accepted now")
    told: dict[str, str] = json.loads(payment.receipt)
    credit, debt, fees = (parse_money(told[name], payment.currency) for name in ("to_credit", "to_debt", "fees"))
    balance = parse_signed_money(told["balance_after"], payment.currency)
    raise Quoted(Quote(payment.account, payment.currency, payment.amount_micro, credit, debt, fees, balance, told["next"]))
