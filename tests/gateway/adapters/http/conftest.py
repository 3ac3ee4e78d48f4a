"""The street and clients for its listeners."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from gateway.adapters.store import Store
from gateway.domain.meters import SwitchKind
from gateway.domain.units import MICRO
from gateway.services.load_archive import Opening
from tests.gateway.adapters.http.street import Street, account, meter


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Meters 1 to 3; A-1 has 20.00, A-2 has 1.00, A-3 is closed and its meter has no switch."""
    with Store.open(str(tmp_path / "store.sqlite3"), inline=True) as store:
        street = Street(store, data=tmp_path)
        meters = [meter(1), meter(2), meter(3, switch=SwitchKind.NONE)]
        accounts = [Opening(account(1, holder="张小明"), 20 * MICRO), Opening(account(2), MICRO), Opening(account(3, closed=True))]
        street.settle(meters, accounts)
        yield street


@pytest.fixture
async def bank(street: Street) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(street.bank()), base_url="http://bank") as client:
        yield client


@pytest.fixture
async def operator(street: Street) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(street.operator()), base_url="http://operator") as client:
        yield client
