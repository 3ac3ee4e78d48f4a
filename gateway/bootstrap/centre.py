"""What the centre may have done here: its keys, its accounts by their pseudonyms, and the acts that change the archive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from gateway.adapters.clock import Clock
from gateway.adapters.http.keys_api import KeyUseCases
from gateway.adapters.http.life_api import Wrong
from gateway.adapters.http.life_forms import ArchiveForm, ChangeForm, CloseForm, OpenForm, kwh_of
from gateway.adapters.http.problems import Problem
from gateway.adapters.uplink_keyring import KeyRing
from gateway.adapters.uplink_payloads import pseudonym
from gateway.bootstrap.crew import Crew
from gateway.bootstrap.imports import KINDS, Imports
from gateway.bootstrap.life import Life
from gateway.bootstrap.limits import limit_asked
from gateway.domain.approvals import Decision
from gateway.domain.events import Json
from gateway.domain.incoming import IncomingCommand
from gateway.domain.jobs import Group
from gateway.domain.life import Act, Kwh, NeedsSecond, Refusal
from gateway.domain.limit_body import limit_body
from gateway.domain.uplink_keys import UplinkKey
from gateway.domain.uplink_orders import ReplyTo, UplinkOrder
from gateway.entrypoints.uplink_work import Done
from gateway.services.acts import Answer
from gateway.services.ports import MoneyHeld, Site, Tx, Unavailable
from gateway.services.uplink_keys import ask_key, keep_filed, revoke_key
from gateway.settings import Settings

log = structlog.get_logger()

LOOK_S = 1.0
"""A key that is revoked orders nothing from that commit on; its acknowledgements, and a new key, are told apart so soon."""

T = TypeVar("T")
F = TypeVar("F", bound=BaseModel)


class Books(Protocol):
    """A gateway, running or by hand."""

    settings: Settings
    clock: Clock

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...
    def site(self) -> Site: ...


class House(Books, Protocol):
    """The running gateway."""

    crew: Crew

    def wake(self) -> None:
        """Lines look for work."""


class Keys:
    """The centre's keys: in the ring for signatures, in the store for good."""

    def __init__(self, house: Books, ring: KeyRing) -> None:
        self._house, self.ring, self._warned = house, ring, False

    def begin(self, tx: Tx) -> None:
        """Those of the file and of the store, at the start."""
        keep_filed(tx, [table.key() for table in self._house.settings.uplink_key], self._house.clock.now_ms())
        self._fill(tx.uplink_keys())

    async def look(self) -> None:
        """What was added, approved, revoked or reloaded since."""
        filed = [table.key() for table in self._house.settings.uplink_key]
        known = await self._house.read(lambda tx: tx.uplink_keys())
        now_ms = self._house.clock.now_ms()
        if not _as_filed(known, filed, now_ms):
            await self._house.write(lambda tx: keep_filed(tx, filed, now_ms))
            known = await self._house.read(lambda tx: tx.uplink_keys())
        self._fill(known)

    async def watch(self) -> None:
        """Until cancelled: approvals and reloads change keys, and signatures are checked by the ring."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except Unavailable as failed:
                log.error("uplink_keys_wait", text=str(failed))

    def _fill(self, known: Sequence[UplinkKey]) -> None:
        self.ring.fill(known)
        if len(self.ring) < len(known) and not self._warned:
            self._warned = True
            unfit = [key.kid for key in known if self.ring.public(key.kid) is None]
            log.error("uplink_keys_unfit", kids=unfit, text="these are no Ed25519 keys: nothing that they sign counts")

    def cases(self) -> KeyUseCases:
        """What the interface can have done."""
        return KeyUseCases(self._all, self._add, self._revoke)

    async def _all(self) -> Sequence[UplinkKey]:
        return await self._house.read(lambda tx: tx.uplink_keys())

    async def _add(self, ident: str, key: UplinkKey, who: str) -> Decision:
        site, now_ms = self._house.site(), self._house.clock.now_ms()
        return await self._house.write(lambda tx: ask_key(tx, ident, key, who, site, now_ms))

    async def _revoke(self, kid: str, who: str) -> str | None:
        now_ms = self._house.clock.now_ms()
        refused = await self._house.write(lambda tx: revoke_key(tx, kid, who, now_ms))
        await self.look()
        return refused


def _as_filed(known: Sequence[UplinkKey], filed: Sequence[UplinkKey], now_ms: int) -> bool:
    """Whether the store holds what the file says; one that is revoked, or was taken out, is as it shall be."""
    there = {key.kid: key for key in known}
    ended = {key.kid for key in known if key.revoked_ms is not None}
    names = {key.kid for key in filed}
    said = all(key.kid in ended or replace(there[key.kid], created_ms=0) == key for key in filed if key.kid in there)
    gone = (key for key in known if key.filed and key.kid not in names | ended)
    left = any(key.until_ms is None or key.until_ms > now_ms for key in gone)
    return said and not left and names <= there.keys()


async def replies_of(house: Books, orders: Sequence[str]) -> Mapping[str, ReplyTo]:
    """Where answers to these orders are awaited besides; nobody is told so while the store is not available."""

    def look(tx: Tx) -> dict[str, ReplyTo]:
        found = ((order, tx.uplink_order(order)) for order in orders)
        return {order: kept.reply for order, kept in found if kept is not None and kept.reply is not None}

    try:
        return await house.read(look)
    except Unavailable:
        return {}


class Prepare:
    """Puts into a command what only the archive knows. key: of the pseudonyms."""

    def __init__(self, settings: Callable[[], Settings], key: bytes) -> None:
        self._settings, self._key = settings, key
        self._known: dict[str, str] = {}

    def __call__(self, tx: Tx, command: IncomingCommand) -> IncomingCommand:
        account, args = command.account, command.args
        if account is not None:
            account = self._account(tx, account)
        if command.verb == "set_limit" and account is not None and isinstance(table := args.get("limit"), dict):
            args = {**args, **_limit(self._settings(), account, table)}
        return replace(command, account=account, args=args)

    def _account(self, tx: Tx, name: str) -> str:
        """The account behind a pseudonym; what is none stays what it is, with a sign that no id has."""
        found = self._known.get(name)
        if found is None:
            self._known = {pseudonym(self._key, account.id): account.id for account in tx.accounts()}
            found = self._known.get(name)
        return found if found is not None else f"?{name}"


def _limit(settings: Settings, account: str, table: Mapping[str, object]) -> dict[str, Json]:
    try:
        return {"load_limit": limit_body(limit_asked(settings, account, table))}
    except ValueError as wrong:
        return {"wrong": str(wrong)}


class Hands:
    """Fulfils entrypoints.uplink_work.Hands on the acts that persons have."""

    def __init__(self, house: House, life: Life, imports: Imports) -> None:
        self._house, self._life, self._imports = house, life, imports

    async def do(self, order: UplinkOrder) -> Done:
        """As a person would have it done; the order's id makes it happen once."""
        act = Act(order.id, f"uplink:{order.kid}", order.said or "ordered by the centre", order.digest, f"uplink:{order.kid}")
        args: dict[str, object] = dict(order.arguments)
        try:
            return Done(dict(await self._act(order, act, args)))
        except NeedsSecond as alone:
            return Done(refused=str(alone), waits=True)
        except (Refusal, MoneyHeld) as refused:
            return Done(refused=str(refused))
        except Wrong as wrong:
            return Done(refused="; ".join(wrong.errors[:5]))
        except ValidationError as wrong:
            first = wrong.errors()[0]
            return Done(refused=f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}")
        except Problem as problem:
            return Done(refused=problem.detail)

    def ask(self, meter: str) -> bool:
        """The line reads it before its other work."""
        now_ms = self._house.clock.now_ms()
        asked = [loop.plan.ask(meter, Group.BILLING, now_ms) for loop in self._house.crew.loops.values()]
        self._house.wake()
        return any(asked)

    def look_at_clocks(self) -> None:
        """Every line does: it costs one query each."""
        for loop in self._house.crew.loops.values():
            loop.look_at_clocks()

    async def _act(self, order: UplinkOrder, act: Act, args: dict[str, object]) -> Answer:
        match order.verb:
            case "open_account":
                opened = _form(OpenForm, act, args)
                kwh: list[Kwh | None] = [None if each.kwh is None else kwh_of("meters", each.kwh) for each in opened.meters]
                return await self._life.open(opened, act, kwh)
            case "close_account":
                closed = _form(CloseForm, act, args)
                final: dict[str, Kwh] = {meter: kwh_of("final", shown) for meter, shown in closed.final.items()}
                return await self._life.close(str(order.account), closed, act, final)
            case "change_meter":
                changed = _form(ChangeForm, act, args)
                last, first = kwh_of("last", changed.last), kwh_of("first", changed.first)
                return await self._life.change(str(order.meter), changed, act, last, first)
            case _:
                return await self._archive(act, args)

    async def _archive(self, act: Act, args: dict[str, object]) -> Answer:
        put, drop = args.get("put", {}), args.get("drop", {})
        if not isinstance(put, dict) or not isinstance(drop, dict) or not (put or drop):
            raise Refusal("there is nothing to put and nothing to drop")
        if foreign := sorted((put.keys() | drop.keys()) - KINDS.keys()):
            raise Refusal(f"{foreign[0]} cannot be put or dropped; {', '.join(KINDS)} can")
        forms = {what: _sheet(act, what, put[what]) for what in KINDS if what in put}
        return await self._imports.put(forms, act, str(args.get("version", "")), drop)


def _form(model: type[F], act: Act, args: Mapping[str, object]) -> F:
    return model.model_validate({"id": act.id, "reason": act.reason, **args})


def _sheet(act: Act, what: str, tables: Sequence[Mapping[str, object]]) -> ArchiveForm:
    """Tables as the TOML of a file."""
    name = KINDS[what].table
    text = "".join(
        f"[[{name}]]\n" + "".join(f"{_toml_key(key)} = {_toml(value)}\n" for key, value in table.items()) for table in tables
    )
    return ArchiveForm(id=act.id, reason=act.reason, name=f"archive {what}", format="toml", text=text)


def _toml_key(key: str) -> str:
    return json.dumps(key)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml_key(str(key))} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if value is None:
        raise Refusal("null says nothing in a table: leave the key out")
    return json.dumps(value)
