"""Guests on the running gateway's lines: raw reads of the tools, between its own work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fastapi import FastAPI

from gateway.adapters.clock import Clock
from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.line_tools_api import Crowded, LineToolsApi, LineView, Relayed
from gateway.adapters.http.register_api import RegisterApi
from gateway.adapters.line_tools.raw import RawExchange, RawRead
from gateway.adapters.lines.driver import Driver, NoAnswer
from gateway.adapters.lines.transport import LineDown
from gateway.bootstrap.crew import Crew
from gateway.domain.requests import RegisterOrder
from gateway.entrypoints.guests import Busy, LineGone
from gateway.entrypoints.line_loop import LineLoop
from gateway.services.change_meter import accept_register
from gateway.services.ports import Site, Tx
from gateway.settings import Line, Settings

T = TypeVar("T")


class House(Protocol):
    """The running gateway as its guests need it."""

    settings: Settings
    clock: Clock
    crew: Crew

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...
    def site(self) -> Site: ...
    def wake(self) -> None:
        """Lines look for commands."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A line of the running gateway."""

    line: Line
    driver: Driver
    loop: LineLoop


def hang_tools(app: FastAPI, house: House, auth: OperatorAuth) -> None:
    """What persons and their tools ask of a running gateway beside the operator's API."""

    async def accept(order: RegisterOrder) -> str | None:
        now_ms = house.clock.now_ms()
        refused = await house.write(lambda tx: accept_register(tx, order, house.site(), now_ms))
        house.wake()
        return refused

    app.include_router(LineToolsApi(LineGuests(house), auth).router())
    app.include_router(RegisterApi(accept, house.read, auth).router())


class LineGuests:
    """Fulfils adapters.http.line_tools_api.Guests."""

    def __init__(self, house: House) -> None:
        self._house, self._clock = house, house.clock

    def _find(self, line: str) -> Seat | None:
        """The line of this name as it is now."""
        built, loop = self._house.crew.lines.get(line), self._house.crew.loops.get(line)
        configured = next((each for each in self._house.settings.line if each.id == line), None)
        return None if built is None or loop is None or configured is None else Seat(configured, built.driver, loop)

    def line(self, line: str) -> LineView | None:
        """How it is set."""
        seat = self._find(line)
        if seat is None:
            return None
        kind = seat.line.kind
        baud = None if kind == "modbus-tcp" else seat.line.baud
        return LineView(line, kind, seat.line.device or seat.driver.name, baud, seat.line.parity if kind == "serial" else None)

    async def exchange(self, line: str, read: RawRead, first_byte_timeout_ms: int, search: bool) -> Relayed:
        """One read in the line's own task. Raises LineDown, Crowded."""
        seat = self._find(line)
        if seat is None:
            raise LineDown(f"line {line} is not there any more")

        async def work() -> Relayed:
            exchange, asked_ms = RawExchange(read, seat.driver.next_number(), self._clock.now_ms), self._clock.now_ms()
            with contextlib.suppress(NoAnswer):
                timed = await seat.driver.run(exchange, first_byte_timeout_ms=first_byte_timeout_ms, gap_ms=seat.line.gap_ms)
                return Relayed(exchange.heard, timed.asked_ms, exchange.heard_ms)
            return Relayed(exchange.heard, asked_ms, None)

        try:
            return await seat.loop.guest(work, search=search)
        except LineGone as gone:
            raise LineDown(str(gone)) from None
        except Busy as busy:
            raise Crowded(str(busy)) from None
