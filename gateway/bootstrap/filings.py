"""The configuration file together with what stands in the store alone: one archive, as the running gateway goes by it.

A table with the same id in both: the file wins, and says so. What an act changed of a meter that stands in the file holds until the
file itself says something else there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from gateway.domain.life import Filing, FilingKind
from gateway.settings import Account, Meter, Scheme, Settings, SettingsError
from gateway.settings.calendars import NoCutCalendar
from gateway.settings.document import across
from gateway.settings.tariffs import Tariff
from gateway.settings.words import Table, fault

Raw = dict[str, object]
T = TypeVar("T", bound=Table)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Amended:
    """What an act changed of a meter of the file: by key what the file said then (None: nothing), and what holds since."""

    was: Mapping[str, object]
    now: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Stored:
    """What stands in the store alone, by id: tables as they were given. amended: of meters in the file. closed: accounts, with
    the request that closed them."""

    meters: Mapping[str, Raw] = field(default_factory=dict)
    accounts: Mapping[str, Raw] = field(default_factory=dict)
    amended: Mapping[str, Amended] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    tariffs: Mapping[str, Raw] = field(default_factory=dict)
    schemes: Mapping[str, Raw] = field(default_factory=dict)
    calendars: Mapping[str, Raw] = field(default_factory=dict)

    def __bool__(self) -> bool:
        tables = (self.meters, self.accounts, self.tariffs, self.schemes, self.calendars)
        return any(tables) or bool(self.amended or self.closed)

    def changed(self, filings: Iterable[Filing]) -> Stored:
        """With these put in or taken out. ValueError for what cannot be read."""
        amended, closed = dict(self.amended), dict(self.closed)
        tables = {
            FilingKind.METER: dict(self.meters),
            FilingKind.ACCOUNT: dict(self.accounts),
            FilingKind.TARIFF: dict(self.tariffs),
            FilingKind.SCHEME: dict(self.schemes),
            FilingKind.CALENDAR: dict(self.calendars),
        }
        for filing in filings:
            body = None if filing.body is None else json.loads(filing.body)
            match filing.kind:
                case FilingKind.AMENDED:
                    _put(amended, filing.id, None if body is None else Amended(body["was"], body["now"]))
                case FilingKind.CLOSED:
                    _put(closed, filing.id, body)
                case kind:
                    _put(tables[kind], filing.id, body)
        meters, accounts, *rest = tables.values()
        return Stored(meters, accounts, amended, closed, *rest)


def _put(tables: dict[str, V], id: str, value: V | None) -> None:
    if value is None:
        tables.pop(id, None)
    else:
        tables[id] = value


NOTHING = Stored()


@dataclass(frozen=True, slots=True)
class Merged:
    """The whole archive. filed: ids of meters and accounts that stand in the file. notices: where file and store differ."""

    settings: Settings
    filed_meters: frozenset[str]
    filed_accounts: frozenset[str]
    notices: tuple[str, ...] = ()


def merge(settings: Settings, stored: Stored) -> Merged:
    """The file's settings with what stands in the store. Raises SettingsError with every reason why the two do not go together."""
    filed_meters = frozenset(meter.name for meter in settings.meter)
    filed_accounts = frozenset(account.id for account in settings.account)
    if not stored:
        return Merged(settings, filed_meters, filed_accounts)
    errors: list[str] = []
    notices: list[str] = []
    meters = [_amended(meter, stored.amended.get(meter.name), errors, notices) for meter in settings.meter]
    beside = _Beside(errors, notices)
    meters += beside.tables(stored.meters, filed_meters, Meter, "meter")
    accounts = [*settings.account, *beside.tables(stored.accounts, filed_accounts, Account, "account")]
    accounts = [account.model_copy(update={"closed": True}) if account.id in stored.closed else account for account in accounts]
    update = {
        "meter": meters,
        "account": accounts,
        "tariff": [*settings.tariff, *beside.tables(stored.tariffs, _ids(settings.tariff), Tariff, "tariff")],
        "scheme": [*settings.scheme, *beside.tables(stored.schemes, _ids(settings.scheme), Scheme, "scheme")],
        "no_cut_calendar": [
            *settings.no_cut_calendar,
            *beside.tables(stored.calendars, _ids(settings.no_cut_calendar), NoCutCalendar, "no_cut_calendar"),
        ],
    }
    whole = settings.model_copy(update=update)
    if errors := errors or across(whole):
        raise SettingsError(errors)
    return Merged(whole, filed_meters, filed_accounts, tuple(notices))


def raw_of(meter: Meter) -> Raw:
    """The table of a meter as it would stand in the file."""
    return meter.model_dump(mode="json", exclude_unset=True)


def amendment(filed: Meter, before: Amended | None, now: Mapping[str, object]) -> Amended:
    """What has been changed of a meter of the file, with what was before. A key that is as the file has it is no change."""
    raw = raw_of(filed)
    keys = {**(before.now if before is not None else {}), **now}
    changed = {key: value for key, value in keys.items() if value != raw.get(key)}
    return Amended({key: raw.get(key) for key in changed}, changed)


def meter_filing(id: str, raw: Raw | None) -> Filing:
    """The table of a meter; None takes it out."""
    return Filing(FilingKind.METER, id, None if raw is None else _text(raw))


def account_filing(id: str, raw: Raw) -> Filing:
    """The table of an account."""
    return table_filing(FilingKind.ACCOUNT, id, raw)


def table_filing(kind: FilingKind, id: str, raw: Raw) -> Filing:
    """A whole table."""
    return Filing(kind, id, _text(raw))


def amended_filing(id: str, amended: Amended) -> Filing:
    """What an act changed of a meter of the file; nothing is no table."""
    return Filing(FilingKind.AMENDED, id, _text({"was": amended.was, "now": amended.now}) if amended.now else None)


def closed_filing(id: str, request: str) -> Filing:
    """An account that was closed by this request."""
    return Filing(FilingKind.CLOSED, id, json.dumps(request))


def _text(raw: Mapping[str, object]) -> str:
    return json.dumps(raw, sort_keys=True, ensure_ascii=False, default=dict)


def _ids(tables: Sequence[Tariff | Scheme | NoCutCalendar]) -> frozenset[str]:
    return frozenset(table.id for table in tables)


@dataclass(frozen=True, slots=True)
class _Beside:
    """Reads tables of the store; errors and notices take what is to be said of them."""

    errors: list[str]
    notices: list[str]

    def tables(self, raws: Mapping[str, Raw], filed: frozenset[str], model: type[T], what: str) -> list[T]:
        """Those that the file has not."""
        found = []
        for id, raw in raws.items():
            if id in filed:
                self.notices.append(f"{what} {id} stands in the file and in the store: the file is followed")
                continue
            try:
                found.append(model.model_validate(raw))
            except ValidationError as problem:
                self.errors.extend(f"{what} {id} of the store: {fault(error, 'it')}" for error in problem.errors())
        return found


def _amended(meter: Meter, amended: Amended | None, errors: list[str], notices: list[str]) -> Meter:
    if amended is None:
        return meter
    raw = raw_of(meter)
    for key, value in amended.now.items():
        if raw.get(key) == amended.was.get(key):
            raw[key] = value
        elif raw.get(key) != value:
            notices.append(f"meter {meter.name}: {key} was changed since, but the file now says otherwise and is followed")
    try:
        return Meter.model_validate({key: value for key, value in raw.items() if value is not None})
    except ValidationError as problem:
        errors += [f"meter {meter.name}, as it was changed since: {fault(error, 'it')}" for error in problem.errors()]
        return meter
