"""The [bank] table of the centre: the gateways' words, what is refused, keys that are read again, and a listener with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import ssl
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx2
import pytest

from gateway.adapters.identity import x_of
from gateway.adapters.mqtt_session import Broker
from gateway.bootstrap.new_keys import write_new_key
from gateway.central.bank_config import BadBanks
from gateway.central.config import ConfigError, load
from gateway.central.doors import Doors
from gateway.central.listening import Listening
from gateway.central.service import Central
from gateway.central.store import CentralStore, StoreBroken
from protocols.bank.signatures import sign_request
from protocols.uplink.topics import NATIVE
from tests.gateway.adapters.http.paying import KEY, NEXT
from tests.gateway.bootstrap.certificates import authority, vouched
from tests.gateway.central.bank_ends import TABLE
from tests.gateway.central.test_config import EXAMPLE, refused, write
from tests.gateway.uplink_ends import end
from tests.ports import free_port

URL = "https://pay.example.org"
HEAD = '[central]\ndata = "d"\n[keys]\ncommands = "commands.jwk"\nreceipts = "receipts.jwk"\n'
BANK = '[bank]\naccounts = "accounts.csv"\npublic_url = "https://pay.example.org"\n'
LOCAL = 'listen = "127.0.0.1:0"\n'
NORTH = f'[[bank.partner]]\nid = "north"\n[[bank.partner.key]]\nkid = "north-1"\npublic = "{x_of(KEY)}"\n'
NEXT_KEY = f'[[bank.partner.key]]\nkid = "north-2"\npublic = "{x_of(NEXT)}"\n'
TLS = 'certificate = "centre.pem"\nkey = "centre.key"\n'


@pytest.mark.parametrize(
    ("text", "error"),
    (
        (HEAD + BANK + NORTH, "bank needs bank.listen, or http.listen"),
        (HEAD.replace("commands =", "centre =") + BANK + LOCAL + NORTH, "bank needs keys.commands"),
        (HEAD.replace("receipts =", "centre =") + BANK + LOCAL + NORTH, "needs keys.receipts"),
        (HEAD + BANK + LOCAL + 'signatures = "required"\n', "needs a [[bank.partner]]"),
        (HEAD + BANK + 'listen = "0.0.0.0:1"\n', 'signatures = "off" is allowed only where bank.listen is on loopback'),
        (HEAD + BANK + '[http]\nlisten = "0.0.0.0:1"\n', 'signatures = "off" is allowed only where http.listen is on loopback'),
        (HEAD + BANK + 'listen = "0.0.0.0:1"\n' + NORTH, "bank.listen is not on loopback"),
        (HEAD + BANK + NORTH + '[http]\nlisten = "0.0.0.0:1"\n', "http.listen is not on loopback"),
        (HEAD + BANK + LOCAL + NORTH + 'quota = "5.00"\n', "bank.partner.0.key.0.quota: is not a known key"),
        (HEAD + BANK + LOCAL + '[[bank.partner]]\nid = "north"\nquota = "5.00"\n', "a quota is kept by the gateways' ledgers"),
        (HEAD + BANK + LOCAL + '[[bank.partner]]\nid = "n"\nscopes = ["refund"]\n', "refund is asked of the gateways"),
        (HEAD + BANK + LOCAL + 'paths = ["bank"]\n', "paths is a gateway's"),
        (HEAD + BANK + LOCAL + '[[bank.partner]]\nid = "counter"\n', "counter is how we book by ourselves"),
        (HEAD + BANK.replace('accounts = "accounts.csv"\n', "") + LOCAL, "bank.accounts: is missing"),
        (HEAD + BANK + LOCAL + "colour = 1\n", "bank.colour: is not a known key"),
    ),
)
def test_refused(tmp_path: Path, text: str, error: str) -> None:
    assert any(error in found for found in refused(tmp_path, text)), refused(tmp_path, text)


def test_the_example_with_everything_that_it_comments_out(tmp_path: Path) -> None:
    example = EXAMPLE.read_text()
    begin, end = example.index("# [http]"), example.index("# [[gateway]]")
    front = [line.removeprefix("# ") for line in example[begin:end].splitlines() if not line.startswith("# signatures")]
    text = "\n".join([example[:begin].replace("# receipts", "receipts"), *front])
    bank = load(write(tmp_path, text), {}).bank
    assert bank is not None and [partner.id for partner in bank.partner] == ["north"]
    assert bank.partner[0].limits.payment == "5000.00" and list(bank.key_files()) == ["north.pem"]


def test_unsigned_on_loopback_as_before(tmp_path: Path) -> None:
    text = '[central]\ndata = "d"\n[keys]\ncommands = "c"\n[http]\nlisten = "127.0.0.1:8090"\n[bank]\naccounts = "a.csv"\n'
    bank = load(write(tmp_path, text), {}).bank
    assert bank is not None and (bank.signatures, bank.zone, bank.banks(tmp_path).url) == ("off", "Asia/Shanghai", None)
    file = write(tmp_path, HEAD + BANK + 'listen = "0.0.0.0:1"\n' + TLS + NORTH)
    signed = load(file, {}).bank
    assert signed is not None and signed.signatures == "required" and signed.tls(tmp_path) is not None


def site(folder: Path, bank: str = LOCAL) -> Path:
    """A configuration that works, with all that it names."""
    for name in ("commands", "receipts"):
        write_new_key(folder / f"{name}.jwk", f"{name}-1")
    (folder / "accounts.csv").write_text(TABLE)
    return write(folder, HEAD + BANK + bank + NORTH)


def changed(file: Path, text: str) -> None:
    """As an editor writes it, seen as another one on every file system."""
    file.write_text(text)
    at = time.time() + 10
    os.utime(file, (at, at))


def test_keys_are_read_again_when_the_file_changes(tmp_path: Path) -> None:
    file = site(tmp_path)
    bank = load(file, {}).bank
    assert bank is not None
    doors = Doors(bank, tmp_path, file)
    assert set(doors().keys) == {"north-1"} and not doors.refresh()
    good = file.read_text()
    changed(file, good + NEXT_KEY)
    assert doors.refresh() and set(doors().keys) == {"north-1", "north-2"} and not doors.refresh()
    for wrong in (good + "x", good.replace(x_of(KEY), "short"), good.replace(LOCAL, 'listen = "127.0.0.1:1"\n')):
        changed(file, wrong)
        with pytest.raises(BadBanks):
            doors.refresh()
        assert set(doors().keys) == {"north-1", "north-2"} and not doors.refresh(), "a wrong one is told once"
        file.write_text("")
        os.utime(file, (1, 1))
        with pytest.raises(BadBanks):
            doors.refresh()


def test_a_secret_that_is_written_later_is_found(tmp_path: Path) -> None:
    file = site(tmp_path)
    bank = load(file, {}).bank
    assert bank is not None
    doors = Doors(bank, tmp_path, file)
    changed(file, file.read_text() + '[[bank.partner.key]]\nkid = "mac"\nalgorithm = "hmac-sha256"\nfile = "mac.hex"\n')
    with pytest.raises(BadBanks, match=r"key mac: .*cannot be read"):
        doors.refresh()
    secret = tmp_path / "mac.hex"
    secret.write_text("00" * 32)
    secret.chmod(0o644)
    with pytest.raises(BadBanks, match="chmod 600"):
        doors.refresh()
    secret.chmod(0o600)
    os.utime(secret, (5, 5))
    assert doors.refresh() and set(doors().keys) == {"north-1", "mac"}


@contextlib.asynccontextmanager
async def listening(file: Path) -> AsyncIterator[Listening]:
    """What listens, beside a centre whose broker is away."""
    store = CentralStore.open(str(file.parent / "central.db"))
    central = Central(store, Broker(port=free_port()), NATIVE)
    made = Listening.of(load(file, {}), file.parent, central, file)
    assert made is not None
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        made.stop()
        await end(running)
        store.close()


async def paid(http: httpx2.AsyncClient, serial: str) -> httpx2.Response:
    at = datetime.now(timezone(timedelta(hours=8))).replace(microsecond=0)
    form = {"serial": serial, "account": "A-1", "amount": "5.00", "currency": "CNY", "paid_at": at.isoformat()}
    body = json.dumps({**form, "accounting_date": at.date().isoformat()}).encode()
    headers = sign_request(
        "POST", f"{URL}/bank/v1/topups", body, "north-1", KEY, created_s=int(time.time()), nonce=secrets.token_hex(8)
    )
    return await http.post("/bank/v1/topups", content=body, headers={**headers, "content-type": "application/json"})


async def test_a_listener_of_the_banks_own_wants_their_certificate(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    for name in ("centre", "north", "south"):
        vouched(tmp_path, name, ca)
    file = site(tmp_path, LOCAL + TLS + 'client_ca = "ca.pem"\n')
    text = file.read_text().replace('id = "north"\n', 'id = "north"\nclient_certificate = "north"\n')
    file.write_text(text + '[http]\nlisten = "127.0.0.1:0"\n')
    async with listening(file) as front:
        assert front.bank is not None and front.bank.startswith("https://") and front.url.startswith("http://")
        for name, status in (("north", 201), ("south", 403)):
            tls = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
            tls.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
            async with httpx2.AsyncClient(base_url=front.bank, verify=tls, trust_env=False, timeout=60) as http:
                assert (await paid(http, f"S-{name}")).status_code == status
        nobody = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        async with httpx2.AsyncClient(base_url=front.bank, verify=nobody, trust_env=False, timeout=60) as http:
            with pytest.raises(httpx2.TransportError):
                await paid(http, "S-3")
        async with httpx2.AsyncClient(base_url=front.url, trust_env=False, timeout=60) as http:
            assert (await paid(http, "S-4")).status_code == 404, "banks have their own door"
            assert (await http.get("/healthz")).status_code == 503


async def test_what_cannot_be_is_said_at_the_start(tmp_path: Path) -> None:
    file = site(tmp_path, LOCAL + TLS)
    with pytest.raises(ConfigError, match=r"bank\.listen: .*centre\.pem"):
        async with listening(file):
            pass
    (tmp_path / "accounts.csv").write_text("account\n")
    with pytest.raises(ConfigError, match=r"bank\.accounts: .*the first line must be"):
        async with listening(file):
            pass
    (tmp_path / "accounts.csv").unlink()
    with pytest.raises(ConfigError, match=r"is not there; write it at the gateway.*accounts pseudonyms -c gateway\.toml"):
        async with listening(file):
            pass


async def test_a_store_that_breaks_under_a_bank_ends_the_process(tmp_path: Path) -> None:
    """What is on the disk is not known any more: no instance may go on and answer from it."""
    store = CentralStore.open(str(tmp_path / "central.db"))
    central = Central(store, Broker(port=free_port()), NATIVE)
    running = asyncio.create_task(central.run())

    def breaks() -> None:
        raise StoreBroken("the disk failed")

    with pytest.raises(StoreBroken):
        await central.in_store(breaks)
    with pytest.raises(StoreBroken):
        await asyncio.wait_for(running, 100)
    store.close()
