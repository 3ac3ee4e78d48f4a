"""Listeners for partners that speak ISO 8583: their tables, their keys, and the use cases behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from gateway.adapters.bank_tables import Dialect, ProfileError, dialect_of, fits, sealed
from gateway.adapters.iso8583_listener import IsoListener, Place
from gateway.adapters.iso8583_partner import IsoTerms, IsoUseCases, Partner
from gateway.domain.bank_acts import Reversal, ReversalOutcome
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.requests import TopUp
from gateway.domain.traces import Trace
from gateway.services.apply_topup import MOST_BALANCE_MICRO, masked
from gateway.services.ports import Site, TopUpOutcome, Tx
from gateway.services.traced_topup import apply_traced, reverse_traced
from gateway.settings import Settings, SettingsError
from gateway.settings.document import secret_file
from gateway.settings.iso8583 import Iso8583, twice

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


def keys_of(path: Path, table: Dialect) -> tuple[bytes, ...]:
    """The keys of a file, the first of which signs. SettingsError for none, or one that the table's algorithm does not take."""
    keys = []
    for number, line in enumerate(secret_file(path).splitlines(), 1):
        try:
            keys.append(bytes.fromhex(line))
            why = fits(table, keys[-1])
        except ValueError:
            why = "is no key in hex"
        if why is not None:
            raise SettingsError([f"{path}: line {number}: {why}"])
    if not keys:
        raise SettingsError([f"{path}: holds no key"])
    return tuple(keys)


class Keys:
    """The keys of a file as it is now; those of before while it cannot be read. Raises SettingsError where it never could."""

    def __init__(self, path: Path, table: Dialect) -> None:
        self._path, self._table = path, table
        self._keys, self._changed_ns = keys_of(path, table), self._written()

    def __call__(self) -> Sequence[bytes]:
        changed_ns = self._written()
        if changed_ns != self._changed_ns:
            self._changed_ns = changed_ns
            try:
                self._keys = keys_of(self._path, self._table)
            except SettingsError as problem:
                log.warning("iso8583_keys", text=str(problem))
        return self._keys

    def _written(self) -> int:
        return self._path.stat().st_mtime_ns if self._path.exists() else 0


def faults(settings: Settings, folder: Path) -> list[str]:
    """What is wrong with tables and keys, a sentence each, for `check`."""
    errors = twice(settings.bank.iso8583)
    for number, entry in enumerate(settings.bank.iso8583):
        try:
            _prepared(entry, folder)
        except SettingsError as problem:
            errors += [f"bank.iso8583[{number}]: {text}" for text in problem.errors]
    return errors


def _prepared(entry: Iso8583, folder: Path) -> tuple[Dialect, Callable[[], Sequence[bytes]]]:
    table = table_of(entry.table, folder)
    if not sealed(table):
        if not entry.loopback:
            raise SettingsError([f"table {entry.table} has no MAC, and the listener must be on loopback"])
        return table, tuple
    if entry.key_file is None:
        raise SettingsError([f"key_file is missing: table {entry.table} has MACs by {table.mac}"])
    return table, Keys(folder / entry.key_file, table)


def listeners(
    books: Books, settings: Settings, folder: Path, now_ms: Callable[[], int], heard: Callable[[], None], days: dict[str, date]
) -> list[IsoListener]:
    """Their ports are taken. days: of the last cut-overs, kept up to date. Raises ListenError and SettingsError."""
    cases = use_cases(books, now_ms, heard, days)
    found: list[IsoListener] = []
    try:
        for entry in settings.bank.iso8583:
            table, keys = _prepared(entry, folder)
            terms = IsoTerms(
                partial(_terms, books, entry.partner, settings.bank.zone),
                keys,
                frozenset(each.rjust(11, "0") for each in entry.institutions),
                entry.sign_on,
                entry.channel,
                MOST_BALANCE_MICRO,
                masked,
            )
            host, port = entry.place
            place = Place(host, port, entry.peers, entry.most_connections, entry.idle_s)
            note = partial(_note, entry.partner)
            found.append(IsoListener(place, Partner(table, terms, cases, now_ms), note))
    except BaseException:
        for each in found:
            each.close()
        raise
    return found


def use_cases(books: Books, now_ms: Callable[[], int], heard: Callable[[], None], days: dict[str, date]) -> IsoUseCases:
    """What a line can have done, over the gateway's store."""

    async def pay(topup: TopUp, trace: Trace) -> TopUpOutcome:
        at_ms = now_ms()
        outcome = await books.write(lambda tx: apply_traced(tx, topup, trace, books.site(), at_ms))
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
