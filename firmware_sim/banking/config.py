"""Banks of a simulator's file: [[bank]]."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from firmware_sim.banking.book import PLANTED
from firmware_sim.fields import ID, Fields
from protocols.bank.iso8583_table import Dialect, dialect
from protocols.bank.keywrap import key_length, wrap
from protocols.profiles import ProfileError

MAX_BANKS = 16
MAX_PAYMENTS = 1_000_000
MAX_ACCOUNTS = 100_000
MAX_PLANTED = 10_000
MAX_NEW_KEYS = 1_000  # the other side remembers each for ever
TROUBLES = ("plain", "lose", "repeat", "reorder", "reverse", "reverse_first", "change", "spoil", "midnight", "race")
_URL = re.compile(r"https?://[^\s/]+\Z")


@dataclass(frozen=True, slots=True)
class BankConfig:
    """One bank. url, iso: where it pays by HTTP and by ISO 8583 (host, port), one of them at least.

    kid, sign_key: of its signatures, the key's bytes as in its file; mac_key: of its MACs. payments: what it pays by itself from
    the start, side_by_side at a time; weights: of the troubles. plant: differences in the files it uploads when it has paid.
    public_url: what it signs in place of url. by_day: its serials are unique within an accounting date. balances: nothing else
    moves its accounts, so that they tell.

    zone_key: under which it sends new keys of MACs, new_keys of them in the course of its payments; keys_kept: where it notes them.
    ca: who vouches for the other side, on both lines; certificate: our own and its key. iso_tls: the ISO 8583 line is behind TLS.
    """

    name: str
    accounts: tuple[str, ...]
    url: str = ""
    iso: tuple[str, int] | None = None
    dialect: Dialect | None = None
    mac_key: bytes | None = None
    kid: str = ""
    sign_key: bytes = b""
    institution: str = "1234567"
    currency: str = "CNY"
    payments: int = 0
    side_by_side: int = 4
    least: int = 1
    most: int = 20_000
    timeout_s: float = 30.0
    weights: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TROUBLES, 1))
    plant: tuple[str, ...] = ()
    reconcile: bool = True
    public_url: str = ""
    by_day: bool = False
    balances: bool = False
    zone_key: bytes | None = None
    new_keys: int = 1
    keys_kept: Path | None = None
    ca: Path | None = None
    certificate: tuple[Path, Path] | None = None
    iso_tls: bool = False


def banks(rows: Sequence[object], folder: Path, errors: list[str]) -> tuple[BankConfig, ...]:
    """Check the rows; every complaint goes into `errors`."""
    found = [_bank(row, number, folder, errors) for number, row in enumerate(rows, 1)]
    names = [bank.name for bank in found]
    errors += [f"file: bank {name} is there twice" for name in sorted({name for name in names if names.count(name) > 1})]
    return tuple(found)


def _bank(row: object, number: int, folder: Path, errors: list[str]) -> BankConfig:
    fields = Fields(row if isinstance(row, dict) else {}, f"[[bank]] {number}", errors)
    name = fields.text("id", None, ID, "1 to 64 letters, digits, _ or -")
    fields.where = f"[[bank]] {name}"
    url, public_url = (_url(fields, key) for key in ("url", "public_url"))
    iso, table, key = _iso(fields, folder)
    zone_key, new_keys = _zone(fields, folder, table)
    ca, certificate, iso_tls = _tls(fields, folder, url, iso is not None)
    if not url and iso is None:
        fields.complain("url", "or iso8583 must say where it pays")
    kid = fields.text("kid", "")
    sign_key = _secret(fields, "sign_key_file", folder)
    if bool(kid) != bool(sign_key):
        fields.complain("kid", "and sign_key_file go together")
    least = fields.integer("least_fen", 1, 1, 99_999_999)
    found = BankConfig(
        name,
        _texts(fields, "accounts", MAX_ACCOUNTS),
        url,
        iso,
        table,
        key,
        kid,
        sign_key,
        fields.text("institution", "1234567", re.compile(r"[0-9]{1,11}\Z"), "1 to 11 digits"),
        fields.text("currency", "CNY", re.compile(r"[A-Z]{3}\Z"), "three capitals"),
        fields.integer("payments", 0, 0, MAX_PAYMENTS),
        fields.integer("side_by_side", 4, 1, 1000),
        least,
        fields.integer("most_fen", max(least, 20_000), least, 99_999_999),
        float(fields.number("timeout_s", "30", 0, 600)),
        _weights(fields),
        _texts(fields, "plant", MAX_PLANTED, PLANTED, needed=False),
        fields.flag("reconcile", True),
        public_url,
        fields.choice("serial_scope", ("ever", "accounting_date"), "ever") == "accounting_date",
        fields.flag("balances", False),
        zone_key=zone_key,
        new_keys=new_keys,
        keys_kept=folder / f"{name}-sent.key",
        ca=ca,
        certificate=certificate,
        iso_tls=iso_tls,
    )
    fields.done()
    if not found.accounts:
        errors.append(f"{fields.where}: accounts must name at least one")
    return found


def _url(fields: Fields, key: str) -> str:
    return fields.text(key, "", _URL, "a URL without a path, like http://127.0.0.1:8080") if fields.has(key) else ""


def _iso(fields: Fields, folder: Path) -> tuple[tuple[str, int] | None, Dialect | None, bytes | None]:
    if not fields.has("iso8583"):
        return None, None, None
    host, _, port = fields.text("iso8583").rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        fields.complain("iso8583", "must be HOST:PORT, like 127.0.0.1:8583")
        port = "1"
    key = _secret(fields, "mac_key_file", folder)
    path = folder / fields.text("table")
    try:
        found = dialect(tomllib.loads(path.read_text("utf-8")), path.name)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, ProfileError) as problem:
        fields.complain("table", f"cannot be used: {problem}")
        return (host, int(port)), None, None
    try:
        sealed = bytes.fromhex(key.decode().split("\n")[0]) if key else None
    except ValueError:
        fields.complain("mac_key_file", "must hold a key in hex")
        sealed = None
    if found.mac != "none" and sealed is None:
        fields.complain("mac_key_file", f"is missing: the table has MACs by {found.mac}")
    return (host.strip("[]"), int(port)), found, sealed


def _zone(fields: Fields, folder: Path, table: Dialect | None) -> tuple[bytes | None, int]:
    """The zone's key, and how often it brings a new key of MACs."""
    new_keys = fields.integer("new_keys", 1, 0, MAX_NEW_KEYS)
    raw = _secret(fields, "zone_key_file", folder)
    if not raw:
        return None, new_keys
    if table is None or table.key is None:
        fields.complain("zone_key_file", "needs a table that has [key] and a code of field 70 for key_exchange")
        return None, new_keys
    try:
        zone = bytes.fromhex(raw.decode().split("\n")[0])
        wrap(table.key.wrapped, zone, bytes(key_length(table.mac)))
    except ValueError as wrong:
        fields.complain("zone_key_file", f"must hold a key in hex: {wrong}")
        zone = None
    return zone, new_keys


