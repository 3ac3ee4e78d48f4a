"""What persons do to accounts and meters, over the running gateway or one act's own small one: tables change, lines follow, and the
use case is written in one transaction with them, or nothing is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from gateway.adapters.clock import Clock
from gateway.adapters.http.life_api import ByMeter, Wrong
from gateway.adapters.http.life_forms import AgreementForm, ChangeForm, CloseForm, CtForm, MoveForm, OpenForm, RefundForm
from gateway.bootstrap.archive import meter_of, opening_of
from gateway.bootstrap.calendars import calendars_of
from gateway.bootstrap.examine import CannotStart, examine
from gateway.bootstrap.filings import (
    Merged,
    Raw,
    Stored,
    account_filing,
    amended_filing,
    amendment,
    closed_filing,
    merge,
    meter_filing,
    raw_of,
)
from gateway.bootstrap.schemes import schemes_of
from gateway.bootstrap.tariffs import tariffs_of
from gateway.domain.life import (
    Act,
    ChangeCt,
    ChangeMeter,
    CloseAccount,
    Filing,
    FilingKind,
    ImportArchive,
    Installed,
    Kwh,
    MoveMeters,
    NeedsSecond,
    OnDebt,
    OpenAccount,
    RefundRest,
    Refusal,
    SupplyAfter,
)
from gateway.domain.meters import Meter
from gateway.domain.no_cut import NoCutCalendar
from gateway.domain.price_list import Tariff
from gateway.domain.schemes import Scheme
from gateway.domain.slots import local_of
from gateway.domain.units import parse_money
from gateway.services.acts import Answer, ask_second, known
from gateway.services.change_ct import CHANGE as CHANGE_CT
from gateway.services.change_ct import change_ct
from gateway.services.change_meter import CHANGE, change_meter
from gateway.services.close_account import CLOSE, close_account
from gateway.services.filings import filings, keep_filings
from gateway.services.import_archive import IMPORT, import_archive, join_schemes
from gateway.services.load_archive import Opening
from gateway.services.move_meter import MOVE, move_meters
from gateway.services.open_account import OPEN, open_account
from gateway.services.ports import Site, Tx
from gateway.services.refund_rest import PAY, REFUND, VOID, pay_refund, refund_rest, void_refund
from gateway.settings import Account, Settings, SettingsError
from gateway.settings import Meter as MeterTable
from gateway.settings.words import Table, fault

T = TypeVar("T")
M = TypeVar("M", bound=Table)


class Reads(Protocol):
    """A store."""

    def read_now(self, query: Callable[[Tx], T]) -> T: ...


class House(Protocol):
    """The gateway that is changed. filed: the configuration file; stored: what stands beside it; settings: both as one."""

    filed: Settings
    stored: Stored
    settings: Settings
    folder: Path
    clock: Clock

    @property
    def turn(self) -> asyncio.Lock:
        """Whoever changes the archive has it."""

    def site(self) -> Site: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...
    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def take(self, merged: Merged, stored: Stored, meters: Collection[str], commit: Callable[[Tx], Answer]) -> Answer:
        """Go on with this archive once `commit` is written; when that raises, everything is as it was. meters: those that it
        changes."""


class Whole:
    """The archive as it will be, in the domain's words. folder: of the configuration."""

    def __init__(self, merged: Merged, folder: Path) -> None:
        self._merged, self._folder, settings = merged, folder, merged.settings
        self._meters = {table.name: table for table in settings.meter}
        self._accounts = {table.id: table for table in settings.account}

    def meter(self, id: str) -> Meter:
        """Refusal for one that there is not."""
        if id not in self._meters:
            raise Refusal(f"meter {id} is not in the archive")
        return meter_of(self._meters[id], filed=id in self._merged.filed_meters)

    def opening(self, id: str) -> Opening:
        """Refusal for one that there is not."""
        if id not in self._accounts:
            raise Refusal(f"account {id} is not in the archive")
        return opening_of(self._merged.settings, self._accounts[id], filed=id in self._merged.filed_accounts)

    def tariffs(self, ids: Collection[str]) -> list[Tariff]:
        """Those of these ids."""
        settings = self._merged.settings
        return tariffs_of([each for each in settings.tariff if each.id in ids], self._folder, settings.gateway.zone)

    def calendars(self, ids: Collection[str]) -> list[NoCutCalendar]:
        """Those of these ids."""
        settings = self._merged.settings
        return calendars_of([each for each in settings.no_cut_calendar if each.id in ids], self._folder, settings.gateway.zone)

    def schemes(self) -> list[Scheme]:
        """All that are in force."""
        return schemes_of(self._merged.settings)


UseCase = Callable[[Tx, Whole, Site, int], Answer]
Plan = tuple[Sequence[Filing], UseCase]


