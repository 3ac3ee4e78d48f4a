"""The banks' interface put together: who may call by the configuration, the gate, and the use cases behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import structlog
from fastapi import FastAPI

from gateway.adapters.bank_key_files import ed25519_file, ed25519_key, hmac_key, sm2_key
from gateway.adapters.http.bank import BankApi, BankTerms, BankUseCases
from gateway.adapters.http.bank_gate import BankGate, Banks, KnownBank, KnownKey
from gateway.adapters.http.bank_topups import TakeTopUp
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.server import Listener, Tls
from gateway.adapters.identity import Identity
from gateway.domain.nonces import Claim
from gateway.services.apply_topup import MOST_BALANCE_MICRO, masked
from gateway.services.ports import Tx
from gateway.services.spend_nonce import spend
from gateway.settings import Settings, SettingsError, secret_file
from gateway.settings.bank import PartnerKey

T = TypeVar("T")
log = structlog.get_logger()


class Books(Protocol):
    """What of the gateway the interface needs."""

    @property
    def settings(self) -> Settings: ...
    async def write(self, usecase: Callable[[Tx], T]) -> T: ...


def banks_of(settings: Settings, folder: Path) -> Banks:
    """Who may call. Raises SettingsError with what is wrong with each key."""
    bank, errors = settings.bank, list[str]()
    keys = dict[str, KnownKey]()
    for partner in bank.partner:
        for entry in partner.key:
            try:
                keys[entry.kid] = _key(partner.id, entry, folder)
            except SettingsError as wrong:
                errors += [f"bank.partner {partner.id}: key {entry.kid}: {text}" for text in wrong.errors]
    if errors:
        raise SettingsError(errors)
    known = {
        partner.id: KnownBank(
            partner.terms(bank.zone), frozenset(partner.scopes), partner.per_second, partner.per_minute, partner.client_certificate
        )
        for partner in bank.partner
    }
    return Banks(bank.zone, bank.public_url if bank.signatures == "required" else None, known, keys)


def examine_banks(settings: Settings, folder: Path) -> list[str]:
    """What is wrong with the banks' keys, a sentence each, for `check`."""
    try:
        banks_of(settings, folder)
    except SettingsError as wrong:
        return wrong.errors
    return []


def _key(bank: str, entry: PartnerKey, folder: Path) -> KnownKey:
    path = folder / (entry.file or "")
    try:
        if entry.algorithm == "hmac-sha256":
            key = hmac_key(entry.kid, secret_file(path), path)
        elif entry.algorithm == "sm2-sm3":
            key = sm2_key(entry.kid, entry.public or "")
        else:
            key = ed25519_file(entry.kid, path) if entry.public is None else ed25519_key(entry.kid, entry.public)
        return KnownKey(bank, key, *entry.span_ms)
    except SettingsError:
        raise
    except ValueError as wrong:
        raise SettingsError([str(wrong)]) from None


class KnownBanks:
    """The banks of the settings as they are now. A key that cannot be read any more keeps its last form, and the log says so."""

    def __init__(self, settings: Callable[[], Settings], folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self._seen = settings().bank
        self._banks = banks_of(settings(), folder)

    def __call__(self) -> Banks:
        settings = self._settings()
        if settings.bank is not self._seen:
            self._seen = settings.bank
            try:
                self._banks = banks_of(settings, self._folder)
            except SettingsError as wrong:
                log.error("bank_keys", errors=wrong.errors)
        return self._banks


def gate_of(books: Books, folder: Path, identity: Identity, now_ms: Callable[[], int], heard: Callable[[], None]) -> BankGate:
    """Who lets banks in. heard: told of every call that is a bank's. Raises SettingsError."""

    async def spent(claim: Claim) -> None:
        await books.write(lambda tx: spend(tx, claim, now_ms()))

    return BankGate(KnownBanks(lambda: books.settings, folder), now_ms, spend=spent, heard=heard, identity=identity)


def hang_banks(
    app: FastAPI, read: Reads, gate: BankGate, topup: TakeTopUp, held: Callable[[], str | None], now_ms: Callable[[], int]
) -> None:
    """The routes of /bank/v1. held: why no money is taken now."""
    cases = BankUseCases(topup, read, held)
    app.include_router(BankApi(cases, BankTerms(MOST_BALANCE_MICRO, masked), gate, now_ms).router())


def bank_listener(settings: Settings, folder: Path, app: Callable[[], FastAPI]) -> Listener | None:
    """The listener of the banks' own, where one is configured; app: made for it. Raises ListenError."""
    bank = settings.bank
    if bank.listen is None or not bank.enabled:
        return None
    host, _, port = bank.listen.rpartition(":")
    tls = None
    if bank.certificate is not None and bank.key is not None:
        ca = None if bank.client_ca is None else folder / bank.client_ca
        tls = Tls(folder / bank.certificate, folder / bank.key, ca)
    return Listener(app(), host.strip("[]"), int(port), tls=tls)
