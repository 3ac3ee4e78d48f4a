"""Tables of the archive from a file, and to one: taken over by difference, all or nothing, every error with its line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from gateway.adapters.http.life_api import Wrong
from gateway.adapters.http.life_forms import ArchiveForm
from gateway.bootstrap.filings import Raw, Stored, raw_of, table_filing
from gateway.bootstrap.leaving import users, why_it_stays
from gateway.bootstrap.life import House, Life, Plan, Whole
from gateway.domain.life import Act, Filing, FilingKind, ImportArchive
from gateway.services.acts import Answer
from gateway.services.import_archive import IMPORT, import_archive
from gateway.services.ports import Site, Tx
from gateway.settings import Account, Meter, Scheme, Settings
from gateway.settings.calendars import NoCutCalendar
from gateway.settings.sheets import BadSheet, Row, check_rows, read_rows, said
from gateway.settings.tariffs import Tariff
from gateway.settings.words import Table


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of table: as the configuration calls it, its form, and as what it is kept."""

    table: str
    model: type[Table]
    filing: FilingKind


KINDS: Mapping[str, Kind] = {
    "meters": Kind("meter", Meter, FilingKind.METER),
    "accounts": Kind("account", Account, FilingKind.ACCOUNT),
    "tariffs": Kind("tariff", Tariff, FilingKind.TARIFF),
    "schemes": Kind("scheme", Scheme, FilingKind.SCHEME),
    "calendars": Kind("no_cut_calendar", NoCutCalendar, FilingKind.CALENDAR),
}

_KEYS = ("switch", "address", "line", "account", "tariff", "profile", "password", "policy", "limit", "ct", "agreement")
"""Keys that a sentence about a whole table may mean, in this order."""


@dataclass(frozen=True, slots=True)
class Given:
    """A row of the file by the id that it is about."""

    id: str
    row: Row
    table: Table


