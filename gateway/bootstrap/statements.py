"""Statements of account: for the listener of a running gateway, and from a store beside it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from gateway.adapters.http.reads import Reads
from gateway.adapters.http.statements import State
from gateway.adapters.reports.statement_csv import statement_csv
from gateway.adapters.reports.statement_pdf import statement_pdf
from gateway.adapters.reports.statement_view import statement_json
from gateway.adapters.store import Store, StoreError
from gateway.bootstrap.examine import CannotStart
from gateway.domain.statement import CannotState, Statement
from gateway.services.statement import statement

WRITERS: dict[str, Callable[[Statement], bytes]] = {"csv": statement_csv, "json": statement_json, "pdf": statement_pdf}
"""How a statement becomes a file."""


def stating(read: Reads, gateway: str, zone: str, now_ms: Callable[[], int]) -> State:
    """What the HTTP interface asks."""

    async def state(account: str, first: date | None, last: date | None) -> Statement:
        return await read(lambda tx: statement(tx, account, gateway, zone, now_ms(), first, last))

    return state


def stored_statement(
    url: str, account: str, gateway: str, zone: str, now_ms: int, first: date | None, last: date | None, *, summary: bool
) -> Statement:
    """Of a store, also beside the gateway that runs on it. CannotStart where there is no such statement."""
    try:
        with Store.open(url, read_only=True) as store:
            return store.read_now(lambda tx: statement(tx, account, gateway, zone, now_ms, first, last, summary=summary))
    except (StoreError, CannotState) as problem:
        raise CannotStart(str(problem)) from None
    except LookupError as unknown:
        raise CannotStart(str(unknown.args[0])) from None
