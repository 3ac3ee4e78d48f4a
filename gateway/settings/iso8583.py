"""Banks that speak ISO 8583 over TCP: [[bank.iso8583]]."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from gateway.settings.words import Id, Listen, Network, Table

BARE = "the listener must be on loopback, or ask for the partner's certificate (client_ca)"
"""What a listener without MACs is told."""


class Iso8583(Table):
    """partner: the bank, as in its payments. table: a shipped table's name, or a file beside this one. key_file: keys of its MACs
    in hex, a line each, of which the first signs; it may change while we run. zone_key_file: likewise, of keys under which the
    partner sends new ones of those (0800, key exchange). peers: from where it may call.

    certificate and key make it TLS, client_ca asks the partner for its certificate, client_certificate is a name in that.
    institutions: what field 32 may say. sign_on: nothing is taken before one. idle_s: silence that ends a connection.
    """

    partner: Id
    listen: Listen
    table: str = "iso8583-ascii"
    key_file: str | None = None
    zone_key_file: str | None = None
    certificate: str | None = None
    key: str | None = None
    client_ca: str | None = None
    client_certificate: Annotated[str | None, StringConstraints(min_length=1, max_length=253)] = None
    peers: Annotated[list[Network], Field(min_length=1)] = ["127.0.0.1", "::1"]
    institutions: list[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,11}$")]] = []
    sign_on: bool = False
    channel: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{0,64}$")] = "iso8583"
    most_connections: Annotated[int, Field(ge=1, le=64)] = 8
    idle_s: Annotated[int, Field(ge=10, le=86_400)] = 600

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: name both, or neither (the keys of MACs stand in key_file)")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca asks the partner for a certificate, which wants TLS: name certificate and key")
        if self.client_certificate is not None and self.client_ca is None:
            raise ValueError("there is a client_certificate, but without client_ca nobody is asked for one")
        if self.zone_key_file is not None and self.key_file is None:
            raise ValueError("zone_key_file is for changing the keys of MACs, and the first of those stands in key_file")
        if self.key_file is None and not self.guarded:
            raise ValueError(f"without key_file its messages have no MAC, and {BARE}")
        return self

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def guarded(self) -> bool:
        """Whether nobody but the partner reaches it, so that its messages may do without a MAC."""
        return self.loopback or self.client_ca is not None

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        host = self.place[0]
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def twice(partners: list[Iso8583]) -> list[str]:
    """What several partners may not share, a sentence each."""
    errors = []
    for name, values in (("partner", [p.partner for p in partners]), ("listen", [p.listen for p in partners if p.place[1]])):
        errors += [f"bank.iso8583: {name} {value} stands there twice" for value, count in Counter(values).items() if count > 1]
    return errors
