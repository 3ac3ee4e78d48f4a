"""What secures a listener: certificates from files that may be renewed at any time, and what is wrong with them."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.adapters.certificates import DAY_MS, certificate

log = structlog.get_logger()

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM: our certificate and its key, and who vouches for the clients' certificates, which are asked for then."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.certificate, self.key) if self.client_ca is None else (self.certificate, self.key, self.client_ca)

    def stamp(self) -> Stamp:
        """Another one when a file was written or replaced."""
        return tuple(_stamp(file) for file in self.files)

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer. Raises OSError or ValueError."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key, _no_password)
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def days_left(self, now_ms: int) -> Mapping[str, int]:
        """Whole days of `bank` and `bank-ca`, negative once they have ended; what cannot be read now is left out."""
        found = {}
        for name, file in (("bank", self.certificate), ("bank-ca", self.client_ca)):
            try:
                if file is not None:
                    found[name] = (certificate(file).until_ms - now_ms) // DAY_MS
            except (OSError, ValueError):
                continue
        return found

    def faults(self) -> Iterator[str]:
        """Files that no listener can begin with, a sentence each."""
        unread = list(self._unread())
        yield from unread
        if unread:
            return
        try:
            self.context()
        except (OSError, ValueError) as wrong:
            yield f"{self.certificate} and {self.key} cannot be used together: {_reason(wrong)}"

    def out_of_time(self, now_ms: int) -> Iterator[str]:
        """Certificates that no bank would trust now, a sentence each."""
        for file in (self.certificate, self.client_ca):
            try:
                found = None if file is None else certificate(file)
            except (OSError, ValueError):
                continue  # a fault
            if found is not None and found.until_ms <= now_ms:
                yield f"the certificate {file} has ended; put a new one in its place"
            elif found is not None and found.from_ms > now_ms:
                yield f"the certificate {file} is not good yet; is this machine's clock right?"

    def _unread(self) -> Iterator[str]:
        for file in self.files:
            try:
                mode = file.stat().st_mode
                held = file.read_bytes()
            except OSError as wrong:
                yield f"{file} cannot be read: {wrong.strerror}"
                continue
            if file == self.key and stat.S_IMODE(mode) & 0o077:
                yield f"{file} holds a secret and may be read by others; chmod 600 it"
            elif file != self.key and b"-----BEGIN CERTIFICATE-----" not in held:
                yield f"{file} holds no certificate in PEM"


class RenewedContext(ssl.SSLContext):
    """Secures each new connection with the files as they are then; connections that stand keep what they began with.

    Files that do not fit together, as between the renewal of the one and the other, leave what was good before in use.
    """

    _tls: Tls
    _seen: Stamp
    _good: ssl.SSLContext

    @classmethod
    def of(cls, tls: Tls) -> RenewedContext:
        """Raises OSError or ValueError where the files cannot be used now."""
        renewed = cls(ssl.PROTOCOL_TLS_SERVER)
        renewed._tls, renewed._seen, renewed._good = tls, tls.stamp(), tls.context()
        return renewed

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Called by the event loop for each connection, before its handshake."""
        self._renew()
        return self._good.wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def _renew(self) -> None:
        if (now := self._tls.stamp()) == self._seen:
            return
        self._seen = now
        try:
            self._good = self._tls.context()
        except (OSError, ValueError) as wrong:
            log.error("certificate_unusable", file=str(self._tls.certificate), text=f"the one before stays: {_reason(wrong)}")
        else:
            log.info("certificate_renewed", file=str(self._tls.certificate))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        seen = os.stat(file)
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


def _no_password() -> str:
    raise ssl.SSLError("the key is encrypted; the gateway must be able to start by itself")


def _reason(wrong: Exception) -> str:
    """OpenSSL's words without its place in its source."""
    reason = getattr(wrong, "reason", None)
    known = {"KEY_VALUES_MISMATCH": "the key is not that of the certificate"}
    return known.get(str(reason), str(reason or wrong).lower().replace("_", " "))
