"""The shipped broker configuration with real certificates: who may do what, and certificates that change while all runs."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.adapters import mqtt_session
from gateway.adapters.certificates import days_left, problems
from gateway.adapters.mqtt_session import Broker, MqttSession, NotTaken, Tls
from tests.system.processes import until
from tests.system.shipped_broker import Authority, Shipped, stranger

WITHIN_S = 180  # some seconds; on a machine with other work, far more
RESTS_S = 0.5  # behind a second attempt, which takes some ms, it pauses for 2 s
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


@pytest.fixture
def broker(tmp_path: Path, mosquitto: str, authority: Authority) -> Iterator[Shipped]:
    made = Shipped(tmp_path / "broker", mosquitto, authority)
    made.start()
    try:
        yield made
    finally:
        made.kill()


@contextlib.asynccontextmanager
async def session(
    broker: Broker, name: str, *filters: str, lasting: bool = False
) -> AsyncIterator[tuple[MqttSession, asyncio.Queue[tuple[str, bytes]]]]:
    """A connected session, and what comes to it."""
    heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def hear(topic: str, payload: bytes, retained: bool) -> None:
        heard.put_nowait((topic, payload))

    made = MqttSession(broker, name, filters=filters, on_message=hear, rng=random.Random(1), lasting=lasting)
    running = asyncio.create_task(made.run())
    try:
        await asyncio.wait_for(made.connected.wait(), WITHIN_S)
        yield made, heard
    finally:
        running.cancel()
        await asyncio.wait((running,))


async def test_a_gateway_has_its_own_topics_and_no_others(tmp_path: Path, broker: Shipped, authority: Authority) -> None:
    a, b, c = (broker.address(authority.issue(tmp_path / name, name)) for name in ("A", "B", "centre"))
    ups = "wattgate/v1/+/up/#"
    async with (
        session(c, "centre", ups) as (centre, at_centre),
        session(b, "b", "wattgate/v1/B/down/#") as (neighbour, at_b),
        session(a, "a", "wattgate/v1/B/down/#", "wattgate/v1/B/up/#", "#") as (gateway, at_a),
    ):
        await gateway.publish("wattgate/v1/A/up/reading/m1", b"mine")
        for topic in ("wattgate/v1/B/up/reading/m1", "wattgate/v1/B/status", "wattgate/v1/A/down/command", "elsewhere"):
            with pytest.raises(NotTaken, match=r"does not allow us in; .* \(reason code 135\)"):
                await gateway.publish(topic, b"foreign")
        with pytest.raises(NotTaken):
            await centre.publish("wattgate/v1/A/up/reading/m1", b"invented")
        await neighbour.publish("wattgate/v1/B/up/reading/m1", b"of B")
        await centre.publish("wattgate/v1/B/down/command", b"for B")
        await centre.publish("wattgate/v1/A/down/ack", b"for A")
        assert await asyncio.wait_for(at_centre.get(), WITHIN_S) == ("wattgate/v1/A/up/reading/m1", b"mine")
        assert await asyncio.wait_for(at_centre.get(), WITHIN_S) == ("wattgate/v1/B/up/reading/m1", b"of B")
        assert await asyncio.wait_for(at_b.get(), WITHIN_S) == ("wattgate/v1/B/down/command", b"for B")
        assert await asyncio.wait_for(at_a.get(), WITHIN_S) == ("wattgate/v1/A/down/ack", b"for A"), "whatever it subscribed to"
        assert at_centre.empty() and at_a.empty() and at_b.empty()


async def test_nobody_comes_in_without_a_certificate_of_the_authority(
    tmp_path: Path, broker: Shipped, authority: Authority
) -> None:
    foreign = Authority.new("somebody else").issue(tmp_path / "foreign", "A")
    assert foreign.ca is not None
    foreign.ca.write_bytes(authority.pem())
    expired = authority.issue(tmp_path / "expired", "A", days=-1)
    with pytest.raises(OSError), stranger(broker.port, foreign.ca) as wire:
        wire.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
        if not wire.recv(1):
            raise ConnectionResetError
    for tls, says in (
        (foreign, "it does not know the authority that issued our certificate"),
        (expired, "it says that our certificate has ended"),
        (Tls(foreign.ca), "it wants to see a certificate, and we have none"),
        (None, "it hung up without an answer; do TLS and the port agree?"),
    ):
        made = MqttSession(Broker(port=broker.port, tls=tls), "A", filters=(), rng=random.Random(1))
        with capture_logs() as logs:
            running = asyncio.create_task(made.run())
            await until(lambda: bool(logs) and made.attempts >= 2, "it has tried again", WITHIN_S)  # noqa: B023
            await asyncio.sleep(RESTS_S)
            assert made.connections == 0
            running.cancel()
            await asyncio.wait((running,))
        assert [log["event"] for log in logs] == [f"the MQTT broker {made._broker} is gone ({says}); trying again until it is back"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    (
        ("foreign", "its certificate is not to be trusted: unable to get local issuer certificate"),
        ("ended", "its certificate is not to be trusted: certificate has expired"),
        ("another", "its certificate is not to be trusted: Hostname mismatch"),
    ),
)
async def test_a_broker_that_is_not_the_one_it_should_be_hears_nothing(
    tmp_path: Path, mosquitto: str, authority: Authority, wrong: str, says: str
) -> None:
    """Neither its messages nor its certificate tell it who we are: the way ends before we have said a word."""
    issuer = Authority.new("somebody else") if wrong == "foreign" else authority
    broker = Shipped(tmp_path / "broker", mosquitto, authority)
    issuer.issue(broker.folder, "broker", days=-1 if wrong == "ended" else 90)
    (broker.folder / "ca.crt").write_bytes(authority.pem())
    broker.start()
    own = replace(broker.address(authority.issue(tmp_path / "A", "A")), host="127.1" if wrong == "another" else "localhost")
    made = MqttSession(own, "A", filters=(), rng=random.Random(1))
    try:
        with capture_logs() as logs:
            running = asyncio.create_task(made.run())
            await until(lambda: made.attempts >= 2, "it has tried again", WITHIN_S)
            await asyncio.sleep(RESTS_S)
            running.cancel()
            await asyncio.wait((running,))
    finally:
        broker.kill()
    assert made.connections == 0
    [told] = [str(log["event"]) for log in logs]
    assert says in told and told.endswith("trying again until it is back")
    assert "New client connected" not in broker.said()


async def test_a_renewed_certificate_is_taken_over_and_a_broken_one_is_not(
    tmp_path: Path, broker: Shipped, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The common name changes here, so that the broker's own list shows which certificate it sees."""
    monkeypatch.setattr(mqtt_session, "FILES_S", 0.1)
    monkeypatch.setattr(mqtt_session, "FIRST_PAUSE_S", 0.1)
    tls = authority.issue(tmp_path / "own", "A", file="own")
    assert tls.key is not None and tls.cert is not None
    good = tls.key.read_bytes()
    with capture_logs() as logs:
        async with session(broker.address(tls), "a") as (gateway, _):
            await gateway.publish("wattgate/v1/A/status", b"x")
            other = authority.issue(tmp_path / "other", "B")
            assert other.key is not None and other.cert is not None
            shutil.copy(other.cert, tls.cert)  # half of a renewal
            await until(lambda: any("cannot be used" in str(log["event"]) for log in logs), "it has seen that", WITHIN_S)
            assert gateway.connections == 1
            await gateway.publish("wattgate/v1/A/status", b"x")
            shutil.copy(other.key, tls.key)
            await until(lambda: gateway.connections == 2 and gateway.connected.is_set(), "it is there with the new one", WITHIN_S)
            await gateway.publish("wattgate/v1/B/status", b"x")
            with pytest.raises(NotTaken):
                await gateway.publish("wattgate/v1/A/status", b"x")
    told = [str(log["event"]) for log in logs]
    assert sum("cannot be used, the connection stays" in text for text in told) == 1
    assert sum("the certificate was renewed" in text for text in told) == 1
    assert not any("is gone" in text for text in told), "a renewal is no failure"
    assert good != tls.key.read_bytes()


