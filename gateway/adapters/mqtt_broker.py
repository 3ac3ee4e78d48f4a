"""Where an MQTT broker is, how the way to it is secured, and what it means when it refuses us."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from aiomqtt.exceptions import MqttCodeError
from paho.mqtt.reasoncodes import ReasonCode

_WORDS = {
    132: "it does not speak this version of MQTT",
    133: "it does not take our client identifier",
    134: "it does not know this user name and password",
    135: "it does not allow us in; its list of clients and our certificate or user name do not agree",
    136: "it is not available",
    137: "it is busy",
    138: "it has banned us",
    139: "it is shutting down",
    141: "nothing came through between it and us for too long",
    142: "another client with our identifier has connected; two gateways must not have the same id",
    144: "it does not take this topic",
    147: "we sent more at once than it takes",
    149: "a message was larger than it takes",
    151: "a quota of the broker is used up",
    152: "an administrator of the broker has ended the connection",
    156: "it sends us to another server",
    157: "it has moved to another server",
}

_OF_TLS = {
    "CERTIFICATE_EXPIRED": "it says that our certificate has ended",
    "CERTIFICATE_REVOKED": "it says that our certificate was revoked",
    "CERTIFICATE_REQUIRED": "it wants to see a certificate, and we have none",
    "UNKNOWN_CA": "it does not know the authority that issued our certificate",
    "BAD_CERTIFICATE": "it does not take our certificate",
    "CERTIFICATE_UNKNOWN": "it does not take our certificate",
    "WRONG_VERSION_NUMBER": "there is no TLS on this port",
}
"""What the end of a TLS handshake means, by the end of its name."""

HUNG_UP = "hung up"

_HUNG_UP = "it hung up without an answer; do TLS and the port agree?"
_PLAIN = {
    "[Errno 104] Connection reset by peer": _HUNG_UP,
    HUNG_UP: _HUNG_UP,
    "[Errno 111] Connection refused": "nothing listens there",
    "[Errno 113] No route to host": "there is no way to it",
    "[Errno -2] Name or service not known": "nobody knows this name",
    "[Errno -3] Temporary failure in name resolution": "no name server answers",
    "Operation timed out": "it gives no answer",
    "TimeoutError": "it gives no answer",
}
"""What is said of an attempt that failed, by the client library for the most part."""

_MISTRUST = re.compile(r"certificate verify failed: (.*?)\.? \(_ssl")

TAKEN_OVER = 142


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM. ca: who vouches for the broker, None: whom the system trusts. cert, key: our own, or none of both."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All that there are."""
        return tuple(file for file in (self.ca, self.cert, self.key) if file is not None)

    def stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Another value once one of the files was changed or replaced."""
        return tuple(_stamp(file) for file in self.files)

    def context(self) -> ssl.SSLContext:
        """From the files as they are now. OSError, which SSLError is: they cannot be read, or do not belong together."""
        context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert is not None:
            context.load_cert_chain(str(self.cert), None if self.key is None else str(self.key), password=_no_password)
        return context


def _no_password() -> str:
    raise ssl.SSLError("the key is encrypted; the gateway must be able to start by itself")


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        seen = os.stat(file)
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is. protocol: 5, 4 (3.1.1) or None: 5 first, and 3.1.1 where the broker refuses that."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    protocol: int | None = None
    tls: Tls | None = None

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine can reach the broker on the way we take."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def code_of(failed: BaseException) -> int | None:
    """The broker's reason as a number, None where it gave none."""
    rc = failed.rc if isinstance(failed, MqttCodeError) else None
    return rc.value if isinstance(rc, ReasonCode) else int(rc) if rc is not None else None


def told(failed: BaseException) -> str:
    """Why there is no connection, in the broker's words as an operator understands them."""
    rc = failed.rc if isinstance(failed, MqttCodeError) else None
    if isinstance(rc, ReasonCode):
        return refusal(rc)
    text = str(failed)
    if mistrusted := _MISTRUST.search(text):
        return f"its certificate is not to be trusted: {mistrusted[1]}"
    alert = re.search(r"\[SSL: (\w+)\]", text)
    known = next((words for end, words in _OF_TLS.items() if alert is not None and alert[1].endswith(end)), None)
    text = text or type(failed).__name__
    return known or _PLAIN.get(text, text)


def refusal(code: ReasonCode) -> str:
    """A reason code in one sentence."""
    return f"{_WORDS.get(code.value, str(code).lower())} (reason code {code.value})"
