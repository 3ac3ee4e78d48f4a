"""The way to the centre: the broker and what secures it, and what the outbox keeps to (contract.md 5 and 7)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.settings.words import Table

PLAIN_PORT, TLS_PORT = 1883, 8883


class Mqtt(Table):
    """Where the broker is. TLS where one of ca, cert and key is named; ca: who vouches for the broker, else the system's list.

    cert and key: the gateway's own, its name the gateway's id; files beside the configuration, the key of mode 0600. All three are
    read again when they change.
    """

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    version: Literal["5", "3.1.1"] | None = None
    commands: bool = False
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    username: str | None = None
    password_file: str | None = None

    @property
    def secured(self) -> bool:
        """Whether the connection is TLS."""
        return self.tls or self.ca is not None or self.cert is not None

    @property
    def port_number(self) -> int:
        """As given, else the usual one."""
        return self.port or (TLS_PORT if self.secured else PLAIN_PORT)

    @model_validator(mode="after")
    def _in_pairs(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together: name both, or neither")
        if self.password_file is not None and self.username is None:
            raise ValueError("a password_file needs a username")
        return self


class Uplink(Table):
    """What the outbox keeps to. drain_per_s: messages of the backlog a second; ahead: for how many the centre may owe an answer.

    signatures: of what comes down; by default required as soon as there is a key, "off" only where the broker is on loopback.
    most_rows, most_mib: what it may take on disk; beyond that readings are thinned, those older than thin_after_days first.
    """

    acknowledge: Literal["central", "broker"] = "central"
    signatures: Literal["required", "off"] | None = None
    drain_per_s: Annotated[int, Field(ge=10, le=100_000)] = 10_000
    ahead: Annotated[int, Field(ge=100, le=1_000_000)] = 2_000
    most_rows: Annotated[int, Field(ge=1_000, le=1_000_000_000)] = 4_000_000
    most_mib: Annotated[int, Field(ge=1, le=1_048_576)] = 2_048
    thin_after_days: Annotated[int, Field(ge=1, le=3_650)] = 7
