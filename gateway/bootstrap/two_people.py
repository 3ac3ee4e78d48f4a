"""Approvals, quarantine and the stop switch, as the interface can have them done."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

from fastapi import FastAPI

from gateway.adapters.clock import Clock
from gateway.adapters.http.approvals_api import ApprovalsApi, ApprovalUseCases, Batch
from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.protect_api import ProtectApi
from gateway.adapters.http.quarantine_api import QuarantineApi, StopUseCases
from gateway.adapters.http.reads import Reads
from gateway.domain.approvals import Decision
from gateway.domain.events import Json
from gateway.domain.requests import Protection
from gateway.services import approve, stop_switch, two_people
from gateway.services.ports import Essential, Site, Tx
from gateway.services.protect_account import ask_protection

T = TypeVar("T")


class House(Protocol):
    """A gateway, running or by hand. act: a use case, after which the lines carry out what it ordered of these meters."""

    clock: Clock

    async def act(self, usecase: Callable[[Tx], T], meters: Callable[[Tx], Collection[str]]) -> T: ...
    def site(self) -> Site: ...


class TwoPeople:
    """The use cases on one house."""

    def __init__(self, house: House) -> None:
        self._house = house

    def approvals(self) -> ApprovalUseCases:
        """For the interface."""
        return ApprovalUseCases(self.approve, self.refuse, self.ask, self.batch, new_id)

    def stopping(self) -> StopUseCases:
        """For the interface."""
        return StopUseCases(stop_switch.stopped, self.stop, self.resume)

    async def approve(self, ident: str, who: str) -> Decision:
        """A second person says yes."""
        site, now_ms = self._house.site(), self._house.clock.now_ms()
        return await self._house.act(
            lambda tx: approve.approve(tx, ident, who, site, now_ms, two_people.ACTS), lambda tx: _touched(tx, ident)
        )

    async def refuse(self, ident: str, who: str, reason: str) -> Decision:
        """Somebody says no."""
        now_ms = self._house.clock.now_ms()
        return await self._house.act(lambda tx: approve.refuse(tx, ident, who, reason, now_ms, two_people.ACTS), lambda tx: ())

    async def ask(self, ident: str, act: str, subject: str, body: dict[str, Json], account: str | None, who: str) -> Decision:
        """An act waits for its second person."""
        site, now_ms = self._house.site(), self._house.clock.now_ms()
        return await self._house.act(
            lambda tx: approve.ask(tx, ident, act, subject, body, who, site, now_ms, account=account), lambda tx: ()
        )

    async def batch(self, batch: Batch, who: str) -> dict[str, str] | Decision:
        """Several cuts at once."""
        site, now_ms = self._house.site(), self._house.clock.now_ms()
        order = two_people.BatchOrder(batch.id, batch.meters, batch.cause, batch.facts, batch.reason, batch.lives_ms)
        return await self._house.act(lambda tx: two_people.ask_batch(tx, order, who, site, now_ms), lambda tx: batch.meters)

    async def protect(self, wanted: Protection) -> Decision:
        """Protection begins at once and ends by two people."""
        site, now_ms, ident = self._house.site(), self._house.clock.now_ms(), new_id()
        return await self._house.act(
            Essential(lambda tx: ask_protection(tx, ident, wanted, site, now_ms)), lambda tx: _meters(tx, wanted.account)
        )

    async def stop(self, who: str, reason: str) -> None:
        """From this commit on no cut leaves."""
        now_ms = self._house.clock.now_ms()
        await self._house.act(Essential(lambda tx: stop_switch.stop_cuts(tx, who, reason, now_ms)), lambda tx: ())

    async def resume(self, who: str, reason: str) -> str | None:
        """Cuts go on."""
        now_ms = self._house.clock.now_ms()
        return await self._house.act(lambda tx: stop_switch.resume_cuts(tx, who, reason, now_ms), lambda tx: ())


def hang_two_people(app: FastAPI, house: House, read: Reads, auth: OperatorAuth) -> None:
    """Protection, approvals, quarantine and the stop switch in an application."""
    cases = TwoPeople(house)
    app.include_router(ProtectApi(cases.protect, read, auth, house.clock.now_ms).router())
    app.include_router(ApprovalsApi(cases.approvals(), read, auth).router())
    app.include_router(QuarantineApi(cases.approvals(), cases.stopping(), read, auth).router())


def new_id() -> str:
    """Of an act that brings none."""
    return secrets.token_hex(8)


def _meters(tx: Tx, account: str) -> list[str]:
    return [meter.id for meter in tx.meters_of(account)]


def _touched(tx: Tx, ident: str) -> list[str]:
    """The meters that an approved act may have ordered something of."""
    approval = tx.approval(ident)
    if approval is None:
        return []
    batch = [command.meter for command in tx.open_commands() if command.id.startswith(f"{ident[:48]}-")]
    return [approval.subject, *_meters(tx, approval.subject), *batch]
