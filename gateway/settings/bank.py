"""The banks' interface and the banks that may use it (contract.md 3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, field_validator, model_validator

from gateway.domain import bank_terms
from gateway.domain.bank_terms import PartnerTerms, SerialScope
from gateway.domain.units import parse_money
from gateway.settings.iso8583 import Iso8583
from gateway.settings.trust import WaysToPay
from gateway.settings.words import Currency, Id, Listen, Service, Table, Zone

MOST_PARTNERS, MOST_KEYS = 1000, 16
"""Of a file; and keys of a partner: the one in use, the next, and those of its machines."""

MOST_PROXIES = 64
"""Of one gateway; each call of a bank is held against all of them."""

PER_SECOND, PER_MINUTE = 200, 6000
"""What a bank may ask by default: a day's payments of a large city in an hour; the store takes a thousand a second."""

_SPAN = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_X = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_SM2 = re.compile(r"(04)?[0-9A-Fa-f]{128}", re.ASCII)


def _clock(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise ValueError(f"{text!r} is no time of day; write one like 23:00")
    return text


def _span(text: str) -> str:
    found = _SPAN.fullmatch(text)
    if not found or text[:5] == text[6:]:
        raise ValueError(f"{text!r} is no span of the day; write one like 23:50-00:10")
    return text


def _public_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{text!r} is more than the beginning of an address; write one like https://pay.example.org")
    return text.rstrip("/")


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError(f"{text!r} is no address and no network; write one like 10.0.0.7 or 10.0.0.0/24") from None


def _minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:5])


Money = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,8})\.[0-9]{2}$")]
Scopes = Annotated[list[Literal["query", "topup", "reversal", "refund", "reconcile", "settle"]], Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class PartnerKey(Table):
    """A key that a bank signs with. ed25519: public (x of its JWK) or file (PEM). hmac-sha256: file, of mode 0600, with 32 bytes or
    more in hex. sm2-sm3: public, in hex. from, until: when it may be used; several may be valid at once, while they change.
    scopes: what it may, where that is not what its bank may."""

    kid: Id
    algorithm: Literal["ed25519", "hmac-sha256", "sm2-sm3"] = "ed25519"
    public: str | None = None
    file: str | None = None
    begins: Annotated[AwareDatetime | None, Field(alias="from")] = None
    until: AwareDatetime | None = None
    scopes: Scopes | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.public is None) == (self.file is None):
            raise ValueError(f"key {self.kid}: name either public or file")
        if self.algorithm == "hmac-sha256" and self.public is not None:
            raise ValueError(f"key {self.kid}: the secret of an hmac-sha256 key stands in a file of mode 0600, never here")
        if self.algorithm == "ed25519" and self.public is not None and not _X.fullmatch(self.public):
            raise ValueError(f"key {self.kid}: public is the x of an Ed25519 JWK, 43 characters of base64url")
        if self.algorithm == "sm2-sm3" and (self.public is None or not _SM2.fullmatch(self.public)):
            raise ValueError(f"key {self.kid}: public is an SM2 key in hex, 128 digits, or 130 that begin with 04")
        if self.begins is not None and self.until is not None and self.begins >= self.until:
            raise ValueError(f"key {self.kid}: until is to be after from")
        return self

    @property
    def span_ms(self) -> tuple[int, int | None]:
        """When it may be used: [from, until) in UTC ms; None for ever."""
        begin = 0 if self.begins is None else int(self.begins.timestamp() * 1000)
        return begin, None if self.until is None else int(self.until.timestamp() * 1000)

    @property
    def own_scopes(self) -> frozenset[str] | None:
        """What it may by itself; None for what its bank may."""
        return None if self.scopes is None else frozenset(self.scopes)


class PartnerLimits(Table):
    """Least and most of one payment; most of an account in a day, and of all accounts in a day, in money and in payments."""

    least: Money | None = None
    payment: Money | None = None
    account_day: Money | None = None
    day: Money | None = None
    account_day_count: Count | None = None
    day_count: Count | None = None

    def terms(self, currency: str) -> bank_terms.Limits:
        """In the domain's words."""
        micro = {name: None if text is None else parse_money(text, currency) for name, text in self._money().items()}
        return bank_terms.Limits(
            micro["least"], micro["payment"], micro["account_day"], micro["day"], self.account_day_count, self.day_count
        )

    def _money(self) -> Mapping[str, str | None]:
        return {"least": self.least, "payment": self.payment, "account_day": self.account_day, "day": self.day}


