"""Direct debit as the operator's interface takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Protocol, TypeVar

from fastapi import FastAPI

from gateway.adapters.bank_tables import DebitTable, ProfileError, debits_of
from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.debit_api import DebitApi, DebitUseCases
from gateway.adapters.http.problems import Problem
from gateway.domain.mandates import Batch, DebitLine, DebitResult, Mandate, ResultVerdict
from gateway.services import direct_debit
from gateway.services.ports import Site, Tx
from gateway.settings import SettingsError

T = TypeVar("T")


class Books(Protocol):
    """What of the gateway these use cases need."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...
    def site(self) -> Site: ...
    def wake(self) -> None: ...


def debits(name: str, folder: Path) -> DebitTable:
    """How files of debits look, by a shipped name or of a file in `folder`. SettingsError in one sentence."""
    try:
        return debits_of(name, folder)
    except ProfileError as problem:
        raise SettingsError([str(problem)]) from None


def hang_debit(app: FastAPI, books: Books, auth: OperatorAuth, now_ms: Callable[[], int]) -> None:
    """Its calls in an application."""
    app.include_router(DebitApi(debit_cases(books, now_ms), books.read, auth, now_ms).router())


def debit_cases(books: Books, now_ms: Callable[[], int]) -> DebitUseCases:
    """The use cases over the gateway's store."""

    async def act(usecase: Callable[[Tx], T]) -> T:
        try:
            return await books.write(usecase)
        except direct_debit.DebitRefused as refused:
            raise Problem("refused", str(refused)) from None

    async def check(mandate: Mandate) -> str | None:
        return await books.read(lambda tx: direct_debit.check_mandate(tx, mandate))

    async def sign(mandate: Mandate, who: str) -> Mandate:
        return await act(lambda tx: direct_debit.sign_mandate(tx, mandate, who, now_ms()))

    async def check_end(mandate: str) -> str | None:
        return await books.read(lambda tx: direct_debit.check_end(tx, mandate))

    async def end(mandate: str, who: str) -> Mandate:
        return await act(lambda tx: direct_debit.end_mandate(tx, mandate, who, now_ms()))

    async def batch(bank: str, day: date, who: str) -> Batch:
        return await act(lambda tx: direct_debit.make_batch(tx, bank, day, who, now_ms()))

    async def results(bank: str, told: Sequence[DebitResult]) -> list[ResultVerdict]:
        verdicts = await act(lambda tx: direct_debit.book_results(tx, bank, told, books.site(), now_ms()))
        books.wake()
        return verdicts

    async def resolve(bank: str, serial: str, reason: str, who: str) -> DebitLine:
        return await act(lambda tx: direct_debit.resolve_debit(tx, bank, serial, reason, who, now_ms()))

    return DebitUseCases(check, sign, check_end, end, batch, results, resolve)