class Imports:
    """Fulfils adapters.http.archive_api.ArchiveCases."""

    def __init__(self, house: House, life: Life) -> None:
        self._house, self._life = house, life

    async def take(self, what: str, form: ArchiveForm, act: Act) -> Answer:
        """Raises what every act of a life does; Wrong with every error of the file."""
        given: dict[str, list[Given]] = {}
        try:
            return await self._life.do(act, IMPORT, lambda: self._plan({what: form}, act, given))
        except BadSheet as bad:
            raise Wrong(bad.errors) from None
        except Wrong as wrong:
            raise Wrong(_placed(wrong.errors, KINDS[what].table, form.name, given[what])) from None

    async def put(
        self,
        forms: Mapping[str, ArchiveForm],
        act: Act,
        version: str = "",
        drop: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Answer:
        """Tables of several kinds, all or nothing of them together. drop: ids by kind that are to be no more (bootstrap/leaving).

        version: of the whole at whoever sends it. Raises as `take`.
        """
        try:
            return await self._life.do(act, IMPORT, lambda: self._plan(forms, act, {}, version, drop))
        except BadSheet as bad:
            raise Wrong(bad.errors) from None

    def _plan(
        self,
        forms: Mapping[str, ArchiveForm],
        act: Act,
        given: dict[str, list[Given]],
        version: str = "",
        drop: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Plan:
        """given: takes what the forms hold. Raises BadSheet, and Wrong with every reason why something cannot be dropped."""
        given.update({what: _given(what, form) for what, form in forms.items()})
        filings = {what: self._differences(what, given[what], form.name) for what, form in forms.items()}
        ids = {what: [filing.id for filing in filings.get(what, ())] for what in KINDS}
        leaving = self._leaving(drop, given)
        changed = [
            *(filing for each in filings.values() for filing in each),
            *(filing for each in leaving.values() for filing in each),
        ]
        gone = {what: tuple(filing.id for filing in leaving.get(what, ())) for what in KINDS}
        dropped = {"dropped": sum(map(len, leaving.values()))} if drop else {}

        def usecase(tx: Tx, whole: Whole, site: Site, now_ms: int) -> Answer:
            openings = [whole.opening(id) for id in ids["accounts"]]
            order = ImportArchive(
                act,
                tuple((opening.account, opening.balance_micro, opening.debt_micro) for opening in openings),
                tuple(whole.meter(id) for id in ids["meters"]),
                tariffs=tuple(whole.tariffs(ids["tariffs"])),
                removed=gone["meters"],
                schemes=tuple(whole.schemes()) if ids["schemes"] or gone["schemes"] else None,
                calendars=tuple(whole.calendars(ids["calendars"])),
                gone_calendars=gone["calendars"],
                version=version,
                told={what: len(each) for what, each in given.items()} | {"changed": len(changed)} | dropped,
            )
            return import_archive(tx, order, site, now_ms)

        return changed, usecase

    def _leaving(self, drop: Mapping[str, Sequence[str]], given: Mapping[str, Sequence[Given]]) -> dict[str, list[Filing]]:
        """What stands in the store alone, and is to be no more. Raises Wrong."""
        house, errors, leaving = self._house, list[str](), dict[str, list[Filing]]()
        put = {(KINDS[what].table, each.id): each.table for what, rows in given.items() for each in rows}
        used = users(house.settings, put) if drop else {}
        for what, named in drop.items():
            kind, stored, filed = KINDS[what], _stored(house.stored, what), _tables(house.filed, KINDS[what])
            for id in dict.fromkeys(named):
                if (why := why_it_stays((kind.table, id), put, used, filed=id in filed)) is not None:
                    errors.append(f"{kind.table} {id}: {why}")
                elif id in stored:
                    leaving.setdefault(what, []).append(Filing(kind.filing, id, None))
        if errors:
            raise Wrong(errors)
        return leaving

    def give(self, what: str) -> Sequence[Raw]:
        """The tables that stand in the store alone; and meters of the file as an act has changed them."""
        house, stored = self._house, self._house.stored
        amended = {table.name: raw_of(table) for table in house.settings.meter if table.name in stored.amended}
        tables = {**(amended if what == "meters" else {}), **_stored(stored, what)}
        return [dict(raw) for _, raw in sorted(tables.items())]

    def _differences(self, what: str, given: Sequence[Given], name: str) -> list[Filing]:
        """What the file brings that is not so already. Raises BadSheet."""
        house, errors, filings = self._house, list(_doubles(given, name)), []
        kind, stored = KINDS[what], _stored(house.stored, what)
        now, filed = _tables(house.settings, kind), _tables(house.filed, kind)
        for each in given:
            there = now.get(each.id)
            if what == "accounts" and each.id in house.stored.closed:
                errors.append(said(name, each.row, ("id",), f"account {each.id} is closed: it is not opened again, nor changed"))
            elif str(getattr(each.table, "file", None) or "").endswith(".toml"):
                text = f"{kind.table} {each.id}: its file stands in our own folder; write the table itself, or what is shipped"
                errors.append(said(name, each.row, ("file",), text))
            elif each.id in filed and there != each.table:
                keys = ", ".join(_different(there, each.table))
                text = f"{kind.table} {each.id} stands in the configuration file, with another {keys}: change it there"
                errors.append(said(name, each.row, ("id",), text))
            elif each.id not in filed and (each.id not in stored or there != each.table):
                filings.append(table_filing(kind.filing, each.id, {"id": each.id, **each.row.raw}))
        if errors:
            raise BadSheet(errors)
        return filings


def _given(what: str, form: ArchiveForm) -> list[Given]:
    kind = KINDS[what]
    rows = check_rows(read_rows(form.text, form.format, kind.table, form.name), kind.model, form.name, as_text=form.format == "csv")
    return [Given(_id(each.table), each.row, each.table) for each in rows]


def _id(table: Table) -> str:
    return str(getattr(table, "name", None) or getattr(table, "id", ""))


def _tables(settings: Settings, kind: Kind) -> dict[str, Table]:
    tables: Sequence[Table] = getattr(settings, kind.table)
    return {_id(table): table for table in tables}


def _stored(stored: Stored, what: str) -> Mapping[str, Raw]:
    tables: Mapping[str, Raw] = getattr(stored, what)
    return tables


def _doubles(given: Sequence[Given], name: str) -> Iterator[str]:
    seen: dict[str, Row] = {}
    for each in given:
        before = seen.setdefault(each.id, each.row)
        if before is not each.row:
            yield said(name, each.row, ("id",), f"{each.id} is there already, in line {before.line}")


def _different(there: Table | None, table: Table) -> list[str]:
    fields = type(table).model_fields
    return [key for key in fields if there is None or getattr(there, key) != getattr(table, key)] or ["table"]


def _placed(errors: Sequence[str], table: str, name: str, given: Sequence[Given]) -> list[str]:
    """Sentences about the whole archive, each where the file has what it is about, in its order."""
    rows = {each.id: each.row for each in given}
    found: list[tuple[int, str]] = []
    for text in errors:
        head, _, rest = text.removeprefix(f"{table} ").partition(":")
        row = rows.get(head.partition(" ")[0].rstrip(",")) if text.startswith(f"{table} ") else None
        if row is None:
            found.append((0, text))
            continue
        key = next((key for key in _KEYS if f" {key}" in f" {rest}" and any(way[:1] == (key,) for way in row.ways)), "id")
        found.append((row.line, said(name, row, (key,), text)))
    return [text for _, text in sorted(found, key=lambda each: each[0])]