@pytest.mark.parametrize("protocol", (5, 4))
async def test_what_was_acknowledged_a_second_ago_outlives_the_broker(
    tmp_path: Path, broker: Shipped, authority: Authority, protocol: int
) -> None:
    count = 1500  # more than the 1,000 that a default broker keeps
    a, c = (broker.address(authority.issue(tmp_path / name, name), protocol) for name in ("A", "centre"))
    async with session(c, "centre", "wattgate/v1/+/up/#", lasting=True):
        pass
    async with session(a, "a") as (gateway, _):
        messages = (("wattgate/v1/A/up/reading/m1", b"%d" % n) for n in range(count))
        assert await gateway.publish_all(messages, count) == [None] * count
        before = broker.saved()
        await gateway.publish("wattgate/v1/A/up/reading/m1", b"%d" % count)
        await until(lambda: broker.saved() != before, "the broker has saved them", WITHIN_S)
    broker.kill()
    broker.start()
    async with session(c, "centre", "wattgate/v1/+/up/#", lasting=True) as (_, heard):
        numbers = {int((await asyncio.wait_for(heard.get(), WITHIN_S))[1]) for _ in range(count)}
    assert numbers == set(range(count)), "in their order"


def test_what_is_wrong_with_certificates_is_told_before_the_start(tmp_path: Path, authority: Authority) -> None:
    now_ms = time.time_ns() // 1_000_000
    tls = authority.issue(tmp_path / "A", "A", days=20)
    assert tls.key is not None and tls.cert is not None and tls.ca is not None
    assert problems(tls, "A", now_ms) == []
    assert days_left(tls, now_ms) == {"gateway": 19, "ca": 3649}
    [name] = problems(tls, "B", now_ms)
    assert name.endswith("is of 'A', but this gateway is 'B'")
    [ended] = problems(tls, "A", now_ms + 21 * DAY_MS)
    assert "has ended" in ended
    assert days_left(tls, now_ms + 21 * DAY_MS)["gateway"] == -2
    [early] = problems(tls, "A", now_ms - 2 * DAY_MS)[:1]
    assert "is not good yet" in early
    tls.key.chmod(0o640)
    [open_key] = problems(tls, "A", now_ms)
    assert open_key.endswith("may be read by others; chmod 600 it")
    tls.key.chmod(0o600)
    authority.issue(tmp_path / "other", "A")
    shutil.copy(tmp_path / "other" / "A.key", tls.key)
    assert any("cannot be used" in text for text in problems(tls, "A", now_ms))
    tls.cert.write_text("nothing")
    assert any("holds no certificate" in text for text in problems(tls, "A", now_ms))
    tls.cert.unlink()
    [gone] = problems(tls, "A", now_ms)
    assert "cannot be read: No such file" in gone
