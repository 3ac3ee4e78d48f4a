"""Who speaks on the banks' interface: a route checks the form of what it was sent, calls `caller_of`, then acts (contract.md 3).

A handler is written so, on a router of `bank_gate.bank_router`:

    form = checked(TheForm, await read_object(request))          # 400, 413, 415, 422: the form
    caller = await caller_of(request, REVERSAL)                  # 401, 403, 429: signature, rights, rate
    ...                                                          # known identity, then merits

`caller.claim` is the request's nonce, not yet used up: a use case that answers repeats spends it in its own transaction
(services/spend_nonce.once); for every other route `caller_of(..., spend=True)` uses it up before it returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Protocol

from starlette.requests import Request

from gateway.adapters.http.problems import Problem
from gateway.domain.bank_terms import PartnerTerms, SerialScope
from gateway.domain.nonces import Claim
from gateway.domain.requests import PaymentIdentity


@dataclass(frozen=True, slots=True)
class BankCaller:
    """A bank that was let in. key: the kid it signed with, empty where signatures are off. claim: its nonce, None without one."""

    bank: str
    key: str
    scopes: frozenset[str]
    terms: PartnerTerms
    claim: Claim | None = None

    def identity(self, serial: str, institution: str = "", accounting_date: date | None = None) -> PaymentIdentity:
        """Of a payment that is named in a path. accounting_date: where it stands in the path; Problem `invalid` where it must, or
        must not."""
        dated = self.terms.serial_scope is SerialScope.ACCOUNTING_DATE
        if dated and accounting_date is None:
            detail = f"serials of {self.bank} are unique within an accounting date: ask by /topups/{{accounting_date}}/{{serial}}"
            raise Problem("invalid", detail, field="accounting_date")
        if accounting_date is not None and not dated:
            detail = f"serials of {self.bank} are unique for ever: ask by /topups/{{serial}}, without a date"
            raise Problem("invalid", detail, field="accounting_date")
        scope = "" if accounting_date is None else self.terms.scope_of(accounting_date)
        return PaymentIdentity(self.bank, institution, scope, serial)


class BankDoor(Protocol):
    """Whoever knows the banks and their keys."""

    async def admit(self, request: Request, scope: str, *, spend: bool) -> BankCaller: ...


async def caller_of(request: Request, scope: str, *, spend: bool = False) -> BankCaller:
    """The bank that speaks, which may do `scope`. Problems: bad_signature, signature_expired, forbidden, rate_limited.

    To be called once the form is right, before anything is looked up. spend: the nonce is used up now, durably.
    """
    door: BankDoor = request.state.bank_door
    caller = await door.admit(request, scope, spend=spend)
    request.state.bank_caller = caller
    return caller


def anybody(request: Request) -> None:
    """This route is for everybody; one that asks for nobody is not answered."""
    request.state.bank_caller = None
