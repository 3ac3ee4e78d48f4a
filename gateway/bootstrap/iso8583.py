"""Listeners for partners that speak ISO 8583: their tables, their keys, and the use cases behind them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from gateway.adapters.bank_tables import Dialect, ProfileError, dialect_of, fits, opens, sealed
from gateway.adapters.certificates import DAY_MS, certificate
from gateway.adapters.http.tls import Tls
from gateway.adapters.iso8583_keys import KeyUseCases, SentKeys
from gateway.adapters.iso8583_listener import IsoListener, Place
from gateway.adapters.iso8583_partner import IsoTerms, IsoUseCases, Partner
from gateway.domain.bank_acts import Reversal, ReversalOutcome
from gateway.domain.bank_keys import KeyVerdict, SentKey, WorkingKeys
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.requests import TopUp
from gateway.domain.traces import Trace
from gateway.services.apply_topup import MOST_BALANCE_MICRO, masked
from gateway.services.exchange_key import confirm_key, keys_lost, right_again, rolled_back, take_key, working_keys
from gateway.services.ports import Site, TopUpOutcome, Tx
from gateway.services.traced_topup import apply_traced, reverse_traced
from gateway.settings import Settings, SettingsError
from gateway.settings.document import secret_file
from gateway.settings.iso8583 import BARE, Iso8583, twice

T = TypeVar("T")
log = structlog.get_logger()

DAY = "iso8583_day:"
"""Key in `meta`: the accounting date of a partner's last cut-over."""


class Books(Protocol):
    """What of the gateway these use cases need."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...
    def site(self) -> Site: ...
    def wake(self) -> None: ...


def table_of(name: str, folder: Path) -> Dialect:
    """A partner's table, shipped or of a file in `folder`. SettingsError in one sentence."""
    try:
        return dialect_of(name, folder)
    except ProfileError as problem:
        raise SettingsError([str(problem)]) from None


def keys_of(path: Path, table: Dialect, wrong: Callable[[Dialect, bytes], str | None] = fits) -> tuple[bytes, ...]:
    """The keys of a file, the first of which signs. wrong: why one is none for the table. SettingsError for none, or such a one."""
    keys = []
    for number, line in enumerate(secret_file(path).splitlines(), 1):
        try:
            keys.append(bytes.fromhex(line))
            why = wrong(table, keys[-1])
        except ValueError:
            why = "is no key in hex"
        if why is not None:
            raise SettingsError([f"{path}: line {number}: {why}"])
    if not keys:
        raise SettingsError([f"{path}: holds no key"])
    return tuple(keys)


class Keys:
    """The keys of a file as it is now; those of before while it cannot be read. Raises SettingsError where it never could."""

    def __init__(self, path: Path, table: Dialect, wrong: Callable[[Dialect, bytes], str | None] = fits) -> None:
        self._path, self._table, self._wrong = path, table, wrong
        self._keys, self._changed_ns = keys_of(path, table, wrong), self._written()

    def __call__(self) -> Sequence[bytes]:
        changed_ns = self._written()
        if changed_ns != self._changed_ns:
            self._changed_ns = changed_ns
            try:
                self._keys = keys_of(self._path, self._table, self._wrong)
            except SettingsError as problem:
                log.warning("iso8583_keys", text=str(problem))
        return self._keys

    def _written(self) -> int:
        return self._path.stat().st_mtime_ns if self._path.exists() else 0


def faults(settings: Settings, folder: Path, now_ms: int) -> list[str]:
    """What is wrong with tables, keys and certificates, a sentence each, for `check`."""
    errors = twice(settings.bank.iso8583)
    for number, entry in enumerate(settings.bank.iso8583):
        try:
            ready = _prepared(entry, folder)
            if ready.tls is not None and (wrong := list(ready.tls.out_of_time(now_ms))):
                raise SettingsError(wrong)
        except SettingsError as problem:
            errors += [f"bank.iso8583[{number}]: {text}" for text in problem.errors]
    return errors


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A partner's table and files. zone: keys under which it sends new ones; None where it does not."""

    table: Dialect
    keys: Callable[[], Sequence[bytes]]
    zone: Callable[[], Sequence[bytes]] | None
    tls: Tls | None


def _prepared(entry: Iso8583, folder: Path) -> _Prepared:
    table, tls = table_of(entry.table, folder), _tls(entry, folder)
    if not sealed(table):
        if not entry.guarded:
            raise SettingsError([f"table {entry.table} has no MAC, and {BARE}"])
        return _Prepared(table, tuple, None, tls)
    if entry.key_file is None:
        raise SettingsError([f"key_file is missing: table {entry.table} has MACs by {table.mac}"])
    zone = None
    if entry.zone_key_file is not None:
        if "key_exchange" not in table.network.values():
            raise SettingsError([f"zone_key_file: table {entry.table} has no code of field 70 for key_exchange"])
        zone = Keys(folder / entry.zone_key_file, table, opens)
    return _Prepared(table, Keys(folder / entry.key_file, table), zone, tls)


def _tls(entry: Iso8583, folder: Path) -> Tls | None:
    """Its files can be used now. SettingsError otherwise."""
    if entry.certificate is None or entry.key is None:
        return None
    tls = Tls(folder / entry.certificate, folder / entry.key, None if entry.client_ca is None else folder / entry.client_ca)
    if wrong := list(tls.faults()):
        raise SettingsError(wrong)
    return tls


