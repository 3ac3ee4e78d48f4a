"""Meters and accounts from a file, and to one: taken over by difference, all or nothing, every error with its line and column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.adapters.http.life_api import Wrong
from gateway.adapters.http.life_forms import ArchiveForm
from gateway.bootstrap.filings import Raw, account_filing, meter_filing, raw_of
from gateway.bootstrap.life import House, Life, Plan, Whole
from gateway.domain.life import Act, Filing, ImportArchive
from gateway.services.acts import Answer
from gateway.services.import_archive import IMPORT, import_archive
from gateway.services.ports import Site, Tx
from gateway.settings import Account, Meter, Settings
from gateway.settings.sheets import BadSheet, Row, check_rows, read_rows, said

TABLES: Mapping[str, str] = {"meters": "meter", "accounts": "account"}

_KEYS = ("switch", "address", "line", "account", "tariff", "profile", "password", "policy", "limit", "ct", "agreement")
"""Keys that a sentence about a whole table may mean, in this order."""


@dataclass(frozen=True, slots=True)
class Given:
    """A row of the file by the id that it is about."""

    id: str
    row: Row
    table: Meter | Account


class Imports:
    """Fulfils adapters.http.archive_api.ArchiveCases."""

    def __init__(self, house: House, life: Life) -> None:
        self._house, self._life = house, life

    async def take(self, what: str, form: ArchiveForm, act: Act) -> Answer:
        """Raises what every act of a life does; Wrong with every error of the file."""
        given: list[Given] = []

        def plan() -> Plan:
            given.extend(_given(what, form))
            filings = self._differences(what, given, form.name)
            changed = [filing.id for filing in filings]

            def usecase(tx: Tx, whole: Whole, site: Site, now_ms: int) -> Answer:
                openings = [whole.opening(id) for id in changed] if what == "accounts" else []
                meters = [whole.meter(id) for id in changed] if what == "meters" else []
                sums = tuple((opening.account, opening.balance_micro, opening.debt_micro) for opening in openings)
                answer = import_archive(tx, ImportArchive(act, sums, tuple(meters)), site, now_ms)
                return {what: len(given), "changed": answer[what]}

            return filings, usecase

        try:
            return await self._life.do(act, IMPORT, plan)
        except BadSheet as bad:
            raise Wrong(bad.errors) from None
        except Wrong as wrong:
            raise Wrong(_placed(wrong.errors, TABLES[what], form.name, given)) from None

    async def put(self, forms: Mapping[str, ArchiveForm], act: Act) -> Answer:
        """Tables of several kinds, all or nothing of them together. Raises as `take`."""

        def plan() -> Plan:
            given = {what: _given(what, form) for what, form in forms.items()}
            changed = {what: self._differences(what, given[what], form.name) for what, form in forms.items()}

            def usecase(tx: Tx, whole: Whole, site: Site, now_ms: int) -> Answer:
                openings = [whole.opening(filing.id) for filing in changed.get("accounts", ())]
                meters = tuple(whole.meter(filing.id) for filing in changed.get("meters", ()))
                sums = tuple((opening.account, opening.balance_micro, opening.debt_micro) for opening in openings)
                answer = import_archive(tx, ImportArchive(act, sums, meters), site, now_ms)
                counted: Answer = {what: len(each) for what, each in given.items()}
                return counted | {"changed": sum(int(str(answer[what])) for what in forms)}

            return [filing for each in changed.values() for filing in each], usecase

        try:
            return await self._life.do(act, IMPORT, plan)
        except BadSheet as bad:
            raise Wrong(bad.errors) from None

    def give(self, what: str) -> Sequence[Raw]:
        """The tables that stand in the store alone; and meters of the file as an act has changed them."""
        stored = self._house.stored
        if what == "accounts":
            return [dict(raw) for _, raw in sorted(stored.accounts.items())]
        amended = {table.name: raw_of(table) for table in self._house.settings.meter if table.name in stored.amended}
        return [dict(raw) for _, raw in sorted({**amended, **stored.meters}.items())]

    def _differences(self, what: str, given: Sequence[Given], name: str) -> list[Filing]:
        """What the file brings that is not so already. Raises BadSheet."""
        house, errors, filings = self._house, list(_doubles(given, name)), []
        now = _tables(house.settings, what)
        filed, stored = _tables(house.filed, what), house.stored.meters if what == "meters" else house.stored.accounts
        filing: Callable[[str, Raw], Filing] = meter_filing if what == "meters" else account_filing
        for each in given:
            there = now.get(each.id)
            if what == "accounts" and each.id in house.stored.closed:
                errors.append(said(name, each.row, ("id",), f"account {each.id} is closed: it is not opened again, nor changed"))
            elif each.id in filed and there != each.table:
                keys = ", ".join(_different(there, each.table))
                text = f"{TABLES[what]} {each.id} stands in the configuration file, with another {keys}: change it there"
                errors.append(said(name, each.row, ("id",), text))
            elif each.id not in filed and (each.id not in stored or there != each.table):
                filings.append(filing(each.id, {"id": each.id, **each.row.raw}))
        if errors:
            raise BadSheet(errors)
        return filings


def _given(what: str, form: ArchiveForm) -> list[Given]:
    rows = read_rows(form.text, form.format, TABLES[what], form.name)
    as_text = form.format == "csv"
    if what == "meters":
        return [Given(each.table.name, each.row, each.table) for each in check_rows(rows, Meter, form.name, as_text=as_text)]
    return [Given(each.table.id, each.row, each.table) for each in check_rows(rows, Account, form.name, as_text=as_text)]


def _id(table: Meter | Account) -> str:
    return table.name if isinstance(table, Meter) else table.id


def _tables(settings: Settings, what: str) -> dict[str, Meter | Account]:
    tables: Sequence[Meter | Account] = settings.meter if what == "meters" else settings.account
    return {_id(table): table for table in tables}


def _doubles(given: Sequence[Given], name: str) -> Iterator[str]:
    seen: dict[str, Row] = {}
    for each in given:
        before = seen.setdefault(each.id, each.row)
        if before is not each.row:
            yield said(name, each.row, ("id",), f"{each.id} is there already, in line {before.line}")


def _different(there: Meter | Account | None, table: Meter | Account) -> list[str]:
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
