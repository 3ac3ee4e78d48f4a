"""A line in the settings, and the ports on which devices dial in (contract.md 7)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.settings.words import MOST_SAID, Hex, Id, Listen, Network, Table

NEARBY = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10")
"""Loopback and private networks (RFC 1918, 4193, 4291): who may dial in where nobody has said otherwise."""

DIAL_IN_MS = 3_000
"""What a converter that dials in adds at most where nobody has said otherwise: a slow mobile network."""


class Rs485(Table):
    """The kernel switches the direction of the line by RTS: its level while sending and otherwise, and pauses around the bytes."""

    rts_tx: bool = True
    rts_rx: bool = False
    delay_tx_ms: Annotated[int, Field(ge=0, le=100)] = 0
    delay_rx_ms: Annotated[int, Field(ge=0, le=100)] = 0


class Line(Table):
    id: Id
    kind: Literal["serial", "tcp", "modbus-tcp", "tcp-listen"]
    device: str | None = None
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    baud: Annotated[int, Field(ge=300, le=921_600)] = 2400
    parity: Literal["N", "E", "O"] = "E"
    stopbits: Literal[1, 2] = 1
    rs485: Rs485 | None = None
    gap_ms: Annotated[int, Field(ge=0, le=1000)] = 20
    latency_ms: Annotated[int, Field(ge=0, le=10_000)] | None = None
    listen: Listen | None = None
    registration: str | None = None
    registration_hex: Hex | None = None
    source: Network | None = None
    allow: Annotated[list[Network], Field(min_length=1)] | None = None
    heartbeat_hex: Hex | None = None
    heartbeat_answer_hex: Hex | None = None

    @model_validator(mode="after")
    def _reached(self) -> Self:
        if self.kind == "serial" and not self.device:
            raise ValueError("a serial line needs a device, like /dev/serial/by-id/...")
        if self.kind in ("tcp", "modbus-tcp") and (not self.host or self.port is None):
            raise ValueError(f"a {self.kind} line needs host and port")
        if wrong := self._of_other_kinds() + (self._dialled() if self.kind == "tcp-listen" else []):
            raise ValueError("; ".join(wrong))
        return self

    def _of_other_kinds(self) -> list[str]:
        dialled = {"listen", "registration", "registration_hex", "source", "allow", "heartbeat_hex", "heartbeat_answer_hex"}
        foreign = {"device", "host", "port"} if self.kind == "tcp-listen" else dialled
        if self.kind != "serial":
            foreign = foreign | {"rs485", "stopbits"}
        return [f"a {self.kind} line has no {key}" for key in type(self).model_fields if key in foreign & self.model_fields_set]

    def _dialled(self) -> list[str]:
        wrong = []
        if self.listen is None or self.listen.endswith(":0"):
            wrong.append('a tcp-listen line needs the port that its device dials, like listen = "0.0.0.0:7700"')
        if self.registration is not None and self.registration_hex is not None:
            wrong.append("write registration or registration_hex, not both")
        if self.registration is not None and not (self.registration.isascii() and 1 <= len(self.registration) <= MOST_SAID):
            wrong.append(f"registration is 1 to {MOST_SAID} ASCII characters; write other bytes as registration_hex")
        if self.heartbeat_answer_hex is not None and self.heartbeat_hex is None:
            wrong.append("heartbeat_answer_hex needs heartbeat_hex, which it answers")
        if self.source and self.allow is not None and not any(_within(self.source, network) for network in self.allow):
            wrong.append(f"source {self.source} is not within allow")
        return wrong

    def first_words(self) -> bytes:
        """The registration packet, empty for none."""
        return bytes.fromhex(self.registration_hex) if self.registration_hex else (self.registration or "").encode()

    def sources(self) -> tuple[str, ...]:
        """The networks from which its device may dial in."""
        return (self.source,) if self.source else tuple(NEARBY if self.allow is None else self.allow)

    def added_ms(self) -> int:
        """What converters and radio add to an answer."""
        return (DIAL_IN_MS if self.kind == "tcp-listen" else 0) if self.latency_ms is None else self.latency_ms


def shared_ports(lines: Sequence[Line], taken: str) -> list[str]:
    """Lines on one listening port whose devices could be taken for each other, and ports that cannot be had. taken: http.listen."""
    errors: list[str] = []
    dialled = [line for line in lines if line.listen is not None]
    for n, line in enumerate(dialled):
        if _same_port(line.listen, taken):
            errors.append(f"line {line.id}: {line.listen} is the port of http.listen")
        for other in dialled[:n]:
            if line.listen != other.listen and _same_port(line.listen, other.listen):
                errors.append(f"line {line.id}: {line.listen} and {other.listen} of line {other.id} are one port; write them alike")
            elif line.listen == other.listen and any(_overlap(a, b) for a in line.sources() for b in other.sources()):
                errors += _alike(line, other)
    return errors


def _alike(line: Line, other: Line) -> list[str]:
    mine, theirs = line.first_words(), other.first_words()
    if not mine or not theirs:
        return [
            f"line {line.id}: shares {line.listen} with line {other.id}; "
            "both need a registration, or a source each, so that their devices are told apart"
        ]
    if mine.startswith(theirs) or theirs.startswith(mine):
        return [f"line {line.id}: its registration and that of line {other.id} on the same port begin alike; one hides the other"]
    return []


def _same_port(one: str | None, other: str | None) -> bool:
    (host, _, port), (other_host, _, other_port) = (one or "").rpartition(":"), (other or "").rpartition(":")
    return port == other_port and (host == other_host or bool({host, other_host} & {"0.0.0.0", "[::]"}))


def _overlap(one: str, other: str) -> bool:
    a, b = ipaddress.ip_network(one), ipaddress.ip_network(other)
    return a.version == b.version and a.overlaps(b)


def _within(one: str, other: str) -> bool:
    return _overlap(one, other) and ipaddress.ip_network(one).prefixlen >= ipaddress.ip_network(other).prefixlen
