"""The banks' own listener: its certificate is renewed under way, watched, and refused by `check` where it is no good."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx2
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.responses import Response

from gateway.adapters.http.server import Listener, ListenError
from gateway.adapters.http.tls import Tls
from gateway.bootstrap.examine import examine
from gateway.settings import load
from tests.gateway.bootstrap.certificates import authority, vouched
from tests.gateway.bootstrap.conftest import MakeSite
from tests.gateway.bootstrap.site import Site
from tests.gateway.bootstrap.test_banks import Bank, signed_site

TLS = 'listen = "127.0.0.1:0"\ncertificate = "gateway.pem"\nkey = "gateway.key"\n'


@pytest.fixture
def place(site_of: MakeSite) -> tuple[Site, Ed25519PrivateKey]:
    """A site whose banks have a listener of their own, and its authority."""
    site = signed_site(site_of, TLS)
    ca = authority(site.folder)
    vouched(site.folder, "gateway", ca)
    site.write()
    return site, ca


async def shown(port: int, ca: Path) -> int:
    """The serial number of the certificate that a new connection is shown."""
    tls = ssl.create_default_context(cafile=str(ca))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return x509.load_der_x509_certificate(found).serial_number


def serial(folder: Path) -> int:
    return x509.load_pem_x509_certificate((folder / "gateway.pem").read_bytes()).serial_number


async def test_a_renewed_certificate_is_shown_at_once_and_no_call_is_lost(place: tuple[Site, Ed25519PrivateKey]) -> None:
    site, ca = place
    async with site.running() as gateway:
        own = gateway.bank_listener
        assert own is not None
        trusted = ssl.create_default_context(cafile=str(site.folder / "ca.pem"))
        async with httpx2.AsyncClient(base_url=own.url, verify=trusted, trust_env=False, timeout=60) as before:
            assert (await before.get("/bank/v1/keys")).status_code == 200
            old = serial(site.folder)
            assert await shown(own.port, site.folder / "ca.pem") == old
            key = (site.folder / "gateway.key").read_bytes()
            vouched(site.folder, "gateway", ca, days=60)
            fresh = (site.folder / "gateway.key").read_bytes()
            (site.folder / "gateway.key").write_bytes(key)  # the certificate is renewed, its key is not yet
            assert await shown(own.port, site.folder / "ca.pem") == old, "what does not fit together is not used"
            (site.folder / "gateway.key").write_bytes(fresh)
            assert await shown(own.port, site.folder / "ca.pem") == serial(site.folder) != old
            assert (await before.get("/bank/v1/keys")).status_code == 200, "the connection that stood goes on"
        assert (await Bank(own.url, tls=trusted).pay("S-1")).status_code == 201
        (site.folder / "gateway.pem").unlink()
        assert (await Bank(own.url, tls=trusted).pay("S-2")).status_code == 201, "a file that is gone stops nobody"


async def test_a_renewed_authority_lets_its_banks_in_and_no_others(site_of: MakeSite) -> None:
    site = signed_site(site_of, TLS + 'client_ca = "banks.pem"\n')
    ours = authority(site.folder)
    vouched(site.folder, "gateway", ours)
    trusted = (site.folder / "ca.pem").read_bytes()
    (site.folder / "ours.pem").write_bytes(trusted)

    def bank(name: str) -> ssl.SSLContext:
        vouched(site.folder, name, authority(site.folder))
        (site.folder / f"{name}-ca.pem").write_bytes((site.folder / "ca.pem").read_bytes())
        tls = ssl.create_default_context(cafile=str(site.folder / "ours.pem"))
        tls.load_cert_chain(site.folder / f"{name}.pem", site.folder / f"{name}.key")
        return tls

    old, new = bank("old"), bank("new")
    (site.folder / "banks.pem").write_bytes((site.folder / "old-ca.pem").read_bytes())
    async with site.running() as gateway:
        assert gateway.bank_listener is not None
        url = gateway.bank_listener.url
        assert (await Bank(url, tls=old).pay("S-1")).status_code == 201
        (site.folder / "banks.pem").write_bytes((site.folder / "new-ca.pem").read_bytes())
        assert (await Bank(url, tls=new).pay("S-2")).status_code == 201
        with pytest.raises(httpx2.TransportError):
            await Bank(url, tls=old).pay("S-3")


def test_the_fast_event_loop_renews_too(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    vouched(tmp_path, "gateway", ca)

    async def renewed() -> None:
        listener = Listener(Response("here"), "127.0.0.1", 0, tls=Tls(tmp_path / "gateway.pem", tmp_path / "gateway.key"))
        serving = asyncio.create_task(listener.serve())
        for _ in range(2):
            assert await shown(listener.port, tmp_path / "ca.pem") == serial(tmp_path)
            vouched(tmp_path, "gateway", ca)
        listener.stop()
        await serving

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(renewed())


async def test_how_long_it_is_good_is_told(place: tuple[Site, Ed25519PrivateKey]) -> None:
    site, ca = place
    vouched(site.folder, "gateway", ca, days=60)
    async with site.running() as gateway:
        headers = {"authorization": f"Bearer {(site.folder / 'data' / gateway.settings.http.token_file).read_text().strip()}"}
        async with httpx2.AsyncClient(base_url=gateway.listener.url, headers=headers, trust_env=False, timeout=60) as http:
            assert 'wattgate_certificate_days_left{certificate="bank"} 59.0' in (await http.get("/metrics")).text
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.bank_listener.port)  # type: ignore[union-attr]
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await asyncio.wait_for(reader.read(), 5)
            writer.close()
            counted = (await http.get("/metrics")).text
            for listener, reason, count in (("bank", "tls", 1), ("bank", "handshakes", 0), ("operator", "full", 0)):
                assert f'wattgate_http_turned_away_total{{listener="{listener}",reason="{reason}"}} {count}.0' in counted
            vouched(site.folder, "gateway", ca, days=5)
            assert 'wattgate_certificate_days_left{certificate="bank"} 4.0' in (await http.get("/metrics")).text
        assert gateway.vitals.certificates() == {"bank": 4}


def errors(site: Site) -> tuple[list[str], list[str]]:
    """What only `check` minds is the second."""
    report = examine(load(site.file), site.folder)
    return [*report.errors], [*report.ended]


def test_check_refuses_files_that_are_no_good(place: tuple[Site, Ed25519PrivateKey]) -> None:
    site, ca = place
    assert errors(site) == ([], [])
    certificate, key = site.folder / "gateway.pem", site.folder / "gateway.key"
    vouched(site.folder, "other", ca)
    own = key.read_bytes()
    key.write_bytes((site.folder / "other.key").read_bytes())
    assert errors(site)[0] == [f"bank: {certificate} and {key} cannot be used together: the key is not that of the certificate"]
    with pytest.raises(ListenError, match="the key is not that of the certificate"):
        Listener(Response(""), "127.0.0.1", 0, tls=Tls(certificate, key))
    key.write_bytes(own)
    key.chmod(0o644)
    assert errors(site)[0] == [f"bank: {key} holds a secret and may be read by others; chmod 600 it"]
    key.chmod(0o600)
    certificate.write_text("no certificate")
    assert errors(site)[0] == [f"bank: {certificate} holds no certificate in PEM"]
    certificate.unlink()
    assert errors(site)[0] == [f"bank: {certificate} cannot be read: No such file or directory"]


@pytest.mark.parametrize(("days", "said"), [(-2, "has ended; put a new one in its place"), (1, "")])
async def test_one_that_has_ended_is_refused_by_check_and_lived_with_at_a_start(
    place: tuple[Site, Ed25519PrivateKey], days: int, said: str
) -> None:
    """Supply is restored by this process too: it begins, and its banks see what is wrong."""
    site, ca = place
    vouched(site.folder, "gateway", ca, days)
    assert errors(site) == ([], [f"bank: the certificate {site.folder / 'gateway.pem'} {said}"] if said else [])
    async with site.running() as gateway:
        assert gateway.bank_listener is not None and gateway.bank_listener.accepting


async def test_one_that_ends_soon_is_a_finding(place: tuple[Site, Ed25519PrivateKey]) -> None:
    site, ca = place
    vouched(site.folder, "gateway", ca, days=5)
    async with site.running() as gateway:

        def texts() -> set[str]:
            return {found.text for found in gateway.store.read_now(lambda tx: tx.findings()) if found.subject == "bank"}

        await site.until(lambda: bool(texts()), "somebody is told")
        told = "the certificate of the banks' listener ends in 4 days; put a new one in its place, it is taken over by itself"
        assert texts() == {told}