def listeners(
    books: Books, settings: Settings, folder: Path, now_ms: Callable[[], int], heard: Callable[[], None], days: dict[str, date],
    keys: Mapping[str, WorkingKeys] | None = None, unsure: Collection[str] = (),
) -> list[IsoListener]:  # fmt: skip
    """Their ports are taken. days: of the last cut-overs, kept up to date. keys: that partners have sent. unsure: whose keys
    a restore may have taken back. Raises ListenError and SettingsError."""
    cases = use_cases(books, now_ms, heard, days)
    rates = {partner.id: (partner.per_second, partner.per_minute) for partner in settings.bank.partner}
    found: list[IsoListener] = []
    try:
        for entry in settings.bank.iso8583:
            ready = _prepared(entry, folder)
            terms = IsoTerms(
                partial(_terms, books, entry.partner, settings.bank.zone),
                ready.keys,
                frozenset(each.rjust(11, "0") for each in entry.institutions),
                entry.sign_on,
                entry.channel,
                MOST_BALANCE_MICRO,
                masked,
                _sent(books, entry.partner, ready, now_ms, (keys or {}).get(entry.partner), entry.partner in unsure),
                rates.get(entry.partner),
            )
            if terms.sent is not None and not terms.sent.valid():
                log.error("iso8583_keys", partner=entry.partner, text=f"no key of {entry.zone_key_file} opens what the bank sent")
            host, port = entry.place
            name = entry.client_certificate or ""
            place = Place(host, port, entry.peers, entry.most_connections, entry.idle_s, ready.tls, name)
            note = partial(_note, entry.partner)
            found.append(IsoListener(place, Partner(ready.table, terms, cases, now_ms), note))
    except BaseException:
        for each in found:
            each.close()
        raise
    return found


def _sent(
    books: Books, bank: str, ready: _Prepared, now_ms: Callable[[], int], known: WorkingKeys | None, unsure: bool
) -> SentKeys | None:
    async def take(base: str, key: SentKey, sealed: bool) -> tuple[KeyVerdict, WorkingKeys]:
        return await books.write(lambda tx: take_key(tx, bank, base, key, now_ms(), sealed=sealed))

    async def confirm(key: SentKey) -> WorkingKeys | None:
        return await books.write(lambda tx: confirm_key(tx, bank, key, now_ms()))

    async def lost(next_is_taken: bool) -> None:
        text = await books.write(lambda tx: keys_lost(tx, bank, next_is_taken, now_ms()))
        log.error("iso8583_keys_lost", partner=bank, text=text)

    async def right() -> None:
        await books.write(lambda tx: right_again(tx, bank, now_ms()))

    if ready.zone is None:
        return None
    return SentKeys(ready.table, ready.keys, ready.zone, KeyUseCases(take, confirm, lost, right), known, unsure)


def certificate_days(settings: Settings, folder: Path, now_ms: Callable[[], int]) -> dict[str, int]:
    """Whole days that each partner's listener may still show its certificate; what cannot be read now is left out."""
    found = {}
    for entry in settings.bank.iso8583:
        try:
            if entry.certificate is not None:
                left_ms = certificate(folder / entry.certificate).until_ms - now_ms()
                found[f"iso8583:{entry.partner}"] = left_ms // DAY_MS
        except (OSError, ValueError):
            continue
    return found


def keys_sent(tx: Tx, settings: Settings) -> dict[str, WorkingKeys]:
    """The keys of MACs that partners have sent."""
    told = {entry.partner: working_keys(tx, entry.partner) for entry in settings.bank.iso8583}
    return {bank: keys for bank, keys in told.items() if keys is not None}


def keys_unsure(tx: Tx, settings: Settings) -> frozenset[str]:
    """Partners of which no right MAC was seen since a backup was restored."""
    return frozenset(entry.partner for entry in settings.bank.iso8583 if rolled_back(tx, entry.partner))


def use_cases(books: Books, now_ms: Callable[[], int], heard: Callable[[], None], days: dict[str, date]) -> IsoUseCases:
    """What a line can have done, over the gateway's store."""

    async def pay(topup: TopUp, trace: Trace, dated: bool) -> TopUpOutcome:
        at_ms = now_ms()
        outcome = await books.write(lambda tx: apply_traced(tx, topup, trace, books.site(), at_ms, dated=dated))
        books.wake()
        return outcome

    async def reverse(reversal: Reversal, trace: Trace) -> ReversalOutcome:
        at_ms = now_ms()
        outcome = await books.write(lambda tx: reverse_traced(tx, reversal, trace, books.site(), at_ms))
        books.wake()
        return outcome

    async def cut_over(bank: str, day: date) -> None:
        await books.write(lambda tx: tx.set_meta(DAY + bank, day.isoformat()))
        days[bank] = day

    return IsoUseCases(pay, reverse, books.read, cut_over, days.get, heard)


def days_of(tx: Tx, settings: Settings) -> dict[str, date]:
    """The accounting dates of the partners' last cut-overs."""
    told = {entry.partner: tx.meta(DAY + entry.partner) for entry in settings.bank.iso8583}
    return {bank: date.fromisoformat(day) for bank, day in told.items() if day}


def _terms(books: Books, bank: str, zone: str) -> PartnerTerms:
    return books.site().banks.get(bank) or PartnerTerms(bank, zone)


def _note(partner: str, event: str, peer: str) -> None:
    name, _, why = event.partition(": ")
    log.warning(name, partner=partner, peer=peer, why=why)
