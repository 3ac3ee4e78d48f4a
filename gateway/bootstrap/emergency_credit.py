"""Emergency credit as the operator's interface takes it."""

from __future__ import annotations

from fastapi import FastAPI

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.credit_api import CreditApi
from gateway.adapters.http.reads import Reads
from gateway.bootstrap.two_people import House
from gateway.services.accept_credit import accept_credit
from gateway.services.ports import Essential


def hang_credit(app: FastAPI, house: House, read: Reads, auth: OperatorAuth) -> None:
    """Its call in an application."""

    async def accept(account: str, who: str) -> str | None:
        site, now_ms = house.site(), house.clock.now_ms()
        usecase = Essential(lambda tx: accept_credit(tx, account, who, site, now_ms))  # it may bring the light back
        return await house.act(usecase, lambda tx: [meter.id for meter in tx.meters_of(account)])

    app.include_router(CreditApi(accept, read, auth).router())
