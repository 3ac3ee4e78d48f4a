"""A running gateway takes [[output]] tables over by difference, with a real broker and somebody there who sees everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from gateway.adapters.http.metrics import exposition
from gateway.adapters.http.reload import Changes, Parts
from tests.gateway.bootstrap.conftest import MakeSite
from tests.gateway.bootstrap.site import Site
from tests.gateway.brokers import Mosquitto, running
from tests.gateway.output_ends import Watcher, watching
from tests.gateway.sparkplug_host import Host
from tests.system.shipped_broker import Authority

HA = "wattgate/homeassistant/G1"
CONFIG = "homeassistant/device/wattgate_G1"
METERS = ("m0-0", "m0-1")


@pytest.fixture
async def broker(tmp_path: Path, mosquitto: str) -> AsyncIterator[Mosquitto]:
    async with running(inside := Mosquitto(tmp_path / "broker", mosquitto)):
        yield inside


def table(broker: Mosquitto, kind: str, more: str = "") -> str:
    return f'[[output]]\nkind = "{kind}"\nhost = "127.0.0.1"\nport = {broker.port}\n{more}\n'


def fill(site: Site, *tables: str) -> None:
    site.plan.scheme = site.plan.scheme.partition("[[output]]")[0] + "".join(tables)
    site.write()


def host(watcher: Watcher) -> Host:
    heard = Host().hear(*watcher.seen)
    assert heard.breaches == []
    return heard


def announced(watcher: Watcher, prefix: str = "homeassistant") -> set[str]:
    seen = watcher.on(f"{prefix}/device/wattgate_G1/+/config")
    return {each.topic.split("/")[3 + prefix.count("/")] for each in seen if each.payload}


def connections(site: Site) -> dict[str, int]:
    return {name: each.profile.connections for name, each in site.gateway.outputs._running.items()}


async def test_pain_32_an_output_that_comes_goes_or_is_another_touches_no_other(site_of: MakeSite, broker: Mosquitto) -> None:
    site = site_of(1, 2)
    ha, spark, tb = table(broker, "homeassistant"), table(broker, "sparkplug"), table(broker, "thingsboard")
    fill(site, ha, spark)
    async with watching(broker.address) as watcher, site.running() as gateway:
        await site.all_read()
        await watcher.until(lambda: {*METERS} <= {*host(watcher).devices}, "births")
        await watcher.until(lambda: announced(watcher) == {*METERS}, "discovery")
        loops = dict(gateway.crew.loops)
        fill(site, ha, tb)
        assert await gateway.reload() == Changes(outputs=Parts(added=("thingsboard",), removed=("sparkplug",)))
        await watcher.until(lambda: not host(watcher).alive, "its death")
        assert host(watcher).kinds.count("DDEATH") == 2, "each device dies before its node"
        await watcher.until(lambda: len(watcher.on("v1/gateway/connect")) == 2, "the new one connects its devices")
        assert connections(site) == {"homeassistant": 1, "thingsboard": 1}
        assert not [seen for seen in watcher.on(f"{HA}/#") if seen.payload in (b"", b"offline")], "nobody else notices"
        before = len(watcher.seen)
        fill(site, tb)
        assert await gateway.reload() == Changes(outputs=Parts(removed=("homeassistant",)))
        await watcher.until(
            lambda: watcher.on(f"{HA}/status")[-1].payload == b"offline", "it says that it is away"
        )  # the last word
        gone = {seen.topic for seen in watcher.seen[before:] if not seen.payload}
        assert gone >= {f"{CONFIG}/{meter}/config" for meter in METERS} | {f"{HA}/{meter}/state" for meter in METERS}
        assert {**gateway.crew.loops} == loops and connections(site) == {"thingsboard": 1}
        fill(site)
        assert await gateway.reload() == Changes(outputs=Parts(removed=("thingsboard",)))
        await watcher.until(lambda: len(watcher.on("v1/gateway/disconnect")) == 2, "the devices are disconnected")
        assert connections(site) == {} and await gateway.reload() == Changes()
        fill(site, spark)
        assert await gateway.reload() == Changes(outputs=Parts(added=("sparkplug",)))
        await watcher.until(lambda: {*METERS} <= {*host(watcher).devices}, "births")
        assert host(watcher).bd_seq == 1, "it goes on where it was"


async def test_another_password_or_command_right_takes_nothing_away(site_of: MakeSite, broker: Mosquitto) -> None:
    site = site_of(1, 2)
    secret = site.folder / "ha.password"
    secret.write_text("one")
    secret.chmod(0o600)
    with_secret = 'username = "u"\npassword_file = "ha.password"\n'
    fill(site, table(broker, "homeassistant", with_secret))
    async with watching(broker.address) as watcher, site.running() as gateway:
        await watcher.until(lambda: announced(watcher) == {*METERS}, "discovery")
        secret.write_text("two")
        assert await gateway.reload() == Changes(outputs=Parts(changed=("homeassistant",)))
        assert gateway.outputs._running["homeassistant"].made.where.password == "two"
        await watcher.until(lambda: [s.payload for s in watcher.on(f"{HA}/status")] == [b"online", b"offline", b"online"], "again")
        fill(site, table(broker, "homeassistant", with_secret + "commands = true\n"))
        assert await gateway.reload() == Changes(outputs=Parts(changed=("homeassistant",)))
        await watcher.until(lambda: b"command_topic" in watcher.on(f"{CONFIG}/m0-0/config")[-1].payload, "the switch")
        assert not [seen for seen in watcher.seen if not seen.payload], "Home Assistant forgets nothing of what it knows"
        fill(site, table(broker, "homeassistant", 'discovery_prefix = "ha"\n'))
        assert await gateway.reload() == Changes(outputs=Parts(changed=("homeassistant",)))
        await watcher.until(lambda: announced(watcher, "ha") == {*METERS}, "elsewhere")
        await watcher.until(lambda: any(not seen.payload for seen in watcher.on(f"{CONFIG}/m0-0/config")), "the old place is empty")


async def test_an_output_whose_broker_is_away_goes_all_the_same(site_of: MakeSite, broker: Mosquitto) -> None:
    site = site_of(1, 2)
    fill(site, table(broker, "homeassistant"), '[[output]]\nkind = "sparkplug"\nhost = "127.0.0.1"\nport = 1\n')
    async with site.running() as gateway:
        fill(site, table(broker, "homeassistant"))
        async with asyncio.timeout(100):
            assert await gateway.reload() == Changes(outputs=Parts(removed=("sparkplug",)))


async def test_certificates_of_outputs_count_down_with_the_others(site_of: MakeSite, tmp_path: Path) -> None:
    site = site_of(1, 1)
    Authority.new().issue(site.folder, "own", days=12)
    files = 'tls = true\nca = "ca.crt"\ncert = "own.crt"\nkey = "own.key"\n'
    fill(site, f'[[output]]\nkind = "thingsboard"\nid = "tb"\nhost = "127.0.0.1"\nport = 1\n{files}')
    async with site.running() as gateway:
        await site.until(lambda: bool(gateway.vitals.certificates()), "it runs")
        left = gateway.vitals.certificates()
        assert left["output:tb"] == 11 and left["output:tb:ca"] > 3000
        assert 'wattgate_certificate_days_left{certificate="output:tb"} 11.0' in exposition(gateway.vitals, None).decode()
        fill(site)
        await gateway.reload()
        assert gateway.vitals.certificates() == {}


async def test_what_metrics_and_the_page_tell_of_outputs(site_of: MakeSite, broker: Mosquitto) -> None:
    site = site_of(1, 2)
    away = '[[output]]\nkind = "sparkplug"\nhost = "127.0.0.1"\nport = 1\n'
    fill(site, table(broker, "homeassistant"), away)
    async with watching(broker.address) as watcher, site.running() as gateway:
        await site.all_read()
        await watcher.first(f"{HA}/m0-1/availability")
        await watcher.say(f"{HA}/m0-0/relay/set", b"OFF")
        await watcher.say(f"{HA}/m0-0/relay/set", b"perhaps")
        token = (site.folder / "data" / "operator.token").read_text().strip()
        bearer = {"authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(base_url=gateway.listener.url, timeout=60, headers=bearer) as client:
            text = ""

            async def shown(line: str) -> None:
                nonlocal text
                async with asyncio.timeout(100):
                    while line not in text:
                        text = (await client.get("/metrics")).text
                        await asyncio.sleep(0.05)

            await shown('wattgate_output_orders_refused_total{output="homeassistant",reason="unreadable"} 1.0')
            await shown('wattgate_output_orders_refused_total{output="homeassistant",reason="not_served"} 1.0')
            for line in (
                'wattgate_output_connected{output="homeassistant"} 1.0',
                'wattgate_output_connected{output="sparkplug"} 0.0',
                'wattgate_output_dropped_total{output="homeassistant"} 0.0',
                'wattgate_output_orders_refused_total{output="sparkplug",reason="too_many"} 0.0',
            ):
                await shown(line)
            assert 'wattgate_output_told_age_seconds{output="homeassistant"}' in text
            assert 'wattgate_output_told_age_seconds{output="sparkplug"}' not in text
            (ha, spark) = (await client.get("/api/v1/outputs")).json()
            assert (ha["output"], ha["connected"], ha["address"]) == ("homeassistant", True, f"127.0.0.1:{broker.port}")
            assert (spark["connected"], spark["told_at"], spark["address"]) == (False, None, "127.0.0.1:1")
            assert spark["waiting"] > 0, "what it misses now is told later"
