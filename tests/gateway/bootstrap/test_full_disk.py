"""A whole gateway on a full disk: what health says, who is turned away, that it starts all the same, and that it ends with room."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import httpx2
import pytest

from gateway.adapters.store import MIB, reserve
from gateway.bootstrap.process import Gateway
from gateway.domain.findings import FindingKind
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.services.ports import DiskLow
from tests.gateway.adapters.store.disks import fill_up, mounted
from tests.gateway.bootstrap.site import Site, street


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """With its folder on a real file system of 32 MiB; the store believes at once that there is room again."""
    monkeypatch.setattr(reserve, "PAUSE_S", 0.0)
    with mounted(tmp_path / "small", "32m") as place:
        plan = street(1, 1)
        plan.store = "[store]\nreserve_mib = 8\n"
        site = Site(place, plan)
        monkeypatch.setattr("gateway.bootstrap.lines.transport_of", site.transport)
        yield site


async def health(gateway: Gateway) -> tuple[int, dict[str, list[str]]]:
    async with httpx2.AsyncClient(timeout=60) as client:
        answer = await client.get(f"{gateway.listener.url}/healthz")
    return answer.status_code, answer.json()


def told(gateway: Gateway) -> bool:
    return gateway.store.read_now(lambda tx: tx.finding(FindingKind.DISK_LOW, "gateway")) is not None


async def test_a_gateway_on_a_full_disk_takes_no_money_and_starts_again(site: Site) -> None:
    async with site.running() as gateway:
        await site.all_read()
        assert (await health(gateway))[0] == 200 and gateway.site().disk_ok and not told(gateway)
        ballast = fill_up(site.folder)
        await site.until(lambda: told(gateway), "the full disk is seen and told")
        await _says_so(gateway)
    async with site.running() as gateway:
        await site.until(lambda: gateway.store.low is not None, "the full disk is seen by the next start too")
        await _says_so(gateway)
        ballast.unlink()
        await site.until(lambda: gateway.store.low is None and not told(gateway), "there is room again")
        status, said = await health(gateway)
        assert status == 200 and not said.get("reasons") and gateway.site().disk_ok
        assert (site.folder / "data" / reserve.RESERVE).stat().st_size == 8 * MIB
        await gateway.write(lambda tx: tx.set_meta("money", "1"))


async def _says_so(gateway: Gateway) -> None:
    status, said = await health(gateway)
    assert status == 503 and not gateway.site().disk_ok
    assert any("no money is taken: the disk" in reason for reason in said["reasons"])
    assert any("no cut (F6)" in hold for hold in said["holds"])
    day = date(2026, 11, 21)
    payment = TopUp(PaymentIdentity("b", "i", "", "s"), "a", 1, "CNY", datetime(2026, 11, 21, tzinfo=UTC), day, day)
    with pytest.raises(DiskLow):
        await asyncio.wait_for(gateway.topup(payment), 60)
