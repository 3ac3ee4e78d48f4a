"""The simulated bank behind TLS, changing the key of its MACs while it pays, against the gateway's own listeners."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from firmware_sim.banking.book import Outcome
from firmware_sim.banking.config import BankConfig, banks
from firmware_sim.banking.control import BadKey, Desk
from firmware_sim.banking.mac_keys import MacKeys
from gateway.bootstrap.backup import back_up, restore
from gateway.bootstrap.examine import store_url
from gateway.domain.findings import FindingKind
from tests.gateway.bootstrap.certificates import authority, vouched
from tests.gateway.bootstrap.conftest import MakeSite
from tests.gateway.bootstrap.site import Site
from tests.gateway.bootstrap.test_bank_tls import TLS
from tests.gateway.bootstrap.test_banks import KEY as SIGNS
from tests.gateway.bootstrap.test_banks import URL, signed_site
from tests.gateway.bootstrap.test_iso8583_gateway import ENTRY
from tests.protocols.bank.tables import CONFIG, KEY, shipped

CERTIFIED = {"ca_file": "ca.pem", "certificate_file": "icbc.pem", "certificate_key_file": "icbc.key"}


def certificates(folder: Path) -> None:
    ca = authority(folder)
    for name in ("gateway", "icbc"):
        vouched(folder, name, ca)


@pytest.fixture
def site(site_of: MakeSite) -> Site:
    site = site_of(1, 1)
    site.plan.accounts = {"m0-0": "A"}
    site.plan.tail += "[bank]\n" + ENTRY + "sign_on = true\n"
    certificates(site.folder)
    for name in ("mac.key", "zone.key", "sim-mac.key"):
        (site.folder / name).write_text(KEY.hex())
        (site.folder / name).chmod(0o600)
    (site.folder / "iso.toml").write_text((CONFIG / "iso8583-ascii.toml").read_text())
    site.write()
    return site


def configured(folder: Path, **row: object) -> BankConfig:
    errors: list[str] = []
    [bank] = banks([{"id": "icbc", "accounts": ["A"], "timeout_s": 5, **row}], folder, errors)
    assert errors == []
    return bank


def iso(folder: Path, port: int, **row: object) -> BankConfig:
    keys = {"table": "iso.toml", "mac_key_file": "sim-mac.key", "zone_key_file": "zone.key"}
    return configured(folder, iso8583=f"127.0.0.1:{port}", iso8583_tls=True, payments=40, new_keys=3, **keys, **CERTIFIED, **row)


@contextlib.asynccontextmanager
async def desk_of(config: BankConfig) -> AsyncIterator[Desk]:
    desk = Desk(config, 7, 480)
    try:
        yield desk
    finally:
        await desk.close()


async def test_a_bank_pays_behind_mutual_tls_and_changes_its_key(site: Site) -> None:
    async with site.running() as gateway:
        [listener] = gateway.iso8583
        config = iso(site.folder, listener.port)
        async with desk_of(config) as desk:
            assert await desk.run(), desk.why()
            assert desk.report()["new_keys"] == 3
            counted = listener.status().keys
            assert (counted["taken"], counted["confirmed"]) == (3, 3)
            rng = Random(1)
            assert desk.iso is not None
            await asyncio.gather(desk.office.work(40, 8), *(desk.iso.new_key(rng) for _ in range(4)))
            await desk.office.settle()
            assert not desk.why() and listener.status().keys["taken"] == 7
            assert await desk.answer("POST", "new_key", b"") == {"ok": True}
        async with desk_of(config) as again:
            assert again.iso is not None and await again.iso.echo(), "it knows its key after a start"
        (site.folder / "icbc-sent.key").unlink()
        async with desk_of(config) as lost:
            assert lost.iso is not None and not await lost.iso.echo()


async def test_after_a_restore_the_next_key_brings_the_bank_back(site: Site) -> None:
    data, out = site.folder / "data", site.folder / "backup.tar"
    async with site.running() as gateway, desk_of(iso(site.folder, gateway.iso8583[0].port)) as desk:
        assert desk.iso is not None and await desk.iso.new_key(Random(1)) and await desk.iso.echo()
        back_up(store_url(gateway.settings, site.folder), out)
        assert await desk.iso.new_key(Random(2)) and await desk.iso.echo()
    restore(out, data, gateway=None, replace=True)
    async with site.running() as gateway, desk_of(iso(site.folder, gateway.iso8583[0].port)) as desk:
        assert desk.iso is not None and not await desk.iso.echo() and gateway.iso8583[0].status().keys_lost
        assert await desk.iso.new_key(Random(3)) and await desk.iso.network("sign_on")
        assert not gateway.iso8583[0].status().keys_lost
        found = await gateway.read(lambda tx: [each.kind for each in tx.findings()])
        assert FindingKind.MAC_KEYS_LOST not in found
        paid = await desk.iso.pay(desk.office.new(desk.iso, "A", 100))
        assert paid.outcome is Outcome.UNAVAILABLE, "payments wait as those of all banks"


async def test_who_shows_no_certificate_is_told_that_nobody_answers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_sim.banking.control.PATIENCE_S", 0.3)
    async with site.running() as gateway:
        config = replace(iso(site.folder, gateway.iso8583[0].port), certificate=None)
        async with desk_of(config) as desk:
            assert not await desk.run() and "nobody answers a sign-on or an echo" in desk.why()[0]


async def test_https_with_a_certificate(site_of: MakeSite) -> None:
    site = signed_site(site_of, TLS + 'client_ca = "ca.pem"\n')
    certificates(site.folder)
    pem = SIGNS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (site.folder / "sign.pem").write_bytes(pem)
    site.write()
    async with site.running() as gateway:
        assert gateway.bank_listener is not None
        row = {"url": gateway.bank_listener.url, "public_url": URL, "kid": "north-1", "sign_key_file": "sign.pem", "payments": 20}
        async with desk_of(configured(site.folder, **row, **CERTIFIED, reconcile=False)) as desk:
            assert await desk.run(), desk.why()
        async with desk_of(configured(site.folder, **row, ca_file="ca.pem")) as bare:
            assert bare.http is not None and await bare.http.keys() == {}


def test_a_key_is_the_same_until_its_answer_is_known(tmp_path: Path) -> None:
    def keys() -> MacKeys:
        return MacKeys(shipped(), KEY, KEY, tmp_path / "sent")

    rng = Random(1)
    first = keys().brought(rng)
    assert keys().brought(rng) == first and first[1] == KEY
    known = keys()
    known.told(True)
    assert keys().used == known.used != KEY and keys().new is None
    assert keys().brought(rng) != first
    keys().told(False)
    assert keys().used == known.used and keys().new is None, "what was refused is not sent again"
    assert MacKeys(shipped(), bytes(16), KEY, tmp_path / "sent").used == bytes(16), "another key by hand holds alone"
    (tmp_path / "sent").write_text("{}")
    with pytest.raises(ValueError, match="does not say which key"):
        keys()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"certificate_file": "icbc.pem"}, "certificate_file and certificate_key_file go together"),
        ({"url": "http://127.0.0.1:1", "ca_file": "ca.pem"}, "ca_file needs iso8583_tls or a url of https"),
        ({"url": "http://127.0.0.1:1", "iso8583_tls": True}, "iso8583_tls needs iso8583, the line that it secures"),
        ({"url": "http://127.0.0.1:1", "zone_key_file": "icbc.pem"}, "zone_key_file needs a table that has [key]"),
    ],
)
def test_what_contradicts_itself_is_said(tmp_path: Path, row: dict[str, object], says: str) -> None:
    certificates(tmp_path)
    errors: list[str] = []
    banks([{"id": "icbc", "accounts": ["A"], **row}], tmp_path, errors)
    assert any(says in error for error in errors), errors


def test_a_certificate_that_is_none_is_said(tmp_path: Path) -> None:
    certificates(tmp_path)
    (tmp_path / "icbc.pem").write_text("nothing")
    with pytest.raises(BadKey, match=r"bank icbc: TLS with .*icbc\.pem"):
        Desk(configured(tmp_path, url="https://127.0.0.1:1", **CERTIFIED), 1, 480)
