"""The operator's API: what stands, what happened, and orders to switches (contract.md 4). The page uses only this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import structlog
from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictStr
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.history import BalanceHistory, balance_history
from gateway.adapters.http.metrics import CONTENT_TYPE, NOTHING_TOLD, OutboxNow, Told, exposition
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.server import is_loopback
from gateway.adapters.http.status import LineStatus, OutputStatus, Status
from gateway.adapters.http.stream import Stream
from gateway.adapters.http.views import (
    PROBLEM_DOCUMENT,
    AccountView,
    CommandView,
    DeviceView,
    EntryView,
    EventView,
    MeterView,
    ReadingView,
    account_view,
    as_json,
    command_view,
    device_view,
    event_view,
    meter_view,
    newest_entries,
    reading_view,
    rfc3339,
)
from gateway.domain.meters import Account
from gateway.domain.notices import MOST_AGE_MS
from gateway.domain.requests import SupplyOrder
from gateway.domain.schemes import Completeness
from gateway.domain.slots import DAY_MS
from gateway.domain.supply import Verb
from gateway.services.ports import SupplyAnswer, Tx, Unavailable

ORDER_LIVES_MS = 10 * 60 * 1000
"""A person's order that no line could carry out by then is dead: who wanted it has gone to look."""

DEFAULT_SPAN_MS = 60 * 60 * 1000
"""How far back lists over time go when `since` is not given."""

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OperatorUseCases:
    """What the API can have done. new_id gives a fresh command id for orders that bring none."""

    read: Reads
    order: Callable[[SupplyOrder], Awaitable[SupplyAnswer]]
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True)
class HealthView:
    """`status`: ok or unavailable; `reasons` why not; `holds` what holds only cuts."""

    status: str
    gateway: str
    version: str
    reasons: list[str]
    holds: list[str]


@dataclass(frozen=True, slots=True)
class OutboxView:
    """What waits for the centre, and the link to it (null where there is none)."""

    last: int
    low: int
    waiting: int
    published: int
    acknowledged: int
    broker: str | None
    connected: bool


@dataclass(frozen=True, slots=True)
class OutputView:
    """One output beside the native uplink: where to, whether it may be told now, and what it has still to be told."""

    output: str
    kind: str
    address: str
    connected: bool
    waiting: int
    dropped: int
    told_at: str | None


FactName = Annotated[StrictStr, Field(pattern="^(contract|event|plan)$")]
FactText = Annotated[StrictStr, Field(max_length=200)]


class OrderForm(BaseModel):
    """The body of an order. `id` makes it idempotent; a cut names its cause; `reason` is for the log, in one's own words.

    facts: what the cause needs besides (contract, event, plan). danger_to_life: an emergency that stands above every protection,
    ordered on the gateway's own machine.
    """

    model_config = ConfigDict(extra="forbid")

    id: StrictStr | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["order-17"])
    cause: StrictStr = Field("operator", pattern=r"^[a-z_]{1,40}$", examples=["emergency"])
    reason: StrictStr = Field(min_length=1, max_length=500, examples=["fire brigade asked for it"])
    facts: dict[FactName, FactText] = Field(default_factory=dict, examples=[{"contract": "C-7", "event": "DR-11"}])
    danger_to_life: bool = False


Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Limit = Annotated[int, Query(ge=1, le=1000)]
ReadingLimit = Annotated[int, Query(ge=1, le=5000)]
After = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,64}$")]
Before = Annotated[int | None, Query(ge=1)]
Since = Annotated[AwareDatetime | None, Query()]
QuantityName = Annotated[str | None, Query(pattern=r"^[a-z0-9_]{1,40}$")]


