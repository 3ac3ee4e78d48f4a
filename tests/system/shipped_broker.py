"""Mosquitto with the very configuration that we ship, and certificates of an authority made for the test."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.adapters.mqtt_broker import Broker, Tls
from tests.gateway.brokers import READY_S, free_port

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "mosquitto"
DAY = datetime.timedelta(days=1)


@dataclass
class Authority:
    """Issues certificates for gateways, the centre and the broker."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @staticmethod
    def new(name: str = "a utility's own authority") -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        made = _builder(name, name, key.public_key(), 3650).add_extension(x509.BasicConstraints(True, None), True)
        return Authority(key, made.sign(key, hashes.SHA256()))

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, folder: Path, name: str, *, file: str | None = None, days: int = 90) -> Tls:
        """Certificate and key of `name` in the folder, the key for its owner's eyes only."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        here = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = _builder(name, str(issuer), key.public_key(), days).add_extension(here, False).sign(self.key, hashes.SHA256())
        folder.mkdir(exist_ok=True)
        tls = Tls(folder / "ca.crt", folder / f"{file or name}.crt", folder / f"{file or name}.key")
        assert tls.ca is not None and tls.cert is not None and tls.key is not None
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )  # fmt: skip
        for path, content in ((tls.ca, self.pem()), (tls.key, pem), (tls.cert, made.public_bytes(serialization.Encoding.PEM))):
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(content)
        return tls


def _builder(name: str, issuer: str, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer))
    begins = min(now, now + days * DAY) - DAY
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(by).public_key(key)
    return made.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(now + days * DAY)


class Shipped:
    """The broker of config/mosquitto, on a port of its own. As root it stays root: pytest's folders are nobody else's."""

    def __init__(self, folder: Path, binary: str, authority: Authority) -> None:
        self.port, self.folder, self._binary = free_port(), folder, binary
        shutil.copytree(SHIPPED, folder)
        (folder / "data").mkdir()
        authority.issue(folder, "broker")
        config = folder / "mosquitto.conf"
        text = config.read_text()
        assert text.count("\nlistener 8883\n") == 1
        text = text.replace("\nlistener 8883\n", f"\nlistener {self.port} 127.0.0.1\n")
        config.write_text(text + ("user root\n" if os.getuid() == 0 else ""))
        self._child: subprocess.Popen[bytes] | None = None

    def address(self, tls: Tls, protocol: int = 5) -> Broker:
        """For whoever has this certificate."""
        return Broker(port=self.port, protocol=protocol, tls=tls)

    def start(self) -> None:
        with (self.folder / "broker.log").open("ab") as log:
            command = [self._binary, "-c", "mosquitto.conf"]
            self._child = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
        raise AssertionError((self.folder / "broker.log").read_text())

    def kill(self) -> None:
        """Without a chance to write anything."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def wipe(self) -> None:
        """Its disk is lost."""
        shutil.rmtree(self.folder / "data")
        (self.folder / "data").mkdir()

    def saved(self) -> tuple[int, ...]:
        """Another one each time that it has written its disk."""
        with contextlib.suppress(FileNotFoundError):
            file = (self.folder / "data" / "mosquitto.db").stat()
            return file.st_ino, file.st_size, file.st_mtime_ns
        return ()

    def said(self) -> str:
        return (self.folder / "broker.log").read_text()


def stranger(port: int, ca: Path) -> ssl.SSLSocket:
    """A TLS connection without a certificate of its own."""
    context = ssl.create_default_context(cafile=str(ca))
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 60), server_hostname="localhost")
