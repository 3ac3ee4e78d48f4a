"""The banks of the configuration: what is taken, in the domain's words, and what is an error with its reason."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.bootstrap.banks import bank_notices, banks_of, examine_banks
from gateway.domain.bank_terms import Limits, PartnerTerms, SerialScope
from protocols.bank.signatures import Algorithm
from tests.gateway.test_settings import GOOD, errors, settings

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
X = base64.urlsafe_b64encode(KEY.public_key().public_bytes_raw()).rstrip(b"=").decode()
BANK = '[bank]\npublic_url = "https://pay.example.org/"\n'
NORTH = f'[[bank.partner]]\nid = "north"\n[[bank.partner.key]]\nkid = "north-1"\npublic = "{X}"\n'


def test_a_bank_with_a_key_wants_signatures(tmp_path: Path) -> None:
    found = settings(tmp_path, GOOD + BANK + NORTH)
    assert (found.bank.signatures, found.bank.public_url) == ("required", "https://pay.example.org")
    banks = banks_of(found, tmp_path)
    assert (banks.url, set(banks.banks), set(banks.keys)) == ("https://pay.example.org", {"north"}, {"north-1"})
    assert banks.banks["north"].scopes == {"query", "topup", "reversal"}
    key = banks.keys["north-1"]
    assert (key.bank, key.key.algorithm, key.begins_ms, key.until_ms) == ("north", Algorithm.ED25519, 0, None)
    assert key.scopes is None
    own = settings(tmp_path, GOOD + BANK + NORTH + 'scopes = ["settle"]\n')
    assert banks_of(own, tmp_path).keys["north-1"].scopes == frozenset({"settle"})


def test_without_banks_signatures_are_off(tmp_path: Path) -> None:
    found = settings(tmp_path, GOOD)
    assert found.bank.signatures == "off" and banks_of(found, tmp_path).url is None


def test_everything_that_can_be_agreed(tmp_path: Path) -> None:
    text = GOOD + BANK + (
        '[[bank.partner]]\nid = "north"\nscopes = ["topup"]\nserial_scope = "accounting_date"\ncut_over = "23:00"\n'
        'no_trade = "23:50-00:10"\nquota = "100000.00"\nper_second = 10\nper_minute = 100\n'
        'limits = {least = "1.00", payment = "500.00", account_day = "900.00", day = "50000.00", day_count = 1000}\n'
        'channel.app = {payment = "200.00"}\n'
        f'[[bank.partner.key]]\nkid = "north-1"\npublic = "{X}"\nfrom = 2026-11-01T00:00:00Z\nuntil = 2026-12-01T00:00:00+08:00\n'
    )  # fmt: skip
    banks = banks_of(settings(tmp_path, text), tmp_path)
    assert banks.banks["north"].terms == PartnerTerms(
        "north",
        "Asia/Shanghai",
        "CNY",
        SerialScope.ACCOUNTING_DATE,
        cut_over_min=23 * 60,
        no_trade=(23 * 60 + 50, 10),
        limits=Limits(1_000_000, 500_000_000, 900_000_000, 50_000_000_000, None, 1000),
        channels={"app": Limits(payment_micro=200_000_000)},
        quota_micro=100_000_000_000,
    )
    assert (banks.keys["north-1"].begins_ms, banks.keys["north-1"].until_ms) == (1_793_491_200_000, 1_796_054_400_000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (NORTH, "signatures cover the address that banks call: name it as public_url"),
        (BANK + '[[bank.partner]]\nid = "north"\n', None),
        ('[bank]\nsignatures = "required"\npublic_url = "https://a"\n', 'signatures = "required" needs a [[bank.partner]]'),
        ('[bank]\npublic_url = "ftp://a"\n', "is no URL of a service to trust"),
        ('[bank]\npublic_url = "https://a?b=c"\n', "is more than the beginning of an address"),
        (BANK + NORTH + NORTH.replace("north-1", "north-2"), "partner north: is there twice"),
        (BANK + NORTH + NORTH.replace('"north"', '"south"'), "key north-1: is there twice"),
        (BANK + NORTH.replace(X, "short"), "public is the x of an Ed25519 JWK"),
        (BANK + NORTH.replace('"north"', '"at-meter"'), "at-meter is how we book by ourselves: name the bank otherwise"),
        (BANK + NORTH + 'file = "key.pem"\n', "name either public or file"),
        (BANK + NORTH + 'algorithm = "hmac-sha256"\n', "stands in a file of mode 0600, never here"),
        (BANK + NORTH + 'algorithm = "sm2-sm3"\n', "is an SM2 key in hex"),
        (BANK + NORTH + "from = 2026-12-01T00:00:00Z\nuntil = 2026-11-01T00:00:00Z\n", "until is to be after from"),
        (BANK + NORTH.replace('"north"\n', '"north"\nno_trade = "24:00-01:00"\n'), "is no span of the day"),
        (BANK + NORTH.replace('"north"\n', '"north"\ncut_over = "7:00"\n'), "is no time of day"),
        (BANK + NORTH.replace('"north"\n', '"north"\nscopes = ["all"]\n'), "scopes"),
        (BANK + NORTH.replace('"north"\n', '"north"\nquota = 5\n'), "quota"),
        (BANK + NORTH.replace('"north"\n', '"north"\nclient_certificate = "n"\n'), "without client_ca nobody is asked for one"),
        (BANK + 'certificate = "c.pem"\n' + NORTH, "certificate and key belong together"),
        (BANK + 'certificate = "c.pem"\nkey = "k.pem"\n' + NORTH, "name it as listen"),
        (BANK + 'client_ca = "ca.pem"\n' + NORTH, "wants TLS"),
        (BANK + 'listen = "0.0.0.0:8443"\n', 'signatures = "off" is allowed only where bank.listen is on loopback'),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, reason: str | None) -> None:
    if reason is None:
        assert settings(tmp_path, GOOD + text).bank.signatures == "off", "a bank of ISO 8583 needs no key here"
        return
    found = errors(tmp_path, GOOD + text)
    assert len(found) == 1 and reason in found[0], found


def test_signed_banks_may_call_from_anywhere(tmp_path: Path) -> None:
    assert settings(tmp_path, GOOD + '[http]\nlisten = "0.0.0.0:8080"\n' + BANK + NORTH).bank.signatures == "required"


def _entry(line: str, kid: str = "k") -> str:
    return f'[[bank.partner]]\nid = "b-{kid}"\n[[bank.partner.key]]\nkid = "{kid}"\n{line}\n'


def test_keys_in_files(tmp_path: Path) -> None:
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    secret = tmp_path / "mac.hex"
    secret.write_text("ab" * 32 + "\n")
    secret.chmod(0o600)
    text = BANK + _entry('file = "key.pem"', "k1") + _entry('algorithm = "hmac-sha256"\nfile = "mac.hex"', "k2")
    banks = banks_of(settings(tmp_path, GOOD + text), tmp_path)
    assert (banks.keys["k2"].key.key, banks.keys["k1"].key.algorithm) == (bytes.fromhex("ab" * 32), Algorithm.ED25519)


@pytest.mark.parametrize(
    ("content", "mode", "line", "reason"),
    [
        (None, 0o600, 'file = "f"', "cannot be read"),
        ("no key", 0o600, 'file = "f"', "is no public key in PEM"),
        ("PEM", 0o600, 'file = "f"', "is no Ed25519 key"),
        ("ab" * 32, 0o644, 'algorithm = "hmac-sha256"\nfile = "f"', "chmod 600"),
        ("ab" * 31, 0o600, 'algorithm = "hmac-sha256"\nfile = "f"', "has at least 32 bytes, this one 31"),
        ("xy" * 32, 0o600, 'algorithm = "hmac-sha256"\nfile = "f"', "is no key in hex"),
    ],
)
def test_keys_that_cannot_be_used(tmp_path: Path, content: str | None, mode: int, line: str, reason: str) -> None:
    if content == "PEM":
        other = generate_private_key(SECP256R1()).public_key()
        content = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    if content is not None:
        (tmp_path / "f").write_text(content)
        (tmp_path / "f").chmod(mode)
    found = examine_banks(settings(tmp_path, GOOD + BANK + _entry(line)), tmp_path)
    assert len(found) == 1 and found[0].startswith("bank.partner b-k: key k: ") and reason in found[0]


DAYS = [
    (0, "2026-11-20T15:59:59+00:00", "2026-11-20"),
    (0, "2026-11-20T16:00:00+00:00", "2026-11-21"),
    (23 * 60, "2026-11-21T14:59:00+00:00", "2026-11-21"),
    (23 * 60, "2026-11-21T15:00:00+00:00", "2026-11-22"),
    (30, "2026-11-20T16:29:00+00:00", "2026-11-20"),
    (30, "2026-11-20T16:30:00+00:00", "2026-11-21"),
]


@pytest.mark.parametrize(("cut_over_min", "at", "day"), DAYS)
def test_a_banks_day(cut_over_min: int, at: str, day: str) -> None:
    from datetime import datetime

    now_ms = int(datetime.fromisoformat(at).timestamp() * 1000)
    assert PartnerTerms("b", cut_over_min=cut_over_min).today(now_ms).isoformat() == day


@pytest.mark.parametrize(
    ("window", "minute", "open_"),
    [((1430, 10), 1429, True), ((1430, 10), 1430, False), ((1430, 10), 9, False), ((1430, 10), 10, True), ((60, 120), 60, False)],
)
def test_a_banks_hours(window: tuple[int, int], minute: int, open_: bool) -> None:
    midnight_ms = 1_795_190_400_000
    assert PartnerTerms("b", no_trade=window).trades(midnight_ms + minute * 60_000) is open_


def test_proxies_are_addresses_or_networks(tmp_path: Path) -> None:
    found = settings(tmp_path, GOOD + '[bank]\nproxies = ["10.0.0.7", "2001:db8::/32"]\n')
    assert [str(each) for each in banks_of(found, tmp_path).proxies] == ["10.0.0.7/32", "2001:db8::/32"]
    for wrong in ("proxy.example", "10.0.0.7/8", "10.0.0.0/33"):
        assert "is no address and no network" in errors(tmp_path, GOOD + f'[bank]\nproxies = ["{wrong}"]\n')[0]


def test_what_may_not_be_meant_so_is_told(tmp_path: Path) -> None:
    few = settings(tmp_path, GOOD + BANK + NORTH)
    assert bank_notices(few) == ["bank.partner north: names no scopes, so it may not reconcile, refund, settle"]
    north = NORTH.replace('"north"\n', '"north"\nscopes = ["query"]\n', 1)
    said = settings(tmp_path, GOOD + f'[bank]\nsignatures = "off"\n{north}')
    assert bank_notices(said) == ['bank: signatures = "off", so nobody is asked for the keys that its partners have']
