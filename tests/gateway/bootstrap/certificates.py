"""Certificates for tests: an authority, and whom it vouches for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def authority(folder: Path) -> Ed25519PrivateKey:
    """Its key; its certificate is ca.pem."""
    key = Ed25519PrivateKey.generate()
    _write(folder / "ca.pem", "Test CA", key, key, x509.BasicConstraints(ca=True, path_length=None))
    return key


def vouched(folder: Path, name: str, by: Ed25519PrivateKey, days: int = 1) -> None:
    """NAME.pem and NAME.key, good for so many days from now; negative: it ended so many days ago."""
    key = Ed25519PrivateKey.generate()
    _write(folder / f"{name}.pem", name, key, by, x509.BasicConstraints(ca=False, path_length=None), days)
    file = folder / f"{name}.key"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)


def _write(
    path: Path, name: str, key: Ed25519PrivateKey, by: Ed25519PrivateKey, kind: x509.BasicConstraints, days: int = 1
) -> None:
    now = datetime.now(UTC)
    ends = now + timedelta(days=days)
    called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName(
        [x509.DNSName(f"{name.replace(' ', '-')}.example"), x509.IPAddress(ip_address("127.0.0.1"))]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test CA")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends) - timedelta(hours=1))
        .not_valid_after(ends)
        .add_extension(kind, critical=True)
        .add_extension(names, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        .sign(by, None)
    )
    path.write_bytes(made.public_bytes(Encoding.PEM))
