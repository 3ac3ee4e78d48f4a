"""A whole gateway with a partner behind mutual TLS: paid over its line, its certificate looked after, and all of it in /metrics."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from gateway.bootstrap.examine import examine
from gateway.bootstrap.process import Gateway
from gateway.settings import load
from protocols.bank.iso8583 import Codec, Deframer, Message, frame
from tests.gateway.bootstrap.certificates import authority, vouched
from tests.gateway.bootstrap.conftest import MakeSite
from tests.gateway.bootstrap.site import Site
from tests.protocols.bank.tables import KEY, shipped

CODEC = Codec(shipped())
ENTRY = (
    '[[bank.iso8583]]\npartner = "icbc"\nlisten = "127.0.0.1:0"\nkey_file = "mac.key"\nzone_key_file = "zone.key"\n'
    'certificate = "gateway.pem"\nkey = "gateway.key"\nclient_ca = "ca.pem"\nclient_certificate = "icbc.example"\n'
)


@pytest.fixture
def site(site_of: MakeSite) -> Site:
    site = site_of(1, 1)
    site.plan.accounts = {"m0-0": "A"}
    site.plan.tail += "[bank]\n" + ENTRY
    ca = authority(site.folder)
    for name in ("gateway", "icbc"):
        vouched(site.folder, name, ca)
    for name in ("mac.key", "zone.key"):
        (site.folder / name).write_text(KEY.hex())
        (site.folder / name).chmod(0o600)
    site.write()
    return site


class Caller:
    """The partner's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, message: Message, key: bytes = KEY) -> str:
        self._writer.write(frame(CODEC.dialect, CODEC.encode(message, key)))
        frames, found = Deframer(CODEC.dialect), list[bytes]()
        async with asyncio.timeout(60):
            while not found:
                found = frames.feed(await self._reader.read(4096))
        return CODEC.decode(found[0]).message.get(39)


@contextlib.asynccontextmanager
async def calling(gateway: Gateway, folder: Path) -> AsyncIterator[Caller]:
    tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    tls.load_cert_chain(folder / "icbc.pem", folder / "icbc.key")
    [listener] = gateway.iso8583
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=tls)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()


def told(trace: int, **more: str) -> dict[int, str]:
    now = datetime.now(UTC) + timedelta(hours=8)
    return {7: f"{now:%m%d%H%M%S}", 11: f"{trace:06d}", 32: "1234567"} | {int(name[1:]): text for name, text in more.items()}


async def metrics(gateway: Gateway) -> set[str]:
    token = (gateway.data / gateway.settings.http.token_file).read_text().strip()
    async with httpx2.AsyncClient(trust_env=False, timeout=60, headers={"authorization": f"Bearer {token}"}) as client:
        text = (await client.get(gateway.listener.url + "/metrics")).text
    return {line for line in text.splitlines() if "iso8583" in line and not line.startswith("#")}


async def test_a_partner_s_line_is_secured_and_counted(site: Site) -> None:
    async with site.running() as gateway:
        before = await metrics(gateway)
        assert 'wattgate_iso8583_turned_away_total{partner="icbc",reason="stranger"} 0.0' in before
        assert not any("echo_age" in line for line in before)
        async with calling(gateway, site.folder) as bank:
            assert await bank.ask(Message("0800", told(1, f70="301"))) == "00"
            payment = Message("0200", told(2, f3="500000", f4="000000001000", f48="ACCT=A", f49="156"))
            assert await bank.ask(payment) == await bank.ask(Message("0201", payment.fields)) == "00"
            assert await bank.ask(payment, bytes(16)) == "A0"
            assert await bank.ask(Message("0600", payment.fields)) == "12"
            found = await metrics(gateway)
        for line in (
            'messages_total{code="00",mti="0800",partner="icbc"} 1.0', 'messages_total{code="00",mti="0200",partner="icbc"} 1.0',
            'messages_total{code="00",mti="0201",partner="icbc"} 1.0', 'messages_total{code="A0",mti="0200",partner="icbc"} 1.0',
            'messages_total{code="12",mti="other",partner="icbc"} 1.0', 'bad_macs_total{partner="icbc"} 1.0',
            'sessions{partner="icbc"} 1.0', 'calls_total{partner="icbc"} 1.0', 'signed_on{partner="icbc"} 1.0',
        ):  # fmt: skip
            assert f"wattgate_iso8583_{line}" in found, found
        [age] = [line for line in found if line.startswith("wattgate_iso8583_echo_age_seconds{")]
        assert 0 <= float(age.rpartition(" ")[2]) < 60
        assert dict(gateway.vitals.certificates())["iso8583:icbc"] == 0, "ends within a day"


def spoilt(folder: Path, name: str) -> None:
    (folder / name).write_text("nothing")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gateway.pem", "gateway.pem holds no certificate in PEM"), ("gateway.key", "gateway.key cannot be used together"),
        ("ca.pem", "ca.pem holds no certificate in PEM"), ("zone.key", "zone.key: line 1: is no key in hex"),
    ],
)  # fmt: skip
def test_check_looks_at_the_files(site: Site, name: str, says: str) -> None:
    settings = load(site.file)
    assert examine(settings, site.folder).errors == []
    spoilt(site.folder, name)
    [error] = examine(settings, site.folder).errors
    assert error.startswith("bank.iso8583[0]: ") and says in error


def test_a_zone_key_of_another_length_is_said(site: Site) -> None:
    (site.folder / "zone.key").write_text("0011223344556677")
    [error] = examine(load(site.file), site.folder).errors
    assert error.endswith("zone.key: line 1: a zone's key for sm4-ecb has 16 bytes, not 8")


def test_a_certificate_that_has_ended_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, later_ms = load(site.file), int((datetime.now(UTC) + timedelta(days=3)).timestamp() * 1000)
    monkeypatch.setattr("gateway.bootstrap.examine.Clock.now_ms", lambda clock: later_ms)
    errors = examine(settings, site.folder).errors
    assert [error for error in errors if "gateway.pem has ended" in error] and len(errors) == 2, "ours, and who vouches"
