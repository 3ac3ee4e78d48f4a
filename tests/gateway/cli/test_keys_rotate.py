"""`wattgate keys rotate`: what the gateway signs from then on is under a new key, and what the old one signed is good for ever."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.adapters.store import Store, store_file
from tests.gateway.cli.test_users import Here, folder, here, running, shown

__all__ = ["folder", "here", "running"]


def pay(url: str, serial: str) -> httpx2.Response:
    day = (datetime.now(UTC) + timedelta(hours=8)).date().isoformat()
    paid = {"serial": serial, "account": "A-1", "amount": "10.00", "currency": "CNY", "paid_at": "2026-11-21T10:00:00+08:00"}
    return httpx2.post(url + "/bank/v1/topups", json={**paid, "accounting_date": day}, trust_env=False, timeout=60)


def signer(answer: httpx2.Response, url: str) -> str:
    """Which published key has signed this receipt; the signature is checked."""
    head, payload, signature = answer.json()["receipt_jws"].split(".")
    kid = json.loads(_bytes(head))["kid"]
    keys = {key["kid"]: key["x"] for key in httpx2.get(url + "/bank/v1/keys", trust_env=False, timeout=60).json()["keys"]}
    Ed25519PublicKey.from_public_bytes(_bytes(keys[kid])).verify(_bytes(signature), f"{head}.{payload}".encode())
    return str(kid)


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_beside_a_running_gateway_nothing_stops(here: Here, running: str) -> None:
    old = pay(running, "S-1")
    kids = [signer(old, running)]
    for number in (2, 3):
        (line,) = shown(here("keys", "rotate"))
        new = pay(running, f"S-{number}")
        kids.append(signer(new, running))
        assert line.startswith(f'{kids[-1]} = "')
    assert len({*kids}) == 3
    again = pay(running, "S-1")
    assert (again.status_code, again.content) == (200, old.content) and signer(again, running) == kids[0]
    published = httpx2.get(running + "/bank/v1/keys", trust_env=False, timeout=60).json()["keys"]
    assert [key["kid"] for key in published] == kids[::-1] and not any("d" in key for key in published)


def test_where_no_gateway_runs(here: Here, folder: Path) -> None:
    lines = [shown(here("keys", "rotate"))[0].partition(" = ")[0] for _ in range(2)]
    data = folder / "data"
    held = json.loads((data / "identity.jwk").read_text())
    retired = json.loads((data / "identity-retired.jwks").read_text())["keys"]
    assert held["kid"] == lines[1] and [key["kid"] for key in retired[:1]] == lines[:1] and len(retired) == 2
    with Store.open(str(store_file(data)), inline=True) as store:
        rows = store.read_now(lambda tx: [row for row in tx.audit_rows(0, 99) if row.act == "rotate_identity"])
    assert [(row.who, row.subject) for row in rows] == [("console", line) for line in lines]


def test_only_an_administrator_may(here: Here, running: str) -> None:
    (token,) = shown(here("users", "add", "wang", "--role", "operator"))
    here("keys", "rotate", token=token).refused("this needs the role admin")


def test_a_key_file_that_is_gone_wrong_is_one_sentence(here: Here, running: str, folder: Path) -> None:
    retired = folder / "data" / "identity-retired.jwks"
    retired.write_text("no set of keys")
    here("keys", "rotate").refused("is no set of public Ed25519 keys")
    assert pay(running, "S-1").status_code == 201, "and the key before goes on signing"
