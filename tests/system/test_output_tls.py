"""Outputs over TLS, and the certificate renewed while all runs: what a Sparkplug host and Home Assistant see of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.adapters import mqtt_session
from gateway.adapters.mqtt_broker import Tls
from gateway.adapters.mqtt_session import Broker
from tests.gateway.adapters.test_output_homeassistant import output as home_assistant
from tests.gateway.adapters.test_output_sparkplug import born, host
from tests.gateway.adapters.test_output_sparkplug import output as sparkplug
from tests.gateway.brokers import MOSQUITTO, Mosquitto, free_port, running
from tests.gateway.output_ends import House, meter, watching
from tests.system.shipped_broker import Authority

SECURED = """
listener {port} 127.0.0.1
cafile {folder}/ca.crt
certfile {folder}/broker.crt
keyfile {folder}/broker.key
require_certificate true
use_identity_as_username true
"""


class Secured(Mosquitto):
    """Two doors: one with certificates for the output, a plain one for whoever watches."""

    def __init__(self, folder: Path, binary: str, authority: Authority, tls: Tls, protocol: int) -> None:
        self.secured = Broker(port=free_port(), protocol=protocol, tls=tls)
        text = MOSQUITTO + SECURED.format(port=self.secured.port, folder=folder)
        super().__init__(folder, binary, text + ("user root\n" if os.getuid() == 0 else ""))
        self.plain, self.address = self.address, self.secured
        authority.issue(folder, "broker")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


@pytest.fixture(params=[5, 4], ids=["MQTT 5", "MQTT 3.1.1"])
async def broker(
    request: pytest.FixtureRequest, tmp_path: Path, mosquitto: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Secured]:
    monkeypatch.setattr(mqtt_session, "FILES_S", 0.1)
    inside = Secured(tmp_path / "broker", mosquitto, authority, authority.issue(tmp_path / "own", "gw-1"), request.param)
    async with running(inside):
        yield inside


def renew(folder: Path, authority: Authority, tls: Tls) -> None:
    other = authority.issue(folder / "other", "gw-1")
    assert other.cert and other.key and tls.cert and tls.key
    shutil.copy(other.cert, tls.cert)
    shutil.copy(other.key, tls.key)


async def test_a_node_whose_certificate_is_renewed_dies_and_is_born_with_the_next_number(
    tmp_path: Path, broker: Secured, authority: Authority
) -> None:
    house = House(tmp_path, broker, meter("m1"), meter("m2"))
    async with watching(broker.plain) as watcher, house.showing(sparkplug(house)):
        heard = await born(watcher, "m1", "m2")
        assert (heard.births, heard.bd_seq, heard.alive) == (1, 0, True)
        assert broker.secured.tls is not None
        renew(tmp_path, authority, broker.secured.tls)
        await watcher.until(lambda: host(watcher).births == 2, "the next life")
        heard = await born(watcher, "m1", "m2")
        assert (heard.bd_seq, heard.deaths, heard.alive) == (1, 1, True)
        assert heard.kinds.index("NDEATH") < heard.kinds.index("NBIRTH", 1)
        with house.acting() as street:
            street.read("m1", power="4.5")
        await watcher.until(lambda: host(watcher).present["m1"].get("power") == 4.5, "it goes on")


async def test_home_assistant_sees_nothing_of_a_renewal(tmp_path: Path, broker: Secured, authority: Authority) -> None:
    """There it is back in a second, and nobody is told that it was away."""
    house = House(tmp_path, broker, meter("m1"))
    async with watching(broker.plain) as watcher, house.showing(home_assistant(house)) as shown:
        status = "wattgate/homeassistant/gw-1/status"
        await watcher.first("wattgate/homeassistant/gw-1/m1/availability")
        assert broker.secured.tls is not None
        renew(tmp_path, authority, broker.secured.tls)
        await watcher.until(lambda: len(watcher.on(status)) == 2 and shown.connections == 2, "connected again")
        assert {seen.payload for seen in watcher.on(status)} == {b"online"}
