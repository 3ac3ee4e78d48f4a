"""The way out of a restored store's silence, over a store: for the running gateway, and for one act without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from gateway.adapters.http.reopen_api import ReopenUseCases
from gateway.domain.agreements import BankAgreed, CentreAgreed, Held
from gateway.domain.requests import TopUp
from gateway.services import reopen
from gateway.services.money_held import held, why_held
from gateway.services.ports import InvalidField, Site, Tx

T = TypeVar("T")


class Acts(Protocol):
    """A store as this needs it."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


def reopen_cases(
    store: Acts,
    zone: str,
    site: Callable[[], Site],
    now_ms: Callable[[], int],
    changed: Callable[[str | None], None],
) -> ReopenUseCases:
    """The use cases. zone: of the banks' accounting dates. changed: told, after each act, why no money is taken (None: it is)."""

    async def waiting() -> tuple[Held | None, Sequence[str]]:
        return await store.read(lambda tx: (held(tx), reopen.missing(tx, zone)))

    async def bring_in(topups: Sequence[TopUp], by: str) -> int | str:
        try:
            return await act(lambda tx: reopen.bring_in(tx, topups, by, site(), now_ms()))
        except (reopen.NotBroughtIn, InvalidField) as refused:
            return str(refused)

    async def act(usecase: Callable[[Tx], T]) -> T:
        done, why = await store.write(lambda tx: (usecase(tx), why_held(tx)))
        changed(why)
        return done

    def agree_bank(agreed: BankAgreed) -> Awaitable[str | None]:
        return act(lambda tx: reopen.agree_bank(tx, agreed, now_ms()))

    def agree_centre(epoch: str, agreed: CentreAgreed) -> Awaitable[str | None]:
        return act(lambda tx: reopen.agree_centre(tx, epoch, agreed, now_ms()))

    def release(by: str) -> Awaitable[Sequence[str]]:
        return act(lambda tx: reopen.release(tx, by, zone, now_ms()))

    return ReopenUseCases(waiting, agree_bank, agree_centre, bring_in, release)