def _tls(fields: Fields, folder: Path, url: str, has_iso: bool) -> tuple[Path | None, tuple[Path, Path] | None, bool]:
    """Who vouches for the other side, our certificate with its key, and whether the ISO 8583 line uses them."""
    ca, certificate, key = (
        folder / fields.text(name) if fields.has(name) else None for name in ("ca_file", "certificate_file", "certificate_key_file")
    )
    iso_tls = fields.flag("iso8583_tls", False)
    if iso_tls and not has_iso:
        fields.complain("iso8583_tls", "needs iso8583, the line that it secures")
    if (certificate is None) != (key is None):
        fields.complain("certificate_file", "and certificate_key_file go together")
    if (ca is not None or certificate is not None) and not iso_tls and not url.startswith("https://"):
        fields.complain("certificate_file" if ca is None else "ca_file", "needs iso8583_tls or a url of https")
    return ca, None if certificate is None or key is None else (certificate, key), iso_tls


def _secret(fields: Fields, key: str, folder: Path) -> bytes:
    if not fields.has(key):
        return b""
    path = folder / fields.text(key)
    try:
        return path.read_bytes().strip()
    except OSError as problem:
        fields.complain(key, f"cannot be read: {problem.strerror}")
        return b""


def _texts(
    fields: Fields, key: str, most: int, known: Sequence[str] | None = None, *, needed: bool = True
) -> tuple[str, ...]:
    value = fields.value(key)
    if value is None and not needed:
        return ()
    if not isinstance(value, list) or len(value) > most or not all(isinstance(each, str) and ID.match(each) for each in value):
        fields.complain(key, f"must be a list of at most {most} ids")
        return ()
    if known is not None and not set(value) <= set(known):
        fields.complain(key, f"knows {', '.join(known)}")
        return ()
    return tuple(value)


def _weights(fields: Fields) -> dict[str, int]:
    table = fields.table("trouble")
    if table is None:
        return dict.fromkeys(TROUBLES, 1)
    found = {name: table.integer(name, 0, 0, 1_000_000) for name in TROUBLES}
    table.done()
    if not any(found.values()):
        table.complain("trouble", "must give at least one a weight")
        return dict.fromkeys(TROUBLES, 1)
    return found