class Life:
    """Fulfils adapters.http.life_api.LifeCases."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def open(self, form: OpenForm, act: Act, kwh: Sequence[Kwh | None]) -> Answer:
        """A customer comes."""

        def plan() -> Plan:
            account, raw = self._new_account(form)
            named = [self._bound(each.meter, each.table, account.id, each.cut_with_account) for each in form.meters]

            def usecase(tx: Tx, whole: Whole, site: Site, now_ms: int) -> Answer:
                opening = whole.opening(account.id)
                meters = tuple(Installed(whole.meter(id), shown) for (id, _), shown in zip(named, kwh, strict=True))
                agreement = {} if form.agreement is None else _agreement(form.agreement)
                order = OpenAccount(
                    act, opening.account, agreement, meters, opening.balance_micro, opening.debt_micro, form.receipt
                )
                return open_account(tx, order, site, now_ms)

            return [account_filing(account.id, raw), *(filing for _, filing in named)], usecase

        return await self.do(act, OPEN, plan)

    async def close(self, account: str, form: CloseForm, act: Act, final: ByMeter) -> Answer:
        """A customer goes."""

        def plan() -> Plan:
            ids = [table.name for table in self._house.settings.meter if table.account == account]
            if strange := sorted(final.keys() - set(ids)):
                raise Refusal(f"meter {strange[0]} is none of account {account}'s")

            def usecase(tx: Tx, whole: Whole, site: Site, now_ms: int) -> Answer:
                meters = tuple(Installed(whole.meter(id), final.get(id)) for id in ids)
                supply, on_debt = SupplyAfter(form.supply), OnDebt(form.on_debt)
                return close_account(tx, CloseAccount(act, account, meters, supply, on_debt, form.refund), site, now_ms)

            return [closed_filing(account, act.id), *(self._changed(id, {"account": None}) for id in ids)], usecase

        return await self.do(act, CLOSE, plan)

    async def move(self, form: MoveForm, act: Act, kwh: Sequence[Kwh | None]) -> Answer:
        """Meters pass to other accounts."""

        def plan() -> Plan:
            tables = [self._bound(each.meter, None, each.to, each.cut_with_account)[1] for each in form.meters]

            def usecase(tx: Tx, whole: Whole, site: Site, now_ms: int) -> Answer:
                pairs = zip(form.meters, kwh, strict=True)
                meters = tuple(Installed(whole.meter(each.meter), shown) for each, shown in pairs)
                return move_meters(tx, MoveMeters(act, meters), site, now_ms)

            return tables, usecase

        return await self.do(act, MOVE, plan)

    async def change(self, meter: str, form: ChangeForm, act: Act, last: Kwh, first: Kwh) -> Answer:
        """Another device at the same point."""
        fixed = sorted(form.device.keys() & {"id", "point", "account"})
        if fixed:
            raise Refusal(f"{fixed[0]} of a meter stays when its device is changed")

        def usecase(tx: Tx, whole: Whole, site: Site, now_ms: int) -> Answer:
            return change_meter(tx, ChangeMeter(act, whole.meter(meter), last, first), site, now_ms)

        return await self.do(act, CHANGE, lambda: ([self._changed(meter, form.device)], usecase))

    async def change_ct(self, meter: str, form: CtForm, act: Act, kwh: Kwh) -> Answer:
        """Other transformers in front of it."""
        keys = {"ct": form.ct, "pt": form.pt, "max_power_w": form.max_power_w}

        def usecase(tx: Tx, whole: Whole, site: Site, now_ms: int) -> Answer:
            return change_ct(tx, ChangeCt(act, whole.meter(meter), kwh), site, now_ms)

        changed = {key: value for key, value in keys.items() if value is not None}
        return await self.do(act, CHANGE_CT, lambda: ([self._changed(meter, changed)], usecase))

    async def remove(self, meter: str, act: Act) -> Answer:
        """A meter for which nobody pays leaves the archive."""

        def plan() -> Plan:
            if meter not in self._house.stored.meters:
                filed = any(table.name == meter for table in self._house.filed.meter)
                raise Refusal(f"meter {meter} {'stands in the file: take it out there' if filed else 'is not in the archive'}")
            return [meter_filing(meter, None)], lambda tx, whole, site, now_ms: import_archive(
                tx, ImportArchive(act, removed=(meter,)), site, now_ms
            )

        return await self.do(act, IMPORT, plan)

    async def refund(self, account: str, form: RefundForm, act: Act) -> Answer:
        """Money is put aside for a customer."""

        def usecase(tx: Tx, whole: Whole, site: Site, now_ms: int) -> Answer:
            owner = tx.account(account)
            try:
                micro = parse_money(form.amount, owner.currency) if form.amount is not None and owner is not None else None
            except ValueError as problem:
                raise Refusal(str(problem)) from None
            return refund_rest(tx, RefundRest(act, account, form.via, micro), site, now_ms)

        return await self.do(act, REFUND, lambda: ((), usecase))

    async def pay_refund(self, refund: str, receipt: str, act: Act) -> Answer:
        """It was paid out."""
        return await self.do(act, PAY, lambda: ((), lambda tx, _, site, now_ms: pay_refund(tx, act, refund, receipt, site, now_ms)))

    async def void_refund(self, refund: str, act: Act) -> Answer:
        """It was not."""
        return await self.do(act, VOID, lambda: ((), lambda tx, _, site, now_ms: void_refund(tx, act, refund, site, now_ms)))

    async def do(self, act: Act, kind: str, plan: Callable[[], Plan]) -> Answer:
        """One act: the tables that it changes and its use case, in one transaction. Done before under this id: the same answer."""
        house = self._house
        async with house.turn:
            told = await house.read(lambda tx: known(tx, act, kind))
            if told is not None:
                return told
            changed, usecase = plan()
            stored = house.stored.changed(changed)
            merged = await asyncio.to_thread(_fit, house.filed, stored, house.folder) if changed else merge(house.filed, stored)
            meters = [filing.id for filing in changed if filing.kind in (FilingKind.METER, FilingKind.AMENDED)]

            def commit(tx: Tx) -> Answer:
                answer = usecase(tx, Whole(merged, house.folder), house.site(), house.clock.now_ms())  # of when the lines rest
                keep_filings(tx, changed)
                if meters:
                    join_schemes(tx, schemes_of(merged.settings), meters)
                return answer

            try:
                return await house.take(merged, stored, meters, commit)
            except NeedsSecond as alone:
                what = str(alone)
                refused = await house.write(lambda tx: ask_second(tx, act, kind, what, house.site(), house.clock.now_ms()))
                how = (
                    refused
                    or f"it waits under {act.id}; when another person has approved it (wattgate approve yes {act.id}), ask again"
                )
                raise NeedsSecond(f"{what}: {how}") from None

    # tables

    def _new_account(self, form: OpenForm) -> tuple[Account, Raw]:
        """Its table as it will be kept, and what it says."""
        raw = dict(form.account)
        if form.agreement is not None:
            if "agreement" in raw:
                raise Wrong(["agreement: is said twice, in the account's table and beside it"])
            raw["agreement"] = form.agreement.model_dump()
        raw.setdefault("since", local_of(self._house.clock.now_ms(), ZoneInfo(self._house.site().zone)).date().isoformat())
        account = validated(Account, raw, "account")
        for there in self._house.settings.account:
            if there.id == account.id:
                what = "closed: it is not opened again, open one under another id" if there.closed else "open already"
                raise Refusal(f"account {account.id} is {what}")
        return account, raw

    def _bound(self, meter: str | None, table: Raw | None, account: str | None, cuts: bool | None) -> tuple[str, Filing]:
        """The id of a meter and its table with this account."""
        if (meter is None) == (table is None):
            raise Wrong(["meters: each is named by `meter`, or comes with its whole `table`"])
        keys: Raw = {"account": account} | ({} if cuts is None else {"cut_with_account": cuts})
        if meter is not None:
            return meter, self._changed(meter, keys)
        raw = {**(table or {}), **keys}
        name = validated(MeterTable, raw, "meter").name
        if any(there.name == name for there in self._house.settings.meter):
            raise Refusal(f"meter {name} is in the archive already: name it by its id alone")
        return name, meter_filing(name, {**raw, "id": name})

    def _changed(self, meter: str, keys: Mapping[str, object]) -> Filing:
        """The table of a meter with these keys; None takes one out. Of a meter in the file only what is different is kept."""
        house = self._house
        stored = house.stored.meters.get(meter)
        filed = next((table for table in house.filed.meter if table.name == meter), None)
        if filed is not None:
            before = house.stored.amended.get(meter)
            validated(MeterTable, _with(raw_of(filed), {**(before.now if before else {}), **keys}), f"meter {meter}")
            return amended_filing(meter, amendment(filed, before, keys))
        if stored is None:
            raise Refusal(f"meter {meter} is not in the archive")
        raw = _with(stored, keys)
        validated(MeterTable, raw, f"meter {meter}")
        return meter_filing(meter, raw)


def _with(raw: Mapping[str, object], keys: Mapping[str, object]) -> Raw:
    return {key: value for key, value in {**raw, **keys}.items() if value is not None}


def standing(store: Reads, filed: Settings, folder: Path) -> tuple[Stored, Merged]:
    """What stands beside the file when a gateway starts, and both as one. Raises CannotStart."""
    stored = Stored().changed(store.read_now(filings))
    try:
        return stored, _fit(filed, stored, folder) if stored else merge(filed, stored)
    except Wrong as wrong:
        raise CannotStart("\n".join(wrong.errors)) from None


def _fit(filed: Settings, stored: Stored, folder: Path) -> Merged:
    """The archive as it will be, examined as `wattgate check` does. Raises Wrong."""
    try:
        merged = merge(filed, stored)
    except SettingsError as problem:
        raise Wrong(problem.errors) from None
    if errors := list(examine(merged.settings, folder).errors):
        raise Wrong(errors)
    return merged


def validated(model: type[M], raw: Raw, what: str) -> M:
    """The table. Raises Wrong with every error."""
    try:
        return model.model_validate(raw)
    except ValidationError as problem:
        raise Wrong([f"{what}: {fault(error, 'it')}" for error in problem.errors()]) from None


def _agreement(form: AgreementForm) -> dict[str, str]:
    return {"id": form.id, "date": form.date, "version": form.version, "channels": ",".join(form.channels)}