class OperatorApi:
    """The handlers. now_ms: UTC."""

    def __init__(
        self, cases: OperatorUseCases, status: Status, stream: Stream, auth: OperatorAuth, now_ms: Callable[[], int]
    ) -> None:
        self._cases, self._status, self._stream, self._auth, self._now_ms = cases, status, stream, auth, now_ms

    def router(self) -> APIRouter:
        """All routes, to be hung into an application of guard.new_application; /healthz needs no token."""
        router = APIRouter(responses={"default": PROBLEM_DOCUMENT})
        router.add_api_route("/healthz", self.healthz, methods=["GET"], response_class=Response,
                             responses={200: {"model": HealthView}, 503: {"model": HealthView}})  # fmt: skip
        guarded = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"])
        for path, handler, model in (
            ("/api/v1/meters", self.meters, list[MeterView]),
            ("/api/v1/meters/{meter}/readings", self.readings, list[ReadingView]),
            ("/api/v1/accounts", self.accounts, list[AccountView]),
            ("/api/v1/accounts/{account}/entries", self.entries, list[EntryView]),
            ("/api/v1/accounts/{account}/balance_history", self.balance_history, BalanceHistory),
            ("/api/v1/events", self.events, list[EventView]),
            ("/api/v1/commands", self.commands, list[CommandView]),
            ("/api/v1/commands/{command}", self.command, CommandView),
            ("/api/v1/lines", self.lines, list[LineStatus]),
            ("/api/v1/lines/{line}/meters", self.line_meters, list[DeviceView]),
            ("/api/v1/outbox", self.outbox, OutboxView),
            ("/api/v1/outputs", self.outputs, list[OutputView]),
        ):
            guarded.add_api_route(path, handler, methods=["GET"], response_class=Response, responses={200: {"model": model}})
        guarded.add_api_route("/metrics", self.metrics, methods=["GET"], response_class=Response)
        guarded.add_api_route("/api/v1/stream", self.watch, methods=["GET"], response_class=Response)
        for order in (self.cut, self.restore, self.allow_close, self.alarm, self.alarm_off):
            guarded.add_api_route(
                f"/api/v1/meters/{{meter}}/{order.__name__}", order, methods=["POST"], response_class=Response, openapi_extra=_BODY,
                status_code=202, responses={202: {"model": CommandView}},
            )  # fmt: skip
        router.include_router(guarded)
        return router

    async def healthz(self) -> Response:
        """200 while money may be taken and supply restored, else 503 with reasons."""
        health = self._status.health()
        word = "unavailable" if health.reasons else "ok"
        view = HealthView(word, self._status.gateway, self._status.version, list(health.reasons), list(health.holds))
        return as_json(view, 503 if health.reasons else 200)

    async def metrics(self) -> Response:
        """Prometheus text; without the outbox while the store cannot be read."""
        outbox: OutboxNow | None
        collected: Sequence[Completeness] = ()
        told = NOTHING_TOLD
        since, until = (rfc3339(self._now_ms() + days * DAY_MS)[:10] for days in (-2, 1))
        try:
            outbox, collected, told = await self._cases.read(
                lambda tx: (_outbox(tx, self._now_ms()), tx.completeness(since, until), _told(tx, self._now_ms()))
            )
        except Unavailable:
            outbox = None
        return Response(exposition(self._status, outbox, collected, told), headers={"content-type": CONTENT_TYPE})

    async def meters(self, limit: Limit = 1000, after: After = "") -> Response:
        """Meters in the order of their ids."""

        def query(tx: Tx) -> list[MeterView]:
            known = sorted((meter for meter in tx.meters() if meter.id > after), key=lambda meter: meter.id)
            return [meter_view(tx, meter) for meter in known[:limit]]

        return as_json(await self._cases.read(query))

    async def readings(self, meter: Id, since: Since = None, limit: ReadingLimit = 1000, quantity: QuantityName = None) -> Response:
        """Readings answered since then, oldest first; with `quantity` only those values, and only readings that have one."""
        since_ms = self._since(since)

        def query(tx: Tx) -> list[ReadingView] | None:
            if tx.meter(meter) is None:
                return None
            views = [reading_view(stored, quantity) for stored in tx.readings(meter, since_ms, limit)]
            return [view for view in views if view.items]

        return as_json(_found(await self._cases.read(query), f"meter {meter}"))

    async def accounts(self, limit: Limit = 1000, after: After = "") -> Response:
        """Accounts in the order of their ids."""

        def query(tx: Tx) -> list[AccountView]:
            known = sorted((account for account in tx.accounts() if account.id > after), key=lambda account: account.id)
            return [account_view(tx, account) for account in known[:limit]]

        return as_json(await self._cases.read(query))

    async def entries(self, account: Id, limit: Limit = 100) -> Response:
        """The account's newest ledger entries, newest first."""
        return await self._of_account(account, lambda tx, found: newest_entries(tx, found, limit))

    async def balance_history(self, account: Id, since: Since = None) -> Response:
        """The balance over time for a chart."""
        since_ms, now_ms = self._since(since), self._now_ms()
        return await self._of_account(account, lambda tx, found: balance_history(tx, found, since_ms, now_ms))

    async def _of_account(self, account: str, view: Callable[[Tx, Account], object]) -> Response:
        def query(tx: Tx) -> object:
            found = tx.account(account)
            return None if found is None else view(tx, found)

        return as_json(_found(await self._cases.read(query), f"account {account}"))

    async def events(self, limit: Limit = 100, before: Before = None) -> Response:
        """The newest events, newest first; `before` an id goes further back."""
        return as_json(await self._cases.read(lambda tx: [event_view(stored) for stored in tx.events(limit, before)]))

    async def commands(self, limit: Limit = 100) -> Response:
        """The newest commands, newest first."""
        return as_json(await self._cases.read(lambda tx: [command_view(command) for command in tx.commands(limit)]))

    async def command(self, command: Id) -> Response:
        """One command as it stands."""
        found = _found(await self._cases.read(lambda tx: tx.command(command)), f"command {command}")
        return as_json(command_view(found))

    async def lines(self) -> Response:
        """Every line with its utilisation, exchanges and errors."""
        return as_json(list(self._status.lines()))

    async def line_meters(self, line: Id) -> Response:
        """The devices of a line: how each is, since when, when it is asked next, and what was learned about it."""
        return as_json([device_view(device) for device in _found(self._status.meters(line), f"line {line}")])

    async def outbox(self) -> Response:
        """What is on its way to the centre."""
        state = await self._cases.read(lambda tx: tx.outbox_state())
        broker = self._status.broker()
        address, connected = (broker.address, broker.connected) if broker else (None, False)
        return as_json(OutboxView(state.last, state.low, state.waiting, state.published, state.acknowledged, address, connected))

    async def outputs(self) -> Response:
        """Every output, in the order of the configuration."""
        last = (await self._cases.read(lambda tx: tx.outbox_state())).last
        return as_json([_output(each) for each in self._status.outputs(last)])

    async def watch(self) -> Response:
        """Server-sent events `changed`, one a second."""
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(await self._stream.enter(), headers=headers, media_type="text/event-stream")

    async def cut(self, request: Request, meter: Id) -> Response:
        """Open the switch: 202 with the command, whose outcome is asked for by its id; refused: 409 with the reason."""
        return await self._order(request, meter, Verb.CUT)

    async def restore(self, request: Request, meter: Id) -> Response:
        """Give supply back, directly where the account's policy and the meter allow it. Answers like a cut."""
        return await self._order(request, meter, Verb.RESTORE)

    async def allow_close(self, request: Request, meter: Id) -> Response:
        """Let the customer close the switch. Answers like a cut."""
        return await self._order(request, meter, Verb.ALLOW_CLOSE)

    async def alarm(self, request: Request, meter: Id) -> Response:
        """Sound the alarm of the meter itself: 202 with the command, done when the meter is seen to alarm."""
        return await self._order(request, meter, Verb.ALARM)

    async def alarm_off(self, request: Request, meter: Id) -> Response:
        """Take the meter's alarm back. Answers like an alarm."""
        return await self._order(request, meter, Verb.ALARM_OFF)

    async def _order(self, request: Request, meter: str, verb: Verb) -> Response:
        form = checked(OrderForm, await read_object(request))
        if await self._cases.read(lambda tx: tx.meter(meter)) is None:
            raise Problem("not_found", f"meter {meter} is not known here")
        expires_ms = self._now_ms() + ORDER_LIVES_MS
        who = person_of(request).who
        ident, danger = form.id or self._cases.new_id(), form.danger_to_life
        if danger and not is_loopback(request.client.host if request.client else ""):
            raise Problem("forbidden", "an order for danger to life is given on the gateway's own machine")
        order = SupplyOrder(ident, meter, verb, form.cause, "operator", expires_ms, who, "", danger, form.facts, form.reason)
        answer = await self._cases.order(order)
        what = {"id": order.id, "by": who, "meter": meter, "verb": verb.value, "cause": form.cause, "reason": form.reason}
        log.info("ordered", **what, refused=answer.refused)
        if answer.command is None or answer.refused is not None:
            raise Problem("refused", answer.refused or "no command came of it", extra={"id": order.id})
        return as_json(command_view(answer.command), 202)

    def _since(self, since: AwareDatetime | None) -> int:
        return self._now_ms() - DEFAULT_SPAN_MS if since is None else int(since.timestamp() * 1000)


def _output(seen: OutputStatus) -> OutputView:
    told_at = None if seen.told_ms is None else rfc3339(seen.told_ms)
    return OutputView(seen.output, seen.kind, seen.address, seen.connected, seen.waiting, seen.dropped, told_at)


def _outbox(tx: Tx, now_ms: int) -> OutboxNow:
    return OutboxNow(tx.outbox_state(), tx.outbox_size(), tx.outbox_classes(), now_ms)


def _told(tx: Tx, now_ms: int) -> Told:
    return Told(tx.notice_counts(now_ms - MOST_AGE_MS), Counter(finding.kind.value for finding in tx.findings()))


def _found(value: T | None, what: str) -> T:
    if value is None:
        raise Problem("not_found", f"{what} is not known here")
    return value


_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": OrderForm.model_json_schema()}}}}
