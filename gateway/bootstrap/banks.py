"""The banks' interface put together: who may call by the configuration, the gate, and the use cases behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Protocol, TypeVar

import structlog
from fastapi import FastAPI

from gateway.adapters.bank_key_files import key_of
from gateway.adapters.http.bank import BankApi, BankTerms, BankUseCases
from gateway.adapters.http.bank_gate import BankGate, Banks, KnownBank, KnownKey
from gateway.adapters.http.bank_topups import TakeTopUp
from gateway.adapters.http.server import Listener
from gateway.adapters.http.tls import Tls
from gateway.adapters.identity import Identity
from gateway.domain.bank_terms import SCOPES
from gateway.domain.nonces import Claim
from gateway.domain.records import Payment
from gateway.services.accepted_now import accepted_now
from gateway.services.apply_topup import MOST_BALANCE_MICRO, masked
from gateway.services.ports import Site, Tx
from gateway.services.seal_receipt import seal_receipt
from gateway.services.spend_nonce import spend
from gateway.settings import Settings, SettingsError, secret_file
from gateway.settings.bank import Partner, PartnerKey

T = TypeVar("T")
log = structlog.get_logger()


class Books(Protocol):
    """What of the gateway the interface needs."""

    @property
    def settings(self) -> Settings: ...
    async def write(self, usecase: Callable[[Tx], T]) -> T: ...


class House(Books, Protocol):
    """A running gateway."""

    async def read(self, query: Callable[[Tx], T]) -> T: ...
    def site(self) -> Site: ...


def banks_of(settings: Settings, folder: Path) -> Banks:
    """Who may call. Raises SettingsError with what is wrong with each key."""
    bank, errors = settings.bank, list[str]()
    keys = dict[str, KnownKey]()
    for partner in bank.partner:
        for entry in partner.key:
            try:
                known = _key(partner.id, entry, folder)
                _must_be_new(known, keys)
                keys[entry.kid] = known
            except SettingsError as wrong:
                errors += [f"bank.partner {partner.id}: key {entry.kid}: {text}" for text in wrong.errors]
    if errors:
        raise SettingsError(errors)
    banks = {
        partner.id: KnownBank(
            partner.terms(bank.zone), frozenset(partner.scopes), partner.per_second, partner.per_minute, partner.client_certificate
        )
        for partner in bank.partner
    }
    proxies = [ip_network(each) for each in bank.proxies]
    return Banks(bank.zone, bank.public_url if bank.signatures == "required" else None, banks, keys, proxies)


def examine_banks(settings: Settings, folder: Path) -> list[str]:
    """What is wrong with the banks' keys and with our own certificate for them, a sentence each, for `check`."""
    tls = bank_tls(settings, folder)
    errors = [] if tls is None else [f"bank: {text}" for text in tls.faults()]
    try:
        banks_of(settings, folder)
    except SettingsError as wrong:
        errors += wrong.errors
    return errors


def bank_notices(settings: Settings) -> list[str]:
    """What stands in the file and may not be meant so, for `check`."""
    rest = sorted(SCOPES - {*Partner.model_fields["scopes"].default})
    keyed = any(partner.key for partner in settings.bank.partner) and settings.bank.signatures == "off"
    return ['bank: signatures = "off", so nobody is asked for the keys that its partners have'] * keyed + [
        f"bank.partner {partner.id}: names no scopes, so it may not {', '.join(rest)}"
        for partner in settings.bank.partner
        if "scopes" not in partner.model_fields_set
    ]


def _key(bank: str, entry: PartnerKey, folder: Path) -> KnownKey:
    path = folder / (entry.file or "")
    try:
        key = key_of(entry.kid, entry.algorithm, entry.public, path, secret_file)
        return KnownKey(bank, key, *entry.span_ms, entry.own_scopes)
    except SettingsError:
        raise
    except ValueError as wrong:
        raise SettingsError([str(wrong)]) from None


def _must_be_new(known: KnownKey, keys: Mapping[str, KnownKey]) -> None:
    """Two keys of a bank count as two people (bank_books_api.who), so that one key under two names would approve its own acts."""
    twin = next((kid for kid, other in keys.items() if other.key.key == known.key.key), None)
    if twin is not None:
        raise SettingsError([f"this is the key {twin} once more: each name needs a key of its own"])


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
    app: FastAPI, house: House, gate: BankGate, topup: TakeTopUp, held: Callable[[], str | None], now_ms: Callable[[], int]
) -> None:
    """The routes of /bank/v1. held: why no money is taken now."""

    async def seal(payment: Payment) -> Payment:
        return await house.write(lambda tx: seal_receipt(tx, payment, house.site()))

    cases = BankUseCases(topup, house.read, held, seal)
    app.include_router(BankApi(cases, BankTerms(MOST_BALANCE_MICRO, masked, accepted_now), gate, now_ms).router())


def bank_tls(settings: Settings, folder: Path) -> Tls | None:
    """What secures the banks' own listener; None where nothing does."""
    bank = settings.bank
    if bank.certificate is None or bank.key is None or bank.listen is None or not bank.enabled:
        return None
    return Tls(folder / bank.certificate, folder / bank.key, None if bank.client_ca is None else folder / bank.client_ca)


def ended_bank_tls(settings: Settings, folder: Path, now_ms: int) -> list[str]:
    """Certificates out of their time: `check` and a reload refuse them; a start lives with them, for lights must come back."""
    tls = bank_tls(settings, folder)
    return [] if tls is None else [f"bank: {text}" for text in tls.out_of_time(now_ms)]


def bank_listener(settings: Settings, folder: Path, app: Callable[[], FastAPI]) -> Listener | None:
    """The listener of the banks' own, where one is configured; app: made for it. Raises ListenError."""
    bank = settings.bank
    if bank.listen is None or not bank.enabled:
        return None
    host, _, port = bank.listen.rpartition(":")
    return Listener(app(), host.strip("[]"), int(port), tls=bank_tls(settings, folder), name="bank")
