"""Payments at the counter put together."""

from __future__ import annotations

from fastapi import FastAPI

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.counter_api import CounterApi
from gateway.bootstrap.two_people import House
from gateway.domain.bank_terms import COUNTER, PartnerTerms
from gateway.domain.requests import TopUp
from gateway.services.counter_topup import counter_topup
from gateway.services.ports import TopUpOutcome, Tx


def hang_counter(app: FastAPI, house: House, zone: str, auth: OperatorAuth) -> None:
    """Its call in an application. zone: of accounting dates."""

    async def take(topup: TopUp, who: str) -> TopUpOutcome:
        site, now_ms = house.site(), house.clock.now_ms()

        def usecase(tx: Tx) -> TopUpOutcome:
            return counter_topup(tx, topup, who, site, now_ms)

        return await house.act(usecase, lambda tx: [meter.id for meter in tx.meters_of(topup.account)])

    terms = PartnerTerms(COUNTER, zone)
    app.include_router(CounterApi(take, auth, COUNTER, lambda: terms.today(house.clock.now_ms())).router())
