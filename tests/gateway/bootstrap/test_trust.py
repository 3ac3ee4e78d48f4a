"""A gateway tells its rules of its clock and of the ways to pay, and people why a cut is held."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from gateway.adapters import clock
from gateway.bootstrap.archive import site_of as site_from
from gateway.domain.paths import PathKind
from gateway.settings import Settings, SettingsError, load
from tests.gateway.bootstrap.site import Site

BANK = "[bank]\nheartbeat = true\n"


def settings(folder: Path, text: str) -> Settings:
    file = folder / "gateway.toml"
    file.write_text('[gateway]\nid = "G1"\n' + text)
    return load(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[clock]\nsource = "ntp"\nsources = ["rtc"]\n', "name either source or sources"),
        ("[clock]\nsources = []\n", "clock.sources"),
        ('[clock]\nsources = ["gps"]\n', "clock.sources[0]"),
        ("[clock]\nrtc_set = 2026-11-21T10:00:00\n", "clock.rtc_set"),
        ('[bank]\nenabled = false\npaths = ["bank"]\n', "names the bank, whose listener is not enabled"),
        ('[bank]\npaths = ["counter"]\n', "counter_hours together"),
        ('[bank]\ncounter_hours = ["Mon-Fri 08:30-17:00"]\n', "counter_hours together"),
        ('[bank]\npaths = ["counter"]\ncounter_hours = ["mornings"]\n', "hours look like Mon-Fri 08:30-17:00, not mornings"),
        ("[bank]\nheartbeat_limit_s = 5\n", "bank.heartbeat_limit_s"),
    ],
)
def test_what_cannot_be_declared_is_said_with_its_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        settings(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "synchronised", "trusted"),
    [
        ("", True, True),
        ("", False, False),
        ('[clock]\nsource = "vouched"\n', False, True),
        ('[clock]\nsources = ["uplink", "ntp"]\n', True, True),
        ('[clock]\nsources = ["uplink", "meters"]\n', True, False),
    ],
)
def test_the_site_trusts_its_clock_as_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, synchronised: bool, trusted: bool
) -> None:
    monkeypatch.setattr("gateway.bootstrap.trust.kernel_synchronised", lambda: synchronised)
    site = site_from(settings(tmp_path, text))
    assert (site.clock_trusted, bool(site.clock_why)) == (trusted, not trusted)
    assert site.ask_clocks is ("meters" in text)


def test_a_hardware_clock_that_was_declared_right_carries_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.time()
    monkeypatch.setattr("gateway.bootstrap.trust.hardware_clock_ms", lambda: int(now_s) * 1000)
    declared = '[clock]\nsources = ["rtc"]\nrtc_set = {}\n'
    yesterday, long_ago = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s - days * 86_400)) for days in (1, 90))
    assert site_from(settings(tmp_path, declared.format(yesterday))).clock_trusted
    stale = site_from(settings(tmp_path, declared.format(long_ago)))
    assert not stale.clock_trusted and "nobody has compared the hardware clock for 90 days" in stale.clock_why


@pytest.mark.parametrize(
    ("text", "alive", "why"),
    [
        ("", True, ""),
        ("[bank]\nenabled = false\n", False, "no way to pay is configured"),
        (BANK, False, "bank: it was never heard"),
        ('[bank]\npaths = ["centre"]\n', False, "centre: it was never heard"),
        ('[bank]\nenabled = false\npaths = ["counter"]\ncounter_hours = ["Mon-Sun 00:00-24:00"]\n', True, ""),
    ],
)
def test_the_site_says_whether_anything_can_be_paid_in(tmp_path: Path, text: str, alive: bool, why: str) -> None:
    site = site_from(settings(tmp_path, text))
    assert (site.path_alive, site.path_why) == (alive, why)


def test_the_machines_own_clocks_are_told(tmp_path: Path) -> None:
    before = clock.steady_ms()
    site = site_from(settings(tmp_path, ""))
    assert before is not None and site.steady_ms is not None and 0 <= site.steady_ms - before < 5_000
    assert len(site.boot) == 36 and site.boot == clock.boot_id()


def test_what_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    assert (clock.hardware_clock_ms(tmp_path / "none"), clock.boot_id(tmp_path / "none")) == (None, "")
    (tmp_path / "since_epoch").write_text("1795568400\n")
    assert clock.hardware_clock_ms(tmp_path / "since_epoch") == 1_795_568_400_000
    (tmp_path / "since_epoch").write_text("\n")
    assert clock.hardware_clock_ms(tmp_path / "since_epoch") is None


async def test_health_says_why_cuts_are_held_and_any_call_of_a_bank_is_its_heartbeat(
    site_of: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.bootstrap.trust.kernel_synchronised", lambda: False)
    site = site_of(1, 1)
    site.plan.tail = BANK
    async with site.running() as gateway:
        async with httpx2.AsyncClient(base_url=gateway.listener.url, trust_env=False, timeout=60) as http:
            holds = (await http.get("/healthz")).json()["holds"]
            assert "the clock is not trusted: no cut (F3): ntp: the kernel says that no time server keeps the clock" in holds
            assert "no way to top up is alive: no cut for debt (F2): bank: it was never heard" in holds
            assert (await http.get("/bank/v1/accounts/nobody")).status_code == 404
            gateway._site = None
            assert not any("F2" in hold for hold in (await http.get("/healthz")).json()["holds"])
        first, second = gateway.site(), gateway.site()
        assert first.path_alive and first.steady_ms is not None and second.steady_ms is not None
        assert first.steady_ms <= second.steady_ms, "fresh at every question, though the rest is kept for a second"
        gateway.settings = replace_bank(gateway.settings)
        assert not gateway.site().path_alive, "a configuration that is taken over holds at once"
        assert PathKind.BANK in gateway.trust.heard


def replace_bank(settings: Settings) -> Settings:
    return settings.model_copy(update={"bank": settings.bank.model_copy(update={"paths": ["centre"]})})