class Partner(Table):
    """A bank. cut_over: the time of its day at which its accounting date changes. no_trade: when no payment is taken. quota:
    the most it may owe us. client_certificate: a name in the certificate that it has to show, where the listener asks for one."""

    id: Id
    scopes: Scopes = ["query", "topup", "reversal"]
    key: Annotated[list[PartnerKey], Field(max_length=MOST_KEYS)] = []
    zone: Zone | None = None
    currency: Currency = "CNY"
    serial_scope: Literal["", "accounting_date"] = ""
    cut_over: Annotated[str, AfterValidator(_clock)] = "00:00"
    no_trade: Annotated[str, AfterValidator(_span)] | None = None
    quota: Money | None = None
    limits: PartnerLimits = PartnerLimits()
    channel: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,64}$")], PartnerLimits] = {}
    per_second: Annotated[int, Field(ge=1, le=10_000)] = PER_SECOND
    per_minute: Annotated[int, Field(ge=1, le=600_000)] = PER_MINUTE
    client_certificate: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None

    @field_validator("id")
    @classmethod
    def _not_ours(cls, name: str) -> str:
        if name in bank_terms.OURS:
            raise ValueError(f"{name} is how we book by ourselves: name the bank otherwise")
        return name

    def terms(self, zone: str) -> PartnerTerms:
        """In the domain's words. zone: of banks that name none."""
        return PartnerTerms(
            bank=self.id,
            zone=self.zone or zone,
            currency=self.currency,
            serial_scope=SerialScope(self.serial_scope),
            cut_over_min=_minute(self.cut_over),
            no_trade=None if self.no_trade is None else (_minute(self.no_trade[:5]), _minute(self.no_trade[6:])),
            limits=self.limits.terms(self.currency),
            channels={name: limits.terms(self.currency) for name, limits in self.channel.items()},
            quota_micro=None if self.quota is None else parse_money(self.quota, self.currency),
        )


class Bank(WaysToPay):
    """The banks' interface. signatures: `required` as soon as a partner has a key; `off` only on loopback. public_url: where banks
    call, as they sign it. listen: a listener of its own; certificate and key make it TLS, client_ca asks banks for theirs.
    proxies: addresses or networks whose x-forwarded-for is believed, when wrong signatures are counted by where they come from."""

    signatures: Literal["off", "required"] = "off"
    zone: Zone = "Asia/Shanghai"
    public_url: Annotated[Service, AfterValidator(_public_url)] | None = None
    listen: Listen | None = None
    certificate: str | None = None
    key: str | None = None
    client_ca: str | None = None
    proxies: Annotated[list[Annotated[str, AfterValidator(_network)]], Field(max_length=MOST_PROXIES)] = []
    partner: Annotated[list[Partner], Field(max_length=MOST_PARTNERS)] = []
    iso8583: Annotated[list[Iso8583], Field(max_length=MOST_PARTNERS)] = []

    @model_validator(mode="before")
    @classmethod
    def _signed_with_partners(cls, found: object) -> object:
        partners = found.get("partner") if isinstance(found, dict) and "signatures" not in found else None
        if isinstance(partners, list) and any(isinstance(partner, dict) and partner.get("key") for partner in partners):
            return {**found, "signatures": "required"}  # type: ignore[dict-item]
        return found

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.signatures == "required" and self.enabled and self.public_url is None:
            raise ValueError("signatures cover the address that banks call: name it as public_url")
        if self.signatures == "required" and self.enabled and not any(partner.key for partner in self.partner):
            raise ValueError('signatures = "required" needs a [[bank.partner]] with a [[bank.partner.key]]')
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: name both, or neither")
        if self.certificate is not None and self.listen is None:
            raise ValueError("a certificate is for a listener of the banks' own: name it as listen")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca asks banks for a certificate, which wants TLS: name certificate and key")
        if self.client_ca is None and any(partner.client_certificate for partner in self.partner):
            raise ValueError("a partner has a client_certificate, but without client_ca nobody is asked for one")
        for what, names in (
            ("partner", [partner.id for partner in self.partner]),
            ("key", [key.kid for partner in self.partner for key in partner.key]),
        ):
            for name in sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what} {name}: is there twice")
        return self
