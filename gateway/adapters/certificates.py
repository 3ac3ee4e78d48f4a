"""Certificates in PEM files: whose they are, how long they are good, and what is wrong with them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.adapters.mqtt_broker import Tls

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Certificate:
    """The first certificate of a file. name: its common name. UTC ms."""

    name: str
    from_ms: int
    until_ms: int


def certificate(path: Path) -> Certificate:
    """Raises OSError or ValueError with what is wrong."""
    read = x509.load_pem_x509_certificate(path.read_bytes())
    names = read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else ""
    begins, ends = (int(at.timestamp() * 1000) for at in (read.not_valid_before_utc, read.not_valid_after_utc))
    return Certificate(name, begins, ends)


def days_left(tls: Tls, now_ms: int) -> dict[str, int]:
    """Whole days by certificate, negative once it has ended; what cannot be read now is left out."""
    found = {}
    for name, path in (("gateway", tls.cert), ("ca", tls.ca)):
        try:
            if path is not None:
                found[name] = (certificate(path).until_ms - now_ms) // DAY_MS
        except (OSError, ValueError):
            continue
    return found


def problems(tls: Tls, gateway: str, now_ms: int) -> list[str]:
    """What must be put right before the gateway starts; a sentence each. gateway: whose name the certificate must carry."""
    found = list(_files(tls))
    if found:
        return found
    try:
        tls.context()
    except OSError as wrong:
        found.append(f"mqtt: the certificates cannot be used: {wrong}")
    for path in (tls.ca, tls.cert):
        try:
            read = None if path is None else certificate(path)
        except (OSError, ValueError) as wrong:
            found.append(f"mqtt: {path} holds no certificate: {wrong}")
            continue
        if read is None:
            continue
        if path == tls.cert and read.name != gateway:
            found.append(f"mqtt: the certificate {path} is of {read.name!r}, but this gateway is {gateway!r}")
        if read.until_ms <= now_ms:
            found.append(f"mqtt: the certificate {path} has ended; put a new one in its place")
        elif read.from_ms > now_ms:
            found.append(f"mqtt: the certificate {path} is not good yet; is this machine's clock right?")
    return found


def _files(tls: Tls) -> Iterator[str]:
    for path in tls.files:
        try:
            mode = path.stat().st_mode
            with path.open("rb"):
                pass
        except OSError as wrong:
            yield f"mqtt: {path} cannot be read: {wrong.strerror}"
            continue
        if path == tls.key and stat.S_IMODE(mode) & 0o077:
            yield f"mqtt: {path} holds a secret and may be read by others; chmod 600 it"
