"""Notices of a real gateway: at least once, with one number, whenever it is killed; and nothing waits for a provider."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.gateway.adapters.notices.providers import HttpProvider, http_provider
from tests.system.processes import Process, free_port, until
from tests.system.stand import ANSWERS_S

GIVES_UP_S = 180
HANGS_S = 120
"""How long the gateway waits for the provider where that hangs: who waited for it too would be seen, however slow the machine."""

PAYS_S, STOPS_S = 2, 5
"""What is promised, and looked at in a proof."""


class Site:
    """A gateway without lines, with one account that a small top-up leaves low on credit."""

    def __init__(self, folder: Path, url: str, timeout_s: int = 20) -> None:
        self.port = free_port()
        self.config, secret = folder / "gateway.toml", folder / "sms.url"
        secret.write_text(url)
        secret.chmod(0o600)
        self.config.write_text(
            f'[gateway]\nid = "G1"\n[store]\nreserve_mib = 8\n[http]\nlisten = "127.0.0.1:{self.port}"\nopen_get = true\n'
            '[[tariff]]\nid = "flat"\ncurrency = "CNY"\nkind = "flat"\nprice = "0.617"\n'
            '[[notice_channel]]\nid = "sms"\nurl_file = "sms.url"\n'
            f"timeout_s = {timeout_s}\n"
            '[[account]]\nid = "A-1"\ncurrency = "CNY"\ntariff = "flat"\nagreement = "yes"\nopening = "1.00"\n'
            'contacts = [{channel = "sms", to = "+8613800138000"}]\n[account.policy]\nlow = "5.00"\n'
            '[[account.policy.steps]]\nname = "low"\nat = "low"\nchannels = ["sms"]\n'
        )
        self.gateway = Process("gateway", "gateway", "run", "-c", self.config, "--ready", folder=folder)

    async def pay(self, serial: str, amount: str = "0.01") -> float:
        """Seconds that a top-up takes."""
        body = {"serial": serial, "account": "A-1", "amount": amount, "currency": "CNY"}
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S+08:00", time.gmtime(now + 8 * 3600))
        body |= {"paid_at": stamp, "accounting_date": stamp[:10]}
        began = time.monotonic()
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=ANSWERS_S, trust_env=False) as api:
            answer = await api.post("/bank/v1/topups", json=body)
        assert answer.status_code in (200, 201), answer.text
        return time.monotonic() - began

    async def get(self, path: str) -> Any:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=ANSWERS_S, trust_env=False) as api:
            return (await api.get(path)).json()

    async def verb(self, *words: str) -> tuple[int, str, str]:
        """`wattgate notices ...`: exit code, stdout and stderr."""
        verb = Process(f"notices-{words[0]}", "gateway", "notices", *words, "-c", self.config, folder=self.config.parent)
        verb.log.unlink(missing_ok=True)
        await verb.spawn()
        out = await verb.out()
        return await verb.ended(), out, verb.said()

    async def states(self) -> list[tuple[str, str]]:
        return [(notice["channel"], notice["state"]) for notice in await self.get("/api/v1/notices")]


@pytest.fixture
def http() -> Iterator[HttpProvider]:
    with http_provider() as provider:
        yield provider


async def test_a_gateway_killed_between_accept_and_record_sends_it_again_under_the_same_number(
    tmp_path: Path, http: HttpProvider, proof_scale: int
) -> None:
    site = Site(tmp_path, http.url)
    http.hold.clear()
    await site.gateway.start()
    killer = threading.Thread(target=_kill_when_asked, args=(http, site.gateway.pid))
    killer.start()
    with contextlib.suppress(httpx2.TransportError):
        await site.pay("T-1")
    await site.gateway.ended()
    killer.join()
    assert len(http.got) == 1, "the provider has it, the gateway does not know"
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "wattgate.db")) as store, store:
        assert list(store.execute("SELECT state, tries FROM notice")) == [("queued", 1)]
        if proof_scale == 1:  # the pause after a try is over
            store.execute("UPDATE notice SET next_ms = 0")
    await site.gateway.start()
    try:
        await until(lambda: len(http.got) >= 2, "the notice is sent again", GIVES_UP_S)
        await until(_in_state(site, "accepted"), "it is recorded", GIVES_UP_S)
        assert {str(body["notice"]) for body, _ in http.got} == {"1"}, "one number: the customer sees that it is one notice"
        log = site.gateway.said()
        assert "13800138000" not in log and "/sms/" not in log
    finally:
        await site.gateway.end()


async def test_a_provider_that_hangs_delays_no_payment_and_no_stop(tmp_path: Path, http: HttpProvider, proof_scale: int) -> None:
    site = Site(tmp_path, f"{http.url}&rto={2 * HANGS_S}", HANGS_S)
    http.hold.clear()
    await site.gateway.start()
    try:
        await site.pay("T-1")
        await until(lambda: bool(http.got), "the provider is asked", GIVES_UP_S)
        assert max([await site.pay(f"T-{n}") for n in range(2, 30)]) < (HANGS_S / 2 if proof_scale == 1 else PAYS_S)
        began = time.monotonic()
        assert await site.gateway.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < (HANGS_S / 2 if proof_scale == 1 else STOPS_S)
    finally:
        await site.gateway.kill()


async def test_a_person_at_the_console_sees_what_failed_and_confirms_it(tmp_path: Path, http: HttpProvider) -> None:
    site = Site(tmp_path, http.url)
    http.statuses = [404]
    await site.gateway.start()
    try:
        await site.pay("T-1")
        await until(lambda: bool(http.got), "the provider is asked", GIVES_UP_S)
        await until(_in_state(site, "failed"), "its refusal is recorded", GIVES_UP_S)
        code, out, said = await site.verb("failed")
        assert code == 1 and "the provider refuses it: 404" in out and "bad contact: account A-1, sms +861******8000" in out
        assert "1 notices reached nobody, 1 contacts are bad" in said
        code, out, said = await site.verb("confirm", "--account", "A-1", "--step", "low", "--channel", "call", "--note", "Mr Li")
        assert (code, "confirmed by" in out) == (0, True), said
        assert "notices_failing" not in {finding["kind"] for finding in await site.get("/api/v1/findings")}
        code, out, _ = await site.verb("list", "--account", "A-1")
        assert code == 0 and "call" in out and "Mr Li" in out and "+8613800138000" not in out
        code, _, said = await site.verb("confirm", "1")
        assert code == 1 and "notice 1 is not one that a person delivers" in said
        http.statuses = [200]
        assert await site.verb("test", "sms", "+8613900139000") == (0, "sms accepted it for +861******9000\n", "")
        code, _, said = await site.verb("test", "mail", "li@example.cn")
        assert code == 1 and "there is no notice_channel mail; there are sms" in said
    finally:
        await site.gateway.end()


def _kill_when_asked(http: HttpProvider, pid: int) -> None:
    """The provider has the notice; before it can answer, the gateway is dead."""
    deadline = time.monotonic() + GIVES_UP_S
    while not http.got and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    os.kill(pid, signal.SIGKILL)
    http.hold.set()


def _in_state(site: Site, state: str) -> Any:
    async def look() -> bool:
        return await site.states() == [("sms", state)]

    return look
