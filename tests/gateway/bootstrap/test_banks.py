"""A whole gateway with signed banks: a listener of their own with TLS, keys that change, signed receipts, a key that is spoilt."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from gateway.bootstrap.banks import examine_banks
from gateway.bootstrap.process import Gateway
from gateway.settings import load
from protocols.bank.signatures import sign_request
from tests.gateway.bootstrap.certificates import authority, vouched
from tests.gateway.bootstrap.conftest import MakeSite
from tests.gateway.bootstrap.site import Site

URL = "https://pay.example.org"
KEY, NEXT = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
TOPUPS = "/bank/v1/topups"


def x_of(key: Ed25519PrivateKey) -> str:
    return base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()


def partner(kid: str, key: Ed25519PrivateKey, name: str = "") -> str:
    shown = f'client_certificate = "{name}"\n' if name else ""
    return f'[[bank.partner]]\nid = "north"\n{shown}[[bank.partner.key]]\nkid = "{kid}"\npublic = "{x_of(key)}"\n'


def signed_site(site_of: MakeSite, bank: str = "", partners: str = "") -> Site:
    site = site_of(1, 1)
    site.plan.accounts = {"m0-0": "A"}
    site.plan.tail += f'[bank]\npublic_url = "{URL}"\n{bank}{partners or partner("north-1", KEY)}'
    return site


@dataclass
class Bank:
    """Pays by the real clock."""

    url: str
    kid: str = "north-1"
    key: Ed25519PrivateKey = KEY
    tls: ssl.SSLContext | bool = False

    async def pay(self, serial: str) -> httpx2.Response:
        today = datetime.now(UTC) + timedelta(hours=8)
        paid = {"serial": serial, "account": "A", "amount": "10.00", "currency": "CNY", "paid_at": "2026-11-21T10:00:00+08:00"}
        body = json.dumps({**paid, "accounting_date": today.date().isoformat()}).encode()
        now_s = int(time.time())
        signed = sign_request("POST", URL + TOPUPS, body, self.kid, self.key, created_s=now_s, nonce=f"{serial}-{self.kid}-{now_s}")
        async with httpx2.AsyncClient(base_url=self.url, verify=self.tls, trust_env=False, timeout=60) as client:
            return await client.post(TOPUPS, content=body, headers={"content-type": "application/json", **signed})


async def test_a_signed_payment_and_its_receipt(site_of: MakeSite) -> None:
    site = signed_site(site_of)
    async with site.running() as gateway:
        await asyncio.sleep(0)
        answer = await Bank(gateway.listener.url).pay("S-1")
        assert answer.status_code == 201, answer.text
        assert answer.headers["signature"].startswith("gateway=:")
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as nobody:
            assert (await nobody.get(gateway.listener.url + f"{TOPUPS}/S-1")).status_code == 401
        kid = gateway.identity.kid
    head = answer.json()["receipt_jws"].partition(".")[0]
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "EdDSA", "kid": kid}
    path = site.folder / "data" / "identity.jwk"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with site.running() as gateway:
        again = await Bank(gateway.listener.url).pay("S-1")
        assert (again.status_code, again.content, gateway.identity.kid) == (200, answer.content, kid)


async def test_keys_change_while_the_gateway_runs(site_of: MakeSite) -> None:
    site = signed_site(site_of)
    async with site.running() as gateway:
        old, new = Bank(gateway.listener.url), Bank(gateway.listener.url, "north-2", NEXT)
        assert [(await bank.pay("S-1")).status_code for bank in (old, new)] == [201, 401]
        site.plan.tail += f'[[bank.partner.key]]\nkid = "north-2"\npublic = "{x_of(NEXT)}"\n'
        site.write()
        assert (await gateway.reload()).keys == ("bank.partner",)
        assert [(await bank.pay("S-2")).status_code for bank in (old, new)] == [201, 200]
        site.plan.tail = site.plan.tail.partition("[[bank.partner]]")[0] + partner("north-2", NEXT)
        site.write()
        await gateway.reload()
        assert [(await bank.pay("S-3")).status_code for bank in (old, new)] == [401, 201]


async def test_a_listener_of_the_banks_own_knows_them_by_their_certificates(site_of: MakeSite) -> None:
    bank = 'listen = "127.0.0.1:0"\ncertificate = "gateway.pem"\nkey = "gateway.key"\nclient_ca = "ca.pem"\n'
    site = signed_site(site_of, bank, partner("north-1", KEY, "north.example"))
    key = authority(site.folder)
    for name in ("gateway", "north", "south"):
        vouched(site.folder, name, key)
    async with site.running() as gateway:
        own = gateway.bank_listener
        assert own is not None and own.url.startswith("https://")
        assert (await Bank(gateway.listener.url).pay("S-1")).status_code == 404, "the operator's listener has no banks then"
        statuses = {}
        for name in ("north", "south", ""):
            tls = ssl.create_default_context(cafile=str(site.folder / "ca.pem"))
            if name:
                tls.load_cert_chain(site.folder / f"{name}.pem", site.folder / f"{name}.key")
            try:
                answer = await Bank(own.url, tls=tls).pay("S-1")
                statuses[name] = answer.status_code
            except httpx2.TransportError:
                statuses[name] = 0
        assert statuses == {"north": 201, "south": 403, "": 0}


def _routes(found: list[BaseRoute]) -> Iterator[APIRoute]:
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        elif (router := getattr(route, "original_router", None)) is not None:
            yield from _routes(router.routes)


async def test_every_route_for_banks_asks_who_is_there(site_of: MakeSite) -> None:
    """With a form that is right and no signature: nobody is let in but to the public keys."""
    site = signed_site(site_of)
    site.write()
    gateway = Gateway(load(site.file), site.folder, site.file)
    try:
        app = gateway.listener.app
        document = app.openapi()  # type: ignore[attr-defined]
        asked = {}
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://bank") as client:
            for route in _routes(app.routes):  # type: ignore[attr-defined]
                for method in (route.methods or set()) if route.path.startswith("/bank/v1/") else ():
                    call = document["paths"][route.path][method.lower()]
                    asked[method, route.path] = (await _ask(client, method, route.path, call)).status_code
    finally:
        gateway._open.close()
    assert len(asked) > 5 and asked.pop(("GET", "/bank/v1/keys")) == 200
    assert set(asked.values()) == {401}, asked


async def _ask(client: httpx2.AsyncClient, method: str, path: str, call: dict[str, object]) -> httpx2.Response:
    filled = path.replace("{accounting_date}", "2026-11-21").replace("{id}", "1")
    filled = filled.replace("{account}", "A").replace("{serial}", "S-1")
    content = call.get("requestBody", {}).get("content", {})  # type: ignore[attr-defined]
    if "application/json" in content:
        form = content["application/json"]["schema"]
        body = json.dumps({name: form["properties"][name]["examples"][0] for name in form["required"]})
        return await client.request(method, filled, content=body, headers={"content-type": "application/json"})
    if content:
        return await client.request(method, filled, content=b"#0,0.00\n", headers={"content-type": next(iter(content))})
    return await client.request(method, filled)


@pytest.mark.parametrize("spoilt", ["{}", "no json"])
def test_a_key_of_ours_that_cannot_be_read_stops_the_start(site_of: MakeSite, spoilt: str) -> None:
    site = signed_site(site_of)
    site.write()
    data = site.folder / "data"
    data.mkdir(mode=0o700)
    (data / "identity.jwk").write_text(spoilt)
    (data / "identity.jwk").chmod(0o600)
    with pytest.raises(Exception, match="is no private Ed25519 key as JWK"):
        Gateway(load(site.file), site.folder, site.file)


def test_one_key_under_two_names_is_not_two_people(site_of: MakeSite) -> None:
    """Not of one bank, whose second key approves what the first has asked for, and not of two banks."""
    for other in ("north", "south"):
        second = f'[[bank.partner]]\nid = "{other}"\n' if other == "south" else ""
        second += f'[[bank.partner.key]]\nkid = "{other}-2"\npublic = "{x_of(KEY)}"\n'
        site = signed_site(site_of, partners=partner("north-1", KEY) + second)
        site.write()
        said = f"bank.partner {other}: key {other}-2: this is the key north-1 once more: each name needs a key of its own"
        assert examine_banks(load(site.file), site.folder) == [said]
