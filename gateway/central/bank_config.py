"""The [bank] table of the central system's file: the gateways' own words for banks, where they mean something at this door."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Self

from pydantic import model_validator

from gateway.adapters.bank_key_files import key_of
from gateway.adapters.http.bank_gate import Banks, KnownBank, KnownKey
from gateway.adapters.http.tls import Tls
from gateway.domain.bank_terms import QUERY, RECONCILE, REVERSAL, TOPUP
from gateway.settings.bank import Bank, PartnerKey

OF_GATEWAYS = ("iso8583", "paths", "heartbeat", "heartbeat_limit_s", "counter_hours")
"""Keys of a gateway's [bank] that mean nothing here."""

SCOPES = frozenset({QUERY, TOPUP, REVERSAL, RECONCILE})
"""What a bank may be allowed at the centre; money that goes back later and settlements are booked where the ledger is."""


class BadBanks(ValueError):
    """A partner's key cannot be used; one sentence each."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = errors
        super().__init__("; ".join(errors))


class BankTable(Bank):
    """The banks' front, in the words of a gateway's [bank]. accounts: table of the accounts and their gateways, beside the file."""

    accounts: str

    @model_validator(mode="after")
    def _of_a_centre(self) -> Self:
        for name in OF_GATEWAYS:
            if name in self.model_fields_set:
                raise ValueError(f"{name} is a gateway's, the centre has no use for it")
        for partner in self.partner:
            if more := sorted(set(partner.scopes) - SCOPES):
                raise ValueError(f"partner {partner.id}: {', '.join(more)} is asked of the gateways, not of the centre")
            if partner.quota is not None:
                raise ValueError(f"partner {partner.id}: a quota is kept by the gateways' ledgers, not by the centre")
        return self

    def key_files(self) -> Iterator[str]:
        """Names of the files that hold partners' keys."""
        yield from (entry.file for partner in self.partner for entry in partner.key if entry.file is not None)

    def tls(self, folder: Path) -> Tls | None:
        """What secures the banks' own listener."""
        if self.certificate is None or self.key is None:
            return None
        ca = None if self.client_ca is None else folder / self.client_ca
        return Tls(folder / self.certificate, folder / self.key, ca)

    def banks(self, folder: Path) -> Banks:
        """Who may call. BadBanks with what is wrong with each key."""
        keys, errors = dict[str, KnownKey](), list[str]()
        for partner in self.partner:
            for entry in partner.key:
                try:
                    keys[entry.kid] = _key(partner.id, entry, folder)
                except ValueError as wrong:
                    errors.append(f"bank.partner {partner.id}: key {entry.kid}: {wrong}")
        if errors:
            raise BadBanks(errors)
        known = {
            partner.id: KnownBank(
                partner.terms(self.zone), frozenset(partner.scopes), partner.per_second, partner.per_minute,
                partner.client_certificate,
            )
            for partner in self.partner
        }  # fmt: skip
        proxies = [ip_network(each) for each in self.proxies]
        return Banks(self.zone, self.public_url if self.signatures == "required" else None, known, keys, proxies)


def _key(bank: str, entry: PartnerKey, folder: Path) -> KnownKey:
    """ValueError in one sentence."""
    path = folder / (entry.file or "")
    key = key_of(entry.kid, entry.algorithm, entry.public, path, _secret)
    return KnownKey(bank, key, *entry.span_ms, entry.own_scopes)


def _secret(path: Path) -> str:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ValueError(f"{path}: holds a secret and may be read by others; chmod 600 it")
        return path.read_text("utf-8").strip()
    except OSError as problem:
        raise ValueError(f"{path}: cannot be read: {problem.strerror}") from None
